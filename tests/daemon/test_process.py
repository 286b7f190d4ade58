"""Background, signals, pid file and crash, with real processes."""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyteamd.daemon import pid_file as pidfile
from pyteamd.daemon.pid_file import PidFile, running, why_not
from pyteamd.daemon.process import EXIT_RUNTIME, Foreground, kill, on_crash
from pyteamd.daemon.sd_notify import Notifier

LOG = logging.getLogger("test_process")


def script(body: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; `log` writes to its stderr."""
    head = "import errno, logging, os, signal, sys\nfrom pyteamd.daemon import process\nfrom pyteamd.daemon.log import open_log\n"
    head += "log = open_log('stderr', 'test', {})\n"
    return subprocess.run(
        [sys.executable, "-c", head + body, *arguments], capture_output=True, text=True, check=False, timeout=20
    )


GO = """
side = process.go_to_background(log)
if isinstance(side, process.Foreground):
    sys.exit(side.wait({timeout}))
{daemon}
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("daemon", "code", "text"),
    [
        ("side.report(0)", 0, ""),
        ("side.report(errno.EBUSY)", 1, "Daemon process failed.\nFailed: Device or resource busy\n"),
        (
            "side.tell(log); log.info('quiet'); log.warning('p0 is up'); log.error('two\\nlines'); side.report(errno.EBUSY)",
            1,
            "p0 is up\ntwo\nlines\nDaemon process failed.\nFailed: Device or resource busy\n",
        ),
        ("side.tell(log); log.warning('p0 is up'); side.report(0); log.warning('too late')", 0, "p0 is up\n"),
        ("side.tell(log); [log.warning('x' * 999) for _ in range(999)]; side.report(0)", 0, 32 * ("x" * 999 + "\n")),
        ("", 1, "Could not receive return value from daemon process.\nFailed: Input/output error\n"),
        (
            "signal.alarm(1); signal.pause()",
            1,
            "Could not receive return value from daemon process.\nFailed: Connection timed out\n",
        ),
    ],
)
def test_what_the_waiting_process_makes_of_it(daemon: str, code: int, text: str) -> None:
    done = script(GO.format(daemon=daemon, timeout=0.1 if "alarm" in daemon else 20))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)


@pytest.mark.slow
def test_the_word_of_a_daemon_that_took_too_long_is_no_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result")
    listener = os.open(tmp_path / "result", os.O_RDONLY | os.O_NONBLOCK)
    # Poll for nothing but the error that says that the other end is closed.
    daemon = "import select; poll = select.poll(); poll.register(side.pipe_fd, 0); poll.poll(); side.report(0); "
    daemon += f"os.write(os.open('{tmp_path}/result', os.O_WRONLY), b'went on')"
    assert script(GO.format(daemon=daemon, timeout=0.05)).returncode == 1
    select.select([listener], [], [], 10)
    assert os.read(listener, 100) == b"went on"
    os.close(listener)


def test_the_waiting_process_times_out_when_nothing_comes() -> None:
    read_fd, write_fd = os.pipe()
    assert Foreground(read_fd, LOG).wait(0.01) == 1
    os.close(read_fd)
    os.close(write_fd)


@pytest.mark.slow
def test_signals_and_descriptors_are_those_of_a_fresh_process() -> None:
    body = """
process.reset_signals()
assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGPIPE}
keep = os.pipe()[1]
process.close_inherited(keep)
print([fd for fd in range(100) if os.path.exists(f"/proc/self/fd/{fd}")] == [0, 1, 2, keep])
process.close_inherited(None)
print([fd for fd in range(100) if os.path.exists(f"/proc/self/fd/{fd}")])
"""
    before = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
    )
    done = script(before + body)
    assert (done.stdout, done.stderr) == ("True\n[0, 1, 2]\n", "")


@pytest.mark.slow
def test_a_program_started_with_everything_closed(tmp_path: Path) -> None:
    """The pipe to the waiting process would be descriptor 0 or 1, and /dev/null put over it."""
    head = "import errno, os, sys; from pyteamd.daemon import process; from pyteamd.daemon.log import open_log\n"
    head += "process.open_standard(); log = open_log('stderr', 'test', {})\n"
    whole = head + GO.format(daemon="side.report(0)", timeout=20)
    command = '"$1" -c "$2" <&- >&- 2>&-; echo $? >"$3"'
    subprocess.run(["sh", "-c", command, "sh", sys.executable, whole, f"{tmp_path}/code"], check=True, timeout=20)
    assert (tmp_path / "code").read_text() == "0\n"


