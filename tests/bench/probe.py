"""Instruments of the bench, outside every daemon: starts and stops one, cuts a link, sees the kernel's events.

A cut is done by a process of its own (Cutter), so that this one is already waiting when the event comes. Both take
their time stamps from CLOCK_MONOTONIC, which processes share. The waiting socket has a filter for option events, so
that nothing else wakes us while a daemon is being timed. The event is timed in two ways, see Observer.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rawnl
from cables import BenchError, inside, peer_of

SO_ATTACH_FILTER = 26
COMMAND = struct.Struct("=i")
STAMP = struct.Struct("=q")
CPUCLOCK_SCHED = 2
"""See clock_getcpuclockid(3)."""
POLL_S = 0.01
CUTTER_PRIORITY = 40
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A daemon to measure: `command` is followed by teamd's own options."""

    name: str
    command: tuple[str, ...]


class Observer(enum.Enum):
    """How the process that waits for the event is scheduled.

    ORDINARY sees it as any other program of the machine does: on one CPU not before the daemon goes back to sleep.
    REALTIME wakes the moment the driver sends it, while the daemon may have work left.
    """

    ORDINARY = os.SCHED_OTHER
    REALTIME = os.SCHED_FIFO

    def become(self) -> None:
        """Schedule this process so, but not what it starts."""
        priority = 10 if self is Observer.REALTIME else 0
        os.sched_setscheduler(0, self.value | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


class Cutter:
    """A child process that sets one device down when told to, and remembers when it began.

    `namespace`: where the device is; there, the child is a real-time process.
    """

    def __init__(self, namespace: str = "") -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            with inside(namespace) if namespace else contextlib.nullcontext():
                if namespace:
                    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CUTTER_PRIORITY))
                _serve_cuts(theirs)
            os._exit(0)
        theirs.close()
        self._socket = ours

    def cut(self, ifindex: int) -> None:
        self._socket.send(COMMAND.pack(ifindex))

    def began_ns(self) -> int:
        """When the last cut's system call was made."""
        self._socket.send(COMMAND.pack(0))
        stamp: int = STAMP.unpack(self._socket.recv(STAMP.size))[0]
        return stamp

    def close(self) -> None:
        self._socket.close()
        os.waitpid(self.pid, 0)


def _serve_cuts(orders: socket.socket) -> None:
    route = rawnl.open_socket(rawnl.NETLINK_ROUTE)
    began_ns = 0
    while order := orders.recv(COMMAND.size):
        ifindex: int = COMMAND.unpack(order)[0]
        if ifindex:
            request = rawnl.admin_message(ifindex, up=False)
            began_ns = time.monotonic_ns()
            route.send(request)
        else:
            orders.send(STAMP.pack(began_ns))


class Watch:
    """What the kernel says: the team driver's option events, and link messages. Keeps the last active port."""

    def __init__(self, team: rawnl.Team) -> None:
        self.events = rawnl.open_socket(rawnl.NETLINK_GENERIC, team.event_group)
        _accept_only_options(self.events)
        self.links = rawnl.open_socket(rawnl.NETLINK_ROUTE, rawnl.RTNLGRP_LINK)
        self.active = 0

    def next_active(self, expected: int) -> int:
        """Wait until `expected` is announced as the active port; the answer is when we woke up, in ns."""
        while True:
            try:
                packet = self.events.recv(1 << 16)
            except TimeoutError:
                raise BenchError(f"port {expected} did not become active within {rawnl.TIMEOUT_S:g} s") from None
            seen_ns = time.monotonic_ns()
            port = rawnl.active_port_in(packet)
            self.active = self.active if port is None else port
            if port == expected:
                return seen_ns

    def settle(self, quiet_s: float) -> None:
        """Return when neither socket has had a message for `quiet_s`."""
        deadline_s = time.monotonic() + PATIENCE_S
        while ready := select.select([self.events, self.links], [], [], quiet_s)[0]:
            for one in ready:
                packet = one.recv(1 << 16)
                port = rawnl.active_port_in(packet) if one is self.events else None
                self.active = self.active if port is None else port
            if time.monotonic() > deadline_s:
                raise BenchError(f"no silence of {quiet_s:g} s within {PATIENCE_S:g} s")

    def drain(self) -> None:
        """Throw away what has come."""
        while ready := select.select([self.events, self.links], [], [], 0)[0]:
            for one in ready:
                with contextlib.suppress(OSError):  # more than the buffer takes
                    one.recv(1 << 16)

    def wait_for_carrier(self, ifindex: int) -> None:
        while True:
            for kind, body in rawnl.messages(self.links.recv(1 << 16)):
                if kind == rawnl.RTM_NEWLINK:
                    link = rawnl.parse_link(body)
                    if link.ifindex == ifindex and link.carrier:
                        return


