"""Packet sockets on real ports: what the filters let through, tags, our own frames, links that go away."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
import trio
from real_world import RealWorld, run

from pyteamd.kernel.packet import PacketSocket
from pyteamd.model.desired import OptionKey, SetMember, SetOption, Tap
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import FrameSeen
from pyteamd.wire import arp, bfd, ndisc, slow
from pyteamd.wire.frame_filter import FrameFilter

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="packet sockets")]

SOL_PACKET, PACKET_STATISTICS = 263, 6
CLONE_NEWNET = 0x40000000
SENDER = bytes.fromhex("025e00000099")
BROADCAST = b"\xff" * 6
SLOW_GROUP = bytes.fromhex("0180c2000002")
ALL_NODES = bytes.fromhex("333300000001")
ARP_BODY = struct.pack(
    "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, SENDER, b"\x0a\x00\x00\x02", BROADCAST, b"\x0a\x00\x00\x01"
)
LACP_BODY = b"\x01\x01" + bytes(108)
ADVERT_BODY = struct.pack(
    "!IHBB16s16s", 0x60000000, 24, 58, 255, b"\xfe\x80" + bytes(14), b"\xff\x02" + bytes(13) + b"\1"
)
ADVERT_BODY += bytes([136, 0, 0, 0]) + bytes(20)


def frame(destination: bytes, ethertype: int, body: bytes, *tags: int) -> bytes:
    """An Ethernet frame from the peer; `tags` are the TCIs of 802.1Q headers."""
    headers = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return destination + SENDER + headers + struct.pack("!H", ethertype) + body


ARP = frame(BROADCAST, 0x0806, ARP_BODY)
LACP = frame(SLOW_GROUP, 0x8809, LACP_BODY)
ADVERT = frame(ALL_NODES, 0x86DD, ADVERT_BODY)
BFD = bfd.Datagram(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), bfd.Packet(bfd.State.DOWN, 7)).frame(SENDER)
NOISE = frame(BROADCAST, 0x9999, bytes(50))


class Bench:
    """One port of a team, disabled there, and a socket that sends on the other end of its wire."""

    def __init__(self) -> None:
        self.world = RealWorld()
        self.port = self.world.make_link("eth1")
        kernel = self.world.kernel
        team = kernel.create_team("team0")
        kernel.watch_team(team)
        writes = [
            SetOption(OptionKey("mode"), "activebackup"),
            SetMember(self.port, True),
            SetOption(OptionKey("enabled", self.port), False),
        ]
        assert kernel.apply(team, writes) == ()
        self.peer = self._in_other_namespace()
        self.taps: list[PacketSocket] = []

    def tap(self, frames: FrameFilter, address: bytes = b"") -> PacketSocket:
        """A packet socket on the port."""
        opened = self.world.kernel.open_port(self.port, Tap(frames, address))
        self.taps.append(opened)
        return opened

    def send(self, *frames: bytes) -> None:
        """Send from the other end of the wire."""
        for octets in frames:
            self.peer.send(octets)

    def close(self) -> None:
        """Close everything."""
        for tap in self.taps:
            tap.close()
        self.peer.close()
        self.world.close()

    def _in_other_namespace(self) -> socket.socket:
        made: list[socket.socket] = []
        peer = self.world.peer("eth1")

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.world.others}") as namespace:
                assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0
            made.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            made[0].bind((peer, 0))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """One bench."""
    made = Bench()
    yield made
    made.close()


async def receive(tap: PacketSocket, number: int = 1) -> list[FrameSeen]:
    """That many frames, in order."""
    frames: list[FrameSeen] = []
    with trio.fail_after(30):
        while len(frames) < number:
            await tap._listening.readable()
            frames += tap.read()
    return frames


@pytest.mark.parametrize(
    ("frames", "wanted", "seen"),
    [
        (slow.FRAMES, LACP, (0x8809, None, LACP_BODY)),
        (arp.frames(None), ARP, (0x0806, None, ARP_BODY)),
        (arp.frames(None), frame(BROADCAST, 0x0806, ARP_BODY, 0xE000), (0x0806, 0, ARP_BODY)),
        (arp.frames(5), frame(BROADCAST, 0x0806, ARP_BODY, 0x6005), (0x0806, 5, ARP_BODY)),
        (bfd.frames(4), BFD, (0x0800, None, BFD[14:])),
        (arp.frames(4094), frame(BROADCAST, 0x0806, ARP_BODY, 4094), (0x0806, 4094, ARP_BODY)),
        (ndisc.ADVERTISEMENTS, ADVERT, (0x86DD, None, ADVERT_BODY)),
    ],
)
async def test_a_tap_sees_its_frames_only(
    bench: Bench, frames: FrameFilter, wanted: bytes, seen: tuple[int, int | None, bytes]
) -> None:
    """And on a disabled port too: for a team that port is silent."""
    tap = bench.tap(frames)
    others = {
        LACP,
        ARP,
        ADVERT,
        BFD,
        NOISE,
        frame(BROADCAST, 0x0806, ARP_BODY, 5),
        frame(BROADCAST, 0x0806, ARP_BODY, 6),
    }
    others |= {frame(BROADCAST, 0x0806, ARP_BODY, 4094), frame(SLOW_GROUP, 0x8809, LACP_BODY, 5)}
    unwanted = [other for other in others if not _belongs(other, frames.ethertype, frames.vlan)]
    assert len(unwanted) >= 4
    bench.send(*unwanted, wanted, *unwanted, wanted)
    ethertype, tag, body = seen
    for got in await receive(tap, 2):
        assert got == FrameSeen(bench.port, wanted[:6], SENDER, ethertype, tag, got.payload)
        assert got.payload[: len(body)] == body
    assert tap.malformed == 0


def _belongs(octets: bytes, ethertype: int, vlan: int | None) -> bool:
    """Whether a tap for that type and VLAN wants the frame. A tagged LACP frame is one all the same."""
    tagged = octets[12:14] == b"\x81\x00"
    found = int.from_bytes(octets[16:18] if tagged else octets[12:14])
    if found != ethertype:
        return False
    return ethertype != 0x0806 or vlan == (int.from_bytes(octets[14:16]) & 0xFFF if tagged else None)


@pytest.mark.parametrize(
    ("frames", "mine"),
    [(slow.FRAMES, LACP), (arp.frames(None), ARP), (ndisc.ADVERTISEMENTS, ADVERT), (bfd.frames(4), BFD)],
)
async def test_our_own_frames_are_not_received(bench: Bench, frames: FrameFilter, mine: bytes) -> None:
    tap, other = bench.tap(frames), bench.tap(frames)
    ours = mine[:6] + b"\x02\x5e\x00\x00\x00\x01" + mine[12:]
    tap.send(ours)
    other.send(ours)
    bench.send(mine)
    for each in (tap, other):
        (got,) = await receive(each)
        assert got.source == SENDER


async def test_what_we_send_arrives(bench: Bench) -> None:
    tap = bench.tap(arp.frames(None))
    run("ip", "-n", bench.world.others, "address", "add", "10.0.0.9/24", "dev", bench.world.peer("eth1"))
    request = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, SENDER, bytes(4), bytes(6), bytes([10, 0, 0, 9]))
    tap.send(BROADCAST + SENDER + b"\x08\x06" + request)
    (answer,) = await receive(tap)
    assert answer.payload[14:18] == bytes([10, 0, 0, 9])


def test_group_address_is_joined_and_left(bench: Bench) -> None:
    def groups() -> str:
        return run("ip", "maddress", "show", "dev", "eth1")

    assert SLOW_GROUP.hex(":") not in groups()
    tap = bench.tap(slow.FRAMES, SLOW_GROUP)
    assert SLOW_GROUP.hex(":") in groups()
    tap.close()
    assert SLOW_GROUP.hex(":") not in groups()


async def test_a_further_address_of_its_own(bench: Bench) -> None:
    """A station address: frames to it are received although the link has another one."""
    address = bytes.fromhex("025e00000007")
    tap = bench.tap(arp.frames(None), address)
    bench.send(frame(address, 0x0806, ARP_BODY))
    (got,) = await receive(tap)
    assert got.destination == address


async def test_link_down_and_up_again(bench: Bench) -> None:
    tap = bench.tap(arp.frames(None))
    bench.world.set_admin("eth1", False)
    with pytest.raises(OSError, match="Network is down"):
        tap.send(ARP)
    async with trio.open_nursery() as nursery:
        got: list[FrameSeen] = []

        async def listen() -> None:
            got.extend(await receive(tap))

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        bench.world.set_admin("eth1", True)
        bench.world.set_peer("eth1", True)
        bench.send(ARP)
    assert len(got) == 1


@pytest.mark.parametrize("how", ["delete", "move_away"])
async def test_link_gone(bench: Bench, how: str) -> None:
    tap = bench.tap(arp.frames(None))
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            with pytest.raises(KernelGone):
                await receive(tap)

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        getattr(bench.world, how)("eth1")
    with pytest.raises(KernelGone):
        bench.world.kernel.open_port(bench.port, Tap(arp.frames(None)))


async def test_one_that_is_closed_does_not_end_waiting_for_the_others(bench: Bench) -> None:
    closed, tap = bench.tap(arp.frames(None)), bench.tap(arp.frames(None))
    async with trio.open_nursery() as nursery:
        got: list[FrameSeen] = []

        async def listen() -> None:
            got.extend(await receive(tap))

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        closed.close()
        bench.send(ARP)
    assert len(got) == 1


async def test_frames_that_are_all_alike_are_all_read(bench: Bench) -> None:
    tap = bench.tap(slow.FRAMES)
    bench.send(*[LACP] * 5)
    got = await receive(tap, 5)
    assert got == got[:1] * 5
    assert tap.read() == []


async def test_a_flood_of_frames_that_are_all_alike_takes_few_turns(bench: Bench) -> None:
    tap, flood = bench.tap(slow.FRAMES), 64
    bench.send(*[LACP] * flood)
    arrived = 0
    with trio.fail_after(30):
        while arrived < flood:
            arrived += struct.unpack_from("=I", tap._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[0]
            await trio.sleep(0.01)
    turns = [len(tap.read()) for _ in range(flood // 16 + 2)]
    assert sum(turns) == flood, turns


async def test_nothing_gets_in_before_the_filter(bench: Bench) -> None:
    """Sockets opened in the middle of a flood hold nothing of it."""
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            bench.send(NOISE, ADVERT, LACP)

    thread = threading.Thread(target=flood)
    thread.start()
    taps = [bench.tap(arp.frames(None)) for _ in range(30)]
    done.set()
    thread.join()
    bench.send(ARP)
    for tap in taps:
        assert [got.ethertype for got in await receive(tap)] == [0x0806]
