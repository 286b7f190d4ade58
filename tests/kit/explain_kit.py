"""What tests of `explain` need: the simulated world with its team up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from lldp_kit import lldp_frame

from pyteamd.core.team import Team
from pyteamd.model.events import ConfigApply
from pyteamd.runners.base import Reason
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.sim.lacp_partner import LacpPartner
from pyteamd.views.explain import explain, sentence


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

    def station(self, port: str, number: int, **settings: Any) -> LacpPartner:
        """A system that speaks LACP at the other end of a port."""
        made = LacpPartner(number, **settings)
        peer = self.world.kernel.links[self.world.ifindex_of(port)].peer
        assert peer is not None
        self.world.kernel.net.attach(peer, made)
        return made

    def hears(self, port: str, payload: bytes) -> None:
        """An LLDPDU arrives on a port."""
        peer = self.world.kernel.links[self.world.ifindex_of(port)].peer
        assert peer is not None
        self.world.kernel.net.transmit(peer, lldp_frame(payload))
        self.world.pass_time(0.01)


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
) -> tuple[Told, LacpPartner, LacpPartner]:
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
