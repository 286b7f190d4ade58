"""LLDPDUs as a switch sends them, put together by hand from IEEE 802.1AB."""

from __future__ import annotations

from pyteamd.wire import lldp


def tlv(kind: int, value: bytes) -> bytes:
    """One TLV."""
    return (kind << 9 | len(value)).to_bytes(2) + value


def lldpdu(
    port: str = "Ethernet3", system: str = "sw1", ttl_s: int = 120, aggregates: bool | None = None, more: bytes = b""
) -> bytes:
    """What follows the Ethernet header: VLAN 42; `aggregates`: the link aggregation TLV of 802.1, or none."""
    chassis = b"\x04\x02\0\0\0\0" + bytes([sum(system.encode()) % 256])
    payload = tlv(1, chassis) + tlv(2, b"\x05" + port.encode()) + tlv(3, ttl_s.to_bytes(2))
    payload += tlv(5, system.encode()) + tlv(127, b"\x00\x80\xc2\x01\0\x2a")
    if aggregates is not None:
        payload += tlv(127, b"\x00\x80\xc2\x07" + bytes([1 | 2 * aggregates]) + bytes(4))
    return payload + more


def lldp_frame(payload: bytes, source: bytes = bytes.fromhex("02bb00000099")) -> bytes:
    """With its Ethernet header."""
    return lldp.GROUP + source + lldp.ETHERTYPE_LLDP.to_bytes(2) + payload
