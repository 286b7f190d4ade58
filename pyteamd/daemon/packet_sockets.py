"""The packet sockets of one team: open what the Team wants, close the rest. The Reader reads those of all teams (`hear`)."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyteamd.kernel.api import Kernel, PortSocket
from pyteamd.model.desired import Frame, Tap
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import FrameSeen

if TYPE_CHECKING:
    from pyteamd.daemon.pump import Pump

RETRY_S = 5.0
"""A socket that the kernel refused is tried again this much later."""
PAUSE_S = 0.1
"""… and one that could not be read."""


class PacketSockets:
    """The open packet sockets of one team, by port and kind."""

    def __init__(
        self, kernel: Kernel, log: logging.Logger, listeners: dict[PortSocket, PacketSockets], pump: Callable[[], Pump]
    ) -> None:
        """`listeners`: whose each open socket of the process is. `pump`: whom the frames are for."""
        self.pump = pump
        self._kernel = kernel
        self._log = log
        self._listeners = listeners
        self._wanted: Mapping[int, frozenset[Tap]] = {}
        self._there: dict[int, dict[Tap, PortSocket]] = {}
        self._refused: dict[tuple[int, Tap], float] = {}
        """When to try again."""

    def update(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        """Make the open sockets those wanted. Returns when to try again what the kernel refused, infinity for never."""
        if wanted == self._wanted and not self._refused:
            return math.inf
        self._wanted = wanted
        for ifindex, there in self._there.items():
            for tap in there.keys() - wanted.get(ifindex, frozenset()):
                self._close(there.pop(tap))
        for ifindex in [ifindex for ifindex in self._there if ifindex not in wanted]:
            del self._there[ifindex]
        for ifindex, taps in wanted.items():
            there = self._there.setdefault(ifindex, {})
            for tap in taps - there.keys():
                if self._refused.get((ifindex, tap), now) <= now:
                    self._open(ifindex, tap, now)
        for place in [place for place in self._refused if place[1] not in wanted.get(place[0], ())]:
            del self._refused[place]
        return min(self._refused.values(), default=math.inf)

    def send(self, frame: Frame) -> None:
        """Send a frame through any socket of its port. A port that cannot take it now is no error: links go down."""
        socket = next(iter(self._there.get(frame.port, {}).values()), None)
        if socket is None:
            self._log.debug("interface %d: no socket to send a frame on", frame.port)
            return
        try:
            socket.send(frame.octets)
        except KernelGone:
            return
        except OSError as error:
            self._log.debug("interface %d: frame not sent: %s", frame.port, os.strerror(error.errno or 0))

    def _open(self, ifindex: int, tap: Tap, now: float) -> None:
        self._refused.pop((ifindex, tap), None)
        try:
            socket = self._kernel.open_port(ifindex, tap)
        except KernelGone:
            return  # the event that says so is on its way
        except KernelRefused as refusal:
            self._log.warning("%s", refusal)
            self._refused[ifindex, tap] = now + RETRY_S
            return
        self._there[ifindex][tap] = socket
        self._listeners[socket] = self

    def _close(self, socket: PortSocket) -> None:
        self._listeners.pop(socket, None)
        socket.close()

    def close(self) -> None:
        """Close all."""
        self.update({}, 0.0)

    def hear(self, socket: PortSocket, now: float) -> list[FrameSeen]:
        """Read one. What goes wrong with it concerns no other: it is opened again a little later."""
        try:
            return socket.read()
        except (KernelGone, OSError) as problem:
            ((ifindex, tap),) = [(i, tap) for i, there in self._there.items() for tap in there if there[tap] is socket]
            again_at = now + RETRY_S
            if isinstance(problem, OSError):  # no memory, say
                again_at = now + PAUSE_S
                why = os.strerror(problem.errno or 0)
                self._log.warning("interface %d: frames cannot be read: %s", ifindex, why)
            self._close(self._there[ifindex].pop(tap))
            self._refused[ifindex, tap] = again_at
            self.pump().look_at_taps(again_at)
            return []
