"""What tests of `explain` need: the simulated world with its team up, and a station that speaks LACP as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pyteamd.core.team import Team
from pyteamd.model.events import ConfigApply
from pyteamd.runners.base import Reason
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.views.explain import explain, sentence
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import AGGREGATION, LacpInfo

PARTNER = b"\x02\xbb\x00\x00\x00\x01"
OURS = 0x3F
"""A state octet with everything set that a working link sets."""


@dataclass
class Station:
    """The far end of a cable: answers each LACPDU, and speaks every second. A Partner of the simulated network."""

    number: int
    key: int = 7
    state: int = OURS
    system: bytes = PARTNER
    mistakes: dict[str, Any] = field(default_factory=dict)
    """What it says wrongly of the other end."""
    silent: bool = False
    outbox: list[bytes] = field(default_factory=list)
    _heard: LacpInfo | None = None
    _next: float = 0.0

    def receive(self, octets: bytes, now: float) -> None:
        """See Partner."""
        if octets[12:14] != b"\x88\x09" or octets[14] != 1:
            return
        self._heard = lacpdu.parse(octets[14:], octets[:6]).actor
        self._say()

    def deadline(self) -> float | None:
        """See Partner."""
        return self._next

    def tick(self, now: float) -> None:
        """See Partner."""
        self._next = now + 1.0
        if self._heard is not None:
            self._say()

    def _say(self) -> None:
        heard = self._heard
        if self.silent or heard is None:
            return
        fields = {name: getattr(heard, name) for name in LacpInfo.__slots__} | self.mistakes
        actor = LacpInfo(100, self.system, self.key, 255, self.number, self.state)
        self.outbox.append(lacpdu.Lacpdu(actor, LacpInfo(**fields)).frame(self.system[:5] + bytes((self.number,))))


@dataclass
class Told:
    """A world, and what `explain` says in it."""

    world: SimulatedWorld = field(default_factory=SimulatedWorld)

    @property
    def team(self) -> Team:
        """The team of the daemon."""
        return self.world.running().team

    def reasons(self) -> dict[str, Reason]:
        """Reason by name."""
        return explain(self.team, self.world.clock)

    def lines(self) -> list[str]:
        """The sentences."""
        return [sentence(name, reason, self.world.clock) for name, reason in self.reasons().items()]

    def line(self, name: str) -> str:
        """One sentence."""
        return sentence(name, self.reasons()[name], self.world.clock)

    def station(self, port: str, number: int, **settings: Any) -> Station:
        """Somebody who speaks LACP at the other end of a port."""
        made = Station(number, **settings)
        peer = self.world.kernel.links[self.world.ifindex_of(port)].peer
        assert peer is not None
        self.world.kernel.net.attach(peer, made)
        return made


def told(config: dict[str, Any], *ports: str, up: bool = True, start: bool = True) -> Told:
    """A team with ports eth1 and eth2 unless others are named."""
    made = Told()
    for name in ports or ("eth1", "eth2"):
        made.world.make_port(name, 1000, 1)
    if start:
        begin(made, config, up)
    return made


def begin(made: Told, config: dict[str, Any], up: bool = True) -> None:
    """Start the daemon and set the team up."""
    made.world.start(json.dumps(config), adopt=False, enslave=True, keep=False)
    if up:
        made.world.set_admin("team0", True)


def backup(**ports: dict[str, Any]) -> dict[str, Any]:
    """Configuration of an activebackup team."""
    return {"runner": {"name": "activebackup"}, "ports": ports or {"eth1": {}, "eth2": {}}}


def lacp(ports: dict[str, Any] | None = None, **runner: Any) -> dict[str, Any]:
    """Configuration of an LACP team that speaks fast."""
    return {
        "runner": {"name": "lacp", "fast_rate": True, **runner},
        "ports": {"eth1": {}, "eth2": {}} if ports is None else ports,
    }


def two_partners(
    config: dict[str, Any], second: dict[str, Any] | None = None, **settings: Any
) -> tuple[Told, Station, Station]:
    """An LACP team in service with one switch on both ports, unless told otherwise of the second."""
    made = told(config, start=False)
    one = made.station("eth1", 1, **settings)
    two = made.station("eth2", 2, **(settings if second is None else second))
    begin(made, config)
    made.world.pass_time(5.0)
    return made, one, two


def apply(made: Told, config: dict[str, object]) -> None:
    """Go over to another configuration."""
    made.world.running().feed(ConfigApply(json.dumps(config)), made.world.clock)
    made.world.settle()


def again(made: Told) -> list[str]:
    """Kill the daemon and start another; returns what that wrote and said."""
    config = json.dumps(made.team.config.dump())
    made.world.kill()
    made.world.happened()
    made.world.start(config, adopt=True, enslave=True, keep=False)
    return [f"{happened.kind} {happened.text}" for happened in made.world.happened()]


INDIVIDUAL = OURS & ~AGGREGATION
