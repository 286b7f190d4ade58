"""IPv6 neighbour discovery (RFC 4861): solicitations out, advertisements in.

A solicitation for a target goes to the target's solicited-node group (RFC 4291, 2.7.1) with hop limit 255 and
carries the sender's MAC as its only option. Because it leaves through a raw packet socket the checksum is
computed here, over the pseudo-header of RFC 8200, 8.1.

An advertisement counts only if it looks like the answer to that: hop limit still 255 (so it came from this
link), one target-link-layer option and nothing else (payload of 32 octets, as teamd asks), code 0 and a right
checksum (RFC 4861, 7.1.2). Whether its target is the wanted one is the caller's question. Addresses parsed
here have no scope (`%eth0`).
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.ethernet import ETHERTYPE_IPV6, EthernetFrame, require_mac
from pyteamd.wire.frame_filter import Field, FrameFilter

HOP_LIMIT: Final = 255
NEXT_HEADER_ICMPV6: Final = 58
TYPE_SOLICIT: Final = 135
TYPE_ADVERT: Final = 136
ADVERTISEMENTS: Final = FrameFilter(ETHERTYPE_IPV6, (Field(6, 1, (NEXT_HEADER_ICMPV6,)), Field(40, 1, (TYPE_ADVERT,))))
"""Untagged IPv6 frames with ICMPv6 as first next header and the type of an advertisement."""

FLAG_ROUTER: Final = 0x80000000
FLAG_SOLICITED: Final = 0x40000000
FLAG_OVERRIDE: Final = 0x20000000

_VERSION_WORD: Final = 6 << 28  # version 6, traffic class and flow label 0
_OPTION_SOURCE: Final = 1
_OPTION_TARGET: Final = 2
_OPTION_UNITS: Final = 1  # option lengths count units of eight octets
_NODE_PREFIX: Final = IPv6Address("ff02::1:ff00:0").packed[:13]
_UNSPECIFIED: Final = IPv6Address("::")

_IPV6: Final = struct.Struct("!IHBB16s16s")
_ICMP: Final = struct.Struct("!BBHI16sBB6s")
_PSEUDO: Final = struct.Struct("!16s16sII")


@dataclass(frozen=True, slots=True)
class NeighborSolicit:
    """Who has `target`? `source` must be an address of the sending port: without one nobody can answer."""

    source: IPv6Address
    target: IPv6Address
    source_mac: bytes

    def __post_init__(self) -> None:
        require_mac(self.source_mac)
        if self.source == _UNSPECIFIED:
            raise ValueError("a solicitation needs an address of the port as source (RFC 4861, 4.3), got ::")

    def build(self) -> bytes:
        """The 72 octets after the Ethernet header: IPv6 header, solicitation, source-link-layer option."""
        body = _Body(TYPE_SOLICIT, 0, self.target.packed, _OPTION_SOURCE, self.source_mac)
        return _build(self.source.packed, solicited_node(self.target).packed, body)

    def frame(self) -> bytes:
        """The whole frame, to the Ethernet multicast address of the target's group."""
        return EthernetFrame(solicited_node_mac(self.target), self.source_mac, ETHERTYPE_IPV6, self.build()).build()


