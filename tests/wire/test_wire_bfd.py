"""BFD control packets: layout and addresses against scapy, what a receiver judges, and the socket filter."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import bpf_machine
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.bfd import BFD
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pyteamd.wire import PeerError, bfd, bpf, ethernet
from pyteamd.wire.bfd import Datagram, Flag, Packet, State

MAC = bytes.fromhex("020000000001")
V4 = Datagram(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), Packet(State.UP, 0x11, 0x22, 50_000, 60_000))
V6 = Datagram(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), V4.packet, 50_000)

PACKETS = st.builds(
    Packet,
    st.sampled_from(State),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    *[st.integers(0, 2**32 - 1)] * 3,
    st.integers(1, 255),
    st.integers(0, 31),
    st.sampled_from([Flag.NONE, Flag.POLL, Flag.FINAL, Flag.DEMAND, Flag.POLL | Flag.CONTROL_INDEPENDENT]),
)


@given(PACKETS, st.sampled_from([V4, V6]))
def test_a_packet_reads_back(packet: Packet, around: Datagram) -> None:
    datagram = replace(around, packet=packet)
    assert bfd.parse(datagram.build()) == datagram
    assert bfd.parse(datagram.build() + b"padding") == datagram


@pytest.mark.parametrize("datagram", [V4, V6])
def test_scapy_reads_the_same_and_makes_the_same_checksums(datagram: Datagram) -> None:
    seen = Ether(datagram.frame(MAC))
    assert seen.dst == "01:00:5e:90:00:01"
    assert (seen[UDP].dport, seen[UDP].sport) == (6784, datagram.source_port)
    assert (seen.ttl if IP in seen else seen.hlim) == 255
    read = seen[BFD]
    assert (read.version, int(read.sta), read.my_discriminator, read.your_discriminator) == (1, 3, 0x11, 0x22)
    assert (read.min_tx_interval, read.min_rx_interval, read.detect_mult) == (50_000, 60_000, 3)
    given_sums = (seen[UDP].chksum, seen[IP].chksum if IP in seen else None)
    del seen[UDP].chksum
    if IP in seen:
        del seen[IP].chksum
    again = Ether(bytes(seen))
    assert (again[UDP].chksum, again[IP].chksum if IP in again else None) == given_sums


def scapy_frame(ttl: int = 255, **udp: int) -> bytes:
    """A frame of scapy's own making, without our codec."""
    told = BFD(sta=1, my_discriminator=9, your_discriminator=0, min_tx_interval=1_000_000, min_rx_interval=1_000_000)
    packet = IP(src="192.0.2.1", dst="192.0.2.2", ttl=ttl) / UDP(**{"sport": 49152, "dport": 6784, **udp}) / told
    return bytes(Ether(src="02:00:00:00:00:02", dst="01:00:5e:90:00:01") / packet)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (scapy_frame(ttl=254), "hop_limit"),
        (scapy_frame(dport=3784), "udp_port"),
        (scapy_frame(chksum=0x1234), "checksum"),
        (scapy_frame(len=500), "payload_length"),
        (scapy_frame()[:40], "payload_length"),
        (scapy_frame()[:14] + b"\x46" + scapy_frame()[15:], "checksum"),
        (scapy_frame()[:14] + b"\x25" + scapy_frame()[15:], "ip_version"),
        (scapy_frame()[:20] + b"\x20\x00" + scapy_frame()[22:], "fragment"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_name(octets: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        bfd.parse(ethernet.parse(octets).payload)
    assert caught.value.reason.value == reason


def test_a_checksum_left_to_hardware_or_out_is_taken() -> None:
    assert bfd.parse(ethernet.parse(scapy_frame(chksum=0)).payload).packet.my_discriminator == 9
    octets = bytearray(V4.build())
    pseudo = sum(V4.source.packed[i] << 8 | V4.source.packed[i + 1] for i in (0, 2))
    pseudo += sum(V4.destination.packed[i] << 8 | V4.destination.packed[i + 1] for i in (0, 2)) + 17 + 32
    octets[26:28] = (pseudo % 0xFFFF).to_bytes(2)
    assert bfd.parse(bytes(octets)) == V4


@pytest.mark.parametrize(
    ("octets", "passes"),
    [
        (V4.frame(MAC), True),
        (V6.frame(MAC), True),
        (scapy_frame(dport=3784), False),
        (ethernet.EthernetFrame(MAC, MAC, 0x0806, V4.build()).build(), False),
        (V4.frame(MAC)[:20] + b"\x00\x01" + V4.frame(MAC)[22:], False),
        (V4.frame(MAC)[:30], False),
        (V6.frame(MAC)[:20] + b"\x06" + V6.frame(MAC)[21:], False),
    ],
)
def test_the_socket_filter_lets_through_bfd_of_member_links_only(octets: bytes, passes: bool) -> None:
    parsed = ethernet.parse(octets)
    frames = bfd.frames(6 if parsed.ethertype == 0x86DD else 4)
    assert (bpf_machine.run(bpf.filter_of(frames), octets) > 0) is passes
    assert frames.lets_through(parsed.ethertype, None, parsed.payload) is passes
    assert bpf_machine.run(bpf.filter_of(frames), octets, vlan_tci=5) == 0
