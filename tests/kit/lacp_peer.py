"""A scripted LACP partner: it says exactly what a test tells it to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lacp_pair import World

from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo


@dataclass
class PeerPort:
    """One port of a scripted partner."""

    number: int
    key: int = 7
    priority: int = 255
    state: int = 0x3F
    heard: list[tuple[float, Lacpdu]] = field(default_factory=list)
    raw: list[tuple[float, bytes]] = field(default_factory=list)
    echo: LacpInfo | None = None
    """What it says of the other end instead of the truth."""
    every: float | None = None
    answers: bool = False
    """Says something at once when what it is told of itself is wrong, as the standard asks."""
    running: bool = False


class Peer:
    """A partner that says what it is told to say."""

    def __init__(
        self, world: World, name: str = "peer", mac: bytes = b"\x02\xbb\0\0\0\x01", system_priority: int = 100
    ) -> None:
        self.world, self.name, self.mac = world, name, mac
        self.system_priority = system_priority
        self.ports: dict[int, PeerPort] = {}
        self.begun = False
        world.nodes.append(self)

    def port(self, number: int, every: float | None = 1.0, answers: bool = True, **settings: Any) -> PeerPort:
        """Add a port that speaks every so many seconds."""
        port = self.ports[number] = PeerPort(number, every=every, answers=answers, **settings)
        return port

    def actor(self, port: PeerPort) -> LacpInfo:
        return LacpInfo(self.system_priority, self.mac, port.key, port.priority, port.number, port.state)

    def say(self, number: int, **changes: Any) -> None:
        """Send one LACPDU; `changes` to the port last."""
        port = self.ports[number]
        for name, value in changes.items():
            setattr(port, name, value)
        last = port.heard[-1][1].actor if port.heard else LacpInfo(0, bytes(6), 0, 0, 0, 0)
        pdu = Lacpdu(self.actor(port), port.echo or last)
        self.world.transmit(self, number, pdu.frame(self.mac))

    def _speak(self, number: int) -> None:
        port = self.ports[number]
        if port.every is not None:
            if port.running:
                self.say(number)
            self.world.at(port.every, lambda: self._speak(number))

    def begin(self) -> None:
        """Start the periodic transmission of every port."""
        self.begun = True
        for number in self.ports:
            self._speak(number)

    def frame(self, ifindex: int, octets: bytes) -> None:
        port = self.ports[ifindex]
        port.raw.append((self.world.now, octets))
        if octets[14] != 1:
            return
        pdu = lacpdu.parse(octets[14:], octets[:6])
        before = port.heard[-1][1].actor if port.heard else None
        port.heard.append((self.world.now, pdu))
        mine = self.actor(port)
        wrong = pdu.partner.port != mine.port or (pdu.partner.state ^ mine.state) & 0x0F
        if self.begun and port.answers and port.every is not None and (wrong or before != pdu.actor):
            self.say(ifindex)

    def set_running(self, ifindex: int, running: bool) -> None:
        self.ports[ifindex].running = running

    def deadline(self) -> float | None:
        return None

    def tick(self) -> None:
        raise AssertionError("a peer has no deadlines")
