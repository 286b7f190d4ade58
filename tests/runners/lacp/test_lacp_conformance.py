"""The conformance list, T01 to T16: what the standard asks of one port and its partner. P is scripted, A is the runner."""

from __future__ import annotations

import struct

import pytest
from lacp_pair import Box, World
from lacp_peer import Peer
from lacp_story import COLLECTING, DISTRIBUTING, SYNC, meet, mistaken, together, without, worst_burst

from pyteamd.model.events import UNTOLD_VLAN, FrameSeen
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.wire import lacpdu, slow
from pyteamd.wire.lacpdu import Lacpdu, Tlv


def pdu_for(box: Box, peer: Peer, ifindex: int = 3) -> Lacpdu:
    """A right LACPDU of P for this port of A."""
    return Lacpdu(peer.actor(peer.ports[ifindex + 100]), mistaken(box, ifindex))


def inject(
    box: Box, payload: bytes, destination: bytes = slow.GROUP, ethertype: int = 0x8809, vlan: int | None = None
) -> None:
    box.handle(FrameSeen(3, destination, b"\x02\xbb\0\0\0\x01", ethertype, vlan, payload))


def test_t01_first_lacpdu_at_once_well_formed_and_with_the_right_bits() -> None:
    world, box, peer = meet(speak=False)
    world.run(10.0)
    first, octets = peer.ports[103].raw[0]
    assert first < 1.0
    assert len(octets) == 124
    assert octets[:6] == slow.GROUP
    assert octets[6:12] == box.ports[3].original_mac
    heard = [(at, pdu.actor.state) for at, pdu in peer.ports[103].heard]
    assert heard[0][1] == 0xC7, "active, short timeout, aggregatable, defaulted, expired"
    defaulted = next(at for at, state in heard if state == 0x47)
    assert defaulted == pytest.approx(3.0, abs=0.01)
    assert heard[-1][1] == 0x47
    assert box.serving() == set()


GOOD = Lacpdu(
    lacpdu.LacpInfo(100, b"\x02\xbb\0\0\0\x01", 7, 255, 103, 0x3F),
    lacpdu.LacpInfo(65535, b"\x02\0\0\0\0a", 0, 255, 3, 0x07),
).build()


def octet(at: int, value: int) -> bytes:
    return GOOD[:at] + bytes((value,)) + GOOD[at + 1 :]


@pytest.mark.parametrize(
    ("payload", "extra", "reason"),
    [
        (GOOD[:46], {}, "too_short"),
        (GOOD[:66], {}, "too_short"),
        (GOOD[:95], {}, "too_short"),
        (GOOD[:109], {}, "too_short"),
        (b"", {}, "too_short"),
        (GOOD, {"destination": b"\x01\x80\xc2\0\0\x03"}, "wrong_destination"),
        (GOOD, {"destination": b"\x02\0\0\0\0a"}, "wrong_destination"),
        (GOOD, {"ethertype": 0x88CC}, ""),
        (GOOD, {"vlan": 5}, "tagged"),
        (GOOD, {"vlan": UNTOLD_VLAN}, "tagged"),
        (octet(0, 3), {}, "subtype"),
        (octet(3, 19), {}, "tlv_length"),
        (octet(3, 0), {}, "tlv_length"),
        (octet(23, 21), {}, "tlv_length"),
        (octet(43, 255), {}, "tlv_length"),
    ],
)
def test_t02_bad_frames_are_counted_and_change_nothing(payload: bytes, extra: dict[str, object], reason: str) -> None:
    world, box, _ = meet(speak=False)
    world.run(0.5)
    before = box.state(3)
    inject(box, payload, **extra)  # type: ignore[arg-type]
    after = box.state(3)
    assert after["details"]["counters"].pop("bad") == ({reason: 1} if reason else {})
    before["details"]["counters"].pop("bad")
    assert after == before


def test_t02_malformed_lacpdus_are_said_once_a_minute() -> None:
    world, box, _ = meet(speak=False)
    for _ in range(50):
        inject(box, GOOD[:109])
    assert len(box.said("malformed LACP PDU came.")) == 1
    world.run(61.0)
    inject(box, GOOD[:109])
    assert [text for _, text in box.notes if "malformed" in text][1].endswith(
        "(too_short, 49 more since the last such line)"
    )


@pytest.mark.parametrize("at", [1, 2, 22, 42, 58, 59, 60, 109, 19, 39, 46, 44])
def test_t03_versions_types_and_reserved_octets_are_not_judged(at: int) -> None:
    world, box, _ = meet(speak=False)
    world.run(0.5)
    inject(box, octet(at, 0xA5))
    assert box.rx(3) == "current"


