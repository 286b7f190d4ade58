"""What people are told of an LACP port: its part of the state, and the first thing that keeps it from carrying traffic.

The members that teamd has keep its names and values; all that is new is below `details`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from pyteamd.runners.lacp.keys import LacpConfig
from pyteamd.runners.lacp.machines import Current, Defaulted, Expired, Link, Mux
from pyteamd.runners.lacp.port import LacpPort, mismatch
from pyteamd.runners.lacp.system import LocalSystem
from pyteamd.wire import lacpdu
from pyteamd.wire.ethernet import format_mac
from pyteamd.wire.lacpdu import LacpInfo, describe_state


class Obstacle(Enum):
    """Reasons for carrying no traffic, in the order in which they are looked for."""

    LEAVING = "leaving"
    TEAM_DOWN = "team_down"
    FAULT = "fault"
    """A fault of ours took it out; it stays out until its link has been down."""
    NO_LINK = "no_link"
    HALF_DUPLEX = "half_duplex"
    NO_SPEED = "no_speed"
    DAMPED = "damped"
    HOLDING = "holding"
    """Taken over without knowing the partner: waiting to hear it. `until`."""
    NOT_HEARD_YET = "not_heard_yet"
    """The link came up a moment ago. `until`."""
    PARTNER_SILENT = "partner_silent"
    """No LACPDU ever came, or none comes any more. `fallback`."""
    BOTH_PASSIVE = "both_passive"
    FALLBACK_DELAY = "fallback_delay"
    """`until`."""
    PARTNER_TIMED_OUT = "partner_timed_out"
    """LACPDUs stopped coming. `until`."""
    LOOPBACK = "loopback"
    """Our own LACPDUs come back. `port`: the one that sent them."""
    SAME_SYSTEM = "same_system"
    """Another system has our identifier. `system`, `source`."""
    NO_IDENTIFIER = "no_identifier"
    """The partner gives no system identifier."""
    OTHER_AGGREGATE = "other_aggregate"
    """Another aggregate is used. `lead`, `policy`, `key`, `partner_system`, `partner_key`, `individual`, `disproved`."""
    WAIT_TO_RESTORE = "wait_to_restore"
    """`until`."""
    STANDBY = "standby"
    """`max_ports`."""
    WAIT_WHILE = "wait_while"
    """Waiting for other links to come up too. `until`."""
    PARTNER_MISTAKEN = "partner_mistaken"
    """The partner means another system. `field`, `told`, `real`."""
    PARTNER_NOT_IN_SYNC = "partner_not_in_sync"
    """`key`: ours."""
    PARTNER_NOT_KEPT_ALIVE = "partner_not_kept_alive"
    """The partner is in sync, but both ends are passive and would not notice that the other has gone."""
    PARTNER_NOT_COLLECTING = "partner_not_collecting"


@dataclass(frozen=True, slots=True)
class Blocked:
    """The first reason and what is to be said with it. Moments (`until`) are on the clock of `now`."""

    reason: Obstacle
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """What is to be said of a port that it does not know itself: its aggregate, its turn, the fallback."""

    local: LocalSystem
    lead: int = 0
    """Ifindex of the leading port of the port's aggregate, 0 for none."""
    used: bool = False
    """The port's aggregate is the one in use."""
    used_lead: str = ""
    """Name of the leading port of the aggregate in use."""
    policy: str = ""
    standby: int = 0
    """`max_ports` when the port is on standby because of it, else 0."""
    restoring: bool = False
    ready_at: float = 0.0
    """When waiting is over, for it and those it waits for."""
    disproved: bool = False
    """The port's aggregate was in use, its partner was in sync, and nothing passed."""
    fallback: str = "off"
    fallback_at: float | None = None
    echo_port: str = ""
    """Name of the port whose frames come back here."""


LINK_OBSTACLES = {
    Link.LEAVING: Obstacle.LEAVING,
    Link.TEAM_DOWN: Obstacle.TEAM_DOWN,
    Link.DOWN: Obstacle.NO_LINK,
    Link.FAULT: Obstacle.FAULT,
    Link.HALF_DUPLEX: Obstacle.HALF_DUPLEX,
    Link.NO_SPEED: Obstacle.NO_SPEED,
    Link.DAMPED: Obstacle.DAMPED,
}


def blocking(port: LacpPort, place: Place) -> Blocked | None:
    """Why this port is not in service; None when it is."""
    if port.mux.distributing:
        return None
    if port.link in LINK_OBSTACLES:
        return Blocked(LINK_OBSTACLES[port.link])
    if port.hold_until is not None:
        return Blocked(Obstacle.HOLDING, {"until": port.hold_until})
    match port.receive:
        case Defaulted():
            return _silent(port, place)
        case Expired(until=until):
            reason = Obstacle.PARTNER_TIMED_OUT if port.partner_known() else Obstacle.NOT_HEARD_YET
            return Blocked(reason, {"until": until})
    return _looped(port, place) or _unselected(port, place) or _partner(port, place.local)


