"""BFD control packets (RFC 5880, 4.1) in UDP on one member link of an aggregate (RFC 7130), over IPv4 or IPv6.

`Packet` is the control packet, `Datagram` the packet with its addresses; `parse` reads what follows the Ethernet header. Only what
RFC 5880, 6.8.6 checks without knowing a session is checked here, and what makes it single hop: TTL or hop limit 255 (RFC 5881, 5).
A sender on the same machine leaves the UDP checksum to hardware that is not there: then the field holds the sum of the pseudo-header,
which is accepted beside the right one.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetFrame
from pyteamd.wire.frame_filter import Field, FrameFilter

Address: TypeAlias = IPv4Address | IPv6Address

UDP_PORT: Final = 6784
"""UDP port of BFD on member links (RFC 7130, 2.2)."""
GROUP: Final = bytes.fromhex("01005e900001")
"""Where frames go while the peer's own address is not known (RFC 7130, 2.3)."""
FIRST_SOURCE_PORT: Final = 49152
LAST_SOURCE_PORT: Final = 65535
"""Source ports are from this range (RFC 5881, 4)."""
TTL: Final = 255
PROTOCOL_UDP: Final = 17
VERSION: Final = 1

_CONTROL: Final = struct.Struct("!BBBBIIIII")
_UDP: Final = struct.Struct("!HHHH")
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_INTERNETWORK_CONTROL: Final = 0xC0
"""Traffic class of IPv4's and IPv6's headers: CS6, as routing protocols have it."""
_DONT_FRAGMENT: Final = 0x4000
_FRAGMENT: Final = 0x3FFF  # offset and "more fragments"


class State(IntEnum):
    """State of a session (RFC 5880, 4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    def __str__(self) -> str:
        return ("admin down", "down", "init", "up")[self]


class Diagnostic(IntEnum):
    """Why this end's session left the state up the last time (RFC 5880, 4.1)."""

    NONE = 0
    TIME_EXPIRED = 1
    NEIGHBOUR_DOWN = 3
    PATH_DOWN = 5
    ADMIN_DOWN = 7


DIAGNOSTICS: Final = (
    "none",
    "control detection time expired",
    "echo function failed",
    "neighbour signalled session down",
    "forwarding plane reset",
    "path down",
    "concatenated path down",
    "administratively down",
    "reverse concatenated path down",
)


def diagnostic_in_words(code: int) -> str:
    """The RFC's words for a diagnostic of either end, the number where it has none."""
    return DIAGNOSTICS[code] if code < len(DIAGNOSTICS) else f"diagnostic {code}"


class Flag(IntFlag):
    """The low six bits of the second octet."""

    POLL = 0x20
    FINAL = 0x10
    CONTROL_INDEPENDENT = 0x08
    AUTHENTICATION = 0x04
    DEMAND = 0x02
    MULTIPOINT = 0x01
    NONE = 0


