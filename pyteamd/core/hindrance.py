"""What keeps a link from becoming a port, as far as that can be seen without asking the kernel for it.

The kernel finds some of it only half-way: by then the link has another MTU, another address, or was opened, and all that is taken back.
So a link is looked at first, and what cannot be had is left as it is. What is not seen here the kernel refuses, in its own words.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Protocol

from pyteamd.core.facts import HANDLERS, MASTER_KINDS, KernelFacts
from pyteamd.model.events import ETHERNET, LOOPBACK, LinkSeen
from pyteamd.model.printable import after_set
from pyteamd.values import dataclass

UNFIT = frozenset(("ipvlan", "ipvtap", "macvtap", "vrf"))
"""Kinds that let no device above them take their frames, which a team has to do."""
NARROW = frozenset(("macsec", "macvlan", "vlan"))
"""Kinds whose MTU is limited by that of the link they stand on."""
VLAN_TAG = 4
NO_ADDRESS = bytes(6)
"""Tunnels that their module makes; the kernel opens none with it."""
FRESH_MTU = 1500
"""MTU of a team device that was just made, in octets."""
DEEPEST = 8
"""Links on links; the kernel allows as many."""


class AllLinks(Protocol):
    """All links there are now, those of other devices too: asked of the kernel where people ask."""

    def find_link(self, name: str) -> LinkSeen | None:
        """The link that has this name now."""

    def get_link(self, ifindex: int) -> LinkSeen | None:
        """The link of this number."""


@dataclass(frozen=True, slots=True)
class Liberties:
    """What the settings of a port allow to be done to the link before it joins."""

    steal: bool = False
    """It may be taken from another device."""
    set_down: bool = False
    """It may be set down."""
    unusable: str = ""
    """What is so wrong with them that the link cannot be a port."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a link cannot become a port as it is now."""

    why: str
    """Continues a sentence that begins with the link."""
    until: str = ""
    """When it joins; "" for never, or when nobody can tell."""
    hint: str = ""
    """A command that helps."""
    half_way: bool = False
    """The kernel would find it after it has changed the link, or has no words for it."""
    errno: int = errno.EBUSY
    """What the kernel would answer."""
    refusal: str = ""
    """Why we do not even ask: it is the settings."""

    @property
    def advice(self) -> str:
        """What helps, or at least when it ends."""
        return self.hint or self.until


OTHER_TYPE = Hindrance("is of another type than the ports there are", "it joins when they have left", half_way=True)


def hindrance(
    link: LinkSeen, liberties: Liberties, facts: KernelFacts, get: Callable[[int], LinkSeen | None] | None = None
) -> Hindrance | None:
    """What is in the way of a link that is no port of the team; None when nothing is, as far as one can see.

    `get`: links that `facts` does not have, those of other devices.
    """

    def known(ifindex: int) -> LinkSeen | None:
        return facts.links.get(ifindex) or (get(ifindex) if get is not None else None)

    if link.hardware == LOOPBACK:
        return Hindrance("is the loopback device, which cannot be a port", errno=errno.EINVAL)
    owners = owners_of(facts.team, known)
    if base := stands_on(link, (facts.team.ifindex, *owners), known):
        itself = base == facts.team.ifindex
        named = (
            f"{facts.team.name} itself" if itself else f"{name_of(base, known)}, which has {facts.team.name} as a port"
        )
        return Hindrance(f"stands on {named}")
    if link.ifindex in owners:
        return Hindrance(f"has {facts.team.name} as a port of its own")
    if link.kind in UNFIT:
        return Hindrance(f"is of the kind {link.kind}, which cannot be a port", half_way=True, errno=errno.EINVAL)
    if liberties.unusable:
        owner = f"belongs to {name_of(link.master, known)}, and " if link.master else ""
        why = f"{owner}cannot be a port with its settings: {liberties.unusable}"
        return Hindrance(why, half_way=True, errno=errno.EINVAL, refusal=liberties.unusable)
    if link.master and not liberties.steal:
        return Hindrance(f"belongs to {name_of(link.master, known)}", "it joins when it is free and down")
    found = of_other_links(link, facts, known) or of_mtu(link, facts, known)
    up = link.up and not (liberties.set_down or liberties.steal)
    return and_up(link, found) if up else found


