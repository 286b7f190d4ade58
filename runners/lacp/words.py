"""Why an LACP port is not in service, in words, with what would change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyteamd.runners.base import Reason
from pyteamd.runners.lacp.blocked import Blocked, Obstacle
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.wire.ethernet import format_mac
from pyteamd.wire.lacpdu import describe_state


def in_service(port: LacpPort, since: float | None) -> Reason:
    """The port carries traffic."""
    partner = f"partner {format_mac(port.partner.system)}, key {port.partner.key}, {describe_state(port.partner.state)}"
    if port.partner_collecting():
        return Reason(True, "in service", since=since, rest=f" ({partner})")
    hint = "check that the partner uses this aggregate; ours gives way to one that carries"
    return Reason(True, "in service, but the partner does not collect", hint, since, rest=f" ({partner})")


def in_fallback(kind: str, since: float | None) -> Reason:
    """The port carries traffic though no partner speaks LACP."""
    return Reason(True, "in service without a partner", "the first LACPDU ends it", since, f" (fallback {kind})")


def out_of_service(port: LacpPort, blocked: Blocked, now: float, since: float | None) -> Reason:
    """The port carries no traffic, and this is the first reason."""
    text, hint = SENTENCES[blocked.reason](port, Particulars(blocked.facts, now))
    return Reason(False, "not in service", hint, since, f": {text}")


class Particulars:
    """The particulars of a reason, ready to be put into a sentence."""

    def __init__(self, facts: Mapping[str, Any], now: float) -> None:
        self._facts = facts
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return self._facts.get(name)

    @property
    def left(self) -> str:
        """Time until the reason ends by itself."""
        until = self._facts.get("until")
        return "" if until is None else f"{max(0.0, until - self._now):.1f} s left"


def _partner(port: LacpPort) -> str:
    return format_mac(port.partner.system)


def _no_partner(port: LacpPort, facts: Particulars) -> tuple[str, str]:
    text = "no LACPDU comes any more" if port.counters.lacpdus_received else "no LACPDU was ever heard"
    hint = "check that the other end runs LACP on this link"
    return text, hint + ("; runner.fallback would use the port without" if facts.fallback == "off" else "")


def _other_aggregate(port: LacpPort, facts: Particulars) -> tuple[str, str]:
    ours = f"partner {facts.partner_system} key {facts.partner_key}, our key {facts.key}"
    if facts.individual:
        return f"the partner {_partner(port)} says that this link may not be aggregated", "check the switch port's LAG"
    used = (
        f"the aggregate led by {facts.lead} is used (policy {facts.policy})" if facts.lead else "no aggregate is used"
    )
    if facts.disproved:
        return f"{used}; this one ({ours}) was in use and its partner never collected", "check what the other end uses"
    hint = "check that the switch port is in the same LAG; ports join if system and both keys agree"
    return f"{used}, and this port belongs to another ({ours})", hint


def _mistaken(port: LacpPort, facts: Particulars) -> tuple[str, str]:
    what = str(facts.field).replace("_", " ")
    text = (
        f"partner {_partner(port)} takes us for another system: it says our {what} is {facts.told}, it is {facts.real}"
    )
    return text, "it has not heard our LACPDUs yet, or the cable leads elsewhere"


def _not_in_sync(port: LacpPort, facts: Particulars) -> tuple[str, str]:
    text = f"partner {_partner(port)} has not set SYNC ({describe_state(port.partner.state)})"
    hint = f"check that the switch port is in the same LAG; its key is {port.partner.key}, ours {facts.key}"
    return text, hint


SENTENCES: Mapping[Obstacle, Callable[[LacpPort, Particulars], tuple[str, str]]] = {
    Obstacle.LEAVING: lambda port, facts: ("it is leaving the team", ""),
    Obstacle.TEAM_DOWN: lambda port, facts: ("the team device is down", "set it up"),
    Obstacle.FAULT: lambda port, facts: (
        "a fault of this daemon took it out of service (see the log)",
        "please report it; the link down and up, or a restart of the daemon, brings it back",
    ),
    Obstacle.NO_LINK: lambda port, facts: ("no carrier", "check the cable, and whether the other end is up"),
    Obstacle.HALF_DUPLEX: lambda port, facts: ("half duplex", "LACP needs full duplex; check autonegotiation"),
    Obstacle.DAMPED: lambda port, facts: ("the link flapped", "see damping in the state of the port"),
    Obstacle.NO_SPEED: lambda port, facts: ("speed or duplex unknown while the other is known", "check the driver"),
    Obstacle.HOLDING: lambda port, facts: (f"taken over as found, waiting to hear the partner, {facts.left}", ""),
    Obstacle.NOT_HEARD_YET: lambda port, facts: (f"waiting for the first LACPDU, {facts.left}", ""),
    Obstacle.PARTNER_SILENT: _no_partner,
    Obstacle.BOTH_PASSIVE: lambda port, facts: ("no partner speaks, and we are passive", "set runner.active to true"),
    Obstacle.FALLBACK_DELAY: lambda port, facts: (f"no partner, fallback begins soon, {facts.left}", ""),
    Obstacle.PARTNER_TIMED_OUT: lambda port, facts: (
        f"LACPDUs of partner {_partner(port)} stopped, {facts.left} until it counts as gone",
        "check the other end, and that nothing between filters slow protocols",
    ),
    Obstacle.LOOPBACK: lambda port, facts: (
        f"loopback: LACPDUs we send through {facts.port} come back here",
        "a cable or a bridge connects two ports of this team",
    ),
    Obstacle.SAME_SYSTEM: lambda port, facts: (
        f"another system ({facts.source}) has our system identifier {facts.system}",
        "give one of the teams another address or runner.system_id",
    ),
    Obstacle.NO_IDENTIFIER: lambda port, facts: (
        "the partner gives no system identifier (00:00:00:00:00:00)",
        "check the other end: it may still be starting",
    ),
    Obstacle.OTHER_AGGREGATE: _other_aggregate,
    Obstacle.WAIT_TO_RESTORE: lambda port, facts: (f"failed before, waits to restore, {facts.left}", ""),
    Obstacle.STANDBY: lambda port, facts: (f"standby: max_ports {facts.max_ports} are in use", ""),
    Obstacle.WAIT_WHILE: lambda port, facts: (f"waiting for other links to come up with it, {facts.left}", ""),
    Obstacle.PARTNER_MISTAKEN: _mistaken,
    Obstacle.PARTNER_NOT_IN_SYNC: _not_in_sync,
    Obstacle.PARTNER_NOT_KEPT_ALIVE: lambda port, facts: (
        "neither side is active, so a lost partner would not be noticed",
        "set runner.active to true",
    ),
    Obstacle.PARTNER_NOT_COLLECTING: lambda port, facts: (f"partner {_partner(port)} does not collect yet", ""),
}
"""Reason → (sentence, hint)."""
