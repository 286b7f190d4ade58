"""For stories inside the systemd world: commands, waiting, nmcli, and a peer name space; Debian's own Python, no packages."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PEER = "peer"
BONDS: list[dict[str, object]] = [
    {
        "device": "team0",
        "runner": {"name": "activebackup", "hwaddr_policy": "by_active"},
        "link_watch": {"name": "ethtool", "delay_up": 200, "delay_down": 300},
        "notify_peers": {"count": 3},
        "mcast_rejoin": {"count": 2},
        "ports": {"em1": {}, "em2": {"prio": 10, "sticky": True}},
    },
    {
        "device": "team0",
        "runner": {"name": "lacp", "fast_rate": True, "tx_hash": ["l3", "l4"], "min_ports": 1, "sys_prio": 77},
        "ports": {"em1": {}, "em2": {}},
    },
    {
        "device": "team0",
        "runner": {"name": "roundrobin"},
        "link_watch": [
            {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 200},
            {"name": "arp_ping", "target_host": "192.0.2.9", "interval": 200},
        ],
        "ports": {"em1": {}, "em2": {}},
    },
]
"""Teams that `pyteamd convert` can write down as bonds."""
TOO_NEW = {"arp_missed_max"}
"""Options that NetworkManager 1.42 and systemd-networkd 252 pass over with a warning; later ones know them."""


def run(command: str, timeout_s: float = 120) -> tuple[int, str]:
    """Exit code and output, stderr included."""
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def must(command: str, timeout_s: float = 120) -> str:
    """Output of a command that may not fail."""
    code, out = run(command, timeout_s)
    assert code == 0, f"{command}: exit code {code}\n{out}"
    return out


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 30) -> float:
    """Poll; returns the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def is_real_time(pid: int) -> bool:
    """Whether the event loop of this daemon has SCHED_RR."""
    return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR


def say(text: str) -> None:
    """A line for the host, with the seconds since the guest was booted."""
    print(f"[{time.monotonic():6.1f}] {text}", flush=True)


def cables(count: int = 2, managed: bool = True) -> None:
    """em1, em2, … here, their other ends in a bridge with 192.0.2.1 in a name space of its own. `managed` by NetworkManager."""
    if Path("/run/netns", PEER).exists():  # the story before this one had its own
        must(f"ip netns del {PEER}")
        wait_for(lambda: "em" not in must("ip -br link show type veth"), "the old cables are gone")
    must(f"ip netns add {PEER} && ip -n {PEER} link add br0 type bridge && ip -n {PEER} link set br0 up")
    must(f"ip -n {PEER} addr add 192.0.2.1/24 dev br0")
    for number in range(1, count + 1):
        must(f"ip link add em{number} address 02:00:00:00:01:{number:02x} type veth peer name p{number}")
        must(f"ip link set p{number} netns {PEER} && ip -n {PEER} link set p{number} master br0 up")
        if managed:
            must(f"nmcli device set em{number} managed yes")


def item(path: str) -> str:
    """An item of the daemon's state, "" when it cannot be had; by C teamdctl, which starts in a tenth of the time here."""
    code, out = run(f"teamdctl.distrib team0 state item get {path}")
    return out if code == 0 else ""


def ports() -> list[str]:
    """The daemon's ports."""
    code, out = run("teamdctl.distrib team0 state dump")
    return sorted(json.loads(out).get("ports", {})) if code == 0 else []


def daemon_pid(team: str = "team0") -> int:
    """The daemon that runs for a team, 0 for none."""
    try:
        pid = int(Path(f"/run/teamd/{team}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if Path(f"/proc/{pid}").exists() else 0


def command_line(pid: int) -> str:
    """How a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def is_ours(pid: int) -> bool:
    """Whether the process is pyteamd and not C teamd."""
    return "python" in command_line(pid).split()[0]


def not_applied(bond: str, options: str) -> dict[str, tuple[str, str]]:
    """Of options as the bonding driver takes them, NAME=VALUE …, those the bond does not have: name → (wanted, found)."""
    wrong = {}
    for word in options.split():
        name, _, wanted = word.partition("=")
        found = Path(f"/sys/class/net/{bond}/bonding/{name}").read_text().split()
        if ",".join(found) != wanted and found[:1] != [wanted]:  # values that are words have their number behind them
            wrong[name] = (wanted, " ".join(found))
    return wrong


class Ping:
    """A stream of echo requests to the peer; how many answers are missing is the result."""

    def __init__(self, interval_s: float = 0.05) -> None:
        self._process = subprocess.Popen(
            ["ping", "-i", str(interval_s), "-W", "2", "192.0.2.1"], stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> tuple[int, int]:
        """(sent, received)."""
        self._process.send_signal(2)
        out = self._process.communicate(timeout=20)[0]
        line = next(line for line in out.splitlines() if "packets transmitted" in line)
        words = line.split()
        return int(words[0]), int(words[3])
