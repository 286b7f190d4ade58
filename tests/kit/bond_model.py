"""Kernel bonding in mode 802.3ad, as far as two ends can disagree: which aggregator it makes the active one, and what it says meanwhile.

Written from what the driver does (read for its behaviour), for the virtual network of lacp_pair. It looks at its ports every 0.1 s, as
the driver does. The partner's SYNCHRONIZATION plays no part in its choice. Ports of an aggregator that is not active wait attached: out of
sync in the newer drivers, in sync, yet never collecting, where `says_sync` is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lacp_pair import World

from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

LOOK_S = 0.1
NOBODY = LacpInfo(0, bytes(6), 0, 0, 0, 0)
BASE = lacpdu.ACTIVITY | lacpdu.TIMEOUT | lacpdu.AGGREGATION
SERVICE = lacpdu.COLLECTING | lacpdu.DISTRIBUTING
SYNC = lacpdu.SYNCHRONIZATION


@dataclass
class BondPort:
    """One slave."""

    number: int
    key: int
    speed_mbps: int = 1000
    priority: int = 255
    running: bool = False
    partner: LacpInfo = NOBODY
    told: LacpInfo = NOBODY
    heard_at: float = -99.0
    mux: str = "detached"
    state: int = BASE
    aggregator: tuple[Any, ...] | None = None
    waits_until: float = 0.0
    said_at: float = -99.0
    said: tuple[Any, ...] = ()

    def partner_in_sync(self, actor: LacpInfo, now: float) -> bool:
        """It says so, it means us, and it was heard lately."""
        same = [
            getattr(self.told, name) == getattr(actor, name) for name in ("system", "system_priority", "key", "port")
        ]
        return all(same) and bool(self.partner.state & SYNC) and now < self.heard_at + 3.0


class Bond:
    """A node of a World. `ports`: by number; `says_sync`: see the top."""

    def __init__(
        self,
        world: World,
        ad_select: str,
        ports: dict[int, BondPort],
        *,
        mac: bytes,
        priority: int = 65535,
        says_sync: bool,
    ) -> None:
        self.world, self.ad_select, self.ports, self.mac, self.priority = world, ad_select, ports, mac, priority
        self.name, self.says_sync = "bond", says_sync
        self.active: tuple[Any, ...] | None = None
        self._looks_at = world.now + LOOK_S
        world.nodes.append(self)

    def actor(self, port: BondPort) -> LacpInfo:
        """What it says of a port."""
        return LacpInfo(self.priority, self.mac, port.key, port.priority, port.number, port.state)

    def serving(self, receive: bool = False) -> set[int]:
        """Ports of the active aggregator that pass frames."""
        ports = self.ports.values()
        return {port.number for port in ports if port.state & SERVICE == SERVICE and port.aggregator == self.active}

    # -- a node of the world -------------------------------------------------------------------------------------------

    def set_running(self, ifindex: int, running: bool) -> None:
        port = self.ports[ifindex]
        port.running = running
        self._detach(port)
        self._select_active()

    def frame(self, ifindex: int, octets: bytes) -> None:
        port = self.ports[ifindex]
        pdu = lacpdu.parse(octets[14:], octets[:6])
        known, actor = port.partner, pdu.actor
        names = ("system", "system_priority", "key", "port", "port_priority")
        if any(getattr(known, name) != getattr(actor, name) for name in names):
            self._detach(port)
        port.partner, port.told, port.heard_at = actor, pdu.partner, self.world.now
        mine = self.actor(port)
        if pdu.partner.port != mine.port or (pdu.partner.state ^ mine.state) & 0x0F:
            port.said = ()

    def deadline(self) -> float | None:
        return self._looks_at

    def tick(self) -> None:
        self._looks_at = self.world.now + LOOK_S
        for port in self.ports.values():
            if port.running:
                self._look(port)
        for port in self.ports.values():
            if port.running:
                self._speak(port)

    # -- the machines --------------------------------------------------------------------------------------------------

    def _detach(self, port: BondPort) -> None:
        port.mux, port.aggregator, port.state = "detached", None, BASE

    def _look(self, port: BondPort) -> None:
        now = self.world.now
        if port.partner is not NOBODY and now >= port.heard_at + 6.0:
            port.partner = port.told = NOBODY
            self._detach(port)
        if port.aggregator is None:
            partner = port.partner
            alone = (port.number,) if partner is NOBODY else ()
            port.aggregator = (port.key, partner.system_priority, partner.system, partner.key, *alone)
            self._select_active()
        active = port.aggregator == self.active
        in_sync = port.partner_in_sync(self.actor(port), now)
        match port.mux:
            case "detached":
                port.mux, port.waits_until = "waiting", now + 2.0
            case "waiting" if now >= port.waits_until:
                port.mux = "attached"
                port.state = BASE | (SYNC if active or self.says_sync else 0)
            case "attached" if in_sync and active:
                port.mux, port.state = "collecting_distributing", BASE | SYNC | SERVICE
            case "collecting_distributing" if not in_sync:
                port.mux = "attached"
                port.state = BASE | (SYNC if active or self.says_sync else 0)

    def _speak(self, port: BondPort) -> None:
        now = self.world.now
        said = (self.actor(port), port.partner.port)
        if now < port.said_at + 0.34 or (port.said == said and now < port.said_at + 1.0):
            return
        port.said, port.said_at = said, now
        self.world.transmit(self, port.number, Lacpdu(self.actor(port), port.partner).frame(self.mac))

    def _select_active(self) -> None:
        found: dict[tuple[Any, ...], list[BondPort]] = {}
        for port in self.ports.values():
            if port.aggregator is not None and port.running:
                found.setdefault(port.aggregator, []).append(port)
        if not found:
            self.active = None
            return
        if self.ad_select == "stable" and self.active in found and any(self.active[2]):  # type: ignore[index]
            return
        order = list(found)
        self.active = min(
            found, key=lambda one: (not any(one[2]), *self._worth(found[one]), one != self.active, order.index(one))
        )

    def _worth(self, ports: list[BondPort]) -> tuple[int, ...]:
        bandwidth = sum(port.speed_mbps for port in ports)
        return (-len(ports), -bandwidth) if self.ad_select == "count" else (-bandwidth,)
