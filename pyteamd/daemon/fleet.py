"""Many teams in one process: which there are to be, and the life of each.

A source is a configuration file, or a directory whose *.conf, *.json, *.yaml and *.yml are. The device is named in the file, or is the
file's name without its ending. SIGHUP looks at the sources again: new teams start, those without a file end, the others reload. A
team that fails, by its configuration, its device or a fault in our code, ends alone; after a fault it is taken over again.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from pyteamd.config.config import Config
from pyteamd.daemon import link_counters, read_file
from pyteamd.daemon.late_imports import import_late
from pyteamd.daemon.log import set_debug_level
from pyteamd.daemon.process import EXIT_OK, EXIT_RUNTIME, EXIT_START
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.sd_notify import Notifier
from pyteamd.daemon.service import (
    collect_now_and_then,
    read_again,
    receive_signals,
    settle_memory,
    signals,
    watchdog,
    worth_thawing,
)
from pyteamd.daemon.team_server import StartFailed, TeamPlan, TeamServer
from pyteamd.kernel.api import Kernel
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.setup import Setup
from pyteamd.runners import RUNNERS
from pyteamd.schema.problems import ConfigError
from pyteamd.values import dataclass

ENDINGS = (".conf", ".json", ".yaml", ".yml")
TRACE_ENTRIES = 512
"""Steps remembered for each team; 64 full rings of the usual size would take more memory than all else."""
ENDED = "Ended."
NONE_STARTED = "No team could be started; what is wrong with a file says: pyteamd check FILE"
ALL_FILES_S = 60.0
"""How long all configuration files are waited for together, each for its own time: less than the 90 s that systemd gives a start."""
RESTART_S = 1.0
"""Pause before a team is taken over after a fault of ours."""


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """What is the same for all teams."""

    run_dir: str
    take_over: bool = False
    keep: bool = False
    enslave: bool = True
    metrics_listen: str = ""
    """Where the metrics of all teams are served, "" for nowhere."""
    exclusive: bool = False


class SharedReader(Reader):
    """A Reader for many teams: `broken` is told of a fault that one of them raises, and the others go on."""

    def __init__(self, kernel: Kernel, broken: Callable[[Pump, Exception], None]) -> None:
        super().__init__(kernel)
        self._broken = broken

    def attempt(self, pump: Pump, action: Callable[..., Any], *given: object) -> Any:
        try:
            return action(*given)
        except Exception as fault:
            self._broken(pump, fault)
            return None


@dataclass(slots=True)
class Rest:
    """A team between a fault and its next life."""

    plan: TeamPlan
    wanted: bool = True
    """If not, it is started once more only to end in good order."""


@dataclass(slots=True)
class MetricsListener:
    """One address where metrics are served, for all teams that name it."""

    teams: dict[str, None] = field(default_factory=dict)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True)
class FleetMember:
    """One team of the process."""

    server: TeamServer
    scope: trio.CancelScope
    reload: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Of the last reload: it ends with the team, or it would wait without end for an answer to what it asked."""
    gone: bool = False
    """It must not be started again."""


