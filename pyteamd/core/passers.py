"""Links that pass by: what a trace tells of them is left out once they are gone without effect.

What remains is to be a trace that can be told again, so a step stays if another one may depend on it: one with which anything was
written or said of this link, and all of a link that was there when a user asked for something, or that others are judged by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pyteamd.core.backoff import port_of
from pyteamd.core.facts import KEPT
from pyteamd.model.desired import Outputs, Write
from pyteamd.model.events import (
    Applied,
    CarrierSeen,
    Event,
    FrameSeen,
    LinkGone,
    LinkSeen,
    OptionSeen,
    PortGone,
    PortSeen,
    Refused,
    Resync,
    Tick,
)

COMMON: Final = (FrameSeen, Tick, OptionSeen, Applied, Resync)
"""Events that come by themselves again and again, and one that is as large as the system has links."""
ROUTINE: Final = frozenset((FrameSeen, Tick, OptionSeen, Applied))
"""Those of them that tell Passers nothing when they led to no write and no note."""
OF_A_LINK: Final = (LinkSeen, LinkGone)
OF_THE_KERNEL: Final = (*OF_A_LINK, *COMMON, CarrierSeen, PortSeen, PortGone, Refused)
"""Events that concern links which they do not name only where links stand on each other."""
NOTHING: Final = Outputs()
MOST_STEPS: Final = 16
"""A link with more steps than this does not pass by."""


class Passers:
    """Links that come and go and change nothing: a host may make thousands, and a trace without them says the same."""

    def __init__(self) -> None:
        self._passing: dict[int, list[int]] = {}
        """Numbers of the steps that tell of each passing link."""
        self._tied: dict[int, int] = {}
        """Passing links by which other links may be judged: the link each stands on, 0 for one that may have ports."""
        self._on: dict[int, set[int]] = {}
        """The same by the link they stand on: with thousands of them, a search for each event would take long."""
        self._there: set[int] = set()
        """Links that earlier steps tell of."""

    def gone(self, event: Event, writes: Iterable[Write], outputs: Outputs, number: int) -> Sequence[int]:
        """Learn this step. Returns those that may be left out now: all that tell of a link which is gone."""
        if isinstance(event, OF_A_LINK) and not writes and outputs == NOTHING:
            return self._of_a_link(event, number)
        if isinstance(event, Resync):
            self._there = {link.ifindex for link in event.links}
            self._passing.clear()
            self._tied.clear()
            self._on.clear()
        elif not isinstance(event, COMMON) or writes or outputs.notes:
            unknown = isinstance(event, PortGone) and event.ifindex not in self._there | self._passing.keys()
            self._keep(
                concerned(event, writes) | set(self._tied) if isinstance(event, OF_THE_KERNEL) else self._passing
            )
            if unknown or isinstance(event, LinkGone):
                self._there -= concerned(event, ())
        return ()

    def _keep(self, links: Iterable[int]) -> None:
        """A step may have to do with these links: what tells of them stays."""
        for ifindex in list(links):
            self._there.add(ifindex)
            self._passing.pop(ifindex, None)
            self._untie(ifindex)

    def _of_a_link(self, event: LinkSeen | LinkGone, number: int) -> Sequence[int]:
        ifindex = event.ifindex
        if isinstance(event, LinkGone):
            self._there.discard(ifindex)
            self._untie(ifindex)
            steps = self._passing.pop(ifindex, [])
            return [*steps, number] if steps else ()
        self._keep(self._judges(event))
        if ifindex not in self._there:
            steps = self._passing.setdefault(ifindex, [])
            steps.append(number)
            if event.lower or event.master or event.kind in KEPT:
                self._untie(ifindex)
                self._tied[ifindex] = event.lower
                self._on.setdefault(event.lower, set()).add(ifindex)
            if len(steps) > MOST_STEPS:
                self._keep((ifindex,))
        return ()

    def _untie(self, ifindex: int) -> None:
        if (lower := self._tied.pop(ifindex, None)) is None:
            return
        self._on[lower].discard(ifindex)
        if not self._on[lower]:
            del self._on[lower]

    def _judges(self, link: LinkSeen) -> list[int]:
        """Passing links that may keep this one from joining."""
        found = self._tied if link.ifindex in self._there else self._on.get(link.ifindex, ())
        return [*found, link.lower] if link.lower in self._passing else list(found)


def concerned(event: Event, writes: Iterable[Write]) -> set[int]:
    """Links that a step has to do with, as far as it names them."""
    links = {port_of(write) for write in writes}
    match event:
        case LinkSeen(ifindex=ifindex, lower=lower, master=master):
            links |= {ifindex, lower, master}
        case (
            LinkGone(ifindex=ifindex)
            | CarrierSeen(ifindex=ifindex)
            | PortSeen(ifindex=ifindex)
            | PortGone(ifindex=ifindex)
        ):
            links.add(ifindex)
        case Refused(write=write):
            links.add(port_of(write))
    return links - {0}