def _silent(port: LacpPort, place: Place) -> Blocked:
    if place.fallback_at is not None:
        return Blocked(Obstacle.FALLBACK_DELAY, {"until": place.fallback_at})
    if not place.local.active:
        return Blocked(Obstacle.BOTH_PASSIVE)
    return Blocked(Obstacle.PARTNER_SILENT, {"fallback": place.fallback})


def _looped(port: LacpPort, place: Place) -> Blocked | None:
    if not port.looped(place.local):
        return None
    if place.echo_port:
        return Blocked(Obstacle.LOOPBACK, {"port": place.echo_port})
    facts = {"system": format_mac(place.local.mac), "source": format_mac(port.heard_from)}
    return Blocked(Obstacle.SAME_SYSTEM, facts)


def _unselected(port: LacpPort, place: Place) -> Blocked | None:
    if not port.partner_known():
        return Blocked(Obstacle.NO_IDENTIFIER)
    if not place.used:
        facts = {
            "lead": place.used_lead,
            "policy": place.policy,
            "key": port.key(place.local),
            "partner_system": format_mac(port.partner.system),
            "partner_key": port.partner.key,
            "individual": not port.partner.state & lacpdu.AGGREGATION,
            "disproved": place.disproved,
        }
        return Blocked(Obstacle.OTHER_AGGREGATE, facts)
    if place.restoring:
        return Blocked(Obstacle.WAIT_TO_RESTORE, {"until": port.restore_at})
    if place.standby:
        return Blocked(Obstacle.STANDBY, {"max_ports": place.standby})
    if not port.mux.in_sync:
        return Blocked(Obstacle.WAIT_WHILE, {"until": place.ready_at})
    return None


def _partner(port: LacpPort, local: LocalSystem) -> Blocked:
    actor = port.actor(local)
    wrong = mismatch(port.told, actor) if port.told else ""
    if wrong and port.partner.state & lacpdu.AGGREGATION:
        told, real = _field(port.told, wrong), _field(actor, wrong)
        return Blocked(Obstacle.PARTNER_MISTAKEN, {"field": wrong, "told": told, "real": real})
    if not port.partner.state & lacpdu.SYNCHRONIZATION:
        return Blocked(Obstacle.PARTNER_NOT_IN_SYNC, {"key": port.key(local)})
    if not port.partner_sync(local):
        return Blocked(Obstacle.PARTNER_NOT_KEPT_ALIVE)
    return Blocked(Obstacle.PARTNER_NOT_COLLECTING)


def _field(end: LacpInfo | None, name: str) -> Any:
    if end is None:
        return None
    if name == "aggregation":
        return bool(end.state & lacpdu.AGGREGATION)
    value = getattr(end, name)
    return format_mac(value) if isinstance(value, bytes) else value


def team_state(config: LacpConfig) -> dict[str, Any]:
    """The `runner` object of the team; `fallback`, which only SONiC's teamd has, where it is configured."""
    shown = {
        "active": config.active,
        "sys_prio": config.sys_prio,
        "fast_rate": config.fast_rate,
        "select_policy": config.agg_select_policy,
    }
    return shown if config.fallback == "off" else {**shown, "fallback": True}


def port_state(port: LacpPort, place: Place, blocked: Blocked | None) -> dict[str, Any]:
    """The `runner` object of a port. `blocked`: why it is not in service."""
    return {
        "selected": bool(place.lead),
        "aggregator": {"id": place.lead, "selected": bool(place.lead) and place.used},
        "state": port.receive.name,
        "key": port.view.config.lacp_key,
        "prio": port.view.config.lacp_prio,
        "actor_lacpdu_info": end_state(port.actor(place.local)),
        "partner_lacpdu_info": end_state(port.partner_info(place.local)),
        "details": details(port, place, blocked),
    }


def end_state(end: LacpInfo) -> dict[str, Any]:
    """One end of a link as teamd shows it."""
    return {
        "system_priority": end.system_priority,
        "system": format_mac(end.system),
        "key": end.key,
        "port_priority": end.port_priority,
        "port": end.port,
        "state": end.state,
    }


def details(port: LacpPort, place: Place, blocked: Blocked | None) -> dict[str, Any]:
    """What teamd does not show."""
    return {
        "mux": {"state": port.mux.value, "mode": "independent" if port.independent else "coupled"},
        "standby": bool(place.standby) and isinstance(port.receive, Current) and port.mux is Mux.WAITING,
        "partner_in_sync": port.partner_sync(place.local),
        "actor_state": describe_state(port.actor(place.local).state),
        "partner_state": describe_state(port.partner_info(place.local).state),
        "churn": {"actor": port.churn.actor.name, "partner": port.churn.partner.name},
        "blocked_by": blocked.reason.value if blocked else "",
        "counters": asdict(port.counters),
    }