def test_t04_two_passive_ends_stay_silent_until_one_becomes_active() -> None:
    world, box, peer = meet(speak=False, active=False)
    world.run(60.0)
    assert peer.ports[103].heard == []
    assert box.blocked(3) == "both_passive"
    peer.begin()
    world.run(5.0)
    assert box.serving() == {3, 4}
    assert peer.ports[103].heard[-1][1].actor.state == 0x3E
    for port in peer.ports.values():
        port.every = None
    world.run(20.0)
    silent = world.now
    world.run(30.0)
    assert world.pace(box, 3, silent) == []


def test_t05_version_2_with_a_port_algorithm_is_read_by_its_version_1_fields() -> None:
    world, box, peer = meet(speak=False)
    world.run(0.5)
    actor = peer.actor(peer.ports[103])
    inject(box, Lacpdu(actor, mistaken(box, 3), version=2, extra=(Tlv(4, b"\0\x80\xc2\x01"),)).build())
    assert box.rx(3) == "current"
    assert box.state(3)["details"]["counters"]["bad"] == {}


def test_t06_a_short_link_loss_keeps_the_partner_and_the_place() -> None:
    world, box, peer = together()
    cable = world.cables[id(box), 3]
    for port in peer.ports.values():
        port.answers, port.every = False, None
    world.set_link(cable, False)
    assert box.serving() == {4}
    assert box.rx(3) == "disabled"
    world.run(0.1)
    world.set_link(cable, True)
    assert box.rx(3) == "expired"
    assert box.state(3)["partner_lacpdu_info"]["system"] == "02:bb:00:00:00:01"
    assert box.actor_state(3) == 0x8F, "still attached, expired"
    assert 3 not in box.serving()
    peer.say(103)
    world.run(0.01)
    assert box.serving() == {3, 4}


@pytest.mark.parametrize(("fast", "timeout_s"), [(True, 3.0), (False, 90.0)])
def test_t07_a_silent_partner_expires_and_is_then_given_up(fast: bool, timeout_s: float) -> None:
    world, box, peer = together(fast_rate=fast)
    for port in peer.ports.values():
        port.every = None
    world.run(0.999)
    last = box.world.now - 0.001 - 0.998
    world.run(timeout_s + 10.0)
    expired = box.said('eth3: Changed port state: "current" -> "expired"')[0]
    assert expired - last == pytest.approx(timeout_s, abs=0.1)
    assert (expired, False) in box.changes(3), "out of service the moment it expires"
    defaulted = box.said('eth3: Changed port state: "expired" -> "defaulted"')[0]
    assert defaulted - expired == pytest.approx(3.0, abs=0.01)
    assert box.actor_state(3) == (0x47 if fast else 0x45)
    assert box.state(3)["partner_lacpdu_info"]["state"] == 0x02
    assert box.observed.carrier is False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("system", b"\x02\xcc\0\0\0\x01"),
        ("system_priority", 1),
        ("key", 9),
        ("port", 4711),
        ("port_priority", 1),
        ("state", 0x3B),
    ],
)
def test_t08_a_partner_that_means_another_system_is_not_served(field: str, value: object) -> None:
    world, box, peer = meet(speak=False)
    world.run(0.1)
    peer.ports[103].echo = mistaken(box, 3, **{field: value})
    peer.begin()
    world.run(10.0)
    assert box.rx(3) == "current"
    assert box.serving() == {4}
    assert box.actor_state(3) == 0x0F, "attached, nothing more"
    assert box.blocked(3) == "partner_mistaken"
    assert worst_burst(world.pace(box, 3, 0.0)) <= 3
    peer.ports[103].echo = None
    world.run(2.0)
    assert box.serving() == {3, 4}


def test_t09_an_individual_link_stays_alone() -> None:
    world, box, peer = meet(speak=False)
    peer.ports[104].state = without(0x3F, lacpdu.AGGREGATION)
    peer.begin()
    world.run(5.0)
    assert box.serving() == {3}
    assert box.state(3)["aggregator"] == {"id": 3, "selected": True}
    assert box.state(4)["aggregator"] == {"id": 4, "selected": False}
    assert box.blocked(4) == "other_aggregate"


@pytest.mark.parametrize("what", ["key", "system_priority"])
def test_t10_a_partner_that_changes_its_identity_leaves_and_is_selected_again(what: str) -> None:
    world, box, peer = together()
    began = world.now
    if what == "key":
        peer.ports[103].key = peer.ports[104].key = 8
    else:
        peer.system_priority = 50
    world.run(1.5)
    out = [at for at, value in box.changes(3, began) if value is False]
    assert out[0] - began <= 1.01
    assert box.serving() == set()
    world.run(3.0)
    assert box.serving() == {3, 4}
    assert box.changes(3, began)[1][0] - out[0] == pytest.approx(2.0, abs=0.05), "wait_while"


