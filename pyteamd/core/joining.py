"""How a link becomes a port of the team and stops being one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from pyteamd.config.config import Config, PortSetup
from pyteamd.core.facts import KernelFacts
from pyteamd.core.hindrance import OTHER_TYPE, Hindrance, Liberties, hindrance, port_above
from pyteamd.core.hosts import Hosts
from pyteamd.core.port import Port
from pyteamd.core.ports import Ports
from pyteamd.core.set_once import SetOnce
from pyteamd.core.wanted import REMEMBERED, REMOVED, TAKEN, UNNAMED, Members, WantedPorts
from pyteamd.linkwatch.base import Watcher
from pyteamd.model.desired import Level, Note, OptionKey, SetMember
from pyteamd.model.events import LOOPBACK, HostName, LinkSeen
from pyteamd.model.incidents import Incident
from pyteamd.model.words import BELONGS
from pyteamd.schema.problems import Severity


class JoiningPorts:
    """The ports there are, the links that are to be ports, and what a new port needs."""

    def __init__(self, config: Config, facts: KernelFacts, once: SetOnce, wanted: Iterable[str]) -> None:
        self.ports = Ports(facts.observed)
        self.members = WantedPorts(wanted)
        self.hosts = Hosts()
        self.notes: list[Note] = []
        self.closed = False
        """The team is stopping: nobody joins any more."""
        self.awaited: set[int] = set()
        """See TeamView."""
        self.refusals: dict[int, str] = {}
        """What the kernel had against a link when it was last tried, until it joins."""
        self.former: dict[int, str] = {}
        """Ports without a configured name any more, and the one that they had. They stay: that another link gets it ends nothing.

        Also links that are to be such ports again, after a configuration was taken back.
        """
        self._found: set[int] = set()
        """Links that were ports before the daemon started, and are still to join."""
        self._config = config
        self._facts = facts
        self._once = once

    def join(self, ifindex: int, now: float, found: bool) -> bool:
        """Make a port of this link if all that must be known is known. Returns whether anything came of it.

        `found`: the link was a port before the daemon started, so that the team's address is not to change.
        """
        self.awaited.discard(ifindex)
        if (
            ifindex in self.ports
            or ifindex in self.members.released
            or self.closed
            or not self._facts.complete(ifindex)
        ):
            return False
        link = self._facts.links[ifindex]
        if found:
            self._found.add(ifindex)
        settings = self.settings(link)
        if self.hosts.without_answer(hosts_in(settings)):
            if link.running:
                self.awaited.add(ifindex)
            return True
        if problem := unusable(settings, self._facts.team.tx_queues):
            text = f"{link.name}: is a port already, and stays one, without the settings that are wrong: {problem}"
            self.notes.append(Note(Level.ERROR, text, link.name))
            settings = self._in_part(settings)
        self._tell_names(link)
        self._tell_former(link)
        self._config.ensure_watcher(self.key(link))
        self._unwant_former(link)
        port = Port(link, self._facts.port_list[ifindex], self._facts.original_mac(ifindex), settings.config)
        self.ports.add(port)
        self.members.joined(ifindex)
        self.refusals.pop(ifindex, None)
        if ifindex not in self._found:
            self._adopt_mac(port)
        self._found.discard(ifindex)
        self._begin(port, settings, now)
        self._tell_others(port)
        return True

    def _tell_others(self, joined: Port) -> None:
        """The first port gives the team its type: a link that waits and has another one is told now, and one that the port stands on."""
        for name in self.members.wanted:
            link = self._facts.called(name)
            if link is None or link.master or link.ifindex in self.members.out:
                continue
            of_other_type = len(self.ports) == 1 and link.hardware not in (LOOPBACK, joined.link.hardware)
            if of_other_type or port_above(link.ifindex, self._facts) == joined.ifindex:
                found = self.hindrance(link)
                if found is not None and not found.refusal:  # that was told when it appeared
                    self._tell(link, OTHER_TYPE if of_other_type else found)

    def _tell_names(self, link: LinkSeen) -> None:
        """The configuration may know one link under two names, and mean two ports."""
        named = [name for name in link.names if name in self._config.written]
        if len(named) > 1:
            others = " and ".join(named[1:])
            text = f"{link.name}: is {others} too: the settings of {named[0]} count, and those of {others} do not"
            self.notes.append(Note(Level.WARNING, text, link.name))

    def _tell_former(self, link: LinkSeen) -> None:
        """The configuration means one port, and this link is another than the one that had the name."""
        for ifindex, name in self.former.items():
            if name in link.names and (moved := self.moved(ifindex)):
                other = self._facts.name_of(ifindex)
                text = f"{other}: {moved}; {other} stays a port"
                self.notes.append(Note(Level.WARNING, text, other))

    def moved(self, ifindex: int) -> str:
        """Which other link has the configured name of a port, in words; "" for none, and where the configuration is another one now."""
        name, port = self.former.get(ifindex, ""), self.ports.get(ifindex)
        owner, written = self._facts.called(name), self._config.written
        if owner is None or port is None or name not in written or any(own in written for own in port.link.names):
            return ""
        return f"was configured as {name}, which is {'another link' if owner.name == name else owner.name} now"

    def renamed(self, before: LinkSeen, link: LinkSeen) -> None:
        """A port has other names."""
        had = [name for name in before.names if name in self._config.written]
        if any(name in self._config.written for name in link.names):
            self.former.pop(link.ifindex, None)
        elif had:
            self.former[link.ifindex] = had[0]
        else:
            self._follow(before.names, link)

    def _follow(self, names: Sequence[str], link: LinkSeen) -> None:
        """Who asked for a port by command, or gave it settings, meant this link, which had these names."""
        lost = [name for name in names if name not in link.names]
        if any(name in self.members.wanted for name in lost):
            for name in names:
                self.members.unwant(name)
            self.members.wanted[link.name] = None
        key = self._config.key(names)
        if key in lost and key in self._config.port_names():
            stored = self._config.dump_port(key)
            self._config.forget_port(key)
            self._config.set_port(link.name, stored)

    def _unwant_former(self, link: LinkSeen) -> None:
        """A port that lost its configured name is wanted by that alone; by its own it was for as long as it was to come back."""
        if link.ifindex in self.former and not any(name in self._config.written for name in link.names):
            for name in link.names:
                self.members.unwant(name)

    def configured_as(self, port: Port, names: Container[str]) -> str:
        """The first of these configured names that the port has, or had when it joined; "" for none."""
        return next((name for name in self.names(port.link) if name in names), "")

    def settings(self, link: LinkSeen) -> PortSetup:
        """What is configured for a link, under whichever of its names."""
        return self._config.port(self.key(link))

    def key(self, link: LinkSeen) -> str:
        """The name under which the settings of a link stand, or are to stand."""
        return self._config.key(self.names(link))

    def names(self, link: LinkSeen) -> tuple[str, ...]:
        """Those it has, and behind them the configured one that it had, whose settings it keeps while it is a port."""
        return (*link.names, *filter(None, (self.former.get(link.ifindex),)))

    def _in_part(self, settings: PortSetup) -> PortSetup:
        """What of them counts for a link that is a port, whatever is wrong with them; the watchers are good (see `Config.port`)."""
        if not unusable(settings, self._facts.team.tx_queues):
            return settings
        return replace(settings, config=replace(settings.config, queue_id=None))

    def liberties(self, link: LinkSeen) -> Liberties:
        """What may be done to a link so that it can join."""
        return liberties(self.settings(link), self._facts.team.tx_queues)

    def desired(self) -> Members:
        """Which links are to be members."""
        return self.members.desired(self._facts, self.ports, self.liberties)

    def look_at(self, link: LinkSeen, before: LinkSeen | None) -> None:
        """A link that is wanted, and no port, is like this now. Says what is in its way, when it appears and when it gets an owner.

        That it is up by now is not told: so it is in the middle of being added, too.
        """
        same_owner = before is not None and before.master == link.master
        if same_owner or link.ifindex in self.members.out or link.master == self._facts.team.ifindex:
            return
        found = self.hindrance(link)
        if found is None or not (link.master or before is None):
            return
        self._tell(link, found)

    def _tell(self, link: LinkSeen, found: Hindrance) -> None:
        if found.refusal:
            self._tell_refusal(link.name, found.refusal)
            return
        problem = "; ".join(filter(None, (f"it {found.why}", found.until))) + (f" ({found.hint})" if found.hint else "")
        self.notes.append(Note(Level.WARNING, f"{link.name}: not added: {problem}", link.name))

    def hindrance(self, link: LinkSeen, get: Callable[[int], LinkSeen | None] | None = None) -> Hindrance | None:
        """What keeps a link that is no port from becoming one, as it is now. `get`: see `hindrance.hindrance`."""
        return hindrance(link, self.liberties(link), self._facts, get)

    def hindered_by(self, ifindex: int, lower: int) -> bool:
        """Whether a link that is wanted and is no port stands on this one, or is the one that this one stands on."""
        links = [
            self._facts.get_link(other)
            for other in (*self._facts.standing_on(ifindex), lower)
            if other not in self.ports
        ]
        return any(link is not None and self.members.wants(link) for link in links)

    def leave(self, ifindex: int) -> Port | None:
        """The link is no port of ours any more, for whatever reason."""
        port = self._pop(ifindex)
        self.members.released.discard(ifindex)
        if self.hosts.failing and ifindex in self._facts.links:
            self.hosts.forget_failures(hosts_in(self.settings(self._facts.links[ifindex])))
        return port

    def link_gone(self, ifindex: int, names: Collection[str] = ()) -> None:
        """The link of this port, or of what was to be one, was deleted. `names`: what it was called, if people may ask about it."""
        self.members.link_gone(ifindex)
        self.refusals.pop(ifindex, None)
        self.former.pop(ifindex, None)
        if not names:
            return
        written, known = set(self._config.written), dict.fromkeys((*self._config.port_names(), *self.members.wanted))
        lost = [name for name in known if name not in written and self._facts.called(name) is None]
        for name in self.members.too_many(lost, names):
            self.members.unwant(name)
            self._config.forget_port(name)
            text = f"{name}: went before {REMEMBERED} others that the configuration does not name, and is forgotten"
            self.notes.append(Note(Level.INFO, text, name))

    def release(self, ifindex: int, why: str = REMOVED) -> None:
        """The link has to leave. It counts no more as a port, so that another one takes over before the kernel lets it go."""
        self.members.release(self._names(ifindex) if why in (REMOVED, UNNAMED) else (), ifindex, why)
        self._pop(ifindex)

    def give_up(self, ifindex: int) -> bool:
        """A user does not want a link that waits any more. Returns whether it was one."""
        link = self._facts.links.get(ifindex)
        if link is None or not self.members.wants(link) or ifindex in self.members.out:
            return False
        self.members.release(link.names, ifindex, REMOVED)
        if not self._facts.observed.members.get(ifindex):
            self.members.released.discard(ifindex)  # as it is out already
        return True

    def entered(self, ifindex: int) -> None:
        """The kernel has taken a link in. One that was given up while that write was under way leaves again."""
        link = self._facts.links.get(ifindex)
        if link is not None and ifindex not in self.former:
            why = self.members.out.get(ifindex, "" if self.members.wants(link) else UNNAMED)
            if why and (
                why != TAKEN or link.master in (0, self._facts.team.ifindex)
            ):  # else the taker's word came first
                self.release(ifindex, why)

    def _names(self, ifindex: int) -> tuple[str, ...]:
        link = self._facts.links.get(ifindex)
        return link.names if link is not None else ()

    def _pop(self, ifindex: int) -> Port | None:
        """The link counts no more as a port, or as one to be."""
        port = self.ports.remove(ifindex)
        self.awaited.discard(ifindex)
        self._found.discard(ifindex)
        self._once.forget_port(ifindex)
        if port is not None:
            self.former.pop(ifindex, None)
            self.notes += port.notes
        return port

    def taken(self, link: LinkSeen, master: int) -> None:
        """Another program took a port out; it is no longer wanted. `master`: to whom it belongs now, 0 for nobody."""
        owner = self._facts.name_of(master) if master else ""
        what = f"{owner} took it out of the team" if owner else "is no port of the team any more"
        self.notes.append(Note(Level.WARNING, f"{link.name}: {what}", link.name, Incident.PORT_LOST))
        self.members.forget((*link.names, *self._names(link.ifindex)), link.ifindex, TAKEN)

    def is_taken(self, before: LinkSeen, master: int) -> bool:
        """Whether another program took out, or deleted, this link, of which we have no port: not yet, or no more.

        Of a port that leaves, the team family may tell first. What we released ourselves is out already, and what the kernel refused
        in the midst of adding it was never in. `master`: to whom it belongs now, 0 for nobody.
        """
        ours = self._facts.team.ifindex
        if before.master != ours or master == ours:
            return False
        return before.ifindex not in self.members.out and before.ifindex not in self.refusals

    def refused(self, write: SetMember, why: str, for_good: bool) -> bool:
        """The kernel refused to add a link. Returns whether it stays wanted, and is to be tried again.

        One that a user asked for is not, for the user was told; nor is one that is set down or taken for each try, nor what its driver
        cannot do (`for_good`): each try opens it, and closes it again.
        """
        ifindex = write.ifindex
        link = self._facts.links.get(ifindex)
        if link is None or ifindex in self.members.out or not self.members.wants(link):
            self.refusals[ifindex] = why
            return False  # it was given up while the write was under way
        if for_good:
            self.members.forget(self._names(ifindex), ifindex, why)
            return False
        self.refusals[ifindex] = why
        if self.members.is_new(ifindex) or ((write.steal or write.set_down) and BELONGS not in why):
            self.members.forget(self._names(ifindex), ifindex, why)
            return False
        self.members.asked.discard(ifindex)
        return True

    def settings_of_refused(self) -> dict[int, PortSetup]:
        """The links that were refused, or could not be had, with their settings."""
        links = [self._facts.links.get(ifindex) for ifindex in self.refusals.keys() | self.members.unfit()]
        return {link.ifindex: self.settings(link) for link in links if link is not None}

    def try_again(self, ifindex: int) -> None:
        """What the kernel had against the link is no answer to the settings there are now."""
        if self.members.try_again(self._facts.links[ifindex]):
            self.refusals.pop(ifindex, None)

    def reject(self, ifindex: int, why: str) -> None:
        """Release a link that cannot be a port of ours, and say why."""
        name = self._facts.name_of(ifindex)
        self.members.reject(self._names(ifindex), ifindex, why)
        self._pop(ifindex)
        self._tell_refusal(name, why)

    def _tell_refusal(self, name: str, why: str) -> None:
        self.notes.append(Note(Level.ERROR, f"{name}: port refused: {why}", name, Incident.PORT_REFUSED, why))

    def needed_hosts(self) -> list[HostName]:
        """Hosts without whose addresses some link cannot join, or some watcher of a port cannot begin."""
        wanted: dict[HostName, None] = {}
        for ifindex in self._facts.port_list:
            if ifindex not in self.ports and ifindex not in self.members.released and self._facts.complete(ifindex):
                wanted |= dict.fromkeys(hosts_in(self.settings(self._facts.links[ifindex])))
        for port in self.ports.values() if self.hosts.failing else ():
            for watcher in stand_ins(port):
                wanted |= dict.fromkeys(watcher.kind.hosts_in(watcher.config).items())
        return list(wanted)

    def deadline(self, now: float) -> float | None:
        """When some host is to be looked up again."""
        return self.hosts.deadline(self.needed_hosts(), now) if self.hosts.failing else None

    def resolved(self, addresses: Mapping[HostName, str], now: float) -> None:
        """Numeric addresses of hosts, "" for one that has none: the ports that waited for them begin to watch."""
        self.hosts.resolved(addresses, now)
        for port in self.ports.values():
            hosts = [watcher.kind.hosts_in(watcher.config).items() for watcher in stand_ins(port)]
            if any(not self.hosts.without_address(missing) for missing in hosts):
                self.watch(port, self.settings(port.link), now)

    def _adopt_mac(self, port: Port) -> None:
        """The first port gives the team its address, unless one was configured, or brought back."""
        stays, self._once.mac_stays = self._once.mac_stays, False
        if (
            len(self.ports) == 1
            and not stays
            and self._config.team.hwaddr is None
            and len(port.original_mac) == len(self._facts.team.mac)
        ):
            self._once.mac = port.original_mac

    def reprioritise(self, name: str) -> None:
        """The stored settings of a link were replaced: if it is a port, its priority counts at once, the rest when it joins again."""
        for port in [port for port in self.ports.values() if self.key(port.link) == name]:
            prio = self.settings(port.link).config.prio
            port.kernel_priority = port.priority  # which counts until the new one is written
            port.config = replace(port.config, prio=prio)
            self._once.options[OptionKey("priority", port.ifindex)] = prio

    def rename(
        self, before: Collection[str], kept: Collection[str] | None = None, out: Iterable[tuple[int, str]] = ()
    ) -> dict[int, str]:
        """The configuration names other links than `before`. Returns the ports that are to leave, and why: it names them no more.

        `kept`: it is taken back, and these names were wanted, or ports, when it was in force: no others come, and none of these leaves.
        `out`: links that were out then, and why. They are again, unless it was a user who brought one in.
        """
        named = self._config.written
        meant = named if kept is None else kept
        for name in before:
            if name not in meant:
                self.members.unwant(name)
        for name in meant:
            link = self._facts.called(name)
            left = link is not None and self.members.out.get(link.ifindex) == UNNAMED
            if name not in before and (left or name in named):
                self.members.name(name, link if left or kept is None else None)
        for port in self.ports.values():
            self._unwant_former(port.link)
        ports = [port for port in self.ports.values() if self.configured_as(port, before)]
        leaving = {port.ifindex: UNNAMED for port in ports if not self.configured_as(port, meant)}
        return leaving | self._put_out(dict(out), {port.ifindex for port in ports})

    def _put_out(self, out: Mapping[int, str], named: Container[int]) -> dict[int, str]:
        """Links that are to be out again. Returns those that are ports, and the configuration `named` until now."""
        leaving: dict[int, str] = {}
        for ifindex, why in out.items():
            if ifindex in self.ports:
                leaving |= {ifindex: why} if ifindex in named else {}
            elif ifindex in self._facts.links and self.members.out.get(ifindex, UNNAMED) == UNNAMED:
                self.members.out[ifindex] = why
                if self._facts.observed.members.get(ifindex):  # it was to become one
                    self.members.released.add(ifindex)
        return leaving

    def to_keep(self) -> tuple[str, ...]:
        """See `rename`."""
        return (*self.members.wanted, *(port.name for port in self.ports.values()))

    def reconfigure(self, port: Port, setup: PortSetup, now: float) -> None:
        """New settings of a port that stays. What people changed by hand since stays unless it is written differently now."""
        once, old = self._once.options, port.config
        setup = self._in_part(setup)
        port.config = setup.config
        if setup.config.prio != old.prio:
            once[OptionKey("priority", port.ifindex)] = setup.config.prio
            port.kernel_priority = setup.config.prio  # at once, as the other settings: a runner chooses by all of them
        if setup.config.queue_id != old.queue_id:
            once[OptionKey("queue_id", port.ifindex)] = setup.config.queue_id or 0
        self._config.ensure_watcher(self.key(port.link))
        policy_all = self._config.team.link_watch_policy == "all"
        if tuple((watcher.kind, watcher.config) for watcher in port.watchers) != setup.watchers + setup.unnamed:
            self.watch(port, setup, now)
        elif port.policy_all is not policy_all:
            port.set_policy(policy_all, now)

    def watch(self, port: Port, settings: PortSetup, now: float) -> None:
        """Other watchers for a port; one of a kind there was before begins with what that one said last."""
        left = list(port.watchers)
        fresh = []
        for kind, config in (*settings.watchers, *settings.unnamed):
            known = next((watcher for watcher in left if watcher.kind is kind), None)
            watcher = self.hosts.watcher(kind, config, port.up if known is None else known.up)
            if known is not None:
                left.remove(known)
                watcher.down_count = known.down_count
            fresh.append(watcher)
        self._once.watch_port(port, any(watcher.frees_kernel_link for watcher in fresh))
        port.watch_again(fresh, self._config.team.link_watch_policy == "all", self.ports.now_of(port), now)

    def _begin(self, port: Port, settings: PortSetup, now: float) -> None:
        """Have the settings written once, and start the watchers from the kernel's left-over verdict."""
        up = self._facts.observed.options.get(OptionKey("user_linkup", port.ifindex)) is True
        wanted = (*settings.watchers, *settings.unnamed)
        watchers = [self.hosts.watcher(kind, config, up) for kind, config in wanted]
        self._once.add_port(port, watched=any(watcher.frees_kernel_link for watcher in watchers))
        port.start(watchers, self._config.team.link_watch_policy == "all", self.ports.now_of(port), now)


