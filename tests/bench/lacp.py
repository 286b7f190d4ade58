"""Scenario: lacp at fast rate on 64 ports of one process, the partner a kernel bond: what it costs, how regular the LACPDUs are.

The far ends of all ports are slaves of one bond in the same namespace, so the partner costs no process. One packet socket keeps what
arrives at the far ends with the kernel's time stamps, and is read when the measurement is over. It listens for everything, for the
bond takes frames of slow protocols from sockets that want only those.

C teamd loses the driver's events while it adds so many ports, and leaves 40 of them without LACP, unless its event socket gets a larger
buffer than the kernel allows by default. A daemon that does not bring all ports into service is therefore started again with that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import failover
import rawnl
from cables import BenchError, peer_of
from pings import SO_RCVBUFFORCE, SO_TIMESTAMPNS, TIMESPEC
from probe import Candidate, Running, make_ports

PORTS = tuple(f"eth{number}" for number in range(1, 65))
INTERVAL_MS = 1000.0
PATIENCE_S = 20.0
SETTLE_S = 4.0
CONFIG = {
    "device": failover.DEVICE,
    "runner": {"name": "lacp", "active": True, "fast_rate": True, "tx_hash": ["eth", "ipv4", "ipv6"]},
    "link_watch": {"name": "ethtool"},
    "ports": {name: {} for name in PORTS},
}
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
ETH_P_SLOW = b"\x88\x09"
STATE_AT = 14 + 2 + 16
IN_SERVICE = 0x3F

LARGEST_BUFFER = Path("/proc/sys/net/core/rmem_max")
BUFFER_SETTING = "TEAM_EVENT_BUFSIZE"
BUFFER = 1 << 25

Samples = dict[str, dict[str, list[float]]]


class Listener:
    """Keeps every LACPDU that arrives at a far end."""

    def __init__(self, ends: Sequence[str]) -> None:
        self._ends = frozenset(ends)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)

    def heard(self) -> dict[str, list[tuple[float, int]]]:
        """Times in ms and actor states of the LACPDUs since the last call, by far end."""
        found: dict[str, list[tuple[float, int]]] = defaultdict(list)
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, ancillary, _, address = self._socket.recvmsg(64, 64)
                if address[0] in self._ends and octets[12:14] == ETH_P_SLOW:
                    seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2][: TIMESPEC.size])
                    found[address[0]].append((seconds * 1e3 + nanoseconds / 1e6, octets[STATE_AT]))
        return found

    def close(self) -> None:
        self._socket.close()


def run(candidates: Sequence[Candidate], plan: failover.Plan) -> Samples:
    """Measure every candidate that is a daemon for `plan.idle_s`; the answer is candidate → quantity → samples."""
    route = rawnl.Route()
    make_ports(route, PORTS)
    _ip("link add bond0 type bond mode 802.3ad lacp_rate fast miimon 100")
    for name in PORTS:
        _ip(f"link set {peer_of(name)} down")
        _ip(f"link set {peer_of(name)} master bond0")
    _ip("link set bond0 up")
    found: Samples = {}
    for candidate in candidates:
        if failover.bare(candidate):
            continue  # it knows one thing, and LACP is not it
        size = 0
        with _buffer(size):
            measured = _measure(candidate, route, plan.idle_s)
        if measured["lacp_ports_in_service"] != [len(PORTS)]:
            print(
                f"lacp: {candidate.name}: {measured['lacp_ports_in_service'][0]:g} of {len(PORTS)} ports, again",
                flush=True,
            )
            size = BUFFER
            with _buffer(size):
                measured = _measure(candidate, route, plan.idle_s)
        found[candidate.name] = {**measured, "lacp_event_buffer_mb": [size / (1 << 20)]}
        print(f"lacp: {candidate.name}, {len(PORTS)} ports, {plan.idle_s:g} s", flush=True)
    _ip("link del bond0")
    return found


@contextlib.contextmanager
def _buffer(size: int) -> Iterator[None]:
    """What is started meanwhile has so large a buffer for the driver's events; 0 for its own choice."""
    before = LARGEST_BUFFER.read_text()
    if size:
        LARGEST_BUFFER.write_text(str(size))
        os.environ[BUFFER_SETTING] = str(size)
    try:
        yield
    finally:
        LARGEST_BUFFER.write_text(before)
        os.environ.pop(BUFFER_SETTING, None)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def _settle(listener: Listener) -> int:
    """Wait until the last word on every port is that it is in service. Returns on how many it is, should they never get there."""
    until_s = time.monotonic() + PATIENCE_S
    serving = 0
    while serving < len(PORTS) and time.monotonic() < until_s:
        listener.heard()
        time.sleep(SETTLE_S)
        serving = sum(told[-1][1] == IN_SERVICE for told in listener.heard().values())
    return serving


def _end(daemon: Running, route: rawnl.Route) -> None:
    """In good order, or, when a daemon is too busy to notice that it is to end, otherwise."""
    try:
        daemon.stop(route)
    except BenchError as problem:
        print(f"lacp: {problem}", flush=True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon.pid, signal.SIGKILL)
        subprocess.run(["ip", "link", "del", failover.DEVICE], check=False, stderr=subprocess.DEVNULL)
        for rest in Path("/run/teamd").iterdir():
            rest.unlink()


def _measure(candidate: Candidate, route: rawnl.Route, watched_s: float) -> dict[str, list[float]]:
    listener = Listener([peer_of(name) for name in PORTS])
    daemon = Running(candidate, CONFIG)
    _ip(f"link set {failover.DEVICE} up")
    serving = _settle(listener)
    time.sleep(failover.AFTER_START_S)
    listener.heard()
    before_ms, woken, began_s = daemon.cpu_ms(), daemon.wakeups(), time.monotonic()
    time.sleep(watched_s)
    spent_ms, took_s = daemon.cpu_ms() - before_ms, time.monotonic() - began_s
    wakeups = daemon.wakeups() - woken
    heard = listener.heard()
    listener.close()
    _end(daemon, route)
    off_ms = [
        abs(later - earlier - INTERVAL_MS)
        for told in heard.values()
        for (earlier, _), (later, _) in itertools.pairwise(told)
    ]
    if not off_ms:
        raise BenchError(f"{candidate.name}: no LACPDUs on any of {len(PORTS)} ports")
    return {
        "lacp_ports_in_service": [float(serving)],
        "lacp_cpu_ms_per_s": [spent_ms / took_s],
        "lacp_wakeups_per_s": [wakeups / took_s],
        "lacpdu_off_ms": off_ms,
        "lacpdus_per_s": [sum(len(told) for told in heard.values()) / took_s],
    }
