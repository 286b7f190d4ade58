"""Hardware addresses as text, and the Ethernet header."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Dot1Q, Ether

from pyteamd.wire import DropReason, PeerError, ethernet

HERE = bytes.fromhex("020000000001")
THERE = bytes.fromhex("0200000000fe")
MACS = st.binary(min_size=6, max_size=6)
U16 = st.integers(0, 0xFFFF)
SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("02:00:00:00:00:01", "020000000001"),
        ("aa:BB:cC:0:1:2", "aabbcc000102"),
        (" 2 : 0:0:0:0 :1\t", "020000000001"),
        ("0x02:0X0:0:0:0:ff", "0200000000ff"),
        ("0002:000:00:0:0:00ff", "0200000000ff"),
    ],
)
def test_addresses_as_teamd_reads_them(text: str, octets: str) -> None:
    assert ethernet.parse_mac(text) == bytes.fromhex(octets)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02",
        "02:00:00:00:00",
        "02:00:00:00:00:01:02",
        "02:00:00:00:00:100",
        "02:00:00:00:00:",
        "02::00:00:00:01",
        "02:00:00:00:00:g1",
        "02:00:00:00:00:-1",
        "02:00:00:00:00:1_0",
        "02:00:00:00:00:0 1",
        "02-00-00-00-00-01",
        "020000000001",
        "02:00:00:00:00:٣",
    ],
)
def test_bad_addresses_say_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a hardware address \(allowed: six hex numbers") as caught:
        ethernet.parse_mac(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_address_text() -> None:
    assert ethernet.format_mac(HERE) == "02:00:00:00:00:01"


@given(MACS)
@SETTINGS
def test_address_text_reads_back(mac: bytes) -> None:
    assert ethernet.parse_mac(ethernet.format_mac(mac)) == mac


def test_frames_are_those_of_scapy() -> None:
    frame = ethernet.EthernetFrame(THERE, HERE, 0x0806, b"payload")
    ether = Ether(dst="02:00:00:00:00:fe", src="02:00:00:00:00:01", type=0x0806)
    assert frame.build() == bytes(ether / b"payload")
    ether.type = 0x8100
    tagged = ethernet.EthernetFrame(THERE, HERE, 0x0806, b"payload", 0x6064)
    assert tagged.build() == bytes(ether / Dot1Q(prio=3, vlan=100, type=0x0806) / b"payload")


@given(MACS, MACS, U16.filter(lambda t: t != 0x8100), st.binary(max_size=64), st.none() | U16)
@SETTINGS
def test_a_frame_reads_back(destination: bytes, source: bytes, ethertype: int, payload: bytes, tci: int | None) -> None:
    frame = ethernet.EthernetFrame(destination, source, ethertype, payload, tci)
    assert ethernet.parse(frame.build()) == frame


@pytest.mark.parametrize(("tci", "vlan_id"), [(None, None), (0, 0), (100, 100), (0x6064, 100), (0xF000, 0)])
def test_vlan_id_is_the_low_twelve_bits(tci: int | None, vlan_id: int | None) -> None:
    assert ethernet.EthernetFrame(THERE, HERE, 0x0806, b"", tci).vlan_id == vlan_id


def test_a_second_tag_is_payload() -> None:
    outer = ethernet.EthernetFrame(THERE, HERE, 0x8100, b"\x00\x64\x08\x06", 7)
    assert ethernet.parse(outer.build()) == outer


@pytest.mark.parametrize("length", [0, 1, 13])
def test_short_headers(length: int) -> None:
    with pytest.raises(PeerError) as caught:
        ethernet.parse(bytes(length))
    assert caught.value.reason is DropReason.TOO_SHORT


@pytest.mark.parametrize("length", [14, 15, 17])
def test_short_tagged_headers(length: int) -> None:
    tagged = ethernet.EthernetFrame(THERE, HERE, 0x0806, b"", 100).build()
    with pytest.raises(PeerError, match=f"too_short: {length} of 18 octets"):
        ethernet.parse(tagged[:length])


@pytest.mark.parametrize("mac", [b"", bytes(5), bytes(7)])
def test_an_address_of_the_wrong_length_is_never_built(mac: bytes) -> None:
    with pytest.raises(ValueError, match=f"6 octets, got {len(mac)}"):
        ethernet.EthernetFrame(mac, HERE, 0x0806, b"")
    with pytest.raises(ValueError, match=f"6 octets, got {len(mac)}"):
        ethernet.EthernetFrame(HERE, mac, 0x0806, b"")
