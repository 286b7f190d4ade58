"""What a team would write if a port lost its link: found out beforehand, on a copy, so that a fail-over need not think first.

The core is pure: a copy of a Team that is given an event says what the Team itself would say, and nobody notices. So when a team has come
to rest, the loss of each port that carries traffic is tried on a copy, and the writes it leads to are remembered. When the event comes
and nothing else has changed in between, they are performed at once; the Team itself digests the event after that. Should it want something
else after all, that is one more difference between desired and observed, and reconciled like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pyteamd.events import CarrierSeen, Event, FrameSeen, LinkGone, LinkSeen, PortSeen, Tick
from pyteamd.model import OptionKey, Write
from pyteamd.team import Team

MAXIMUM_PORTS = 64
"""A copy of a team with this many ports takes 10 ms."""
MAXIMUM_COPIES = 8


def foresee(team: Team, now: float) -> Mapping[Event, tuple[Write, ...]]:
    """Link losses that would lead to writes at once → those writes, in order."""
    if not 1 < len(team.ports) <= MAXIMUM_PORTS:
        return {}
    enabled = team.facts.observed.options
    carrying = [i for i, port in team.ports.items() if port.running and enabled.get(OptionKey("enabled", i)) is True]
    found: dict[Event, tuple[Write, ...]] = {}
    for ifindex in carrying[:MAXIMUM_COPIES]:
        event = CarrierSeen(ifindex, False)
        twin = copy_of(team)
        twin.handle(event, now)
        if writes := twin.writes(now):
            found[event] = writes
    return found


def copy_of(team: Team) -> Team:
    """A copy that shares with the team only what is never changed, or not by the loss of a link."""
    shared: list[Any] = [team.config, *team.facts.links.values(), *team.facts.port_list.values()]
    return copy.deepcopy(team, {id(thing): thing for thing in shared})


def leaves_valid(event: Event, team: Team) -> bool:
    """Whether a forecast still holds after this event, provided that nothing was written or said because of it."""
    match event:
        case Tick() | FrameSeen():
            return True
        case (
            LinkSeen(ifindex=ifindex)
            | CarrierSeen(ifindex=ifindex)
            | LinkGone(ifindex=ifindex)
            | PortSeen(ifindex=ifindex)
        ):
            return ifindex not in team.ports and ifindex != team.view.ifindex
    return False
