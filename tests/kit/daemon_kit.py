"""A whole daemon in a test: the shell on a simulated kernel, a real control socket, and the clock of the test."""

from __future__ import annotations

import json
import logging
import math
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio
import trio.testing

from pyteamd.config.config import Config
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.sd_notify import Notifier
from pyteamd.daemon.service import serve
from pyteamd.daemon.team_server import StartFailed, TeamPlan
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import OptionKey, Write
from pyteamd.model.events import Refused, Resync
from pyteamd.model.setup import Setup
from pyteamd.runners import RUNNERS
from pyteamd.sim.link import SimLink
from pyteamd.sim.waiting import WaitingSimKernel, Wake

ACTIVE_BACKUP = {"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}}
ANSWER_TIMEOUT_S = 5.0


class RecordingKernel(WaitingSimKernel):
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.performed: list[Write] = []
        self.dumps = 0

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        self.performed += writes
        return super().apply(team, writes)

    def dump(self, team: int) -> Resync:
        self.dumps += 1
        return super().dump(team)


class Lines(logging.Handler):
    """The log of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(record.getMessage())


@dataclass
class Running:
    """A daemon that was started."""

    reader: Reader
    path: str
    log: logging.Logger
    lines: list[str]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    code: int | None = None
    """Exit code; None while it runs, and when the start failed."""
    failure: StartFailed | None = None
    crash: ExceptionGroup[Exception] | None = None
    """A daemon that crashes unexpectedly fails its test, see conftest."""
    crash_expected: bool = False
    fault_expected: bool = False
    """It may tell of a bug: the test makes one."""

    def has_file(self) -> bool:
        """Whether the control socket has a name."""
        return Path(self.path).exists()

    async def call(self, method: str, *arguments: str) -> str:
        """One request on a connection of its own; returns the payload, or "code: text" of an error."""
        escaped = [text.replace("\\", "\\\\").replace("\n", "\\n") for text in arguments]
        reply = await self.ask("".join(f"{line}\n" for line in ("REQUEST", method, *escaped)).encode())
        assert reply is not None
        kind, _, rest = reply.decode().partition("\n")
        return rest if kind == "REPLY_SUCCESS" else rest.strip().replace("\n", ": ")

    async def ask(self, packet: bytes) -> bytes | None:
        """One packet on a connection of its own; None for silence, b"" when the daemon hung up."""
        with await self.connect() as client:
            await client.send(packet)
            with trio.move_on_after(ANSWER_TIMEOUT_S):
                return await client.recv(1 << 22)
        return None

    async def connect(self) -> trio.socket.SocketType:
        """A client's socket."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            client.connect(self.path)
        except OSError:
            client.close()
            raise
        return trio.socket.from_stdlib_socket(client)

    async def state(self) -> dict[str, Any]:
        """The state as a tree."""
        tree: dict[str, Any] = json.loads(await self.call("StateDump"))
        return tree

    async def stop(self) -> int | None:
        """SIGTERM, and wait for the end. Returns the exit code."""
        signal.raise_signal(signal.SIGTERM)
        await self.ended.wait()
        return self.code


@dataclass
class Lab:
    """A kernel with two links, and daemons on it."""

    directory: Path
    nursery: trio.Nursery
    kernel: RecordingKernel = field(default_factory=RecordingKernel)
    daemons: list[Running] = field(default_factory=list)

    def link(self, name: str) -> SimLink:
        """A link by name."""
        (found,) = [link for link in self.kernel.links.values() if link.name == name]
        return found

    def has(self, name: str) -> bool:
        """Whether there is a link of this name."""
        return any(link.name == name for link in self.kernel.links.values())

    def cut(self, name: str, up: bool = False) -> None:
        """Set the other end of a link down, or up."""
        peer = self.link(name).peer
        assert peer is not None
        self.kernel.set_up(peer.ifindex, up)

    def option(self, name: str, port: str = "") -> object:
        """Value of an option of team0 in the kernel."""
        team = self.kernel.teams[self.link("team0").ifindex]
        key = OptionKey(name, self.link(port).ifindex if port else 0)
        return {seen.key: seen.value for seen in team.options()}[key]

    def plan(self, config: dict[str, Any] | None = None, **changes: Any) -> TeamPlan:
        """What to run: activebackup with eth1 and eth2 unless told otherwise."""
        text = json.dumps(ACTIVE_BACKUP if config is None else config)
        loaded = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
        setup = Setup(pid=4711, pid_file="/run/teamd/team0.pid")
        return replace(TeamPlan("team0", loaded, setup, usock_path=f"{self.directory}/team0.sock"), **changes)

    async def start(self, plan: TeamPlan | None = None, environ: dict[str, str] | None = None) -> Running:
        """Start a daemon and wait until it is ready or has failed."""
        plan = plan or self.plan()
        log, handler = logging.getLogger(f"daemon{len(self.daemons)}"), Lines()
        log.handlers, log.filters, log.propagate = [handler], [], False  # a logger outlives its test
        log.setLevel(logging.INFO)
        daemon = Running(Reader(self.kernel), plan.usock_path or "", log, handler.lines)
        self.daemons.append(daemon)
        self.nursery.start_soon(self._run, plan, daemon, Notifier(environ or {}))
        await daemon.ready.wait()
        return daemon

    async def _run(self, plan: TeamPlan, daemon: Running, notifier: Notifier) -> None:
        try:
            with daemon.scope:
                daemon.code = await serve(plan, daemon.reader, daemon.log, notifier, daemon.ready.set)
        except StartFailed as failure:
            daemon.failure = failure
        except ExceptionGroup as crash:
            daemon.crash = crash
        finally:
            daemon.ready.set()
            daemon.ended.set()

    async def run_net(self) -> None:
        """Let frames travel and partners speak, at trio's time, until cancelled."""
        net, changed = self.kernel.net, trio.Event()
        net.wake = Wake(lambda: changed.set())
        while True:
            net.advance(trio.current_time())
            changed = trio.Event()
            due = net.deadline()
            with trio.move_on_at(math.inf if due is None else due):
                await changed.wait()


def jumping(main: Callable[..., Any], *, clock: object = None, **settings: Any) -> Any:
    """trio.run on a clock that jumps to the next deadline when nothing is left to do."""
    strict = {"strict_exception_groups": True}  # trio's default since 0.23
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), **strict, **settings)


async def quiet() -> None:
    """Let everything that is due at this moment happen."""
    await trio.testing.wait_all_tasks_blocked()
