"""Eyes and hands in other namespaces, inside the test's own process: starting a program takes too long to measure with.

A socket belongs to the namespace it was made in, so `inside` enters one for as long as it takes to make sockets. An Ear is a packet socket
on the switch's side of a cable: what it hears has been on the wire (a queueing discipline such as netem drops and delays before that
point), stamped by the kernel when it passed. ActivePort and Announcements listen to the driver's events on the host, and Writes to what
anybody asks the kernel to change. All times are on the clock CLOCK_MONOTONIC.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import os
import select
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench import rawnl

CHANGES = {
    rawnl.RTM_NEWLINK: "newlink",
    rawnl.RTM_DELLINK: "dellink",
    rawnl.RTM_SETLINK: "setlink",
    20: "newaddr",
    21: "deladdr",
}
"""Requests of rtnetlink that change something (linux/rtnetlink.h)."""
OPTIONS_SET, OPTIONS_GET = (bytes((command,)) for command in (rawnl.TEAM_CMD_OPTIONS_SET, rawnl.TEAM_CMD_OPTIONS_GET))
OPTION_CHANGED, OPTION_DATA, OPTION_PORT = 2, 4, 6
"""Attributes of one option (linux/if_team.h)."""
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
AUX = struct.Struct("=IIIHHHH")
TIMESPEC = struct.Struct("=qq")
VLAN_VALID = 0x10
IFF_NOARP = 0x80
TUN = os.makedev(10, 200)
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x2, 0x1000, 0x4000
SIOCETHTOOL = 0x8946
ETHTOOL_SSET = 2
DUPLEX_FULL = 1
ETHTOOL_CMD = struct.Struct("=I8xHB29x")
"""struct ethtool_cmd of linux/ethtool.h: the command, two masks, speed, duplex, and what is of no interest here."""
LOOK_S = 0.005
"""Time between two looks while waiting; what it takes longer than that the whole machine stood still."""
_taps = itertools.count()


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in the namespace while the block runs."""
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
    """When it passed, by the kernel's stamp."""
    outgoing: bool
    """Sent by the switch."""
    octets: bytes


class Ear:
    """Hears, and says, whatever is on one link of a namespace."""

    def __init__(self, namespace: str, link: str, protocol: int = ETH_P_ALL, *, outgoing: bool = True) -> None:
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            if not outgoing:
                self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            self.socket.bind((link, protocol))
        self.socket.setblocking(False)

    def hear(self) -> list[Heard]:
        """All frames since the last call."""
        found = []
        space = socket.CMSG_SPACE(AUX.size) + socket.CMSG_SPACE(TIMESPEC.size)
        with suppress(BlockingIOError):
            while True:
                try:
                    octets, ancillary, _, address = self.socket.recvmsg(2048, space)
                except OSError as problem:
                    if problem.errno != errno.ENETDOWN:  # said once when the link goes down
                        raise
                    continue
                outgoing = address[2] == socket.PACKET_OUTGOING
                found.append(Heard(stamp(ancillary), outgoing, with_tag(octets, ancillary)))
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


def stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> float:
    """The kernel's time stamp beside a frame, on CLOCK_MONOTONIC; it stamps on the real-time clock."""
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack_from(payload)
            return float(seconds + nanoseconds / 1e9 - time.time() + time.monotonic())
    raise AssertionError("a frame without a time stamp")


