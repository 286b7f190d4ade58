"""The World of the contract suite in the simulator."""

from __future__ import annotations

from contract_world import World

from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.sim.link import SimLink
from pyteamd.sim.waiting import WaitingSimKernel


class SimWorld(World):
    """Links and their changes in a SimKernel."""

    kernel: WaitingSimKernel

    def __init__(self, *, independent: bool) -> None:
        self.kernel = WaitingSimKernel()
        self.kernel.independent = independent

    def make_link(self, name: str) -> int:
        link = self.kernel.add_pair(name, f"{name}-peer")
        return link.ifindex

    def set_link(self, name: str, up: bool) -> None:
        self.kernel.set_up(self._link(name).ifindex, up)

    def set_peer(self, name: str, up: bool) -> None:
        peer = self._link(name).peer
        assert peer is not None
        self.kernel.set_up(peer.ifindex, up)

    def say(self, name: str, octets: bytes) -> None:
        peer = self._link(name).peer
        assert peer is not None
        self.kernel.net.transmit(peer, octets)
        self.kernel.net.advance(self.kernel.net.now + 1.0)

    def set_mac(self, name: str, mac: bytes) -> None:
        self.kernel.set_mac(self._link(name).ifindex, mac)

    def rename(self, name: str, new: str) -> None:
        link = self._link(name)
        was_up = link.up
        self.kernel.set_up(link.ifindex, False)
        self.kernel.rename(link.ifindex, new)
        self.kernel.set_up(link.ifindex, was_up)

    def delete(self, name: str) -> None:
        self.kernel.delete_link(self._link(name).ifindex)

    def move_away(self, name: str) -> None:
        self.kernel.move_away(self._link(name).ifindex)

    def set_master(self, name: str, team: str) -> None:
        self.kernel.set_master(self._link(name).ifindex, self._link(team).ifindex if team else 0)

    def make_other(self, name: str, kind: str) -> int:
        """See World."""
        return self.kernel.add_other(name, kind).ifindex

    def set_altname(self, name: str, other: str) -> None:
        """See World."""
        link = self._link(name)
        self.kernel.set_altnames(link.ifindex, *link.altnames, other)

    def set_option(self, team: str, key: OptionKey, value: OptionValue) -> None:
        self.kernel.teams[self._link(team).ifindex].set_option(key, value)

    def get_option(self, team: str, key: OptionKey) -> OptionValue:
        return self.kernel.teams[self._link(team).ifindex].value(key)

    def lose_events(self, team: int) -> None:
        self.kernel.lose_events()

    def close(self) -> None:
        self.kernel.close()

    def _link(self, name: str) -> SimLink:
        return next(link for link in self.kernel.links.values() if link.here and link.name == name)
