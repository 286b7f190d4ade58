"""Which links shall be ports: those the configuration or a user named, until somebody takes them out.

teamd enslaves the configured ports once, at its start. Here the wish stays: a configured link that is missing, or is deleted
and made anew, joins when it is there, free and down. Taking a port out by hand, by command, or because its settings are
unusable ends the wish, and for this very link it ends whatever its name is by then, or will be.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from pyteamd.core.facts import Facts
from pyteamd.model.events import LinkSeen


class WantedPorts:
    """Owned by one Team."""

    def __init__(self, names: Iterable[str]) -> None:
        self.wanted = dict.fromkeys(names)
        """Interface names in the order in which to enslave them."""
        self.released: set[int] = set()
        """Links that are our ports in the kernel and shall not be."""
        self._taken: dict[int, str] = {}
        """Links that cannot be had or were taken out by somebody else, with the name under which they were wanted."""
        self.asked: set[int] = set()
        """Links a user just asked for: tried as they are, so that the kernel's answer is the user's."""
        self._new: set[int] = set()
        """Those of them that nobody had named before: a refusal ends the wish, for the user was told."""
        self.out: set[int] = set()
        """Links that were taken out. One that had another name then does not come back when it gets the wanted one again."""

    def want(self, name: str, ifindex: int) -> None:
        """A user wants the link in."""
        if name not in self.wanted and self._taken.get(ifindex) != name:
            self._new.add(ifindex)
        self._taken.pop(ifindex, None)
        self.wanted[name] = None
        self.released.discard(ifindex)
        self.out.discard(ifindex)
        self.asked.add(ifindex)

    def name(self, name: str, links: Iterable[LinkSeen]) -> None:
        """The configuration names a link it did not name before, one of those there are or one to come."""
        self.wanted[name] = None
        self.out.difference_update([link.ifindex for link in links if link.name == name])

    def joined(self, ifindex: int) -> None:
        """The link is a port."""
        self._answered(ifindex)
        self.out.discard(ifindex)

    def release(self, name: str, ifindex: int) -> None:
        """The link shall leave."""
        self._taken.pop(ifindex, None)
        self.wanted.pop(name, None)
        self._answered(ifindex)
        self.out.add(ifindex)
        self.released.add(ifindex)

    def unwant(self, name: str) -> None:
        """No link of this name shall be a port from now on, whatever becomes of the present one."""
        self.wanted.pop(name, None)
        self._taken = {ifindex: taken for ifindex, taken in self._taken.items() if taken != name}

    def forget(self, name: str, ifindex: int) -> None:
        """The link cannot be had, or was taken out by somebody else. A new link of that name is another matter."""
        if name in self.wanted:
            del self.wanted[name]
            if ifindex not in self._new:
                self._taken[ifindex] = name
        self.out.add(ifindex)
        self._answered(ifindex)

    def link_gone(self, ifindex: int) -> None:
        """The link was deleted. (Its port left first, as if it had been taken out.)"""
        self.released.discard(ifindex)
        self._answered(ifindex)
        self.out.discard(ifindex)
        name = self._taken.pop(ifindex, None)
        if name is not None:
            self.wanted[name] = None

    def _answered(self, ifindex: int) -> None:
        """What a user asked for is settled."""
        self.asked.discard(ifindex)
        self._new.discard(ifindex)

    def desired(self, facts: Facts, ports: Container[int], starting: bool) -> dict[int, bool]:
        """Ifindex → member. At the start every configured link is tried as it is; later only one that can be had."""
        by_name = {link.name: link for link in facts.links.values()} if self.wanted else {}
        members = {}
        for name in self.wanted:
            link = by_name.get(name)
            if link is None or link.ifindex in self.out:
                continue
            as_it_is = starting or link.ifindex in ports or link.ifindex in self.asked
            if as_it_is or not (link.master or link.up):
                members[link.ifindex] = True
        members.update(dict.fromkeys(sorted(self.released), False))
        return members
