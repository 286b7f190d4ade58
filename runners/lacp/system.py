"""Parts of an LACP port: what its link is good for, the system it belongs to, rate limits, counters."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyteamd.runners.base import PortView
from pyteamd.runners.lacp.machines import LATE_ARRIVAL_S, LONG_TIMEOUT_S, SHORT_TIMEOUT_S, Link
from pyteamd.wire.lacpdu import LacpInfo

LACPDUS_PER_S = 3
MARKERS_PER_S = 7
"""Together the ten frames a second that slow protocols may send."""
LIMIT_SPAN_S = 1.0
COMPLAINT_INTERVAL_S = 60.0

SPEEDS_MBPS = (0, 1, 10, 100, 1000, 2500, 5000, 10_000, 14_000, 20_000, 25_000, 40_000, 50_000, 56_000, 100_000)
SPEED_CODES = {speed: code for code, speed in enumerate((*SPEEDS_MBPS, 200_000, 400_000, 800_000))}
OTHER_SPEED = 31


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
    """Allows `count` uses within `span_s`."""

    __slots__ = ("_count", "_span_s", "_uses")

    def __init__(self, count: int, span_s: float = LIMIT_SPAN_S) -> None:
        self._count = count
        self._span_s = span_s
        self._uses: list[float] = []

    def free_at(self) -> float:
        """When it may be used next."""
        return self._uses[0] + self._span_s if len(self._uses) == self._count else float("-inf")

    def last(self) -> float:
        """When it was last used."""
        return self._uses[-1] if self._uses else float("-inf")

    def use(self, now: float) -> None:
        """Note a use."""
        self._uses = [*self._uses, now][-self._count :]


class Transmitter:
    """When to speak: the transmit machine (6.4.16) of one port."""

    __slots__ = ("limit", "ntt", "said", "took_leave")

    def __init__(self) -> None:
        self.said: LacpInfo | None = None
        """What we last said of ourselves; None before the first word, and after the last one."""
        self.ntt = False
        """Need to transmit though nothing changed on our side."""
        self.took_leave = False
        """The last LACPDU was said in taking leave; none was sent since."""
        self.limit = RateLimit(LACPDUS_PER_S)

    def due(self, actor: LacpInfo, pace_s: float | None) -> float | None:
        """When to say what we are now; a moment in the past means at once, None never.

        Who falls silent since both ends are passive says a last word, so that the partner does not count on what is no longer true.
        """
        news = self.said is not actor and self.said != actor
        if pace_s is None:
            return self.limit.free_at() if news and self.said is not None else None
        if news or self.ntt:
            return self.limit.free_at()
        return max(self.limit.last() + pace_s, self.limit.free_at())

    def spoke(self, now: float) -> None:
        """It was said just now."""
        self.ntt = self.took_leave = False
        self.limit.use(now)

    def forget(self) -> None:
        """Nobody listens any more."""
        self.said, self.ntt = None, False


class Patience:
    """Limits on what the frames of one port may cause: marker answers, lines in the log."""

    __slots__ = ("_complaints", "markers")

    def __init__(self) -> None:
        self.markers = RateLimit(MARKERS_PER_S)
        self._complaints: dict[str, tuple[float, int]] = {}
        """For each kind: when one was last logged, and how many were not since then."""

    def complain(self, kind: str, now: float) -> str | None:
        """Whether a complaint of this kind may be logged now: what to say of those since the last one that was, or None."""
        at, untold = self._complaints.get(kind, (float("-inf"), 0))
        if now < at + COMPLAINT_INTERVAL_S:
            self._complaints[kind] = at, untold + 1
            return None
        self._complaints[kind] = now, 0
        return f"{untold} more since the last such line" if untold else ""


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

    def drop(self, reason: str) -> None:
        """A frame was not used."""
        self.bad[reason] = self.bad.get(reason, 0) + 1


def link_of(view: PortView, team_up: bool, before: Link) -> Link:
    """What the link is good for. Speed and duplex go together: drivers without link settings have neither, as teamd has it."""
    if before is Link.LEAVING:
        return Link.LEAVING
    if not view.running:
        return Link.DOWN
    if before is Link.FAULT:
        return Link.FAULT
    if view.damped:
        return Link.DAMPED
    if not team_up:
        return Link.TEAM_DOWN
    has_speed = bool(view.speed_mbps) or view.speed_unknown
    if has_speed == bool(view.duplex):
        return Link.UP
    return Link.HALF_DUPLEX if has_speed else Link.NO_SPEED
