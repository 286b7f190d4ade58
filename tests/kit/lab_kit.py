"""For tests inside the lab: commands, namespaces with cables, and daemons, C teamd's and ours, driven the same way."""

from __future__ import annotations

import atexit
import difflib
import inspect
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nursery import PATIENCE_S, Nursery

from pyteamd.client.client import Client, ClientError
from pyteamd.schema import json_text

PYTEAMD = f"{sys.executable} -B -m pyteamd"
PYTEAMDCTL = f"{sys.executable} -B -c 'import sys; from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())'"
RUN_DIR = Path("/run/teamd")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said."""

    status: int
    out: str
    err: str


def end(process: subprocess.Popen[str]) -> None:
    """Let a process end that reads from us; one that does not is ended."""
    try:
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


class Shell:
    """A shell that stays in one network namespace: starting a process is what costs most in user-mode Linux."""

    def __init__(self, namespace: str) -> None:
        words = ["ip", "netns", "exec", namespace, "sh"] if namespace else ["sh"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._files = tempfile.mkdtemp(prefix="pyteamd-shell-")
        self._out, self._err = Path(self._files, "out"), Path(self._files, "err")

    def run(self, command: str) -> Result:
        """Run a command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        script = f"( {command}\n) >{self._out} 2>{self._err} </dev/null; echo $?\n"
        self._process.stdin.write(script)
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return Result(status, self._out.read_text(), self._err.read_text())

    @property
    def pid(self) -> int:
        """The shell's; where it is, others can go."""
        return self._process.pid

    def close(self) -> None:
        """End the shell."""
        end(self._process)
        shutil.rmtree(self._files)


_shells: dict[str, Shell] = {}
_nurseries: list[Nursery] = []


@atexit.register
def end_shells() -> None:
    """End the nursery, and the shells whose namespaces were not removed."""
    while _shells:
        _shells.popitem()[1].close()
    while _nurseries:
        _nurseries.pop().close()


def run(command: str, *, namespace: str = "") -> Result:
    """Run a shell command, inside a network namespace if one is named."""
    return _shell(namespace).run(command)


def _shell(namespace: str) -> Shell:
    shell = _shells.get(namespace)
    if shell is None:
        shell = _shells[namespace] = Shell(namespace)
        shell.run("true")  # now it is where it belongs
    return shell


def run_ours(program: str, arguments: Sequence[str], *, namespace: str = "") -> Result:
    """Run `pyteamd` or `pyteamdctl` to its end, in a hundredth of the time that `run` takes for them."""
    if not _nurseries:
        _nurseries.append(Nursery())
    return Result(*_nurseries[0].run(_shell(namespace).pid, program, arguments))


def forget(namespace: str) -> None:
    """End the shell of a namespace and remove it."""
    shell = _shells.pop(namespace, None)
    if shell is not None:
        shell.close()
    run(f"ip netns del {namespace}")


def must(command: str, *, namespace: str = "") -> str:
    """The output of a command that may not fail."""
    result = run(command, namespace=namespace)
    assert result.status == 0, f"{command}: {result}"
    return result.out


USUAL_PATIENCE_S = 15.0
"""What is waited for comes at once when all is well; on a machine with three guests at once it may take seconds."""


def wait_for(condition: Callable[[], object], timeout_s: float = USUAL_PATIENCE_S, what: str = "") -> float:
    """Poll until the condition holds; returns the seconds it took. When they are over, says what it saw last."""
    began = time.monotonic()
    while not (last := condition()):
        if time.monotonic() - began > timeout_s:
            words = what or words_of(condition)
            raise AssertionError(f"not within {timeout_s} s: {words}; last: {last!r}\n{told_by_daemons()}")
        time.sleep(0.01)
    return time.monotonic() - began


def wait_to_be(look: Callable[[], str], wanted: str, timeout_s: float = USUAL_PATIENCE_S) -> float:
    """Poll until this text is there; the difference is told when it does not come."""
    seen = [""]

    def same() -> bool:
        seen[0] = look()
        return seen[0] == wanted

    try:
        return wait_for(same, timeout_s, "the text")
    except AssertionError as failed:
        lines = difflib.unified_diff(wanted.splitlines(), seen[0].splitlines(), "wanted", "seen", lineterm="", n=1)
        raise AssertionError("\n".join((str(failed), *lines))) from None


def words_of(condition: Callable[[], object]) -> str:
    """How a condition is written."""
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)


def told_by_daemons() -> str:
    """What our daemons say of their ports and what happened last, for the message of a test that failed."""
    said = []
    for path in sorted(RUN_DIR.glob("*.sock")):
        with (
            suppress(ClientError, OSError, ValueError, KeyError),
            Client.connect(path.stem, "usock", timeout_s=2.0) as asked,
        ):
            said += [row["text"] for row in json_text.loads(asked.fetch("Explain"))]
            said += [f"{row['age_s']} s ago: {row['text']}" for row in json_text.loads(asked.fetch("History"))[-8:]]
    return "\n".join(said)


