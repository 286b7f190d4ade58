"""Frames that look like answers of a target and are none, made by scapy from a genuine answer by changing one thing.

Each has the reason under which it is counted, or "" where nobody counts it: the socket filter keeps it out, or it is ordinary traffic
about another system.
"""

from __future__ import annotations

from collections.abc import Iterator

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

PEER = "02:00:00:00:0b:ad"
TARGET, SOURCE, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.9"
TARGET6, OTHER6 = "2001:db8::1", "2001:db8::9"
HEADER = 14
Hostile = tuple[str, bytes, str]


def arp_answer(asked: bytes) -> Packet:
    """What the target says to this probe."""
    probe = Ether(asked)[ARP]
    return Ether(src=PEER, dst=probe.hwsrc) / ARP(op=2, hwsrc=PEER, psrc=probe.pdst, hwdst=probe.hwsrc, pdst=probe.psrc)


def advert(asked: bytes) -> Packet:
    """What the IPv6 target says to this probe."""
    probe = Ether(asked)
    return Ether(src=PEER, dst=probe.src) / IPv6(src=TARGET6, dst=probe[IPv6].src, hlim=255) / said()


def said(target: str = TARGET6, **fields: int) -> Packet:
    """The advertisement itself."""
    return ICMPv6ND_NA(**({"tgt": target, "R": 0, "S": 1, "O": 1} | fields)) / ICMPv6NDOptDstLLAddr(lladdr=PEER)


def patched(genuine: Packet, at: int, octets: bytes) -> bytes:
    """Octets behind the Ethernet header replaced."""
    whole = bytes(genuine)
    at += HEADER
    return whole[:at] + octets + whole[at + len(octets) :]


def tagged(genuine: Packet) -> Iterator[Hostile]:
    """In a VLAN where none is configured."""
    bare = genuine.payload
    header = Ether(src=PEER, dst=genuine.dst)
    yield "VLAN 7", bytes(header / Dot1Q(vlan=7) / bare), ""
    yield "VLAN 4095 with priority", bytes(header / Dot1Q(vlan=4095, prio=7) / bare), ""
    yield "VLAN 0 in VLAN 7", bytes(header / Dot1Q(vlan=7) / Dot1Q(vlan=0) / bare), ""
    yield "VLAN 7 in VLAN 0", bytes(header / Dot1Q(vlan=0) / Dot1Q(vlan=7) / bare), ""
    yield "provider's VLAN 7", bytes(header / Dot1AD(vlan=7) / bare), ""


def truncated(genuine: Packet, filtered_below: int) -> Iterator[Hostile]:
    """Every length from a bare Ethernet header on."""
    whole = bytes(genuine)
    for length in range(HEADER, len(whole)):
        yield f"{length} octets", whole[:length], "too_short" if length >= filtered_below else ""


def hostile_arp(asked: bytes) -> list[Hostile]:
    """All for arp_ping that validates."""
    genuine = arp_answer(asked)
    own = genuine.dst

    def changed(**fields: object) -> bytes:
        frame = genuine.copy()
        for name, value in fields.items():
            setattr(frame[ARP], name, value)
        return bytes(frame)

    frames = [
        ("of another host", changed(psrc=OTHER), ""),
        ("to another host", changed(pdst=OTHER), "not_asked"),
        ("gratuitous reply", changed(pdst=TARGET), "not_asked"),
        ("gratuitous request", changed(op=1, pdst=TARGET), ""),
        ("a question of the target", changed(op=1), ""),
        *((f"operation {op}", changed(op=op), "") for op in (0, 3, 4, 9, 255, 512)),
        ("token ring", patched(genuine, 0, b"\0\x06"), "hardware_type"),
        ("about IPv6", patched(genuine, 2, b"\x86\xdd"), "protocol_type"),
        ("long MAC addresses", patched(genuine, 4, b"\x08"), "address_length"),
        ("long IP addresses", patched(genuine, 5, b"\x10"), "address_length"),
        ("no addresses", patched(genuine, 4, b"\0\0"), "address_length"),
        ("our MAC address as sender", changed(hwsrc=own), "own_address"),
        ("from our MAC address", bytes(Ether(src=own, dst=own) / genuine[ARP]), "own_address"),
    ]
    return [*frames, *tagged(genuine), *truncated(genuine, filtered_below=22)]


def hostile_na(asked: bytes) -> list[Hostile]:
    """All for nsna_ping."""
    genuine = advert(asked)
    own, asker = genuine.dst, genuine[IPv6].dst

    def changed(body: Packet, **fields: object) -> bytes:
        return bytes(Ether(src=PEER, dst=own) / IPv6(**({"src": TARGET6, "dst": asker, "hlim": 255} | fields)) / body)

    checksum = int.from_bytes(bytes(genuine)[56:58])
    frames = [
        ("about another host", changed(said(OTHER6)), ""),
        ("nobody asked", changed(said(S=0)), "not_asked"),
        ("nobody asked, to all", changed(said(S=0), dst="ff02::1"), "not_asked"),
        ("to another host", changed(said(), dst=OTHER6), "not_asked"),
        *((f"hop limit {hops}", changed(said(), hlim=hops), "hop_limit") for hops in (0, 1, 64, 254)),
        ("code 1", changed(said(code=1)), "icmp_code"),
        ("a wrong checksum", patched(genuine, 42, (checksum ^ 1).to_bytes(2)), "checksum"),
        ("no checksum", patched(genuine, 42, b"\0\0"), "checksum"),
        ("another address in the option", patched(genuine, 71, b"\xee"), "checksum"),
        ("no option", changed(said().copy().__class__(tgt=TARGET6, R=0, S=1, O=1)), "payload_length"),
        ("two options", changed(said() / ICMPv6NDOptDstLLAddr(lladdr=PEER)), "payload_length"),
        ("the wrong option", changed(ICMPv6ND_NA(tgt=TARGET6, S=1) / ICMPv6NDOptSrcLLAddr(lladdr=PEER)), "option"),
        ("an option without length", patched(genuine, 65, b"\0"), "option"),
        ("an option too long", patched(genuine, 65, b"\xff"), "option"),
        ("length 31", patched(genuine, 4, b"\0\x1f"), "payload_length"),
        ("length 65535", patched(genuine, 4, b"\xff\xff"), "payload_length"),
        ("IP version 4", patched(genuine, 0, b"\x40"), "ip_version"),
        ("a hop-by-hop header", patched(genuine, 6, b"\0"), ""),
        ("a solicitation", patched(genuine, 40, b"\x87"), ""),
        ("from our MAC address", bytes(Ether(src=own, dst=own) / genuine[IPv6]), "own_address"),
    ]
    return [*frames, *tagged(genuine), *truncated(genuine, filtered_below=55)]
