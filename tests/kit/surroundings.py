"""What a pump needs around it where only some of that matters: the rest does nothing."""

from __future__ import annotations

from collections.abc import Iterable

from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.model.events import HostName


class QuietSurroundings:
    """See Surroundings. Ports are told to the reader; a fault is one of the test."""

    reader: Reader
    pump: Pump

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """Nothing is looked up."""

    def debug_level(self, level: int) -> None:
        """It is as it is."""

    def ports_changed(self, ports: Iterable[int]) -> None:
        self.reader.own(self.pump, ports)

    def fault(self, text: str) -> None:
        raise AssertionError(text)

    def runner_replaced(self) -> None:
        """Nobody has to know."""
