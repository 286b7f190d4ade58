"""The ethtool link watcher: the port's raw link, with a delay in each direction.

Nothing is polled: the verdict follows the kernel's link events. When a delay runs out, the raw link *of that moment* counts, not
the one that started the delay; a bounce within the delay restarts or cancels it.
"""

from __future__ import annotations

from typing import Any

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.model.desired import Verdict
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class EthtoolConfig:
    """Keys of the ethtool watcher."""

    delay_up: int = option(
        0, help="Wait this long after the link came up.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT
    )
    delay_down: int = option(
        0, help="Wait this long after the link went down.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT
    )


class Ethtool(Watcher):
    """Follows the raw link."""

    name = "ethtool"
    Config = EthtoolConfig
    summary = "Follows the carrier of the port, with optional delays."

    def __init__(self, config: EthtoolConfig, hosts: Any, up: bool) -> None:
        super().__init__(config, hosts, up)
        self._until: float | None = None

    def start(self, port: PortNow, now: float) -> None:
        self.carrier(port, now)

    def carrier(self, port: PortNow, now: float) -> None:
        self._until = None
        if port.running == self.up:
            return
        delay_ms = self.config.delay_up if port.running else self.config.delay_down
        if delay_ms == 0:
            self.set_up(port.running)
        else:
            self._until = now + delay_ms / 1000

    def tick(self, port: PortNow, now: float) -> None:
        if self._until is not None and now >= self._until:
            self._until = None
            if port.running != self.up:
                self.set_up(port.running)

    def deadline(self) -> float | None:
        return self._until

    def follows_link(self) -> bool:
        return self._until is None

    def verdict(self) -> Verdict:
        if self._until is None:
            return Verdict(self.up, "carrier" if self.up else "no carrier")
        key = "delay_down" if self.up else "delay_up"
        return Verdict(self.up, f"carrier {'lost' if self.up else 'back'}", f", {key} still running", self._until)

    def state(self) -> dict[str, Any]:
        return {"delay_up": self.config.delay_up, "delay_down": self.config.delay_down}
