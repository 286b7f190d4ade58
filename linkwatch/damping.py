"""Damping: a port whose link flaps is held out of service until it has been quiet for a while.

Each time the port goes down costs a penalty, which decays by half every half-life. At `suppress` the port is out of service, until the
penalty has decayed to `reuse`, which takes `max` after the last time at most. The words are those of switches and routers
("dampening"). It has no vote in the port's verdict and can only say no.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2
from typing import Any, ClassVar

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.model.desired import Level, Verdict
from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class DampingConfig:
    """Times in seconds; penalties have no unit. `reuse` is below `suppress`."""

    penalty: int
    half_life: int
    suppress: int
    reuse: int
    max: int

    @property
    def decayed_in_max(self) -> float:
        """The penalty that decays to `reuse` in `max`."""
        return float(self.reuse * 2.0 ** (self.max / self.half_life))

    @property
    def ceiling(self) -> float:
        """The highest penalty: what decays to `reuse` in `max`, but at least `suppress`, or no port would ever be held out."""
        return max(float(self.suppress), self.decayed_in_max)


class Damping(Watcher):
    """Made by the port key `damping`, not by `link_watch`."""

    name = "damping"
    Config = DampingConfig
    summary = "Holds a port that flaps out of service until it has been quiet for a while."
    frees_kernel_link: ClassVar[bool] = True
    gates_service: ClassVar[bool] = True
    only_vetoes: ClassVar[bool] = True
    hides_link: ClassVar[bool] = True

    def __init__(self, config: DampingConfig, hosts: Any, up: bool) -> None:
        """A port begins without a penalty, whatever was before."""
        super().__init__(config, hosts, True)
        self.config: DampingConfig = config
        self._penalty = 0.0
        self._as_of = 0.0

    def start(self, port: PortNow, now: float) -> None:
        self._as_of = now

    def penalty(self, now: float) -> float:
        """What is left of it at this moment."""
        return float(self._penalty * 2.0 ** ((self._as_of - now) / self.config.half_life))

    def went_down(self, port: PortNow, now: float) -> None:
        """Another watcher of the port says down from now on."""
        self._set(min(self.penalty(now) + self.config.penalty, self.config.ceiling), now)
        if self.up and self._penalty >= self.config.suppress:
            self.set_up(False)
            left_s = (self.deadline() or now) - now
            words = f"{port.name}: flaps, held out of service for {left_s:.0f} s (penalty {self._penalty:.0f})."
            self.note(Level.WARNING, words, port.name)

    def clear(self, port: PortNow, now: float) -> None:
        """A user forgives."""
        self._set(0.0, now)
        self.tick(port, now)

    def _set(self, penalty: float, now: float) -> None:
        self._penalty, self._as_of = penalty, now

    def tick(self, port: PortNow, now: float) -> None:
        over = self._penalty <= self.config.reuse or now >= (self.deadline() or now)
        if not self.up and over:
            self.set_up(True)

    def deadline(self) -> float | None:
        """When the penalty has decayed to `reuse` or `max` is over, while the port is held out."""
        if self.up:
            return None
        decay_s = self.config.half_life * log2(max(self._penalty, 1e-9) / self.config.reuse)
        return self._as_of + min(max(0.0, decay_s), self.config.max)

    def gauges(self, now: float) -> Iterable[tuple[str, str, float]]:
        return (
            ("damping_penalty", "What is left of the port's penalty for flapping.", self.penalty(now)),
            ("damping_suppressed", "The port is held out of service because it flapped.", not self.up),
        )

    def verdict(self) -> Verdict:
        if self.up:
            return Verdict(True, f"damping: penalty below {self.config.suppress}")
        rest = f", until its penalty ({self._penalty:.0f} at the last flap) is down to {self.config.reuse}"
        if self._penalty > self.config.decayed_in_max:
            rest = f", held out for at most {self.config.max} s after the last flap"
        return Verdict(False, "damping: the port flapped", rest, self.deadline())

    def state(self) -> dict[str, Any]:
        return {
            "penalty": round(self._penalty),
            "suppressed": not self.up,
            "half_life": self.config.half_life,
            "suppress": self.config.suppress,
            "reuse": self.config.reuse,
            "max": self.config.max,
        }
