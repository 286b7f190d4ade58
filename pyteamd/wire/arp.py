"""ARP over Ethernet and IPv4 (RFC 826): the request that arp_ping sends, and what it may take for an answer.

A request asks with the target hardware address all ones, as teamd does, not zero as most stacks do; nobody
reads that field of a request. It goes to the broadcast address, optionally inside one 802.1Q tag of priority
0.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.ethernet import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, MAC_LENGTH, EthernetFrame, require_mac
from pyteamd.wire.frame_filter import Field, FrameFilter

HARDWARE_ETHERNET: Final = 1
IPV4_LENGTH: Final = 4

_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")


class Operation(IntEnum):
    """The two operations of address resolution; reverse and inverse ARP answer nothing we ask."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP message. Hardware is always Ethernet, protocol always IPv4."""

    operation: Operation
    sender_mac: bytes
    sender_ip: IPv4Address
    target_mac: bytes
    target_ip: IPv4Address

    def __post_init__(self) -> None:
        require_mac(self.sender_mac)
        require_mac(self.target_mac)

    def build(self) -> bytes:
        """The 28 octets after the Ethernet header."""
        return _ARP.pack(
            HARDWARE_ETHERNET, ETHERTYPE_IPV4, MAC_LENGTH, IPV4_LENGTH, self.operation,
            self.sender_mac, self.sender_ip.packed, self.target_mac, self.target_ip.packed,
        )  # fmt: skip

    def frame(self, destination: bytes = BROADCAST, vlan_id: int | None = None) -> bytes:
        """The whole frame from `sender_mac`; `vlan_id` 0..4095 puts it into a tag of priority 0."""
        return EthernetFrame(destination, self.sender_mac, ETHERTYPE_ARP, self.build(), vlan_id).build()

    def reply(self, mac: bytes) -> Arp:
        """What the owner of `target_ip`, at `mac`, answers to this request."""
        return Arp(Operation.REPLY, mac, self.target_ip, self.sender_mac, self.sender_ip)


def request(sender_mac: bytes, sender_ip: IPv4Address, target_ip: IPv4Address) -> Arp:
    """Who has `target_ip`? A `sender_ip` of 0.0.0.0 makes it a probe (RFC 5227): it enters nobody's cache."""
    return Arp(Operation.REQUEST, sender_mac, sender_ip, BROADCAST, target_ip)


def frames(vlan: int | None) -> FrameFilter:
    """ARP requests and replies of one VLAN; None for untagged ones."""
    return FrameFilter(ETHERTYPE_ARP, (Field(6, 2, (Operation.REQUEST, Operation.REPLY)),), vlan)


def parse(payload: bytes) -> Arp:
    """Read an ARP request or reply; padding after it is ignored.

    Raises PeerError: TOO_SHORT, HARDWARE_TYPE, PROTOCOL_TYPE, ADDRESS_LENGTH, OPERATION.
    """
    if len(payload) < _ARP.size:
        raise PeerError(DropReason.TOO_SHORT, f"{len(payload)} of {_ARP.size} octets of ARP")
    hardware, protocol, mac_length, ip_length, operation, *addresses = _ARP.unpack_from(payload)
    if hardware != HARDWARE_ETHERNET:
        raise PeerError(DropReason.HARDWARE_TYPE, f"{hardware}, not Ethernet")
    if protocol != ETHERTYPE_IPV4:
        raise PeerError(DropReason.PROTOCOL_TYPE, f"{protocol:#06x}, not IPv4")
    if (mac_length, ip_length) != (MAC_LENGTH, IPV4_LENGTH):
        raise PeerError(DropReason.ADDRESS_LENGTH, f"{mac_length} and {ip_length} octets")
    if operation not in (Operation.REQUEST, Operation.REPLY):
        raise PeerError(DropReason.OPERATION, f"{operation} is neither request nor reply")
    sender_mac, sender_ip, target_mac, target_ip = addresses
    return Arp(Operation(operation), sender_mac, IPv4Address(sender_ip), target_mac, IPv4Address(target_ip))
