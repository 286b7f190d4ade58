"""One kernel and its reader: events go from here to the teams they concern, those of a fail-over before all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import trio

from pyteamd.core.namespace_links import NamespaceLinks, Told
from pyteamd.core.trace import Trace
from pyteamd.daemon.packet_sockets import PacketSockets
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.write_thread import WriteThread
from pyteamd.kernel.api import Batch, Kernel, PortSocket
from pyteamd.model.events import CarrierSeen, Event, KernelEvent, LinkGone, LinkSeen, Overrun

MAXIMUM_BATCH = 1024
"""More events at once than this are slower to digest than one dump."""
BATCH_FOR_EACH = 32
"""Of many teams each reads its own options again, and digests all links: so for them it is this many for each, where that is more."""


class Reader:
    """One kernel and its reader, for all teams of the process."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.links = NamespaceLinks()
        self.pumps: dict[int, Pump] = {}
        self.owners: dict[int, Pump] = {}
        """Whose port a link is. With many teams, asking each of them would take longer than a fail-over."""
        self.traces: dict[int, Trace] = {}
        """Of the teams that run or have crashed, by ifindex."""
        self.listeners: dict[PortSocket, PacketSockets] = {}
        """Whose each packet socket is."""
        self.serving = False
        """Some team was started."""
        self.write_thread = WriteThread(kernel)

    async def read(self) -> None:
        """Hand events to the pumps as they come, until cancelled."""
        if self.kernel.may_stall:
            self.write_thread.look_out()
        try:
            while True:
                batch = self._bounded(await self.kernel.events())
                self.write_ahead(batch)
                self.deliver(batch, trio.current_time())
        finally:
            self.write_thread.close()

    async def read_frames(self) -> None:
        """Hand frames to the pumps as they come, those of all sockets at once, until cancelled."""
        while True:
            heard: dict[Pump, list[Event]] = {}
            readable = await self.kernel.readable()
            now = trio.current_time()
            for socket in readable:
                if (taps := self.listeners.get(socket)) is not None:
                    pump = taps.pump()
                    heard.setdefault(pump, []).extend(self.attempt(pump, taps.hear, socket, now) or ())
            for pump, frames in heard.items():
                self.attempt(pump, pump.feed, frames, now)

    def hear(self, batch: Batch, now: float) -> None:
        """Take events that were not read by `read`: fail-overs first, then all of them."""
        batch = self._bounded(batch)
        self.write_ahead(batch)
        self.deliver(batch, now)

    def write_ahead(self, batch: Batch) -> bool:
        """Fail over before anything else, where it is known already what is to be written."""
        written, asked = False, set[Pump]()
        for _, event in batch:
            pump = self.owners.get(event.ifindex) if type(event) is CarrierSeen else None
            if pump is not None and pump not in asked:
                asked.add(pump)
                ours = [event for team, event in batch if team in (0, pump.ifindex)]
                written = self.attempt(pump, pump.write_ahead, ours) or written
        return written

    def deliver(self, batch: Batch, now: float) -> None:
        """Each pump gets what is said of its team, and of links that its team is to know, in order."""
        told: Told | None = None
        events: dict[int, list[KernelEvent]] = {}
        for team, event in batch:
            if team:
                events.setdefault(team, []).append(event)
            elif type(event) is CarrierSeen:
                if (owner := self.owners.get(event.ifindex)) is not None:
                    events.setdefault(owner.ifindex, []).append(event)
            elif isinstance(event, (LinkSeen, LinkGone)):
                if told is None:
                    told = {}
                    self.links.refresh(self.pumps)
                for ifindex in self.links.nearby(event, told):
                    pump = self.pumps[ifindex]
                    if found := self.attempt(pump, self.links.about, pump.team, event, told):
                        events.setdefault(ifindex, []).extend(found)
                self.links.hear(event)
            else:
                for ifindex in self.pumps:
                    events.setdefault(ifindex, []).append(event)
        for ifindex, pump in [(ifindex, pump) for ifindex, pump in self.pumps.items() if ifindex in events]:
            self.attempt(pump, pump.feed, events[ifindex], now)

    def _bounded(self, batch: Batch) -> Batch:
        """The batch, or the order to read everything again."""
        most = max(MAXIMUM_BATCH, BATCH_FOR_EACH * len(self.pumps))
        return batch if len(batch) <= most else [(0, Overrun())]

    def own(self, pump: Pump, ports: Iterable[int]) -> None:
        """These are the ports of a team now."""
        for ifindex in [ifindex for ifindex, owner in self.owners.items() if owner is pump]:
            del self.owners[ifindex]
        self.owners.update(dict.fromkeys(ports, pump))

    def attempt(self, pump: Pump, action: Callable[..., Any], *given: object) -> Any:
        """Something that is done for one team."""
        return action(*given)
