"""LACPDU and marker PDU: layout, what a receiver judges, and what it must not judge."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.l2 import Ether

from pyteamd.wire import DropReason, PeerError, lacpdu, marker, slow
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo, Tlv
from pyteamd.wire.marker import Kind, Marker

PORT_MAC = bytes.fromhex("020000000011")
ACTOR = LacpInfo(65535, bytes.fromhex("020000000001"), 7, 255, 3, 0x3D)
PARTNER = LacpInfo(127, bytes.fromhex("0200000000fe"), 0x1234, 32768, 0x0102, 0x3F)
PDU = Lacpdu(ACTOR, PARTNER)
MARKER = Marker(Kind.REQUEST, 3, bytes.fromhex("0200000000fe"), 0xDEADBEEF)
Parse: TypeAlias = Callable[[bytes, bytes], Lacpdu | Marker]
SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
INFOS = st.builds(LacpInfo, U16, st.binary(min_size=6, max_size=6), U16, U16, U16, U8)
TLVS = st.builds(Tlv, st.integers(1, 255), st.binary(max_size=253))
PDUS = st.builds(Lacpdu, INFOS, INFOS, U16, U8, st.lists(TLVS, max_size=3).map(tuple))
MARKERS = st.builds(Marker, st.sampled_from(Kind), U16, st.binary(min_size=6, max_size=6), st.integers(0, 0xFFFFFFFF))


def changed(octets: bytes, offset: int, value: bytes) -> bytes:
    return octets[:offset] + value + octets[offset + len(value) :]


def reason_of(parse: Parse, octets: bytes, destination: bytes = slow.GROUP) -> DropReason:
    with pytest.raises(PeerError) as caught:
        parse(octets, destination)
    return caught.value.reason


# LACPDU


def test_a_lacpdu_octet_by_octet() -> None:
    assert PDU.frame(PORT_MAC) == bytes.fromhex(
        "0180c2000002 020000000011 8809 01 01"
        "01 14 ffff 020000000001 0007 00ff 0003 3d 000000"
        "02 14 007f 0200000000fe 1234 8000 0102 3f 000000"
        "03 10 0000 000000000000000000000000"
        "00 00"
    ) + bytes(50)
    assert len(PDU.frame(PORT_MAC)) == 124


def test_a_lacpdu_is_that_of_scapy() -> None:
    expected = (
        Ether(dst="01:80:c2:00:00:02", src="02:00:00:00:00:11", type=0x8809)
        / SlowProtocol(subtype=1)
        / LACP(
            actor_system_priority=65535, actor_system="02:00:00:00:00:01", actor_key=7,
            actor_port_priority=255, actor_port_number=3, actor_state=0x3D,
            partner_system_priority=127, partner_system="02:00:00:00:00:fe", partner_key=0x1234,
            partner_port_priority=32768, partner_port_number=0x0102, partner_state=0x3F,
            collector_max_delay=5,
        )
    )  # fmt: skip
    pdu = replace(PDU, collector_max_delay=5)
    assert pdu.frame(PORT_MAC) == bytes(expected)
    assert lacpdu.parse(bytes(expected)[14:], slow.GROUP) == pdu


@given(PDUS, st.binary(max_size=8))
@SETTINGS
def test_a_lacpdu_reads_back(pdu: Lacpdu, trailer: bytes) -> None:
    assert lacpdu.parse(pdu.build() + trailer, slow.GROUP) == pdu


def test_short_lacpdus() -> None:
    for length in range(1, 110):
        assert reason_of(lacpdu.parse, PDU.build()[:length]) is DropReason.TOO_SHORT


def test_an_empty_slow_frame() -> None:
    assert reason_of(lacpdu.parse, b"") is DropReason.TOO_SHORT
    with pytest.raises(PeerError, match="too_short"):
        slow.subtype(b"")


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, b"\x00", DropReason.SUBTYPE),
        (0, b"\x02", DropReason.SUBTYPE),
        (0, b"\x0a", DropReason.SUBTYPE),
        (3, b"\x13", DropReason.TLV_LENGTH),
        (3, b"\x00", DropReason.TLV_LENGTH),
        (23, b"\x15", DropReason.TLV_LENGTH),
        (43, b"\x14", DropReason.TLV_LENGTH),
    ],
)
def test_what_a_receiver_judges(offset: int, value: bytes, reason: DropReason) -> None:
    assert reason_of(lacpdu.parse, changed(PDU.build(), offset, value)) is reason


@pytest.mark.parametrize(
    "destination",
    [b"\xff" * 6, PORT_MAC, bytes.fromhex("0180c2000000"), bytes.fromhex("0180c2000003"), b""],
)
def test_another_destination(destination: bytes) -> None:
    assert reason_of(lacpdu.parse, PDU.build(), destination) is DropReason.WRONG_DESTINATION
    assert reason_of(marker.parse, MARKER.build(), destination) is DropReason.WRONG_DESTINATION


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (2, b"\x00"),  # TLV types
        (22, b"\x01"),
        (42, b"\xff"),
        (19, b"\xff\xff\xff"),  # reserved octets
        (39, b"\xff\xff\xff"),
        (46, b"\xff" * 12),
        (59, b"\xff"),  # length of the terminator
        (60, b"\xff" * 50),
    ],
)
def test_what_a_receiver_must_not_judge(offset: int, value: bytes) -> None:
    assert lacpdu.parse(changed(PDU.build(), offset, value), slow.GROUP) == PDU


@pytest.mark.parametrize("version", [0, 1, 2, 255])
def test_the_version_is_not_judged(version: int) -> None:
    parsed = lacpdu.parse(changed(PDU.build(), 1, bytes([version])), slow.GROUP)
    assert parsed == replace(PDU, version=version)


def test_a_version_2_pdu_with_port_algorithm() -> None:
    """Length 6 at the place where version 1 has the terminator's zero."""
    octets = changed(changed(PDU.build(), 1, b"\x02"), 58, bytes.fromhex("04 06 0080c201"))
    parsed = lacpdu.parse(octets, slow.GROUP)
    assert parsed == replace(PDU, version=2, extra=(Tlv(4, bytes.fromhex("0080c201")),))
    assert parsed.build() == octets


