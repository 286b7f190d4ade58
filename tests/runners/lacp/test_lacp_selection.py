"""LACP selection: policies, hot standby, waiting together, port numbers; tables."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pyteamd.runners.lacp.keys import POLICY_NAMES
from pyteamd.runners.lacp.selection import (
    POLICIES,
    Aggregate,
    LagId,
    Member,
    assign_number,
    choose,
    in_use,
    ready_at,
)


def lag(number: int) -> LagId:
    return LagId(65535, b"\x02\0\0\0\0\x01", 0, 100, bytes((2, 0, 0, 0, 0, number)), 7)


def member(ifindex: int, prio: int = 255, **settings: Any) -> Member:
    """A port whose rank is decided by our system."""
    return Member(ifindex, (1, 2, prio, ifindex), **settings)


def aggregate(number: int, *members: Member) -> Aggregate:
    return Aggregate(lag(number), members)


def chosen(policy: str, aggregates: tuple[Aggregate, ...], used: int | None = None) -> int:
    """Last octet of the partner of the aggregate chosen, whatever the order in which they are shown."""
    found = set()
    for order in itertools.permutations(aggregates):
        best = choose(POLICIES[policy], order, lag(used) if used else None)
        assert best is not None
        found.add(best.lag.partner_system[5])
    assert len(found) == 1, "the order of the aggregates decides"
    return found.pop()


def test_every_configurable_policy_exists() -> None:
    assert tuple(POLICIES) == POLICY_NAMES
    assert choose(POLICIES["count"], [], None) is None


SLOW_BEST = (aggregate(1, member(3, 10, speed_mbps=100)), aggregate(2, member(4, 20, speed_mbps=1000), member(5, 20)))


@pytest.mark.parametrize(
    ("policy", "aggregates", "used", "expected"),
    [
        # lacp_prio: lowest priority number of any member; 256 is more than 255
        ("lacp_prio", SLOW_BEST, None, 1),
        ("lacp_prio", SLOW_BEST, 2, 1),
        ("lacp_prio", (aggregate(1, member(3, 256)), aggregate(2, member(4, 255))), 1, 2),
        ("lacp_prio", (aggregate(1, member(3, 10)), aggregate(2, member(4, 9))), 1, 2),
        ("lacp_prio", (aggregate(1, member(3)), aggregate(2, member(4))), 2, 1),
        ("lacp_prio", (aggregate(1, member(9, 50), member(8, 5)), aggregate(2, member(4, 6))), None, 1),
        # stable: the same, unless one is in use
        ("lacp_prio_stable", SLOW_BEST, None, 1),
        ("lacp_prio_stable", SLOW_BEST, 2, 2),
        ("lacp_prio_stable", SLOW_BEST, 9, 1),
        # bandwidth: sum of speeds; a tie keeps the one in use, then the better port; unknown speeds are possible
        ("bandwidth", SLOW_BEST, None, 2),
        ("bandwidth", SLOW_BEST, 1, 2),
        ("bandwidth", (aggregate(1, member(3)), aggregate(2, member(4))), None, 1),
        ("bandwidth", (aggregate(1, member(3)), aggregate(2, member(4))), 2, 2),
        ("bandwidth", (aggregate(1, member(3, speed_mbps=1000)), aggregate(2, member(4), member(5))), 2, 1),
        # count
        ("count", SLOW_BEST, 1, 2),
        ("count", (aggregate(1, member(3)), aggregate(2, member(4))), 2, 2),
        ("count", (aggregate(1, member(3)), aggregate(2, member(4))), None, 1),
        # port_config: highest prio of any member; a sticky member of the one in use keeps it
        ("port_config", (aggregate(1, member(3, priority=5)), aggregate(2, member(4, priority=6))), 1, 2),
        ("port_config", (aggregate(1, member(3, priority=-5)), aggregate(2, member(4, priority=-6))), None, 1),
        ("port_config", (aggregate(1, member(3, sticky=True)), aggregate(2, member(4, priority=6))), 1, 1),
        ("port_config", (aggregate(1, member(3, sticky=True)), aggregate(2, member(4, priority=6))), None, 2),
        ("port_config", (aggregate(1, member(3), member(5, sticky=True)), aggregate(2, member(4, priority=6))), 1, 1),
        ("port_config", (aggregate(1, member(3, 10)), aggregate(2, member(4, 20))), 2, 2),
        ("port_config", (aggregate(1, member(3, 10)), aggregate(2, member(4, 20))), None, 1),
    ],
)
def test_policies(policy: str, aggregates: tuple[Aggregate, ...], used: int | None, expected: int) -> None:
    assert chosen(policy, aggregates, used) == expected


@pytest.mark.parametrize(
    ("policy", "lead"), [("lacp_prio", 4), ("lacp_prio_stable", 4), ("bandwidth", 4), ("count", 4), ("port_config", 5)]
)
def test_the_leading_port(policy: str, lead: int) -> None:
    members = (member(3, 255, priority=1), member(4, 1), member(5, 300, priority=2))
    assert POLICIES[policy].lead(aggregate(1, *members)).ifindex == lead


@pytest.mark.parametrize(
    ("max_ports", "expected"), [(None, {3, 4, 5, 6}), (1, {5}), (2, {3, 5}), (3, {3, 4, 5}), (9, {3, 4, 5, 6})]
)
def test_hot_standby_by_the_standards_order_the_well_first(max_ports: int | None, expected: set[int]) -> None:
    members = [member(3, 20), member(4, 20), member(5, 10, priority=-1), member(6, 1, current=False, priority=9)]
    for order in itertools.permutations(members):
        assert in_use(order, max_ports) == expected


@pytest.mark.parametrize(
    ("max_ports", "serving", "arrived", "expected"),
    [
        (1, {4}, {4}, {3, 4}),
        (1, {4}, {3, 4}, {3}),
        (1, {5}, {5}, {3, 5}),
        (1, set(), set(), {3}),
        (1, set(), {5}, {3, 5}),
        (1, set(), {5, 6}, {3, 5}),
        (1, {5}, {4, 5}, {3, 5}),
        (1, {5}, {4}, {3, 5}),
        (2, {6}, {4, 5, 6}, {3, 4, 6}),
        (2, {4, 5}, {4, 5}, {3, 4, 5}),
        (2, {4, 5}, {3, 4, 5}, {3, 4}),
        (2, {5, 6}, {5, 6}, {3, 4, 5, 6}),
        (2, {5, 6}, {4, 5, 6}, {3, 4, 5}),
        (2, {3, 4}, {3}, {3, 4}),
        (None, {4}, set(), {3, 4, 5, 6}),
    ],
)
def test_a_better_port_takes_a_place_when_its_partner_is_ready(
    max_ports: int | None, serving: set[int], arrived: set[int], expected: set[int]
) -> None:
    members = [member(ifindex, ifindex) for ifindex in (6, 3, 5, 4)]
    assert in_use(members, max_ports, serving, arrived) == expected


@pytest.mark.parametrize(
    ("waits", "own_until", "expected"),
    [
        ([(0.0, 2.0)], 2.0, 2.0),
        ([(0.0, 2.0), (1.0, 3.0)], 2.0, 3.0),
        ([(0.0, 2.0), (1.0, 3.0)], 3.0, 3.0),
        ([(0.0, 2.0), (2.0, 4.0)], 2.0, 2.0),
        ([(0.0, 2.0), (2.5, 4.5)], 2.0, 2.0),
        ([(0.0, 2.0), (1.0, 3.0), (2.5, 4.5)], 2.0, 3.0),
    ],
)
def test_links_that_come_up_together_attach_together(
    waits: list[tuple[float, float]], own_until: float, expected: float
) -> None:
    assert ready_at(waits)[own_until] == expected


@pytest.mark.parametrize(
    ("ifindex", "taken", "number"),
    [
        (3, [], 3),
        (65535, [], 65535),
        (65536, [], 1),
        (65539, [], 3),
        (65539, [3], 4),
        (3, [3, 4, 5], 6),
        (131072, [1, 2], 3),
        (65535, [65535], 1),
    ],
)
def test_port_numbers(ifindex: int, taken: list[int], number: int) -> None:
    assert assign_number(ifindex, taken) == number


def test_port_numbers_run_out() -> None:
    with pytest.raises(LookupError):
        assign_number(7, range(1, 65536))
