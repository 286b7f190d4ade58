"""One BFD session in asynchronous mode (RFC 5880, 6): what it says, when it speaks, and what it makes of what it hears.

How it works: `TABLE` is the state machine of 6.2 and 6.8.6; a state received from the peer moves ours. Control packets leave every
`max(our desired, the peer's required)` interval, which is a second at least while the session is not up, less jitter of up to a quarter.
A change of what we say leaves at once, and so does the answer to a poll; both only so often, whatever the peer does. A poll sequence
(6.5) tells a change of timers while the session is up. Nothing heard for the detection time (6.8.4): the session is down.

A successor of a daemon that was killed resumes: its discriminator is computed, so it is the one before. While it has not heard anything it
says nothing, and when the peer says "up" and means it, the session is up again, told by a poll. A peer that says anything else, or
nothing at all, begins from the start.

Not used: demand mode and echo of our own (a peer that demands is obeyed; echo is refused by the interval 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pyteamd.model.standstill import Silence
from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.bfd import Diagnostic, Flag, Packet, State

TABLE: Final[Mapping[tuple[State, State], State]] = {
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.INIT): State.UP,
    (State.INIT, State.ADMIN_DOWN): State.DOWN,
    (State.INIT, State.INIT): State.UP,
    (State.INIT, State.UP): State.UP,
    (State.UP, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.DOWN): State.DOWN,
}
"""(our state, the state received) → our state now; what is not here changes nothing. ADMIN_DOWN of ours is left by the user alone."""

SLOW_US: Final = 1_000_000
"""The shortest interval while the session is not up (6.8.3), before jitter."""
LEAST_GAP_S: Final = 0.01
"""Packets that are not periodic (answers to polls, changes) are this far apart in the long run; a peer cannot make us speak more."""
BURST_S: Final = 0.1
"""How much of that may be saved up: ten at once."""
RESUME_S: Final = 1.0
"""A successor waits at least this long for the peer's word, and keeps this patience until the peer has answered its poll."""
US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What this end wants. Intervals in microseconds, from 1; `multiplier` 1 to 255; `discriminator` is not 0."""

    discriminator: int
    interval_us: int
    min_rx_us: int
    multiplier: int
    admin_down: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """When the peer was heard last."""

    at: float
    put_off_to: float | None = None
    """The end of its silence was noticed late; then it is judged."""

    def silence(self, detection_s: float) -> Silence:
        """The silence of the peer since then."""
        if self.put_off_to is not None:
            return Silence(self.put_off_to, put_off=True)
        return Silence(self.at + detection_s)


class BfdSession:
    """Sends nothing itself: `due` is what to send now, `deadline` when to ask again."""

    __slots__ = (
        "_count",
        "_final_due",
        "_next_at",
        "_said",
        "_spare_from",
        "diagnostic",
        "heard",
        "peer",
        "polling",
        "resuming",
        "state",
        "terms",
    )

    def __init__(self, terms: Terms, now: float, resume: bool = False) -> None:
        """`resume`: a predecessor may have left the session up."""
        self.terms = terms
        self.state = State.ADMIN_DOWN if terms.admin_down else State.DOWN
        self.diagnostic = int(Diagnostic.ADMIN_DOWN if terms.admin_down else Diagnostic.NONE)
        self.peer: Packet | None = None
        """The last word of the peer; it stays when the peer falls silent."""
        self.heard: Heard | None = None
        """When that came; None when it is longer ago than the detection time."""
        patience_s = max(RESUME_S, terms.multiplier * max(terms.interval_us, terms.min_rx_us) / US)
        self.resuming = Silence(now + patience_s) if resume and not terms.admin_down else None
        """A successor that waits for the peer's first word, or for the answer to its poll."""
        self.polling = False
        self._final_due = False
        self._said: Packet | None = None
        self._next_at = now
        self._spare_from = now - BURST_S
        self._count = 0

    # -- what it says --------------------------------------------------------------------------------------------------

    def packet(self) -> Packet:
        """What a periodic packet says now."""
        slow = self.state is not State.UP
        return Packet(
            self.state,
            self.terms.discriminator,
            self.peer.my_discriminator if self.peer is not None and self.heard is not None else 0,
            max(self.terms.interval_us, SLOW_US) if slow else self.terms.interval_us,
            self.terms.min_rx_us,
            multiplier=self.terms.multiplier,
            diagnostic=self.diagnostic,
            flags=Flag.POLL if self.polling else Flag.NONE,
        )

    def interval_s(self) -> float:
        """Between periodic packets, before jitter."""
        wanted_us = self.packet().desired_min_tx_us
        accepted_us = 0 if self.peer is None else self.peer.required_min_rx_us
        if self.polling and self.resuming is not None:  # the peer may still count on the pace of a predecessor
            return max(accepted_us, min(wanted_us, round(LEAST_GAP_S * US))) / US
        return max(wanted_us, accepted_us) / US

    def detection_s(self) -> float:
        """Silence of the peer that ends the session (6.8.4); infinite while nothing is known of the peer."""
        if self.peer is None:
            return float("inf")
        slowest_us = max(self.terms.min_rx_us, self.peer.desired_min_tx_us)
        if self.polling and self.resuming is not None:
            slowest_us = max(slowest_us, round(RESUME_S * US))
        return self.peer.multiplier * slowest_us / US

    def due(self, now: float) -> Packet | None:
        """The packet to send now, None for none. Time passes for the session: it counts as sent."""
        if self.resuming is not None and not self.polling:
            return None
        packet = self.packet()
        extra = self._has_news() and now >= self._spare_from + LEAST_GAP_S
        periodic = now >= self._next_at and not self._silent()
        if not extra and not periodic:
            return None
        if extra:
            self._spare_from = max(self._spare_from, now - BURST_S) + LEAST_GAP_S
        self._said = packet
        self._count += 1
        self._next_at = now + self.interval_s() * self._jitter()
        if self._final_due:
            self._final_due = False
            return replace(packet, flags=Flag.FINAL)
        return packet

    def _has_news(self) -> bool:
        """The peer is owed an answer, or what was last said is not true any more."""
        packet = self.packet()
        said = self._said
        return self._final_due or (said is not None and packet != said and packet != replace(said, flags=packet.flags))

    def _silent(self) -> bool:
        """The peer wants no periodic packets: it says so, or demands (6.8.7)."""
        if self.peer is None or self.heard is None:
            return False
        demands = self.peer.flags & Flag.DEMAND and self.state is self.peer.state is State.UP and not self.polling
        return bool(demands) or self.peer.required_min_rx_us == 0

    def _jitter(self) -> float:
        """0.75 to 1, to 0.9 where one lost packet counts (6.8.7). The same session gives the same sequence: nothing here is random."""
        mixed = (self.terms.discriminator * 0x9E3779B9 + self._count * 0x85EBCA6B) & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
        part = ((mixed ^ mixed >> 13) & 0xFFFF) / 0xFFFF
        return 0.75 + part * (0.15 if self.terms.multiplier == 1 else 0.25)

    # -- what happens --------------------------------------------------------------------------------------------------

    def hear(self, packet: Packet, now: float) -> None:
        """A packet of the peer came. PeerError(DISCRIMINATOR): it means another session."""
        if packet.your_discriminator not in (0, self.terms.discriminator):
            raise PeerError(DropReason.DISCRIMINATOR, f"{packet.your_discriminator:#x} is none of ours")
        self.peer, self.heard = packet, Heard(now)
        if packet.flags & Flag.FINAL:
            if self.polling:
                self.resuming = None
            self.polling = False
        if self.state is State.ADMIN_DOWN:
            return
        if self.resuming is not None and not self.polling:
            self._resume(packet, now)
        else:
            self._move(TABLE.get((self.state, packet.state), self.state), Diagnostic.NEIGHBOUR_DOWN, now)
        self._final_due = self._final_due or bool(packet.flags & Flag.POLL)

    def _resume(self, packet: Packet, now: float) -> None:
        """The first word after a start."""
        if packet.your_discriminator and packet.state is State.UP:
            self.state, self.polling = State.UP, True
            return
        self.resuming = None
        self._move(TABLE.get((State.DOWN, packet.state), State.DOWN), Diagnostic.NEIGHBOUR_DOWN, now)

    def _move(self, state: State, why: Diagnostic, now: float) -> None:
        """Go to a state; `why` is told when it is down."""
        if state is self.state:
            return
        before, self.state = self.state, state
        if state is State.DOWN:
            self.diagnostic = int(why)
            self.resuming = None
        slower = self.terms.interval_us < SLOW_US
        self.polling = state is State.UP and slower
        if before is State.UP or state is State.UP:  # another pace: do not wait for the slow one
            self._next_at = min(self._next_at, now + self.interval_s())

    def tick(self, now: float) -> None:
        """Time passed: the detection time may be over, or the patience of a successor."""
        if self.resuming is not None and not self.polling:
            self.resuming = self.resuming.judge(now)
            if self.resuming is None:
                self._next_at = now
        if self.heard is None:
            return
        silence = self.heard.silence(self.detection_s()).judge(now)
        if silence is None:
            self._end_in_silence(now)
        elif silence.put_off:
            self.heard = replace(self.heard, put_off_to=silence.until)

    def _end_in_silence(self, now: float) -> None:
        self.heard = None
        self.polling = False
        if self.state in (State.INIT, State.UP):
            self._move(State.DOWN, Diagnostic.TIME_EXPIRED, now)

    def lose_path(self, now: float) -> None:
        """The link went down."""
        self.heard, self.resuming = None, None
        if self.state in (State.INIT, State.UP):
            self._move(State.DOWN, Diagnostic.PATH_DOWN, now)

    def deadline(self) -> float:
        """When to call `tick` and `due` next."""
        moments = [] if self._silent() else [self._next_at]
        if self.resuming is not None and not self.polling:
            moments = [self.resuming.until]
        elif self._has_news():
            moments.append(self._spare_from + LEAST_GAP_S)
        if self.heard is not None:
            moments.append(self.heard.silence(self.detection_s()).until)
        return min(moments, default=float("inf"))
