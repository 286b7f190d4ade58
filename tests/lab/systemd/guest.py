"""For stories inside the systemd world: commands, waiting, nmcli, and a peer namespace; Debian's own Python, no packages."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PEER = "peer"
ECHO, ECHO_REPLY = 8, 0
LAST_ANSWER_S = 2.0
"""How long the last answer is waited for."""
NLMSG, NLATTR = struct.Struct("=LHHLL"), struct.Struct("=HH")
RTMGRP_LINK, RTM_NEWLINK = 1, 16
IFINFO_LEN = 16
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER = 1, 3, 10
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


def output_of(command: str) -> str:
    """Standard output of a command that may not fail; what it said besides is told when it does."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


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


def is_locked(pid: int) -> bool:
    """Whether the memory of a process stays, whatever else needs some."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmLck:")[2].split()[0]) > 0


def say(text: str) -> None:
    """A line for the host, with the seconds since the guest was booted."""
    print(f"[{time.monotonic():6.1f}] {text}", flush=True)


def cables(count: int = 2, managed: bool = True) -> None:
    """em1, em2, … here, their other ends in a bridge with 192.0.2.1 in a namespace of its own. `managed` by NetworkManager."""
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
    """A stream of echo requests to the peer, and what the kernel announces of the team's links meanwhile, in the order in which both came.

    One thread does both, so that for each request it is known whether its answer was due: not while the team is between two ports.
    """

    def __init__(self, interval_s: float = 0.05) -> None:
        self._interval_s = interval_s
        self._echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._echo.setblocking(False)
        self._links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._links.setblocking(False)
        self._links.bind((0, RTMGRP_LINK))
        self._identity = os.getpid() & 0xFFFF
        self._sent: list[float] = []
        self._answered: set[int] = set()
        self.changes: list[tuple[int, str]] = []
        """(requests sent before, "NAME ADDRESS in MASTER") of each link that the kernel announced with another address or master."""
        self._known: dict[str, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """(sent, received); answers are waited for."""
        self._end.set()
        self._thread.join()
        return len(self._sent), len(self._answered)

    def lost(self) -> list[int]:
        """The numbers of those without an answer."""
        return [number for number in range(len(self._sent)) if number not in self._answered]

    def seconds(self, numbers: Sequence[int]) -> float:
        """From the request before the first of these to the one behind the last: at most so long was nothing answered."""
        return (numbers[-1] - numbers[0] + 2) * self._interval_s if numbers else 0.0

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._end.is_set():
            self._read(due_s)
            self._send()
            due_s = max(due_s + self._interval_s, time.monotonic())
        self._read(time.monotonic() + LAST_ANSWER_S)
        self._echo.close()
        self._links.close()

    def _send(self) -> None:
        head = struct.pack("!BBHHH", ECHO, 0, 0, self._identity, len(self._sent))
        total = sum(struct.unpack("!4H", head))
        head = struct.pack("!BBHHH", ECHO, 0, ~(total + (total >> 16)) & 0xFFFF, self._identity, len(self._sent))
        self._sent.append(time.monotonic())
        with contextlib.suppress(OSError):  # no route while the address is away: not answered
            self._echo.sendto(head, ("192.0.2.1", 0))

    def _read(self, until_s: float) -> None:
        """Take what comes until then, and what is there already: nothing is sent before that is read."""
        while ready := select.select([self._echo, self._links], [], [], max(0.0, until_s - time.monotonic()))[0]:
            if self._links in ready:
                with contextlib.suppress(OSError):  # overrun: the next message tells
                    self._announced(self._links.recv(1 << 16))
            if self._echo in ready:
                packet = self._echo.recv(2048)[20:]  # behind the IP header
                kind, identity, number = packet[0], *struct.unpack("!HH", packet[4:8])
                if (kind, identity) == (ECHO_REPLY, self._identity):
                    self._answered.add(number)

    def _announced(self, data: bytes) -> None:
        """RTM_NEWLINK messages: struct ifinfomsg, then attributes, each with its length and type."""
        while len(data) >= NLMSG.size:
            length, kind = NLMSG.unpack_from(data)[:2]
            if kind == RTM_NEWLINK:
                self._link(dict(attributes(data[NLMSG.size + IFINFO_LEN : length])))
            data = data[length + 3 & ~3 :]

    def _link(self, found: dict[int, bytes]) -> None:
        name = found[IFLA_IFNAME].rstrip(b"\0").decode()
        master = int.from_bytes(found.get(IFLA_MASTER, b""), "little")
        text = f"{name} {found.get(IFLA_ADDRESS, b'').hex(':')} in {master}"
        if self._known.get(name) != text:
            self._known[name] = text
            self.changes.append((len(self._sent), text))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each netlink attribute."""
    while len(data) >= NLATTR.size:
        length, kind = NLATTR.unpack_from(data)
        yield kind & 0x3FFF, data[NLATTR.size : length]
        data = data[max(length, NLATTR.size) + 3 & ~3 :]
