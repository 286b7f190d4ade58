"""Which links are to be ports: those the configuration or a user named, until another program takes them out.

teamd adds the configured ports once, at its start. Here the wish stays: a configured link that is missing, is up, belongs to another
device or is refused by the kernel joins as soon as that is over. Taking a port out by command ends the wish; taking it out by hand, or
because its settings cannot be had, ends it for this very link, whatever its name is by then, or will be. A link that belongs to another
device is left there, and one that is up stays up, unless the settings of the port ask for just that.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import field

from pyteamd.core.facts import KernelFacts
from pyteamd.core.hindrance import Liberties, hindrance, port_above
from pyteamd.model.events import LinkSeen
from pyteamd.values import dataclass

TAKEN = "another program took it out"
REMOVED = "it was removed by command"
UNNAMED = "the configuration does not name it any more"
REMEMBERED = 256
"""Links without a place in the configuration that are gone: so many names, and what is stored for them, are kept."""


@dataclass(slots=True)
class Members:
    """Which links are to be members, and what has to be done to those that are not."""

    members: dict[int, bool] = field(default_factory=dict)
    steal: set[int] = field(default_factory=set)
    set_down: set[int] = field(default_factory=set)


class WantedPorts:
    """The links that are to be ports, by name, and those that were and are not to be any more, by number."""

    def __init__(self, names: Iterable[str]) -> None:
        self.wanted = dict.fromkeys(names)
        """Interface names in the order in which to add them."""
        self.released: set[int] = set()
        """Links that are our ports in the kernel and are to leave."""
        self.asked: set[int] = set()
        """Links a user just asked for: tried as they are, so that the kernel's answer is the user's."""
        self._new: set[int] = set()
        """Those of them that nobody had named before: a refusal, which the user is told, ends the wish."""
        self.out: dict[int, str] = {}
        """Links that were taken out, and why. One that had another name then does not come back when it gets the wanted one again."""
        self._gone: list[str] = []
        """The names of REMEMBERED, in the order in which their links went."""

    def wants(self, link: LinkSeen) -> bool:
        """Whether a link of one of these names is to be a port."""
        return any(name in self.wanted for name in link.names)

    def want(self, names: Iterable[str], link: LinkSeen) -> None:
        """A user wants the link in. `names`: those it is known by from now on."""
        ifindex = link.ifindex
        if not self.wants(link):
            self._new.add(ifindex)
        self.wanted.update(dict.fromkeys(names))
        self.released.discard(ifindex)
        self.out.pop(ifindex, None)
        self.asked.add(ifindex)

    def name(self, name: str, link: LinkSeen | None) -> None:
        """The configuration names a link it did not name before, the present one of that name or one to come."""
        self.wanted[name] = None
        if link is not None:
            self.out.pop(link.ifindex, None)

    def joined(self, ifindex: int) -> None:
        """The link is a port."""
        self._answered(ifindex)
        self.out.pop(ifindex, None)

    def release(self, names: Iterable[str], ifindex: int, why: str) -> None:
        """The link has to leave."""
        for name in names:
            self.unwant(name)
        self._answered(ifindex)
        self.out[ifindex] = why
        self.released.add(ifindex)

    def reject(self, names: Iterable[str], ifindex: int, why: str) -> None:
        """The link has to leave because it cannot be a port. A new link of that name is tried."""
        self.forget(names, ifindex, why)
        self.released.add(ifindex)

    def unwant(self, name: str) -> None:
        """No link of this name is to be a port from now on, whatever becomes of the present one."""
        self.wanted.pop(name, None)

    def forget(self, names: Iterable[str], ifindex: int, why: str) -> None:
        """The link cannot be a port, or another program took it out. A new link of that name is tried."""
        for name in names if ifindex in self._new else ():
            self.unwant(name)
        self.out[ifindex] = why
        self._answered(ifindex)

    def link_gone(self, ifindex: int) -> None:
        """The link was deleted. (Its port left first, as if it had been taken out.)"""
        self.released.discard(ifindex)
        self._answered(ifindex)
        self.out.pop(ifindex, None)

    def too_many(self, lost: Iterable[str], names: Iterable[str]) -> list[str]:
        """Which of all names that are `lost` to forget: those whose links went first. `names`: what went just now was called."""
        order = {name: place for place, name in enumerate((*self._gone, *names))}
        found = sorted(lost, key=lambda name: order.get(name, -1))
        self._gone = found[-REMEMBERED:]
        return found[:-REMEMBERED]

    def unfit(self) -> set[int]:
        """Links that could not become ports."""
        return {ifindex for ifindex, why in self.out.items() if why not in (TAKEN, REMOVED, UNNAMED)}

    def in_question(self, link: LinkSeen) -> bool:
        """This link could not be had, and is tried again when its settings are others."""
        return link.ifindex in self.unfit() and self.wants(link)

    def try_again(self, link: LinkSeen) -> bool:
        """What was in the way of a link may not be there with the settings there are now. Returns whether it may be tried."""
        if self.in_question(link):
            del self.out[link.ifindex]
        return link.ifindex not in self.out

    def is_new(self, ifindex: int) -> bool:
        """A user asked for this link, which nobody had named before, and has not been answered."""
        return ifindex in self._new

    def _answered(self, ifindex: int) -> None:
        """What a user asked for is settled."""
        self.asked.discard(ifindex)
        self._new.discard(ifindex)

    def desired(
        self, facts: KernelFacts, ports: Container[int], liberties_for: Callable[[LinkSeen], Liberties]
    ) -> Members:
        """The members there are to be: links that can join now, and those a user asked for."""
        found = Members()
        hardware = facts.team.hardware if any(facts.observed.members.values()) else None
        for name in self.wanted:
            link = facts.called(name)
            if link is None or link.ifindex in self.out:
                continue
            ifindex = link.ifindex
            if ifindex in ports or link.master == facts.team.ifindex:
                found.members[ifindex] = True
                continue
            liberties = liberties_for(link)
            if ifindex in self.asked or not (
                hardware not in (None, link.hardware)
                or hindrance(link, liberties, facts)
                or port_above(ifindex, facts, found.members)
            ):
                hardware = hardware or link.hardware  # the first one's, whose type the team takes
                found.members[ifindex] = True
                if liberties.steal and link.master:
                    found.steal.add(ifindex)
                if liberties.set_down and (link.up or link.master):
                    found.set_down.add(ifindex)
        found.members.update(dict.fromkeys(sorted(self.released), False))
        return found
