"""The conformance list, T17 to T32, T34 and T35: several ports, limits, leaving and restarting, losses."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from lacp_pair import Box, World
from lacp_peer import Peer
from lacp_story import COLLECTING, DISTRIBUTING, SYNC, meet, mistaken, together, without, worst_burst

from pyteamd.model.events import FrameSeen
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.wire import marker, slow
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo, Tlv
from pyteamd.wire.marker import Kind, Marker


def test_t17_a_partner_port_that_moves_makes_the_old_port_begin_again() -> None:
    world, box, peer = together()
    world.disconnect(peer, 103)
    assert box.state(3)["partner_lacpdu_info"]["port"] == 103, "kept while the link is down"
    box.ports[5] = box.ports[4].__class__(5, b"\x02\0\0\0\0\x05")
    box.present(3, 4, 5)
    world.connect((box, 5), (peer, 103))
    world.run(1.01)
    assert box.rx(5) == "current"
    assert box.state(3)["partner_lacpdu_info"]["port"] == 0


def test_t17_a_link_that_stays_up_keeps_its_partner_until_it_times_out() -> None:
    world, box, peer = together()
    peer.ports[103].every = None
    world.run(0.01)
    moved = Lacpdu(peer.actor(peer.ports[103]), mistaken(box, 4))
    box.handle(FrameSeen(4, slow.GROUP, peer.mac, 0x8809, None, moved.build()))
    assert box.serving() == {3}, "port 4 is another link now and waits"
    world.run(3.1)
    assert (box.rx(3), box.said("partner moved")) == ("expired", [])


def test_t17_a_partner_with_one_number_on_two_ports_is_not_sent_back_and_forth() -> None:
    world, box, peer = meet(speak=False)
    twin = Peer(world, "twin", peer.mac)
    twin.port(103)
    world.connect((box, 4), (twin, 103))
    peer.begin()
    twin.begin()
    world.run(60.0)
    assert box.said("partner moved") == []
    assert box.serving() == {3, 4}


def test_t18_own_lacpdus_that_come_back_never_put_a_port_in_service() -> None:
    world = World(1)
    box = Box(world, "a", [3, 4])
    box.start()
    world.connect((box, 3), (box, 4))
    world.run(30.0)
    assert box.serving() == set()
    assert (box.rx(3), box.blocked(3)) == ("current", "loopback")
    assert len(box.said("loopback: our own LACPDUs, sent through eth4, come back")) == 1
    assert worst_burst(world.pace(box, 3, 0.0)) <= 3


def test_t18_two_teams_with_one_address_are_told_apart_from_a_loop() -> None:
    world = World(1)
    one, other = Box(world, "a", [3], mac=b"\x02\0\0\0\0a"), Box(world, "b", [3], mac=b"\x02\0\0\0\0a")
    other.ports[3].original_mac = b"\x02\xff\0\0\0\x03"
    one.start()
    other.start()
    world.connect((one, 3), (other, 3))
    world.run(30.0)
    assert one.serving() == other.serving() == set()
    assert one.blocked(3) == "same_system"
    assert one.said("another system (02:ff:00:00:00:03) has our system identifier")


def test_t19_a_partner_that_is_wrong_about_collecting_only_gets_no_extra_lacpdu() -> None:
    world, box, peer = together()
    for number, port in peer.ports.items():
        port.echo = mistaken(box, number - 100, state=without(0x3F, COLLECTING, DISTRIBUTING) | 0xC0)
    since = world.now
    world.run(30.0)
    assert len(world.pace(box, 3, since)) == 30


def test_t20_a_partner_that_is_wrong_without_end_gets_three_lacpdus_a_second() -> None:
    world, box, peer = together()
    peer.ports[103].echo = mistaken(box, 3, state=without(0x3F, SYNC))
    for _ in range(1200):
        peer.say(103)
        world.run(0.05)
    since = world.now - 60.0
    assert worst_burst(world.pace(box, 3, since)) == 3
    assert len(world.pace(box, 3, since)) == pytest.approx(180, abs=3)
    assert len(world.pace(box, 4, since)) == pytest.approx(60, abs=2)


def test_t21_the_interval_is_what_the_partner_asks_for() -> None:
    world, box, peer = together()
    peer.say(103, state=0x3D)
    since = world.now
    world.run(95.0)
    moments = world.pace(box, 3, since + 1.01)
    assert moments[0] - since == pytest.approx(30.0, rel=0.1)
    assert [later - at for at, later in pairwise(moments)] == pytest.approx([30.0, 30.0], rel=0.1)
    since = world.now
    peer.say(103, state=0x3F)
    world.run(10.0)
    moments = world.pace(box, 3, since)
    assert moments[0] - since < 0.01, "at once"
    assert [b - a for a, b in pairwise(moments)] == pytest.approx([1.0] * 9, rel=0.1)


def test_t22_unlike_speeds_are_kept_apart_where_keys_follow_speed() -> None:
    for key_policy, expected in (("teamd", {3, 4}), ("speed", {4})):
        world, box, peer = meet(speak=False, key_policy=key_policy, agg_select_policy="bandwidth")
        box.ports[4].speed_mbps = 10_000
        peer.begin()
        world.run(6.0)
        assert box.serving() == expected
    assert box.state(4)["actor_lacpdu_info"]["key"] == 7 << 1 | 1
    assert box.state(3)["actor_lacpdu_info"]["key"] == 4 << 1 | 1


def test_t23_port_numbers_are_unique_and_not_zero() -> None:
    ports = dict.fromkeys((5, 65536, 65541, 131072, 131077), LacpPortConfig())
    world, _box, _peer = meet(speak=False)
    many = Box(world, "m", ports)
    many.start()
    numbers = [many.state(ifindex)["actor_lacpdu_info"]["port"] for ifindex in ports]
    assert numbers[0] == 5
    assert len(set(numbers)) == 5
    assert all(0 < number < 65536 for number in numbers)


@pytest.mark.parametrize("system_id", [None, b"\x02\xdd\0\0\0\x01"])
def test_t24_the_system_identifier_follows_the_team_unless_it_is_configured(system_id: bytes | None) -> None:
    world, box, peer = together(system_id=system_id)
    since = world.now
    box.set_mac(b"\x02\xaa\0\0\0\x01")
    world.run(4.0)
    assert box.ports[3].mac == b"\x02\xaa\0\0\0\x01"
    told = peer.ports[103].heard[-1][1].actor.system
    if system_id:
        assert told == system_id
        assert box.changes(3, since) == []
    else:
        assert told == b"\x02\xaa\0\0\0\x01"
        assert [value for _, value in box.changes(3, since)] == [False, True]
        assert box.said("LACP system identifier changed from 02:00:00:00:00:61 to 02:aa:00:00:00:01.")
    assert box.serving() == {3, 4}


def test_t25_a_partner_that_never_comes_in_sync_is_churn_after_a_minute() -> None:
    world, box, peer = meet(speak=False)
    peer.ports[103].state = without(0x3F, SYNC, COLLECTING, DISTRIBUTING)
    peer.begin()
    world.run(70.0)
    assert box.said("eth3: partner churn")[0] == pytest.approx(60.0, abs=1.0)
    details = box.state(3)["details"]
    assert details["churn"] == {"actor": "none", "partner": "churned"}
    assert details["counters"]["partner_churns"] == 1
    peer.say(103, state=0x3F)
    world.run(0.01)
    details = box.state(3)["details"]
    assert details["churn"]["partner"] == "none"
    assert details["counters"]["partner_churns"] == 1


@pytest.mark.parametrize(
    ("fallback", "delay_ms", "expected", "carrier"),
    [
        ("off", 0, set(), False),
        ("static", 0, {3, 4}, True),
        ("individual", 0, {4}, True),
        ("static", 5000, {3, 4}, True),
    ],
)
def test_t26_fallback_as_configured_and_left_at_the_first_lacpdu(
    fallback: str, delay_ms: int, expected: set[int], carrier: bool
) -> None:
    ports = {3: LacpPortConfig(prio=0), 4: LacpPortConfig(prio=10)}
    world, box, peer = meet(ports, speak=False, fallback=fallback, fallback_delay=delay_ms)
    world.run(3.0 + delay_ms / 1000 - 0.01)
    assert box.serving() == set()
    assert box.observed.carrier is False
    world.run(0.02)
    assert box.serving() == expected
    assert box.observed.carrier is carrier
    assert box.actor_state(3) == 0x47, "nothing is claimed on the wire"
    peer.say(103)
    world.run(0.01)
    assert box.serving() == set(), "left at the first LACPDU, by all ports"
    peer.begin()
    world.run(4.0)
    assert box.serving() == {3, 4}


def test_t27_markers_are_answered_with_the_same_content_and_a_limit() -> None:
    world, box, peer = together()
    for transaction in range(1000):
        request = Marker(Kind.REQUEST, 103, peer.mac, transaction).build()
        world.at(transaction / 1000, lambda octets=request: box.frame(3, slow.GROUP + peer.mac + b"\x88\x09" + octets))
    bad = Marker(Kind.REQUEST, 103, peer.mac, 9999).build()
    box.frame(3, slow.GROUP + peer.mac + b"\x88\x09" + bad[:3] + b"\x09" + bad[4:])
    box.frame(3, slow.GROUP + peer.mac + b"\x88\x09" + Marker(Kind.RESPONSE, 103, peer.mac, 9998).build())
    since, before = world.now, len(peer.ports[103].raw)
    world.run(1.5)
    answers = [octets for _, octets in peer.ports[103].raw[before:] if octets[14] == slow.SUBTYPE_MARKER]
    read = [marker.parse(octets[14:], octets[:6]) for octets in answers]
    assert [one.transaction for one in read[:7]] == list(range(7)), "the first ones, each once"
    assert len({one.transaction for one in read}) == len(read)
    assert all((one.kind, one.port, one.system) == (Kind.RESPONSE, 103, peer.mac) for one in read)
    assert worst_burst(world.pace(box, 3, since)) <= 10
    counters = box.state(3)["details"]["counters"]
    assert (counters["markers_received"], counters["marker_responses_sent"]) == (1000, len(read))
    assert counters["bad"] == {"tlv_length": 1, "marker_response": 1, "marker_rate": 1000 - len(read)}
    assert box.serving() == {3, 4}


def test_t28_carrier_needs_min_ports() -> None:
    world, box, _peer = together(ports=dict.fromkeys((3, 4, 5), LacpPortConfig()), min_ports=2)
    cables = [world.cables[id(box), ifindex] for ifindex in box.ports]
    for lost, carrier in ((0, True), (1, False), (2, False)):
        world.set_link(cables[lost], False)
        assert box.observed.carrier is carrier
    for back, carrier in ((2, False), (1, True), (0, True)):
        world.set_link(cables[back], True)
        world.run(0.1)
        assert box.observed.carrier is carrier
    flips = [value for _, name, value in box.writes if name == "carrier"]
    assert flips == [False, True, False, True]
    assert [text for _, text in box.notes if "carrier" in text] == [
        "carrier changed to UP",
        "carrier changed to DOWN",
        "carrier changed to UP",
    ]


def test_t29_leaving_tells_the_partner_at_once_and_is_silent_then() -> None:
    world, box, peer = together()
    since = world.now
    box.stop()
    world.run(10.0)
    last = [pdu for at, pdu in peer.ports[103].heard if at >= since]
    assert [pdu.actor.state for pdu in last] == [0x07]
    assert world.pace(box, 4, since) == [since]


def test_t29_without_leave_everything_stays() -> None:
    world, box, _peer = together()
    since = world.now
    box.kill()
    world.run(2.0)
    assert world.pace(box, 3, since) == []
    assert box.serving() == {3, 4}
    assert box.observed.carrier is True


def test_t29_a_port_that_is_released_says_goodbye_alone() -> None:
    world, box, peer = together()
    since = world.now
    assert box.runner is not None
    box.runner.leave_port(3, box.view, world.now)
    box.handle(FrameSeen(3, slow.GROUP, peer.mac, 0x8809, None, b"\x01"))
    world.run(0.5)
    assert [pdu.actor.state for at, pdu in peer.ports[103].heard if at >= since] == [0x07]
    assert box.serving() == {4}
    box.present(4)
    world.run(5.0)
    assert box.serving() == {4}


@pytest.mark.parametrize("fast", [True, False])
def test_t30_killed_and_started_again_the_partner_sees_no_change(fast: bool) -> None:
    random = Random(30)
    for _ in range(10):
        world, box, peer = together(fast_rate=fast)
        world.run(random.random() * 3)
        since = world.now
        box.kill()
        world.run(0.2 + random.random() * 1.7)
        box.start(resume=True)
        world.run(0.01)
        for ifindex in box.ports:
            first = next(pdu for at, pdu in peer.ports[ifindex + 100].heard if at > since)
            assert first.actor.state == (0x3F if fast else 0x3D)
            assert first.partner == peer.actor(peer.ports[ifindex + 100]), "a right echo"
        world.run(10.0)
        assert [write for write in box.writes if write[0] >= since] == []
        service = [f"eth{i}: in service (partner 02:bb:00:00:00:01, key 7)" for i in box.ports]
        assert [text for at, text in box.notes if at >= since] == service


def test_t30_without_a_file_one_lacpdu_of_the_partner_is_enough() -> None:
    world, box, peer = together()
    since = world.now
    box.kill()
    world.run(0.5)
    box.file = None
    box.start(adopted=True)
    world.run(5.0)
    assert {pdu.actor.state for at, pdu in peer.ports[103].heard if at > since} == {0x3F}
    assert [write for write in box.writes if write[0] >= since] == []


def test_t31_a_partner_that_restarts_comes_back_without_a_loop_of_lacpdus() -> None:
    world, box, peer = together()
    since = world.now
    nobody = LacpInfo(0, bytes(6), 0, 0, 0, 0)
    for number in peer.ports:
        peer.say(number, echo=nobody, state=without(0x3F, SYNC, COLLECTING, DISTRIBUTING))
    world.run(1.0)
    assert box.serving() == set()
    assert box.actor_state(3) == 0x0F, "still attached"
    back = world.now
    for number in peer.ports:
        peer.say(number, echo=None, state=0x3F)
    world.run(0.1)
    assert box.serving() == {3, 4}
    world.run(20.0)
    assert [value for _, value in box.changes(3, since)] == [False, True]
    assert worst_burst(world.pace(box, 3, since)) <= 3
    assert len(world.pace(box, 3, back + 1.0)) <= 21


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
def test_t32_an_hour_of_losses_doubles_and_wrong_order(fast: bool) -> None:
    world = World(32)
    one, other = Box(world, "a", [3], fast_rate=fast), Box(world, "b", [5], fast_rate=fast)
    cable = world.connect((one, 3), (other, 5), loss=0.05, double=0.05, jitter=0.02)
    lost: list[float] = []
    one.start()
    other.start()
    arrive = one.frame

    def heard(ifindex: int, octets: bytes) -> None:
        lost.append(world.now)
        arrive(ifindex, octets)

    one.frame = heard  # type: ignore[method-assign]
    world.run(3600.0)
    expired = one.said('"current" -> "expired"')
    assert cable.up
    if not fast:
        assert expired == []
    for at in expired:
        assert max(moment for moment in lost if moment < at) <= at - 3.0, "three in a row were lost"
    assert one.serving() == {3} or expired[-1] > 3590.0


def test_t34_the_0xf1_dialect_is_read_as_version_1() -> None:
    world, box, peer = meet(speak=False)
    world.run(0.5)
    retry = (Tlv(0x80, b"\x03\0"), Tlv(0x81, b"\x03\0"))
    pdu = Lacpdu(peer.actor(peer.ports[103]), mistaken(box, 3), version=0xF1, extra=retry)
    box.handle(FrameSeen(3, slow.GROUP, peer.mac, 0x8809, None, pdu.build()))
    assert box.rx(3) == "current"
    assert box.state(3)["partner_lacpdu_info"]["port"] == 103


def test_t35_a_partner_that_knows_nobody_is_not_served_until_its_echo_is_right() -> None:
    world, box, peer = meet(speak=False)
    nobody = LacpInfo(0, bytes(6), 0, 0, 0, 0)
    for port in peer.ports.values():
        port.echo, port.state = nobody, 0x7F
    peer.begin()
    world.run(10.0)
    assert box.serving() == set()
    assert box.blocked(3) == "partner_mistaken"
    for number in peer.ports:
        peer.say(number, echo=None, state=0x3F)
    world.run(0.1)
    assert box.serving() == {3, 4}
