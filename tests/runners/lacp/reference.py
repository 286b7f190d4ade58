"""An independent reference: the machines of IEEE 802.1AX-2014, 6.4, written straight from the state tables.

Nothing of the product is used here, not even its constants. A machine is a table: state → what is done on entering it, and the guards that
lead out of it, tried in order. `Station` holds the ports of one system; whatever happens is told to it with the moment, and it runs all
machines until none moves. What differs from the letter of the standard on purpose is marked DIFFERENCE and listed in docs/lacp.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ACT, TMO, AGG, SYN, COL, DIS, DEF, EXP = 1, 2, 4, 8, 16, 32, 64, 128
SHORT, LONG = 3.0, 90.0
ON_THE_EDGE = 0.03  # DIFFERENCE 1: what arrives just when the timeout ends still counts
STALL, GRACE = 0.5, 0.1
WAIT_WHILE = 2.0
CHURN = 60.0
NEVER = float("inf")
BOUND = 10_000


class Info(NamedTuple):
    """One end of a link as an LACPDU tells it."""

    system_priority: int = 0
    system: bytes = bytes(6)
    key: int = 0
    port_priority: int = 0
    port: int = 0
    state: int = TMO

    def identity(self) -> tuple[Any, ...]:
        """All but the state, and of that Aggregation."""
        return (*self[:5], self.state & AGG)


NOBODY = Info()


@dataclass
class Port:
    """Variables of one port, by the names of 6.4.8 and 6.4.9."""

    number: int
    key: Callable[[], int]
    priority: Callable[[], int]
    port_enabled: bool = False
    port_moved: bool = False
    selected: str = "UNSELECTED"
    partner: Info = NOBODY
    partner_admin: bool = True
    """The partner's variables are the default ones (recordDefault)."""
    pdu: tuple[Info, Info] | None = None
    """An LACPDU that waits to be taken in: actor, partner."""
    last: tuple[Info, Info] | None = None
    states: dict[str, str] = field(default_factory=dict)
    current_while: float = NEVER
    granted: float = NEVER
    wait_while: float = NEVER
    waiting_since: float = 0.0
    waited_until: float = 0.0
    churn_timer: dict[str, float] = field(default_factory=dict)
    actor_sync: bool = False
    partner_sync: bool = False
    expired: bool = False
    lag: Any = None


