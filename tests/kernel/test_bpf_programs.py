"""Our BPF programs on a real kernel: it takes them, and does with them what the interpreter says.

Needs no team driver. Results of a program become visible in two ways. A filter on one end of a Unix datagram pair
cuts each datagram to what the program returns, so that any octets can be fed to it and eight bits of the result read
back as a length; that needs no privilege. Tags and directions exist only on network devices: two ends of a veth in
a network namespace of their own, which needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

import bpf_machine
import pytest
from bpf_machine import Instruction

from pyteamd.runners.spread.hash_program import reference_hash, tx_hash
from pyteamd.wire import arp, bfd, bpf, ethernet, lacpdu, ndisc, slow

SO_ATTACH_FILTER = 26
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SENTINEL = b"the last frame of a test"
SENTINEL_TYPE = 0x9000

FIELDS = ("eth", "vlan", "ipv4", "ipv6", "tcp", "udp", "sctp")
SELECTIONS = [chosen for size in range(len(FIELDS) + 1) for chosen in combinations(FIELDS, size)]


def attach(sock: socket.socket, program: bytes) -> None:
    """SO_ATTACH_FILTER. Raises OSError(EINVAL) for a program that the kernel refuses."""
    octets = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HL", len(program) // 8, ctypes.addressof(octets))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    with closing(sender), closing(receiver):
        yield sender, receiver


def is_taken(sock: socket.socket, program: bytes) -> bool:
    try:
        attach(sock, program)
    except OSError:
        return False
    return True


def is_sound(program: bytes) -> bool:
    try:
        bpf_machine.check(program)
    except ValueError:
        return False
    return True


def assembled(instructions: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def octet_of(program: bytes, number: int) -> bytes:
    """The program changed to return 1 + the given octet (0 lowest) of what it returned in A."""
    ops = list(bpf_machine.disassemble(program))
    for at, op in enumerate(ops):
        if op.code == bpf.RETURN_A:
            ops[at] = Instruction(bpf.JUMP, 0, 0, len(ops) - at - 1)
    shift, low, one = (0x74, 0, 0, 8 * number), (bpf.AND, 0, 0, 0xFF), (0x04, 0, 0, 1)
    return assembled([*ops, *(Instruction(*op) for op in (shift, low, one)), Instruction(bpf.RETURN_A, 0, 0, 0)])


def kernel_result(pair: tuple[socket.socket, socket.socket], octets: bytes) -> int:
    """What the attached program returns, at most the number of octets."""
    sender, receiver = pair
    sender.send(octets)
    try:
        return len(receiver.recv(len(octets) + 1))
    except BlockingIOError:
        return 0


def test_the_kernel_takes_every_program(pair: tuple[socket.socket, socket.socket]) -> None:
    filters = (
        bpf.filter_of(slow.FRAMES),
        bpf.filter_of(arp.frames(None)),
        bpf.filter_of(arp.frames(7)),
        bpf.filter_of(bfd.frames(4)),
        bpf.filter_of(bfd.frames(6)),
        bpf.filter_of(ndisc.ADVERTISEMENTS),
    )
    for program in (*filters, *map(tx_hash, SELECTIONS)):
        attach(pair[1], program)


def test_the_kernel_hashes_like_the_reference(pair: tuple[socket.socket, socket.socket]) -> None:
    rng = random.Random(1)
    for fragments in SELECTIONS[1:]:
        program = tx_hash(fragments)
        frame = rng.randbytes(12) + rng.choice(
            [
                b"\x08\x00\x46" + rng.randbytes(5) + b"\x40\x00\x40" + rng.choice([b"\x06", b"\x11", b"\x84"]),
                b"\x86\xdd\x60" + rng.randbytes(5) + rng.choice([b"\x06", b"\x11", b"\x84"]),
                b"\x81\x00\x60\x64\x08\x00\x45" + rng.randbytes(5) + b"\x20\x00\x40\x11",
            ]
        )
        frame += rng.randbytes(300 - len(frame))
        for number in range(4):
            attach(pair[1], octet_of(program, number))
            expected = reference_hash(fragments, frame) >> 8 * number & 0xFF
            assert kernel_result(pair, frame) - 1 == expected, (fragments, frame.hex(), number)


def test_the_kernel_stops_at_the_end_of_a_short_frame(pair: tuple[socket.socket, socket.socket]) -> None:
    frame = bytes.fromhex("02aabbccdd01 021122334402 86dd 6000000000081140") + bytes(range(1, 50))
    for fragments in (("eth",), ("vlan",), ("ipv6",), ("udp",), FIELDS):
        program = octet_of(tx_hash(fragments), 0)
        attach(pair[1], program)
        for length in range(1, len(frame)):
            expected = min(bpf_machine.run(program, frame[:length]), length)
            assert kernel_result(pair, frame[:length]) == expected, (fragments, length)


def test_the_rules_are_the_kernels(pair: tuple[socket.socket, socket.socket]) -> None:
    """Mutated programs: `check` refuses exactly those that the kernel refuses."""
    rng = random.Random(2)
    sound = list(bpf_machine.disassemble(tx_hash(["vlan", "tcp"])))
    verdicts = []
    for _ in range(2000):
        ops = list(sound)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(ops))
            code = rng.choice([*range(0, 0x100), *(op.code for op in sound)])
            k = rng.choice([0, 1, 15, 16, 31, 32, 40, 0xFFFFF000 + rng.randrange(70), 0xFFFFFFFF])
            ops[at] = Instruction(code, rng.randrange(64), rng.randrange(64), k)
        program = assembled(ops)
        verdicts.append(is_taken(pair[1], program))
        assert is_sound(program) == verdicts[-1], program.hex()
    assert 200 < sum(verdicts) < 1800


def test_the_arithmetic_is_the_kernels(pair: tuple[socket.socket, socket.socket]) -> None:
    """Random straight programs over all operations, compared octet by octet."""
    rng = random.Random(3)
    operations = [op for op in range(0x00, 0xB0, 0x10) if op != 0x80]
    frame = rng.randbytes(300)
    for _ in range(300):
        ops = [Instruction(bpf.LD_WORD, 0, 0, rng.randrange(290))]
        for _ in range(6):
            operation = rng.choice(operations)
            # Shifts by X wrap at 32 only on some machines; by a constant they are defined everywhere.
            source = 0 if operation in (0x60, 0x70) else rng.choice([0, 8])
            k = rng.randint(1, 31) if operation in (0x60, 0x70) else rng.randint(1, 0xFFFFFFFF)
            ops += [Instruction(0x04 | operation | source, 0, 0, k), Instruction(0x84, 0, 0, 0)]
            ops += rng.choices([Instruction(bpf.TAX, 0, 0, 0), Instruction(0xB1, 0, 0, rng.randrange(290))])
        program = octet_of(assembled([*ops, Instruction(bpf.RETURN_A, 0, 0, 0)]), rng.randrange(4))
        attach(pair[1], program)
        assert kernel_result(pair, frame) == bpf_machine.run(program, frame), program.hex()


# On network devices

NEAR = bytes.fromhex("020000000001")
FAR = bytes.fromhex("0200000000fe")
ARP_REPLY = arp.request(NEAR, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")).reply(FAR)
ADVERT = ndisc.NeighborAdvert(IPv6Address("fe80::1"), IPv6Address("fe80::2"), IPv6Address("fe80::1"), FAR)
INFO = lacpdu.LacpInfo(1, FAR, 1, 1, 1, 0x3D)

# What arrives: the frame as a raw socket sees it, and the tag that the kernel takes out of it.
BFD = bfd.Datagram(ARP_REPLY.sender_ip, ARP_REPLY.target_ip, bfd.Packet(bfd.State.DOWN, 7))
ARRIVALS = [
    (ethernet.EthernetFrame(destination, FAR, ethertype, payload), tci)
    for destination, ethertype, payload in (
        (ethernet.BROADCAST, 0x0806, ARP_REPLY.build()),
        (NEAR, 0x0806, arp.request(FAR, ARP_REPLY.sender_ip, ARP_REPLY.target_ip).build()),
        (NEAR, 0x0806, ARP_REPLY.build()[:7] + b"\x03" + ARP_REPLY.build()[8:]),
        (NEAR, 0x86DD, ADVERT.build()),
        (NEAR, 0x86DD, ndisc.NeighborSolicit(ADVERT.source, ADVERT.target, FAR).build()),
        (slow.GROUP, 0x8809, lacpdu.Lacpdu(INFO, INFO).build()),
        (NEAR, 0x0800, bytes(60)),
        (bfd.GROUP, 0x0800, BFD.build()),
    )
    for tci in (None, 0, 0xE000, 100, 0xE064, 101)
]
FILTERS = {
    "slow": bpf.filter_of(slow.FRAMES),
    "untagged": bpf.filter_of(arp.frames(None)),
    "bfd": bpf.filter_of(bfd.frames(4)),
    "vlan 100": bpf.filter_of(arp.frames(100)),
    "vlan 0": bpf.filter_of(arp.frames(0)),
    "na": bpf.filter_of(ndisc.ADVERTISEMENTS),
}


def in_a_namespace(job: Callable[[], None]) -> None:
    """Run `job` in a thread with a network namespace of its own, which ends with the thread and its sockets.

    The thread stays on one processor: each has a receive queue, and frames sent from two overtake each other.
    """

    def body() -> int:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            return ctypes.get_errno()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # 0 is this thread
        job()
        return 0

    with ThreadPoolExecutor(1) as executor:
        if errno := executor.submit(body).result():
            pytest.skip(f"no network namespace of our own: {os.strerror(errno)}")


def make_cable() -> None:
    """near0 and far0, two ends of one cable, up and silent.

    An end that came up before the other drops what it is given to send until the kernel has looked at its carrier.
    """
    subprocess.run(["ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0"], check=True)
    for name in ("near0", "far0"):
        subprocess.run(["ip", "link", "set", name, "addrgenmode", "none", "up"], check=True)
    deadline = time.monotonic() + 10
    while subprocess.run(["ip", "link", "show"], capture_output=True, check=True).stdout.count(b"state UP") < 2:
        assert time.monotonic() < deadline, "the cable does not come up"


def raw_socket(name: str, program: bytes = b"") -> socket.socket:
    """Unbound while the filter is attached: nothing unfiltered can get in."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    if program:
        attach(sock, program)
    sock.bind((name, ETH_P_ALL))
    sock.settimeout(5)
    return sock


