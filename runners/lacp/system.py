"""Small things an LACP port is made of: its link, the system it belongs to, limits, counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pyteamd.runners.base import PortView
from pyteamd.runners.lacp.machines import LATE_ARRIVAL_S, LONG_TIMEOUT_S, SHORT_TIMEOUT_S

LACPDUS_PER_S = 3
MARKERS_PER_S = 7
"""Together the ten frames a second that slow protocols may send."""
LIMIT_SPAN_S = 1.0

SPEEDS_MBPS = (0, 1, 10, 100, 1000, 2500, 5000, 10_000, 14_000, 20_000, 25_000, 40_000, 50_000, 56_000, 100_000)
SPEED_CODES = {speed: code for code, speed in enumerate((*SPEEDS_MBPS, 200_000, 400_000, 800_000))}
OTHER_SPEED = 31


class Link(Enum):
    """Whether the link can carry LACP, and why not."""

    UP = "up"
    DOWN = "no link"
    TEAM_DOWN = "team is down"
    HALF_DUPLEX = "half duplex"
    NO_SPEED = "duplex known but no speed"
    LEAVING = "port is leaving"


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """What all ports of the team say alike. `keys_by_speed`: key_policy is "speed"."""

    priority: int
    mac: bytes
    active: bool
    fast: bool
    keys_by_speed: bool = False

    @property
    def timeout_s(self) -> float:
        """How long the partner may be silent."""
        return (SHORT_TIMEOUT_S if self.fast else LONG_TIMEOUT_S) + LATE_ARRIVAL_S


class RateLimit:
    """At most `count` uses within LIMIT_SPAN_S."""

    __slots__ = ("_count", "_uses")

    def __init__(self, count: int) -> None:
        self._count = count
        self._uses: list[float] = []

    def free_at(self) -> float:
        """From when on it may be used."""
        return self._uses[0] + LIMIT_SPAN_S if len(self._uses) == self._count else float("-inf")

    def use(self, now: float) -> None:
        """Note a use."""
        self._uses = [*self._uses, now][-self._count :]


@dataclass(slots=True)
class Counters:
    """Since the port joined."""

    lacpdus_sent: int = 0
    lacpdus_received: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    """Frames that were not used, by reason."""
    markers_received: int = 0
    marker_responses_sent: int = 0
    timeouts: int = 0
    """The partner fell silent."""
    flaps: int = 0
    """The port went out of service, for whatever reason."""
    actor_churns: int = 0
    partner_churns: int = 0


def link_of(view: PortView, team_up: bool, leaving: bool) -> Link:
    """What the link is good for. Speed and duplex go together: drivers without link settings have neither, as teamd has it."""
    if leaving:
        return Link.LEAVING
    if not view.running:
        return Link.DOWN
    if not team_up:
        return Link.TEAM_DOWN
    has_speed = bool(view.speed_mbps) or view.speed_unknown
    if has_speed == bool(view.duplex):
        return Link.UP
    return Link.HALF_DUPLEX if has_speed else Link.NO_SPEED
