"""arp_ping and nsna_ping: who sends when, what counts as an answer, when the verdict changes."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from pyteamd.linkwatch.arp_ping import ArpPing, ArpPingConfig
from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.nsna_ping import NsnaPing, NsnaPingConfig, link_local
from pyteamd.linkwatch.periodic import LEAST_GRACE_S, Periodic
from pyteamd.model.events import FrameSeen
from pyteamd.wire import arp, ethernet, ndisc

OURS = bytes.fromhex("020000000001")
OTHER_PORT = bytes.fromhex("020000000002")
ORIGINAL = bytes.fromhex("0200000000aa")
PEER = bytes.fromhex("0200000000ff")
TARGET, SECOND, STRANGER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("192.0.2.99")
SOURCE = IPv4Address("192.0.2.10")
PORT = PortNow(
    5, "eth1", OURS, running=True, enabled=True, any_enabled=True, own_macs=frozenset((OURS, OTHER_PORT, ORIGINAL)),
    carried=True, original_mac=ORIGINAL,
)  # fmt: skip
IDLE = replace(PORT, enabled=False)
ALONE = replace(PORT, enabled=False, any_enabled=False)
INTERVAL_S = 1.0


def arp_watcher(up: bool = True, **keys: Any) -> ArpPing:
    keys = {"target_host": str(TARGET), "source_host": str(SOURCE)} | keys
    config = ArpPingConfig(**keys)
    hosts = [host for host in (*config.hosts, config.source_host) if host]
    return ArpPing(config, {host: host for host in hosts}, up)


def nsna_watcher(up: bool = True, **keys: Any) -> NsnaPing:
    config = NsnaPingConfig(**({"target_host": "2001:db8::1"} | keys))
    return NsnaPing(config, {host: host for host in config.hosts}, up)


def heard(message: arp.Arp, source: bytes | None = None, vlan: int | None = None) -> FrameSeen:
    return FrameSeen(5, OURS, source or message.sender_mac, ethernet.ETHERTYPE_ARP, vlan, message.build())


def reply(sender: IPv4Address = TARGET, target: IPv4Address = SOURCE, mac: bytes = PEER) -> arp.Arp:
    return arp.Arp(arp.Operation.REPLY, mac, sender, OURS, target)


def sent(watcher: Periodic) -> list[bytes]:
    return [frame.octets for frame in watcher.outbox.take()[0]]


def run(
    watcher: Periodic, port: PortNow, until_s: float, answer_until_s: float = -1.0, now: float = 0.0
) -> list[tuple[float, bool]]:
    """Tick until a time, answering each probe at once up to another; returns the changes of the verdict."""
    changes = []
    up = watcher.up
    while (deadline := watcher.deadline()) is not None and max(deadline, now) <= until_s:
        now = max(deadline, now)
        watcher.tick(port, now)
        if watcher.up != up:
            up = watcher.up
            changes.append((round(now, 6), up))
        if sent(watcher) and now <= answer_until_s:
            watcher.frame(port, heard(reply()), now)
    return changes


@pytest.mark.parametrize("missed_max", [0, 1, 3, 10])
@pytest.mark.parametrize("stopped_at_s", [10.001, 10.5, 10.999])
def test_a_dead_target_is_found_in_time(missed_max: int, stopped_at_s: float) -> None:
    watcher = arp_watcher(up=False, missed_max=missed_max)
    watcher.start(PORT, 0.0)
    sent(watcher)
    changes = run(watcher, PORT, 40.0, answer_until_s=stopped_at_s)
    assert [up for _, up in changes] == [True, False]
    took_s = changes[1][0] - stopped_at_s
    assert missed_max * INTERVAL_S <= took_s <= (missed_max + 1) * INTERVAL_S + 0.05


@pytest.mark.parametrize("missed_max", [0, 3])
@pytest.mark.parametrize("stood_still_s", [1.2, 5.0])
@pytest.mark.parametrize("waiting", [True, False], ids=["the answer waits in the socket", "nothing waits"])
def test_after_a_standstill_what_waits_in_the_socket_is_read_first(
    missed_max: int, stood_still_s: float, waiting: bool
) -> None:
    watcher = arp_watcher(missed_max=missed_max)
    watcher.start(PORT, 0.0)
    run(watcher, PORT, 10.0 + missed_max, answer_until_s=10.0 - INTERVAL_S / 2)
    assert (watcher.up, watcher.targets[0].missed) == (True, missed_max), watcher.state()
    now = 10.0 + missed_max + stood_still_s
    watcher.tick(PORT, now)
    if waiting:
        watcher.frame(PORT, heard(reply()), now)
    while (deadline := watcher.deadline()) is not None and deadline < now + 0.006:
        watcher.tick(PORT, max(deadline, now))
    watcher.tick(PORT, now + 0.006)
    assert watcher.up is waiting, watcher.verdict()
    assert not waiting or watcher.state()["missed"] == 0


def test_as_many_misses_as_allowed_change_nothing() -> None:
    watcher = arp_watcher(missed_max=3)
    watcher.start(PORT, 0.0)
    watcher.frame(PORT, heard(reply()), 0.001)
    for probe in range(1, 60):
        watcher.tick(PORT, float(probe))
        if probe % 4 == 0:
            watcher.frame(PORT, heard(reply()), probe + 0.001)
        elif watcher.deadline() != probe + 1.0:
            watcher.tick(PORT, watcher.deadline() or 0.0)
        assert watcher.up, probe
    assert watcher.down_count == 0


def test_a_process_that_was_kept_waiting_reads_its_answers_first() -> None:
    watcher = arp_watcher(missed_max=0)
    watcher.start(PORT, 0.0)
    watcher.tick(PORT, 0.3)  # due at 0.02
    assert watcher.up
    assert watcher.deadline() == pytest.approx(0.305)
    watcher.frame(PORT, heard(reply()), 0.3)
    watcher.tick(PORT, 0.305)
    assert watcher.up
    silent = arp_watcher(missed_max=0)
    silent.start(PORT, 0.0)
    silent.tick(PORT, 0.3)
    silent.tick(PORT, 0.305)
    assert not silent.up


def test_a_slow_network_is_given_time() -> None:
    watcher = arp_watcher(missed_max=1)
    watcher.start(PORT, 0.0)
    for probe in range(1, 10):
        watcher.frame(PORT, heard(reply()), probe - 0.6)
        watcher.tick(PORT, float(probe))
    watcher.tick(PORT, 10.0)
    assert watcher.state()["missed"] == 1
    assert watcher.deadline() == pytest.approx(10.6)
    watcher.frame(PORT, heard(reply()), 10.4)
    watcher.tick(PORT, 10.6)
    assert watcher.up


def test_it_comes_up_at_the_tick_after_the_first_answer_and_never_gives_up() -> None:
    watcher = arp_watcher(up=False)
    watcher.start(PORT, 0.0)
    assert run(watcher, PORT, 1000.0) == []
    assert watcher.state()["missed"] > 900
    watcher.frame(PORT, heard(reply()), 1000.2)
    assert not watcher.up
    assert run(watcher, PORT, 1001.5, now=1000.3) == [(1001.0, True)]
    assert watcher.state()["missed"] == 0


def test_first_probe_after_init_wait_and_then_on_a_grid() -> None:
    watcher = arp_watcher(init_wait=300, interval=200)
    watcher.start(PORT, 5.02)
    assert sent(watcher) == []
    times = []
    for _ in range(4):
        deadline = watcher.deadline()
        assert deadline is not None
        times.append(round(deadline, 6))
        watcher.frame(PORT, heard(reply()), deadline)
        watcher.tick(PORT, deadline + 0.004)
    assert times == [5.32, 5.6, 5.8, 6.0]
    for late_s in (6.95, 6.955):
        watcher.tick(PORT, late_s)
    assert watcher.deadline() == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("port", "keys", "sends"),
    [(PORT, {}, True), (IDLE, {}, False), (IDLE, {"send_always": True}, True), (ALONE, {}, True)],
)
def test_who_sends_arp(port: PortNow, keys: dict[str, Any], sends: bool) -> None:
    watcher = arp_watcher(**keys)
    watcher.start(port, 0.0)
    assert bool(sent(watcher)) is sends
    watcher.up = False
    assert ("asks only with send_always" in watcher.verdict().reason) is not sends


@pytest.mark.parametrize("vlan", [None, 0, 7])
def test_the_probe(vlan: int | None) -> None:
    watcher = arp_watcher(vlanid=vlan)
    watcher.start(PORT, 0.0)
    (octets,) = sent(watcher)
    assert octets == arp.request(OURS, SOURCE, TARGET).frame(vlan_id=vlan)


REQUEST = arp.request(PEER, STRANGER, IPv4Address("192.0.2.50"))
OWN = arp.request(OTHER_PORT, SOURCE, TARGET)


@pytest.mark.parametrize(
    ("port", "keys", "frame", "verdict"),
    [
        (PORT, {}, heard(reply()), True),
        (PORT, {}, heard(reply(STRANGER)), True),
        (PORT, {}, heard(REQUEST), True),
        (PORT, {"validate_active": True}, heard(reply()), True),
        (PORT, {"validate_active": True}, heard(reply(SOURCE, TARGET)), True),
        (PORT, {"validate_active": True}, heard(reply(STRANGER)), False),
        (PORT, {"validate_active": True}, heard(reply(TARGET, STRANGER)), "not_asked"),
        (PORT, {"validate_active": True}, heard(reply(TARGET, TARGET)), "not_asked"),  # gratuitous
        (PORT, {"validate_active": True}, heard(REQUEST), False),
        (PORT, {"validate_inactive": True}, heard(REQUEST), True),
        (IDLE, {"validate_inactive": True}, heard(REQUEST), False),
        (IDLE, {"validate_active": True}, heard(REQUEST), True),
        # our own broadcasts: only on an idle port, only while the port in service is answered
        (PORT, {}, heard(OWN), False),
        (IDLE, {}, heard(OWN), True),
        (replace(IDLE, carried=False), {}, heard(OWN), False),
        (IDLE, {"validate_inactive": True}, heard(OWN), False),
        (PORT, {}, heard(REQUEST, source=OURS), False),
        (PORT, {"validate_active": True}, heard(reply(mac=OURS), source=PEER), "own_address"),
        # VLANs
        (PORT, {}, heard(reply(), vlan=0), True),
        (PORT, {}, heard(reply(), vlan=7), False),
        (PORT, {"vlanid": 7}, heard(reply(), vlan=7), True),
        (PORT, {"vlanid": 7}, heard(reply()), False),
        (PORT, {"vlanid": 0}, heard(reply(), vlan=0), True),
        # not ARP at all
        (PORT, {}, FrameSeen(5, OURS, PEER, 0x86DD, None, reply().build()), False),
    ],
)
def test_what_counts_as_an_answer(port: PortNow, keys: dict[str, Any], frame: FrameSeen, verdict: bool | str) -> None:
    """`verdict`: whether it is an answer; or why it is none, which is counted."""
    watcher = arp_watcher(**keys)
    watcher.frame(port, frame, 0.5)
    assert watcher.targets[0].answered is (verdict is True)
    assert watcher.drops == ({verdict: 1} if isinstance(verdict, str) else {})


@pytest.mark.parametrize("length", [0, 1, 27])
def test_truncated_frames_are_counted_and_nothing_else(length: int) -> None:
    watcher = arp_watcher()
    watcher.frame(PORT, FrameSeen(5, OURS, PEER, ethernet.ETHERTYPE_ARP, None, reply().build()[:length]), 0.5)
    assert not watcher.targets[0].answered
    assert watcher.state()["drops"] == {"too_short": 1}


@pytest.mark.parametrize(
    ("policy", "answering", "up"),
    [("any", [TARGET], True), ("any", [], False), ("all", [TARGET], False), ("all", [TARGET, SECOND], True)],
)
def test_several_targets(policy: str, answering: list[IPv4Address], up: bool) -> None:
    watcher = arp_watcher(target_host=None, target_hosts=(str(TARGET), str(SECOND)), target_policy=policy, missed_max=2)
    watcher.start(PORT, 0.0)
    for probe in range(1, 8):
        assert len(sent(watcher)) == 2
        for address in answering:
            watcher.frame(PORT, heard(reply(address)), probe - 0.5)
        watcher.frame(PORT, heard(REQUEST), probe - 0.4)
        while (watcher.deadline() or 0.0) <= probe:
            watcher.tick(PORT, watcher.deadline() or 0.0)
    assert watcher.up is up
    assert watcher.state()["targets"][str(SECOND)]["up"] is (SECOND in answering)
    assert (watcher.state()["missed"] > 2) is not up


def test_state_has_teamds_members() -> None:
    assert arp_watcher().state() == {
        "source_host": "192.0.2.10",
        "target_host": "192.0.2.1",
        "interval": 1000,
        "init_wait": 0,
        "missed_max": 3,
        "missed": 0,
        "validate_active": False,
        "validate_inactive": False,
        "send_always": False,
    }
    assert nsna_watcher(target_host="fe80::1%eth0").state() == {
        "target_host": "fe80::1%eth0",
        "interval": 1000,
        "init_wait": 0,
        "missed_max": 3,
        "missed": 0,
    }


@pytest.mark.parametrize(("port", "mac"), [(PORT, OURS), (ALONE, OURS), (IDLE, ORIGINAL)])
def test_solicitations_of_an_idle_port_do_not_use_the_teams_address(port: PortNow, mac: bytes) -> None:
    watcher = nsna_watcher()
    watcher.start(port, 0.0)
    (octets,) = sent(watcher)
    assert octets == ndisc.NeighborSolicit(link_local(mac), IPv6Address("2001:db8::1"), mac).frame()
    assert watcher.taps()[0].address == ORIGINAL


ASKED = ndisc.NeighborAdvert(IPv6Address("fe80::1"), link_local(OURS), IPv6Address("2001:db8::1"), PEER)


@pytest.mark.parametrize(
    ("advert", "frame", "verdict"),
    [
        (ASKED, {}, True),
        (replace(ASKED, destination=link_local(ORIGINAL)), {}, True),  # asked before the port came into service
        (replace(ASKED, flags=ndisc.FLAG_SOLICITED), {}, True),
        (ASKED, {"vlan": 0}, True),
        (ASKED, {"vlan": 7}, False),
        (replace(ASKED, target=IPv6Address("2001:db8::2")), {}, False),
        (replace(ASKED, flags=ndisc.FLAG_OVERRIDE), {}, "not_asked"),
        (replace(ASKED, destination=IPv6Address("ff02::1"), flags=ndisc.FLAG_OVERRIDE), {}, "not_asked"),
        (replace(ASKED, destination=link_local(PEER)), {}, "not_asked"),
        (ASKED, {"source": OTHER_PORT}, "own_address"),
    ],
)
def test_advertisements(advert: ndisc.NeighborAdvert, frame: dict[str, Any], verdict: bool | str) -> None:
    watcher = nsna_watcher(target_host="2001:db8::1")
    watcher.start(IDLE, 0.0)
    watcher.tick(PORT, 1.0)
    watcher.frame(PORT, replace(FrameSeen(5, OURS, PEER, ethernet.ETHERTYPE_IPV6, None, advert.build()), **frame), 0.5)
    assert watcher.targets[0].answered is (verdict is True)
    assert watcher.drops == ({verdict: 1} if isinstance(verdict, str) else {})


def test_a_scoped_target_is_the_same_host() -> None:
    advert = ndisc.NeighborAdvert(IPv6Address("fe80::1"), link_local(OURS), IPv6Address("fe80::1"), PEER)
    watcher = nsna_watcher(target_host="fe80::1%eth1")
    watcher.start(PORT, 0.0)
    watcher.frame(PORT, FrameSeen(5, OURS, PEER, ethernet.ETHERTYPE_IPV6, None, advert.build()), 0.5)
    assert watcher.targets[0].answered


def test_link_local_addresses() -> None:
    assert link_local(bytes.fromhex("525400123456")) == IPv6Address("fe80::5054:ff:fe12:3456")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (ArpPingConfig(), "target_host"),
        (ArpPingConfig(target_host="::1"), "target_host"),
        (ArpPingConfig(target_host="192.0.2.1", source_host="fe80::1"), "source_host"),
        (ArpPingConfig(target_host="a", target_hosts=("b",)), "target_hosts"),
        (ArpPingConfig(target_hosts=("192.0.2.1", "2001:db8::1")), "target_hosts"),
        (NsnaPingConfig(target_host="192.0.2.1"), "target_host"),
    ],
)
def test_contradictions(config: ArpPingConfig | NsnaPingConfig, problem: str) -> None:
    assert [key for key, _ in config.contradictions()] == [problem]


@pytest.mark.parametrize("seed", range(50))
def test_verdicts_follow_the_definition_under_loss_and_delay(seed: int) -> None:
    """Down exactly when more than missed_max probes in a row stayed unanswered, up at the tick after an answer."""
    rng = random.Random(seed)
    missed_max = rng.randrange(5)
    loss = rng.random()
    watcher = arp_watcher(up=False, missed_max=missed_max, validate_active=True)
    watcher.start(PORT, 0.0)
    unanswered = 0
    expected = False
    for probe in range(200):
        answered = rng.random() > loss
        if answered:
            watcher.frame(PORT, heard(reply()), probe + rng.random() * LEAST_GRACE_S / 2)
        while (deadline := watcher.deadline() or 0.0) < probe + 0.999:
            watcher.tick(PORT, deadline)
        unanswered = 0 if answered else unanswered + 1
        if unanswered > missed_max:
            expected = False
        assert watcher.up is expected, probe
        watcher.tick(PORT, probe + 1.0)
        expected = expected or answered
        assert watcher.up is expected, probe


@pytest.mark.parametrize("mac", [b"", bytes(20)], ids=["tunnel", "InfiniBand"])
@pytest.mark.parametrize("make", [arp_watcher, nsna_watcher])
def test_a_port_without_an_ethernet_address_cannot_ask_and_says_so(make: Any, mac: bytes) -> None:
    watcher = make()
    odd = replace(PORT, mac=mac, original_mac=mac)
    watcher.start(odd, 0.0)
    _, (note,) = watcher.outbox.take()
    assert note.text == f"eth1: {watcher.name} cannot ask: the port's address is not an Ethernet address."
    for step in range(1, 9):
        watcher.tick(odd, step * INTERVAL_S)
    assert watcher.outbox.take() == ([], [])
    assert not watcher.up
    assert watcher.taps()[0].address == b""
