"""Ethernet: hardware addresses as text, and the header with or without an 802.1Q tag.

In frames a hardware address is `bytes` of length six. The header codec knows one in-band 802.1Q tag (EtherType 0x8100, IEEE 802.1Q
clause 9.6). A tag that the kernel has taken out of the frame and keeps beside it ("accelerated") is not part of the octets.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError

MAC_LENGTH: Final = 6
HEADER_LENGTH: Final = 14
TAGGED_HEADER_LENGTH: Final = 18
VLAN_ID_MASK: Final = 0x0FFF  # of a TCI; above it are one drop-eligible bit and three of priority

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_VLAN: Final = 0x8100
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPE_SLOW: Final = 0x8809  # the slow protocols: LACP, marker, OAM

BROADCAST: Final = b"\xff" * MAC_LENGTH

_HEADER: Final = struct.Struct("!6s6sH")
_TAG: Final = struct.Struct("!HH")
_HEX_BYTE: Final = re.compile(r"\s*\+?(?:0[xX])?0*([0-9a-fA-F]{1,2})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class EthernetFrame:
    """One Ethernet frame without FCS. `vlan_tci` is the 16-bit tag inside the frame, None when untagged."""

    destination: bytes
    source: bytes
    ethertype: int  # of the payload, not of the tag
    payload: bytes
    vlan_tci: int | None = None

    def __post_init__(self) -> None:
        require_mac(self.destination)
        require_mac(self.source)

    @property
    def vlan_id(self) -> int | None:
        """VLAN identifier 0..4095 (0 = priority-tagged), None when untagged."""
        return None if self.vlan_tci is None else self.vlan_tci & VLAN_ID_MASK

    def build(self) -> bytes:
        """The frame's bytes, not padded: drivers pad to 60 octets where the medium needs it."""
        if self.vlan_tci is None:
            return _HEADER.pack(self.destination, self.source, self.ethertype) + self.payload
        header = _HEADER.pack(self.destination, self.source, ETHERTYPE_VLAN)
        return header + _TAG.pack(self.vlan_tci, self.ethertype) + self.payload


def parse(frame: bytes) -> EthernetFrame:
    """Split a whole frame; one 0x8100 tag is taken off. Raises PeerError(TOO_SHORT)."""
    if len(frame) < HEADER_LENGTH:
        raise PeerError(DropReason.TOO_SHORT, f"{len(frame)} of {HEADER_LENGTH} octets of header")
    destination, source, ethertype = _HEADER.unpack_from(frame)
    if ethertype != ETHERTYPE_VLAN:
        return EthernetFrame(destination, source, ethertype, frame[HEADER_LENGTH:])
    if len(frame) < TAGGED_HEADER_LENGTH:
        raise PeerError(DropReason.TOO_SHORT, f"{len(frame)} of {TAGGED_HEADER_LENGTH} octets of header")
    tci, ethertype = _TAG.unpack_from(frame, HEADER_LENGTH)
    return EthernetFrame(destination, source, ethertype, frame[TAGGED_HEADER_LENGTH:], tci)


def parse_mac(text: str) -> bytes:
    """A hardware address as a configuration may write it: six hex numbers 0..ff between colons.

    As in teamd, single digits, leading zeros, a sign, a `0x` and spaces around a number are accepted. A number left
    out is refused: teamd reads it as zero, which turns a typing error into another address. Raises
    ValueError.
    """
    matches = [_HEX_BYTE.fullmatch(group) for group in text.split(":")]
    octets = bytes(int(match[1], 16) for match in matches if match is not None)
    if len(octets) != MAC_LENGTH or len(matches) != MAC_LENGTH:
        allowed = "six hex numbers 0..ff with ':' between, as 02:00:00:00:00:01"
        raise ValueError(f"{text!r} is not a hardware address (allowed: {allowed})")
    return octets


def format_mac(mac: bytes) -> str:
    """`02:00:00:00:00:01`: lower case, two digits each."""
    return mac.hex(":")


def require_mac(mac: bytes) -> None:
    """Raise ValueError unless `mac` has six octets: `struct` would pad or cut it without a word."""
    if len(mac) != MAC_LENGTH:
        raise ValueError(f"a hardware address has {MAC_LENGTH} octets, got {len(mac)}: {mac.hex(':')!r}")