def and_up(link: LinkSeen, other: Hindrance | None) -> Hindrance:
    """For a link that is up. To set it down is the advice only if that is enough, and cuts off no link that belongs to it."""
    if other is not None:
        until = other.until and f"{other.until}, and it is down"
        return replace(other, why=f"is up, and {other.why}", until=until, hint="", errno=errno.EBUSY)
    hint = "" if link.kind in MASTER_KINDS else f"ip link set {after_set(link.name)} down"
    return Hindrance("is up", "it joins when it is down", hint)


def of_other_links(link: LinkSeen, facts: KernelFacts, known: Callable[[int], LinkSeen | None]) -> Hindrance | None:
    """Other ports, links that stand on this one, links that it stands on."""
    if link.hardware != facts.team.hardware and any(facts.observed.members.values()):
        return OTHER_TYPE
    if above := port_above(link.ifindex, facts):
        name = f"{facts.name_of(above)}, which is a port of {facts.team.name},"
        return Hindrance(f"has {name} standing on it", "it joins when that has left")
    for ifindex in facts.standing_on(link.ifindex):
        upper = known(ifindex)
        if upper is not None and upper.kind in HANDLERS:
            return Hindrance(
                f"has {upper.kind} {upper.name} standing on it", "it joins when that is gone", half_way=True
            )
    lower = known(link.lower) if link.kind == "vlan" else None
    if link.mac == NO_ADDRESS and link.hardware == ETHERNET:
        return Hindrance(
            "has no hardware address", "it joins when it has one", half_way=True, errno=errno.EADDRNOTAVAIL
        )
    if lower is not None and not lower.up and not link.loose_binding:
        text = f"stands on {lower.name}, which is down"
        # The kernel sets the VLAN up with it, some kernels a moment later: only then it can be set down for good, which is the next hint.
        hint = f"ip link set {after_set(lower.name)} up"
        return Hindrance(text, "it joins when that is up and it is down", hint, half_way=True, errno=errno.ENETDOWN)
    return None


def port_above(ifindex: int, facts: KernelFacts, among: Container[int] = (), depth: int = DEEPEST) -> int:
    """The port, or the one `among` links that are to be ports, that is made on this link, directly or over others; 0 for none."""
    for upper in facts.standing_on(ifindex) if depth else ():
        if upper in among or facts.observed.members.get(upper):
            return upper
        if found := port_above(upper, facts, among, depth - 1):
            return found
    return 0


def of_mtu(link: LinkSeen, facts: KernelFacts, known: Callable[[int], LinkSeen | None]) -> Hindrance | None:
    """A port gets the team's MTU, which its driver, or the link it stands on, may not have."""
    if link.hardware != facts.team.hardware:
        return None  # the first port: the team gets its type, and with that its MTU
    lower = known(link.lower) if link.kind in NARROW else None
    limits = [link.max_mtu] if link.max_mtu else []
    if lower is not None and lower.mtu:
        narrower = VLAN_TAG if (link.kind, lower.kind) == ("vlan", "macsec") else link.overhead
        limits.append(lower.mtu - narrower)
    if limits and facts.team.mtu > min(limits):
        why = f"can have an MTU of at most {min(limits)}, and that of {facts.team.name} is {facts.team.mtu}"
        hint = f"ip link set {after_set(facts.team.name)} mtu {min(limits)}"
        return Hindrance(why, "it joins when that fits", hint, half_way=True, errno=errno.EINVAL)
    return None


def owners_of(team: LinkSeen, known: Callable[[int], LinkSeen | None]) -> list[int]:
    """The device that the team belongs to, the one that this belongs to, and so on."""
    owners: list[int] = []
    link: LinkSeen | None = team
    while link is not None and link.master and len(owners) < DEEPEST:
        owners.append(link.master)
        link = known(link.master)
    return owners


def stands_on(link: LinkSeen, those: Container[int], known: Callable[[int], LinkSeen | None]) -> int:
    """Which of `those` a link is made on, directly or over others; 0 for none."""
    lower: LinkSeen | None = link
    for _ in range(DEEPEST):
        if lower is None or not lower.lower:
            return 0
        if lower.lower in those:
            return lower.lower
        lower = known(lower.lower)
    return 0


def name_of(ifindex: int, known: Callable[[int], LinkSeen | None]) -> str:
    """Name of a link, as far as it is known."""
    link = known(ifindex)
    return link.name if link is not None else f"interface {ifindex}"