def read_until_sentinel(sock: socket.socket) -> list[bytes]:
    seen = []
    while not (octets := sock.recv(2048)).endswith(SENTINEL):
        seen.append(octets)
    return seen


def passed_and_seen(program: bytes) -> tuple[list[bytes], list[bytes]]:
    """Send all arrivals from either end; what a near socket with the filter got, and what one without got."""
    # The sentinel has to pass too: its EtherType goes straight to acceptance.
    head = [
        Instruction(bpf.LD_HALF, 0, 0, 12),
        Instruction(bpf.JEQ, 0, 1, SENTINEL_TYPE),
        Instruction(bpf.RETURN, 0, 0, bpf.KEEP_ALL),
    ]
    filtered = assembled([*head, *bpf_machine.disassemble(program)])
    with (
        raw_socket("far0") as far,
        raw_socket("near0") as near,
        raw_socket("near0", filtered) as tested,
        raw_socket("near0") as open_to_all,
    ):
        for frame, tci in ARRIVALS:
            octets = replace(frame, vlan_tci=tci).build()
            far.send(octets)
            near.send(octets)
        far.send(ethernet.EthernetFrame(ethernet.BROADCAST, FAR, SENTINEL_TYPE, SENTINEL).build())
        return read_until_sentinel(tested), read_until_sentinel(open_to_all)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_on_a_cable(name: str) -> None:
    """In-band tags included: the kernel has taken them out before the filter runs."""
    program = FILTERS[name]

    def job() -> None:
        make_cable()
        passed, seen = passed_and_seen(program)
        expected = [frame.build() for frame, tci in ARRIVALS if bpf_machine.run(program, frame.build(), vlan_tci=tci)]
        assert passed == expected
        assert 0 < len(passed) < len(ARRIVALS)
        assert len(seen) == 2 * len(ARRIVALS), "an open socket sees both directions"

    in_a_namespace(job)