def _accept_only_options(events: socket.socket) -> None:
    """Attach a classic BPF program: the generic-netlink command is the byte after the 16-byte header."""
    load_byte, jump_equal, give_back = 0x30, 0x15, 0x06
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (load_byte, 0, 0, rawnl.HEADER.size),
            (jump_equal, 0, 1, rawnl.TEAM_CMD_OPTIONS_GET),
            (give_back, 0, 0, 0xFFFF),
            (give_back, 0, 0, 0),
        )
    )
    kept = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    events.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


class Running:
    """A daemon started in the background with teamd's options `-d -c CONFIG`."""

    def __init__(self, candidate: Candidate, config: Mapping[str, object]) -> None:
        self.candidate = candidate
        self.device = str(config["device"])
        command = [*candidate.command, "-d", "-c", json.dumps(config)]
        with tempfile.TemporaryFile("w+") as output:  # no pipe: a daemon may hold on to it
            before_s = _children_cpu_s()
            self.began_s = time.monotonic()
            status = subprocess.call(command, stdout=output, stderr=output, timeout=PATIENCE_S)
            self.returned_ms = (time.monotonic() - self.began_s) * 1e3
            self.parents_cpu_ms = (_children_cpu_s() - before_s) * 1e3  # what went into background ended
            output.seek(0)
            said = output.read().strip()
        if status != 0:
            raise BenchError(f"{candidate.name}: did not start, exit status {status}: {said}")
        pid_file = Path(f"/run/teamd/{self.device}.pid")
        if not pid_file.exists():
            raise BenchError(f"{candidate.name}: returned without {pid_file}: {said}")
        self.pid = int(pid_file.read_text())

    def cpu_ms(self) -> float:
        return cpu_ms(self.pid)

    def wakeups(self) -> int:
        """How often a thread of it went to sleep by itself, and so was woken."""
        statuses = Path(f"/proc/{self.pid}/task").glob("*/status")
        return sum(_status_number(status, "voluntary_ctxt_switches") for status in statuses)

    def rss_kb(self) -> int:
        return rss_kb(self.pid)

    def major_faults(self) -> int:
        """How often it waited for a page to be read so far, all threads."""
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[9])

    def stop(self, route: rawnl.Route) -> None:
        """End it as systemd would, and wait until it and its device are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{self.pid}").exists() or self.device in route.links():
            if time.monotonic() > deadline_s:
                raise BenchError(f"{self.candidate.name}: still there {PATIENCE_S:g} s after SIGTERM")
            time.sleep(POLL_S)


def cpu_ms(pid: int) -> float:
    """Time on a CPU so far, user and system, of all threads there are and were."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) * 1e3


def rss_kb(pid: int) -> int:
    """Resident memory of a process."""
    return _status_number(Path(f"/proc/{pid}/status"), "VmRSS")


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _status_number(status: Path, field: str) -> int:
    for line in status.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0])
    raise BenchError(f"{status}: no {field}")


def make_ports(route: rawnl.Route, names: Sequence[str]) -> None:
    """veth pairs ethN/peerN, the peer's end up. What is there already stays."""
    for name in names:
        if name not in route.links():
            route.add_veth(name, peer_of(name))
    links = route.links()
    for name in names:
        route.set_up(links[peer_of(name)].ifindex, up=True)
