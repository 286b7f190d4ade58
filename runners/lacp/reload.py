"""How LACP goes over to another configuration while it runs, and what that interrupts.

Most keys only change what is said in the next LACPDU or when the team has carrier. What changes our identity towards the partner (system
priority and identifier, keys) makes the partner select again, so the ports concerned are out of service until it has. Two passive ends
do not keep a link alive, another policy may prefer another aggregate, another fallback may need other ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from pyteamd.runners.base import TeamView
from pyteamd.runners.lacp.fallback import Fallback, preference
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.membership import Membership
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.wire import lacpdu

PORT_IDENTITY = frozenset(("lacp_prio", "lacp_key"))
"""The partner compares these with what it knew (update_Selected, IEEE 802.1AX-2014, 6.4.9)."""
CHOOSING = PORT_IDENTITY | {"prio", "sticky", "wait_to_restore"}
"""Policies, and the individual fallback, look at these; a port that need not wait any longer may be preferred to those in service."""


class Consequences:
    """What another configuration costs. Each answer is worked out once, when it is asked for; kept no longer than the question."""

    def __init__(
        self,
        config: LacpConfig,
        settings: Mapping[int, LacpPortConfig],
        group: Group,
        fallback: Fallback,
        now: float,
    ) -> None:
        """`settings`: those the ports will have."""
        self.config, self.settings, self.group, self.fallback, self.now = config, settings, group, fallback, now

    @cached_property
    def lost(self) -> set[int]:
        """See Group.would_lose."""
        return self.group.would_lose(self.config, self.settings, self.now)

    @cached_property
    def renamed(self) -> set[int]:
        """See Group.renamed."""
        return self.group.renamed(self.settings)

    @cached_property
    def falls_back_otherwise(self) -> bool:
        """A port that carries traffic without a partner would not, now or when the partners of ports that have just come are given up."""
        config, group, fallback = self.config, self.group, self.fallback
        asked, rest = (config.fallback, config.fallback_delay / 1000), (group.gated, self.now)
        if fallback.would_end(*asked, group.set_up_as(self.settings).values(), *rest):
            return True
        at_last = group.set_up_as(self.settings, waited=True).values()
        as_it_is = group.set_up_as({i: port.view.config for i, port in group.ports.items()}, waited=True).values()
        anyway = fallback.would_end(fallback.kind, fallback.delay_s, as_it_is, *rest)
        return fallback.would_end(*asked, at_last, *rest) and not anyway

    @cached_property
    def becomes(self) -> Group:
        """The group as it will be, to look at and no more."""
        ports = self.group.set_up_as(self.settings)
        return self.group.supposed(self.config.agg_select_policy, self.config.max_ports, ports)


def disruption(name: str, found: Consequences, team: TeamView) -> str:
    """What a change of this field interrupts: "none", or "team"."""
    return "team" if _interrupts(name, found, team) else "none"


def _interrupts(name: str, found: Consequences, team: TeamView) -> bool:
    config, group = found.config, found.group
    match name:
        case "sys_prio" | "key_policy":
            return True
        case "system_id":
            return (config.system_id or team.mac) != group.local.mac
        case "active":
            serving = [port for port in group.ports.values() if port.mux.distributing]
            return not config.active and any(not port.partner.state & lacpdu.ACTIVITY for port in serving)
        case "max_ports" | "agg_select_policy":
            return bool(found.lost)
        case "fallback" | "fallback_delay":
            return found.falls_back_otherwise
    return False


def port_disruption(ifindex: int, name: str, found: Consequences) -> str:
    """What a change of this field of a port interrupts: "none", "port", or "team" where others are used from then on."""
    if name not in CHOOSING:
        return "none"
    was, becomes = found.group.ports[ifindex].view.config, found.settings[ifindex]
    if name == "wait_to_restore" and becomes.wait_to_restore > was.wait_to_restore:
        return "none"
    itself = {ifindex} if name in PORT_IDENTITY else set()
    if found.lost - itself or found.falls_back_otherwise:
        return "team"
    return "port" if itself else "none"


def arrival(port: LacpPortConfig, found: Consequences, coming: int) -> tuple[str, str]:
    """What a port with these settings interrupts when it comes, and what that depends on: nobody knows its partner before."""
    config, group = found.config, found.becomes
    if group.displaced_by(port, coming):
        return "team", "it takes the place of another port if it is better"
    alone = [group.ports[i] for i in found.fallback.ports - group.gated if i in group.ports]
    if alone:
        return _into_fallback(port, config.fallback, alone)
    if group.chosen is None or not group.left_for(port, coming, found.now):
        return "none", ""
    if config.key_policy != "speed" and port.lacp_key != group.chosen.key:
        return (
            "team",
            "its key makes it another aggregate, which is used then if its partner is in sync and it is better",
        )
    return "none", "another aggregate is used then if its partner is another one, in sync, and better"


def _into_fallback(port: LacpPortConfig, kind: str, alone: Iterable[LacpPort]) -> tuple[str, str]:
    """`arrival` while ports carry traffic without a partner."""
    if kind != "individual":
        return "none", "fallback ends then if its partner speaks LACP"
    best = min(alone, key=preference)
    ours, theirs = (-port.prio, port.lacp_prio), preference(best)[:2]
    if ours < theirs:
        return "team", f"it carries traffic then, not {best.name}"
    older = "its ifindex is smaller or " if ours == theirs else ""
    return "none", f"{best.name} carries no traffic then if {older}its partner speaks LACP"


def take_over(config: LacpConfig, group: Group, membership: Membership, fallback: Fallback, now: float) -> None:
    """Change what lives on; the caller settles afterwards."""
    slower = group.local.fast and not config.fast_rate
    group.local = replace(
        group.local,
        priority=config.sys_prio,
        active=config.active,
        fast=config.fast_rate,
        keys_by_speed=config.key_policy == "speed",
    )
    if slower:
        for port in group.ports.values():
            port.be_patient(group.local, now)
    group.choice.set_policy(config.agg_select_policy)
    group.max_ports = config.max_ports
    membership.system_id = config.system_id
    fallback.configure(config.fallback, config.fallback_delay / 1000)
