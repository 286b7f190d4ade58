"""The simulated network: wires between links, the stations at their far ends, and packet sockets. Time comes as an argument.

How it works. A frame sent on a link is scheduled to arrive at its peer; `advance(now)` delivers what is due, in order of arrival.
At the peer it reaches the partners attached there and the packet sockets open there, whose filters are those of the real ones
(`Tap`). Partners put their answers into `outbox`. A wire may lose, delay, duplicate and reorder; chance comes from seeded `Dice`,
so that the same run happens again.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, TypeVar

from pyteamd.model.desired import Tap
from pyteamd.model.events import UNTOLD_VLAN, FrameSeen
from pyteamd.sim.link import SimLink
from pyteamd.values import dataclass
from pyteamd.wire import PeerError, arp, ethernet, ndisc
from pyteamd.wire.frame_filter import ANY_VLAN

Item = TypeVar("Item")

HOPS_AT_ONE_MOMENT = 10_000
"""More deliveries than this without time passing are a storm."""


class Dice:
    """A small seeded generator (splitmix64): the same seed gives the same run on every machine and Python."""

    def __init__(self, seed: int) -> None:
        self._state = seed & (2**64 - 1)

    def _next(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        mixed = (self._state ^ (self._state >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        return mixed ^ (mixed >> 31)

    def random(self) -> float:
        """0.0 ≤ x < 1.0."""
        return (self._next() >> 11) / 2**53

    def below(self, limit: int) -> int:
        """0 ≤ x < limit."""
        return self._next() % limit

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]


class Partner(Protocol):
    """A station at the far end of a wire."""

    outbox: list[bytes]
    """Frames it wants to send; the network empties it after every call."""

    def receive(self, octets: bytes, now: float) -> None:
        """A frame came in."""

    def deadline(self) -> float | None:
        """When time alone makes it do something."""

    def tick(self, now: float) -> None:
        """That time has come."""


class Responder:
    """A host that owns addresses and answers ARP requests and neighbour solicitations for those switched on."""

    def __init__(self, mac: bytes, vlan: int | None = None) -> None:
        """`vlan`: it hears and answers frames with this tag only, None for untagged ones."""
        self.mac = mac
        self.vlan = vlan
        self.addresses: set[IPv4Address | IPv6Address] = set()
        self.outbox: list[bytes] = []

    def receive(self, octets: bytes, now: float) -> None:
        try:
            frame = ethernet.parse(octets)
            if frame.vlan_id != self.vlan:
                return
            if frame.ethertype == ethernet.ETHERTYPE_ARP:
                self._answer_arp(arp.parse(frame.payload))
            elif frame.ethertype == ethernet.ETHERTYPE_IPV6:
                self._answer_solicit(ndisc.parse_solicit(frame.payload))
        except PeerError:
            return  # a host ignores what it does not understand

    def _answer_arp(self, request: arp.Arp) -> None:
        if request.operation == arp.Operation.REQUEST and request.target_ip in self.addresses:
            self.outbox.append(request.reply(self.mac).frame(request.sender_mac, self.vlan))

    def _answer_solicit(self, asked: ndisc.NeighborSolicit) -> None:
        if asked.target not in self.addresses:
            return
        advert = ndisc.NeighborAdvert(asked.target, asked.source, asked.target, self.mac)
        tag = self.vlan
        self.outbox.append(
            ethernet.EthernetFrame(asked.source_mac, self.mac, ethernet.ETHERTYPE_IPV6, advert.build(), tag).build()
        )

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None:
        """See Partner."""


class Switch:
    """One of the ends of a switch: what comes in as broadcast or multicast goes out at its other ends."""

    def __init__(self, net: SimNet, link: SimLink, ends: Sequence[SimLink]) -> None:
        """`ends`: the far ends of all wires that lead to the switch; `link` is the one this object stands at."""
        self.outbox: list[bytes] = []
        self._net = net
        self._others = [end for end in ends if end is not link]

    def receive(self, octets: bytes, now: float) -> None:
        if octets[0] & 1:
            for end in self._others:
                if end.running:
                    self._net.transmit(end, octets)

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None:
        """See Partner."""


@dataclass(slots=True)
class Wire:
    """What the cable of a link does to frames, in both directions."""

    loss: float = 0.0
    """Probability, 0 to 1."""
    duplicate: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this much longer, by chance; frames then overtake each other."""


