"""Octets from a hostile peer: every parser answers with a value or PeerError, and its values build again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from pyteamd.wire import DropReason, PeerError, arp, bfd, ethernet, lacpdu, marker, ndisc, slow

MAC = bytes.fromhex("020000000001")
LOCAL = IPv6Address("fe80::1")
INFO = lacpdu.LacpInfo(65535, MAC, 1, 255, 1, 0x3D)


def to_group(parse: Callable[[bytes, bytes], Any]) -> Callable[[bytes], Any]:
    return lambda octets: parse(octets, slow.GROUP)


PARSERS: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "ethernet": (ethernet.parse, arp.request(MAC, IPv4Address(0), IPv4Address(1)).frame(vlan_id=9)),
    "arp": (arp.parse, arp.request(MAC, IPv4Address(0), IPv4Address(1)).build()),
    "advert": (ndisc.parse, ndisc.NeighborAdvert(LOCAL, LOCAL, LOCAL, MAC).build()),
    "solicit": (ndisc.parse_solicit, ndisc.NeighborSolicit(LOCAL, LOCAL, MAC).build()),
    "lacpdu": (
        to_group(lacpdu.parse),
        lacpdu.Lacpdu(INFO, INFO, version=2, extra=(lacpdu.Tlv(4, b"abcd"),)).build(),
    ),
    "bfd over IPv4": (bfd.parse, bfd.Datagram(IPv4Address(1), IPv4Address(2), bfd.Packet(bfd.State.UP, 1, 2)).build()),
    "bfd over IPv6": (bfd.parse, bfd.Datagram(LOCAL, LOCAL, bfd.Packet(bfd.State.UP, 1, 2)).build()),
    "marker": (to_group(marker.parse), marker.Marker(marker.Kind.REQUEST, 1, MAC, 1).build()),
}


def mutate(octets: bytes, rng: random.Random) -> bytes:
    """Change, cut, lengthen or replace, several times at once."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(octets) + 1)
        match rng.randrange(5):
            case 0:
                octets = octets[:at]
            case 1:
                octets = octets[:at] + rng.randbytes(rng.randrange(9)) + octets[at:]
            case 2:
                octets = octets[:at] + octets[at + rng.randrange(9) :]
            case _:
                octets = octets[:at] + rng.randbytes(1) + octets[at + 1 :]
    return octets


def search(name: str, count: int, seed: int) -> tuple[int, set[DropReason]]:
    """Feed `count` mutants; returns how many were accepted and the reasons of the others."""
    parse, sound = PARSERS[name]
    rng = random.Random(seed)
    accepted, reasons = 0, set()
    for _ in range(count):
        octets = mutate(sound, rng)
        try:
            value = parse(octets)
        except PeerError as error:
            reasons.add(error.reason)
            continue
        accepted += 1
        assert parse(value.build()) == value, f"seed {seed}: {octets.hex()}"
    return accepted, reasons


@pytest.mark.parametrize("name", PARSERS)
def test_mutated_octets(name: str) -> None:
    accepted, reasons = search(name, 1500, seed=1)
    assert accepted > 0, "the mutations are too harsh to reach the end of the parser"
    assert DropReason.TOO_SHORT in reasons


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("seed", range(2, 8 if os.environ.get("PYTEAMD_LONG") else 3))
def test_mutated_octets_at_length(name: str, seed: int) -> None:
    assert search(name, 30_000, seed)[0] > 0


@pytest.mark.parametrize("name", PARSERS)
def test_noise_of_every_length(name: str) -> None:
    """Nothing drawn at random is acceptable to any of them but Ethernet, which takes whatever has a header."""
    parse, sound = PARSERS[name]
    rng = random.Random(3)
    for length in range(14 if name == "ethernet" else len(sound) + 20):
        with pytest.raises(PeerError, match=r"^\w+: .+$"):
            parse(rng.randbytes(length))