class Station:
    """One system. `chosen` is the LAG that the one device of the team is used for: an input (DIFFERENCE 2)."""

    def __init__(self, independent: bool) -> None:
        self.now = 0.0
        self.independent = independent
        self.active, self.fast, self.priority, self.system = True, True, 65535, bytes(6)
        self.ports: dict[int, Port] = {}
        self.chosen: Any = None

    # -- what is told ----------------------------------------------------------------------------------------------------

    def actor(self, port: Port) -> Info:
        """Our end of the link as the next LACPDU tells it."""
        return Info(self.priority, self.system, port.key(), port.priority(), port.number, self.state(port))

    def state(self, port: Port) -> int:
        """The state octet of that."""
        mux = port.states.get("MUX", "DETACHED")
        state = AGG | (ACT if self.active else 0) | (TMO if self.fast else 0) | (SYN if port.actor_sync else 0)
        state |= COL if mux in ("COLLECTING", "DISTRIBUTING", "COLLECTING_DISTRIBUTING") else 0
        state |= DIS if mux in ("DISTRIBUTING", "COLLECTING_DISTRIBUTING") else 0
        if port.port_enabled and port.states.get("RECEIVE") != "CURRENT" and port.partner_admin:
            state |= DEF
        return state | (EXP if port.expired and port.port_enabled else 0)

    def lag_id(self, port: Port) -> Any:
        """6.3.6; None for a port that can be in no aggregate: without a partner (DIFFERENCE 3), or looped."""
        partner = port.partner
        if partner.system in (bytes(6), self.system):
            return None
        alone = () if partner.state & AGG else (port.number, partner.port_priority, partner.port)
        ours = (self.priority, self.system, port.key())
        return (*ours, partner.system_priority, partner.system, partner.key, alone)

    # -- time ------------------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Everything that happens by itself before `now`."""
        for _ in range(BOUND):
            due = min(self._timers(), default=NEVER)
            if due >= now:
                self.now = now
                return
            self.now = due
            self.run()
        raise AssertionError("the reference does not come to rest")

    def wake(self, now: float) -> None:
        """The whole station stood still until now. DIFFERENCE 9: a timeout found half a second late is no news of the partner.

        What the partner said meanwhile is still to be read, so it gets a moment more, once.
        """
        self.now = now
        for port in self.ports.values():
            if port.current_while < now - STALL and port.current_while != port.granted:
                port.current_while = port.granted = now + GRACE

    def _timers(self) -> list[float]:
        found = []
        for port in self.ports.values():
            found += (port.current_while, *port.churn_timer.values())
            if port.states.get("MUX") == "WAITING":
                found.append(self._ready_at(port))
        return [moment for moment in found if moment > self.now]

    def _ready_at(self, port: Port) -> float:
        """Ready (6.4.14.1): all that wait for the aggregator have waited. DIFFERENCE 4: of those that came before it was done."""
        others = [one for one in self.ports.values() if one.states.get("MUX") == "WAITING" and one.lag == port.lag]
        return max(
            [one.waited_until for one in others if one.waiting_since < port.waited_until], default=port.waited_until
        )

    # -- all machines -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until none moves."""
        for _ in range(BOUND):
            moved = False
            for port in self.ports.values():
                moved = self._receive(port) or moved
            for port in self.ports.values():
                moved = self._selection(port) or moved
            for port in self.ports.values():
                moved = self._table("MUX", self._mux_table(), port) or moved
            if not moved:
                break
        else:
            raise AssertionError("the reference does not come to rest")
        for port in self.ports.values():
            for who in ("actor", "partner"):
                self._churn(port, who)

    def _table(self, machine: str, table: Any, port: Port) -> bool:
        state = port.states[machine]
        for guard, target in table[state][1]:
            if guard(self, port):
                port.states[machine] = target
                table[target][0](self, port)
                return True
        return False

    # -- receive machine, figure 6-18 ------------------------------------------------------------------------------------

    def _receive(self, port: Port) -> bool:
        state = port.states.get("RECEIVE")
        if state is None:
            return self._enter(port, "INITIALIZE")
        if not port.port_enabled and state not in ("INITIALIZE", "PORT_DISABLED"):
            return self._enter(port, "PORT_DISABLED")
        if port.pdu is not None and state in ("EXPIRED", "DEFAULTED", "CURRENT"):
            return self._enter(port, "CURRENT")
        port.pdu = None
        match state:
            case "INITIALIZE":
                return self._enter(port, "PORT_DISABLED")
            case "PORT_DISABLED" if port.port_moved:
                return self._enter(port, "INITIALIZE")
            case "PORT_DISABLED" if port.port_enabled:
                return self._enter(port, "EXPIRED")
            case "EXPIRED" if self.now >= port.current_while:
                return self._enter(port, "DEFAULTED")
            case "CURRENT" if self.now >= port.current_while:
                return self._enter(port, "EXPIRED")
        return False

    def _enter(self, port: Port, state: str) -> bool:
        port.states["RECEIVE"] = state
        match state:
            case "INITIALIZE":
                port.selected = "UNSELECTED"
                self.record_default(port, Info(state=0))
                port.expired = port.port_moved = False
                port.current_while = NEVER
            case "PORT_DISABLED":
                port.partner_sync = False
                port.current_while, port.last = NEVER, None
            case "EXPIRED":
                port.partner_sync = False
                port.current_while, port.expired = self.now + SHORT, True
            case "DEFAULTED":
                port.selected = "UNSELECTED"
                self.record_default(port, Info())
                port.expired, port.current_while = False, NEVER
            case "CURRENT":
                assert port.pdu is not None
                actor, _ = port.pdu
                if actor.identity() != port.partner.identity():
                    port.selected = "UNSELECTED"
                port.partner, port.partner_admin, port.last, port.pdu = actor, False, port.pdu, None
                self.record_sync(port)
                port.current_while = self.now + ((SHORT if self.fast else LONG) + ON_THE_EDGE)
                port.expired = False
        return True

    def record_default(self, port: Port, default: Info) -> None:
        """recordDefault; the partner's SYNCHRONIZATION is not taken for granted, as with administration that says so."""
        port.partner, port.partner_admin, port.partner_sync, port.last = default, True, False, None

    def record_sync(self, port: Port) -> None:
        """The second half of recordPDU. DIFFERENCE 5: asked again when something of ours changes."""
        if port.last is None or port.states["RECEIVE"] != "CURRENT":
            return
        actor, told = port.last
        means_us = told.identity() == self.actor(port).identity() or not actor.state & AGG
        alive = actor.state & ACT or (self.active and told.state & ACT)
        port.partner_sync = bool(means_us and actor.state & SYN and alive)

    # -- selection logic, 6.4.14 -----------------------------------------------------------------------------------------

    def _selection(self, port: Port) -> bool:
        before = port.selected
        lag, mux, receive = self.lag_id(port), port.states.setdefault("MUX", "DETACHED"), port.states["RECEIVE"]
        if lag is None or (port.lag is not None and port.lag != lag):
            port.selected = "UNSELECTED"
        elif receive != "CURRENT" and mux in ("DETACHED", "WAITING"):
            port.selected = "UNSELECTED"  # DIFFERENCE 6: nobody comes in on what an expired partner said
        elif port.selected == "UNSELECTED" and (mux != "DETACHED" or receive != "CURRENT"):
            pass
        else:
            port.selected = "SELECTED" if lag == self.chosen else "STANDBY"
        return port.selected != before

    # -- mux machines, figures 6-21 and 6-22 ------------------------------------------------------------------------------

    def _mux_table(self) -> Any:
        return INDEPENDENT if self.independent else COUPLED

    def detach(self, port: Port) -> None:
        """Entry of DETACHED."""
        port.actor_sync, port.lag = False, None

    def wait(self, port: Port) -> None:
        """Entry of WAITING."""
        port.lag, port.waiting_since, port.waited_until = self.lag_id(port), self.now, self.now + WAIT_WHILE

    def attach(self, port: Port) -> None:
        """Entry of ATTACHED."""
        port.actor_sync = True

    def nothing(self, port: Port) -> None:
        """Entry of the others: Collecting and Distributing follow from the state."""

    # -- churn, 6.4.17 ---------------------------------------------------------------------------------------------------

    def _churn(self, port: Port, who: str) -> None:
        in_sync = port.actor_sync if who == "actor" else port.partner_sync
        state = port.states.get(who, "none")
        if not port.port_enabled or in_sync:
            port.states[who] = "none"
            port.churn_timer.pop(who, None)
        elif state == "none":
            port.states[who], port.churn_timer[who] = "monitor", self.now + CHURN
        elif state == "monitor" and self.now >= port.churn_timer[who]:
            port.states[who] = "churned"
            del port.churn_timer[who]


