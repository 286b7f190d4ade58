"""Which threads of the daemon are real-time ones, in the foreground and in the background, and what happens when the kernel refuses."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyteamd.daemon import realtime
from pyteamd.daemon.in_thread import in_thread

ORDINARY, REAL_TIME = os.SCHED_OTHER, os.SCHED_RR | os.SCHED_RESET_ON_FORK
LACP = '{"device": "team0", "runner": {"name": "lacp"}, "ports": {"eth1": {}, "eth2": {}}}'
PROGRAM = """
import os, sys, threading
import pyteamd.cli.pyteamd.main as main
run = main.run
def first(options):
    print("first act:", os.sched_getscheduler(0), flush=True)
    return run(options)
main.run = first
import pyteamd.cli.pyteamd.run
from pyteamd.sim.waiting import WaitingSimKernel
def kernel(buffer_bytes):
    made = WaitingSimKernel()
    made.may_stall = True
    for number in (1, 2):
        made.add_pair(f"eth{number}", f"peer{number}")
    threading.Thread(target=threading.Event().wait, name="other", daemon=True).start()
    return made
pyteamd.cli.pyteamd.run.NetlinkKernel = kernel
sys.exit(main.main(sys.argv, sys.argv.pop(1)))
"""


def allowed() -> bool:
    """Whether a process of ours gets what it asks for."""
    program = "from pyteamd.daemon import realtime; raise SystemExit(realtime.ask() is not None)"
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class Starter:
    """Starts daemons with a simulated kernel, and ends them."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pids: list[int] = []

    def __call__(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Process number of a daemon that is ready, and what it said of its first act."""
        command = [sys.executable, "-c", PROGRAM, f"{self._run_dir}/", *arguments, "-l", "syslog", "-c", LACP]
        said = self._run_dir / "said"
        with said.open("w") as out:
            process = subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out)
        self._processes.append(process)
        pid_file, give_up = self._run_dir / "team0.pid", time.monotonic() + 60
        while not (self._run_dir / "team0.sock").exists() or not pid_file.exists():
            assert time.monotonic() < give_up, said.read_text()
            time.sleep(0.02)
        if "-d" in arguments:
            assert process.wait(20) == 0
        self._pids.append(int(pid_file.read_text()))
        return self._pids[-1], said.read_text()

    def end(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    starter.end()


def threads(pid: int) -> list[tuple[int, int]]:
    """Scheduling and priority of each thread. One that ends meanwhile does not count."""
    found = []
    for task in map(int, os.listdir(f"/proc/{pid}/task")):
        with contextlib.suppress(ProcessLookupError):
            found.append((os.sched_getscheduler(task), os.sched_getparam(task).sched_priority))
    return found


def highest(pid: int) -> int:
    """How many threads have the priority of the event loop."""
    return threads(pid).count((REAL_TIME, realtime.PRIORITY))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("-d",)])
def test_the_loop_and_the_writing_thread_have_the_highest_priority(start: Starter, arguments: tuple[str, ...]) -> None:
    if not allowed():
        pytest.skip("this machine gives no real-time scheduling")
    pid, said = start(*arguments)
    assert f"first act: {REAL_TIME}" in said
    give_up = time.monotonic() + 30
    while highest(pid) < 2 and time.monotonic() < give_up:  # the thread asks by itself
        time.sleep(0.02)
    seen = threads(pid)
    assert seen.count((REAL_TIME, realtime.PRIORITY)) == 2, seen
    assert {*seen} <= {(ORDINARY, 0), (REAL_TIME, realtime.HELPERS_PRIORITY), (REAL_TIME, realtime.PRIORITY)}
    assert resource.prlimit(pid, 15) == (10_000_000, 60_000_000)


@pytest.mark.slow
def test_it_can_be_turned_off(start: Starter) -> None:
    pid, said = start(PYTEAMD_REALTIME="no")
    assert f"first act: {ORDINARY}" in said
    assert {*threads(pid)} == {(ORDINARY, 0)}


def test_a_refusal_is_one_line_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: ORDINARY)
    with caplog.at_level(logging.INFO):
        realtime.ask_or_tell(logging.getLogger("refused"))
    (record,) = caplog.records
    assert "Operation not permitted" in record.getMessage()
    assert "LimitRTPRIO=2" in record.getMessage()


async def test_a_thread_that_helps_is_real_time_too_but_below_the_loop() -> None:
    """An ordinary one that has the interpreter's lock makes the loop wait until a busy machine lets it run."""
    if not allowed():
        pytest.skip("this machine gives no real-time scheduling")

    def scheduling() -> tuple[int, int]:
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority

    assert await in_thread(scheduling) == (os.SCHED_RR, realtime.HELPERS_PRIORITY)
    assert realtime.HELPERS_PRIORITY < realtime.PRIORITY
    # What may compute for long would meet the bound, also in a thread that has helped before.
    assert await in_thread(scheduling, long=True) == (os.SCHED_OTHER, 0)
    assert await in_thread(scheduling) == (os.SCHED_RR, realtime.HELPERS_PRIORITY)


def test_the_loop_is_given_the_interpreters_lock_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = sys.getswitchinterval()
    monkeypatch.setenv(realtime.SETTING, "no")
    try:
        realtime.ask_or_tell(logging.getLogger("willing"))
        assert sys.getswitchinterval() < 0.001
    finally:
        sys.setswitchinterval(usual)


BUSY = """
import logging, os, time
from threading import Thread
from pyteamd.daemon import realtime
logging.basicConfig(format="%(message)s")
realtime.LONGEST_RUN_S = 0.04
assert realtime.ask() is None
Thread(target=time.sleep, args=(9,), daemon=True).start()
end = time.monotonic() + 0.5
while time.monotonic() < end and os.sched_getscheduler(0) & os.SCHED_RR:
    pass
print([os.sched_getscheduler(int(thread)) & ~os.SCHED_RESET_ON_FORK for thread in os.listdir("/proc/self/task")])
"""


@pytest.mark.slow
def test_who_computes_without_a_pause_goes_on_as_an_ordinary_process() -> None:
    """The kernel's limit would end it; in a guest of a busy host a start may take that long."""
    if not allowed():
        pytest.skip("this machine gives no real-time scheduling")
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"{[ORDINARY, ORDINARY]}\n")
    assert done.stderr.startswith("Computed for 0 s without a pause: no real-time scheduling from now on")


def test_who_allows_one_priority_gets_that(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(pid: int, policy: int, parameter: os.sched_param) -> None:
        asked.append(parameter.sched_priority)
        if parameter.sched_priority > 1:
            raise PermissionError(errno.EPERM, "not so much")

    monkeypatch.setattr(os, "sched_setscheduler", ask)
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_OTHER)
    monkeypatch.setattr(realtime, "_bound", lambda: None)
    assert realtime.ask() is None
    assert asked == [2, 1]


def test_after_a_thread_computed_for_too_long_none_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "_CALM", [])
    monkeypatch.setattr(os, "listdir", lambda path: [])
    monkeypatch.setattr(os, "sched_setscheduler", lambda *asked: pytest.fail("asked"))
    realtime._calm()
    assert realtime.ask(realtime.HELPERS_PRIORITY) is None


@pytest.mark.parametrize("number", [1, 2])
def test_a_start_within_the_tests_leaves_the_next_one_ordinary(number: int) -> None:
    """conftest.py sees to it. A test that is real-time and waits for a thread with a clock that jumps takes a processor for itself."""
    assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == ORDINARY
    realtime.ask()
