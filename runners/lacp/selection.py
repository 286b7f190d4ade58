"""LACP selection: which links form an aggregate, which aggregate is used, and which of its ports.

How it works (IEEE 802.1AX-2014, 6.4.14): links with the same LagId form an aggregate. The team is one device, so one aggregate is
used and the ports of the others wait. A policy is a function that gives each aggregate a tuple; the smallest one wins. Every tuple
ends with something that no two aggregates share, so nothing depends on an order. Among the members of an aggregate the one with
the smallest `order` leads: its ifindex is the aggregate's id.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

BEGINNING = itemgetter(0)


class LagId(NamedTuple):
    """What the links of an aggregate have in common (6.3.6). The ends of a link that must stay alone are part of it."""

    system_priority: int
    system: bytes
    key: int
    partner_priority: int
    partner_system: bytes
    partner_key: int
    link: tuple[int, ...] = ()
    """Our port number, the partner's port priority and number; () for a link that may be aggregated."""


@dataclass(frozen=True, slots=True)
class Member:
    """A port as the policies see it."""

    ifindex: int
    rank: tuple[int, int, int, int]
    """Priority and address of the system that decides, then priority and number of its port; lower is better."""
    priority: int = 0
    """The kernel's `priority`, higher is better."""
    sticky: bool = False
    speed_mbps: int = 0
    current: bool = True
    """The partner was heard lately."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Links that can be used together."""

    lag: LagId
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """`order` sorts the members of an aggregate, `worth` the aggregates (second argument: it is the one in use)."""

    order: Callable[[Member], tuple[int, ...]]
    worth: Callable[[Aggregate, bool], tuple[int, ...]]

    def lead(self, aggregate: Aggregate) -> Member:
        """The member the aggregate is named after."""
        return min(aggregate.members, key=self.order)


def by_rank(member: Member) -> tuple[int, ...]:
    """The standard's order of ports."""
    return (*member.rank, member.ifindex)


def by_priority(member: Member) -> tuple[int, ...]:
    """The kernel's `priority` first."""
    return (-member.priority, *by_rank(member))


def _best_rank(aggregate: Aggregate) -> tuple[int, ...]:
    return min(by_rank(member) for member in aggregate.members)


def _lacp_prio(aggregate: Aggregate, used: bool) -> tuple[int, ...]:
    return _best_rank(aggregate)


def _lacp_prio_stable(aggregate: Aggregate, used: bool) -> tuple[int, ...]:
    return (not used, *_best_rank(aggregate))


def _bandwidth(aggregate: Aggregate, used: bool) -> tuple[int, ...]:
    return (-sum(member.speed_mbps for member in aggregate.members), not used, *_best_rank(aggregate))


def _count(aggregate: Aggregate, used: bool) -> tuple[int, ...]:
    return (-len(aggregate.members), not used, *_best_rank(aggregate))


def _port_config(aggregate: Aggregate, used: bool) -> tuple[int, ...]:
    stays = used and any(member.sticky for member in aggregate.members)
    highest = max(member.priority for member in aggregate.members)
    return (not stays, -highest, not used, *_best_rank(aggregate))


POLICIES: Mapping[str, Policy] = {
    "lacp_prio": Policy(by_rank, _lacp_prio),
    "lacp_prio_stable": Policy(by_rank, _lacp_prio_stable),
    "bandwidth": Policy(by_rank, _bandwidth),
    "count": Policy(by_rank, _count),
    "port_config": Policy(by_priority, _port_config),
}


def choose(policy: Policy, aggregates: Sequence[Aggregate], used: LagId | None) -> Aggregate | None:
    """The aggregate to use; None when there is none."""
    return min(aggregates, key=lambda one: policy.worth(one, one.lag == used), default=None)


def in_use(
    members: Iterable[Member], max_ports: int | None, serving: Container[int] = (), arrived: Container[int] = ()
) -> frozenset[int]:
    """The members of an aggregate that may attach; the others are hot standby. Members heard lately go first.

    Always in the standard's order, whatever the policy: the other end may have a limit too, and both must pick the same. `arrived` are
    those whose partner is in sync. A place whose port has not arrived is kept by one of `serving`, make before break, or else lent to
    the next that has arrived: both are attached until then, but no more than `max_ports` carry traffic.
    """
    ordered = sorted(members, key=lambda member: (not member.current, by_rank(member)))
    best = [member.ifindex for member in ordered[:max_ports]]
    under_way = sum(ifindex not in arrived for ifindex in best)
    rest = [member.ifindex for member in ordered[len(best) :]]
    ready = [ifindex for ifindex in rest if ifindex in serving]
    ready += [ifindex for ifindex in rest if ifindex in arrived and ifindex not in serving]
    return frozenset(best + ready[:under_way])


def ready_at(waits: Collection[tuple[float, float]]) -> dict[float, float]:
    """When ports that wait for the same aggregate may attach, by the end of their own wait: with those that began before it ended.

    `waits`: (since, until) of every one. Links that come up one after the other attach together (wait_while, 6.4.15), yet one that comes
    and goes without end delays nobody by more than one wait. What comes at the very moment a port is done is not awaited: in whatever
    order both are looked at, the outcome is the same.
    """
    ordered = sorted(waits)
    latest = [*accumulate((until for _, until in ordered), max)]
    begun = {until: bisect.bisect_left(ordered, until, key=BEGINNING) for _, until in ordered}
    return {until: max(until, latest[count - 1]) if count else until for until, count in begun.items()}


def assign_number(ifindex: int, taken: Iterable[int]) -> int:
    """Port number for LACPDUs: the ifindex where it fits into 16 bits and is free, else as near to it as can be.

    Never 0, which means "no port", never one that another port has. LookupError: all 65535 are taken.
    """
    used = set(taken)
    start = ifindex & 0xFFFF
    for step in range(0x10000):
        number = (start + step) & 0xFFFF
        if number and number not in used:
            return number
    raise LookupError("no port number is left")
