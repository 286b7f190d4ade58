"""Choosing what can serve: small worlds, all of them. Two ends with up to four links, every policy, every ad_select of bonding."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from bond_model import Bond, BondPort
from lacp_bench import Bench, FakePort
from lacp_pair import Box, World
from lacp_peer import Peer

from pyteamd.runners.lacp.choice import LEADS_S, Candidate, Choice
from pyteamd.runners.lacp.keys import POLICY_NAMES, LacpPortConfig
from pyteamd.runners.lacp.selection import Aggregate, LagId, Member
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

LONG = bool(os.environ.get("PYTEAMD_LONG"))
BONDS_WITHIN_S = 10.0
TURN_S = 5.0
"""Bonding gets in sync on what it prefers only after us: of several aggregates each has its turn."""
TEAMS_WITHIN_S = 15.0
SPEEDS = (1000, 10_000, 1000, 1000)


def partitions(count: int) -> Iterator[tuple[int, ...]]:
    """Ways to give keys to so many links that make at least two aggregates; equal up to the names of the keys."""
    for keys in itertools.product(range(count), repeat=count):
        first_seen = list(dict.fromkeys(keys))
        if first_seen == sorted(first_seen) and first_seen[-1] == len(first_seen) - 1 > 0:
            yield keys


def team(world: World, name: str, keys: tuple[int, ...], policy: str, first: bool, priorities: tuple[int, ...]) -> Box:
    """A team; `first`: it has the smaller system identifier."""
    ports = {
        3 + i: LacpPortConfig(lacp_key=key + 1, lacp_prio=priorities[i], prio=-priorities[i])
        for i, key in enumerate(keys)
    }
    box = Box(world, name, ports, agg_select_policy=policy, sys_prio=1 if first else 9)
    for port, speed in zip(box.ports.values(), SPEEDS, strict=False):
        port.speed_mbps = speed
    return box


def settled(world: World, ends: tuple[Box | Bond, Box | Bond], within_s: float) -> float:
    """When both ends began to use the same ports; AssertionError when they did not in time, or left again within 20 s."""
    began = world.now
    while world.now < began + within_s:
        world.run(0.1)
        if ends[0].serving() and ends[0].serving() == {port + 0 for port in ends[1].serving()}:
            break
    took, used = world.now - began, ends[0].serving()
    assert used, "none in service"
    assert used == ends[1].serving()
    world.run(20.0)
    assert ends[0].serving() >= used, "left again"
    assert ends[0].serving() == ends[1].serving()
    return took


PRIORITIES = ((10, 20, 30, 40), (40, 30, 20, 10))
WORLDS = [keys for count in (2, 3, 4) for keys in partitions(count)]
FEW = [(0, 1), (0, 1, 1), (0, 0, 1, 1)]
"""Enough for every day; all of them with PYTEAMD_LONG=1."""


@pytest.mark.slow
@pytest.mark.parametrize("keys", WORLDS if LONG else FEW)
def test_two_teams_with_any_policies_use_the_same_aggregate(keys: tuple[int, ...]) -> None:
    for ours, theirs, first, turned, late in itertools.product(
        POLICY_NAMES, POLICY_NAMES, (True, False), (0, 1), (0.0, 1.3)
    ):
        world = World()
        one = team(world, "a", keys, ours, first, PRIORITIES[0])
        other = team(world, "b", keys, theirs, not first, PRIORITIES[1 - turned])
        one.start()
        for ifindex in one.ports:
            world.connect((one, ifindex), (other, ifindex))
        world.run(late)
        other.start()
        try:
            settled(world, (one, other), TEAMS_WITHIN_S)
        except AssertionError as problem:
            raise AssertionError(f"{keys} {ours} {theirs} {first} {turned} {late}: {problem}") from None


@pytest.mark.slow
@pytest.mark.parametrize("keys", WORLDS if LONG else FEW)
@pytest.mark.parametrize("says_sync", [False, True])
def test_a_team_and_a_bond_that_prefers_another_aggregate(keys: tuple[int, ...], says_sync: bool) -> None:
    for ad_select, policy, first, turned, late in itertools.product(
        ("stable", "bandwidth", "count"), POLICY_NAMES, (True, False), (0, 1), (0.0, 1.3)
    ):
        world = World()
        box = team(world, "a", keys, policy, first, PRIORITIES[turned])
        slaves = {3 + i: BondPort(3 + i, key + 1, SPEEDS[i]) for i, key in enumerate(keys)}
        bond = Bond(world, ad_select, slaves, mac=b"\x02\xbb\0\0\0\1", priority=5, says_sync=says_sync)
        order = list(box.ports) if not turned else list(reversed(list(box.ports)))
        for ifindex in order:
            world.connect((box, ifindex), (bond, ifindex))
        world.run(late)
        box.start()
        try:
            settled(world, (box, bond), BONDS_WITHIN_S + TURN_S * (len(set(keys)) - 2))
        except AssertionError as problem:
            raise AssertionError(f"{keys} {ad_select} {policy} {first} {turned} {late}: {problem}") from None


def test_a_better_aggregate_whose_partner_is_never_in_sync_displaces_nobody() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    other = b"\x02\xcc\0\0\0\x01"
    for _ in range(4):
        bench.hear(4, mac=other)
        bench.wait(1.0)
    assert bench.enabled() == {4}
    for _ in range(20):
        bench.hear(3, state=0x07)
        bench.hear(4, mac=other)
        bench.wait(1.0)
        assert bench.enabled() == {4}
    bench.hear(3)
    assert bench.enabled() == {3}, "in sync: the better one is used"


def test_a_stranger_with_a_better_identifier_takes_nothing_out() -> None:
    """One LACPDU a second on another port, active, aggregatable, that means nobody."""
    bench = Bench(FakePort(3), FakePort(4), sys_prio=1)
    nobody = LacpInfo(0, bytes(6), 0, 0, 0, 0)
    stranger = LacpInfo(0, b"\x02\0\0\0\0\x01", 7, 1, 1, 0x05)
    for second in range(60):
        bench.hear(3)
        if second > 10:
            bench.frame(4, Lacpdu(stranger, nobody).build())
        bench.wait(1.0)
        assert second < 3 or bench.enabled() == {3}


def test_one_that_was_in_use_and_did_not_carry_is_not_tried_again() -> None:
    """A partner that is in sync wherever it is asked, and collects on one link only."""
    bench = Bench(FakePort(3), FakePort(4), sys_prio=1)
    other = b"\x02\xcc\0\0\0\x01"
    used = []
    for _ in range(40):
        bench.hear(3, state=0x0F)
        bench.hear(4, mac=other)
        bench.wait(1.0)
        used.append(tuple(sorted(bench.enabled())))
    assert used[-30:] == [(4,)] * 30, "it gave way, and for good"
    blocked = bench.runner.blocking(3)
    assert blocked is not None
    assert blocked.facts["disproved"] is True
    assert "its partner never collected" in bench.runner.explain(bench.ports[3], bench.view, bench.now).text


@pytest.mark.parametrize("key_policy", ["teamd", "speed"])
def test_a_link_that_becomes_faster_makes_its_aggregate_the_better_one_at_once(key_policy: str) -> None:
    bench = Bench(FakePort(3), FakePort(4), sys_prio=1, agg_select_policy="bandwidth", key_policy=key_policy)
    for _ in range(4):
        bench.hear(3)
        bench.hear(4, mac=b"\x02\xcc\0\0\0\x01")
        bench.wait(1.0)
    assert bench.enabled() == {3}
    fast, slow = (4, 3) if key_policy == "teamd" else (3, 4)
    bench.ports[fast].speed_mbps = 10_000
    bench.changed(fast)
    assert bench.enabled() == ({fast} if key_policy == "teamd" else {slow}), "another key has to be told first"


def test_nor_is_it_when_a_link_of_it_flaps() -> None:
    """A link that goes and comes says nothing new of the partner; each flap took the aggregate in service out for four seconds."""
    bench = Bench(FakePort(3), FakePort(4, running=False), FakePort(5), FakePort(6, running=False), sys_prio=1)
    other = b"\x02\xcc\0\0\0\x01"

    def live(seconds: int) -> list[set[int]]:
        seen = []
        for _ in range(seconds):
            for ifindex in (3, 4, 6):
                if bench.ports[ifindex].running:
                    bench.hear(ifindex, state=0x0F)
            bench.hear(5, mac=other)
            bench.wait(1.0)
            seen.append(bench.enabled())
        return seen

    def turn(ifindex: int, running: bool) -> None:
        bench.ports[ifindex].running = running
        bench.changed(ifindex)

    turn(4, running=True)
    assert live(20)[-1] == {5}
    for running in (False, True, False, True):
        turn(4, running)
        assert live(10) == [{5}] * 10
    turn(6, running=True)
    seen = live(20)
    assert seen[0] == {3, 4}, "a link it did not have may be what was missing"
    assert seen[10:] == [{5}] * 10


@pytest.mark.parametrize("fast_rate", [True, False])
def test_silence_of_the_partner_in_use_is_no_reason_to_wait_when_another_is_ready(fast_rate: bool) -> None:
    world = World()
    box = Box(world, "a", {3: LacpPortConfig(), 4: LacpPortConfig(lacp_prio=300)}, fast_rate=fast_rate, sys_prio=1)
    peers = [Peer(world, name, mac) for name, mac in (("p", b"\x02\xbb\0\0\0\x01"), ("q", b"\x02\xcc\0\0\0\x01"))]
    for peer in peers:
        peer.port(1, every=1.0 if fast_rate else 30.0)
    box.start()
    for ifindex, peer in zip((3, 4), peers, strict=True):
        world.connect((box, ifindex), (peer, 1))
        peer.begin()
    world.run(31.0)
    assert box.serving() == {3}
    peers[0].ports[1].every, peers[0].ports[1].answers = None, False
    silent_at = world.now
    limit = 3.1 if fast_rate else 90.1
    world.run(limit)
    assert box.serving() == {4}, f"{world.now - silent_at} s after the last LACPDU"


@pytest.mark.parametrize(("sys_prio", "patience_s"), [(65535, 3.0), (1, 5.0)])
def test_the_end_with_the_larger_identifier_gives_way_first(sys_prio: int, patience_s: float) -> None:
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(lacp_prio=300)), sys_prio=sys_prio)
    other = b"\x02\xcc\0\0\0\x01"
    began = bench.now
    while not bench.enabled() and bench.now < began + 20.0:
        for ifindex, mac, state in (
            (3, b"\x02\xaa\0\0\0\x01", 0x07),
            (4, other, 0x3F if bench.now > began + 1.0 else 0x07),
        ):
            bench.hear(ifindex, mac=mac, state=state)
        bench.wait(0.25)
    assert bench.enabled() == {4}
    assert bench.now - began == pytest.approx(2.0 + patience_s, abs=0.3)


def test_a_partner_that_is_in_sync_with_another_system_displaces_nobody() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    other = b"\x02\xcc\0\0\0\x01"
    for second in range(12):
        bench.hear(4, mac=other)
        if second > 3:
            bench.hear_about(3, LacpInfo(65535, bytes(6), 0, 255, 99, 0x3F))
        bench.wait(1.0)
        assert second < 3 or bench.enabled() == {4}
    assert bench.runner.broken(bench.view) == []


@pytest.mark.parametrize("says_sync", [False, True])
def test_one_bond_that_stays_with_the_worse_link(says_sync: bool) -> None:
    """One of the small worlds, every time: the driver is in sync on the link it prefers only after us."""
    world = World()
    box = team(world, "a", (0, 1), "lacp_prio", True, PRIORITIES[0])
    slaves = {3: BondPort(3, 1), 4: BondPort(4, 2)}
    bond = Bond(world, "stable", slaves, mac=b"\x02\xbb\0\0\0\1", priority=5, says_sync=says_sync)
    box.start()
    for ifindex, later in ((4, 0.0), (3, 0.5)):
        world.run(later)
        world.connect((box, ifindex), (bond, ifindex))
    settled(world, (box, bond), BONDS_WITHIN_S)
    assert box.serving() == {4}


@pytest.mark.parametrize("better_is_able", [False, True])
def test_one_that_is_about_to_carry_is_left_only_for_a_better_one_that_is_able_too(better_is_able: bool) -> None:
    """Given way to because it is able, it was left at once for a better one whose partner was not in sync."""
    lags = [LagId(1, b"\x02\0\0\0\0\x01", 0, 9, bytes((2, 0, 0, 0, 0, number)), 7) for number in (1, 2, 3)]
    members = [Member(3 + i, (1, 2, 255, 3 + i)) for i in range(3)]
    wholes = [Aggregate(lag, (member,)) for lag, member in zip(lags, members, strict=True)]
    able = {2} | ({0} if better_is_able else set())

    def seen(used: int) -> list[Candidate]:
        return [
            Candidate(one, able=(members[i],) if i in able else (), ready=True, attached=i == used)
            for i, one in enumerate(wholes)
        ]

    choice = Choice("lacp_prio")
    choice.take(lags[1])
    choice.update(seen(1)[1:], 0.0)
    choice.update(seen(1)[1:], 5.0)
    assert choice.lag == lags[2], "nothing came of the one in use"
    choice.update(seen(2), 5.0)
    assert choice.lag == lags[0 if better_is_able else 2]


def test_where_none_is_able_each_has_its_turn_ever_longer() -> None:
    lags = [LagId(1, b"\x02\0\0\0\0\x01", 0, 9, bytes((2, 0, 0, 0, 0, number)), 7) for number in (1, 2)]
    wholes = [Aggregate(lag, (Member(3 + i, (1, 2, 255, 3 + i)),)) for i, lag in enumerate(lags)]
    choice = Choice("lacp_prio")
    used, now = [], 0.0
    while now < 60.0:
        choice.update([Candidate(one, ready=True, attached=one.lag == choice.lag) for one in wholes], now)
        if not used or choice.lag != used[-1][1]:
            used.append((now, choice.lag))
        now += 0.5
    moments = [at for at, _ in used]
    assert [lag for _, lag in used[:4]] == [lags[0], lags[1], lags[0], lags[1]]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses[:4] == pytest.approx([LEADS_S, LEADS_S, 2 * LEADS_S, 2 * LEADS_S], abs=1.6)
