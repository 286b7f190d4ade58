"""What the kernel said last: links, the team family's port list, option values. Nothing here is an opinion.

Several sources tell of the same port and arrive in any order, so a link counts as a port only when they agree: rtnetlink
names the team as its master, the port list has it, and its options are known.

The driver names only the switch of a port that was written; what follows for the other two (see SWITCHES) is derived here, so
that readers find them as the driver has them.

What a write of ours changed is known at once, while messages from before it are still to be read. The kernel announces every
change in order, so until our own is announced (an echo), what contradicts it is old and not believed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import field
from itertools import chain

from pyteamd.core.silence import SilentPorts
from pyteamd.model.desired import (
    DIRECTIONS,
    SWITCHES,
    Observed,
    OptionKey,
    OptionValue,
    SetCarrier,
    SetMac,
    SetMember,
    SetOption,
    Write,
)
from pyteamd.model.events import LinkSeen, OptionSeen, PortSeen, Resync
from pyteamd.values import dataclass, replace

MASTER_KINDS = frozenset(("bond", "bridge", "hsr", "openvswitch", "team", "vrf"))
"""Kinds of links that others belong to."""
HANDLERS = frozenset(("ipvlan", "ipvtap", "macsec", "macvlan", "macvtap"))
"""Kinds that take all frames of the link they stand on, which a team would have to take: the driver's `rx_handler` is one for each link."""

ECHO_WAIT_S = 1.0
"""Our own change is announced within milliseconds; if it never is, the next announcement of anything else is believed."""


@dataclass(slots=True)
class Echo:
    """Values we wrote to one place, in order, and until when we wait for them to be announced."""

    values: list[OptionValue] = field(default_factory=list)
    until: float = 0.0


