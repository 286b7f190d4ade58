"""Classic BPF: an assembler, and the socket filters of packet sockets.

A program is `bytes`: eight octets per instruction in host order, what both SO_ATTACH_FILTER and the team
option `bpf_hash_func` want. `assemble` makes one from lines, where a `str` is a label for the next
instruction; jumps only go forward.

The filters are for SOCK_RAW packet sockets: offset 0 is the destination address, the EtherType is at 12. Where the
VLAN matters, bind with ETH_P_ALL: only such a socket sees a frame before the kernel has dropped its VLAN tag. A
received tag is never at offset 12, the kernel has moved it beside the frame (skb_vlan_untag). Such a socket also gets
a copy of everything sent; the filters drop that, else our own probes would count as answers. Attach before binding:
what arrives in between is not filtered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire.ethernet import HEADER_LENGTH, VLAN_ID_MASK
from pyteamd.wire.frame_filter import ANY_VLAN, FrameFilter

# Opcodes of include/uapi/linux/bpf_common.h, class, size, mode and source in one, as far as we write them.
LD_WORD: Final = 0x20  # A = the big endian number in frame[k:k+4]
LD_HALF: Final = 0x28
LD_BYTE: Final = 0x30
LD_HALF_AT_X: Final = 0x48  # A = frame[X+k:X+k+2]
LDX_IP_HEADER_LENGTH: Final = 0xB1  # X = 4 * (frame[k] & 15)
LDX_MEMORY: Final = 0x61
STORE_A: Final = 0x02
STORE_X: Final = 0x03
AND: Final = 0x54
XOR_X: Final = 0xAC
JUMP: Final = 0x05
JEQ: Final = 0x15
JSET: Final = 0x45
RETURN: Final = 0x06
RETURN_A: Final = 0x16
TAX: Final = 0x07
TXA: Final = 0x87

# Offsets for LD_WORD that load something beside the frame.
ANCILLARY: Final = 0xFFFFF000
PKTTYPE: Final = ANCILLARY + 4
VLAN_TCI: Final = ANCILLARY + 44
VLAN_PRESENT: Final = ANCILLARY + 48

PACKET_OUTGOING: Final = 4

KEEP_ALL: Final = 0x40000  # a filter returns how many octets to keep; this is longer than any frame

_INSTRUCTION: Final = struct.Struct("=HBBI")


@dataclass(frozen=True, slots=True)
class Op:
    """One line of source. `jt` and `jf` are labels, an empty one means the next instruction."""

    code: int
    k: int = 0
    jt: str = ""
    jf: str = ""


# Assembler


def assemble(lines: Iterable[Op | str]) -> bytes:
    """Resolve labels and encode. Raises ValueError for a label unknown, repeated, behind or too distant."""
    ops: list[Op] = []
    places: dict[str, int] = {}
    for line in lines:
        if isinstance(line, Op):
            ops.append(line)
        elif line in places:
            raise ValueError(f"label {line!r} is defined twice")
        else:
            places[line] = len(ops)
    return b"".join(_encode(op, at, places) for at, op in enumerate(ops))


def or_skip(value: int) -> bytes:
    """Skip the next instruction unless A is this: a program with a thousand of them is assembled each time that a port joins."""
    return _INSTRUCTION.pack(JEQ, 0, 1, value)


def _encode(op: Op, at: int, places: dict[str, int]) -> bytes:
    jt, jf = _distance(op.jt, at, places), _distance(op.jf, at, places)
    if op.code == JUMP:
        return _INSTRUCTION.pack(op.code, 0, 0, jt)
    if max(jt, jf) > 255:
        raise ValueError(f"instruction {at}: skips {max(jt, jf)} instructions (at most 255)")
    return _INSTRUCTION.pack(op.code, jt, jf, op.k)


def _distance(label: str, at: int, places: dict[str, int]) -> int:
    if not label:
        return 0
    if label not in places:
        raise ValueError(f"instruction {at}: label {label!r} is not defined")
    if places[label] <= at:
        raise ValueError(f"instruction {at}: label {label!r} lies behind it")
    return places[label] - at - 1


# Filters

_LOADS: Final = {1: LD_BYTE, 2: LD_HALF, 4: LD_WORD}


def filter_of(frames: FrameFilter) -> bytes:
    """The program that lets through what the filter describes, and only what was received."""
    lines: list[Op | str] = [Op(LD_WORD, PKTTYPE), Op(JEQ, PACKET_OUTGOING, "drop")]
    lines += [Op(LD_HALF, 12), Op(JEQ, frames.ethertype, "", "drop")]
    for number, field in enumerate(frames.fields):
        found = f"field {number}"
        lines.append(Op(_LOADS[field.size], HEADER_LENGTH + field.at))
        lines += [Op(AND, field.mask)] if field.mask else []
        lines += [*(Op(JEQ, value, found) for value in field.values), Op(JUMP, jt="drop"), found]
    if frames.vlan != ANY_VLAN:
        lines += _of_vlan(frames.vlan)
    return assemble([*lines, Op(RETURN, KEEP_ALL), "drop", Op(RETURN, 0)])


def _of_vlan(vlan_id: int | None) -> list[Op | str]:
    """Go on with frames of this VLAN, "drop" others."""
    untagged = "of the vlan" if vlan_id is None else "drop"
    return [
        Op(LD_WORD, VLAN_PRESENT),
        Op(JEQ, 0, untagged),
        Op(LD_WORD, VLAN_TCI),
        Op(AND, VLAN_ID_MASK),
        Op(JEQ, vlan_id or 0, "", "drop"),
        "of the vlan",
    ]
