"""The life of one team in the process: its device, pump, packet sockets and control sockets, from the start to the end.

    kernel.events ──► Reader.read ──► Pump.feed ◄── packet sockets, control requests, clock, resolved host names

Tasks only wait and translate. A crash in any of them ends the team as it is, and with it the process, unless that is `pyteamd serve`
(fleet.py); the next life takes the device over. The order of the start is teamd's: device, events, control socket, ports; and then what
the kernel had to say about the ports, so that no client of a ready daemon sees a team without them.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

import trio

from pyteamd.config.config import Config
from pyteamd.core.facts import KernelFacts
from pyteamd.core.hindrance import FRESH_MTU, Liberties, hindrance
from pyteamd.core.team import Team
from pyteamd.core.trace import RING_ENTRIES, Trace, encode
from pyteamd.daemon.control.desk import Desk, guarded
from pyteamd.daemon.control.reconfigure import take_back_unconfirmed
from pyteamd.daemon.control.usock import Usock
from pyteamd.daemon.device_lock import DeviceLock, Served
from pyteamd.daemon.in_thread import NoThread, in_thread
from pyteamd.daemon.log import set_debug_level
from pyteamd.daemon.packet_sockets import PacketSockets
from pyteamd.daemon.pid_file import PidFile
from pyteamd.daemon.process import EXIT_OK, EXIT_RUNTIME
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.snapshot_file import SnapshotFile
from pyteamd.daemon.unconfirmed import Unconfirmed
from pyteamd.daemon.write_thread import Writer
from pyteamd.model.desired import Frame, Tap
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import HostName, HostsResolved, LinkSeen, Resync, Stop
from pyteamd.model.setup import Setup
from pyteamd.values import dataclass, replace

if TYPE_CHECKING:  # D-Bus costs time and memory: only with -D
    from pyteamd.daemon.control.dbus import Bus

ANSWER_TIMEOUT_S = 10.0
"""How long a start may wait for the kernel's answers to the first writes; the process that started us waits 20 s."""
SETTLE_TIMEOUT_S = 2.0
"""How long readiness may wait for ports to join; NetworkManager gives up 5 s after it started us."""
NO_LINK = -1
"""An ifindex that no link has; 0 is the master of those that have none."""
CLOSE_THEIR_PORTS = ("team", "bond")
"""Devices that leave a port down when it is taken from them, so that teamd can have it."""
RELEASE_TIMEOUT_S = 5.0
"""How long the end may wait for ports to leave; the kernel releases what is left with the device."""

LOOK_UP_PATIENCE_S = 3.0
"""How long ports wait for the address of a host; then they join, and their watcher is down until there is one."""

NAMES_INTERVAL_S = LOOK_INTERVAL_S = 5.0
"""How often our files in the run directory are checked, and links that are wanted are asked for."""
UNANNOUNCED = ("altnames", "loose_binding", "max_mtu", "overhead")
"""What may change of a link that is down without a word of the kernel."""

_looks = trio.CapacityLimiter(1)
"""One of all teams at a time: a driver that holds the kernel's lock leaves threads for files and for the names of hosts."""
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


class StartFailed(Exception):
    """The team cannot be started. `errno` goes to the process that waits for the start, the text into the log."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.errno = number


@dataclass(frozen=True, slots=True)
class TeamPlan:
    """How to run one team."""

    device: str
    config: Config
    setup: Setup
    take_over: bool = False
    recreate: bool = False
    keep: bool = False
    """Leave device and ports in place at the end."""
    trace_entries: int = RING_ENTRIES
    config_file: str = ""
    """Where the configuration was read from and can be read again; "" for nowhere."""
    enslave: bool = True
    strict: bool = False
    """A fresh start under teamd's name: a port that cannot be added ends it, and nothing has been touched then."""
    usock_path: str | None = None
    dbus: bool = False
    pid_file: PidFile | None = None
    """Made again when it was removed."""
    exclusive: bool = False
    """Refuse to start while another daemon serves the device."""
    snapshot_stem: str | None = None
    """Where a runner that has partners leaves what its successor must know after a crash: the file's name up to the runner's."""