def test_a_sonic_pdu() -> None:
    """Version 0xf1 with retry counts of both ends."""
    octets = changed(changed(PDU.build(), 1, b"\xf1"), 58, bytes.fromhex("80 04 0500 81 04 0300"))
    parsed = lacpdu.parse(octets, slow.GROUP)
    assert (parsed.actor, parsed.partner, parsed.version) == (ACTOR, PARTNER, 0xF1)
    assert parsed.extra == (Tlv(0x80, b"\x05\x00"), Tlv(0x81, b"\x03\x00"))


def test_a_long_version_2_pdu() -> None:
    mask = Tlv(6, bytes(129))
    octets = replace(PDU, version=2, extra=(mask,)).build()
    assert len(octets) == 58 + 131 + 2
    assert lacpdu.parse(octets, slow.GROUP).extra == (mask,)
    # Cut off inside the mask: the fields of version 1 are there, so it still counts.
    assert lacpdu.parse(octets[:120], slow.GROUP) == replace(PDU, version=2)


@pytest.mark.parametrize("last", [Tlv(4, b""), Tlv(5, b"x"), Tlv(255, bytes(30))])
def test_tlvs_up_to_the_last_octet(last: Tlv) -> None:
    """No room for a terminator, so there is none."""
    first = Tlv(10, bytes(52 - 2 - len(last.build())))
    octets = replace(PDU, extra=(first, last)).build()[:110]
    assert lacpdu.parse(octets, slow.GROUP).extra == (first, last)
    assert lacpdu.parse(octets + b"\x04", slow.GROUP).extra == (first, last)


@pytest.mark.parametrize("tail", ["04 00", "04 01", "04 ff", "04 06 00000000 05 01"])
def test_senseless_tlvs_are_tolerated(tail: str) -> None:
    octets = changed(PDU.build(), 58, bytes.fromhex(tail))
    parsed = lacpdu.parse(octets, slow.GROUP)
    assert (parsed.actor, parsed.partner) == (ACTOR, PARTNER)
    assert len(parsed.extra) == (1 if len(octets.rstrip(b"\0")) > 60 else 0)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (0x3D, "active, long timeout, aggregatable, in sync, collecting, distributing"),
        (0x3F, "active, short timeout, aggregatable, in sync, collecting, distributing"),
        (0x0D, "active, long timeout, aggregatable, in sync"),
        (0x45, "active, long timeout, aggregatable, out of sync, defaulted"),
        (0x87, "active, short timeout, aggregatable, out of sync, expired"),
        (0x00, "passive, long timeout, individual, out of sync"),
    ],
)
def test_states_in_words(state: int, words: str) -> None:
    assert lacpdu.describe_state(state) == words


