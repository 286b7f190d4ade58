"""The bfd watcher on its port: what it sends and takes, what the session means for the port, and what people are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import pytest

from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.bfd import Bfd, BfdConfig, discriminator
from pyteamd.model.events import FrameSeen
from pyteamd.wire import bfd, ethernet
from pyteamd.wire.bfd import State

US, PEER = "192.0.2.2", "192.0.2.1"
OUR_MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("02000000000f")


@dataclass
class Side:
    """A watcher on its port, and the frames it has not sent yet."""

    watcher: Bfd
    port: PortNow
    sent: list[bytes] = field(default_factory=list)

    def due(self) -> float:
        """When the next step is."""
        deadline = self.watcher.deadline()
        return math.inf if deadline is None else deadline

    def step(self, now: float) -> list[bytes]:
        deadline = self.watcher.deadline()
        if deadline is not None and deadline <= now:
            self.watcher.tick(self.port, now)
        frames = [frame.octets for frame in self.watcher.outbox.take()[0]]
        self.sent += frames
        return frames

    def hear(self, octets: bytes, now: float) -> None:
        parsed = ethernet.parse(octets)
        seen = FrameSeen(
            self.port.ifindex, parsed.destination, parsed.source, parsed.ethertype, parsed.vlan_id, parsed.payload
        )
        self.watcher.frame(replace(self.port, own_macs=frozenset({self.port.mac})), seen, now)

    def set_link(self, running: bool, now: float) -> None:
        self.port = replace(self.port, running=running)
        self.watcher.carrier(self.port, now)


def side(local: str = US, peer: str = PEER, mac: bytes = OUR_MAC, up: bool = False, **config: Any) -> Side:
    chosen = BfdConfig(local_host=local, peer_host=peer, **{"interval": 50, **config})
    assert not list(chosen.contradictions())
    made = Side(Bfd(chosen, {}, up), PortNow(3, "em1", mac, True, True, True, mac))
    return made


def other(**config: Any) -> Side:
    return side(config.pop("local", PEER), config.pop("peer", US), PEER_MAC, **config)


def start(*sides: Side, now: float = 0.0) -> None:
    for one in sides:
        one.watcher.start(one.port, now)


def run(one: Side, two: Side, begin: float, end: float, cut: str = "") -> None:
    """Let both speak; `cut`: "both", or "to one" whose frames then get lost."""
    now = begin
    while now < end:
        for sender, receiver, name in ((one, two, "two"), (two, one, "one")):
            for octets in sender.step(now):
                if cut not in ("both", f"to {name}"):
                    receiver.hear(octets, now)
        now += 0.001 * max(1, int((min(one.due(), two.due(), end) - now) * 1000))


@pytest.mark.parametrize(("ours", "theirs"), [(US, PEER), ("2001:db8::2", "2001:db8::1")])
def test_a_session_comes_up_and_its_end_is_noticed_in_time(ours: str, theirs: str) -> None:
    one, two = side(ours, theirs), other(local=theirs, peer=ours)
    start(one, two)
    run(one, two, 0.0, 4.0)
    assert one.watcher.session is not None
    assert one.watcher.session.state is State.UP
    assert one.watcher.verdict().text == f"bfd: session with {theirs} is up"
    assert one.watcher.state()["detection_time_us"] == 150_000
    now = 4.0
    while one.watcher.up:
        assert now < 4.22, "(multiplier + 1) x interval + 20 ms"
        one.step(now)
        now += 0.001
    assert now >= 4.1, "the last packet came 50 ms ago at most"
    assert one.watcher.verdict().text == f"bfd: peer {theirs} silent, more than 150 ms (3 × 50 ms)"
    assert one.watcher.state()["diagnostic"] == "control detection time expired"


@pytest.mark.parametrize("waiting", [True, False], ids=["packets wait in the socket", "nothing waits"])
def test_after_a_standstill_what_waits_in_the_socket_is_read_first(waiting: bool) -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    assert one.watcher.verdict().reason == f"bfd: session with {PEER} is up"
    (packet, *_) = [octets for at in range(200) for octets in two.step(3.0 + at / 1000)]
    one.step(4.0)
    if waiting:
        one.hear(packet, 4.0)
    one.step(4.006)
    assert one.watcher.up is waiting, one.watcher.verdict()
    one.step(4.3)
    one.step(4.306)
    assert not one.watcher.up, f"silent since then: {one.watcher.verdict()}"


@pytest.mark.parametrize("waiting", [True, False], ids=["packets wait in the socket", "nothing waits"])
def test_a_successor_that_stands_still_reads_first_too(waiting: bool) -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    one.watcher = Bfd(one.watcher.config, {}, True)
    start(one, now=3.1)
    (packet, *_) = [octets for at in range(100, 200) for octets in two.step(3.0 + at / 1000)]
    one.step(4.5)
    if waiting:
        one.hear(packet, 4.5)
    one.step(4.506)
    assert one.watcher.session is not None
    assert (one.watcher.session.state is State.UP) is waiting, one.watcher.verdict()


def test_one_direction_cut_takes_both_ends_down() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    run(one, two, 3.0, 3.3, cut="to one")
    assert not one.watcher.up
    assert not two.watcher.up
    assert "peer's diagnostic: control detection time expired" in two.watcher.verdict().text


def test_frames_go_to_the_group_until_the_peer_is_known_and_again_afterwards() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    assert one.sent[0][:6] == bfd.GROUP == one.watcher.taps()[0].address
    assert one.sent[-1][:6] == PEER_MAC
    run(one, two, 3.0, 5.0, cut="both")
    assert one.sent[-1][:6] == bfd.GROUP


def test_a_session_that_was_never_up_keeps_nobody_out_unless_it_is_told_to() -> None:
    for required, up in ((False, True), (True, False)):
        one = side(required=required)
        start(one)
        assert one.watcher.up is up
    assert one.watcher.verdict().text == f"bfd: nothing heard of {PEER}"


def test_administratively_down_is_no_failure() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    two.watcher = Bfd(replace(two.watcher.config, admin_down=True), {}, True)
    start(two, now=3.0)
    run(one, two, 3.0, 3.1)
    assert one.watcher.up
    assert one.watcher.verdict().text == f"bfd: peer {PEER} says: administratively down"
    assert two.watcher.up
    two.set_link(False, 3.2)
    assert not two.watcher.up


def test_a_successor_goes_on_without_the_peer_noticing() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    one.watcher = Bfd(one.watcher.config, {}, True)
    start(one, now=3.1)
    downs = two.watcher.down_count
    run(one, two, 3.1, 5.0)
    assert two.watcher.down_count == downs
    assert (one.watcher.up, one.watcher.down_count) == (True, 0)
    assert one.watcher.session is not None
    assert not one.watcher.session.polling
    run(one, two, 5.0, 5.25, cut="both")
    assert not one.watcher.up, "the patience of a successor is over when its poll is answered"


def test_other_timers_are_told_by_a_poll_and_lose_nothing() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    one.watcher = Bfd(replace(one.watcher.config, interval=300), {}, True)
    start(one, now=3.0)
    run(one, two, 3.0, 6.0)
    assert two.watcher.down_count == 0
    assert two.watcher.state()["peer"]["interval_us"] == 300_000
    assert two.watcher.state()["detection_time_us"] == 900_000


def test_no_carrier_ends_the_session_at_once() -> None:
    one, two = side(), other()
    start(one, two)
    run(one, two, 0.0, 3.0)
    one.set_link(False, 3.0)
    assert not one.watcher.up
    assert one.watcher.state()["diagnostic"] == "path down"
    one.sent.clear()
    one.step(9.0)
    assert one.sent == []
    one.set_link(True, 9.0)
    assert not one.watcher.up, "a session that was up must come up again"


def packet(**changes: Any) -> bfd.Packet:
    return replace(bfd.Packet(State.DOWN, 77), **changes)


def datagram(told: bfd.Packet, source: str = PEER, destination: str = US) -> bytes:
    return bfd.Datagram(ip_address(source), ip_address(destination), told).frame(PEER_MAC)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (datagram(packet(), source="192.0.2.9"), "wrong_host"),
        (datagram(packet(), destination="192.0.2.9"), "wrong_host"),
        (datagram(packet(your_discriminator=5)), "discriminator"),
        (datagram(packet(my_discriminator=0)), "discriminator"),
        (datagram(packet(state=State.UP)), "discriminator"),
        (datagram(packet(multiplier=0)), "multiplier"),
        (datagram(packet(flags=bfd.Flag.MULTIPOINT)), "multipoint"),
        (datagram(packet(flags=bfd.Flag.POLL | bfd.Flag.FINAL)), "flags"),
        (datagram(packet(flags=bfd.Flag.AUTHENTICATION)), "payload_length"),
        (bfd.Datagram(ip_address(PEER), ip_address(US), packet()).frame(OUR_MAC), "own_address"),
    ],
)
def test_what_the_peer_would_not_say_is_counted_and_dropped(octets: bytes, reason: str) -> None:
    one = side()
    start(one)
    one.hear(octets, 0.1)
    assert one.watcher.state()["drops"] == {reason: 1}
    assert one.watcher.session is not None
    assert one.watcher.session.peer is None


def test_a_peer_that_wants_no_packets_gets_none_and_one_that_demands_gets_answers_only() -> None:
    one = side(interval=100)
    start(one)
    ours = discriminator(3, one.watcher.config)
    one.hear(datagram(packet(your_discriminator=ours, state=State.INIT)), 0.1)
    one.hear(datagram(packet(your_discriminator=ours, state=State.UP, flags=bfd.Flag.FINAL)), 0.2)
    one.hear(datagram(packet(your_discriminator=ours, state=State.UP, flags=bfd.Flag.DEMAND)), 0.3)
    one.step(0.3)
    one.sent.clear()
    assert not [octets for tenth in range(4, 20) for octets in one.step(tenth / 10)]
    poll = packet(your_discriminator=ours, state=State.UP, flags=bfd.Flag.DEMAND | bfd.Flag.POLL)
    one.hear(datagram(poll), 2.0)
    (answer,) = one.step(2.0)
    assert bfd.parse(ethernet.parse(answer).payload).packet.flags is bfd.Flag.FINAL


def test_wrong_settings_are_named() -> None:
    assert dict(BfdConfig().contradictions()) == {
        "local_host": "missing; give the address, as 192.0.2.1",
        "peer_host": "missing; give the address, as 192.0.2.1",
    }
    asked = BfdConfig(local_host=US, peer_host=PEER, authentication="keyed sha1", echo=True, demand=True)
    assert dict(asked.contradictions()) == {
        "authentication": "keyed sha1 is not supported; write none, here and on the switch",
        "echo": "not supported; leave it out, here and on the switch",
        "demand": "not supported; leave it out, here and on the switch",
    }
    assert [key for key, _ in BfdConfig(local_host="192.0.2.1", peer_host="2001:db8::1").contradictions()] == [
        "peer_host"
    ]