@pytest.mark.parametrize(("better", "worse"), [(255, 256), (1, 256), (0, 65535), (256, 257), (9, 10), (90, 100)])
def test_t11_port_priorities_are_numbers(better: int, worse: int) -> None:
    ports = {3: LacpPortConfig(lacp_prio=worse, lacp_key=1), 4: LacpPortConfig(lacp_prio=better, lacp_key=2)}
    world, box, _peer = meet(ports, sys_prio=1)
    world.run(5.0)
    assert box.serving() == {4}, "two aggregates; the one with the better port is used"
    world, box, _peer = meet({3: LacpPortConfig(lacp_prio=worse), 4: LacpPortConfig(lacp_prio=better)}, sys_prio=1)
    world.run(5.0)
    assert box.state(3)["aggregator"]["id"] == 4


def test_t12_links_that_come_up_one_after_the_other_attach_together() -> None:
    world = World(1)
    box, peer = Box(world, "a", [3, 4]), Peer(world)
    for number in (103, 104):
        peer.port(number)
    box.start()
    world.connect((box, 3), (peer, 103))
    peer.begin()
    world.run(1.0)
    world.connect((box, 4), (peer, 104))
    world.run(5.0)
    first, second = box.changes(3)[-1], box.changes(4)[-1]
    assert first[1] is second[1] is True
    assert first[0] == pytest.approx(second[0], abs=0.01)
    assert second[0] == pytest.approx(3.0, abs=0.05)


def test_t13_attached_before_the_partner_is_in_sync_and_in_service_only_after() -> None:
    world, box, peer = meet(speak=False)
    for port in peer.ports.values():
        port.state = without(0x3F, SYNC, COLLECTING, DISTRIBUTING)
    peer.begin()
    world.run(5.0)
    assert peer.ports[103].heard[-1][1].actor.state == 0x0F
    assert box.serving() == set()
    assert box.blocked(3) == "partner_not_in_sync"
    for number in peer.ports:
        peer.say(number, state=0x3F)
    world.run(0.01)
    assert box.serving() == {3, 4}
    assert peer.ports[103].heard[-1][1].actor.state == 0x3F


def test_t14_independent_collects_first_and_distributes_when_the_partner_collects() -> None:
    world, box, peer = meet(speak=False, independent=True)
    for port in peer.ports.values():
        port.state = without(0x3F, COLLECTING, DISTRIBUTING)
    peer.begin()
    world.run(5.0)
    assert box.serving(receive=True) == {3, 4}
    assert box.serving() == set()
    assert peer.ports[103].heard[-1][1].actor.state == 0x1F
    assert box.blocked(3) == "partner_not_collecting"
    assert box.observed.carrier is False
    peer.say(103, state=0x1F)
    world.run(0.01)
    assert box.serving() == {3}
    assert peer.ports[103].heard[-1][1].actor.state == 0x3F


def test_t15_independent_stops_distributing_and_goes_on_collecting() -> None:
    world, box, peer = together(independent=True)
    peer.say(103, state=0x0F)
    world.run(0.01)
    assert box.serving() == {4}
    assert box.serving(receive=True) == {3, 4}
    assert box.state(3)["details"]["mux"] == {"state": "collecting", "mode": "independent"}
    peer.say(103, state=0x3F)
    world.run(0.01)
    assert box.serving() == {3, 4}


def test_t16_coupled_changes_both_bits_together_and_says_so() -> None:
    world, box, peer = meet()
    world.run(10.0)
    both = COLLECTING | DISTRIBUTING
    assert {pdu.actor.state & both for _, pdu in peer.ports[103].heard} == {0, both}
    assert box.state(3)["details"]["mux"] == {"state": "collecting_distributing", "mode": "coupled"}
    peer.say(103, state=without(0x3F, COLLECTING, DISTRIBUTING))
    world.run(0.01)
    assert 3 in box.serving(), "what the partner collects is not asked in coupled control"


def test_the_reference_lacpdu_is_what_it_says() -> None:
    assert struct.unpack_from("!BB", GOOD) == (1, 1)
    assert len(GOOD) == slow.PDU_LENGTH
    world, box, peer = meet(speak=False)
    world.run(0.5)
    assert pdu_for(box, peer).build()[:22] == GOOD[:22]


def test_t02_a_tag_that_is_only_a_priority_is_no_vlan() -> None:
    world, box, _ = meet(speak=False)
    world.run(0.5)
    inject(box, GOOD, vlan=0)
    assert (box.rx(3), box.state(3)["details"]["counters"]["bad"]) == ("current", {})
