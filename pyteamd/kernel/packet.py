"""Packet sockets on ports: AF_PACKET, raw frames, a socket filter from the first frame on.

The socket is made for no protocol and therefore deaf; filter and options come first, then `bind` names link and protocol.
The kernel takes VLAN tags off received frames and hands them over beside the frame (PACKET_AUXDATA). Where the VLAN matters,
frames are received with ETH_P_ALL, because only there a tag is still known; our own transmissions, which such
a socket would see too, are kept out by PACKET_IGNORE_OUTGOING, by the filter and by the packet type. A socket for one EtherType,
which no other traffic burdens, gets tagged frames without their tag: of one in a VLAN the kernel says that it is for another
host, of VLAN 0 it says nothing. See packet(7).

A link that goes down gives one ENETDOWN, and the socket lives on; a link that is gone gives the same error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

import trio

from pyteamd.kernel.sockets import attach_filter
from pyteamd.model.desired import Tap
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import UNTOLD_VLAN, FrameSeen
from pyteamd.wire.ethernet import HEADER_LENGTH, VLAN_ID_MASK
from pyteamd.wire.frame_filter import ANY_VLAN

LONGEST_FRAME: Final = 2048
"""Octets received of a frame; what we listen to is much shorter, the rest of a longer one is cut off."""

_FRAMES_PER_ROUND: Final = 16
_CALM_S: Final = 0.005
"""A socket that was not read for so long has one frame: who says the same again and again says it now and then."""
_SOCKETS_PER_TURN: Final = 32
"""Then the event loop looks for a fail-over before it reads on: with many teams hundreds may be readable at once."""
_BIND_ATTEMPTS: Final = 3
_ETH_P_ALL: Final = 0x0003
_TAGS: Final = (0x8100, 0x88A8)

_SOCKADDR_LL: Final = struct.Struct("=HHiHBB8s")  # family, protocol, ifindex, …
_SIOCGIFNAME: Final = 0x8910
_IFREQ: Final = struct.Struct("=16si20x")  # name, ifindex
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP, _AUXDATA, _IGNORE_OUTGOING = 1, 8, 23
_MR_MULTICAST, _MR_UNICAST = 0, 3
_GROUP_BIT: Final = 0x01  # of an address's first octet
_MEMBERSHIP: Final = struct.Struct("=iHH8s")  # ifindex, type, length, address
_AUX: Final = struct.Struct("=IIIHHHH")  # status, length, captured, offsets, VLAN TCI, VLAN protocol
_VLAN_VALID: Final = 0x10
_TAKE_NOTHING: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF: return 0
_ANCILLARY_SPACE: Final = socket.CMSG_SPACE(_AUX.size)


class PacketSocket:
    """The PortSocket of the real kernel. `malformed` counts frames shorter than an Ethernet header."""

    def __init__(self, ifindex: int, tap: Tap, listening: Listening) -> None:
        """`listening`: where it can be waited for until it is closed."""
        self.ifindex = ifindex
        self.malformed = 0
        self._listening = listening
        self._said: object = None
        """What the last useful frame looked like,"""
        self._frame: FrameSeen | None = None
        """… and what it is."""
        self._read_at = 0.0
        self._tags_lost = tap.frames.vlan == ANY_VLAN
        self._held: list[socket.socket] = []
        what = f"open a packet socket on link {ifindex}"
        try:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_PACKET, kind, 0)
        except OSError as problem:
            needed = "CAP_NET_RAW is needed" if problem.errno == errno.EPERM else ""
            raise KernelRefused(problem.errno or errno.EIO, what, needed) from problem
        try:
            _prepare(self._socket, tap)
            _bind(self._socket, ifindex, tap.frames.ethertype if tap.frames.vlan == ANY_VLAN else _ETH_P_ALL)
            if tap.address:
                kind = _MR_MULTICAST if tap.address[0] & _GROUP_BIT else _MR_UNICAST
                member = _MEMBERSHIP.pack(ifindex, kind, len(tap.address), tap.address)
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, member)
            self._held = _hold_udp_port(tap.udp_port) if tap.udp_port else []
            listening.add(self._socket.fileno(), self)
        except KernelGone:
            self._socket.close()
            raise
        except OSError as problem:
            self._socket.close()
            if problem.errno in (errno.ENODEV, errno.ENXIO):
                raise KernelGone(f"link {ifindex} does not exist") from problem
            raise KernelRefused(problem.errno or errno.EIO, what) from problem

    def send(self, octets: bytes) -> None:
        """Send a frame that starts with its Ethernet header. OSError when the link cannot take it."""
        self._socket.send(octets)

    def read(self) -> list[FrameSeen]:
        """What can be read now, or the first of it: the rest is for the next call. KernelGone when the port is gone, OSError."""
        frames: list[FrameSeen] = []
        before, self._read_at = self._read_at, time.monotonic()
        calm = self._read_at > before + _CALM_S
        for _ in range(_FRAMES_PER_ROUND):
            try:
                octets, ancillary, _, address = self._socket.recvmsg(LONGEST_FRAME, _ANCILLARY_SPACE)
            except BlockingIOError:
                break
            except OSError as problem:
                if problem.errno != errno.ENETDOWN:
                    raise
                if not name_of(self._socket, self.ifindex):
                    raise KernelGone(f"link {self.ifindex} does not exist") from problem
                break
            said = octets, ancillary, address[2]
            again = said == self._said
            frame = self._frame if again else self._seen(*said)
            if frame is not None:
                self._said, self._frame = said, frame
                frames.append(frame)
            if again and calm:  # another call would find nothing
                break
        return frames

    def close(self) -> None:
        """Close it."""
        if self._socket.fileno() < 0:
            return
        self._listening.remove(self._socket.fileno())
        self._socket.close()
        for held in self._held:
            held.close()

    def _seen(self, octets: bytes, ancillary: list[tuple[int, int, bytes]], kind: int) -> FrameSeen | None:
        """What has come, None for what is no frame or is our own."""
        if kind == socket.PACKET_OUTGOING:
            return None
        frame = parse(self.ifindex, octets, _tag(ancillary))
        if frame is None:
            self.malformed += 1
        elif self._tags_lost and kind == socket.PACKET_OTHERHOST and frame.destination[0] & _GROUP_BIT:
            return replace(frame, vlan=UNTOLD_VLAN)
        return frame


class Listening:
    """All packet sockets of one kernel, to be waited for at once: an event loop would have to ask for each of them again and again."""

    def __init__(self) -> None:
        self._ready = select.epoll()
        self._sockets: dict[int, PacketSocket] = {}

    def add(self, number: int, opened: PacketSocket) -> None:
        """From now on it is waited for. OSError."""
        self._ready.register(number, select.EPOLLIN)
        self._sockets[number] = opened

    def remove(self, number: int) -> None:
        """It is about to be closed."""
        if self._sockets.pop(number, None) is not None:
            self._ready.unregister(number)

    async def readable(self) -> list[PacketSocket]:
        """Wait until some can be read: which, or the first of them; each has its turn."""
        await trio.lowlevel.wait_readable(self._ready)
        return [self._sockets[number] for number, _ in self._ready.poll(0, _SOCKETS_PER_TURN)]

    def close(self) -> None:
        """Nobody waits any more."""
        with suppress(RuntimeError):  # outside of trio nobody did
            trio.lowlevel.notify_closing(self._ready)
        self._ready.close()
        self._sockets.clear()


def parse(ifindex: int, octets: bytes, tag: int | None) -> FrameSeen | None:
    """A received frame; `tag` is the VLAN TCI that came beside it. None when it is too short for its headers."""
    if len(octets) < HEADER_LENGTH:
        return None
    ethertype = int.from_bytes(octets[12:14])
    payload_at = HEADER_LENGTH
    if tag is None and ethertype in _TAGS:
        if len(octets) < HEADER_LENGTH + 4:
            return None
        tag = int.from_bytes(octets[14:16])
        ethertype = int.from_bytes(octets[16:18])
        payload_at += 4
    vlan = None if tag is None else tag & VLAN_ID_MASK
    return FrameSeen(ifindex, octets[:6], octets[6:12], ethertype, vlan, octets[payload_at:])


def _prepare(sock: socket.socket, tap: Tap) -> None:
    """Filter and options of a socket that is still deaf."""
    from pyteamd.wire.bpf import filter_of  # not every team listens to frames

    attach_filter(sock, filter_of(tap.frames))
    sock.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    try:
        sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    except OSError as problem:  # before Linux 4.20
        if problem.errno != errno.ENOPROTOOPT:
            raise


def _hold_udp_port(port: int) -> list[socket.socket]:
    """Sockets that keep the host's own stack from answering for this UDP port with ICMP; they take nothing in.

    A port that is taken is held by its owner. A host without IPv6 needs nothing there.
    """
    held: list[socket.socket] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            held.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            attach_filter(sock, _TAKE_NOTHING)
            sock.bind(("", port))
    return held


def _bind(sock: socket.socket, ifindex: int, protocol: int) -> None:
    """Python binds by name only: look at the name again afterwards, in case the link was renamed in between."""
    for _ in range(_BIND_ATTEMPTS):
        name = name_of(sock, ifindex)
        if not name:
            break
        try:
            if any("\udc80" <= char <= "\udcff" for char in name):
                bind_by_number(sock, ifindex, protocol)
            else:
                sock.bind((name, protocol))
        except OSError as problem:
            if problem.errno == errno.ENODEV:
                continue
            raise
        if name_of(sock, ifindex) == name:
            return
    raise KernelGone(f"link {ifindex} does not exist")


def bind_by_number(sock: socket.socket, ifindex: int, protocol: int) -> None:
    """bind(2) by ifindex, for a name that is not UTF-8: Python binds packet sockets by name only. OSError."""
    import ctypes  # hardly ever

    libc = ctypes.CDLL(None, use_errno=True)
    address = _SOCKADDR_LL.pack(socket.AF_PACKET, socket.htons(protocol), ifindex, 0, 0, 0, b"")
    if libc.bind(sock.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def name_of(sock: socket.socket, ifindex: int) -> str:
    """The link's name, "" when there is none. OSError. (if_indextoname opens a socket; where it cannot, it says that there is no link.)"""
    request = bytearray(_IFREQ.pack(b"", ifindex))
    try:
        fcntl.ioctl(sock, _SIOCGIFNAME, request)
    except OSError as problem:
        if problem.errno != errno.ENODEV:
            raise
        return ""
    return os.fsdecode(_IFREQ.unpack(request)[0].rstrip(b"\0"))


def _tag(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The VLAN TCI that the kernel took off the frame."""
    for level, kind, octets in ancillary:
        if level == _SOL_PACKET and kind == _AUXDATA and len(octets) >= _AUX.size:
            status, _, _, _, _, tci, _ = _AUX.unpack_from(octets)
            return int(tci) if status & _VLAN_VALID else None
    return None
