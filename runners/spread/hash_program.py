"""The transmit hash of the runners loadbalance and lacp: a classic BPF program made from `tx_hash`.

The kernel runs the program on every frame that leaves through the team, from the destination address on,
folds the 32-bit result to eight bits and picks the port by that. The result X starts at 0, and each selected
field of the frame is mixed in by exclusive or:

    eth             both addresses: words at 2 and 8, halves at 0 and 6
    vlan            the tag: all 16 bits of one beside the frame, the 12 bits of VLAN of one inside it
    ipv4            both addresses (ip and l3 mean ipv4 and ipv6)
    ipv6            both addresses, eight words
    tcp, udp, sctp  both ports, over IPv4 and IPv6 (l4 means all three)

There are no ports in an IPv4 fragment that is not the first, and none are looked for behind an IPv6 extension
header. A frame too short for a field that is looked for hashes to 0: a load outside the frame ends the
program. The result is teamd's, bit for bit, but for the ports over IPv6, where teamd loses the source port
and all flows to one server port share it. `reference_hash` says the same in Python, written independently of
the program.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import xor
from typing import Final

from pyteamd.runners.spread.hash_keys import FRAGMENTS
from pyteamd.wire import bpf
from pyteamd.wire.bpf import Op
from pyteamd.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, VLAN_ID_MASK

_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_L4: Final = FRAGMENTS["l4"]

_FRAGMENT_OFFSET: Final = 0x1FFF
_TAG_LENGTH: Final = 4

_RETURN_X: Final = (Op(bpf.TXA), Op(bpf.RETURN_A))
_MIX_A: Final = (Op(bpf.XOR_X), Op(bpf.TAX))  # X ^= A


def tx_hash(fragments: Iterable[str]) -> bytes:
    """The program for these fragments; their order and repetition mean nothing, none at all hashes all to 0.

    Raises ValueError for a name that is not in FRAGMENTS.
    """
    fields = _select(fragments)
    if not fields:
        return bpf.assemble([Op(bpf.RETURN, 0)])
    lines: list[Op | str] = []
    if "eth" in fields:
        lines += [*_mix(bpf.LD_WORD, 2, 8), *_mix(bpf.LD_HALF, 0, 6)]
    if fields == {"eth"}:
        return bpf.assemble([*lines, *_RETURN_X])
    lines += [Op(bpf.LD_HALF, 12), Op(bpf.JEQ, ETHERTYPE_VLAN, "tag inside")]
    if "vlan" in fields:
        lines += _mix_tag_beside()
    lines += [*_layers(fields, "untagged", 0), "tag inside"]
    if "vlan" in fields:
        lines += [Op(bpf.LD_HALF, 14), Op(bpf.AND, VLAN_ID_MASK), *_MIX_A]
    return bpf.assemble([*lines, *_layers(fields, "tagged", _TAG_LENGTH)])


def fold(x: int) -> int:
    """The eight bits the kernel makes of a result: its four octets, one exclusive or the other."""
    x ^= x >> 16
    return (x ^ x >> 8) & 0xFF


def reference_hash(fragments: Iterable[str], frame: bytes, tci: int | None = None) -> int:
    """What the program of these fragments answers for `frame` with the accelerated tag `tci`: 0..2**32-1."""
    try:
        return reduce(xor, _mixed(_select(fragments), frame, tci), 0)
    except struct.error:  # a field lies outside the frame
        return 0


def _select(fragments: Iterable[str]) -> frozenset[str]:
    fields: set[str] = set()
    for name in fragments:
        if name not in FRAGMENTS:
            raise ValueError(f"tx_hash: unknown fragment {name!r} (allowed: {', '.join(FRAGMENTS)})")
        fields |= FRAGMENTS[name]
    return frozenset(fields)


# The program


def _mix(load: int, *offsets: int) -> list[Op]:
    return [op for offset in offsets for op in (Op(load, offset), *_MIX_A)]


def _mix_tag_beside() -> list[Op | str]:
    present = (Op(bpf.LD_WORD, bpf.VLAN_PRESENT), Op(bpf.JEQ, 0, "untagged"))
    return [*present, Op(bpf.LD_WORD, bpf.VLAN_TCI), *_MIX_A]


def _layers(fields: frozenset[str], branch: str, shift: int) -> list[Op | str]:
    """From the EtherType of the payload to the return; `shift` is the length of the tag before it."""
    if fields <= {"eth", "vlan"}:
        return [branch, *_RETURN_X]
    ipv4, ipv6, done = f"{branch} ipv4", f"{branch} ipv6", f"{branch} done"
    ethertype = (
        Op(bpf.LD_HALF, 12 + shift),
        Op(bpf.JEQ, ETHERTYPE_IPV4, ipv4),
        Op(bpf.JEQ, ETHERTYPE_IPV6, ipv6, done),
    )
    return [
        *(branch, *ethertype),
        *(ipv4, *_ipv4(fields, f"{ipv4} ports", done, shift), *_RETURN_X),
        *(ipv6, *_ipv6(fields, f"{ipv6} ports", done, shift)),
        *(done, *_RETURN_X),
    ]


def _ipv4(fields: frozenset[str], ports: str, done: str, shift: int) -> list[Op | str]:
    lines: list[Op | str] = []
    if "ipv4" in fields:
        lines += _mix(bpf.LD_WORD, 26 + shift, 30 + shift)
    if fields & _L4:
        lines += [Op(bpf.LD_HALF, 20 + shift), Op(bpf.JSET, _FRAGMENT_OFFSET, done)]
        lines += [Op(bpf.LD_BYTE, 23 + shift), *_only_protocols(fields, ports, done)]
        # X has to serve as index for a while: it waits in word 0, the source port in word 1.
        lines += [Op(bpf.STORE_X, 0), Op(bpf.LDX_IP_HEADER_LENGTH, 14 + shift)]
        lines += [Op(bpf.LD_HALF_AT_X, 14 + shift), Op(bpf.STORE_A, 1)]
        lines += [Op(bpf.LD_HALF_AT_X, 16 + shift)]
        lines += [Op(bpf.LDX_MEMORY, 1), Op(bpf.XOR_X), Op(bpf.LDX_MEMORY, 0), *_MIX_A]
    return lines


def _ipv6(fields: frozenset[str], ports: str, done: str, shift: int) -> list[Op | str]:
    lines: list[Op | str] = []
    if "ipv6" in fields:
        lines += _mix(bpf.LD_WORD, *range(22 + shift, 54 + shift, 4))
    if fields & _L4:
        lines += [Op(bpf.LD_BYTE, 20 + shift), *_only_protocols(fields, ports, done)]
        lines += _mix(bpf.LD_HALF, 54 + shift, 56 + shift)
    return lines


def _only_protocols(fields: frozenset[str], ports: str, done: str) -> list[Op | str]:
    """On to `ports`, which follows, if A is the number of a selected protocol, else to `done`."""
    tests = [Op(bpf.JEQ, number, ports) for name, number in _PROTOCOLS.items() if name in fields]
    return [*tests, Op(bpf.JUMP, jt=done), ports]


# The reference


def _mixed(fields: frozenset[str], frame: bytes, tci: int | None) -> Iterator[int]:
    """The numbers that are mixed. Raises struct.error as soon as one lies outside the frame."""
    if "eth" in fields:
        yield from struct.unpack_from("!HIHI", frame)
    if not fields - {"eth"}:
        return
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    at = 14
    if ethertype == ETHERTYPE_VLAN:
        at += _TAG_LENGTH
        if "vlan" in fields:
            yield struct.unpack_from("!H", frame, 14)[0] & VLAN_ID_MASK
    elif "vlan" in fields and tci is not None:
        yield tci
    if not fields - {"eth", "vlan"}:
        return
    (ethertype,) = struct.unpack_from("!H", frame, at - 2)
    if ethertype == ETHERTYPE_IPV4:
        yield from _mixed_ipv4(fields, frame, at)
    elif ethertype == ETHERTYPE_IPV6:
        yield from _mixed_ipv6(fields, frame, at)


def _mixed_ipv4(fields: frozenset[str], frame: bytes, at: int) -> Iterator[int]:
    if "ipv4" in fields:
        yield from struct.unpack_from("!II", frame, at + 12)
    if not fields & _L4:
        return
    (fragment,) = struct.unpack_from("!H", frame, at + 6)
    if fragment & _FRAGMENT_OFFSET:
        return
    (protocol,) = struct.unpack_from("!B", frame, at + 9)
    if _is_selected(protocol, fields):
        yield from struct.unpack_from("!HH", frame, at + 4 * (frame[at] & 0x0F))


def _mixed_ipv6(fields: frozenset[str], frame: bytes, at: int) -> Iterator[int]:
    if "ipv6" in fields:
        yield from struct.unpack_from("!8I", frame, at + 8)
    if not fields & _L4:
        return
    (next_header,) = struct.unpack_from("!B", frame, at + 6)
    if _is_selected(next_header, fields):
        yield from struct.unpack_from("!HH", frame, at + 40)


def _is_selected(protocol: int, fields: frozenset[str]) -> bool:
    return any(_PROTOCOLS[name] == protocol for name in fields & _L4)