def _selected(station: Station, port: Port) -> bool:
    return port.selected == "SELECTED"


def _chosen(station: Station, port: Port) -> bool:
    return port.selected != "UNSELECTED"


def _unselected(station: Station, port: Port) -> bool:
    return port.selected == "UNSELECTED"


def _not_selected(station: Station, port: Port) -> bool:
    return port.selected != "SELECTED"


def _ready(station: Station, port: Port) -> bool:
    return port.selected == "SELECTED" and station.now >= station._ready_at(port)


def _in_sync(station: Station, port: Port) -> bool:
    return port.selected == "SELECTED" and port.partner_sync


def _lost(station: Station, port: Port) -> bool:
    return not _in_sync(station, port)


def _heard(station: Station, port: Port) -> bool:
    return _in_sync(station, port) and bool(port.partner.state & COL)


def _deaf(station: Station, port: Port) -> bool:
    return not _heard(station, port)


_FRONT = {
    "DETACHED": (Station.detach, ((_chosen, "WAITING"),)),
    "WAITING": (Station.wait, ((_unselected, "DETACHED"), (_ready, "ATTACHED"))),
}
COUPLED = {
    **_FRONT,
    "ATTACHED": (Station.attach, ((_not_selected, "DETACHED"), (_in_sync, "COLLECTING_DISTRIBUTING"))),
    "COLLECTING_DISTRIBUTING": (Station.nothing, ((_lost, "ATTACHED"),)),
}
INDEPENDENT = {
    **_FRONT,
    "ATTACHED": (Station.attach, ((_not_selected, "DETACHED"), (_in_sync, "COLLECTING"))),
    "COLLECTING": (Station.nothing, ((_lost, "ATTACHED"), (_heard, "DISTRIBUTING"))),
    "DISTRIBUTING": (Station.nothing, ((_deaf, "COLLECTING"),)),
}