@dataclass
class Bench:
    """A host with ports em1, em2, …, each a cable whose other end pN is in the namespace of a switch.

    host: em1 ──── p1 :switch
          em2 ──── p2
    """

    host: str
    switch: str
    ports: list[str] = field(default_factory=list)

    def cable(self, number: int) -> None:
        """One more port; addresses are the same in every bench."""
        name, end = f"em{number}", f"p{number}"
        must(f"ip link add {name} address 02:00:00:00:01:{number:02x} type veth peer name {end}", namespace=self.host)
        must(f"ip link set {end} netns {self.switch}", namespace=self.host)
        must(f"ip link set {end} address 02:00:00:00:02:{number:02x} up", namespace=self.switch)
        self.ports.append(name)

    def on_host(self, command: str) -> Result:
        """Run a command on the host."""
        return run(command, namespace=self.host)

    def pyteamd(self, arguments: str) -> Result:
        """`pyteamd ARGUMENTS` on the host, the arguments quoted as for a shell."""
        return run_ours("pyteamd", shlex.split(arguments), namespace=self.host)

    def pyteamdctl(self, arguments: str) -> Result:
        """The same for `pyteamdctl`."""
        return run_ours("pyteamdctl", shlex.split(arguments), namespace=self.host)

    def on_switch(self, command: str) -> str:
        """Run a command on the switch; it may not fail."""
        return must(command, namespace=self.switch)

    def cut(self, number: int) -> None:
        """The cable of port number N loses its carrier."""
        self.on_switch(f"ip link set p{number} down")
        self.await_link(number, False)

    def mend(self, number: int) -> None:
        """The cable is back."""
        self.on_switch(f"ip link set p{number} up")
        self.await_link(number, True)

    def await_link(self, number: int, up: bool) -> None:
        """Wait until the kernel sees the port's link so."""
        look = f"read -r now </sys/class/net/em{number}/carrier; echo $now"
        wait_for(lambda: (self.on_host(look).out.strip() == "1") is up, what=f"em{number} {up}")

    def await_driver(self, number: int, up: bool, team: str = "team0") -> None:
        """Wait until the driver has heard of it, too: the kernel tells it a while after a carrier has changed."""
        seen = re.compile(rf"\bem{number}: {'up' if up else 'down'}\b")
        wait_for(lambda: seen.search(self.on_host(f"teamnl {team} ports").out), what=f"em{number} {up} in the driver")

    def active(self, client: str = "teamdctl", team: str = "team0") -> str:
        """The active port."""
        return self.on_host(f"{client} {team} state item get runner.active_port").out.strip()

    def mac(self, link: str) -> str:
        """Hardware address of a link of the host."""
        return self.on_host(f"cat /sys/class/net/{link}/address").out.strip()

    @contextmanager
    def option_events(self, team: str = "team0") -> Iterator[list[str]]:
        """The lines C teamnl prints of options that are written while the block runs."""
        words = ["ip", "netns", "exec", self.host, "stdbuf", "-oL", "teamnl", team, "monitor", "changed"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        lines: list[str] = []
        try:
            time.sleep(0.3)
            yield lines
        finally:
            process.terminate()
            out, _ = process.communicate(timeout=60)
            lines += [line for line in out.splitlines() if line.strip()]

    def options(self, team: str = "team0") -> dict[str, str]:
        """The driver's options as C teamnl prints them, name with port or index → value."""
        found = {}
        for line in self.on_host(f"teamnl {team} options").out.splitlines():
            words = line[1:].strip().split(" ")
            at = 2 if len(words) > 1 and words[1].startswith("(") else 1
            found[" ".join(words[:at])] = " ".join(words[at:])
        return found


@contextmanager
def at_a_word(*lines: str) -> Iterator[Callable[[], float]]:
    """Programs of iproute2 that are started and wait: `tc -n NAMESPACE qdisc add …`. Calling runs all; returns the time just before."""
    waiting = []
    for line in lines:
        program, flag, namespace, *words = line.split()
        process = subprocess.Popen([program, flag, namespace, "-batch", "-"], stdin=subprocess.PIPE)
        waiting.append((process, f"{' '.join(words)}\n".encode()))
    time.sleep(0.5)

    def run_all() -> float:
        now = time.time()
        for process, words in waiting:
            assert process.stdin is not None
            process.stdin.write(words)
            process.stdin.flush()
        return now

    try:
        yield run_all
    finally:
        for process, _ in waiting:
            process.communicate(timeout=60)


@contextmanager
def bench(ports: int = 2) -> Iterator[Bench]:
    """A fresh host and switch, removed afterwards."""
    number = next(_numbers)
    made = Bench(f"host{number}", f"switch{number}")
    for namespace in (made.host, made.switch):
        must(f"ip netns add {namespace} && ip -n {namespace} link set lo up")
    try:
        for port in range(1, ports + 1):
            made.cable(port)
        yield made
    finally:
        for namespace in (made.host, made.switch):
            forget(namespace)


def taken_out_of_sight(on: Bench, name: str) -> None:
    """A new link of the host whose frames a macvlan takes in another network namespace: only the kernel can say that it is no port."""
    must(f"ip link add {name} type veth && ip link add link {name} name mv-{name} type macvlan", namespace=on.host)
    must(f"ip link set mv-{name} netns {on.switch}", namespace=on.host)


@dataclass
class Daemon:
    """A running daemon for one team."""

    program: str
    on: Bench
    team: str = "team0"

    @property
    def pid(self) -> int:
        return int((RUN_DIR / f"{self.team}.pid").read_text())

    def stop(self) -> Result:
        """End it with `-k`."""
        return run_daemon(self.program, self.on, f"-k -t {self.team}")

    def alive(self) -> bool:
        """Whether the process of the pid file runs; asked without starting a program, which is slow here."""
        try:
            return runs(self.pid)
        except (FileNotFoundError, ValueError):
            return False

    def end(self) -> None:
        """End it as its service manager would, and wait until it has."""
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not runs(pid), 15.0, f"{self.program} has ended")