@dataclass(frozen=True, slots=True)
class NeighborAdvert:
    """`target` is at `target_mac`. `flags` is any of FLAG_ROUTER, FLAG_SOLICITED, FLAG_OVERRIDE."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    target_mac: bytes
    flags: int = FLAG_SOLICITED | FLAG_OVERRIDE

    def __post_init__(self) -> None:
        require_mac(self.target_mac)

    def build(self) -> bytes:
        """The 72 octets after the Ethernet header: IPv6 header, advertisement, target-link-layer option."""
        body = _Body(TYPE_ADVERT, self.flags, self.target.packed, _OPTION_TARGET, self.target_mac)
        return _build(self.source.packed, self.destination.packed, body)


def parse(payload: bytes) -> NeighborAdvert:
    """Read an advertisement that has exactly a target-link-layer option; octets after it are ignored.

    Raises PeerError: TOO_SHORT, IP_VERSION, PAYLOAD_LENGTH, NEXT_HEADER, HOP_LIMIT, ICMP_TYPE, ICMP_CODE,
    OPTION, CHECKSUM.
    """
    source, destination, body = _parse(payload, TYPE_ADVERT, _OPTION_TARGET)
    flags = body.flags & (FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE)
    target = IPv6Address(body.target)
    return NeighborAdvert(IPv6Address(source), IPv6Address(destination), target, body.mac, flags)


def parse_solicit(payload: bytes) -> NeighborSolicit:
    """Read a solicitation that has exactly a source-link-layer option. Raises PeerError as `parse` does."""
    source, _, body = _parse(payload, TYPE_SOLICIT, _OPTION_SOURCE)
    if source == _UNSPECIFIED.packed:
        raise PeerError(DropReason.OPTION, "a solicitation from :: must not name a MAC")
    return NeighborSolicit(IPv6Address(source), IPv6Address(body.target), body.mac)


def solicited_node(target: IPv6Address) -> IPv6Address:
    """The group ff02::1:ffXX:XXXX the owner of `target` listens to; XX:XXXX are its last three octets."""
    return IPv6Address(_NODE_PREFIX + target.packed[-3:])


def solicited_node_mac(target: IPv6Address) -> bytes:
    """The Ethernet address of that group: 33:33 and its last four octets (RFC 2464, 7)."""
    return b"\x33\x33\xff" + target.packed[-3:]


class _Body(NamedTuple):
    """What solicitation and advertisement share: they have one layout."""

    icmp_type: int
    flags: int
    target: bytes
    option: int
    mac: bytes

    def pack(self, checksum: int) -> bytes:
        return _ICMP.pack(self.icmp_type, 0, checksum, self.flags, self.target, self.option, _OPTION_UNITS, self.mac)


def _build(source: bytes, destination: bytes, body: _Body) -> bytes:
    # The remainder modulo 0xffff is the ones' complement sum of 16-bit words; its negative the checksum.
    checksum = -_sum(source, destination, body.pack(0)) % 0xFFFF
    header = _IPV6.pack(_VERSION_WORD, _ICMP.size, NEXT_HEADER_ICMPV6, HOP_LIMIT, source, destination)
    return header + body.pack(checksum)


def _parse(payload: bytes, icmp_type: int, option: int) -> tuple[bytes, bytes, _Body]:
    source, destination = _parse_header(payload)
    message = payload[_IPV6.size : _IPV6.size + _ICMP.size]
    if len(message) < _ICMP.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(message)} of {_ICMP.size} octets of ICMPv6")
    kind, code, _, flags, target, option_type, option_units, mac = _ICMP.unpack(message)
    if kind != icmp_type:
        raise PeerError(DropReason.ICMP_TYPE, f"{kind}, not {icmp_type}")
    if code != 0:
        raise PeerError(DropReason.ICMP_CODE, f"{code}, not 0")
    if (option_type, option_units) != (option, _OPTION_UNITS):
        raise PeerError(DropReason.OPTION, f"type {option_type} of {option_units} units, not {option} of 1")
    if _sum(source, destination, message) % 0xFFFF != 0:
        raise PeerError(DropReason.CHECKSUM, "ICMPv6 checksum is wrong")
    return source, destination, _Body(kind, flags, target, option_type, mac)


def _parse_header(payload: bytes) -> tuple[bytes, bytes]:
    if len(payload) < _IPV6.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(payload)} of {_IPV6.size} octets of IPv6 header")
    word, length, next_header, hop_limit, source, destination = _IPV6.unpack_from(payload)
    if word >> 28 != 6:
        raise PeerError(DropReason.IP_VERSION, f"{word >> 28}, not 6")
    if length != _ICMP.size:
        raise PeerError(DropReason.PAYLOAD_LENGTH, f"{length}, not {_ICMP.size}")
    if next_header != NEXT_HEADER_ICMPV6:
        raise PeerError(DropReason.NEXT_HEADER, f"{next_header}, not ICMPv6")
    if hop_limit != HOP_LIMIT:
        raise PeerError(DropReason.HOP_LIMIT, f"{hop_limit}, not 255: it was forwarded")
    return source, destination


def _sum(source: bytes, destination: bytes, message: bytes) -> int:
    """Pseudo-header and message as one number; only its remainder modulo 0xffff means something."""
    return int.from_bytes(_PSEUDO.pack(source, destination, len(message), NEXT_HEADER_ICMPV6) + message)