@dataclass(frozen=True, slots=True)
class Packet:
    """One control packet without authentication. Intervals are in microseconds, 0 to 2**32 - 1."""

    state: State
    my_discriminator: int
    your_discriminator: int = 0
    desired_min_tx_us: int = 1_000_000
    required_min_rx_us: int = 1_000_000
    required_min_echo_rx_us: int = 0
    multiplier: int = 3
    diagnostic: int = 0
    flags: Flag = Flag.NONE

    def build(self) -> bytes:
        """The 24 octets."""
        return _CONTROL.pack(
            VERSION << 5 | self.diagnostic, self.state << 6 | self.flags, self.multiplier, _CONTROL.size,
            self.my_discriminator, self.your_discriminator,
            self.desired_min_tx_us, self.required_min_rx_us, self.required_min_echo_rx_us,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Datagram:
    """A control packet between two addresses of one family."""

    source: Address
    destination: Address
    packet: Packet
    source_port: int = FIRST_SOURCE_PORT

    def build(self) -> bytes:
        """IP header, UDP header, control packet."""
        body = self.packet.build()
        length = _UDP.size + len(body)
        header = _UDP.pack(self.source_port, UDP_PORT, length, 0)
        total = _sum(_pseudo(self.source.packed, self.destination.packed, length) + header + body)
        datagram = _UDP.pack(self.source_port, UDP_PORT, length, (0xFFFF - total) or 0xFFFF) + body
        if self.source.version == 6:
            word = 6 << 28 | _INTERNETWORK_CONTROL << 20
            return _IPV6.pack(word, length, PROTOCOL_UDP, TTL, self.source.packed, self.destination.packed) + datagram
        fields = (0x45, _INTERNETWORK_CONTROL, _IPV4.size + length, 0, _DONT_FRAGMENT, TTL, PROTOCOL_UDP)
        addresses = (self.source.packed, self.destination.packed)
        return _IPV4.pack(*fields, 0xFFFF - _sum(_IPV4.pack(*fields, 0, *addresses)), *addresses) + datagram

    def frame(self, source_mac: bytes, destination_mac: bytes = GROUP) -> bytes:
        """The whole frame."""
        ethertype = ETHERTYPE_IPV4 if self.source.version == 4 else ETHERTYPE_IPV6
        return EthernetFrame(destination_mac, source_mac, ethertype, self.build()).build()


def frames(version: int) -> FrameFilter:
    """Untagged UDP datagrams to this port over IP of this version, no later fragments, without options or extension headers."""
    if version == 4:
        fields = (
            Field(0, 1, (0x45,)),
            Field(6, 2, (0,), 0x1FFF),
            Field(9, 1, (PROTOCOL_UDP,)),
            Field(22, 2, (UDP_PORT,)),
        )
        return FrameFilter(ETHERTYPE_IPV4, fields)
    return FrameFilter(ETHERTYPE_IPV6, (Field(6, 1, (PROTOCOL_UDP,)), Field(42, 2, (UDP_PORT,))))


def parse(payload: bytes) -> Datagram:
    """Read an IPv4 or IPv6 packet with a BFD control packet; octets after it are ignored.

    Raises PeerError: TOO_SHORT, IP_VERSION, HEADER_LENGTH, FRAGMENT, NEXT_HEADER, PAYLOAD_LENGTH, HOP_LIMIT, CHECKSUM, UDP_PORT and
    those of `parse_packet`.
    """
    version = payload[0] >> 4 if payload else 0
    source: Address
    destination: Address
    if version == 4:
        source, destination, datagram = _parse_ipv4(payload)
    elif version == 6:
        source, destination, datagram = _parse_ipv6(payload)
    else:
        raise PeerError(DropReason.IP_VERSION, f"{version}, neither 4 nor 6")
    if len(datagram) < _UDP.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(datagram)} of {_UDP.size} octets of UDP")
    source_port, port, length, checksum = _UDP.unpack_from(datagram)
    if port != UDP_PORT:
        raise PeerError(DropReason.UDP_PORT, f"{port}, not {UDP_PORT}")
    if not _UDP.size <= length <= len(datagram):
        raise PeerError(DropReason.PAYLOAD_LENGTH, f"{length} octets of UDP in {len(datagram)}")
    datagram = datagram[:length]
    pseudo = _pseudo(source.packed, destination.packed, length)
    unchecked = checksum == 0 and source.version == 4
    if not unchecked and checksum != _sum(pseudo) and _sum(pseudo + datagram) != 0xFFFF:
        raise PeerError(DropReason.CHECKSUM, "UDP checksum is wrong")
    return Datagram(source, destination, parse_packet(datagram[_UDP.size :]), source_port)