def test_a_crash_is_one_of_a_running_daemon_even_if_its_trace_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(os, "_exit", codes.append)
    on_crash(lambda: 1 // 0, LOG)
    sys.excepthook(AssertionError, AssertionError("why"), None)
    assert codes == [EXIT_RUNTIME]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.slow
def test_a_crash_is_told_and_ends_with_the_code_wanted() -> None:
    body = """
def last_words():
    log.critical("the trace")
    return 2
process.on_crash(last_words, log)
raise AssertionError("why")
"""
    done = script(body)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "Crashed; this is a bug."
    assert lines[-2:] == ["AssertionError: why", "the trace"]


# -- pid file ----------------------------------------------------------------------------------------------------------


DAEMON = """
import signal, sys, time
from pyteamd.daemon.pid_file import PidFile
PidFile(sys.argv[1]).create()
print("there", flush=True)
time.sleep(60)
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the pid file `pid`."""
    command = [sys.executable, "-c", DAEMON, f"{tmp_path}/pid"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


def test_alive_is_who_holds_the_file(tmp_path: Path, daemon: subprocess.Popen[str]) -> None:
    path = f"{tmp_path}/pid"
    assert why_not(daemon.pid, path) == ""
    assert why_not(1, path) == "its number belongs to another process"
    assert why_not(os.getpid(), path) == "its number is our own"
    daemon.kill()
    os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOWAIT)
    assert why_not(daemon.pid, path) == "it was killed", "a zombie runs no more"
    daemon.wait()
    assert why_not(daemon.pid, path) == "No such process"


def test_create_and_remove(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    ours = PidFile(str(path))
    ours.create()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileExistsError):
        PidFile(str(path)).create()
    ours.remove()
    assert not path.exists()
    ours.remove()


@pytest.mark.parametrize("text", ["", "0\n"])
@pytest.mark.parametrize("hard_links", [True, False])
def test_an_empty_file_is_in_nobodys_way(
    tmp_path: Path, text: str, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(old: str, new: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # what FAT answers

    if not hard_links:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "pid"
    path.write_text(text)
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(tmp_path) == ["pid"]
    with pytest.raises(FileExistsError):
        PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_the_file_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    ours = PidFile(str(path))
    ours.create()
    path.write_text("1\n")
    ours.remove()
    assert path.read_text() == "1\n"


def test_no_rival_finds_the_file_without_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "pid", os.write
    ours = PidFile(str(path))
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    rival = PidFile(str(path))

    def interrupted(descriptor: int, octets: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        rival.create()
        return write(descriptor, octets)

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(FileExistsError):
        ours.create()
    ours.remove()
    assert path.read_text() == "4711\n"
    rival.remove()
    assert os.listdir(tmp_path) == []


def test_a_rival_that_took_a_stale_file_over_keeps_his(
    tmp_path: Path, daemon: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    path.rename(tmp_path / "rival")
    path.write_text("99999\n")
    rival = f"{daemon.pid}\n"

    def slow(pid: int, path_: str) -> str:
        monkeypatch.setattr(pidfile, "why_not", why_not)
        (tmp_path / "rival").rename(path)
        return "dead"

    monkeypatch.setattr(pidfile, "why_not", slow)
    assert running(str(path), LOG) == daemon.pid
    assert path.read_text() == rival


RACE = """
import time
from pyteamd.daemon.pid_file import PidFile, running
path = sys.argv[1] + "/pid"
for round in range(24):
    with open(path, "w") as file:
        file.write(["99999", "junk", "0", ""][round % 4])
    if round % 5 == 4:
        os.unlink(path)
    result, tell = os.pipe()
    wait, end = os.pipe()
    start = time.monotonic() + 0.005
    children = []
    for _ in range(6):
        if child := os.fork():
            children.append(child)
            continue
        os.close(end)
        while time.monotonic() < start:
            pass
        mine = PidFile(path)
        try:
            won = not running(path, log)
            if won:
                mine.create()
        except FileExistsError:
            won = False
        os.write(tell, f"{os.getpid()} {won};".encode())
        os.read(wait, 1)
        if not won:
            mine.remove()
        os._exit(0)
    told = ""
    while told.count(";") < len(children):
        told += os.read(result, 1000).decode()
    winners = [words.split()[0] for words in told.split(";") if words.endswith("True")]
    assert winners == [open(path).read().strip()], (round, told, open(path).read())
    os.close(end)
    for child in children:
        os.waitpid(child, 0)
    assert winners == [open(path).read().strip()]
    for descriptor in (result, tell, wait):
        os.close(descriptor)
assert os.listdir(sys.argv[1]) == ["pid"]
"""


@pytest.mark.slow
def test_of_daemons_that_start_at_once_one_gets_the_file(tmp_path: Path) -> None:
    done = script(RACE, str(tmp_path), "teamd")
    assert (done.returncode, [line for line in done.stderr.splitlines() if "PID file" not in line]) == (0, [])


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    old = os.umask(0o077)
    PidFile(f"{tmp_path}/pid").create()
    os.umask(old)
    assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_kill_gives_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = [
        sys.executable,
        "-c",
        f"import signal; signal.signal(15, signal.SIG_IGN)\n{DAEMON}",
    ]
    with subprocess.Popen([*command, f"{tmp_path}/pid"], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        assert kill(f"{tmp_path}/pid", LOG, timeout_s=0.05) == 1
        assert caplog.messages == [f"Failed to kill daemon: {os.strerror(errno.ETIME)}"]
        stubborn.send_signal(signal.SIGKILL)


# -- service manager ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "/x"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000"}, 1.5),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "\u00b2"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_USEC": "3000000"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], interval_s: float | None) -> None:
    assert Notifier(environ).watchdog_s == interval_s


def test_a_missing_manager_is_no_error() -> None:
    Notifier({}).send(READY="1")
    Notifier({"NOTIFY_SOCKET": "/nonexistent/socket"}).send(READY="1")


def test_it_never_fails(tmp_path: Path) -> None:
    """Not without a file to open, nor with words that are no text."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/manager")
        notifier = Notifier({"NOTIFY_SOCKET": f"{tmp_path}/manager"})
        notifier.send(STATUS="eth\udcff")
        assert manager.recv(100) == rb"STATUS=eth\udcff"
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
        try:
            notifier.send(WATCHDOG="1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    Notifier({"NOTIFY_SOCKET": "@pyteamd-nobody"}).send(READY="1")


# -- limits ------------------------------------------------------------------------------------------------------------

LIMITED = """
import resource
from pyteamd.cli.pyteamd import main as cli
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
code = cli.main(["pyteamd", *sys.argv[2:], "-l", "stderr"], sys.argv[1] + "/")
print(code, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "soft", "hard", "after", "warned"),
    [
        (["serve", "/nonexistent"], 100, 8192, 8192, False),
        (["serve", "/nonexistent"], 100, 2000, 2000, True),
        (["-t", "lo"], 100, 2000, 2000, False),
    ],
)
def test_files_that_may_be_open(
    tmp_path: Path, words: list[str], soft: int, hard: int, after: int, warned: bool
) -> None:
    """Neither comes as far as a device: there is no such file, and lo is no team."""
    done = script(LIMITED.format(soft=soft, hard=hard), str(tmp_path), *words)
    assert done.stdout == f"1 {after} {hard}\n"
    told = [line for line in done.stderr.splitlines() if "files can be open" in line]
    assert [line.startswith(f"Only {after} ") for line in told] == [True] * warned


@pytest.mark.slow
@pytest.mark.parametrize("files", [8, 14, 31])
@pytest.mark.parametrize("words", [["serve", "/nonexistent"], ["-t", "team0", "-c", "{}"]])
def test_too_few_files_are_no_bug_of_ours(tmp_path: Path, words: list[str], files: int) -> None:
    done = script(LIMITED.format(soft=files, hard=files), str(tmp_path), *words)
    assert done.stdout == f"1 {files} {files}\n"
    assert "No team can start with less than 32 open files." in done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_background_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    done = script(LIMITED.format(soft=4, hard=4), str(tmp_path), "-d", "-t", "team0", "-c", "{}")
    assert done.stdout == "1 4 4\n"
    assert done.stderr == f"Going to the background: {os.strerror(errno.EMFILE)}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_reload_asked_for_at_the_very_end_ends_nobody() -> None:
    """What nobody read is delivered again when the receiver is closed."""
    code = """
import signal, trio
from pyteamd.daemon.service import receive_signals
async def main():
    with receive_signals():
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
trio.run(main)
print("went on")
"""
    assert script(code).stdout == "went on\n"
