"""Frames in one line of words, for transcripts."""

from __future__ import annotations

from pyteamd.wire import PeerError, arp, bfd, ethernet, ndisc


def describe_frame(octets: bytes) -> str:
    """What the frame says; its type and length when nobody knows."""
    try:
        frame = ethernet.parse(octets)
        tag = "" if frame.vlan_id is None else f" in VLAN {frame.vlan_id}"
        return describe_payload(frame) + tag
    except PeerError as problem:
        return f"broken frame of {len(octets)} octets: {problem}"


def describe_payload(frame: ethernet.EthernetFrame) -> str:
    """The part behind the Ethernet header. PeerError when it is malformed."""
    if frame.ethertype == ethernet.ETHERTYPE_ARP:
        message = arp.parse(frame.payload)
        if message.operation == arp.Operation.REQUEST:
            return f"arp request: who has {message.target_ip}, tell {message.sender_ip}"
        return f"arp reply: {message.sender_ip} is at {message.sender_mac.hex(':')}"
    if is_bfd(frame):
        return describe_bfd(bfd.parse(frame.payload).packet)
    if frame.ethertype == ethernet.ETHERTYPE_IPV6:
        asked = ndisc.parse_solicit(frame.payload)
        return f"neighbour solicitation: who has {asked.target}, tell {asked.source}"
    return f"frame of type {frame.ethertype:#06x}, {len(frame.payload)} octets"


def describe_bfd(packet: bfd.Packet) -> str:
    """State, timers, and why the session ended the last time."""
    poll = "".join(
        f", {flag.name.lower()}" for flag in (bfd.Flag.POLL, bfd.Flag.FINAL) if flag in packet.flags and flag.name
    )
    why = f", diagnostic: {bfd.diagnostic_in_words(packet.diagnostic)}" if packet.diagnostic else ""
    known = "" if packet.your_discriminator else ", does not know the peer"
    return f"bfd {packet.state}: {packet.desired_min_tx_us / 1000:g} ms x {packet.multiplier}{known}{poll}{why}"


def is_bfd(frame: ethernet.EthernetFrame) -> bool:
    """UDP; nothing else of it is sent or spoken here."""
    if frame.ethertype == ethernet.ETHERTYPE_IPV6:
        return frame.payload[6:7] == bytes((bfd.PROTOCOL_UDP,))
    return frame.ethertype == ethernet.ETHERTYPE_IPV4
