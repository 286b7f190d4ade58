"""A kernel's view of classic BPF: what it accepts, and what a program returns for a frame.

`check` refuses what the kernel refuses (bpf_check_classic in net/core/filter.c). `run` executes a program on a frame, with the loads
that Linux has beside the frame (SKF_AD_*). Tests run the programs in service with it; tests/kernel compares it with a real kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from pyteamd.wire.bpf import (
    ANCILLARY,
    JUMP,
    LD_BYTE,
    LD_HALF,
    LD_WORD,
    PKTTYPE,
    RETURN,
    RETURN_A,
    STORE_A,
    STORE_X,
    TAX,
    TXA,
    VLAN_PRESENT,
    VLAN_TCI,
)

PROTOCOL: Final = ANCILLARY + 0
XOR_WITH_X: Final = ANCILLARY + 40  # not a load: A ^= X, from before XOR_X existed; teamd writes it
PACKET_HOST: Final = 0
MAX_INSTRUCTIONS: Final = 4096
MEMORY_WORDS: Final = 16

_INSTRUCTION: Final = struct.Struct("=HBBI")
_WORD: Final = 0xFFFFFFFF


class Instruction(NamedTuple):
    """One assembled instruction; `jt` and `jf` count the instructions to skip."""

    code: int
    jt: int
    jf: int
    k: int


def disassemble(program: bytes) -> tuple[Instruction, ...]:
    """The instructions of a program. Raises ValueError if the octets do not divide into instructions."""
    if len(program) % _INSTRUCTION.size:
        raise ValueError(f"{len(program)} octets of program are not a multiple of {_INSTRUCTION.size}")
    return tuple(Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program))


# Acceptance rules. Classes: 0 LD, 1 LDX, 2 ST, 3 STX, 4 ALU, 5 JMP, 6 RET, 7 MISC.

_LOADS: Final = {0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x00, 0x60, 0x80, 0x01, 0x61, 0x81, 0xB1}
_ALU: Final = {0x04 | op | source for op in range(0x00, 0xB0, 0x10) for source in (0, 8)} - {0x8C}  # NEG X
_JUMPS: Final = {0x05} | {0x05 | test | source for test in (0x10, 0x20, 0x30, 0x40) for source in (0, 8)}
_OPCODES: Final = _LOADS | _ALU | _JUMPS | {STORE_A, STORE_X, RETURN, RETURN_A, TAX, TXA}
_ANCILLARY_KNOWN: Final = range(0, 64, 4)  # offsets from ANCILLARY: PROTOCOL up to VLAN_TPID


def check(program: bytes) -> tuple[Instruction, ...]:
    """The instructions, if the kernel would take the program; else ValueError naming the instruction."""
    instructions = disassemble(program)
    if not 1 <= len(instructions) <= MAX_INSTRUCTIONS:
        raise ValueError(f"a program of {len(instructions)} instructions (allowed: 1..{MAX_INSTRUCTIONS})")
    for at, op in enumerate(instructions):
        problem = _problem(op, len(instructions) - at - 1)
        if problem:
            raise ValueError(f"instruction {at} ({op.code:#04x}): {problem}")
    if instructions[-1].code not in (RETURN, RETURN_A):
        raise ValueError("the last instruction does not return")
    _check_memory(instructions)
    return instructions


def _problem(op: Instruction, following: int) -> str:
    match op.code:
        case code if code not in _OPCODES:
            return "unknown opcode"
        case 0x34 | 0x94 if op.k == 0:
            return "division by 0"
        case 0x64 | 0x74 if op.k > 31:
            return f"shift by {op.k}"
        case 0x60 | 0x61 | 0x02 | 0x03 if op.k >= MEMORY_WORDS:
            return f"memory word {op.k} (allowed: 0..{MEMORY_WORDS - 1})"
        case 0x05 if op.k >= following:
            return "jumps past the end"
        case code if code & 0x07 == 0x05 and code != JUMP and max(op.jt, op.jf) >= following:
            return "jumps past the end"
        case 0x20 | 0x28 | 0x30 if op.k >= ANCILLARY and op.k - ANCILLARY not in _ANCILLARY_KNOWN:
            return f"nothing is at offset {op.k:#x}"
    return ""


def _check_memory(instructions: tuple[Instruction, ...]) -> None:
    """No path may load a memory word that it has not stored: the kernel does not clear the words.

    As the kernel reckons it: a return hands its words on to the next line, and a line that nothing reaches
    has all.
    """
    every = frozenset(range(MEMORY_WORDS))
    stored = [frozenset[int](), *(every for _ in instructions)]  # on arrival at each line
    for at, op in enumerate(instructions):
        here = stored[at]
        if op.code in (STORE_A, STORE_X):
            here |= {op.k}
        elif op.code in (0x60, 0x61) and op.k not in here:
            raise ValueError(f"instruction {at} ({op.code:#04x}): memory word {op.k} was not stored")
        for target in _targets(op, at):
            stored[target] &= here


def _targets(op: Instruction, at: int) -> tuple[int, ...]:
    if op.code == JUMP:
        return (at + 1 + op.k,)
    if op.code & 0x07 == 0x05:
        return (at + 1 + op.jt, at + 1 + op.jf)
    return (at + 1,)


# Interpreter


_ARITHMETIC: Final[dict[int, Callable[[int, int], int]]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << (b & 31),
    0x70: lambda a, b: a >> (b & 31),
    0x80: lambda a, _: -a,
    0x90: lambda a, b: a % b,
    0xA0: lambda a, b: a ^ b,
}
_TESTS: Final[dict[int, Callable[[int, int], bool]]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1}


class _Outside(Exception):
    """A load outside the frame: it ends the program with 0."""


def run(program: bytes, frame: bytes, *, vlan_tci: int | None = None, pkttype: int = PACKET_HOST) -> int:
    """What the kernel would get from `program` for `frame`: 0..2**32-1.

    `vlan_tci` is the tag beside the frame, `pkttype` the PACKET_* direction. Raises ValueError for a program
    that the kernel refuses, or that loads something from beside the frame that is not known here.
    """
    instructions = _runnable(program)
    beside = {
        PROTOCOL: int.from_bytes(frame[12:14]),
        PKTTYPE: pkttype,
        VLAN_TCI: vlan_tci or 0,
        VLAN_PRESENT: int(vlan_tci is not None),
    }
    machine = _Machine(frame, beside)
    at = 0
    try:
        while (op := instructions[at]).code & 0x07 != 0x06:
            at += 1 + machine.step(op)
    except (_Outside, ZeroDivisionError):
        return 0
    return op.k if op.code == RETURN else machine.a


@lru_cache(maxsize=64)
def _runnable(program: bytes) -> tuple[Instruction, ...]:
    instructions = check(program)
    known = (PROTOCOL, PKTTYPE, XOR_WITH_X, VLAN_TCI, VLAN_PRESENT)
    for at, op in enumerate(instructions):
        if op.code in (LD_WORD, LD_HALF, LD_BYTE) and op.k > 0x7FFFFFFF and op.k not in known:
            raise ValueError(f"instruction {at}: the interpreter has nothing at offset {op.k:#x}")
    return instructions


class _Machine:
    """The registers; all values are unsigned 32 bit."""

    def __init__(self, frame: bytes, beside: dict[int, int]) -> None:
        self.frame = frame
        self.beside = beside
        self.memory = [0] * MEMORY_WORDS
        self.a = 0
        self.x = 0

    def step(self, op: Instruction) -> int:
        """Execute anything but a return; the result is the number of instructions to skip."""
        operand = self.x if op.code & 0x08 else op.k
        match op.code & 0x07:
            case 0:
                self.a = self.load(op)
            case 1:
                self.x = self.load(op)
            case 2:
                self.memory[op.k] = self.a
            case 3:
                self.memory[op.k] = self.x
            case 4:
                self.a = _ARITHMETIC[op.code & 0xF0](self.a, operand) & _WORD
            case 5 if op.code == JUMP:
                return op.k
            case 5:
                return op.jt if _TESTS[op.code & 0x70](self.a, operand) else op.jf
            case _ if op.code == TAX:
                self.x = self.a
            case _:
                self.a = self.x
        return 0

    def load(self, op: Instruction) -> int:
        match op.code & 0xE0:
            case 0x20 if op.k == XOR_WITH_X:
                return self.a ^ self.x
            case 0x20 if op.k >= ANCILLARY:
                return self.beside[op.k]
            case 0x20:
                return self.fetch(op.k, _SIZES[op.code & 0x18])
            case 0x40:
                return self.fetch((self.x + op.k) & _WORD, _SIZES[op.code & 0x18])
            case 0xA0:
                return 4 * (self.fetch(op.k, 1) & 0x0F)
            case 0x60:
                return self.memory[op.k]
            case 0x80:
                return len(self.frame)
        return op.k

    def fetch(self, offset: int, size: int) -> int:
        octets = self.frame[offset : offset + size]
        if len(octets) < size:
            raise _Outside
        return int.from_bytes(octets)
