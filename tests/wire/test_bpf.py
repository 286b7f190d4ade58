"""Classic BPF: the assembler, the socket filters on frames built by scapy, and the machine of the tests that runs them."""

from __future__ import annotations

import random
import re
import struct

import bpf_machine
import pytest
from bpf_machine import Instruction
from scapy.contrib.lacp import LACP
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from pyteamd.wire import arp, bpf, ndisc, slow
from pyteamd.wire.bpf import Op
from pyteamd.wire.frame_filter import ANY_VLAN, Field, FrameFilter

FRAME = bytes(range(64))
KEEP = 0x40000


def encoded(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def answer(*instructions: tuple[int, int, int, int], frame: bytes = FRAME, vlan_tci: int | None = None) -> int:
    """What a program gives that ends with these instructions and returns A."""
    return bpf_machine.run(encoded(*instructions, (0x16, 0, 0, 0)), frame, vlan_tci=vlan_tci)


# Assembler


def test_labels_become_distances() -> None:
    lines: list[Op | str] = [
        Op(bpf.LD_HALF, 12),
        Op(bpf.JEQ, 0x0806, "yes", "no"),
        Op(bpf.JSET, 1, jf="no"),
        Op(bpf.JUMP, jt="yes"),
        "no",
        Op(bpf.RETURN, 0),
        "yes",
        Op(bpf.RETURN, 1),
    ]
    assert bpf_machine.disassemble(bpf.assemble(lines)) == (
        Instruction(0x28, 0, 0, 12),
        Instruction(0x15, 3, 2, 0x0806),
        Instruction(0x45, 0, 1, 1),
        Instruction(0x05, 0, 0, 1),
        Instruction(0x06, 0, 0, 0),
        Instruction(0x06, 0, 0, 1),
    )


def test_octets_are_in_host_order() -> None:
    assert bpf.assemble([Op(bpf.JEQ, 0x01020304, "end"), "end", Op(bpf.RETURN, 7)]) == encoded(
        (0x15, 0, 0, 0x01020304), (0x06, 0, 0, 7)
    )


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([Op(bpf.JUMP, jt="nowhere")], "instruction 0: label 'nowhere' is not defined"),
        (["here", Op(bpf.JEQ, 0, "here"), Op(bpf.RETURN)], "instruction 0: label 'here' lies behind it"),
        (["here", Op(bpf.RETURN), "here"], "label 'here' is defined twice"),
        (["here", Op(bpf.RETURN), Op(bpf.JUMP, jt="here")], "instruction 1: label 'here' lies behind it"),
        (
            [Op(bpf.JEQ, 0, "far"), *[Op(bpf.TAX)] * 256, "far", Op(bpf.RETURN)],
            "instruction 0: skips 256 instructions (at most 255)",
        ),
    ],
)
def test_bad_source(lines: list[Op | str], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        bpf.assemble(lines)


def test_the_longest_jumps() -> None:
    conditional: list[Op | str] = [Op(bpf.JEQ, 0, "far"), *[Op(bpf.TAX)] * 255, "far", Op(bpf.RETURN, 9)]
    assert bpf_machine.run(bpf.assemble(conditional), FRAME) == 9
    always: list[Op | str] = [Op(bpf.JUMP, jt="far"), *[Op(bpf.RETURN, 1)] * 1000, "far", Op(bpf.RETURN, 9)]
    assert bpf_machine.run(bpf.assemble(always), FRAME) == 9


# Acceptance


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (b"", "a program of 0 instructions"),
        (encoded((0x06, 0, 0, 0)) * 4097, "a program of 4097 instructions"),
        (encoded((0x06, 0, 0, 0))[:-1], "7 octets of program"),
        (encoded((0x07, 0, 0, 0)), "the last instruction does not return"),
        (encoded((0xFF, 0, 0, 0), (0x06, 0, 0, 0)), r"instruction 0 \(0xff\): unknown opcode"),
        (encoded((0x8C, 0, 0, 0), (0x06, 0, 0, 0)), "unknown opcode"),
        (encoded((0x34, 0, 0, 0), (0x06, 0, 0, 0)), "division by 0"),
        (encoded((0x94, 0, 0, 0), (0x06, 0, 0, 0)), "division by 0"),
        (encoded((0x64, 0, 0, 32), (0x06, 0, 0, 0)), "shift by 32"),
        (encoded((0x02, 0, 0, 16), (0x06, 0, 0, 0)), "memory word 16"),
        (encoded((0x60, 0, 0, 3), (0x06, 0, 0, 0)), "memory word 3 was not stored"),
        (encoded((0x05, 0, 0, 1), (0x06, 0, 0, 0)), "jumps past the end"),
        (encoded((0x05, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)), "jumps past the end"),
        (encoded((0x15, 1, 0, 0), (0x06, 0, 0, 0)), "jumps past the end"),
        (encoded((0x15, 0, 1, 0), (0x06, 0, 0, 0)), "jumps past the end"),
        (encoded((0x20, 0, 0, 0xFFFFF040), (0x06, 0, 0, 0)), "nothing is at offset 0xfffff040"),
        (encoded((0x20, 0, 0, 0xFFFFF001), (0x06, 0, 0, 0)), "nothing is at offset 0xfffff001"),
        # Stored on one path only.
        (
            encoded((0x15, 0, 1, 0), (0x02, 0, 0, 3), (0x60, 0, 0, 3), (0x16, 0, 0, 0)),
            r"instruction 2 \(0x60\): memory word 3 was not stored",
        ),
    ],
)
def test_what_the_kernel_refuses(program: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bpf_machine.check(program)
    with pytest.raises(ValueError, match=text):
        bpf_machine.run(program, FRAME)


@pytest.mark.parametrize(
    "program",
    [
        encoded((0x06, 0, 0, 0)) * 4096,
        encoded((0x15, 0, 1, 0), (0x02, 0, 0, 3), (0x02, 0, 0, 3), (0x60, 0, 0, 3), (0x16, 0, 0, 0)),
        encoded((0x3C, 0, 0, 0), (0x06, 0, 0, 0)),  # division by X is checked when it happens
        encoded((0x64, 0, 0, 31), (0x06, 0, 0, 0)),
    ],
)
def test_what_the_kernel_takes(program: bytes) -> None:
    assert len(bpf_machine.check(program)) * 8 == len(program)


def test_the_interpreter_says_what_it_does_not_know() -> None:
    random_number = encoded((0x20, 0, 0, 0xFFFFF038), (0x16, 0, 0, 0))
    assert bpf_machine.check(random_number)
    with pytest.raises(ValueError, match="nothing at offset 0xfffff038"):
        bpf_machine.run(random_number, FRAME)
    network_header = encoded((0x30, 0, 0, 0xFFF00000), (0x16, 0, 0, 0))
    with pytest.raises(ValueError, match="nothing at offset 0xfff00000"):
        bpf_machine.run(network_header, FRAME)


# Interpreter


@pytest.mark.parametrize(
    ("instructions", "result"),
    [
        ([], 0),  # registers start at 0
        ([(0x00, 0, 0, 0xFFFFFFFF)], 0xFFFFFFFF),
        ([(0x20, 0, 0, 2)], 0x02030405),
        ([(0x28, 0, 0, 62)], 0x3E3F),
        ([(0x30, 0, 0, 63)], 0x3F),
        ([(0x01, 0, 0, 8), (0x40, 0, 0, 1)], 0x090A0B0C),
        ([(0x01, 0, 0, 8), (0x48, 0, 0, 1)], 0x090A),
        ([(0x01, 0, 0, 8), (0x50, 0, 0, 1)], 0x09),
        ([(0x01, 0, 0, 0xFFFFFFFF), (0x50, 0, 0, 10)], 0x09),  # index and offset add modulo 2**32
        ([(0xB1, 0, 0, 0x25), (0x87, 0, 0, 0)], 4 * 5),
        ([(0x80, 0, 0, 0)], 64),
        ([(0x81, 0, 0, 0), (0x87, 0, 0, 0)], 64),
        ([(0x00, 0, 0, 7), (0x02, 0, 0, 15), (0x00, 0, 0, 0), (0x60, 0, 0, 15)], 7),
        ([(0x01, 0, 0, 7), (0x03, 0, 0, 0), (0x61, 0, 0, 0), (0x87, 0, 0, 0)], 7),
        ([(0x00, 0, 0, 7), (0x07, 0, 0, 0), (0x00, 0, 0, 0), (0x87, 0, 0, 0)], 7),
        ([(0x00, 0, 0, 6), (0x01, 0, 0, 3), (0x20, 0, 0, 0xFFFFF028)], 5),  # the old exclusive or
    ],
)
def test_loads_and_stores(instructions: list[tuple[int, int, int, int]], result: int) -> None:
    assert answer(*instructions) == result


@pytest.mark.parametrize(
    "instruction",
    [(0x20, 0, 0, 61), (0x28, 0, 0, 63), (0x30, 0, 0, 64), (0x20, 0, 0, 0x7FFFFFFF), (0xB1, 0, 0, 64)],
)
def test_a_load_outside_the_frame_ends_with_0(instruction: tuple[int, int, int, int]) -> None:
    assert answer(instruction, (0x00, 0, 0, 1)) == 0


@pytest.mark.parametrize(
    ("operation", "a", "operand", "result"),
    [
        (0x00, 0xFFFFFFFF, 2, 1),
        (0x10, 1, 2, 0xFFFFFFFF),
        (0x20, 0x80000001, 2, 2),
        (0x30, 7, 2, 3),
        (0x40, 5, 3, 7),
        (0x50, 5, 3, 1),
        (0x60, 0xC0000001, 1, 0x80000002),
        (0x70, 0xC0000001, 31, 1),
        (0x90, 7, 4, 3),
        (0xA0, 5, 3, 6),
    ],
)
def test_arithmetic(operation: int, a: int, operand: int, result: int) -> None:
    assert answer((0x00, 0, 0, a), (0x04 | operation, 0, 0, operand)) == result
    assert answer((0x00, 0, 0, a), (0x01, 0, 0, operand), (0x0C | operation, 0, 0, 0)) == result


def test_negation_and_division_by_nothing() -> None:
    assert answer((0x00, 0, 0, 1), (0x84, 0, 0, 0)) == 0xFFFFFFFF
    assert answer((0x00, 0, 0, 1), (0x3C, 0, 0, 0), (0x00, 0, 0, 1)) == 0
    assert answer((0x00, 0, 0, 1), (0x9C, 0, 0, 0), (0x00, 0, 0, 1)) == 0


@pytest.mark.parametrize(
    ("test", "a", "operand", "true"),
    [
        (0x10, 5, 5, True),
        (0x10, 5, 6, False),
        (0x20, 6, 5, True),
        (0x20, 5, 5, False),
        (0x20, 0xFFFFFFFF, 1, True),  # unsigned
        (0x30, 5, 5, True),
        (0x30, 4, 5, False),
        (0x40, 6, 2, True),
        (0x40, 4, 2, False),
    ],
)
def test_conditional_jumps(test: int, a: int, operand: int, true: bool) -> None:
    tail = ((0x06, 0, 0, 100), (0x06, 0, 0, 200))
    expected = 200 if true else 100
    assert bpf_machine.run(encoded((0x00, 0, 0, a), (0x05 | test, 1, 0, operand), *tail), FRAME) == expected
    with_x = ((0x00, 0, 0, a), (0x01, 0, 0, operand), (0x0D | test, 1, 0, 0))
    assert bpf_machine.run(encoded(*with_x, *tail), FRAME) == expected


@pytest.mark.parametrize(
    ("offset", "vlan_tci", "result"),
    [
        (bpf_machine.PROTOCOL, None, 0x0C0D),
        (bpf.PKTTYPE, None, 0),
        (bpf.VLAN_PRESENT, None, 0),
        (bpf.VLAN_PRESENT, 0, 1),
        (bpf.VLAN_TCI, None, 0),
        (bpf.VLAN_TCI, 0xE064, 0xE064),
    ],
)
def test_loads_beside_the_frame(offset: int, vlan_tci: int | None, result: int) -> None:
    for size in (0x20, 0x28, 0x30):  # the size of such a load does not matter
        assert answer((size, 0, 0, offset), vlan_tci=vlan_tci) == result


# Filters

ETHER = Ether(src="02:00:00:00:00:fe", dst="02:00:00:00:00:01")
NA = ICMPv6ND_NA(tgt="fe80::1") / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:fe")
FRAMES: dict[str, Packet] = {
    "lacp": Ether(src="02:00:00:00:00:fe", dst="01:80:c2:00:00:02", type=0x8809) / SlowProtocol() / LACP(),
    "oam": Ether(dst="01:80:c2:00:00:02", type=0x8809) / b"\x03\x00",
    "request": ETHER / ARP(op=1),
    "reply": ETHER / ARP(op=2),
    "reverse": ETHER / ARP(op=3),
    "tagged reply": ETHER / Dot1Q(vlan=100) / ARP(op=2),
    "na": ETHER / IPv6() / NA,
    "ns": ETHER / IPv6() / ICMPv6ND_NS(tgt="fe80::1"),
    "echo": ETHER / IPv6() / ICMPv6EchoReply(),
    "na behind hop-by-hop": ETHER / IPv6() / IPv6ExtHdrHopByHop() / NA,
    "udp6": ETHER / IPv6() / UDP(sport=0x8800),
    "udp": ETHER / IP() / UDP() / bytes(64),
}


def accepted(program: bytes, *, vlan_tci: int | None = None, pkttype: int = bpf_machine.PACKET_HOST) -> set[str]:
    results = {
        name: bpf_machine.run(program, bytes(frame), vlan_tci=vlan_tci, pkttype=pkttype)
        for name, frame in FRAMES.items()
    }
    assert set(results.values()) <= {0, KEEP}
    return {name for name, result in results.items() if result}


def test_the_lacp_filter() -> None:
    assert accepted(bpf.filter_of(slow.FRAMES)) == {"lacp", "oam"}


@pytest.mark.parametrize(("tag", "passes"), [(None, True), (0x0000, True), (0xE000, True), (0x0064, False)])
def test_the_neighbour_advertisement_filter(tag: int | None, passes: bool) -> None:
    assert accepted(bpf.filter_of(ndisc.ADVERTISEMENTS), vlan_tci=tag) == ({"na"} if passes else set())


@pytest.mark.parametrize(
    ("vlan_id", "tag", "passes"),
    [
        (None, None, True),
        (None, 0x0000, True),
        (None, 0xE000, True),  # VLAN 0: only priority
        (None, 0x0064, False),
        (100, 0x0064, True),
        (100, 0xE064, True),
        (100, 0x1064, True),
        (100, 0x0065, False),
        (100, 0x0000, False),
        (100, None, False),
        (0, 0x0000, True),
        (0, 0xE000, True),
        (0, 0x0064, False),
        (0, None, False),
        (4095, 0xFFFF, True),
    ],
)
def test_the_arp_filter(vlan_id: int | None, tag: int | None, passes: bool) -> None:
    assert accepted(bpf.filter_of(arp.frames(vlan_id)), vlan_tci=tag) == ({"request", "reply"} if passes else set())


def test_our_own_transmissions_never_pass() -> None:
    for program in (bpf.filter_of(slow.FRAMES), bpf.filter_of(arp.frames(None)), bpf.filter_of(ndisc.ADVERTISEMENTS)):
        assert accepted(program, pkttype=4) == set()
        for pkttype in (1, 2, 3):  # broadcast, multicast, to another host
            assert accepted(program, pkttype=pkttype) == accepted(program) != set()


def test_a_short_frame_never_passes() -> None:
    for wanted, name in ((arp.frames(None), "reply"), (ndisc.ADVERTISEMENTS, "na"), (slow.FRAMES, "oam")):
        program = bpf.filter_of(wanted)
        needed = {"reply": 22, "na": 55, "oam": 14}[name]
        frame = bytes(FRAMES[name])
        assert bpf_machine.run(program, frame[: needed - 1]) == 0
        assert bpf_machine.run(program, frame[:needed]) == KEEP


MASKED = FrameFilter(0x0800, (Field(0, 1, (0x45, 0x46)), Field(6, 2, (0,), 0x1FFF), Field(16, 4, (1, 2))), ANY_VLAN)


@pytest.mark.parametrize(
    "wanted", [arp.frames(None), arp.frames(0), arp.frames(7), ndisc.ADVERTISEMENTS, slow.FRAMES, MASKED]
)
def test_simulator_and_kernel_go_by_the_same_words(wanted: FrameFilter) -> None:
    """Frames that differ from a good one in a few octets, or end early: the program and `lets_through` agree."""
    dice, passed = random.Random(1), 0
    for _ in range(2000):
        payload = bytearray(60)
        for field in wanted.fields:
            payload[field.at : field.at + field.size] = dice.choice(field.values).to_bytes(field.size)
        for _ in range(dice.choice((0, 0, 1, 2))):
            place = dice.choice([*(field.at for field in wanted.fields), 59]) + dice.randrange(2)
            payload[place % 60] = dice.randrange(256)
        del payload[dice.choice((60, 60, 60, 41, 40, 18, 6, 0)) :]
        ethertype = dice.choice((wanted.ethertype, wanted.ethertype, 0x0800, 0x1234))
        tag = dice.choice((None, 0, 0xE000, 7, 0x6007, 8))
        frame = bytes(12) + ethertype.to_bytes(2) + payload
        heard = bool(bpf_machine.run(bpf.filter_of(wanted), frame, vlan_tci=tag))
        assert heard is wanted.lets_through(ethertype, None if tag is None else tag & 0xFFF, bytes(payload)), (
            frame,
            tag,
        )
        passed += heard
    assert 100 < passed < 1500