def runs(pid: int) -> bool:
    """Whether this process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_daemon(program: str, on: Bench, arguments: str) -> Result:
    """C teamd, or ours."""
    return on.pyteamd(arguments) if program == PYTEAMD else on.on_host(f"{program} {arguments}")


@contextmanager
def daemon(program: str, on: Bench, config: str, *, team: str = "team0", flags: str = "") -> Iterator[Daemon]:
    """Start a daemon in the background and wait until it is ready; it is gone afterwards."""
    result = run_daemon(program, on, f"-d -t {team} {flags} -c {shlex.quote(config)}")
    assert result.status == 0, result
    started = Daemon(program, on, team)
    try:
        yield started
    finally:
        if started.alive():
            started.end()


def chosen(names: Iterable[str], later: Collection[str]) -> list[str]:
    """What to run: everything with PYTEAMD_LONG=1 in the environment (`make long`), else all but the `later` ones."""
    return [name for name in names if os.environ.get("PYTEAMD_LONG") or name not in later]


def dump(method: str = "StateDump", team: str = "team0", *arguments: str) -> str:
    """What `teamdctl TEAM state dump` (or `config dump`: ConfigDump) prints, without starting a program."""
    with Client.connect(team, "usock") as asked:
        return asked.fetch(method, *arguments)


def state(team: str = "team0") -> dict[str, Any]:
    """The state as the daemon, C teamd or ours, tells it itself: a few milliseconds, a client program takes a hundred."""
    tree: dict[str, Any] = json_text.loads(dump("StateDump", team))
    return tree


STILL_S = 4.0
"""Resident memory that is unchanged for so long has settled: a daemon's imports after its start follow each other sooner."""


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def settled_kib(pid: int) -> int:
    """Resident memory, once it stands still: what a daemon may need one day it imports after its start."""
    last, since = 0, time.monotonic()
    while time.monotonic() - since < STILL_S:
        if (now := resident_kib(pid)) != last:
            last, since = now, time.monotonic()
        time.sleep(0.2)
    return last


def catches_sigint(status: str) -> bool:
    """Whether the process of this /proc/PID/status has a handler for it; before that it would end without a word."""
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


MOST_UNREAD = 25
"""Half a second of pings at the usual interval: who is away so long at the end is not merely late."""


class Stream:
    """A steady stream of pings through the team, and what came back."""

    def __init__(self, on: Bench, target: str, interval_s: float = 0.02) -> None:
        words = ["ip", "netns", "exec", on.host, "ping", "-n", "-i", str(interval_s), "-W", "1", target]
        self._words = words
        self.sent = self.received = self.lost = 0

    def __enter__(self) -> Stream:
        self._out = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(self._words, stdout=self._out, text=True)
        status = Path(f"/proc/{self._process.pid}/status")
        wait_for(lambda: catches_sigint(status.read_text()), 10.0, "ping counts")
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        with self._out:
            self._out.seek(0)
            out = self._out.read()
        found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
        assert found, out
        came = {int(number) for number in re.findall(r"icmp_seq=(\d+) .*time=", out)}
        self.sent, self.received = int(found[1]), len(came)
        # Once told to stop, ping reads no more: what then waits in its socket did come back.
        last = max(came, default=0)
        unread = self.sent - last
        self.lost = last - len(came) + (unread if unread > MOST_UNREAD else 0)
