"""Octets and values: the codecs for every frame the daemon sends or reads, and the filters of packet sockets.

The module of a protocol has frozen dataclasses, `parse` that makes one of them from what follows the Ethernet header, and, for what the
daemon sends, `build()` that gives these octets and `frame()` that adds the Ethernet header. Nothing here does I/O or logs.

Two classes of error, told apart by who broke the rule. A frame from the wire that is not acceptable raises `PeerError`, whose `reason` is
what drops are counted by. A value that cannot be put on the wire (a MAC of five octets, a key of 70000) is our own mistake and raises
`ValueError` or `struct.error`.
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why a received frame was dropped; the value is the counter's name in the state."""

    TOO_SHORT = "too_short"
    WRONG_DESTINATION = "wrong_destination"
    # slow protocols
    SUBTYPE = "subtype"
    TLV_TYPE = "tlv_type"
    TLV_LENGTH = "tlv_length"
    # ARP
    HARDWARE_TYPE = "hardware_type"
    PROTOCOL_TYPE = "protocol_type"
    ADDRESS_LENGTH = "address_length"
    OPERATION = "operation"
    # neighbour discovery
    IP_VERSION = "ip_version"
    PAYLOAD_LENGTH = "payload_length"
    NEXT_HEADER = "next_header"
    HOP_LIMIT = "hop_limit"
    ICMP_TYPE = "icmp_type"
    ICMP_CODE = "icmp_code"
    OPTION = "option"
    CHECKSUM = "checksum"
    # BFD
    HEADER_LENGTH = "header_length"
    FRAGMENT = "fragment"
    UDP_PORT = "udp_port"
    BFD_VERSION = "bfd_version"
    MULTIPLIER = "multiplier"
    MULTIPOINT = "multipoint"
    DISCRIMINATOR = "discriminator"
    AUTHENTICATION = "authentication"
    FLAGS = "flags"
    # well made, but no answer
    WRONG_HOST = "wrong_host"
    NOT_ASKED = "not_asked"
    OWN_ADDRESS = "own_address"


class PeerError(ValueError):
    """A frame from the wire broke a rule of its protocol.

    `reason` is for counting, the text (`reason: detail`) for a note. The core catches it where it parses; it
    never leaves the core.
    """

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
