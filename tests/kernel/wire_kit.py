"""Eyes and hands in other name spaces, inside the test's own process: starting a program takes too long to measure with.

A socket belongs to the name space it was made in, so `inside` enters one for as long as it takes to make sockets. An Ear is a packet socket
on the switch's side of a cable: what it hears has been on the wire (a queueing discipline such as netem drops and delays before that
point). ActivePort listens to the driver's events on the host. Both use the clock CLOCK_MONOTONIC when they read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.bench import rawnl

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
AUX = struct.Struct("=IIIHHHH")
VLAN_VALID = 0x10
IFF_NOARP = 0x80
LOOK_S = 0.005
"""Time between two looks while waiting; what it takes longer than that the whole machine stood still."""


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in the name space while the block runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert libc.setns(here, CLONE_NEWNET) == 0
        os.close(here)
        os.close(there)


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame on the wire, its VLAN tag put back."""

    at_s: float
    outgoing: bool
    """Sent by the switch."""
    octets: bytes


class Ear:
    """Hears, and says, whatever is on one link of a name space."""

    def __init__(self, namespace: str, link: str, protocol: int = ETH_P_ALL, *, outgoing: bool = True) -> None:
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            if not outgoing:
                self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            self.socket.bind((link, protocol))
        self.socket.setblocking(False)

    def hear(self) -> list[Heard]:
        """All frames since the last call."""
        found = []
        with suppress(BlockingIOError):
            while True:
                try:
                    octets, ancillary, _, address = self.socket.recvmsg(2048, socket.CMSG_SPACE(AUX.size))
                except OSError as problem:
                    if problem.errno != errno.ENETDOWN:  # said once when the link goes down
                        raise
                    continue
                outgoing = address[2] == socket.PACKET_OUTGOING
                found.append(Heard(time.monotonic(), outgoing, with_tag(octets, ancillary)))
        return found

    def say(self, octets: bytes) -> None:
        """Send a frame."""
        self.socket.send(octets)

    def close(self) -> None:
        """No more."""
        self.socket.close()

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def with_tag(octets: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the wire: the kernel hands the tag over beside it."""
    for level, kind, payload in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, protocol = AUX.unpack_from(payload)
            if status & VLAN_VALID:
                return octets[:12] + struct.pack("!HH", protocol or 0x8100, tci) + octets[12:]
    return octets


class Links:
    """Changes of links of one name space, each done when the call returns, in a fraction of a millisecond."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            self.route = rawnl.Route()

    def index(self, name: str) -> int:
        """Interface index."""
        return self.route.links()[name].ifindex

    def up(self, name: str, up: bool) -> None:
        """`ip link set NAME up` or `down`."""
        self.route.set_up(self.index(name), up=up)

    def master(self, name: str, master: str) -> None:
        """`ip link set NAME master MASTER`, "" for none."""
        self.route.set_master(self.index(name), self.index(master) if master else 0)

    def answers_arp(self, name: str, answers: bool) -> None:
        """`ip link set NAME arp on` or `off`."""
        flags = 0 if answers else IFF_NOARP
        body = rawnl.IFINFO.pack(0, 0, self.index(name), flags, IFF_NOARP)
        rawnl.ask(self.route.socket, rawnl.message(rawnl.RTM_SETLINK, rawnl.NLM_F_ACK, body))

    def close(self) -> None:
        """No more."""
        self.route.socket.close()


class ActivePort:
    """The driver's announcements of another active port, as they come."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            team = rawnl.Team()
            team.socket.close()
            self.socket = rawnl.open_socket(rawnl.NETLINK_GENERIC, team.event_group)
        self.stalled_s = 0.0
        """How long the machine stood still during the last wait, all in all: nobody could act in that time."""

    def forget(self) -> None:
        """Drop what came so far."""
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(1 << 16)

    def wait(self, timeout_s: float, wanted: int | None = None) -> tuple[float, int]:
        """When another port, or the `wanted` one, was announced, and which; (0.0, 0) when none was in time."""
        self.stalled_s = 0.0
        looked_s = began_s = time.monotonic()
        while (now_s := time.monotonic()) - began_s < timeout_s:
            self.stalled_s += max(0.0, now_s - looked_s - LOOK_S)
            looked_s = now_s
            if not select.select([self.socket], [], [], LOOK_S)[0]:
                continue
            port = rawnl.active_port_in(self.socket.recv(1 << 16))
            if port and wanted in (None, port):
                return time.monotonic(), port
        return 0.0, 0

    def time_of(self, cut: Callable[[], object], wanted: int, timeout_s: float) -> tuple[float, float]:
        """How long after a cut the wanted port was announced: at least, at most (the cut takes a while itself)."""
        self.forget()
        before_s = time.monotonic()
        cut()
        after_s = time.monotonic()
        seen_s, _ = self.wait(timeout_s, wanted)
        assert seen_s, f"port {wanted} was not made active within {timeout_s} s of {getattr(cut, '__name__', cut)}"
        return seen_s - after_s, seen_s - before_s

    def close(self) -> None:
        """No more."""
        self.socket.close()
