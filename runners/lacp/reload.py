"""How LACP goes over to another configuration while it runs, and what that interrupts.

Most keys only change what is said in the next LACPDU or when the team has carrier. What changes our identity towards the partner (system
priority and identifier, keys) makes the partner select again, so the ports concerned are out of service until it has. Two passive ends
do not keep a link alive, another policy may prefer another aggregate, another fallback may need other ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pyteamd.runners.base import TeamView
from pyteamd.runners.lacp.fallback import Fallback
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.membership import Membership
from pyteamd.wire import lacpdu

PORT_IDENTITY = frozenset(("lacp_prio", "lacp_key"))
"""The partner compares these with what it knew (update_Selected, IEEE 802.1AX-2014, 6.4.9)."""
CHOOSING = PORT_IDENTITY | {"prio", "sticky", "wait_to_restore"}
"""Policies, and the individual fallback, look at these; a port that need not wait any longer may be preferred to those in service."""


def disruption(
    name: str,
    config: LacpConfig,
    settings: Mapping[int, LacpPortConfig],
    group: Group,
    fallback: Fallback,
    team: TeamView,
    now: float,
) -> str:
    """What a change of this field interrupts: "none", or "team". `settings`: those the ports will have."""
    serving = [port for port in group.ports.values() if port.mux.distributing]
    interrupts = {
        "sys_prio": True,
        "key_policy": True,
        "system_id": (config.system_id or team.mac) != group.local.mac,
        "active": not config.active and any(not port.partner.state & lacpdu.ACTIVITY for port in serving),
        "max_ports": bool(group.would_lose(config, settings, now)),
        "agg_select_policy": bool(group.would_lose(config, settings, now)),
        "fallback": falls_back_otherwise(config, settings, group, fallback, now),
        "fallback_delay": falls_back_otherwise(config, settings, group, fallback, now),
    }
    return "team" if interrupts.get(name, False) else "none"


def port_disruption(
    ifindex: int,
    name: str,
    config: LacpConfig,
    settings: Mapping[int, LacpPortConfig],
    group: Group,
    fallback: Fallback,
    now: float,
) -> str:
    """What a change of this field of a port interrupts: "none", "port", or "team" where others are used from then on."""
    was, becomes = group.ports[ifindex].view.config, settings[ifindex]
    if name == "wait_to_restore" and becomes.wait_to_restore > was.wait_to_restore:
        return "none"
    itself = {ifindex} if name in PORT_IDENTITY else set()
    if name in CHOOSING and (
        group.would_lose(config, settings, now) - itself or falls_back_otherwise(config, settings, group, fallback, now)
    ):
        return "team"
    return "port" if itself else "none"


def arrival(
    config: LacpPortConfig, settings: Mapping[int, LacpPortConfig], group: Group, max_ports: int | None, now: float
) -> tuple[str, str]:
    """What a port with these settings interrupts when it comes, and what that depends on: nobody knows its partner before."""
    if group.displaced_by(config, settings, max_ports):
        return "team", "it takes the place of another port if it is better"
    if group.chosen is None or not group.left_for(config, now):
        return "none", ""
    if not group.local.keys_by_speed and config.lacp_key != group.chosen.key:
        return (
            "team",
            "its key makes it another aggregate, which is used then if its partner is in sync and it is better",
        )
    return "none", "another aggregate is used then if its partner is another one, in sync, and better"


def falls_back_otherwise(
    config: LacpConfig, settings: Mapping[int, LacpPortConfig], group: Group, fallback: Fallback, now: float
) -> bool:
    """A port that carries traffic without a partner would not."""
    ports = group.set_up_as(settings).values()
    return fallback.would_end(config.fallback, config.fallback_delay / 1000, ports, group.gated, now)


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