class TeamServer:
    """The life of one team, from its device to its end."""

    def __init__(self, plan: TeamPlan, reader: Reader, log: logging.Logger) -> None:
        self.plan = plan
        self.pump: Pump | None = None
        self._reader = reader
        self._kernel = reader.kernel
        self._log = log
        self._stopping = self._forced = False
        self._unresolved: set[str] = set()
        """Hosts of which it was told that they have no address."""
        self._looking: set[HostName] = set()
        """Hosts that are being looked up, however long the name server takes."""
        self._nursery: trio.Nursery
        self._taps = PacketSockets(self._kernel, log, reader.listeners, self._own_pump)
        self._snapshot: SnapshotFile | None = None
        self._keeping = trio.CancelScope()
        self._waiting = trio.CancelScope()
        self._device_lock: DeviceLock | None = None

    async def run(self, ready: Callable[[], None]) -> int:
        """Start, call `ready`, serve until the end. Returns the exit code. StartFailed, after which nothing is left behind."""
        self._look()
        usock = self._usock()  # a process that listens there owns the device, too: it is not touched then
        try:
            ifindex, adopted = self._device()
        except StartFailed:
            self._unlock()
            if usock is not None:
                usock.close()
            raise
        bus: Bus | None = None
        keep = self.plan.take_over
        try:
            bus = await self._bus()
            # From here to the pump's first feed nothing may wait: events would find no pump.
            dump = self._watch(ifindex)
            async with trio.open_nursery() as self._nursery:
                pump = self._make_pump(ifindex, adopted, dump)
                failure = await self._start(pump, dump, bus)
                if failure is None:
                    keep = self.plan.keep
                    self._offer(pump, usock, bus)
                    ready()
                    await self._serve(pump)
                self._nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        except StartFailed:
            self._leave(ifindex, keep, usock, bus)
            self._reader.traces.pop(ifindex, None)
            raise
        except BaseException:
            # After a crash, ours or that of another task, the next daemon takes the device over as it is now.
            self._leave(ifindex, keep or not self._forced, usock, bus)
            raise
        self._reader.traces.pop(ifindex, None)
        return self._leave(ifindex, keep, usock, bus)

    def _offer(self, pump: Pump, usock: Usock | None, bus: Bus | None) -> None:
        """The team is there: from now on its clock runs, and clients are heard."""
        self._reader.serving = True
        self._nursery.start_soon(pump.clock)
        self._nursery.start_soon(take_back_unconfirmed, pump, self._guard_taking_back)
        desk = Desk(pump, self._log)
        if usock is not None:
            self._nursery.start_soon(usock.serve, desk)
        if bus is not None:
            self._nursery.start_soon(bus.serve, desk)
        self._nursery.start_soon(self._look_again, pump)
        self._nursery.start_soon(self._keep_names, self.plan.pid_file, usock, pump.unconfirmed)

    def stop(self) -> bool:
        """Begin the orderly end. False when it has begun already, and the caller has to end us."""
        if self._stopping:
            self._forced = True
            return False
        self._stopping = True
        self._waiting.cancel()
        if self.pump is not None:
            self.pump.feed((), trio.current_time())
        return True

    # -- start ---------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Under teamd's name a port that cannot be added ends the start before anything is touched; else it is waited for. StartFailed."""
        if not (self.plan.strict and self.plan.enslave):
            return
        facts = KernelFacts(LinkSeen(NO_LINK, self.plan.device, bytes(6), mtu=FRESH_MTU))
        try:
            there = self._kernel.all_links()
        except KernelRefused as refusal:
            raise StartFailed(refusal.errno, f"Team init failed.\n{refusal}") from None
        for link in there:
            facts.link_seen(link, now=0.0)
        for name in self.plan.config.port_names():
            if name == self.plan.device:
                raise StartFailed(errno.EINVAL, f"{name} cannot be added: it is the team itself.")
            wanted = facts.called(name)
            owner = facts.links.get(wanted.master) if wanted is not None else None
            if wanted is None or (owner is not None and (not wanted.up or owner.kind in CLOSE_THEIR_PORTS)):
                continue  # teamd starts as well, though it takes a port of another device
            setup = self.plan.config.port(self.plan.config.key(wanted.names)).config
            found = hindrance(wanted, Liberties(setup.steal, setup.set_down), facts)
            if found is not None:
                reason = "; ".join(filter(None, (found.why, found.hint)))
                raise StartFailed(found.errno, f"{wanted.name} cannot be added: it {reason}.")
            facts.expect_port(wanted)

    def _device(self) -> tuple[int, bool]:
        """Ifindex of the device, and whether it was there before. StartFailed."""
        plan, kernel = self.plan, self._kernel
        try:
            link = kernel.find_link(plan.device)
            if link is not None and (plan.take_over or plan.recreate):
                self._lock(link.ifindex)
            if link is not None and plan.take_over:
                return link.ifindex, True
            if link is not None and plan.recreate and link.name == plan.device:
                kernel.delete_link(link.ifindex)
            ifindex = kernel.create_team(plan.device)
            self._lock(ifindex)
            return ifindex, False
        except KernelRefused as refusal:
            raise StartFailed(refusal.errno, f"Failed to create team device.\n{refusal}") from None
        except KernelGone:
            raise StartFailed(errno.ENODEV, "Failed to create team device.") from None

    def _lock(self, ifindex: int) -> None:
        """From now on no other daemon serves the device. StartFailed."""
        self._unlock()
        if not self.plan.exclusive:
            return
        try:
            self._device_lock = DeviceLock(ifindex)
        except Served as served:
            raise StartFailed(errno.EBUSY, f"{self.plan.device}: {served}.") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            self._log.warning("%s: whether another daemon serves it cannot be told: %s", self.plan.device, reason)

    def _unlock(self) -> None:
        if self._device_lock is not None:
            self._device_lock.close()
            self._device_lock = None

    def _watch(self, ifindex: int) -> Resync:
        try:
            self._kernel.watch_team(ifindex)
            return self._kernel.dump(ifindex)
        except KernelRefused as refusal:
            raise StartFailed(refusal.errno, f"Team init failed.\n{refusal}") from None
        except KernelGone:
            raise StartFailed(errno.ENODEV, "Team init failed.") from None

    def _usock(self) -> Usock | None:
        if self.plan.usock_path is None:
            return None
        try:
            return Usock(self.plan.usock_path, self._log)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise StartFailed(error.errno or errno.EIO, f"Failed to open {self.plan.usock_path}: {reason}") from None

    async def _bus(self) -> Bus | None:
        if not self.plan.dbus:
            return None
        from pyteamd.daemon.control.bus_line import BusError
        from pyteamd.daemon.control.dbus import Bus

        bus = Bus(self.plan.device, self._log)
        try:
            with self._unless_stopping():
                await bus.connect()
                return bus
        except BusError as error:
            raise StartFailed(errno.ECONNREFUSED, f"Failed to init dbus.\n{error}") from None
        return None

    async def _own_name(self, bus: Bus) -> StartFailed | None:
        """The name tells everybody that we are ready, so it comes last. Returns what went wrong, if anything."""
        from pyteamd.daemon.control.bus_line import BusError

        try:
            with self._unless_stopping():
                await bus.own_name()
        except BusError as error:
            return StartFailed(errno.EEXIST, f"Failed to expose dbus name.\n{error}")
        return None

    def _unless_stopping(self) -> trio.CancelScope:
        """A scope for what the start waits for: the end does not wait for it, and abandons it."""
        self._waiting = trio.CancelScope()
        if self._stopping:
            self._waiting.cancel()
        return self._waiting

    def _make_pump(self, ifindex: int, adopted: bool, dump: Resync) -> Pump:
        plan = self.plan
        link = next(link for link in dump.links if link.ifindex == ifindex)
        how = {"adopted": adopted, "enslave": plan.enslave, "strict": plan.strict}
        team = Team(plan.config, link, setup=plan.setup, **how)
        beginning = {"config": plan.config.dump(), "link": encode(link), **how}
        trace = Trace(beginning, plan.trace_entries)
        self._reader.traces[ifindex] = trace
        self.pump = Pump(team, self._kernel, self, trace, self._log, trio.lowlevel.current_clock().current_time)
        self.pump.links = self._reader.links
        if plan.snapshot_stem is not None:
            self.pump.unconfirmed = Unconfirmed(f"{plan.snapshot_stem}.unconfirmed.json", self._log)
            self.pump.unconfirmed.resume()
        if self._kernel.may_stall:
            self.pump.perform = writer = Writer(self._reader.write_thread, ifindex)
            self._nursery.start_soon(writer.report)
        if team.runner.has_partners:
            self._leave_snapshots(self.pump)
        return self.pump

    def _guard_taking_back(self) -> AbstractContextManager[None]:
        return guarded("Taking the configuration back", self._log)

    def _leave_snapshots(self, pump: Pump) -> None:
        """Leave something for the next daemon to go on from."""
        if self.plan.snapshot_stem is None:
            return
        path = f"{self.plan.snapshot_stem}.{pump.team.runner.name}.json"
        self._snapshot = SnapshotFile(path, pump.ifindex, self._log)
        if self.plan.take_over and not pump.team.started:
            self._snapshot.hand_over(pump.team.runner, trio.current_time())
            pump.trace.beginning["resumed"] = self._snapshot.handed_over
        self._keeping = trio.CancelScope()
        self._nursery.start_soon(self._keep, self._snapshot, pump, self._keeping)

    async def _keep(self, snapshot: SnapshotFile, pump: Pump, scope: trio.CancelScope) -> None:
        with scope:
            await snapshot.keep(pump)

    def fault(self, text: str) -> None:
        from pyteamd.daemon.fault_file import keep_trace  # hardly ever needed

        assert self.pump is not None
        keep_trace(text, self.pump.trace, self.plan.snapshot_stem, self._log)

    def runner_replaced(self) -> None:
        assert self.pump is not None
        if self._snapshot is not None:
            self._keeping.cancel()
            self._snapshot.remove()
            self._snapshot = None
        if self.pump.team.runner.has_partners:
            self._leave_snapshots(self.pump)

    async def _start(self, pump: Pump, dump: Resync, bus: Bus | None) -> StartFailed | None:
        """Set up the device, add the ports, take the bus name. Returns what went wrong, if anything."""
        team = pump.team
        pump.feed(pump.with_others(dump), trio.current_time())
        if not team.failed:
            self._reader.pumps[pump.ifindex] = pump
            # On a busy machine the first writes may still be under way: what they come to decides how the start ends.
            await pump.until(lambda: self._stopping or team.started or bool(team.failed) or team.gone, ANSWER_TIMEOUT_S)
            await pump.until(
                lambda: self._stopping or settled(team) or bool(team.failed) or team.gone, SETTLE_TIMEOUT_S
            )
        if team.gone:
            return StartFailed(errno.ENODEV, "Team device removal detected.")
        if team.failed:
            return StartFailed(pump.errno or errno.EINVAL, team.failed)
        return await self._own_name(bus) if bus is not None else None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def _serve(self, pump: Pump) -> None:
        """Until the end is wanted, then the end in good order."""
        team = pump.team
        await pump.until(lambda: self._stopping or team.gone, math.inf)
        self._stopping = True
        if team.gone:
            return
        pump.feed((Stop(self.plan.keep),), trio.current_time())
        if not await pump.until(lambda: team.done or team.gone, RELEASE_TIMEOUT_S):
            self._log.warning("Ports did not leave within %d s.", RELEASE_TIMEOUT_S)

    async def _keep_names(self, *ours: PidFile | Usock | Unconfirmed | None) -> None:
        """Make again what is missing of our files in the run directory: clients find us by them, and a restart ends a trial by one."""
        names = [name for name in ours if name is not None and name.path]
        while names:
            await trio.sleep(NAMES_INTERVAL_S)
            for name in names:
                with suppress(OSError):  # a rival has it, or there is no room: tried again next time
                    os.makedirs(os.path.dirname(name.path), exist_ok=True)
                    if name.restore():
                        self._log.warning("%s was removed or replaced; it is there again.", name.path)

    async def _look_again(self, pump: Pump) -> None:
        """Ask for the links that are wanted and are no ports: of one that is down, the kernel announces only part of what may change.

        So udev gives a card its alternative names just when it was plugged in.
        """
        team, find = pump.team, self._kernel.find_link
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            missing = [name for name in team.members.wanted if team.ports.named(name) is None]
            for name in [name for name in missing if name not in team.facts.team.names]:
                with suppress(KernelRefused, NoThread):
                    link = await in_thread(find, name, limiter=_looks) if self._kernel.may_stall else find(name)
                    if link is not None and link.ifindex not in team.facts.links:
                        link = find(
                            name
                        )  # its new name was not announced, and what became of it since would not be told
                    if link is not None and news_of(link, team.facts.links.get(link.ifindex)):
                        pump.feed(pump.with_others(link), trio.current_time())

    def _leave(self, ifindex: int, keep: bool, usock: Usock | None, bus: Bus | None) -> int:
        """Close what clients reach us by, forget the device, delete it unless it is to be kept. Returns the exit code."""
        self._reader.pumps.pop(ifindex, None)
        if self.pump is not None:
            self._reader.own(self.pump, ())
        if usock is not None:
            usock.close()
        if bus is not None:
            bus.close()
        self._kernel.unwatch_team(ifindex)
        self._taps.close()
        self._unlock()
        if self._snapshot is not None and not keep:
            self._snapshot.remove()
        if keep or (self.pump is not None and self.pump.team.gone):
            return EXIT_OK
        try:
            self._kernel.delete_link(ifindex)
        except KernelGone:
            return EXIT_OK
        except KernelRefused as refusal:
            self._log.error("%s", refusal)
            return EXIT_RUNTIME
        return EXIT_OK

    def _own_pump(self) -> Pump:
        assert self.pump is not None
        return self.pump

    # -- what the pump needs -------------------------------------------------------------------------------------------

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        return self._taps.update(wanted, now)

    def send(self, frame: Frame) -> None:
        self._taps.send(frame)
        if self._snapshot is not None:
            self._snapshot.spoke()

    def ports_changed(self, ports: Iterable[int]) -> None:
        assert self.pump is not None
        self._reader.own(self.pump, ports)

    def debug_level(self, level: int) -> None:
        set_debug_level(self._log, level)

    def resolve(self, hosts: Iterable[HostName]) -> None:
        for name, family in hosts:
            if (name, family) not in self._looking:
                self._looking.add((name, family))
                self._nursery.start_soon(self._resolve, name, family)

    async def _resolve(self, host: str, family: str) -> None:
        """Feed the address of a host when it is found, and meanwhile, where that takes long, that there is none: ports do not wait."""
        async with trio.open_nursery() as waiting:
            waiting.start_soon(self._go_on_without, host, family)
            address = await self._look_up(host, family)
            waiting.cancel_scope.cancel()
        self._looking.discard((host, family))
        self._found(host, family, address)

    async def _go_on_without(self, host: str, family: str) -> None:
        await trio.sleep(LOOK_UP_PATIENCE_S)
        self._has_no_address(host, f"no answer within {LOOK_UP_PATIENCE_S:g} s")
        self._found(host, family, "")

    async def _look_up(self, host: str, family: str) -> str:
        """The address, "" for none."""
        try:
            found: list[tuple[Any, ...]] = await in_thread(
                socket.getaddrinfo, host, None, FAMILIES[family], socket.SOCK_DGRAM
            )
        except (OSError, UnicodeError, NoThread) as error:
            self._has_no_address(host, error)
            return ""
        self._unresolved.discard(host)
        return str(found[0][4][0])

    def _has_no_address(self, host: str, why: object) -> None:
        """Log that a host has no address, once."""
        if host not in self._unresolved:
            self._log.error("Failed to resolve %s: %s; asked again from time to time.", host, why)
        self._unresolved.add(host)

    def _found(self, host: str, family: str, address: str) -> None:
        assert self.pump is not None
        self.pump.feed((HostsResolved({(host, family): address}),), trio.current_time())


def news_of(link: LinkSeen, known: LinkSeen | None) -> bool:
    """Whether it is not known, or differs in nothing but what is not announced: of all else an announcement may be newer."""
    if known is None or known == link:
        return known is None
    return replace(known, **{name: getattr(link, name) for name in UNANNOUNCED}) == link


def settled(team: Team) -> bool:
    """Whether every link that is in the team has become a port of it."""
    return all(ifindex in team.ports for ifindex, member in team.facts.observed.members.items() if member)
