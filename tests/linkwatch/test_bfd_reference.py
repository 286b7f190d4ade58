"""BFD sessions against the RFC written apart (bfd_reference): two ends on a path that loses, delays, reorders, with restarts."""

from __future__ import annotations

import heapq
import os
import random
from dataclasses import replace

import pytest
from bfd_reference import Reference

from pyteamd.linkwatch.bfd_session import BURST_S, LEAST_GAP_S, BfdSession, Terms
from pyteamd.model.standstill import PUNCTUAL_S as LATE_S
from pyteamd.wire import PeerError
from pyteamd.wire.bfd import Flag, Packet, State, parse_packet

RUNS = 10_000 if os.environ.get("PYTEAMD_LONG") else 200
RUNS_EACH = 50
DURATION_S = 6.0


class End:
    """One end: the session of the product, and its shadow by the reference, which is told the same octets at the same time."""

    def __init__(self, dice: random.Random, discriminator: int) -> None:
        self.dice = dice
        self.terms = Terms(
            discriminator,
            dice.choice([10_000, 50_000, 300_000, 1_000_000, 1_500_000]),
            dice.choice([10_000, 100_000, 300_000, 1_000_000]),
            dice.choice([1, 2, 3, 5]),
        )
        self.sent_at: float | None = None
        self.begin(0.0, resume=False)

    def begin(self, now: float, resume: bool) -> None:
        """The daemon starts."""
        self.session = BfdSession(self.terms, now, resume)
        self.shadow = Reference(
            self.terms.discriminator, self.terms.interval_us, self.terms.min_rx_us, self.terms.multiplier
        )
        self.sent_at = None
        self.put_off = 0.0, 0.0

    def holds_back(self) -> bool:
        """A successor that has not heard from the peer yet; the RFC knows no such thing."""
        return self.session.resuming is not None and not self.session.polling

    def hear(self, octets: bytes, now: float) -> None:
        held = self.holds_back()
        try:
            self.session.hear(parse_packet(octets), now)
            accepted = "accept"
        except PeerError:
            accepted = "discard"
        if (
            held and self.session.resuming is not None and self.session.polling
        ):  # resumed: from here on as a session of the RFC that is up
            self.shadow.session_state, self.shadow.poll_sequence = 3, True
            self.shadow.receive(octets, now)
            self.shadow.poll_sequence = True
        else:
            assert self.shadow.receive(octets, now)[0] == accepted
        self.agree()

    def agree(self) -> None:
        session, shadow = self.session, self.shadow
        assert int(session.state) == shadow.session_state
        assert session.diagnostic == shadow.local_diag
        assert session.polling == shadow.poll_sequence
        packet = session.packet()
        assert packet.your_discriminator == shadow.remote_discr
        assert packet.desired_min_tx_us == shadow.desired_min_tx_interval
        if session.resuming is None:
            assert session.peer is None or round(session.detection_s() * 1e6) == shadow.detection_time()
            assert round(session.interval_s() * 1e6) == shadow.transmit_interval()

    def time_passes(self, now: float) -> None:
        """For the shadow. The RFC knows nothing of a daemon that looks late: then the end of a silence is put off, once."""
        shadow = self.shadow
        if self.session.resuming is not None or shadow.last_received is None:
            return
        due = shadow.last_received + shadow.detection_time() / 1e6
        if self.put_off[0] != due and now > due + LATE_S:
            self.put_off = due, now + LATE_S
        if now >= (self.put_off[1] if self.put_off[0] == due else due):
            shadow.time_passes(now)

    def step(self, now: float) -> list[bytes]:
        self.session.tick(now)
        self.time_passes(now)
        self.agree()
        out = []
        before = self.session.packet()
        nominal_s = self.session.interval_s()
        while (packet := self.session.due(now)) is not None:
            assert replace(packet, flags=Flag.NONE) == replace(before, flags=Flag.NONE)
            if not packet.flags & Flag.FINAL and self.sent_at is not None and self.may_be_periodic(packet):
                assert now - self.sent_at <= nominal_s * 1.02 + 1.01 or not self.shadow.may_transmit_periodically()
            self.sent_at = now
            out.append(packet.build())
            assert len(out) < 30
        return out

    def may_be_periodic(self, packet: Packet) -> bool:
        return self.shadow.may_transmit_periodically() and packet.state is self.session.state


def run(seed: int) -> tuple[int, int]:
    """Returns how often a session came up, and how many packets were sent."""
    dice = random.Random(seed)
    ends = [End(dice, 1 + dice.randrange(2**32 - 1)) for _ in range(2)]
    loss, late_s = dice.choice([0.0, 0.0, 0.05, 0.3, 0.7]), dice.choice([0.0, 0.001, 0.02, 0.2])
    flying: list[tuple[float, int, int, bytes]] = []
    now, count, came_up = 0.0, 0, 0
    restarts = sorted(dice.uniform(0, DURATION_S) for _ in range(dice.choice([0, 0, 1, 3])))
    down = [0.0, 0.0]
    while now < DURATION_S:
        moments = [flying[0][0]] if flying else []
        moments += [max(end.session.deadline(), down[i]) for i, end in enumerate(ends)] + restarts[:1]
        now = max(now, min(moments))
        if restarts and now >= restarts[0]:
            which = dice.randrange(2)
            down[which] = restarts.pop(0) + dice.choice([0.0, 0.01, 0.1, 2.0])
            ends[which].begin(down[which], resume=dice.random() < 0.5)
        while flying and flying[0][0] <= now:
            _, _, to, octets = heapq.heappop(flying)
            if now >= down[to]:
                was = ends[to].session.state
                ends[to].session.tick(now)
                ends[to].time_passes(now)
                ends[to].hear(octets, now)
                came_up += was is not State.UP and ends[to].session.state is State.UP
        for i, end in enumerate(ends):
            for octets in end.step(now) if now >= down[i] else ():
                count += 1
                if dice.random() >= loss:
                    if dice.random() < 0.02:
                        octets = bytes(
                            dice.choice([octets[:20], b"\xff" + octets[1:], octets[:8] + bytes(4) + octets[12:]])
                        )
                    heapq.heappush(flying, (now + late_s * dice.random(), count, 1 - i, octets))
    return came_up, count


@pytest.mark.parametrize("first", range(0, RUNS, RUNS_EACH))
@pytest.mark.slow
def test_two_ends_do_what_the_rfc_says(first: int) -> None:
    outcomes = [run(seed) for seed in range(first, first + RUNS_EACH)]
    assert sum(came_up for came_up, _ in outcomes) > RUNS_EACH


def test_some_of_these_runs() -> None:
    assert sum(run(seed)[0] for seed in range(5)) > 5


def test_a_peer_cannot_make_us_speak_more() -> None:
    session = BfdSession(Terms(1, 1_000_000, 1_000_000, 3), 0.0)
    sent, now = 0, 0.0
    while now < 1.0:  # ten thousand polls a second, from states that come and go
        state = State.DOWN if int(now * 10_000) % 2 else State.INIT
        session.hear(Packet(state, 9, 1, flags=Flag.POLL), now)
        while session.due(now) is not None:
            sent += 1
        now += 0.0001
    assert sent <= (1.0 + BURST_S) / LEAST_GAP_S + 3
