"""LLDPDUs made by scapy, and those that break a rule of 802.1AB."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import lldp as scapy_lldp
from scapy.layers.l2 import Ether

from pyteamd.wire import PeerError, ethernet, lldp
from pyteamd.wire.lldp import Neighbour


def made(*extra: object, ttl: int = 120) -> bytes:
    """A frame of scapy's, whole."""
    head = scapy_lldp.LLDPDUChassisID(subtype=4, id="02:00:00:00:00:0f")
    head /= scapy_lldp.LLDPDUPortID(subtype=5, id=b"Ethernet3") / scapy_lldp.LLDPDUTimeToLive(ttl=ttl)
    for one in extra:
        head /= one
    frame = Ether(src="02:00:00:00:00:0e", dst="01:80:c2:00:00:0e", type=0x88CC) / head / scapy_lldp.LLDPDUEndOfLLDPDU()
    return bytes(frame)


def test_what_a_switch_says_is_read() -> None:
    octets = made(
        scapy_lldp.LLDPDUPortDescription(description=b"to host 7"),
        scapy_lldp.LLDPDUSystemName(system_name=b"sw1"),
        scapy_lldp.LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=1, data=b"\x00\x2a"),
        scapy_lldp.LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=7, data=b"\x01\0\0\0\0"),
    )
    frame = ethernet.parse(octets)
    assert frame.destination == lldp.GROUP
    assert lldp.FRAMES.lets_through(frame.ethertype, None, frame.payload)
    assert lldp.parse(frame.payload) == Neighbour(
        "02:00:00:00:00:0f", "Ethernet3", 120, "sw1", "to host 7", 42, True, False
    )
    assert lldp.parse(ethernet.parse(made()).payload).system == "02:00:00:00:00:0f"


def tlv(kind: int, value: bytes, length: int | None = None) -> bytes:
    return (kind << 9 | (len(value) if length is None else length)).to_bytes(2) + value


CHASSIS, PORT, TTL = tlv(1, b"\x07sw1"), tlv(2, b"\x07p1"), tlv(3, b"\0\x78")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "tlv_type"),
        (PORT + CHASSIS + TTL, "tlv_type"),
        (CHASSIS + PORT + TTL + TTL, "tlv_type"),
        (CHASSIS + PORT + tlv(3, b"\0"), "tlv_length"),
        (tlv(1, b"\x07") + PORT + TTL, "tlv_length"),
        (tlv(1, b"\x00sw1") + PORT + TTL, "tlv_type"),
        (CHASSIS + PORT + TTL + tlv(5, b"sw", 20), "too_short"),
        (CHASSIS + PORT + TTL + tlv(127, b"\0\x80"), "tlv_length"),
        (tlv(1, b"\x07" + bytes(300)) + PORT + TTL, "tlv_length"),
    ],
)
def test_what_breaks_a_rule_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        lldp.parse(payload)
    assert caught.value.reason.value == reason


def test_identifiers_are_written_as_people_do() -> None:
    assert lldp.parse(tlv(1, b"\x05\x01\xc0\0\x02\x01") + tlv(2, b"\x03\x02\0\0\0\0\x01") + TTL) == Neighbour(
        "192.0.2.1", "02:00:00:00:00:01", 120
    )
    assert lldp.parse(CHASSIS + PORT + TTL + tlv(127, b"\x00\x12\x0f\x03\x03\0\0\0\0")).aggregation_enabled is True


@given(st.binary(max_size=200))
def test_any_octets_are_a_neighbour_or_refused(octets: bytes) -> None:
    for payload in (octets, CHASSIS + PORT + TTL + octets):
        with contextlib.suppress(PeerError):
            assert isinstance(lldp.parse(payload), Neighbour)
