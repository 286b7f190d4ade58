"""How a link becomes a port of the team and stops being one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pyteamd.config.config import Config, PortSetup
from pyteamd.core.facts import Facts
from pyteamd.core.port import Port
from pyteamd.core.ports import Ports
from pyteamd.core.set_once import SetOnce
from pyteamd.core.wanted import WantedPorts
from pyteamd.linkwatch.base import Watcher
from pyteamd.linkwatch.periodic import is_address
from pyteamd.model.desired import Level, Note, OptionKey
from pyteamd.model.events import HostName
from pyteamd.model.incidents import Incident
from pyteamd.schema.problems import Severity


class Joining:
    """The ports there are, the links that shall be ports, and what a new port needs. Owned by one Team."""

    def __init__(self, config: Config, facts: Facts, once: SetOnce, wanted: Iterable[str]) -> None:
        self.ports = Ports(facts.observed)
        self.members = WantedPorts(wanted)
        self.notes: list[Note] = []
        self.refused: dict[str, str] = {}
        """Why a link was taken out again, by name, until it joins."""
        self.closed = False
        """The team is stopping: nobody joins any more."""
        self.awaited: set[int] = set()
        """See TeamView."""
        self._found: set[int] = set()
        """Links that were ports before the daemon started, and are still to join."""
        self._config = config
        self._facts = facts
        self._once = once
        self._hosts: dict[HostName, str] = {}
        """Numeric addresses, "" where there is none."""

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
        settings = self._config.port(link.name)
        hosts = hosts_in(settings)
        problems = [str(problem) for problem in settings.problems if problem.severity is Severity.PORT]
        if not problems and self.without_address(hosts):
            if link.running:
                self.awaited.add(ifindex)
            return True
        problems = problems or [f"cannot resolve host {host[0]}" for host in hosts if not self._hosts[host]]
        if problems:
            self.reject(ifindex, "; ".join(problems))
            return True
        self._config.ensure_watcher(link.name)
        port = Port(link, self._facts.port_list[ifindex], self._facts.original_mac(ifindex), settings.config)
        self.ports.add(port)
        self.members.joined(ifindex)
        self.refused.pop(link.name, None)
        if ifindex not in self._found:
            self._adopt_mac(port)
        self._found.discard(ifindex)
        self._begin(port, settings, now)
        return True

    def leave(self, ifindex: int) -> Port | None:
        """The link is no port of ours any more, for whatever reason."""
        port = self._pop(ifindex)
        self.members.released.discard(ifindex)
        if "" in self._hosts.values():
            self.forget_failures(self.hosts_of(self._facts.name_of(ifindex)))
        return port

    def link_gone(self, ifindex: int) -> None:
        """The link of this port, or of what was to be one, was deleted."""
        self.members.link_gone(ifindex)
        self.refused.pop(self._facts.name_of(ifindex), None)

    def release(self, ifindex: int) -> None:
        """The link shall leave. It counts no more as a port, so that another one takes over before the kernel lets it go."""
        self.members.release(self._facts.name_of(ifindex), ifindex)
        self._pop(ifindex)

    def _pop(self, ifindex: int) -> Port | None:
        """The link counts no more as a port, or as one to be."""
        port = self.ports.pop(ifindex, None)
        self.awaited.discard(ifindex)
        self._found.discard(ifindex)
        self._once.forget_port(ifindex)
        if port is not None:
            self.notes += port.notes
        return port

    def lost(self, name: str, ifindex: int, why: str) -> None:
        """The link cannot be had, or somebody else took it out: it is no longer wanted, and people may ask why."""
        if name in self.members.wanted:
            self.refused[name] = why
        self.members.forget(name, ifindex)

    def reject(self, ifindex: int, why: str) -> None:
        """Release a link that cannot be a port of ours, and say why."""
        name = self._facts.name_of(ifindex)
        self.release(ifindex)
        self.refused[name] = why
        self.notes.append(Note(Level.ERROR, f"{name}: port refused: {why}", name, Incident.PORT_REFUSED, why))

    def unresolved(self) -> list[HostName]:
        """Hosts without whose addresses some port cannot be watched."""
        wanted: dict[HostName, None] = {}
        for ifindex in self._facts.port_list:
            if ifindex not in self.ports and ifindex not in self.members.released and self._facts.complete(ifindex):
                wanted |= dict.fromkeys(self.hosts_of(self._facts.name_of(ifindex)))
        return self.without_address(wanted)

    def resolved(self, addresses: Mapping[HostName, str]) -> None:
        """Numeric addresses of hosts, "" for one that has none."""
        self._hosts.update(addresses)

    def forget_failures(self, hosts: Iterable[HostName]) -> None:
        """Who is to watch these hosts another time has them looked up another time."""
        for host in hosts:
            if self._hosts.get(host) == "":
                del self._hosts[host]

    def hosts_of(self, name: str) -> list[HostName]:
        """Hosts the watchers of this port need."""
        return hosts_in(self._config.port(name))

    def without_usable_address(self, hosts: Iterable[HostName]) -> list[HostName]:
        """The hosts that cannot be asked: not looked up yet, or without an address."""
        wanted = list(hosts)
        unknown = self.without_address(wanted)
        return [host for host in wanted if host in unknown or not self._hosts[host]]

    def without_address(self, hosts: Iterable[HostName]) -> list[HostName]:
        """The hosts whose address is not known yet; one that is written as an address is its own answer."""
        unknown = []
        for host in hosts:
            name, family = host
            if host not in self._hosts and is_address(IPv4Address if family == "inet" else IPv6Address, name):
                self._hosts[host] = name
            if host not in self._hosts:
                unknown.append(host)
        return unknown

    def _addresses(self, watcher: type[Watcher], config: Any) -> dict[str, str]:
        """Addresses of this watcher's hosts, as the configuration calls them."""
        return {name: self._hosts[name, family] for name, family in watcher.hosts_in(config).items()}

    def _adopt_mac(self, port: Port) -> None:
        """The first port gives the team its address, unless one was configured."""
        if (
            len(self.ports) == 1
            and self._config.team.hwaddr is None
            and len(port.original_mac) == len(self._facts.team.mac)
        ):
            self._once.mac = port.original_mac

    def reprioritise(self, name: str) -> None:
        """The stored settings of a link were replaced: if it is a port, its priority counts at once, the rest when it joins again."""
        if (port := self.ports.named(name)) is not None:
            prio = self._config.port(name).config.prio
            port.kernel_priority = port.priority  # which counts until the new one is written
            port.config = replace(port.config, prio=prio)
            self._once.options[OptionKey("priority", port.ifindex)] = prio

    def watch(self, port: Port, settings: PortSetup, now: float) -> None:
        """Other watchers for a port; one of a kind there was before begins with what that one said last."""
        left = list(port.watchers)
        fresh = []
        for kind, config in (*settings.watchers, *settings.unnamed):
            known = next((watcher for watcher in left if type(watcher) is kind), None)
            watcher = kind(config, self._addresses(kind, config), port.up if known is None else known.up)
            if known is not None:
                left.remove(known)
                watcher.down_count = known.down_count
            fresh.append(watcher)
        self._once.watch_port(port, any(watcher.frees_kernel_link for watcher in fresh))
        port.watch_anew(fresh, self._config.team.link_watch_policy == "all", self.ports.now_of(port), now)

    def _begin(self, port: Port, settings: PortSetup, now: float) -> None:
        """Have the settings written once, and start the watchers from the kernel's left-over verdict."""
        up = self._facts.observed.options.get(OptionKey("user_linkup", port.ifindex)) is True
        wanted = (*settings.watchers, *settings.unnamed)
        watchers = [kind(config, self._addresses(kind, config), up) for kind, config in wanted]
        self._once.add_port(port, watched=any(watcher.frees_kernel_link for watcher in watchers))
        port.start(watchers, self._config.team.link_watch_policy == "all", self.ports.now_of(port), now)


def hosts_in(settings: PortSetup) -> list[HostName]:
    """Hosts that the watchers of a port with these settings need, each once."""
    wanted = (host for watcher, config in settings.watchers for host in watcher.hosts_in(config).items())
    return list(dict.fromkeys(wanted))
