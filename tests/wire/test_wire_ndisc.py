"""Neighbour discovery: solicitations as the kernel would send them, advertisements with every rule checked."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from pyteamd.wire import DropReason, PeerError, ndisc

HERE = bytes.fromhex("020000000001")
THERE = bytes.fromhex("0200000000fe")
US = IPv6Address("fe80::ff:fe00:1")
TARGET = IPv6Address("2001:db8::12:3456")
MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.builds(IPv6Address, st.binary(min_size=16, max_size=16))
SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)


def scapy_advert(**changes: Any) -> bytes:
    """An acceptable advertisement built by scapy, with fields of the IPv6 header or the message changed."""
    header: dict[str, Any] = {"src": str(TARGET), "dst": str(US), "hlim": 255}
    message: dict[str, Any] = {"tgt": str(TARGET), "R": 0, "S": 1, "O": 1}
    for name, value in changes.items():
        (header if name in ("src", "dst", "hlim") else message)[name] = value
    return bytes(IPv6(**header) / ICMPv6ND_NA(**message) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:fe"))


ADVERT = scapy_advert()


@pytest.mark.parametrize(
    ("target", "group", "mac"),
    [
        ("2001:db8::12:3456", "ff02::1:ff12:3456", "3333ff123456"),
        ("fe80::1", "ff02::1:ff00:1", "3333ff000001"),
        ("fe80::1%eth0", "ff02::1:ff00:1", "3333ff000001"),
        ("::ffff:ffff", "ff02::1:ffff:ffff", "3333ffffffff"),
    ],
)
def test_the_solicited_node_group(target: str, group: str, mac: str) -> None:
    assert ndisc.solicited_node(IPv6Address(target)) == IPv6Address(group)
    assert ndisc.solicited_node_mac(IPv6Address(target)) == bytes.fromhex(mac)


def test_a_solicitation_is_that_of_scapy() -> None:
    expected = (
        Ether(dst="33:33:ff:12:34:56", src="02:00:00:00:00:01")
        / IPv6(src=str(US), dst="ff02::1:ff12:3456", hlim=255)
        / ICMPv6ND_NS(tgt=str(TARGET))
        / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01")
    )
    assert ndisc.NeighborSolicit(US, TARGET, HERE).frame() == bytes(expected)


@given(ADDRESSES.filter(int), ADDRESSES, MACS)
@settings(SETTINGS, max_examples=40)
def test_every_checksum_is_that_of_scapy(source: IPv6Address, target: IPv6Address, mac: bytes) -> None:
    octets = ndisc.NeighborSolicit(source, target, mac).build()
    parsed = IPv6(octets)
    checksum = parsed[ICMPv6ND_NS].cksum
    del parsed[ICMPv6ND_NS].cksum
    assert IPv6(bytes(parsed))[ICMPv6ND_NS].cksum == checksum
    assert ndisc.parse_solicit(octets) == ndisc.NeighborSolicit(source, target, mac)


@given(ADDRESSES, ADDRESSES, ADDRESSES, MACS, st.sampled_from([0, 0x20000000, 0x60000000, 0xE0000000]))
@SETTINGS
def test_an_advertisement_reads_back(
    source: IPv6Address, destination: IPv6Address, target: IPv6Address, mac: bytes, flags: int
) -> None:
    advert = ndisc.NeighborAdvert(source, destination, target, mac, flags)
    assert ndisc.parse(advert.build()) == advert


def test_an_advertisement_is_that_of_scapy() -> None:
    advert = ndisc.NeighborAdvert(TARGET, US, TARGET, THERE)
    assert advert.build() == ADVERT
    assert ndisc.parse(ADVERT + b"trailer") == advert


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"R": 1, "S": 0, "O": 0}, ndisc.FLAG_ROUTER),
        ({"R": 0, "S": 1, "O": 0}, ndisc.FLAG_SOLICITED),
        ({"R": 0, "S": 0, "O": 1}, ndisc.FLAG_OVERRIDE),
        ({"R": 0, "S": 0, "O": 0, "res": 0x1FFFFFFF}, 0),  # reserved bits are not judged
    ],
)
def test_the_flags(changes: dict[str, int], flags: int) -> None:
    assert ndisc.parse(scapy_advert(**changes)).flags == flags


def test_the_sender_is_not_judged() -> None:
    """An anycast or proxy answer comes from another address than the target."""
    assert ndisc.parse(scapy_advert(src="fe80::99", dst="ff02::1")).target == TARGET


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\x40" + ADVERT[1:], DropReason.IP_VERSION),
        (ADVERT[:4] + b"\x00\x28" + ADVERT[6:], DropReason.PAYLOAD_LENGTH),
        (
            bytes(IPv6(src=str(TARGET), dst=str(US), hlim=255) / ICMPv6ND_NA(tgt=str(TARGET))),
            DropReason.PAYLOAD_LENGTH,  # no option at all
        ),
        (ADVERT[:6] + b"\x3b" + ADVERT[7:], DropReason.NEXT_HEADER),
        (scapy_advert(hlim=254), DropReason.HOP_LIMIT),
        (scapy_advert(hlim=1), DropReason.HOP_LIMIT),
        (scapy_advert(type=135), DropReason.ICMP_TYPE),
        (scapy_advert(code=1), DropReason.ICMP_CODE),
        (ADVERT[:64] + b"\x01" + ADVERT[65:], DropReason.OPTION),  # source-link-layer
        (ADVERT[:65] + b"\x02" + ADVERT[66:], DropReason.OPTION),  # too long
        (ADVERT[:65] + b"\x00" + ADVERT[66:], DropReason.OPTION),
        (scapy_advert(cksum=0x1234), DropReason.CHECKSUM),
        (ADVERT[:71] + b"\xff", DropReason.CHECKSUM),
    ],
)
def test_other_messages_are_refused(octets: bytes, reason: DropReason) -> None:
    with pytest.raises(PeerError) as caught:
        ndisc.parse(octets)
    assert caught.value.reason is reason


def test_truncated_messages() -> None:
    for length in range(72):
        with pytest.raises(PeerError, match="too_short"):
            ndisc.parse(ADVERT[:length])


def test_any_flipped_bit_is_noticed_or_harmless() -> None:
    """Traffic class and flow label may change without a trace; the checksum or a rule has the rest."""
    for bit in range(8 * len(ADVERT)):
        octets = bytearray(ADVERT)
        octets[bit // 8] ^= 0x80 >> bit % 8
        if 4 <= bit < 32:
            assert ndisc.parse(bytes(octets)) == ndisc.parse(ADVERT)
        else:
            with pytest.raises(PeerError):
                ndisc.parse(bytes(octets))


def test_a_solicitation_needs_a_source_address() -> None:
    with pytest.raises(ValueError, match="needs an address of the port"):
        ndisc.NeighborSolicit(IPv6Address("::"), TARGET, HERE)
    good = ndisc.NeighborSolicit(US, TARGET, HERE).build()
    # Clearing the source leaves the sum right when another word takes the difference up: here, the target's.
    difference = sum(int.from_bytes(US.packed[at : at + 2]) for at in range(0, 16, 2))
    word = (int.from_bytes(good[48:50]) + difference) % 0xFFFF
    from_nobody = good[:8] + bytes(16) + good[24:48] + word.to_bytes(2) + good[50:]
    with pytest.raises(PeerError) as caught:
        ndisc.parse_solicit(from_nobody)
    assert caught.value.reason is DropReason.OPTION


def test_addresses_of_the_wrong_length_are_never_built() -> None:
    with pytest.raises(ValueError, match="6 octets, got 8"):
        ndisc.NeighborSolicit(US, TARGET, bytes(8))
    with pytest.raises(ValueError, match="6 octets, got 8"):
        ndisc.NeighborAdvert(TARGET, US, TARGET, bytes(8))
