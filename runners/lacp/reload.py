"""How LACP goes over to another configuration while it runs, and what that interrupts.

Most keys only change what is said in the next LACPDU or when the team has carrier. What changes our identity towards the partner (system
priority and identifier, keys) makes the partner select anew, so the ports concerned are out of service until it has.
"""

from __future__ import annotations

from dataclasses import replace

from pyteamd.runners.base import TeamView
from pyteamd.runners.lacp.fallback import Fallback
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.joining import Joining
from pyteamd.runners.lacp.keys import LacpConfig

IDENTITY = frozenset(("sys_prio", "system_id", "key_policy"))
PORT_IDENTITY = frozenset(("lacp_prio", "lacp_key"))
"""The partner compares these with what it knew (update_Selected, IEEE 802.1AX-2014, 6.4.9)."""


def disruption(name: str, config: LacpConfig, in_service: int) -> str:
    """What a change of this field interrupts: "none", or "team"."""
    if name in IDENTITY:
        return "team"
    if name == "min_ports" and in_service < config.min_ports:
        return "team"
    if name == "max_ports" and config.max_ports is not None and in_service > config.max_ports:
        return "team"
    return "none"


def take_over(config: LacpConfig, group: Group, joining: Joining, fallback: Fallback, team: TeamView) -> None:
    """Change what lives on; the caller settles afterwards."""
    group.local = replace(
        group.local,
        priority=config.sys_prio,
        active=config.active,
        fast=config.fast_rate,
        keys_by_speed=config.key_policy == "speed",
    )
    group.set_policy(config.agg_select_policy, config.max_ports)
    joining.system_id = config.system_id
    fallback.configure(config.fallback, config.fallback_delay / 1000)
    for ifindex, port in group.ports.items():
        view = team.ports.get(ifindex)
        if view is not None:
            port.priority, port.admin_key = view.config.lacp_prio, view.config.lacp_key
            port.wait_to_restore_s = float(view.config.wait_to_restore)
