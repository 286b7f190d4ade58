"""Bounds on writing: nothing is written without end at the pace of a program that works against it.

A refused write, and one that was accepted yet is wanted again with nothing else written to the same place in between, waits
longer and longer before the next try (0.1 s, times four each time, at most a minute). What is wanted back and forth, because
what it follows from is changed so, is written ten times at once and then ten times a second. A switch that follows from a link is
never held back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from pyteamd.model.desired import SetCarrier, SetMac, SetMember, SetOption, Write
from pyteamd.values import dataclass

FREE_REPEATS = 3
FIRST_DELAY_S = 0.1
GROWTH = 4.0
LONGEST_DELAY_S = 60.0
WINDOW_S = 1.0
"""Repeats further apart than this (plus the delay) are not a storm."""
FREE_CHANGES = 10
STEADY_S = 0.1
"""Writes to one place, whatever the values, are at least this far apart in the long run; FREE_CHANGES of them may come at once."""

UNDONE = "done again and again, something else undoes it; slowing down"
BACK_AND_FORTH = "changed back and forth again and again; slowing down"


@dataclass(slots=True)
class Attempt:
    """The last write to one place, how often it was tried in a row, and how often the place was written to."""

    write: Write
    last_s: float
    repeats: int = 0
    hold_until_s: float = 0.0
    delay_s: float = 0.0
    refused: bool = False
    """The kernel said no the last time."""
    why: str = ""
    """What it said then, in words."""
    paid_until_s: float = 0.0
    """When all writes so far would be over, had they been STEADY_S apart."""
    crowded: bool = False
    """There were more, so any value has to wait."""
    port: int = 0
    """Ifindex of the port that the place belongs to, 0 for the team."""

    def begin(self, write: Write) -> None:
        """Another value, or the same one after a while."""
        self.write = write
        self.repeats = 0
        self.hold_until_s = self.delay_s = 0.0
        self.refused = False

    def forget_changes(self) -> None:
        """What comes next has a reason of its own."""
        self.paid_until_s = 0.0
        self.crowded = False

    def until_s(self, write: Write) -> float:
        """When this value may be written to the place."""
        return max(self.moments_s()) if write == self.write else self.crowd_until_s()

    def crowd_until_s(self) -> float:
        """When any other value may be written to the place."""
        return self.paid_until_s - FREE_CHANGES * STEADY_S if self.crowded else 0.0

    def moments_s(self) -> tuple[float, float]:
        """When another value, and when the last one, may have its turn; which is wanted by then, only reconcile knows."""
        return self.crowd_until_s(), self.hold_until_s


class Backoff:
    """Remembers writes that did not help."""

    def __init__(self) -> None:
        self._attempts: dict[Hashable, Attempt] = {}
        self.holding = False
        """Some write may have to wait."""

    def allowed(self, writes: tuple[Write, ...], now: float) -> tuple[Write, ...]:
        """The writes that may be tried now."""
        if not self.holding:
            return writes
        return tuple([write for write in writes if not self._held(write, now)])

    def applied(self, writes: Iterable[Write], now: float) -> list[tuple[Write, str]]:
        """Count accepted writes; returns those that begin to be held back now, and why."""
        storms = []
        for write in writes:
            attempt = self._attempt(write, now)
            if attempt.refused or attempt.write != write or now - attempt.last_s > WINDOW_S + attempt.delay_s:
                attempt.begin(write)
            attempt.last_s = now
            attempt.repeats += 1
            if attempt.repeats > FREE_REPEATS:
                self._hold(attempt, now)
                if attempt.repeats == FREE_REPEATS + 1:
                    storms.append((write, UNDONE))
            if self._crowds(attempt, now):
                storms.append((write, BACK_AND_FORTH))
        return storms

    def refused(self, write: Write, now: float, why: str = "") -> int:
        """Count a refusal and hold the write back; returns how often it was tried in a row."""
        attempt = self._attempt(write, now)
        if attempt.write != write:
            attempt.begin(write)
        attempt.last_s = now
        attempt.refused = True
        attempt.why = why
        attempt.repeats += 1
        self._crowds(attempt, now)
        self._hold(attempt, now)
        return attempt.repeats

    def forget_port(self, ifindex: int) -> None:
        """The port left, came, or changed its link: what is remembered of it no longer counts, and the team may well have to switch."""
        for place, attempt in list(self._attempts.items()):
            if attempt.port == ifindex:
                del self._attempts[place]
            else:
                attempt.forget_changes()

    def forgive_port(self, ifindex: int, now: float) -> None:
        """The port came, or was set down: it may be had now. If we were refused a moment ago, our own try has set it down again."""
        attempts = [attempt for attempt in self._attempts.values() if attempt.port == ifindex]
        if all(now - attempt.last_s > WINDOW_S for attempt in attempts):
            self.forget_port(ifindex)

    def forget(self, place: Hashable) -> None:
        """Another value is asked for here: what the kernel said before is no answer to that."""
        self._attempts.pop(place, None)

    def held(self, now: float) -> list[Attempt]:
        """Writes that are held back."""
        return [attempt for attempt in self._attempts.values() if attempt.until_s(attempt.write) > now]

    def deadline(self, now: float) -> float | None:
        """When the next held write may be tried; None when nothing is held."""
        if not self.holding:
            return None
        moments = [moment for attempt in self._attempts.values() for moment in attempt.moments_s() if moment > now]
        self.holding = bool(moments)
        return min(moments, default=None)

    def _attempt(self, write: Write, now: float) -> Attempt:
        """The last one at the place that this write changes; where there is none, this is the first."""
        place = place_of(write)
        if (found := self._attempts.get(place)) is None:
            found = self._attempts[place] = Attempt(write, now, port=port_of(write))
        return found

    def _held(self, write: Write, now: float) -> bool:
        attempt = self._attempts.get(place_of(write))
        return attempt is not None and now < attempt.until_s(write)

    def _crowds(self, attempt: Attempt, now: float) -> bool:
        """Count a write to a place. Returns whether that begins to be too much."""
        if attempt.paid_until_s <= now:
            attempt.forget_changes()
        attempt.paid_until_s = max(attempt.paid_until_s, now) + STEADY_S
        if attempt.paid_until_s - FREE_CHANGES * STEADY_S <= now:
            return False
        begins = not attempt.crowded
        attempt.crowded = self.holding = True
        return begins

    def _hold(self, attempt: Attempt, now: float) -> None:
        attempt.delay_s = min(attempt.delay_s * GROWTH or FIRST_DELAY_S, LONGEST_DELAY_S)
        attempt.hold_until_s = now + attempt.delay_s
        self.holding = True


def place_of(write: Write) -> Hashable:
    """What a write changes, whatever the value."""
    match write:
        case SetOption(key=key):
            return key
        case SetMac(ifindex=ifindex):
            return ("mac", ifindex)
        case SetMember(ifindex=ifindex):
            return ("member", ifindex)
        case SetCarrier():
            return "carrier"


def port_of(write: Write) -> int:
    """Ifindex of the port a write is about, 0 for the team."""
    match write:
        case SetOption(key=key):
            return key.port
        case SetMac(ifindex=ifindex) | SetMember(ifindex=ifindex):
            return ifindex
        case SetCarrier():
            return 0