def parse_packet(octets: bytes) -> Packet:
    """Read a control packet as RFC 5880, 6.8.6 says.

    Raises PeerError: TOO_SHORT, BFD_VERSION, PAYLOAD_LENGTH, MULTIPLIER, MULTIPOINT, DISCRIMINATOR, AUTHENTICATION, FLAGS.
    """
    if len(octets) < _CONTROL.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(octets)} of {_CONTROL.size} octets of BFD")
    first, second, multiplier, length, mine, yours, tx_us, rx_us, echo_us = _CONTROL.unpack_from(octets)
    flags = Flag(second & 0x3F)
    if first >> 5 != VERSION:
        raise PeerError(DropReason.BFD_VERSION, f"{first >> 5}, not {VERSION}")
    least = _CONTROL.size + 2 * bool(flags & Flag.AUTHENTICATION)
    if not least <= length <= len(octets):
        raise PeerError(DropReason.PAYLOAD_LENGTH, f"{length} octets of BFD, {least} to {len(octets)} are possible")
    if multiplier == 0:
        raise PeerError(DropReason.MULTIPLIER, "detect multiplier 0")
    if flags & Flag.MULTIPOINT:
        raise PeerError(DropReason.MULTIPOINT, "the multipoint bit is set")
    if mine == 0:
        raise PeerError(DropReason.DISCRIMINATOR, "my discriminator is 0")
    state = State(second >> 6)
    if yours == 0 and state in (State.INIT, State.UP):
        raise PeerError(DropReason.DISCRIMINATOR, f"your discriminator is 0 in state {state}")
    if flags & Flag.AUTHENTICATION:
        raise PeerError(DropReason.AUTHENTICATION, "authentication is not in use here")
    if flags & Flag.POLL and flags & Flag.FINAL:
        raise PeerError(DropReason.FLAGS, "poll and final in one packet")
    return Packet(state, mine, yours, tx_us, rx_us, echo_us, multiplier, first & 0x1F, flags)


def _parse_ipv4(payload: bytes) -> tuple[IPv4Address, IPv4Address, bytes]:
    if len(payload) < _IPV4.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(payload)} of {_IPV4.size} octets of IPv4 header")
    first, _, length, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(payload)
    header = 4 * (first & 0x0F)
    if not _IPV4.size <= header <= length:
        raise PeerError(DropReason.HEADER_LENGTH, f"{header} octets of IPv4 header in a packet of {length}")
    if length > len(payload):
        raise PeerError(DropReason.PAYLOAD_LENGTH, f"{length} octets of IPv4 in {len(payload)}")
    if fragment & _FRAGMENT:
        raise PeerError(DropReason.FRAGMENT, "a fragment")
    if _sum(payload[:header]) != 0xFFFF:
        raise PeerError(DropReason.CHECKSUM, "IPv4 checksum is wrong")
    _check_last_hop(protocol, ttl)
    return IPv4Address(source), IPv4Address(destination), payload[header:length]


def _parse_ipv6(payload: bytes) -> tuple[IPv6Address, IPv6Address, bytes]:
    if len(payload) < _IPV6.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(payload)} of {_IPV6.size} octets of IPv6 header")
    _, length, protocol, hops, source, destination = _IPV6.unpack_from(payload)
    if _IPV6.size + length > len(payload):
        raise PeerError(DropReason.PAYLOAD_LENGTH, f"{length} octets of IPv6 in {len(payload) - _IPV6.size}")
    _check_last_hop(protocol, hops)
    return IPv6Address(source), IPv6Address(destination), payload[_IPV6.size : _IPV6.size + length]


def _check_last_hop(protocol: int, ttl: int) -> None:
    if protocol != PROTOCOL_UDP:
        raise PeerError(DropReason.NEXT_HEADER, f"{protocol}, not UDP")
    if ttl != TTL:
        raise PeerError(DropReason.HOP_LIMIT, f"{ttl}, not {TTL}: it was forwarded")


def _pseudo(source: bytes, destination: bytes, length: int) -> bytes:
    """What UDP's checksum covers beside the datagram; the same sum for the layouts of RFC 768 and RFC 8200."""
    return source + destination + struct.pack("!II", length, PROTOCOL_UDP)


def _sum(octets: bytes) -> int:
    """The ones' complement sum of the 16-bit words, 1 to 0xffff (RFC 1071)."""
    words = octets + b"\0" * (len(octets) % 2)
    return int.from_bytes(words) % 0xFFFF or 0xFFFF
