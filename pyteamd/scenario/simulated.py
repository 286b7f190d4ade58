"""The simulated world of scenarios: SimKernel, SimNet, a daemon (shell.py), and a clock that jumps. Also what `pyteamd simulate` calls."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any

from pyteamd.config.config import Config
from pyteamd.core.reconcile import reconcile
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.daemon.control.methods import find
from pyteamd.daemon.fleet import NONE_STARTED, configured
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import Frame, OptionKey, OptionValue, SetCarrier, SetMac, SetMember, SetOption, Write
from pyteamd.model.errors import KernelRefused, UserError
from pyteamd.model.events import ConfigApply, Event, HostName, PortAdd, PortConfigUpdate, PortRemove
from pyteamd.model.words import in_words, shorten
from pyteamd.runners import RUNNERS
from pyteamd.scenario.frames import describe_frame
from pyteamd.scenario.shell import Faults, NotQuiet, ServedTeam, ServingDaemon, SimDaemon
from pyteamd.scenario.world import DEVICE, QUIET_S, CommandError, Happened, Sent, World
from pyteamd.schema.problems import ConfigError
from pyteamd.sim import bfd_partner
from pyteamd.sim.bfd_partner import BfdPartner
from pyteamd.sim.kernel import LINKS, TEAMS
from pyteamd.sim.lacp_partner import LacpPartner, instruct
from pyteamd.sim.link import SimLink
from pyteamd.sim.net import Dice, Responder, SimNet, Switch
from pyteamd.sim.team import Refusal, SimTeam
from pyteamd.sim.waiting import WaitingSimKernel
from pyteamd.views.explain import explain, sentence
from pyteamd.views.state import set_request, state

MAC = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")
STEPS_AT_ONE_MOMENT = 1000
LONGEST_UNREST_S = 3600.0
FAMILIES = {"link": LINKS, "team": TEAMS}
UNINTERESTING = (False, 0, b"", bytes(8))


def load_config(text: str, device: str = DEVICE) -> Config:
    """A configuration for a team device. ConfigError."""
    return Config.load(text, runners=RUNNERS, watchers=WATCHERS, device=device)


class SimulatedWorld(World):
    """The World of `pyteamd simulate`. `dice` decides what the wires do to frames."""

    def __init__(self, dice: Dice | None = None) -> None:
        self.kernel = WaitingSimKernel(SimNet(dice))
        self.clock = 0.0
        self.daemon: SimDaemon | None = None
        self._ran: list[tuple[str, ServedTeam]] = []
        """Every life of each team, this one too, with the name of its device."""
        self._batches: Dice | None = None
        self._left: dict[str, tuple[str, Mapping[str, Any], float]] = {}
        """What a killed daemon left to the next, for each team: the runner's name, its snapshot, when."""
        self.log: list[Happened] = []
        self._frames: list[Sent] = []
        self._told = 0
        self._names: dict[int, str] = {}
        self._macs: dict[str, str] = {}
        self._hosts: dict[HostName, str] = {}
        self._switches: list[list[SimLink]] = []

    def switch_apart(self) -> None:
        self.kernel.independent = True

    # Time

    def now(self) -> float:
        return self.clock

    def pass_time(self, seconds: float) -> None:
        target = self.clock + seconds
        while (due := self._due()) is not None and due <= target:
            self.clock = max(self.clock, due)
            self.settle()
        self.clock = target
        self.settle()

    def until_quiet(self) -> None:
        began = last = self.clock
        while (due := self._due()) is not None and due <= last + QUIET_S:
            if due > began + LONGEST_UNREST_S:
                raise CommandError(f"not quiet after {LONGEST_UNREST_S:.0f} s")
            self.clock = max(self.clock, due)
            before = len(self.log)
            self.settle()
            if len(self.log) > before:
                last = self.clock

    def settle(self) -> None:
        """Let everybody do what is due now."""
        for _ in range(STEPS_AT_ONE_MOMENT):
            self.kernel.net.advance(self.clock)
            if self.daemon is None or not self.daemon.poll(self.clock):
                return
        raise NotQuiet(f"a storm: {STEPS_AT_ONE_MOMENT} steps at one moment")

    def _due(self) -> float | None:
        dues = [self.kernel.net.deadline()]
        if self.daemon is not None and (at := self.daemon.wakes_at()) < inf:
            dues.append(at)
        return min((due for due in dues if due is not None), default=None)

    def happened(self) -> list[Happened]:
        fresh = self.log[self._told :]
        self._told = len(self.log)
        return [Happened(item.at, item.kind, self._named(item.text)) for item in fresh]

    def sent(self) -> list[Sent]:
        frames, self._frames = self._frames, []
        return [Sent(frame.at, frame.port, self._named(frame.text)) for frame in frames]

    # Links

    def make_port(self, name: str, speed_mbps: int, duplex: int) -> None:
        if self.kernel.find_link(name):
            raise CommandError(f"{name} exists")
        self._make_pair(name, speed_mbps, duplex)
        self.settle()

    def _make_pair(self, name: str, speed_mbps: int = 10000, duplex: int = 1) -> None:
        link = self.kernel.add_pair(name, f"{name}-peer", speed_mbps=speed_mbps, duplex=duplex)
        self._macs.setdefault(link.mac.hex(":"), name)
        if link.peer:
            self._macs.setdefault(link.peer.mac.hex(":"), link.peer.name)

    def set_peer(self, name: str, up: bool) -> None:
        self.kernel.set_up(self._peer(name).ifindex, up)
        self.settle()

    def set_admin(self, name: str, up: bool) -> None:
        self.kernel.set_up(self._link(name).ifindex, up)
        self.settle()

    def set_mtu(self, name: str, octets: int) -> None:
        self._outsider(self.kernel.set_mtu, self._link(name).ifindex, octets)

    def set_mac(self, name: str, mac: bytes) -> None:
        self._outsider(self.kernel.set_mac, self._link(name).ifindex, mac)

    def rename(self, name: str, new: str) -> None:
        link = self._link(name)
        if self.kernel.find_link(new):
            raise CommandError(f"{new} exists")
        was_up = link.up
        self.kernel.set_up(link.ifindex, False)
        self._outsider(self.kernel.rename, link.ifindex, new)
        self.kernel.set_up(link.ifindex, was_up)
        self.settle()

    def delete(self, name: str) -> None:
        self._outsider(self.kernel.delete_link, self._link(name).ifindex)

    def remake(self, name: str, times: int) -> None:
        for _ in range(times):
            self._outside(self.kernel.delete_link, self._link(name).ifindex)
            self._make_pair(name)
        self.settle()

    def move_away(self, name: str) -> None:
        self._outsider(self.kernel.move_away, self._link(name).ifindex)

    def set_master(self, name: str, team: str) -> None:
        master = self._link(team).ifindex if team else 0
        self._outsider(self.kernel.set_master, self._link(name).ifindex, master)

    def set_option(self, key: OptionKey, value: OptionValue) -> None:
        self._outsider(self.device().set_option, key, value)

    def make_other(self, name: str, kind: str) -> int:
        if self.kernel.find_link(name):
            raise CommandError(f"{name} exists")
        ifindex = self.kernel.create_team(name) if kind == "team" else self.kernel.add_other(name, kind).ifindex
        self.settle()
        return ifindex

    def make_upper(self, name: str, lower: str, kind: str) -> int:
        base = self._link(lower)
        made = self.kernel.add_other(name, kind.removeprefix("loose "), base.ifindex)
        made.loose_binding = kind.startswith("loose")
        made.overhead = 32 if kind == "macsec" else 0
        self.kernel.set_mtu(made.ifindex, base.mtu - made.overhead)
        self.settle()
        return made.ifindex

    def ifindex_of(self, name: str) -> int:
        return self._link(name).ifindex

    def name_of(self, ifindex: int) -> str:
        """Name of a link, also of one that is gone; "none" for 0."""
        link = self.kernel.links.get(ifindex)
        if link is not None:
            self._names[ifindex] = link.name
        return self._names.get(ifindex, f"interface {ifindex}") if ifindex else "none"

    def device(self) -> SimTeam:
        link = self.kernel.find_link(self.team_name)
        if link is None or link.ifindex not in self.kernel.teams:
            raise CommandError(f"there is no {self.team_name}")
        return self.kernel.teams[link.ifindex]

    def _link(self, name: str) -> SimLink:
        found = self.kernel.find_link(name)
        if found is None:
            raise CommandError(f"there is no interface {name!r}")
        self._names[found.ifindex] = name
        return self.kernel.links[found.ifindex]

    def _outside(self, request: Callable[..., None], *arguments: object) -> None:
        """A request of another program, of which the daemon has not read yet."""
        try:
            request(*arguments)
        except (Refusal, KernelRefused) as refusal:
            raise CommandError(f"the kernel refuses: {errno.errorcode[refusal.errno]}") from None

    def _outsider(self, request: Callable[..., None], *arguments: object) -> None:
        self._outside(request, *arguments)
        self.settle()

    # The wire

    def say(self, name: str, octets: bytes) -> None:
        self.kernel.net.transmit(self._peer(name), octets)
        self.settle()

    def answer(self, name: str, address: str, on: bool, vlan: int | None) -> None:
        peer = self._peer(name)
        hosts = [p for p in self.kernel.net.partners(peer) if isinstance(p, Responder) and p.vlan == vlan]
        if not hosts:
            hosts = [Responder(peer.mac, vlan)]
            for end in next((ends for ends in self._switches if peer in ends), [peer]):
                self.kernel.net.attach(end, hosts[0])
        try:
            parsed = ip_address(address)
        except ValueError:
            raise CommandError(f"{address!r} is not an address") from None
        if on:
            hosts[0].addresses.add(parsed)
        else:
            hosts[0].addresses.discard(parsed)

    def wire(self, name: str, quality: str, amount: float) -> None:
        wire = self.kernel.net.wire(self._link(name))
        setattr(wire, {"delay": "delay_s", "jitter": "jitter_s"}.get(quality, quality), amount)

    def _peer(self, name: str) -> SimLink:
        peer = self._link(name).peer
        if peer is None:
            raise CommandError(f"{name} has no peer")
        return peer

    def switch(self, names: Sequence[str]) -> None:
        ends = [peer for name in names if (peer := self._link(name).peer) is not None]
        self._switches.append(ends)
        for end in ends:
            self.kernel.net.attach(end, Switch(self.kernel.net, end, ends))

    def partner(self, name: str, kind: str, changes: Mapping[str, Any]) -> None:
        peer = self._peer(name)
        stations = self.kernel.net.partners(peer)
        if kind == "bfd":
            speakers = [station for station in stations if isinstance(station, BfdPartner)]
            if not speakers:
                speakers = [BfdPartner(peer.ifindex, peer.mac)]
                self.kernel.net.attach(peer, speakers[0])
            bfd_partner.instruct(speakers[0], changes)
            return
        found = [station for station in stations if isinstance(station, LacpPartner)]
        if not found:
            found = [LacpPartner(peer.ifindex)]
            self.kernel.net.attach(peer, found[0])
        instruct(found[0], changes)

    def host(self, name: str, address: str) -> None:
        self._hosts[name, "inet6" if ":" in address else "inet"] = address

    # The daemon

    def start(self, config: str, *, adopt: bool, enslave: bool, keep: bool) -> None:
        try:
            loaded = load_config(config, self.team_name)
        except ConfigError as problem:
            raise CommandError(str(problem)) from None
        daemon = self._process(SimDaemon(self.kernel, self._report, self.name_of))
        self._serve(daemon, ServedTeam(daemon, self._team(loaded, adopt, enslave), self._report, keep))
        self.settle()

    def serve(self, configs: Mapping[str, str], *, adopt: bool, enslave: bool, keep: bool) -> None:
        daemon = self._process(ServingDaemon(self.kernel, self._report, self.name_of))
        log = Faults(self._report, "error")
        for name in sorted(configs):
            loaded = configured(Path(f"{name}.conf"), lambda path: configs[path.stem].encode(), log)
            if loaded is not None:
                team = self._team(loaded, adopt, enslave)
                report = partial(self._report_of, team.facts.team.name)
                self._serve(daemon, ServedTeam(daemon, team, report, keep))
        if not daemon.served:
            log.error(NONE_STARTED)
        self.settle()

    def _process(self, daemon: SimDaemon) -> SimDaemon:
        """A new process in the place of the one that ended."""
        if self.daemon is not None and not self.daemon.ended:
            raise CommandError("the daemon runs already")
        daemon.hosts, daemon.sent, daemon.batches = self._hosts, self._record, self._batches
        self.daemon = daemon
        return daemon

    def _team(self, config: Config, adopt: bool, enslave: bool) -> Team:
        """The team on its device, which is made unless it is there and to be adopted."""
        name = config.team.device or DEVICE
        found = self.kernel.find_link(name)
        if found and not adopt:
            raise CommandError(f"{name} exists already; use start -o")
        ifindex = found.ifindex if found else self.kernel.create_team(name)
        self._macs.setdefault(self.kernel.links[ifindex].mac.hex(":"), name)
        link = self.kernel.find_link(name)
        assert link is not None
        return Team(config, link, adopted=found is not None, enslave=enslave)

    def _serve(self, daemon: SimDaemon, served: ServedTeam) -> None:
        """One team of a process begins, from what its last life has left."""
        team = served.team
        name = team.facts.team.name
        left = self._left.get(name)
        if left is not None and team.runner.name == left[0] and team.view.adopted:
            resumed = (left[1], self.clock - left[2], self.clock)
            team.runner.resume(*resumed)
            served.pump.trace.beginning["resumed"] = list(resumed)
        daemon.served[name] = served
        self._ran.append((name, served))
        served.begin(self.clock)

    def kill(self) -> None:
        daemon = self._alive()
        for name, served in daemon.served.items():
            runner = served.team.runner
            snapshot = runner.snapshot(self.clock)
            self._left.pop(name, None)
            if snapshot is not None and not served.ended:
                self._left[name] = runner.name, snapshot, self.clock
        daemon.kill()

    def stop(self) -> None:
        self._alive().stop(self.clock)
        self.settle()

    def _alive(self) -> SimDaemon:
        if self.daemon is None or self.daemon.ended:
            raise CommandError("the daemon does not run")
        return self.daemon

    def traces(self) -> list[tuple[Trace, float]]:
        """What each life of the team that is meant was told and answered, one after the other, and until when."""
        lives = [served for name, served in self._ran if name == self.team_name]
        return [(one.pump.trace, self.clock if one.ended_at is None else one.ended_at) for one in lives]

    def serves(self) -> bool:
        """Whether the team that is meant is served."""
        served = self.daemon.served.get(self.team_name) if self.daemon is not None else None
        return served is not None and not served.ended

    def running(self) -> ServedTeam:
        """The team that is meant, as the daemon serves it."""
        if self.daemon is None or not self.serves():
            raise CommandError("the daemon does not run")
        return self.daemon.served[self.team_name]

    def set_item(self, path: str, value: str) -> None:
        self._request(lambda: set_request(self.running().team, path, value))

    def add_port(self, name: str) -> None:
        self._request(lambda: PortAdd((link := find(self.running().pump, name)).ifindex, link))

    def remove_port(self, name: str) -> None:
        self._request(lambda: PortRemove(find(self.running().pump, name).ifindex))

    def port_config(self, name: str, tree: Mapping[str, Any]) -> None:
        pump = self.running().pump
        self._request(lambda: PortConfigUpdate(pump.team.joining.key(find(pump, name)), tree))

    def apply_config(self, config: str) -> None:
        self._request(lambda: ConfigApply(config))

    def _request(self, make: Callable[[], Event]) -> None:
        daemon = self.running()
        try:
            daemon.feed(make(), self.clock)
        except UserError as problem:
            self._report("denied", f"{problem.code}: {problem.text}")
        self.settle()

    # Faults

    def overrun(self) -> None:
        self.kernel.lose_events()
        self.settle()

    def hold(self, family: str, held: bool) -> None:
        self.kernel.hold(FAMILIES[family], held)
        self.settle()

    def read_in_batches(self, seed: int) -> None:
        self._batches = Dice(seed)

    def refuse(self, what: str, name: str, times: int | None, number: str) -> None:
        if not what:
            self.kernel.accept()
            return
        code = getattr(errno, number, None)
        if not isinstance(code, int):
            raise CommandError(f"{number!r} is not the name of an error")
        self.kernel.refuse(lambda write: self._is(write, what, name), code, times)

    def _is(self, write: Write, what: str, name: str) -> bool:
        match write:
            case SetOption(key=OptionKey(name="enabled", port=ifindex), value=value):
                return what == ("enable" if value else "disable") and name in ("", self.name_of(ifindex))
            case SetOption(key=key):
                return what == key.name and name in ("", self.name_of(key.port))
            case SetMac(ifindex=ifindex):
                return what == "address" and name in ("", self.name_of(ifindex))
            case SetMember(ifindex=ifindex, member=member):
                return what == ("enslave" if member else "release") and name in ("", self.name_of(ifindex))
            case SetCarrier():
                return what == "carrier"

    # What can be seen

    def state(self) -> dict[str, Any]:
        tree: dict[str, Any] = self._shown(state(self.running().team))
        return tree

    def explain(self) -> list[str]:
        return [
            sentence(name, replace(reason, since=None), self.clock)
            for name, reason in explain(self.running().team, self.clock).items()
        ]

    def options(self) -> Mapping[tuple[str, str, int], str]:
        """See World. Counters and empty array slots are left out."""
        found = {}
        for seen in self.device().options():
            name, port, index = seen.key
            if index and seen.value in UNINTERESTING:
                continue
            value = seen.value
            shown = self.name_of(value) if name == "activeport" and isinstance(value, int) else shorten(value)
            found[name, self.name_of(port) if port else "", index] = shown
        return found

    def carrier(self) -> bool:
        return self.device().link.carrier

    def diff(self) -> list[str]:
        team = self.running().team
        return [self._named(in_words(write, self.name_of)) for write in reconcile(team.desired(), team.facts.observed)]

    def close(self) -> None:
        self.kernel.close()

    def _report(self, kind: str, text: str) -> None:
        self.log.append(Happened(self.clock, kind, text))

    def _report_of(self, name: str, kind: str, text: str) -> None:
        self._report(kind, f"{name}: {text}")

    def _record(self, frame: Frame) -> None:
        self._frames.append(Sent(self.clock, self.name_of(frame.port), describe_frame(frame.octets)))

    def _named(self, text: str) -> str:
        return MAC.sub(lambda found: f"mac({self._macs[found[0]]})" if found[0] in self._macs else found[0], text)

    def _shown(self, tree: Any) -> Any:
        """A part of the state with names for numbers and addresses."""
        match tree:
            case dict():
                return {
                    key: self.name_of(item) if key == "ifindex" else self._shown(item) for key, item in tree.items()
                }
            case str():
                return self._named(tree)
        return tree