class SimSocket:
    """A packet socket on a port: a `PortSocket`."""

    def __init__(self, net: SimNet, link: SimLink, tap: Tap) -> None:
        self.net = net
        self.link = link
        self.tap = tap
        self.waiting: list[FrameSeen] = []
        self.open = True

    def send(self, octets: bytes) -> None:
        if not self.open:
            raise OSError(errno.ENXIO, "the port is gone")
        if not self.link.running:
            raise OSError(errno.ENETDOWN, "the link is down")
        self.net.transmit(self.link, octets)

    def read(self) -> list[FrameSeen]:
        """What can be read now."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def close(self) -> None:
        self.open = False
        self.net.sockets = [socket for socket in self.net.sockets if socket is not self]


class SimNet:
    """Wires, partners and sockets. `now` only moves in `advance`."""

    def __init__(self, dice: Dice | None = None) -> None:
        self.now = 0.0
        self.dice = dice or Dice(0)
        self.sockets: list[SimSocket] = []
        self.on_frame: Callable[[SimLink, bytes], None] = lambda link, octets: None
        """Told of each frame a link sends, before the wire gets it: those of the daemon, and those of partners."""
        self.wake: Callable[[], None] = lambda: None
        """Called when a frame has set out, so that `deadline` may be earlier now."""
        self.heard: Callable[[], None] = lambda: None
        """Called when a packet socket can be read."""
        self._partners: dict[SimLink, list[Partner]] = {}
        self._wires: dict[SimLink, Wire] = {}
        self._flying: list[tuple[float, int, SimLink, bytes]] = []
        self._count = 0

    def wire(self, link: SimLink) -> Wire:
        """The cable at this link; change its fields."""
        wire = self._wires.get(link) or (self._wires.get(link.peer) if link.peer else None) or Wire()
        self._wires[link] = wire
        return wire

    def attach(self, link: SimLink, partner: Partner) -> None:
        """Put a station at this link; it hears what arrives here."""
        self._partners.setdefault(link, []).append(partner)

    def partners(self, link: SimLink) -> Sequence[Partner]:
        """Stations at this link."""
        return self._partners.get(link, ())

    def open(self, socket: SimSocket) -> None:
        """From now on the socket hears what arrives at its link."""
        self.sockets.append(socket)

    def forget(self, link: SimLink) -> None:
        """The link is gone: its sockets close, its partners go."""
        for socket in [socket for socket in self.sockets if socket.link is link]:
            socket.close()
        self._partners.pop(link, None)
        self._wires.pop(link, None)

    def transmit(self, link: SimLink, octets: bytes) -> None:
        """Send a frame on a link; it arrives at the peer unless the wire loses it."""
        self.on_frame(link, octets)
        peer, wire = link.peer, self.wire(link)
        if peer is None or (wire.loss and self.dice.random() < wire.loss):
            return
        copies = 2 if wire.duplicate and self.dice.random() < wire.duplicate else 1
        for _ in range(copies):
            late_s = wire.jitter_s * self.dice.random() if wire.jitter_s else 0.0
            self._count += 1
            heapq.heappush(self._flying, (self.now + wire.delay_s + late_s, self._count, peer, octets))
        self.wake()

    def deadline(self) -> float | None:
        """When something happens next without anybody's doing."""
        times = [self._flying[0][0]] if self._flying else []
        times += [due for station in self._stations() if (due := station.deadline()) is not None]
        return min(times, default=None)

    def advance(self, now: float) -> None:
        """Let time pass until `now`, and deliver and run what is due."""
        self.now = max(self.now, now)
        for link, stations in list(self._partners.items()):
            for station in stations:
                due = station.deadline()
                if due is not None and due <= self.now:
                    station.tick(self.now)
                    self._post(link, station)
        for _ in range(HOPS_AT_ONE_MOMENT):
            if not self._flying or self._flying[0][0] > self.now:
                return
            _, _, link, octets = heapq.heappop(self._flying)
            self._arrive(link, octets)
        raise AssertionError(f"a storm of frames: {HOPS_AT_ONE_MOMENT} at one moment")

    def _stations(self) -> list[Partner]:
        return [station for stations in self._partners.values() for station in stations]

    def _arrive(self, link: SimLink, octets: bytes) -> None:
        if not link.running:
            return
        for station in self._partners.get(link, ()):
            station.receive(octets, self.now)
            self._post(link, station)
        sockets = [socket for socket in self.sockets if socket.link is link]
        if not sockets:
            return
        seen = frame_seen(link.ifindex, octets)
        for socket in sockets:
            if socket.tap.frames.lets_through(seen.ethertype, seen.vlan, seen.payload):
                socket.waiting.append(without_tag(seen) if socket.tap.frames.vlan == ANY_VLAN else seen)
                self.heard()

    def _post(self, link: SimLink, station: Partner) -> None:
        frames, station.outbox = station.outbox, []
        for octets in frames:
            if link.running:
                self.transmit(link, octets)


def without_tag(seen: FrameSeen) -> FrameSeen:
    """As a socket for one EtherType gets it: the kernel has taken the tag off."""
    if seen.vlan is None:
        return seen
    return replace(seen, vlan=UNTOLD_VLAN if seen.vlan and seen.destination[0] & 1 else None)


def frame_seen(ifindex: int, octets: bytes) -> FrameSeen:
    """A frame as the packet layer hands it to the core: the outer tag beside it."""
    frame = ethernet.parse(octets)
    return FrameSeen(ifindex, frame.destination, frame.source, frame.ethertype, frame.vlan_id, frame.payload)
