"""Scenario: loadbalance over 64 ports, each pinged by ARP every 100 ms and answered at once: what it costs, how punctual the probes are.

The far ends of all ports are in the same namespace, where one address on the loopback device answers the probes of every port.
One packet socket on all far ends keeps the probes with the kernel's time stamps; it is read when the measurement is over, so that
reading does not compete with the daemon. A daemon that does not send half of its probes has failed.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence

import failover
import rawnl
from cables import BenchError, peer_of
from probe import Candidate, Running, make_ports

PORTS = tuple(f"eth{number}" for number in range(1, 65))
INTERVAL_MS = 100
SETTLE_S = 3.0
PATIENCE_S = 30.0
LEAST_SHARE = 0.5
"""Of the probes that are due."""
CONFIG = {
    "device": failover.DEVICE,
    "runner": {"name": "loadbalance"},
    "link_watch": {
        "name": "arp_ping",
        "interval": INTERVAL_MS,
        "missed_max": 5,
        "source_host": "192.0.2.2",
        "target_host": "192.0.2.1",
    },
    "ports": {name: {} for name in PORTS},
}
ETH_P_ARP = 0x0806
REQUEST = b"\0\1"
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
TIMESPEC = struct.Struct("=qq")

Samples = dict[str, dict[str, list[float]]]


class Listener:
    """Keeps every ARP request that arrives at a far end."""

    def __init__(self, ends: Sequence[str]) -> None:
        self._ends = frozenset(ends)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)

    def probes(self) -> dict[str, list[float]]:
        """Times in ms of the probes since the last call, by far end."""
        found: dict[str, list[float]] = defaultdict(list)
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, ancillary, _, address = self._socket.recvmsg(64, 64)
                if address[0] in self._ends and octets[20:22] == REQUEST:
                    seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2][: TIMESPEC.size])
                    found[address[0]].append(seconds * 1e3 + nanoseconds / 1e6)
        return found

    def close(self) -> None:
        self._socket.close()


def run(candidates: Sequence[Candidate], plan: failover.Plan) -> Samples:
    """Measure every candidate that is a daemon for `plan.idle_s`; the answer is candidate → quantity → samples."""
    route = rawnl.Route()
    make_ports(route, PORTS)
    subprocess.run(["ip", "addr", "replace", "192.0.2.1/32", "dev", "lo"], check=True)
    found: Samples = {}
    for candidate in candidates:
        if failover.bare(candidate):
            continue  # it knows one thing, and pinging is not it
        found[candidate.name] = _measure(candidate, route, plan.idle_s)
        print(f"pings: {candidate.name}, {len(PORTS)} ports, {plan.idle_s:g} s", flush=True)
    return found


def _settle(listener: Listener) -> None:
    """Wait until the work of the start is done: nearly all probes are sent. A daemon that never gets there is measured as it is."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        listener.probes()
        began_s = time.monotonic()
        time.sleep(SETTLE_S)
        due = len(PORTS) * (time.monotonic() - began_s) * 1000 / INTERVAL_MS
        if sum(len(times) for times in listener.probes().values()) > 0.95 * due:
            return


def _measure(candidate: Candidate, route: rawnl.Route, watched_s: float) -> dict[str, list[float]]:
    listener = Listener([peer_of(name) for name in PORTS])
    daemon = Running(candidate, CONFIG)
    _settle(listener)
    before_ms, woken, began_s = daemon.cpu_ms(), daemon.wakeups(), time.monotonic()
    time.sleep(watched_s)
    ended_ms = time.time() * 1e3
    spent_ms, took_s = daemon.cpu_ms() - before_ms, time.monotonic() - began_s
    wakeups = daemon.wakeups() - woken
    # What arrives while we read is late because of that: it keeps the only processor busy.
    probes = {end: [at for at in times if at <= ended_ms] for end, times in listener.probes().items()}
    listener.close()
    daemon.stop(route)
    count = sum(len(times) for times in probes.values())
    due = len(PORTS) * took_s * 1000 / INTERVAL_MS
    if count < LEAST_SHARE * due:
        raise BenchError(f"{candidate.name}: sent {count} probes on {len(probes)} ports, {due:.0f} were due")
    late_ms = [
        max(0.0, later - earlier - INTERVAL_MS)
        for times in probes.values()
        for earlier, later in itertools.pairwise(times)
    ]
    return {
        "ping_cpu_ms_per_s": [spent_ms / took_s],
        "ping_wakeups_per_s": [wakeups / took_s],
        "probe_late_ms": late_ms,
        "probes_per_s": [count / took_s],
    }