def test_every_state_reads_differently() -> None:
    assert len({lacpdu.describe_state(state) for state in range(256)}) == 256


def test_the_state_bits_make_the_common_values() -> None:
    healthy = lacpdu.ACTIVITY | lacpdu.AGGREGATION | lacpdu.SYNCHRONIZATION | lacpdu.COLLECTING | lacpdu.DISTRIBUTING
    assert healthy == 0x3D
    assert lacpdu.ACTIVITY | lacpdu.AGGREGATION | lacpdu.DEFAULTED == 0x45
    assert lacpdu.ACTIVITY | lacpdu.TIMEOUT | lacpdu.AGGREGATION | lacpdu.EXPIRED == 0x87


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="6 octets, got 5"):
        replace(ACTOR, system=bytes(5))
    with pytest.raises(ValueError, match="TLV type 0"):
        Tlv(0, b"")
    with pytest.raises(ValueError, match="TLV type 256"):
        Tlv(256, b"")
    with pytest.raises(ValueError, match="254 octets"):
        Tlv(4, bytes(254))
    assert Tlv(255, bytes(253)).build() == b"\xff\xff" + bytes(253)
    unfit = (
        replace(ACTOR, system_priority=65536),
        replace(ACTOR, key=65536),
        replace(ACTOR, port_priority=-1),
        replace(ACTOR, port=65536),
        replace(ACTOR, state=256),
    )
    for actor in unfit:
        with pytest.raises(struct.error):
            replace(PDU, actor=actor).build()


# Marker


def test_a_marker_octet_by_octet() -> None:
    assert MARKER.frame(PORT_MAC) == bytes.fromhex(
        "0180c2000002 020000000011 8809 02 01 01 10 0003 0200000000fe deadbeef 0000 00 00"
    ) + bytes(90)
    assert len(MARKER.frame(PORT_MAC)) == 124


@pytest.mark.parametrize("kind", Kind)
def test_a_marker_is_that_of_scapy(kind: Kind) -> None:
    expected = (
        Ether(dst="01:80:c2:00:00:02", src="02:00:00:00:00:11", type=0x8809)
        / SlowProtocol(subtype=2)
        / MarkerProtocol(
            marker_type=kind.value,
            requester_port=3,
            requester_system="02:00:00:00:00:fe",
            requester_transaction_id=0xDEADBEEF,
        )
    )
    assert replace(MARKER, kind=kind).frame(PORT_MAC) == bytes(expected)
    assert marker.parse(bytes(expected)[14:], slow.GROUP) == replace(MARKER, kind=kind)


@given(MARKERS)
@SETTINGS
def test_a_marker_reads_back(value: Marker) -> None:
    assert marker.parse(value.build(), slow.GROUP) == value


def test_the_response_changes_only_the_type() -> None:
    request, response = MARKER.build(), MARKER.response().build()
    assert [at for at in range(110) if request[at] != response[at]] == [2]
    assert response[2] == 2


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, b"\x01", DropReason.SUBTYPE),
        (2, b"\x00", DropReason.TLV_TYPE),
        (2, b"\x03", DropReason.TLV_TYPE),
        (3, b"\x00", DropReason.TLV_LENGTH),
        (3, b"\x11", DropReason.TLV_LENGTH),
    ],
)
def test_bad_markers(offset: int, value: bytes, reason: DropReason) -> None:
    assert reason_of(marker.parse, changed(MARKER.build(), offset, value)) is reason


@pytest.mark.parametrize(("offset", "value"), [(1, b"\x02"), (16, b"\xff\xff"), (18, b"\xff" * 92)])
def test_a_marker_is_read_whatever_its_version_and_padding(offset: int, value: bytes) -> None:
    assert marker.parse(changed(MARKER.build(), offset, value), slow.GROUP) == MARKER


@pytest.mark.parametrize("length", [1, 18, 46, 109])
def test_short_markers(length: int) -> None:
    assert reason_of(marker.parse, MARKER.build()[:length]) is DropReason.TOO_SHORT


def test_a_marker_of_a_wrong_system_is_never_built() -> None:
    with pytest.raises(ValueError, match="6 octets, got 7"):
        replace(MARKER, system=bytes(7))


def test_the_subtype_tells_the_two_apart() -> None:
    assert slow.subtype(PDU.build()) == slow.SUBTYPE_LACP
    assert slow.subtype(MARKER.build()) == slow.SUBTYPE_MARKER
