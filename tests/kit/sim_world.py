"""The world of the contract suite in the simulator: that of scenarios, in which no daemon is started."""

from __future__ import annotations

from contract_world import ContractWorld

from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.scenario.simulated import SimulatedWorld


class SimContractWorld(SimulatedWorld, ContractWorld):
    """Links and their changes in a SimKernel."""

    def __init__(self, *, independent: bool) -> None:
        super().__init__()
        self.kernel.independent = independent

    def make_link(self, name: str) -> int:
        self.make_port(name, 10000, 1)
        return self.ifindex_of(name)

    def say(self, name: str, octets: bytes) -> None:
        super().say(name, octets)
        self.pass_time(1.0)

    def set_altname(self, name: str, other: str) -> None:
        link = self.kernel.links[self.ifindex_of(name)]
        self.kernel.set_altnames(link.ifindex, *link.altnames, other)

    def get_option(self, key: OptionKey) -> OptionValue:
        return self.device().value(key)

    def lose_events(self, team: int) -> None:
        self.kernel.lose_events()
