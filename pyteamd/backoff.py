"""Bounds on writing: no write is repeated without effect for ever.

A refused write, and one that was accepted yet is wanted again with nothing else written to the same place in between, waits longer
and longer before the next try (0.1 s, times four each time, at most a minute). Ordinary switching to and fro is never held back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from pyteamd.model import SetCarrier, SetMac, SetMember, SetOption, Write

FREE_REPEATS = 3
FIRST_DELAY_S = 0.1
GROWTH = 4.0
LONGEST_DELAY_S = 60.0
WINDOW_S = 1.0
"""Repeats further apart than this (plus the delay) are not a storm."""


@dataclass(slots=True)
class Attempt:
    """The last write to one place, and how often it was tried in a row."""

    write: Write
    last_s: float
    repeats: int = 1
    hold_until_s: float = 0.0
    delay_s: float = 0.0
    refused: bool = False
    """The kernel said no the last time."""


class Backoff:
    """Remembers writes that did not help."""

    def __init__(self) -> None:
        self._attempts: dict[Hashable, Attempt] = {}
        self._holding = False

    def allowed(self, writes: tuple[Write, ...], now: float) -> tuple[Write, ...]:
        """The writes that may be tried now."""
        if not self._holding:
            return writes
        return tuple([write for write in writes if not self._held(write, now)])

    def applied(self, writes: Iterable[Write], now: float) -> list[Write]:
        """Count accepted writes; returns those that begin to be held back now because they have no lasting effect."""
        storms = []
        for write in writes:
            place = place_of(write)
            attempt = self._attempts.get(place)
            if (
                attempt is None
                or attempt.refused
                or attempt.write != write
                or now - attempt.last_s > WINDOW_S + attempt.delay_s
            ):
                self._attempts[place] = Attempt(write, now)
                continue
            attempt.last_s = now
            attempt.repeats += 1
            if attempt.repeats > FREE_REPEATS:
                storms.append(write)
                self._hold(attempt, now)
        return storms

    def refused(self, write: Write, now: float) -> int:
        """Count a refusal and hold the write back; returns how often it was tried in a row."""
        place = place_of(write)
        attempt = self._attempts.get(place)
        if attempt is None or attempt.write != write:
            attempt = self._attempts[place] = Attempt(write, now, repeats=0)
        attempt.last_s = now
        attempt.refused = True
        attempt.repeats += 1
        self._hold(attempt, now)
        return attempt.repeats

    def forget_port(self, ifindex: int) -> None:
        """The port left, came, or changed its link: what is remembered of it no longer counts."""
        for place in [place for place, attempt in self._attempts.items() if port_of(attempt.write) == ifindex]:
            del self._attempts[place]

    def held(self, now: float) -> list[Attempt]:
        """Writes that are held back."""
        return [attempt for attempt in self._attempts.values() if attempt.hold_until_s > now]

    def deadline(self, now: float) -> float | None:
        """When the next held write may be tried; None when nothing is held."""
        if not self._holding:
            return None
        held = [attempt.hold_until_s for attempt in self.held(now)]
        self._holding = bool(held)
        return min(held, default=None)

    def _held(self, write: Write, now: float) -> bool:
        attempt = self._attempts.get(place_of(write))
        return attempt is not None and attempt.write == write and now < attempt.hold_until_s

    def _hold(self, attempt: Attempt, now: float) -> None:
        attempt.delay_s = min(attempt.delay_s * GROWTH or FIRST_DELAY_S, LONGEST_DELAY_S)
        attempt.hold_until_s = now + attempt.delay_s
        self._holding = True


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
