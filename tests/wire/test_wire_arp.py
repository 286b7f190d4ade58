"""ARP: the request that arp_ping sends, and what is accepted from the wire."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pyteamd.wire import DropReason, PeerError, arp

HERE = bytes.fromhex("020000000001")
THERE = bytes.fromhex("0200000000fe")
US = IPv4Address("192.0.2.10")
TARGET = IPv4Address("192.0.2.1")
MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.builds(IPv4Address, st.integers(0, 0xFFFFFFFF))
SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)


def test_the_request_octet_by_octet() -> None:
    assert arp.request(HERE, US, TARGET).build() == bytes.fromhex(
        "0001 0800 06 04 0001"  # Ethernet, IPv4, lengths, request
        "020000000001 c000020a"
        "ffffffffffff c0000201"
    )


def test_request_frames_are_those_of_scapy() -> None:
    request = arp.request(HERE, US, TARGET)
    ether = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:01")
    body = ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="192.0.2.10", hwdst="ff:ff:ff:ff:ff:ff", pdst="192.0.2.1")
    assert request.frame() == bytes(ether / body)
    assert request.frame(vlan_id=100) == bytes(ether / Dot1Q(vlan=100) / body)
    assert request.frame(vlan_id=0) == bytes(ether / Dot1Q(vlan=0) / body)
    assert (len(request.frame()), len(request.frame(vlan_id=0))) == (14 + 28, 14 + 32)


def test_the_default_source_makes_a_probe() -> None:
    parsed = ARP(arp.request(HERE, IPv4Address(0), TARGET).build())
    assert (parsed.psrc, parsed.pdst, parsed.op) == ("0.0.0.0", "192.0.2.1", 1)


def test_the_reply_swaps_ends() -> None:
    reply = arp.request(HERE, US, TARGET).reply(THERE)
    assert reply == arp.Arp(arp.Operation.REPLY, THERE, TARGET, HERE, US)
    frame = Ether(reply.frame(HERE))
    assert (frame.dst, frame.src) == ("02:00:00:00:00:01", "02:00:00:00:00:fe")
    assert (frame.op, frame.hwsrc, frame.psrc) == (2, "02:00:00:00:00:fe", "192.0.2.1")
    assert (frame.hwdst, frame.pdst) == ("02:00:00:00:00:01", "192.0.2.10")


def test_replies_of_scapy_are_read() -> None:
    octets = bytes(ARP(op=2, hwsrc="02:00:00:00:00:fe", psrc="192.0.2.1", hwdst="02:00:00:00:00:01", pdst="192.0.2.10"))
    padded = octets + bytes(18)
    assert arp.parse(padded) == arp.Arp(arp.Operation.REPLY, THERE, TARGET, HERE, US)


@given(st.sampled_from(arp.Operation), MACS, ADDRESSES, MACS, ADDRESSES, st.binary(max_size=20))
@SETTINGS
def test_a_message_reads_back(
    operation: arp.Operation,
    sender_mac: bytes,
    sender_ip: IPv4Address,
    target_mac: bytes,
    target_ip: IPv4Address,
    padding: bytes,
) -> None:
    message = arp.Arp(operation, sender_mac, sender_ip, target_mac, target_ip)
    assert arp.parse(message.build() + padding) == message


@pytest.mark.parametrize(
    ("offset", "octets", "reason"),
    [
        (0, b"\x00\x06", DropReason.HARDWARE_TYPE),  # IEEE 802 networks
        (0, b"\x00\x20", DropReason.HARDWARE_TYPE),  # InfiniBand
        (2, b"\x86\xdd", DropReason.PROTOCOL_TYPE),
        (4, b"\x08", DropReason.ADDRESS_LENGTH),
        (5, b"\x10", DropReason.ADDRESS_LENGTH),
        (6, b"\x00\x00", DropReason.OPERATION),
        (6, b"\x00\x03", DropReason.OPERATION),  # reverse ARP
        (6, b"\x01\x01", DropReason.OPERATION),
    ],
)
def test_other_messages_are_refused(offset: int, octets: bytes, reason: DropReason) -> None:
    message = bytearray(arp.request(HERE, US, TARGET).build())
    message[offset : offset + len(octets)] = octets
    with pytest.raises(PeerError) as caught:
        arp.parse(bytes(message))
    assert caught.value.reason is reason
    assert str(caught.value).startswith(f"{reason.value}: ")


def test_truncated_messages() -> None:
    for length in range(28):
        with pytest.raises(PeerError, match=f"too_short: {length} of 28 octets"):
            arp.parse(arp.request(HERE, US, TARGET).build()[:length])


def test_addresses_of_the_wrong_length_are_never_built() -> None:
    request = arp.request(HERE, US, TARGET)
    with pytest.raises(ValueError, match="6 octets, got 4"):
        replace(request, sender_mac=bytes(4))
    with pytest.raises(ValueError, match="6 octets, got 4"):
        replace(request, target_mac=bytes(4))