class Fleet:
    """The teams. See `service.Serving` for what signals do to it."""

    def __init__(self, sources: Iterable[str], settings: FleetSettings, kernel: Kernel, log: logging.Logger) -> None:
        self.members: dict[str, FleetMember] = {}
        self.reader = SharedReader(kernel, self._fault)
        self._sources = list(sources)
        self._settings = settings
        self._log = log
        self._stopping = False
        self._ended = 0
        """Teams since what was settled was looked at."""
        self._nursery: trio.Nursery
        self._starting: dict[str, None] = {}
        self._resting: dict[str, Rest] = {}
        self._changed = trio.Event()
        self._listeners: dict[str, MetricsListener] = {}

    async def run(self, started: Callable[[], None]) -> int:
        """Start all teams, call `started` when each works or has failed, serve until told to stop. Returns the exit code."""
        async with trio.open_nursery() as self._nursery:
            if self._settings.metrics_listen:
                self._nursery.start_soon(self._listen, self._settings.metrics_listen, None)
            await self._look()
            await self._until(lambda: not self._starting)
            if not self.members and not self._resting:
                self._log.error(NONE_STARTED)
                self._nursery.cancel_scope.cancel()
                return EXIT_START
            started()
            await self._until(lambda: self._stopping and not self.members and not self._resting)
            self._nursery.cancel_scope.cancel()  # the metrics of all; there is nobody else any more
        return EXIT_OK

    def stop(self) -> bool:
        if self._stopping:
            return False
        self._stopping = True
        for device, member in self.members.items():
            self._end(device, member)
        for rest in self._resting.values():
            rest.wanted = False
        self._change()
        return True

    async def reload(self) -> None:
        plans = await self._look()
        if plans is None:
            return
        known = list(self.members.items())  # those that it starts are not there yet
        for device, rest in self._resting.items():
            rest.plan = plans.get(device, rest.plan)
            rest.wanted = device in plans
        async with trio.open_nursery() as nursery:  # a team that looks up a host does not hold up the others
            for device, member in known:
                plan = plans.get(device)
                if plan is None:
                    self._log.info("%s: no configuration any more, ending it.", device)
                    self._end(device, member)
                elif plan is member.server.plan:
                    self._log.error("%s: refused, nothing changes.", plan.config_file)
                else:
                    nursery.start_soon(self._read_again, member, plan.config_file)

    async def _read_again(self, member: FleetMember, file: str) -> None:
        """One team goes over to what its file says now."""
        if member.server.pump is None:
            return
        member.reload = trio.CancelScope()
        with member.reload:
            await read_again(member.server.pump, file, self._log)

    def _end(self, device: str, member: FleetMember) -> None:
        """Begin the end of one team, and for good."""
        member.gone = True
        try:
            member.server.stop()
        except Exception as fault:
            self._broken(device, member, fault)

    async def _look(self) -> dict[str, TeamPlan] | None:
        """Start what is not running yet. Returns what there is to be; None on a file system that does not answer: all stays."""
        there = {device: member.server.plan for device, member in self.members.items()}
        there |= {device: rest.plan for device, rest in self._resting.items()}
        known = [old.config_file for old in there.values()]
        try:
            found = await self._found(known)
        except OSError as error:
            self._log.error("Reading the configurations %s; nothing changes.", error.strerror)
            return None
        plans: dict[str, TeamPlan] = {}
        for path, plan in found:
            if plan is None:
                plans |= {device: old for device, old in there.items() if old.config_file == str(path)}
            elif plan.device in plans:
                self._log.error(
                    "%s: %s is configured in %s already; ignored.", path, plan.device, plans[plan.device].config_file
                )
            else:
                plans[plan.device] = plan
        for device, plan in plans.items():
            if device not in there and not self._stopping:
                self._starting[device] = None
                self._nursery.start_soon(self._live, plan)
        return plans

    async def _found(self, known: Iterable[str]) -> list[tuple[Path, TeamPlan | None]]:
        """The files there are, each with its plan. OSError: one of them takes too long, or all together."""
        with trio.move_on_after(ALL_FILES_S):
            paths = await read_file.off_loop(partial(self._files, known))
            # A limit for each file: a slow machine with many teams needs longer, and its file system answers all the same.
            return [(path, await read_file.off_loop(partial(self._plan, path))) for path in paths]
        raise OSError(errno.ETIMEDOUT, f"takes longer than {ALL_FILES_S:.0f} s")

    def _files(self, known: Iterable[str]) -> list[Path]:
        return list(files(self._sources, known, self._log))

    def _plan(self, path: Path) -> TeamPlan | None:
        """The plan for a file; None, with everything that is wrong in the log, when there is none."""
        config = configured(path, read_file.read_file, self._log)
        if config is None:
            return None
        device = config.team.device or path.stem
        given = self._settings
        return TeamPlan(
            device,
            config,
            Setup(pid=os.getpid(), debug_level=config.team.debug_level),
            take_over=given.take_over,
            keep=given.keep,
            enslave=given.enslave,
            exclusive=given.exclusive,
            trace_entries=TRACE_ENTRIES,
            usock_path=f"{given.run_dir}{device}.sock",
            config_file=str(path),
            snapshot_stem=f"{given.run_dir}{device}",
        )

    async def _live(self, plan: TeamPlan) -> None:
        """Run one team until it ends or is to end. After a fault of ours it is started again."""
        device = plan.device
        log = named(self._log, device)
        wanted = True
        while True:
            set_debug_level(log, plan.setup.debug_level)
            member = FleetMember(TeamServer(plan, self.reader, log), trio.CancelScope(), gone=not wanted)
            if not wanted:
                member.server.stop()
            self.members[device] = member
            again = failed = False
            try:
                if plan.config.team.metrics_listen is not None:
                    self._offer_metrics(plan.config.team.metrics_listen, device)
                with member.scope:
                    await member.server.run(lambda: self._started(device))
                again = member.scope.cancelled_caught
            except StartFailed as failure:
                failed = True
                for line in str(failure).splitlines():
                    log.error("%s", line)
            except Exception:
                log.exception("This is a bug, please report it.")
                again = True
            del self.members[device]
            if not failed:
                self._thaw()
            self._withdraw_metrics(device)
            member.reload.cancel()
            self._started(device)
            if not again or member.gone or self._stopping:
                log.info(ENDED)
                return
            rest = self._resting[device] = Rest(plan)
            await trio.sleep(RESTART_S)
            del self._resting[device]
            plan, wanted = replace(rest.plan, take_over=True), rest.wanted

    def _thaw(self) -> None:
        """A team has ended: what was settled may be garbage, but all of it is looked at only when enough of them have."""
        self._ended += 1
        if worth_thawing(self._ended, len(self.members) + self._ended):
            gc.unfreeze()
            self._ended = 0

    def _offer_metrics(self, address: str, device: str) -> None:
        """Serve the metrics of a team at this address, together with those of all others that name it."""
        listener = self._listeners.get(address)
        if listener is None:
            listener = self._listeners[address] = MetricsListener()
            self._nursery.start_soon(self._listen, address, listener)
        listener.teams[device] = None

    def _withdraw_metrics(self, device: str) -> None:
        """A team has ended: leave it out, and close an address that no team names any more."""
        for address, listener in list(self._listeners.items()):
            listener.teams.pop(device, None)
            if not listener.teams:
                del self._listeners[address]
                listener.scope.cancel()

    async def _listen(self, address: str, listener: MetricsListener | None) -> None:
        """Serve the metrics of the listener's teams, or of all."""
        from pyteamd.daemon.control.http import listen

        with listener.scope if listener is not None else trio.CancelScope():
            await listen(
                address, lambda: self._metrics(self.members if listener is None else listener.teams), self._log
            )

    def _metrics(self, devices: Iterable[str]) -> str:
        """One text for these teams."""
        from pyteamd.daemon.control import inspection
        from pyteamd.views.metrics import exposition

        servers = [self.members[device].server for device in devices if device in self.members]
        return exposition(inspection.metric_rows(server.pump) for server in servers if server.pump is not None)

    def _started(self, device: str) -> None:
        self._starting.pop(device, None)
        self._change()

    def _fault(self, pump: Pump, fault: Exception) -> None:
        """A team could not digest an event: its life ends here."""
        for device, member in self.members.items():
            if member.server.pump is pump:
                self._broken(device, member, fault)

    def _broken(self, device: str, member: FleetMember, fault: Exception) -> None:
        """A fault of ours: the team ends as it is, and unless it is to be gone it is taken over again. Until then it may be met often."""
        if not member.scope.cancel_called:
            named(self._log, device).error("This is a bug, please report it.", exc_info=fault)
        member.scope.cancel()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


