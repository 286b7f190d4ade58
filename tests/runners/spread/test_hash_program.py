"""The transmit hash: teamd's own values, the program against the reference, and what each fragment stands for."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import combinations

import bpf_machine
import pytest
from bpf_machine import Instruction

from pyteamd.runners.spread.hash_keys import FRAGMENTS, TX_HASH_DEFAULT
from pyteamd.runners.spread.hash_program import fold, reference_hash, tx_hash
from pyteamd.wire import bpf

FIELDS = ("eth", "vlan", "ipv4", "ipv6", "tcp", "udp", "sctp")
SELECTIONS = [chosen for size in range(len(FIELDS) + 1) for chosen in combinations(FIELDS, size)]

# Frames and values of teamd 1.32: what its byte code answers, run by an interpreter that is not ours.
MACS = "02aabbccdd01 021122334402"
IPV4 = "c000020a c633644d"
P1 = bytes.fromhex(f"{MACS} 0800 4500002800010000 40060000 {IPV4} 04d20050") + bytes(16)
P2 = bytes.fromhex(
    f"{MACS} 86dd 6000000000081140 20010db8000100000000000000000005 20010db800020000000000000000000913880035 00080000"
)
P3 = bytes.fromhex(f"{MACS} 8100 6064 0800 4500001c00010000 40110000 {IPV4} 13880035 00080000")
P4 = bytes.fromhex(f"{MACS} 0806") + bytes(28)
P6 = P1[:20] + b"\x00\x01" + P1[22:]  # second fragment
P7 = P1[:20] + b"\x20\x00" + P1[22:]  # first of several
TAG = 0x6064
ALL = ("eth", "vlan", "l3", "l4")
P2_SOURCE_PORT = 0x1388  # teamd loses it


@pytest.mark.parametrize(
    ("fragments", "frame", "tag", "x", "folded"),
    [
        (("eth",), P1, None, 0x99FF99B8, 71),
        (("eth",), P4, None, 0x99FF99B8, 71),
        (("tcp",), P1, None, 0x00000482, 134),
        (("vlan",), P3, None, 0x00000064, 100),
        (("vlan",), P1, TAG, 0x00006064, 4),
        (TX_HASH_DEFAULT, P1, None, 0x9FCCFFFF, 83),
        (TX_HASH_DEFAULT, P2, None, 0x99FC99B4, 72),
        (TX_HASH_DEFAULT, P3, None, 0x9FCCFFFF, 83),
        (TX_HASH_DEFAULT, P4, None, 0x99FF99B8, 71),
        (("l3", "l4"), P1, None, 0x063362C5, 146),
        (("l3", "l4"), P2, None, 0x00030039 ^ P2_SOURCE_PORT, 161),
        (("l3", "l4"), P3, None, 0x063375FA, 186),
        (("l3", "l4"), P4, None, 0, 0),
        (("l3", "l4"), P6, None, 0x06336647, 20),
        (("l3", "l4"), P7, None, 0x063362C5, 146),
        (ALL, P1, None, 0x9FCCFB7D, 213),
        (ALL, P1, TAG, 0x9FCC9B19, 209),
        (ALL, P2, None, 0x99FC9981 ^ P2_SOURCE_PORT, 230),
        (ALL, P3, None, 0x9FCCEC26, 153),
    ],
)
def test_values_of_teamd(fragments: tuple[str, ...], frame: bytes, tag: int | None, x: int, folded: int) -> None:
    assert bpf_machine.run(tx_hash(fragments), frame, vlan_tci=tag) == x
    assert reference_hash(fragments, frame, tag) == x
    assert fold(x) == folded


def random_frame(rng: random.Random) -> bytes:
    """A frame with every branch of the hash in sight: tags, options, fragments, protocols, cuts."""
    tag = rng.choice([b"", b"", b"\x81\x00" + rng.randbytes(2), b"\x88\xa8" + rng.randbytes(2)])
    ethertype = rng.choice([b"\x08\x00", b"\x08\x00", b"\x86\xdd", b"\x86\xdd", b"\x08\x06", b"\x81\x00"])
    protocol = bytes([rng.choice([6, 17, 132, 1])])
    fragment = rng.choice([b"\x00\x00", b"\x40\x00", b"\x20\x00", b"\x00\x01", rng.randbytes(2)])
    match ethertype:
        case b"\x08\x00":
            first = bytes([rng.choice([0x45, 0x45, 0x46, 0x4F, 0x40])])
            header = first + rng.randbytes(5) + fragment + rng.randbytes(1) + protocol + rng.randbytes(10)
        case b"\x86\xdd":
            header = rng.randbytes(6) + protocol + rng.randbytes(33)
        case _:
            header = rng.randbytes(8)
    frame = rng.randbytes(12) + tag + ethertype + header + rng.randbytes(rng.choice([0, 3, 4, 30, 60]))
    return frame[: rng.randrange(len(frame) + 1)] if rng.random() < 0.3 else frame


def cases(count: int, seed: int) -> Iterator[tuple[tuple[str, ...], bytes, bytes, int | None]]:
    rng = random.Random(seed)
    for fragments in SELECTIONS:
        program = tx_hash(fragments)
        for _ in range(count):
            yield fragments, program, random_frame(rng), rng.choice([None, None, rng.randrange(1 << 16)])


def agree(count: int, seed: int) -> int:
    """Compare program and reference on `count` frames for each selection; the number of different results."""
    seen = set()
    for fragments, program, frame, tag in cases(count, seed):
        expected = reference_hash(fragments, frame, tag)
        assert bpf_machine.run(program, frame, vlan_tci=tag) == expected, (fragments, frame.hex(), tag)
        seen.add(expected)
    return len(seen)


def test_the_program_is_the_reference() -> None:
    assert len(SELECTIONS) == 128
    assert agree(40, seed=1) > 2000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6 if os.environ.get("PYTEAMD_LONG") else 3))
def test_the_program_is_the_reference_at_length(seed: int) -> None:
    assert agree(1500, seed) > 100_000


def test_every_cut_of_a_frame() -> None:
    """As long as all fields are there the result stays; the first that is missing makes it 0."""
    needed = {("eth",): 12, ("vlan",): 14, ("ipv6",): 54, ("udp",): 58, TX_HASH_DEFAULT: 54, ALL: 58}
    for fragments, length in needed.items():
        whole = reference_hash(fragments, P2)
        for cut in range(len(P2)):
            assert bpf_machine.run(tx_hash(fragments), P2[:cut]) == (whole if cut >= length else 0)


@pytest.mark.parametrize(("fragments", "length"), [(["vlan"], 16), (["eth", "vlan"], 16), (["ipv4"], 38)])
def test_every_cut_of_a_tagged_frame(fragments: list[str], length: int) -> None:
    """The EtherType behind the tag is looked for only if something depends on it."""
    whole = reference_hash(fragments, P3)
    for cut in range(len(P3)):
        for answer in (bpf_machine.run(tx_hash(fragments), P3[:cut]), reference_hash(fragments, P3[:cut])):
            assert answer == (whole if cut >= length else 0)


def test_no_fragment_means_no_load() -> None:
    assert bpf_machine.disassemble(tx_hash([])) == (Instruction(bpf.RETURN, 0, 0, 0),)
    assert reference_hash([], P1) == 0


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (["ip"], ["ipv4", "ipv6"]),
        (["l3"], ["ipv4", "ipv6"]),
        (["l4"], ["tcp", "udp", "sctp"]),
        (["l4", "eth", "l4", "ip"], ["sctp", "ipv6", "udp", "eth", "ipv4", "tcp"]),
    ],
)
def test_names_that_stand_for_several(short: list[str], long: list[str]) -> None:
    assert tx_hash(short) == tx_hash(long)


def test_every_field_is_in_every_program_that_wants_it() -> None:
    """One frame each that only this field tells apart from its twin."""
    twins = {
        "eth": (P4, P4[:5] + b"\x00" + P4[6:]),
        "vlan": (P3, P3[:15] + b"\x65" + P3[16:]),
        "ipv4": (P1, P1[:33] + b"\x4e" + P1[34:]),
        "ipv6": (P2, P2[:53] + b"\x0a" + P2[54:]),
        "tcp": (P1, P1[:37] + b"\x51" + P1[38:]),
        "udp": (P2, P2[:55] + b"\x89" + P2[56:]),
        "sctp": (P1[:23] + b"\x84" + P1[24:], P1[:23] + b"\x84" + P1[24:35] + b"\xd3" + P1[36:]),
    }
    assert set(twins) == set(FIELDS)
    for fragments in SELECTIONS:
        program = tx_hash(fragments)
        for field, (one, other) in twins.items():
            differs = bpf_machine.run(program, one) != bpf_machine.run(program, other)
            assert differs == (field in fragments), (fragments, field)


def test_both_ports_over_ipv6_matter() -> None:
    """teamd's program loses the source port, so that all clients of one server share a port of the team."""
    program = tx_hash(["l4"])
    results = {bpf_machine.run(program, P2[:54] + port.to_bytes(2) + P2[56:]) for port in range(1024, 1280)}
    assert len({fold(x) for x in results}) == 256


def test_exchanging_the_ends_changes_nothing() -> None:
    back = P1[6:12] + P1[:6] + P1[12:26] + P1[30:34] + P1[26:30] + P1[36:38] + P1[34:36] + P1[38:]
    assert reference_hash(ALL, back) == reference_hash(ALL, P1)


def test_the_kernels_rules_hold() -> None:
    """And no program is longer than teamd's for everything, 161 instructions: it runs for every frame."""
    assert max(len(bpf_machine.check(tx_hash(fragments))) for fragments in SELECTIONS) < 161


@pytest.mark.parametrize("name", ["", "ipx", "ETH", "l2"])
def test_an_unknown_name(name: str) -> None:
    for function in (lambda: tx_hash(["eth", name]), lambda: reference_hash(["eth", name], P1)):
        with pytest.raises(ValueError, match="unknown fragment") as caught:
            function()
        assert str(caught.value) == f"tx_hash: unknown fragment {name!r} (allowed: {', '.join(FRAGMENTS)})"


def test_fold_is_the_exclusive_or_of_the_octets() -> None:
    rng = random.Random(4)
    for _ in range(200):
        a, b, c, d = octets = rng.randbytes(4)
        assert fold(int.from_bytes(octets)) == a ^ b ^ c ^ d
