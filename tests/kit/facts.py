"""What a listener knows of the world after the events so far: the events of a kernel compared as facts.

Kernels repeat themselves, and two sockets have no common order; so tests ask what is known once things have settled,
and compare with a fresh dump. The raw events stay in `heard` for the places where an order is promised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio
from contract_world import ContractWorld

from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import OptionKey, OptionValue, SetOption
from pyteamd.model.events import (
    KernelEvent,
    LinkGone,
    LinkSeen,
    OptionGone,
    OptionSeen,
    Overrun,
    PortGone,
    PortSeen,
    Resync,
)

PATIENCE_S = 30.0


class Facts:
    """Links of the namespace, ports and options of one team."""

    def __init__(self, kernel: Kernel, team: int) -> None:
        self.kernel = kernel
        self.team = team
        self.heard: list[tuple[int, KernelEvent]] = []
        self.links: dict[int, LinkSeen] = {}
        self.ports: dict[int, PortSeen] = {}
        self.options: dict[OptionKey, OptionValue] = {}
        self.replace(kernel.dump(team))

    def replace(self, dump: Resync) -> None:
        """A dump replaces everything."""
        self.links = {link.ifindex: link for link in dump.links}
        self.ports = {port.ifindex: port for port in dump.ports}
        self.options = {option.key: option.value for option in dump.options}

    def hear(self, team: int, event: KernelEvent) -> None:
        """Take one event."""
        self.heard.append((team, event))
        match event:
            case LinkSeen(ifindex=ifindex):
                self.links[ifindex] = event
            case LinkGone(ifindex=ifindex):
                self.links.pop(ifindex, None)
            case Overrun():
                self.replace(self.kernel.dump(self.team))
            case PortSeen(ifindex=ifindex) if team == self.team:
                self.ports[ifindex] = event
            case PortGone(ifindex=ifindex) if team == self.team:
                self.ports.pop(ifindex, None)
            case OptionSeen(key=key, value=value) if team == self.team:
                self.options[key] = value
                self._follow(key)
            case OptionGone(key=key) if team == self.team:
                self.options.pop(key, None)

    def _follow(self, key: OptionKey) -> None:
        """Linux 7.1 has three options that switch a port, and announces only the one that was written: change the others too."""
        both, receive, transmit = (OptionKey(name, key.port) for name in ("enabled", "rx_enabled", "tx_enabled"))
        if transmit not in self.options:
            return
        if key == both:
            self.options[receive] = self.options[transmit] = self.options[both]
        elif key in (receive, transmit):
            self.options[both] = self.options[receive] is True and self.options[transmit] is True

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take events until `condition` holds. trio.TooSlowError when it never does."""
        with trio.fail_after(PATIENCE_S):
            while not condition():
                for team, event in await self.kernel.events():
                    self.hear(team, event)

    def agree(self) -> bool:
        """Whether what the events told is what a dump tells now."""
        other = Facts(self.kernel, self.team)
        links = [{link.ifindex: _announced(link) for link in facts.links.values()} for facts in (self, other)]
        return links[0] == links[1] and self.ports == other.ports and self.options == other.options

    async def settle(self, condition: Callable[[], bool] = lambda: True) -> None:
        """Until `condition` holds and everything heard agrees with a dump."""
        await self.until(lambda: condition() and self.agree())

    async def catch_up(self, world: ContractWorld) -> None:
        """Take everything that was said until now, on both sockets: until marks of our own have come back."""
        key = OptionKey("mcast_rejoin_interval")
        value = self.options[key]
        assert isinstance(value, int)
        mark = world.make_link("mark")
        assert self.kernel.apply(self.team, [SetOption(key, value + 1)]) == ()
        await self.until(lambda: mark in self.links and self.options[key] == value + 1)
        world.delete("mark")
        await self.until(lambda: mark not in self.links)
        self.heard.clear()

    @staticmethod
    async def endless(kernel: Kernel) -> None:
        """Take events and forget them, until cancelled."""
        while True:
            await kernel.events()

    def heard_of(self, *kinds: type) -> list[KernelEvent]:
        """Events of these kinds, in the order they came."""
        return [event for _, event in self.heard if isinstance(event, kinds)]


def _announced(link: LinkSeen) -> LinkSeen:
    """A link without what changes in silence: the carrier while the link is administratively down."""
    return link if link.up else replace(link, carrier=None)
