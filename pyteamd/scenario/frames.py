"""Frames in one line of words, for transcripts."""

from __future__ import annotations

from pyteamd.wire import PeerError, arp, ethernet, ndisc


def describe_frame(octets: bytes) -> str:
    """What the frame says; its type and length when nobody knows."""
    try:
        frame = ethernet.parse(octets)
        tag = "" if frame.vlan_id is None else f" in VLAN {frame.vlan_id}"
        return describe_payload(frame) + tag
    except PeerError as problem:
        return f"broken frame of {len(octets)} octets: {problem}"


def describe_payload(frame: ethernet.Frame) -> str:
    """The part behind the Ethernet header. PeerError when it is malformed."""
    if frame.ethertype == ethernet.ETHERTYPE_ARP:
        message = arp.parse(frame.payload)
        if message.operation == arp.Operation.REQUEST:
            return f"arp request: who has {message.target_ip}, tell {message.sender_ip}"
        return f"arp reply: {message.sender_ip} is at {message.sender_mac.hex(':')}"
    if frame.ethertype == ethernet.ETHERTYPE_IPV6:
        asked = ndisc.parse_solicit(frame.payload)
        return f"neighbour solicitation: who has {asked.target}, tell {asked.source}"
    return f"frame of type {frame.ethertype:#06x}, {len(frame.payload)} octets"