def files(sources: Iterable[str], known: Iterable[str], log: logging.Logger) -> Iterator[Path]:
    """Configuration files, those of a directory in order of their names; the `known` ones of a directory that cannot be read."""
    for source in sources:
        path = Path(source)
        try:
            if path.is_dir():
                yield from sorted(
                    entry for entry in path.iterdir() if entry.suffix in ENDINGS and not entry.name.startswith(".")
                )
            elif path.exists():
                yield path
            else:
                log.warning("%s: there is no such file.", path)
        except OSError as error:
            log.error("%s: cannot be read: %s", path, read_file.why_not(error))
            yield from sorted(file for file in map(Path, known) if path in (file, file.parent))


def configured(path: Path, read: Callable[[Path], bytes], log: logging.Logger) -> Config | None:
    """The configuration in a file, of the device that it names or is named after; None, with everything that is wrong in the log."""
    try:
        config = Config.load(read(path), runners=RUNNERS, watchers=WATCHERS, file=str(path))
    except ConfigError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return None
    except OSError as error:
        log.error("%s: cannot be read: %s", path, read_file.why_not(error))
        return None
    except Exception:
        log.exception("%s: This is a bug, please report it.", path)
        return None
    if config.team.device is None:
        try:
            config.set_device(path.stem)
        except ValueError as error:
            log.error("%s: names no device, and %s %s", path, path.stem, error)
            return None
    return config


def named(log: logging.Logger, device: str) -> logging.Logger:
    """A log whose lines begin with the name of the team."""
    child = log.getChild(device)
    if not child.filters:

        def prefix(record: logging.LogRecord) -> bool:
            record.msg = f"{device}: {record.msg}"
            return True

        child.addFilter(prefix)
    return child


async def serve_many(fleet: Fleet, log: logging.Logger, notifier: Notifier, ready: Callable[[], None]) -> int:
    """Run the teams until a signal ends them. Returns the exit code."""

    def started() -> None:
        ready()
        notifier.send(READY="1", STATUS=f"{len(fleet.members)} teams")
        nursery.start_soon(watchdog, notifier)
        nursery.start_soon(import_late, log)
        nursery.start_soon(collect_now_and_then)
        settle_memory()

    code = EXIT_RUNTIME
    with receive_signals() as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fleet.reader.read)
            nursery.start_soon(fleet.reader.read_frames)
            nursery.start_soon(link_counters.watch, fleet.reader.pumps.values, log)
            nursery.start_soon(signals, received, fleet, nursery.cancel_scope, notifier, log)
            code = await fleet.run(started)
            nursery.cancel_scope.cancel()
    return code