def with_tag(octets: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the wire: the kernel hands the tag over beside it."""
    for level, kind, payload in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, protocol = AUX.unpack_from(payload)
            if status & VLAN_VALID:
                return octets[:12] + struct.pack("!HH", protocol or 0x8100, tci) + octets[12:]
    return octets


class Tap:
    """A link of a namespace whose cable ends in this process: an Ear, on its other end, that can have any speed."""

    def __init__(self, namespace: str, link: str, speed_mbps: int, kind: int = IFF_TAP) -> None:
        with inside(namespace), tempfile.TemporaryDirectory() as name:
            node = Path(name, "tun")  # the lab's /dev has none and is read-only
            os.mknod(node, stat.S_IFCHR | 0o600, TUN)
            self.socket = node.open("r+b", buffering=0)
            fcntl.ioctl(self.socket, TUNSETIFF, struct.pack("16sH22x", link.encode(), kind | IFF_NO_PI))
            speed = ETHTOOL_CMD.pack(ETHTOOL_SSET, speed_mbps, DUPLEX_FULL)
            place = ctypes.create_string_buffer(speed, len(speed))
            request = struct.pack("16sQ16x", link.encode(), ctypes.addressof(place))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, SIOCETHTOOL, request)
        os.set_blocking(self.socket.fileno(), False)

    def hear(self) -> list[Heard]:
        """All frames the link sent since the last call."""
        found = []
        while (octets := self.socket.read(2048)) is not None:
            found.append(Heard(time.monotonic(), False, octets))
        return found

    def say(self, octets: bytes) -> None:
        """Send a frame to the link."""
        self.socket.write(octets)

    def close(self) -> None:
        """The link is gone with it."""
        self.socket.close()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Links:
    """Changes of links of one namespace, each done when the call returns, in a fraction of a millisecond."""

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


def netlink_tap(namespace: str, link: str) -> tuple[int, socket.socket]:
    """The team family's number, and a packet socket on a new nlmon device: all netlink messages of the namespace, each with its time."""
    with inside(namespace):
        team = rawnl.Team()
        team.socket.close()
        route = rawnl.Route()
        route.add(link, "nlmon")
        route.set_up(route.links()[link].ifindex, up=True)
        route.socket.close()
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        tap.bind((link, ETH_P_ALL))
    tap.setblocking(False)
    return team.family, tap


class Announcements:
    """What the kernel announced in a namespace about carriers, and whether ports transmit: "enabled", or "tx_enabled" where there is one.

    The moments are the kernel's own stamps, on CLOCK_MONOTONIC: they are right however late they are read.
    """

    def __init__(self, namespace: str) -> None:
        self._family, self._socket = netlink_tap(namespace, f"said{next(_taps)}")
        self._seen: dict[int | str, bool] = {}
        self._changes: list[tuple[float, int | str, bool]] = []

    def enabled(self) -> list[tuple[float, int, bool]]:
        """(moment, ifindex of the port, enabled), one for each change."""
        return [(at, key, on) for at, key, on in self._listen() if isinstance(key, int)]

    def carrier(self, up: bool, link: str = "team0") -> float:
        """When the carrier of a link was last announced to be so; 0.0 when it was not, or is no more."""
        last = next(((at, on) for at, key, on in reversed(self._listen()) if key == link), (0.0, up))
        return last[0] if last[1] is up else 0.0

    def forget(self) -> None:
        """Drop what came so far."""
        self._listen().clear()

    def _listen(self) -> list[tuple[float, int | str, bool]]:
        space = socket.CMSG_SPACE(TIMESPEC.size)
        with suppress(BlockingIOError):
            while True:
                packet, ancillary, _, address = self._socket.recvmsg(1 << 16, space)
                for key, on in self._said(packet, address[1]):
                    if self._seen.get(key) is not on:  # each listener's copy passes here
                        self._seen[key] = on
                        self._changes.append((stamp(ancillary), key, on))
        return self._changes

    def _said(self, packet: bytes, protocol: int) -> Iterator[tuple[int | str, bool]]:
        for kind, flags, body in tapped(packet):
            if flags & rawnl.NLM_F_REQUEST:
                continue
            if protocol == rawnl.NETLINK_ROUTE and kind == rawnl.RTM_NEWLINK:
                link = rawnl.parse_link(body)
                yield link.name, link.carrier
            elif protocol == rawnl.NETLINK_GENERIC and kind == self._family and body[:1] == OPTIONS_GET:
                yield from enabled_in(body)

    def close(self) -> None:
        """No more; the device goes with its namespace."""
        self._socket.close()

    def __enter__(self) -> Announcements:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tapped(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of every message of one frame of an nlmon device."""
    offset = 0
    while offset + rawnl.HEADER.size <= len(packet):
        length, kind, flags, _, _ = rawnl.HEADER.unpack_from(packet, offset)
        if length < rawnl.HEADER.size:
            return
        yield kind, flags, packet[offset + rawnl.HEADER.size : offset + length]
        offset += (length + 3) & ~3


def enabled_in(body: bytes) -> Iterator[tuple[int, bool]]:
    """(ifindex of the port, enabled) for each announced change of the option."""
    options = dict(rawnl.attributes(body[4:])).get(rawnl.TEAM_ATTR_LIST_OPTION, b"")
    for _, item in rawnl.attributes(options):
        values = dict(rawnl.attributes(item))
        if values.get(rawnl.OPTION_NAME) in (b"enabled\0", b"tx_enabled\0") and OPTION_CHANGED in values:
            yield struct.unpack("=I", values[OPTION_PORT])[0], OPTION_DATA in values


class Writes:
    """All that user space asks the kernel to change through netlink in a namespace, every program's: taken from an nlmon device.

    `names` holds a word for each: "option" for a write of team options, else the type of the rtnetlink request. What only asks is left out.
    """

    def __init__(self, namespace: str, link: str = "nlmon0") -> None:
        self._family, self._socket = netlink_tap(namespace, link)
        self.seen()

    def seen(self) -> list[str]:
        """What was asked since the last call."""
        found = []
        with suppress(BlockingIOError):
            while True:
                packet, address = self._socket.recvfrom(1 << 16)
                found += self._names(packet, address[1])
        return found

    def _names(self, packet: bytes, protocol: int) -> Iterator[str]:
        for kind, flags, body in tapped(packet):
            asked = protocol if flags & rawnl.NLM_F_REQUEST else None
            if asked == rawnl.NETLINK_ROUTE and kind in CHANGES:
                yield CHANGES[kind]
            elif asked == rawnl.NETLINK_GENERIC and kind == self._family and body[:1] == OPTIONS_SET:
                yield "option"

    def close(self) -> None:
        """No more; the device goes with its namespace."""
        self._socket.close()


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
