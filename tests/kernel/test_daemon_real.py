"""The daemon as a process on a real team driver: start, end, take-over, and the original's client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from daemon_process import (
    DAEMON,
    PID_FILE,
    SOCKET,
    TEXT,
    Events,
    Foreground,
    ip,
    item,
    link,
    links,
    options,
    pyteamd,
    start,
    teamdctl,
)
from lab_kit import RUN_DIR, runs, wait_for, wait_to_be

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="signals, pid file, exit")]
autouse = pytest.fixture(autouse=True)(links)


# -- start and end -----------------------------------------------------------------------------------------------------


def test_the_background_is_ready_when_the_foreground_returns() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    state = json.loads(teamdctl("state", "dump").stdout)
    assert sorted(state["ports"]) == ["eth1", "eth2"]
    wait_to_be(lambda: item("runner.active_port"), "eth1")  # the kernel may tell of a new link's carrier a moment later
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
    assert not runs(pid)
    assert link("team0") is None
    assert list(RUN_DIR.iterdir()) == []


def test_the_original_kills_it() -> None:
    pid = start("-c", TEXT)
    assert subprocess.run(["teamd", "-k", "-t", "team0"], check=False).returncode == 0
    assert not runs(pid)
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
    carrier = Path("/sys/class/net/team0/carrier")
    carrier.write_text("0")
    start("-o", "-c", TEXT)
    wait_for(lambda: carrier.read_text() == "1\n")
    for far_end in ("p1", "p2"):
        ip(f"link set {far_end} down")
    wait_for(lambda: carrier.read_text() == "0\n")


def test_a_write_would_have_been_seen() -> None:
    start("-c", TEXT)
    with Events() as events:
        teamdctl("state", "item", "set", "runner.active_port", "eth2")
        assert any("activeport" in line for line in events.seen())


def test_a_killed_daemon_is_taken_over_without_a_write() -> None:
    """Also where the name of a host has to be looked up before the active port can join."""
    watchers = [{"name": "ethtool"}, {"name": "arp_ping", "target_host": "localhost", "missed_max": 100}]
    config = json.loads(TEXT)
    config["ports"]["eth1"] |= {"prio": 10, "link_watch": watchers}
    text = json.dumps(config)
    pid = start("-c", text)
    wait_for(lambda: item("runner.active_port") == "eth1")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(pid))
    assert SOCKET.exists()
    before = options()
    with Events() as events:
        done = pyteamd("-d", "-o", "-c", text)
        assert done.returncode == 0
        assert f"Process {pid} died: No such process; trying to remove PID file." in done.stderr
        assert options() == before
        assert events.seen() == []


def test_a_killed_daemon_of_one_port_too() -> None:
    """Nothing that was only got ready is ever written: with one port there is nothing that takes its place."""
    config = json.loads(TEXT)
    config["ports"] = {"eth1": {}}
    text = json.dumps(config)
    pid = start("-c", text)
    wait_for(lambda: item("runner.active_port") == "eth1")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(pid))
    with Events() as events:
        assert pyteamd("-d", "-o", "-c", text).returncode == 0
        ip("link set eth2 address 02:00:00:00:00:77")  # something is said, of a link that is no port
        ip("link set eth1 alias first")  # … and of one that is
        assert events.seen() == []


def test_a_port_that_comes_switches_no_other() -> None:
    start("-c", TEXT)
    wait_for(lambda: item("runner.active_port") == "eth1")
    with Events() as events:
        for number in range(3):
            ip(f"link add new{number} type dummy")
            assert teamdctl("port", "add", f"new{number}").returncode == 0
            assert teamdctl("port", "remove", f"new{number}").returncode == 0
            ip(f"link del new{number}")
        seen = events.seen()
    assert [line for line in seen if "eth" in line or "activeport" in line] == [], seen


def test_a_device_deleted_by_another_program_ends_it_well() -> None:
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
