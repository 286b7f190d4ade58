"""The simulated network: wires with faults, hosts, switches, and packet sockets with their filters."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv6Address

import pytest

from pyteamd.model.desired import Tap
from pyteamd.model.errors import KernelGone
from pyteamd.sim.kernel import SimKernel
from pyteamd.sim.link import SimLink
from pyteamd.sim.net import Dice, Responder, SimNet, SimSocket, Switch
from pyteamd.wire import arp, ndisc, slow
from pyteamd.wire.ethernet import EthernetFrame

MINE = IPv4Address("192.0.2.2")
THEIRS = IPv4Address("192.0.2.1")
THEIRS6 = IPv6Address("fe80::1")
HOST_MAC = b"\x02\0\0\0\0\x77"
ARP = Tap(arp.frames(None))


class Recorder:
    """A station that remembers what it heard."""

    def __init__(self) -> None:
        self.outbox: list[bytes] = []
        self.heard: list[tuple[float, bytes]] = []

    def receive(self, octets: bytes, now: float) -> None:
        self.heard.append((now, octets))

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None:
        raise AssertionError("nobody asked for it")


def cable(net: SimNet) -> tuple[SimKernel, SimLink, Recorder]:
    """A link that is up, and a recorder at its far end."""
    kernel = SimKernel(net)
    link = kernel.add_pair("eth1", "far")
    kernel.set_up(link.ifindex, True)
    recorder = Recorder()
    assert link.peer
    net.attach(link.peer, recorder)
    return kernel, link, recorder


def frames(number: int) -> list[bytes]:
    return [EthernetFrame(b"\xff" * 6, HOST_MAC, 0x88B5, bytes([n])).build() for n in range(number)]


@pytest.mark.parametrize(
    ("quality", "amount", "least", "most"),
    [
        ("loss", 0.0, 1000, 1000),
        ("loss", 1.0, 0, 0),
        ("loss", 0.3, 640, 760),
        ("duplicate", 0.5, 1430, 1570),
        ("duplicate", 1.0, 2000, 2000),
    ],
)
def test_loss_and_duplicates(quality: str, amount: float, least: int, most: int) -> None:
    net = SimNet(Dice(1))
    _, link, recorder = cable(net)
    setattr(net.wire(link), quality, amount)
    for octets in frames(10) * 100:
        net.transmit(link, octets)
    net.advance(0.0)
    assert least <= len(recorder.heard) <= most


def test_delay_and_order() -> None:
    net = SimNet(Dice(1))
    _, link, recorder = cable(net)
    net.wire(link).delay_s = 0.25
    for octets in frames(5):
        net.transmit(link, octets)
    assert net.deadline() == 0.25
    net.advance(0.2)
    assert recorder.heard == []
    net.advance(0.3)
    assert [octets for _, octets in recorder.heard] == frames(5)
    net.wire(link).jitter_s = 0.5
    for octets in frames(20):
        net.transmit(link, octets)
    net.advance(2.0)
    late = [octets for _, octets in recorder.heard[5:]]
    assert late != frames(20)
    assert sorted(late) == frames(20)


def test_the_wire_is_one_for_both_ends() -> None:
    net = SimNet()
    _, link, _ = cable(net)
    assert link.peer
    assert net.wire(link) is net.wire(link.peer)


def test_nothing_arrives_at_a_link_that_is_down() -> None:
    net = SimNet()
    kernel, link, recorder = cable(net)
    net.wire(link).delay_s = 0.1
    net.transmit(link, frames(1)[0])
    assert link.peer
    kernel.set_up(link.peer.ifindex, False)
    net.advance(1.0)
    assert recorder.heard == []


def test_the_same_seed_rolls_the_same() -> None:
    rolls = [[Dice(seed).random() for _ in range(3)] for seed in (5, 5, 6)]
    assert rolls[0] == rolls[1] != rolls[2]
    dice = Dice(1)
    assert {dice.below(6) for _ in range(200)} == set(range(6))
    assert 0.45 < sum(dice.random() for _ in range(2000)) / 2000 < 0.55


@pytest.mark.parametrize("vlan", [None, 0, 7])
def test_a_host_answers_arp(vlan: int | None) -> None:
    net = SimNet()
    kernel, link, _ = cable(net)
    host = Responder(HOST_MAC, vlan)
    assert link.peer
    net.attach(link.peer, host)
    socket = kernel.open_port(link.ifindex, Tap(arp.frames(vlan)))
    question = arp.request(link.mac, MINE, THEIRS)
    socket.send(question.frame(vlan_id=vlan))
    net.advance(0.0)
    assert socket.read() == []
    host.addresses.add(THEIRS)
    socket.send(question.frame(vlan_id=vlan))
    socket.send(question.frame(vlan_id=99))
    net.advance(0.0)
    (seen,) = socket.read()
    assert arp.parse(seen.payload) == question.reply(HOST_MAC)
    assert (seen.ifindex, seen.destination, seen.vlan) == (link.ifindex, link.mac, vlan)


def test_a_host_answers_solicitations() -> None:
    net = SimNet()
    kernel, link, _ = cable(net)
    host = Responder(HOST_MAC)
    host.addresses.add(THEIRS6)
    assert link.peer
    net.attach(link.peer, host)
    socket = kernel.open_port(link.ifindex, Tap(ndisc.ADVERTISEMENTS))
    socket.send(ndisc.NeighborSolicit(IPv6Address("fe80::2"), THEIRS6, link.mac).frame())
    net.advance(0.0)
    (seen,) = socket.read()
    assert ndisc.parse(seen.payload).target_mac == HOST_MAC


FILTERS = [
    (ARP, arp.request(HOST_MAC, MINE, THEIRS).frame(), True),
    (ARP, arp.request(HOST_MAC, MINE, THEIRS).frame(vlan_id=0), True),
    (ARP, arp.request(HOST_MAC, MINE, THEIRS).frame(vlan_id=7), False),
    (Tap(arp.frames(7)), arp.request(HOST_MAC, MINE, THEIRS).frame(vlan_id=7), True),
    (Tap(arp.frames(7)), arp.request(HOST_MAC, MINE, THEIRS).frame(), False),
    (ARP, EthernetFrame(HOST_MAC, HOST_MAC, 0x8809, b"\x01").build(), False),
    (Tap(slow.FRAMES), EthernetFrame(HOST_MAC, HOST_MAC, 0x8809, b"\x01").build(), True),
    (Tap(ndisc.ADVERTISEMENTS), ndisc.NeighborSolicit(THEIRS6, THEIRS6, HOST_MAC).frame(), False),
    (Tap(ndisc.ADVERTISEMENTS), EthernetFrame(HOST_MAC, HOST_MAC, 0x86DD, b"short").build(), False),
]


@pytest.mark.parametrize(("tap", "octets", "heard"), FILTERS)
def test_sockets_hear_what_their_filter_lets_through(tap: Tap, octets: bytes, heard: bool) -> None:
    net = SimNet()
    kernel, link, _ = cable(net)
    socket = kernel.open_port(link.ifindex, tap)
    assert link.peer
    net.transmit(link.peer, octets)
    net.advance(0.0)
    assert bool(socket.read()) is heard


def test_a_switch_floods_broadcasts_only() -> None:
    net = SimNet()
    kernel = SimKernel(net)
    links = [kernel.add_pair(f"eth{n}", f"far{n}") for n in range(3)]
    ends = [link.peer for link in links if link.peer]
    for link, end in zip(links, ends, strict=True):
        kernel.set_up(link.ifindex, True)
        net.attach(end, Switch(net, end, ends))
    sockets = [kernel.open_port(link.ifindex, ARP) for link in links]
    question = arp.request(links[0].mac, MINE, THEIRS)
    sockets[0].send(question.frame())
    sockets[0].send(question.frame(links[1].mac))
    net.advance(0.0)
    assert [len(socket.read()) for socket in sockets] == [0, 1, 1]


def test_sockets_end_with_their_link() -> None:
    net = SimNet()
    kernel, link, _ = cable(net)
    socket: SimSocket = kernel.open_port(link.ifindex, ARP)
    kernel.set_up(link.ifindex, False)
    with pytest.raises(OSError, match="down") as caught:
        socket.send(frames(1)[0])
    assert caught.value.errno == errno.ENETDOWN
    kernel.delete_link(link.ifindex)
    assert not socket.open
    with pytest.raises(OSError, match="gone"):
        socket.send(frames(1)[0])
    with pytest.raises(KernelGone):
        kernel.open_port(link.ifindex, ARP)


def test_a_storm_is_noticed() -> None:
    net = SimNet()
    kernel = SimKernel(net)
    link = kernel.add_pair("eth1", "far")
    kernel.set_up(link.ifindex, True)
    assert link.peer
    echo = Recorder()
    echo.receive = lambda octets, now: echo.outbox.append(octets)  # type: ignore[method-assign]
    for end in (link, link.peer):
        net.attach(end, echo)
    net.transmit(link, frames(1)[0])
    with pytest.raises(AssertionError, match="a storm of frames"):
        net.advance(0.0)
