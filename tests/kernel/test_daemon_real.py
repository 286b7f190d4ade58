"""The daemon as a process on a real team driver, driven by the original's client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

RUN_DIR = Path("/run/teamd")
PID_FILE = RUN_DIR / "team0.pid"
SOCKET = RUN_DIR / "team0.sock"
DAEMON = [sys.executable, "-m", "pyteamd"]
ACTIVE_BACKUP = {"device": "team0", "runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}}
TEXT = json.dumps(ACTIVE_BACKUP)
TIMEOUT_S = 10.0


@pytest.fixture(autouse=True)
def links() -> Iterator[None]:
    """eth1 and eth2 with their far ends p1 and p2, which are up; everything is gone afterwards, daemons too."""
    for number in "12":
        ip(f"link add eth{number} type veth peer name p{number}")
        ip(f"link set p{number} up")
    yield
    for path in RUN_DIR.glob("*.pid"):
        pid = int(path.read_text() or 0)
        if pid and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not alive(pid))
    for path in RUN_DIR.glob("*"):
        path.unlink()
    for name in ("team0", "team1", "eth1", "eth2"):
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


def ip(line: str) -> None:
    """`ip LINE`."""
    subprocess.run(["ip", *line.split()], check=True)


def link(name: str) -> dict[str, Any] | None:
    """`ip -j -d link show NAME`, None without such a link."""
    done = subprocess.run(["ip", "-j", "-d", "link", "show", name], capture_output=True, text=True, check=False)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def pyteamd(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run([*DAEMON, *arguments], capture_output=True, text=True, check=False, timeout=30, **settings)


def teamdctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The original's client."""
    return subprocess.run(["teamdctl", "team0", *arguments], capture_output=True, text=True, check=False, timeout=30)


