"""LACP on the real driver against a scripted partner: the conformance list T01 to T35, as far as a kernel can show it.

A is pyteamd, P the scripted partner of `lacp_kit`. Short timeout unless said. PYTEAMD_LONG=1 in the environment runs the minutes too.
The others of the list: T10 to T12, T24, T26, T31, T32 and T35 in test_lacp_changes.py, T04, T22, T23 and T28 to T30 in
test_lacp_teams.py, T30 again in test_lacp_crashes.py, T33 in test_lacp_peers.py. T14 and T15 need a kernel whose team driver switches
both directions of a port apart (`rx_enabled`, `tx_enabled`). The hour of T32 passes on simulated time only, in tests/runners/lacp.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_kit import Bench, bench, wait_for
from lacp_kit import (
    AGGREGATION,
    COLLECTING,
    DEFAULTED,
    DISTRIBUTING,
    ETH_P_SLOW,
    EXPIRED,
    IN_SERVICE,
    LIMIT,
    LONG,
    SHORT,
    SYNC,
    Wire,
    apply,
    config,
    enabled,
    explained,
    has,
    port_state,
    serving,
    team,
    wire,
    worst_second,
    write_pcap,
)
from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.l2 import Ether
from wire_kit import Announcements

pytestmark = pytest.mark.kernel
APART = pytest.mark.kernel_kind("independent", reason="rx_enabled and tx_enabled")


@pytest.fixture(scope="module")
def standing() -> Iterator[Wire]:
    """One team with two ports for all tests that need nothing else."""
    with bench() as on, team(on, config()), wire(on) as made:
        yield made


@pytest.fixture
def a(standing: Wire) -> Wire:
    """The team, its links just up, and a partner it has never met."""
    standing.fresh()
    return standing


def counters(number: int = 1) -> dict[str, Any]:
    """What port number N has counted."""
    found: dict[str, Any] = port_state(number)["details"]["counters"]
    return found


def bad(number: int = 1) -> dict[str, int]:
    """Frames of no use so far, by reason."""
    found: dict[str, int] = counters(number)["bad"]
    return found


def test_t01_the_first_lacpdu_comes_at_once_and_is_right(a: Wire) -> None:
    for peer in a.peers.values():
        peer.every_s = None
    began = time.monotonic()
    heard = a.peers[1].heard
    a.run(15.0, lambda: port_state(1)["state"] == "defaulted" and heard[-1][1].actor_state == 0x47)
    assert heard[0][0] - began < 3.0
    assert (heard[0][1].actor_state, heard[-1][1].actor_state) == (0xC7, 0x47)
    assert {len(octets) for octets in a.peers[1].frames} == {124}
    first = Ether(a.peers[1].frames[0])
    assert (first.dst, first.src) == ("01:80:c2:00:00:02", "02:00:00:00:01:01")
    assert serving() == set()
    assert not enabled(a.on, 1)


def test_t02_bad_frames_are_ignored_and_counted(a: Wire) -> None:
    peer = a.peers[1]
    peer.every_s = None
    a.run(15.0, lambda: peer.heard)
    good, before = peer.frame(peer.pdu()), bad()
    for length in (60, 80, 14 + 109):
        peer.ear.say(good[:length])
    for place, value in ((17, 19), (37, 21), (57, 0)):
        peer.ear.say(good[:place] + bytes((value,)) + good[place + 1 :])
    for changes in ({"dst": "01:80:c2:00:00:03"}, {"dst": "02:00:00:00:01:01"}, {"type": 0x88CC}):
        peer.ear.say(peer.frame(peer.pdu(), **changes))
    peer.ear.say(good[:14] + b"\x09" + good[15:])
    wait_for(lambda: sum(bad().values()) - sum(before.values()) >= 9)
    now = bad()
    grown = {reason: now[reason] - before.get(reason, 0) for reason in now if now[reason] != before.get(reason, 0)}
    assert grown == {"too_short": 3, "tlv_length": 3, "wrong_destination": 2, "subtype": 1}
    assert port_state(1)["state"] in ("expired", "defaulted")


def test_a_slow_frame_in_a_vlan_is_refused_and_counted_and_one_with_a_priority_alone_is_heard(a: Wire) -> None:
    peer = a.peers[1]
    peer.every_s = None
    a.run(15.0, lambda: peer.heard)
    good, before = peer.frame(peer.pdu()), bad().get("tagged", 0)
    received = counters()["lacpdus_received"]

    def say(tci: int) -> None:
        peer.ear.say(good[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + good[12:])

    say(0x0005)
    say(0xE005)
    wait_for(lambda: bad().get("tagged", 0) == before + 2, 10.0, f"counted, of {before}: {counters()}")
    assert counters()["lacpdus_received"] == received
    say(0xE000)
    wait_for(lambda: counters()["lacpdus_received"] == received + 1, 10.0, f"heard: {counters()}")
    assert bad()["tagged"] == before + 2


@pytest.mark.parametrize(
    "odd",
    [
        {"version": 2},
        {"actor_type": 9, "partner_type": 9, "collector_type": 9, "terminator_type": 0},
        {"actor_reserved": b"abc", "partner_reserved": b"abc", "collector_reserved": b"x" * 12, "reserved": b"y" * 50},
    ],
    ids=["version", "types", "reserved"],
)
def test_t03_odd_versions_types_and_reserved_octets_are_accepted(a: Wire, odd: dict[str, Any]) -> None:
    a.peers[1].mistakes.update(odd)
    a.run(15.0, lambda: port_state(1)["state"] == "current")
    assert port_state(1)["state"] == "current"


@pytest.mark.parametrize("version", [2, 0xF1], ids=["t05 version 2", "t34 version 0xf1"])
def test_t05_t34_later_versions_with_their_own_tlvs_are_read_by_the_fields_of_version_1(a: Wire, version: int) -> None:
    tlv = b"\x04\x06\x00\x80\xc2\x01" if version == 2 else b"\x80\x04\x05\x00\x81\x04\x05\x00"
    for peer in a.peers.values():
        peer.mistakes.update(
            version=version, terminator_type=tlv[0], terminator_length=tlv[1], reserved=tlv[2:].ljust(50, b"\0")
        )
    a.await_service(1, 2)


def test_t06_a_link_that_is_back_in_a_tenth_of_a_second_is_in_service_with_the_first_lacpdu(a: Wire) -> None:
    a.await_service(1, 2)
    peer = a.peers[1]
    peer.every_s = None
    a.links.up("p1", False)
    a.run(15.0, lambda: port_state(1)["state"] == "disabled")
    cut = time.monotonic()
    a.links.up("p1", True)
    a.run(15.0, lambda: peer.since(cut))
    first = peer.since(cut)[0][1]
    assert first.actor_state & ~SYNC == 0x87, "expired"
    assert (first.partner_system, first.partner_port_number) == (peer.system, peer.port), "the partner is not forgotten"
    assert 1 not in serving()
    peer.say()
    assert a.run(15.0, lambda: enabled(a.on, 1)) < 3.0
    peer.every_s = 1.0


def test_t08_a_partner_that_means_another_system_is_not_believed(a: Wire) -> None:
    peer = a.peers[1]
    for name, wrong in (
        ("system", "02:99:00:00:00:01"),
        ("key", 99),
        ("port_number", 9999),
        ("port_priority", 1),
        ("system_priority", 1),
    ):
        peer.mistakes[f"partner_{name}"] = wrong
        a.run(15.0, lambda: serving() == {2})
        assert serving() == {2}, name
        assert port_state(1)["details"]["blocked_by"] == "partner_mistaken", name
        field = name.replace("_", " ").removesuffix(" number")
        words = f"partner {peer.system} takes us for another system: it says our {field} is {wrong}, it is"
        a.run(15.0, lambda words=words: words in explained(1))
        assert words in explained(1)
        assert not enabled(a.on, 1)
        peer.mistakes.clear()
    a.await_service(1, 2)


def test_t09_an_individual_link_is_not_put_together_with_another(a: Wire) -> None:
    a.peers[2].state &= ~AGGREGATION
    a.run(15.0, lambda: serving() == {1})
    a.run(1.0)
    assert len(serving()) == 1
    assert "says that this link may not be aggregated" in explained(2)
    a.peers[2].state |= AGGREGATION
    a.await_service(1, 2)


def test_t13_attached_first_and_collecting_and_distributing_only_in_sync(a: Wire) -> None:
    for peer in a.peers.values():
        peer.state &= ~(SYNC | COLLECTING | DISTRIBUTING)
    heard = a.peers[1].heard
    attached = IN_SERVICE & ~(COLLECTING | DISTRIBUTING)  # the very first LACPDU is still about the former partner
    a.run(15.0, lambda: heard and heard[-1][1].actor_state == attached)
    a.run(1.0)
    assert heard[-1][1].actor_state == attached
    assert serving() == set()
    words = f"partner {a.peers[1].system} has not set SYNC (active, short timeout, aggregatable, out of sync)"
    assert words in explained(1)
    for peer in a.peers.values():
        peer.state = IN_SERVICE
    a.await_service(1, 2)
    assert not any(pdu.actor_state & (COLLECTING | DISTRIBUTING) and not pdu.actor_state & SYNC for _, pdu in heard)
    independent = has_option(a.on, "rx_enabled")
    assert port_state(1)["details"]["mux"]["mode"] == ("independent" if independent else "coupled")
    bits = {pdu.actor_state & (COLLECTING | DISTRIBUTING) for _, pdu in heard}
    if not independent:
        assert bits <= {0, COLLECTING | DISTRIBUTING}, "T16: a coupled kernel changes both together"
    assert DISTRIBUTING not in bits, "who sends also receives"


def has_option(on: Bench, name: str) -> bool:
    """The driver knows the option of a port."""
    return on.on_host(f"teamnl team0 getoption -p em1 {name}").status == 0


def switches(on: Bench) -> tuple[str, ...]:
    """What the driver says of port 1: enabled, rx_enabled, tx_enabled."""
    names = ("enabled", "rx_enabled", "tx_enabled")
    return tuple(on.on_host(f"teamnl team0 getoption -p em1 {name}").out.strip() for name in names)


@APART
def test_t14_collects_first_and_distributes_when_the_partner_collects(a: Wire) -> None:
    peer = a.peers[1]
    peer.state &= ~(COLLECTING | DISTRIBUTING)
    a.run(15.0, lambda: peer.first(COLLECTING))
    a.run(1.0)
    assert peer.heard[-1][1].actor_state & (SYNC | COLLECTING | DISTRIBUTING) == SYNC | COLLECTING
    assert switches(a.on) == ("false", "true", "false")
    assert 1 not in serving()
    assert "by hand" not in explained(1)
    peer.state |= COLLECTING
    a.run(15.0, lambda: peer.first(DISTRIBUTING))
    assert peer.heard[-1][1].actor_state & (SYNC | COLLECTING | DISTRIBUTING) == SYNC | COLLECTING | DISTRIBUTING
    assert switches(a.on) == ("true", "true", "true")


@APART
def test_t15_stops_distributing_and_goes_on_collecting(a: Wire) -> None:
    a.await_service(1, 2)
    peer = a.peers[1]
    peer.state &= ~(COLLECTING | DISTRIBUTING)
    peer.say()
    a.run(15.0, lambda: switches(a.on)[2] == "false")
    assert switches(a.on) == ("false", "true", "false")
    a.run(0.5)
    assert peer.heard[-1][1].actor_state & (SYNC | COLLECTING | DISTRIBUTING) == SYNC | COLLECTING
    assert serving() == {2}


@pytest.mark.parametrize(
    "name", ["enabled", pytest.param("tx_enabled", marks=APART), pytest.param("rx_enabled", marks=APART)]
)
def test_a_switch_that_is_set_by_hand_is_put_back(a: Wire, name: str) -> None:
    """Half of the flows would be lost, and the partner knows nothing of it."""
    a.await_service(1, 2)
    a.on.on_host(f"teamnl team0 setoption -p em1 {name} false")
    a.run(15.0, lambda: enabled(a.on, 1))
    assert enabled(a.on, 1)
    a.run(1.0)
    assert serving() == {1, 2}
    assert "by hand" not in explained(1)


def test_t17_a_partner_port_that_moves_takes_nothing_away_before_the_old_one_has_timed_out(a: Wire) -> None:
    a.await_service(1, 2)
    old, new = a.peers[1], a.peers[2]
    with Announcements(a.on.host) as driver:
        old.say()
        old.every_s, new.port = None, old.port
        new.say()
        a.run(15.0, lambda: port_state(1)["state"] == "expired")
        assert time.monotonic() - old.said_at == pytest.approx(3.0, abs=0.3)
        assert not driver.carrier(False), "never without carrier"
    assert not enabled(a.on, 1)
    assert serving() == {2}


def test_t18_our_own_lacpdus_that_come_back_never_bring_a_port_into_service(a: Wire) -> None:
    one, two = a.peers[1], a.peers[2]
    one.every_s = two.every_s = None
    a.run(15.0, lambda: one.frames and two.frames)
    began = time.monotonic()
    while time.monotonic() - began < 3.0:
        a.run(0.2)
        two.ear.say(one.frames[-1])
        one.ear.say(two.frames[-1])
    assert serving() == set()
    assert [port_state(number)["details"]["blocked_by"] for number in (1, 2)] == ["loopback", "loopback"]
    assert "loopback: LACPDUs we send through em2 come back here" in explained(1)
    ours = one.heard[-1][1].actor_system
    one.system = two.system = ours
    one.every_s = two.every_s = 1.0
    a.run(2.5)
    assert serving() == set()
    assert [port_state(number)["details"]["blocked_by"] for number in (1, 2)] == ["same_system", "same_system"]
    assert f"another system ({one.source}) has our system identifier {ours}" in explained(1)


def test_t19_an_echo_that_is_wrong_about_collecting_only_brings_no_more_lacpdus(a: Wire) -> None:
    a.await_service(1, 2)
    peer = a.peers[1]
    peer.answers = False
    peer.mistakes["partner_state"] = IN_SERVICE & ~(COLLECTING | DISTRIBUTING)
    a.run(1.5)
    began = time.monotonic()
    a.run(5.0)
    assert len(peer.since(began)) <= 6
    assert serving() == {1, 2}


def test_t20_a_partner_that_is_wrong_without_end_gets_three_lacpdus_a_second_at_most(a: Wire) -> None:
    peer = a.peers[1]
    peer.answers, peer.every_s = False, 0.05
    peer.mistakes["partner_state"] = 0x07
    a.run(2.0)
    began = time.monotonic()
    a.run(60.0 if LONG else 6.0)
    moments = [at for at, _ in peer.since(began)]
    assert worst_second(moments) <= LIMIT + 1, "one that left before may arrive within the same second"
    assert len(moments) <= LIMIT * (time.monotonic() - began) + 1


def test_t21_the_pace_follows_what_the_partner_asks_for(a: Wire) -> None:
    a.await_service(1, 2)
    peer = a.peers[1]
    began = time.monotonic()
    a.run(5.5)
    assert peer.pauses(began) == pytest.approx([1.0] * len(peer.pauses(began)), abs=0.1)
    assert len(peer.pauses(began)) >= 4
    peer.state &= ~SHORT
    peer.say()
    changed = time.monotonic()
    a.run(35.0 if LONG else 5.0)
    slow = peer.since(changed + 1.1)
    assert len(slow) == (1 if LONG else 0)
    if LONG:
        before = [at for at, _ in peer.heard if at < slow[0][0]][-1]
        assert slow[0][0] - before == pytest.approx(30.0, rel=0.1)
    peer.state |= SHORT
    fast = time.monotonic()
    peer.say()
    a.run(3.5)
    assert peer.since(fast)[0][0] - fast < 3.0, "at once"
    assert peer.pauses(fast)[-1] == pytest.approx(1.0, abs=0.1)


def test_t07_a_partner_that_stops_is_out_of_service_after_three_seconds(a: Wire) -> None:
    a.await_service(1, 2)
    with Announcements(a.on.host) as driver:
        for peer in a.peers.values():
            peer.every_s = None
            peer.say()
        last = [peer.said_at for peer in a.peers.values()]
        a.run(8.0, lambda: all(peer.first(DEFAULTED, last[0]) for peer in a.peers.values()))
        off = [at for at, _, on in driver.enabled() if not on]
    assert [at - last[0] for at in off] == pytest.approx([3.0, 3.0], abs=0.1), "the driver"
    for peer, said in zip(a.peers.values(), last, strict=True):
        assert peer.first(EXPIRED, said) - said == pytest.approx(3.0, abs=0.1), "on the wire"
        assert peer.first(DEFAULTED, said) - peer.first(EXPIRED, said) == pytest.approx(3.0, abs=0.1)
    assert serving() == set()


@pytest.mark.skipif(not LONG, reason="a minute and a half; PYTEAMD_LONG=1")
def test_t07_at_slow_rate_it_is_after_ninety_seconds(a: Wire) -> None:
    apply(config(fast_rate=False))
    a.await_service(1, 2)
    for peer in a.peers.values():
        peer.every_s = None
        peer.say()
    peer = a.peers[2]
    a.run(95.0, lambda: peer.first(EXPIRED, peer.said_at))
    apply(config())
    assert peer.first(EXPIRED, peer.said_at) - peer.said_at == pytest.approx(90.0, abs=0.1)


def test_t25_churn_is_seen_after_a_minute_of_no_sync(a: Wire) -> None:
    for peer in a.peers.values():
        peer.state &= ~SYNC
    began = time.monotonic()
    a.run(4.0)
    assert port_state(1)["details"]["churn"] == {"actor": "none", "partner": "monitor"}
    if LONG:
        counted = port_state(1)["details"]["counters"]["partner_churns"]
        a.run(70.0, lambda: port_state(1)["details"]["churn"]["partner"] == "churned")
        assert time.monotonic() - began == pytest.approx(60.0, abs=1.5)
        assert port_state(1)["details"]["counters"]["partner_churns"] == counted + 1
    for peer in a.peers.values():
        peer.state = IN_SERVICE
    a.await_service(1, 2)
    assert port_state(1)["details"]["churn"] == {"actor": "none", "partner": "none"}


def test_t27_each_marker_is_answered_once_a_bad_one_not_and_a_thousand_no_more_than_ten(a: Wire) -> None:
    peer = a.peers[1]
    a.run(0.5)
    request = MarkerProtocol(
        requester_port=101, requester_system=peer.system, requester_transaction_id=77, reserved=b""
    )
    bad_length, response = request.copy(), request.copy()
    bad_length.marker_length, response.marker_type = 9, 2
    for pdu in (request, bad_length, response):
        peer.ear.say(peer.frame(pdu))
    a.run(0.5)
    (answer,) = peer.markers()
    assert (answer.marker_type, answer.requester_transaction_id, answer.requester_port) == (2, 77, 101)
    assert answer.requester_system == peer.system
    peer.frames.clear()
    octets = peer.frame(request)
    began = time.monotonic()
    for _ in range(1000):
        peer.ear.say(octets)
    a.run(1.5)
    assert 1 <= len(peer.markers()) <= 10 * (time.monotonic() - began)
    a.run(1.0)
    assert port_state(1)["state"] == "current"


def test_nothing_we_send_is_malformed(a: Wire, tmp_path: Path) -> None:
    peer = a.peers[1]
    a.await_service(1, 2)
    peer.ear.say(peer.frame(MarkerProtocol(requester_system=peer.system, reserved=b"")))
    a.run(1.0)
    a.links.up("p2", False)
    a.run(0.5)
    frames = [octets for peer in a.peers.values() for octets in peer.frames]
    assert len(frames) >= 5
    for octets in frames:
        read = Ether(octets)
        assert read.type == ETH_P_SLOW
        assert SlowProtocol in read
        assert LACP in read or MarkerProtocol in read
        assert bytes(read) == octets
    if has("tshark"):
        write_pcap(tmp_path / "capture", frames)
        asked = ("slow.subtype", "_ws.malformed", "_ws.expert.severity")
        words = ["tshark", "-n", "-r", str(tmp_path / "capture"), "-T", "fields"]
        for name in asked:
            words += ["-e", name]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(lines) == len(frames)
        assert {line.split("\t")[0] for line in lines} == {"0x01", "0x02"}
        assert {tuple(line.split("\t")[1:]) for line in lines} == {("", "")}