def liberties(settings: PortSetup, queues: int) -> Liberties:
    """What these settings of a port allow. `queues`: transmit queues of the team, 0 when that is not known."""
    config = settings.config
    return Liberties(config.steal, config.set_down or config.steal, unusable(settings, queues))


def unusable(settings: PortSetup, queues: int = 0) -> str:
    """What is so wrong with the settings of a link that it is not made a port; "" for nothing. `queues`: see `liberties`."""
    wrong = [str(problem) for problem in settings.problems if problem.severity is Severity.PORT]
    return "; ".join(filter(None, (*wrong, beyond(settings, queues))))


def beyond(settings: PortSetup, queues: int) -> str:
    """That the transmit queue is none of the team device, "" if it is one."""
    queue = settings.config.queue_id
    if not queues or queue is None or queue < queues:
        return ""
    return f"queue_id: {queue} is none of the {queues} transmit queues of the team device (0 to {queues - 1})"


def stand_ins(port: Port) -> list[Watcher]:
    """Watchers of a port that stand in for others, which have nobody to ask yet."""
    return [watcher for watcher in port.watchers if watcher.kind is not type(watcher)]


def hosts_in(settings: PortSetup) -> list[HostName]:
    """Hosts that the watchers of a port with these settings need, each once."""
    wanted = (host for watcher, config in settings.watchers for host in watcher.hosts_in(config).items())
    return list(dict.fromkeys(wanted))
