"""For tests of the daemon as a process: links, the program, the original's client, and what the kernel announces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_kit import RUN_DIR, runs, wait_for

PID_FILE = RUN_DIR / "team0.pid"
SOCKET = RUN_DIR / "team0.sock"
DAEMON = [sys.executable, "-m", "pyteamd"]
ACTIVE_BACKUP = {"device": "team0", "runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}}
TEXT = json.dumps(ACTIVE_BACKUP)
END_S = 120.0
"""A program that ends takes a second or two; where three guests share a processor, half a minute was seen."""


def links() -> Iterator[None]:
    """A fixture: eth1 and eth2 with their far ends p1 and p2, which are up; everything is gone afterwards, daemons too."""
    for number in "12":
        ip(f"link add eth{number} type veth peer name p{number}")
        ip(f"link set p{number} up")
    yield
    for path in RUN_DIR.glob("*.pid"):
        pid = int(path.read_text() or 0)
        if pid and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not runs(pid))
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
    return subprocess.run([*DAEMON, *arguments], capture_output=True, text=True, check=False, timeout=END_S, **settings)


def teamdctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The original's client."""
    return subprocess.run(["teamdctl", "team0", *arguments], capture_output=True, text=True, check=False, timeout=END_S)


def item(path: str) -> str:
    """An item of the state."""
    return teamdctl("state", "item", "get", path).stdout.strip()


def start(*arguments: str) -> int:
    """Start in the background; returns the process number."""
    done = pyteamd("-d", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
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
        out, err = self.process.communicate(timeout=END_S)
        return self.process.returncode, out, err


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
        out, _ = self._monitor.communicate(timeout=END_S)
        return [line.strip() for line in out.splitlines() if line.endswith(" changed")]

    def __exit__(self, *exc: object) -> None:
        self._monitor.kill()
        self._monitor.wait()