class KernelFacts:
    """What one team knows of the kernel, from its events and from the writes it took."""

    def __init__(self, team: LinkSeen) -> None:
        self.team = team
        self.links: dict[int, LinkSeen] = {}
        """What we were told of (see namespace_links.py)."""
        self.port_list: dict[int, PortSeen] = {}
        self.observed = Observed()
        self.silence = SilentPorts()
        """What the drivers count; nothing is decided by it."""
        self._unenslaved_macs: dict[int, bytes] = {}
        self._by_name: dict[str, int] = {}
        """Every name of known links."""
        self._standing_on: dict[int, dict[int, None]] = {}
        """Known links by the one they stand on."""
        self._echoes: dict[Hashable, Echo] = {}
        """What we wrote and the kernel has not announced yet, by the place that was written to."""

    def awaits_echo(self, now: float) -> bool:
        """Something that we wrote is still to be announced, and was not too long ago."""
        return any(now < echo.until for echo in self._echoes.values())

    def complete(self, ifindex: int) -> bool:
        """All that makes the link a port of this team is known."""
        link = self.links.get(ifindex)
        if link is None or link.master != self.team.ifindex or ifindex not in self.port_list:
            return False
        # The driver names it behind the others that matter.
        return OptionKey("priority", ifindex) in self.observed.options

    def members(self) -> list[int]:
        """Links that are members of the team, ports or not yet; not one that another device has by now."""
        ours = (0, self.team.ifindex)
        members = [self.links[i] for i, member in self.observed.members.items() if member and i in self.links]
        return [link.ifindex for link in members if link.master in ours]

    def knows(self, ifindex: int) -> bool:
        """Whether it is the team, or there is something to remember of it."""
        return ifindex == self.team.ifindex or any(ifindex in known for known in self._known())

    def follows(self, link: LinkSeen) -> bool:
        """Whether it is the team, a port, or known here, or known links stand on it or belong to it."""
        ifindex, ours = link.ifindex, self.team.ifindex
        if link.master == ours or ifindex in self._standing_on or ifindex == self.team.master or self.knows(ifindex):
            return True
        # What the driver gives a new port before rtnetlink names its master (see `link_seen`).
        has_our_mac = not link.master and link.lower != ours and link.mac != b"" and link.mac == self.mac_of_team()
        return has_our_mac or any(known.master == ifindex for known in self.links.values())

    def repeats(self, link: LinkSeen) -> bool:
        """Whether this says nothing new, and no write of ours is under way that it may be older than."""
        ifindex = link.ifindex
        if self._echoes and not self._echoes.keys().isdisjoint((("mac", ifindex), ("member", ifindex))):
            return False
        observed, mine = self.observed, link.master == self.team.ifindex
        return (
            self.links.get(ifindex) == link
            and observed.macs.get(ifindex) == link.mac
            and observed.members.get(ifindex) is mine
        )

    def original_mac(self, ifindex: int) -> bytes:
        """Last address seen while the link had no master, else its permanent one; b"" when neither is known."""
        known = self._unenslaved_macs.get(ifindex)
        return known or (self.links[ifindex].permanent_mac if ifindex in self.links else b"")

    def called(self, name: str) -> LinkSeen | None:
        """The known link that has this name, the kernel's or an alternative one."""
        ifindex = self._by_name.get(name)
        return None if ifindex is None else self.links.get(ifindex)

    find_link = called

    def get_link(self, ifindex: int) -> LinkSeen | None:
        """The known link of this number."""
        return self.links.get(ifindex)

    def standing_on(self, ifindex: int) -> Iterable[int]:
        """Known links that were made on top of this one."""
        return self._standing_on.get(ifindex, ())

    def _restack(self, ifindex: int, before: int, after: int) -> None:
        """The link stands on another one than before, 0 for none."""
        if before == after:
            return
        if before and (others := self._standing_on.get(before)) is not None:
            others.pop(ifindex, None)
            if not others:
                del self._standing_on[before]
        if after:
            self._standing_on.setdefault(after, {})[ifindex] = None

    def _rename(self, ifindex: int, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """The link has other names than before. One that another link has by now stays with that."""
        for name in before:
            if self._by_name.get(name) == ifindex:
                del self._by_name[name]
        self._by_name.update(dict.fromkeys(after, ifindex))

    def name_of(self, ifindex: int) -> str:
        """Name of a link for a log line."""
        link = self.team if ifindex == self.team.ifindex else self.links.get(ifindex)
        return link.name if link else f"interface {ifindex}"

    def mac_of_team(self) -> bytes:
        """The team's address, a write of ours included."""
        return self.observed.macs.get(self.team.ifindex, self.team.mac)

    def team_seen(self, link: LinkSeen, now: float) -> bool:
        """The team device itself. Returns whether anything changed."""
        before = self.team, self.mac_of_team(), self.observed.carrier
        self.team = link
        if self._news(("mac", link.ifindex), link.mac, now):
            self.observed.macs[link.ifindex] = link.mac
        if link.carrier is not None and self._news("carrier", link.carrier, now):
            self.observed.carrier = link.carrier
        return before != (link, self.mac_of_team(), self.observed.carrier)

    def link_seen(self, link: LinkSeen, now: float) -> LinkSeen | None:
        """Any other link. Returns what was known before."""
        before = self.links.get(link.ifindex)
        self.links[link.ifindex] = link
        self._rename(link.ifindex, before.names if before else (), link.names)
        self._restack(link.ifindex, before.lower if before else 0, link.lower)
        # The driver may give a new port the team's address before rtnetlink names its master; that is not the port's own.
        if not link.master and (link.mac != self.mac_of_team() or link.ifindex not in self._unenslaved_macs):
            self._unenslaved_macs[link.ifindex] = link.mac
        mine = link.master == self.team.ifindex
        if not mine and link.ifindex not in self.observed.members:
            return before  # of a link that never was a port nothing more is kept
        if self._news(("member", link.ifindex), mine, now):
            self.observed.members[link.ifindex] = mine
        if self._news(("mac", link.ifindex), link.mac, now):
            self.observed.macs[link.ifindex] = link.mac
        return before

    def expect_port(self, link: LinkSeen) -> None:
        """As if the link were a port already (for checks of ports added together): the team has the type of its first one."""
        if not any(self.observed.members.values()):
            self.team = replace(self.team, hardware=link.hardware)
        self.observed.members[link.ifindex] = True

    def running_seen(self, ifindex: int, running: bool) -> LinkSeen:
        """The early word on a known link's carrier; returns the link as known now.

        `carrier` nearly always changes with it: it goes along, so that the message that follows says nothing new.
        """
        link = self.links[ifindex]
        link = self.links[ifindex] = replace(link, running=running, carrier=None if link.carrier is None else running)
        return link

    def link_gone(self, ifindex: int) -> bool:
        """The link no longer exists here. Returns whether it was known."""
        known = self.links.pop(ifindex, None)
        self._rename(ifindex, known.names if known else (), ())
        self._restack(ifindex, known.lower if known else 0, 0)
        self.port_list.pop(ifindex, None)
        self._unenslaved_macs.pop(ifindex, None)
        self.observed.members.pop(ifindex, None)
        self.observed.macs.pop(ifindex, None)
        self.forget_options(ifindex)
        for place in (("mac", ifindex), ("member", ifindex)):
            self._echoes.pop(place, None)
        return known is not None

    def port_gone(self, ifindex: int) -> None:
        """The team family says so. What rtnetlink says of membership is another matter, and may be older or newer."""
        self.port_list.pop(ifindex, None)
        self.forget_options(ifindex)

    def option_seen(self, option: OptionSeen, now: float) -> bool:
        """Returns whether the value is new."""
        key, value = option.key, option.value
        known = self.observed.options.get(key)
        if not self._news(key, value, now) or (
            key.name in DIRECTIONS and self._awaited(key._replace(name="enabled"), now)
        ):
            return False
        self.observed.options[key] = value
        return self._switched(key) or known != value or type(known) is not type(value)

    def _switched(self, key: OptionKey) -> bool:
        """Derive what this switch means for the others of its port. Returns whether one of them changed."""
        if key.name not in SWITCHES:
            return False
        options = self.observed.options
        ways = [OptionKey(name, key.port) for name in DIRECTIONS]
        if not all(way in options for way in ways):
            return False
        both = key._replace(name="enabled")
        before = [options.get(switch) for switch in (both, *ways)]
        if key == both:
            # A write of ours to one of them that is not announced yet came later.
            options.update(dict.fromkeys([way for way in ways if way not in self._echoes], options[both]))
        options[both] = all(options[way] is True for way in ways)
        return before != [options.get(switch) for switch in (both, *ways)]

    def forget_options(self, ifindex: int) -> None:
        """The port left and its options with it."""
        for key in [key for key in self.observed.options if key.port == ifindex]:
            del self.observed.options[key]
            self._echoes.pop(key, None)

    def option_gone(self, key: OptionKey) -> bool:
        """Returns whether it was known."""
        self._echoes.pop(key, None)
        return self.observed.options.pop(key, None) is not None

    def links_missing_from(self, dump: Resync) -> list[int]:
        """Links known so far that a complete dump does not have."""
        present = {link.ifindex for link in dump.links}
        return [ifindex for ifindex in self.known() if ifindex not in present]

    def known(self) -> dict[int, None]:
        """Every link there is something to remember of."""
        return dict.fromkeys(chain(*self._known()))

    def _known(self) -> tuple[Mapping[int, object], ...]:
        """All that is kept by the number of a link: every link there was something to remember of is in one of them."""
        return self.links, self.observed.members, self._unenslaved_macs, self.port_list

    def ports_missing_from(self, dump: Resync) -> list[int]:
        """Ports known so far that a complete dump does not have."""
        present = {port.ifindex for port in dump.ports}
        return [ifindex for ifindex in self.port_list if ifindex not in present]

    def replace_options(self, dump: Resync) -> None:
        """The options of a complete dump are all there are. Announcements may have been lost: wait for none."""
        if not self.observed.options:
            # The first dump. Of a team with ports a daemon before us may have set the carrier.
            self.observed.carrier_free = not dump.ports
        self._echoes.clear()
        self.observed.options.clear()
        self.observed.options.update({option.key: option.value for option in dump.options})

    def applied(self, write: Write, now: float) -> None:
        """The kernel accepted a write of ours; the event that says the same comes later."""
        observed = self.observed
        match write:
            case SetOption(key=key, value=value):
                self._expect(key, observed.options.get(key), value, now)
                observed.options[key] = value
                self._switched(key)
                observed.carrier_free |= key.name == "mode"
            case SetMac(ifindex=ifindex, mac=mac):
                self._expect(("mac", ifindex), observed.macs.get(ifindex), mac, now)
                observed.macs[ifindex] = mac
            case SetMember(ifindex=ifindex, member=member):
                self._expect(("member", ifindex), observed.members.get(ifindex), member, now)
                observed.members[ifindex] = member
            case SetCarrier(up=up):
                self._expect("carrier", observed.carrier, up, now)
                observed.carrier, observed.carrier_free = up, False

    def _expect(self, place: Hashable, before: OptionValue | None, value: OptionValue, now: float) -> None:
        """An announcement of `value` is on its way, unless it came already."""
        if not isinstance(place, OptionKey):
            self._echoes.pop(place, None)  # of changes in quick succession, rtnetlink may announce the last one only
        if before != value or place in self._echoes:
            echo = self._echoes.setdefault(place, Echo())
            echo.values.append(value)
            echo.until = now + ECHO_WAIT_S

    def _awaited(self, place: Hashable, now: float) -> bool:
        """A write of ours is still to be announced: what comes now is older."""
        echo = self._echoes.get(place)
        return echo is not None and now < echo.until

    def _news(self, place: Hashable, value: OptionValue, now: float) -> bool:
        """Whether an announcement is to be believed: it is if no write of ours came after it."""
        echo = self._echoes.get(place)
        if echo is None:
            return True
        if now < echo.until and value not in echo.values:
            return False
        if value in echo.values:
            del echo.values[: echo.values.index(value) + 1]
        if not echo.values or now >= echo.until:
            del self._echoes[place]
            return True
        return False
