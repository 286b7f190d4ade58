"""How ports come into LACP and leave it: numbers, source addresses, and what a predecessor left behind.

A new port begins with nothing, with one exception: the daemon took over a team that was in service. If a predecessor's snapshot
tells of the port and is young enough, the port goes on where that one stood. Without it, a port found enabled is left alone for a
moment; if the partner's next LACPDU says that it is in service with us, the port goes on as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyteamd.runners.base import PortView, TeamView
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.machines import Attached, Detached, Mux
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.runners.lacp.selection import assign_number
from pyteamd.runners.lacp.snapshot import SavedPort, load, restore
from pyteamd.wire.ethernet import MAC_LENGTH
from pyteamd.wire.lacpdu import COLLECTING, DISTRIBUTING, SYNCHRONIZATION, Lacpdu

HOLD_S = 2.0
"""How long a port that was found in service is left alone until its partner is heard."""
IN_SERVICE = SYNCHRONIZATION | COLLECTING | DISTRIBUTING


class Membership:
    """Keeps `group.ports` and the system identifier in step with the team. Owned by one runner."""

    def __init__(self, group: Group, system_id: bytes | None) -> None:
        self._group = group
        self.system_id = system_id
        self._saved: dict[str, SavedPort] = {}
        self._saved_at = 0.0
        self.begun = False
        """The ports there were at the start are known."""

    def resume(self, snapshot: Mapping[str, Any], age_s: float, now: float) -> bool:
        """Ports to come are those of this snapshot, made `age_s` ago. Returns whether it tells of any."""
        self._saved = load(snapshot)
        self._saved_at = now - age_s
        return bool(self._saved)

    def follow_identifier(self, team: TeamView) -> bool:
        """The system identifier, all zero while the team has no usable address. Returns whether it changed."""
        mac = self.system_id or (team.mac if len(team.mac) == MAC_LENGTH else bytes(MAC_LENGTH))
        if mac == self._group.local.mac:
            return False
        self._group.local = replace(self._group.local, mac=mac)
        return True

    def follow_ports(self, team: TeamView, now: float) -> bool:
        """Ports that came and went. Returns whether any did."""
        ports = self._group.ports
        stale = [ifindex for ifindex, port in ports.items() if team.ports.get(ifindex) is not port.view]
        if not stale and len(ports) == len(team.ports):
            return False
        for ifindex in stale:
            del ports[ifindex]
        for ifindex, view in team.ports.items():
            if ifindex not in ports:
                ports[ifindex] = self._join(view, team, now)
        self._group.ports = dict(sorted(ports.items()))
        return True

    def take_over(self, port: LacpPort, pdu: Lacpdu) -> None:
        """The first LACPDU on a port found in service. If the partner is in service too, go on as if we had been there."""
        if not port.matched(self._group.local) or pdu.partner.state & pdu.actor.state & IN_SERVICE != IN_SERVICE:
            return
        state = Mux.DISTRIBUTING if port.independent else Mux.COLLECTING_DISTRIBUTING
        port.standing = Attached(port.lag_id(self._group.local), state)
        if self._group.chosen is None:
            self._group.choice.take(port.lag)

    def _join(self, view: PortView, team: TeamView, now: float) -> LacpPort:
        saved = self._saved.pop(view.name, None)
        if saved is not None and saved.ifindex != view.ifindex:
            saved = None
        taken = [port.number for port in self._group.ports.values()]
        taken += [other.number for other in self._saved.values()]
        number = saved.number if saved and saved.number not in taken else assign_number(view.ifindex, taken)
        port = LacpPort(view, number, source_of(saved, view), served_since=now)
        if saved is not None and now - self._saved_at < saved.believed_for_s():
            self._go_on(port, saved, now)
        elif not self.begun and team.adopted and view.running and enabled_in_kernel(view, team):
            port.standing = Detached(hold_until=now + HOLD_S)
        return port

    def _go_on(self, port: LacpPort, saved: SavedPort, now: float) -> None:
        restore(port, saved, self._group.local, now)
        if saved.selected and port.lag is not None:
            self._group.choice.take(port.lag)


def source_of(saved: SavedPort | None, view: PortView) -> bytes:
    """The address a port speaks with, all zero when it has none that Ethernet knows."""
    known = (saved.source if saved else b"", view.original_mac, view.mac)
    return next((mac for mac in known if len(mac) == MAC_LENGTH), bytes(MAC_LENGTH))


def enabled_in_kernel(view: PortView, team: TeamView) -> bool:
    """The kernel lets traffic through this port."""
    return team.observed.serves(view.ifindex)