def item(path: str) -> str:
    """An item of the state."""
    return teamdctl("state", "item", "get", path).stdout.strip()


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    """Until it holds, at most TIMEOUT_S."""
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def start(*arguments: str) -> int:
    """Start in the background; returns the process number."""
    done = pyteamd("-d", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return int(PID_FILE.read_text())


class Foreground:
    """A daemon in the foreground; its log is read at the end."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        environment = {**os.environ, **(env or {})}
        self.process = subprocess.Popen(
            [*DAEMON, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def wait_until_ready(self) -> None:
        """Until the client gets a state."""
        wait_for(lambda: teamdctl("state", "dump").returncode == 0)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Signal it; exit code, stdout, stderr."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


# -- start and end -----------------------------------------------------------------------------------------------------


def test_the_background_is_ready_when_the_foreground_returns() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    state = json.loads(teamdctl("state", "dump").stdout)
    assert sorted(state["ports"]) == ["eth1", "eth2"]
    assert state["runner"] == {"active_port": "eth1"}
    assert state["setup"]["daemonized"] is True
    assert state["setup"]["pid"] == pid
    assert state["setup"]["pid_file"] == "/var/run/teamd/team0.pid"
    assert (PID_FILE.stat().st_mode & 0o777, SOCKET.stat().st_mode & 0o777) == (0o644, 0o700)
    assert PID_FILE.read_text() == f"{pid}\n"


def test_a_daemon_has_no_terminal_no_directory_and_no_files_of_its_parent() -> None:
    with open("/etc/hostname") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        done = subprocess.run([*DAEMON, "-d", "-c", TEXT], close_fds=False, check=False)
        assert done.returncode == 0
    pid = int(PID_FILE.read_text())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    parent, session, terminal = int(fields[1]), int(fields[3]), int(fields[4])
    assert parent == 1
    assert session not in (pid, os.getsid(0))
    assert terminal == 0
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert targets.count("/dev/null") == 3
    assert "/etc/hostname" not in targets
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Umask:\t0077" in status


def test_it_can_be_found_by_its_command_line() -> None:
    """The kernel's own test looks for `teamd -d -f FILE`."""
    Path("/tmp/team0.conf").write_text(TEXT)
    pid = start("-f", "/tmp/team0.conf")
    found = subprocess.run(["pgrep", "-f", "teamd -d -f /tmp/team0.conf"], capture_output=True, text=True, check=True)
    assert str(pid) in found.stdout.split()


def test_check_and_kill() -> None:
    assert pyteamd("-e", "-t", "team0").returncode == 1
    assert pyteamd("-k", "-t", "team0").returncode == 1
    pid = start("-c", TEXT)
    assert pyteamd("-e", "-t", "team0").returncode == 0
    assert subprocess.run(["teamd", "-e", "-t", "team0"], check=False).returncode == 0, "the original sees it, too"
    again = pyteamd("-t", "team0")
    assert again.returncode == 1
    assert again.stderr == f"Daemon already running on PID {pid}.\nFailed: File exists\n"
    killed = pyteamd("-k", "-t", "team0")
    assert (killed.returncode, killed.stderr) == (0, "")
    assert not alive(pid)
    assert link("team0") is None
    assert list(RUN_DIR.iterdir()) == []


def test_the_original_kills_it() -> None:
    pid = start("-c", TEXT)
    assert subprocess.run(["teamd", "-k", "-t", "team0"], check=False).returncode == 0
    assert not alive(pid)
    assert list(RUN_DIR.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals(number: int) -> None:
    daemon = Foreground("-c", TEXT)
    daemon.wait_until_ready()
    daemon.process.send_signal(signal.SIGHUP)
    code, out, err = daemon.end(number)
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0].endswith(" successfully started.") or "successfully started." in err
    assert "Got SIGINT, SIGQUIT or SIGTERM." in lines
    assert lines[-1] == "Exiting..."
    assert link("team0") is None


def test_keep_and_take_over_write_nothing() -> None:
    start("-N", "-c", TEXT)
    ip("link set team0 up")
    before = options()
    assert pyteamd("-k", "-t", "team0").returncode == 0
    assert options() == before
    eth1 = link("eth1")
    assert eth1 is not None
    assert eth1["master"] == "team0"
    with Events() as events:
        start("-o", "-N", "-n", "-c", TEXT)
        assert item("runner.active_port") == "eth1"
        assert options() == before
        assert pyteamd("-k", "-t", "team0").returncode == 0
        assert events.seen() == []


def options() -> str:
    """All options as the original's teamnl shows them."""
    return subprocess.run(["teamnl", "team0", "options"], capture_output=True, text=True, check=True).stdout


class Events:
    """Changes of options as the kernel announces them, seen by the original's tool."""

    def __enter__(self) -> Events:
        command = ["stdbuf", "-oL", "teamnl", "team0", "monitor", "changed"]
        self._monitor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        return self

    def seen(self) -> list[str]:
        """The changed options so far; ends the monitor."""
        time.sleep(0.2)
        self._monitor.send_signal(signal.SIGINT)
        out, _ = self._monitor.communicate(timeout=5)
        return [line.strip() for line in out.splitlines() if line.endswith(" changed")]

    def __exit__(self, *exc: object) -> None:
        self._monitor.kill()
        self._monitor.wait()


def test_a_write_would_have_been_seen() -> None:
    start("-c", TEXT)
    with Events() as events:
        teamdctl("state", "item", "set", "runner.active_port", "eth2")
        assert any("activeport" in line for line in events.seen())


def test_a_killed_daemon_is_taken_over_without_a_write() -> None:
    pid = start("-c", TEXT)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    assert SOCKET.exists()
    before = options()
    with Events() as events:
        done = pyteamd("-d", "-o", "-c", TEXT)
        assert done.returncode == 0
        assert f"Process {pid} died: No such process; trying to remove PID file." in done.stderr
        assert options() == before
        assert events.seen() == []


def test_a_device_deleted_by_somebody_else_ends_it_well() -> None:
    daemon = Foreground("-c", TEXT)
    daemon.wait_until_ready()
    ip("link del team0")
    code, _, err = daemon.wait()
    assert code == 0
    assert "Team device removal detected." in err
    assert list(RUN_DIR.iterdir()) == []


def test_the_first_free_name_is_taken() -> None:
    ip("link add team0 type dummy")
    daemon = Foreground()
    wait_for((RUN_DIR / "team1.sock").exists)
    wait_for(lambda: link("team1"))
    assert daemon.end()[0] == 0


# -- starts that fail --------------------------------------------------------------------------------------------------


def failure(*arguments: str) -> list[str]:
    """What is said in the foreground, and that the exit code is 1 there and in the background."""
    done = pyteamd(*arguments)
    assert done.returncode == 1
    background = pyteamd("-d", *arguments)
    assert background.returncode == 1
    assert background.stderr.splitlines() == ["Daemon process failed.", done.stderr.splitlines()[-1]]
    assert list(RUN_DIR.iterdir()) == []
    return done.stderr.splitlines()


def test_an_existing_device() -> None:
    ip("link add team0 type team")
    lines = failure("-c", TEXT)
    assert lines[0] == "Failed to create team device."
    assert lines[-2:] == ["teamd_init() failed.", "Failed: File exists"]
    assert link("team0") is not None


def test_something_else_of_that_name() -> None:
    ip("link add team0 type dummy")
    assert failure("-o", "-c", TEXT)[-1] == "Failed: Invalid argument"
    assert link("team0") is not None


def test_a_port_that_is_up() -> None:
    ip("link set eth2 up")
    lines = failure("-c", TEXT)
    assert lines[-1] == "Failed: Device or resource busy"
    assert any("eth2" in line for line in lines)
    assert link("team0") is None


def test_ports_in_another_mode() -> None:
    ip("link add team0 type team")
    subprocess.run(["teamnl", "team0", "setoption", "mode", "roundrobin"], check=True)
    ip("link set eth1 master team0")
    assert failure("-o", "-c", TEXT)[-1] == "Failed: Device or resource busy"
    eth1 = link("eth1")
    assert eth1 is not None
    assert eth1["master"] == "team0"


def test_an_unknown_runner() -> None:
    done = pyteamd("-t", "team0", "-c", '{"runner":{"name":"bogus"}}')
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Failed to load config."
    assert link("team0") is None


def test_a_pid_file_that_cannot_be_made() -> None:
    done = pyteamd("-p", "/nonexistent/x.pid", "-t", "team0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == [
        "open(/nonexistent/x.pid): No such file or directory",
        "Could not create PID file.",
    ]


def test_recreate() -> None:
    ip("link add team0 type dummy")
    start("-r", "-c", TEXT)
    team0 = link("team0")
    assert team0 is not None
    assert team0["linkinfo"]["info_kind"] == "team"


# -- log ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "env", "sink"), [((), "", 2), (("-l", "stdout"), "", 1), ((), "stdout", 1)])
def test_log_output(arguments: tuple[str, ...], env: str, sink: int) -> None:
    daemon = Foreground(*arguments, "-c", TEXT, env={"TEAM_LOG_OUTPUT": env})
    daemon.wait_until_ready()
    result = daemon.end()
    assert "successfully started." in str(result[sink])
    assert "successfully started." not in str(result[3 - sink])


def test_syslog() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("/dev/log")
        receiver.settimeout(5)
        try:
            pid = start("-c", TEXT)
            assert pyteamd("-k", "-t", "team0").returncode == 0
            lines = []
            while not lines or "Exiting..." not in lines[-1]:
                lines.append(receiver.recv(4096).decode())
        finally:
            os.unlink("/dev/log")
    assert any(line.startswith("<30>") and f" pyteamd_team0[{pid}]: " in line for line in lines)
    assert any(line.endswith(" successfully started.") for line in lines)
    assert any(line.startswith("<28>") and line.endswith("Got SIGINT, SIGQUIT or SIGTERM.") for line in lines)


# -- the original's client ---------------------------------------------------------------------------------------------


def test_the_client_drives_it() -> None:
    start("-c", TEXT)
    assert teamdctl("port", "present", "eth1").returncode == 0
    assert teamdctl("port", "remove", "eth1").returncode == 0
    assert teamdctl("port", "present", "eth1").returncode == 1
    assert item("runner.active_port") == "eth2"
    assert teamdctl("port", "add", "eth1").returncode == 0
    assert teamdctl("port", "present", "eth1").returncode == 0
    assert teamdctl("state", "item", "set", "runner.active_port", "eth1").returncode == 0
    wait_for(lambda: item("runner.active_port") == "eth1")
    assert teamdctl("port", "config", "update", "eth1", '{"prio": 3}').returncode == 0
    assert json.loads(teamdctl("port", "config", "dump", "eth1").stdout) == {"prio": 3}
    assert json.loads(teamdctl("config", "dump").stdout)["ports"]["eth1"] == {"prio": 3}
    assert teamdctl("port", "add", "nosuch").returncode == 1


def test_fail_over() -> None:
    daemon = Foreground("-c", TEXT)
    daemon.wait_until_ready()
    assert item("runner.active_port") == "eth1"
    ip("link set p1 down")
    wait_for(lambda: item("runner.active_port") == "eth2")
    ip("link set p1 up")
    wait_for(lambda: item("ports.eth1.link_watches.up") == "true")
    assert item("runner.active_port") == "eth2"
    ip("link set p2 down")
    wait_for(lambda: item("runner.active_port") == "eth1")
    _, _, err = daemon.end()
    changes = [line for line in err.splitlines() if line.startswith("Changed active port")]
    assert changes[:3] == [f'Changed active port to "eth{number}".' for number in (1, 2, 1)]


def test_it_is_small_and_without_what_it_does_not_need() -> None:
    pid = start("-c", TEXT)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) <= 30 * 1024
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert "_asyncio" not in mapped
