"""Starts of the daemon that fail on the real driver, and where its log goes."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from daemon_process import (
    TEXT,
    Foreground,
    ip,
    link,
    links,
    pyteamd,
    start,
)
from lab_kit import RUN_DIR

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="start, arguments, syslog")]
autouse = pytest.fixture(autouse=True)(links)


# -- starts that fail --------------------------------------------------------------------------------------------------


def failure(*arguments: str) -> list[str]:
    """What is said in the foreground and, with teamd's two lines at the end, in the background; the exit code is 1 in both."""
    done = pyteamd(*arguments)
    assert done.returncode == 1
    background = pyteamd("-d", *arguments)
    assert background.returncode == 1
    *said, last = done.stderr.splitlines()
    *told, failed, reason = background.stderr.splitlines()
    assert (failed, reason) == ("Daemon process failed.", last)
    assert told
    assert told == [line for line in said if line in told]
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


def test_a_port_that_is_up_is_waited_for() -> None:
    ip("link set eth2 up")
    done = pyteamd("-d", "-c", TEXT)
    assert done.returncode == 0
    assert "eth2: not added: it is up; it joins when it is down (ip link set eth2 down)" in done.stderr.splitlines()
    eth1, eth2 = link("eth1"), link("eth2")
    assert eth1 is not None
    assert eth2 is not None
    assert eth1["master"] == "team0"
    assert "master" not in eth2
    assert pyteamd("-k", "-t", "team0").returncode == 0


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
    assert done.returncode == 78, "a wrong configuration: systemd need not try again"
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
    assert any(line.startswith("<30>") and line.endswith("Got SIGINT, SIGQUIT or SIGTERM.") for line in lines)
