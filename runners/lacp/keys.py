"""Configuration keys of the lacp runner: those of teamd, then those that only this daemon has."""

from __future__ import annotations

from dataclasses import dataclass

from pyteamd.runners.spread.hash_keys import HashConfig
from pyteamd.runners.spread.loadbalance import WeightedPortConfig
from pyteamd.schema.option import OnBad, option
from pyteamd.wire.ethernet import parse_mac

POLICY_NAMES = ("lacp_prio", "lacp_prio_stable", "bandwidth", "count", "port_config")
GROUP_BIT = 0x01
"""Bit of the first octet of a MAC: it names a group, not one device."""


def system_identifier(text: str) -> bytes:
    """The MAC part of a system identifier. ValueError: not a MAC, a group address, or all zero."""
    mac = parse_mac(text)
    if mac[0] & GROUP_BIT or not any(mac):
        raise ValueError(f"{text!r} is not the address of one device (allowed: not zero, first octet even)")
    return mac


@dataclass(frozen=True, slots=True)
class LacpConfig(HashConfig):
    """Keys below `runner`."""

    active: bool = option(
        True,
        help="Send LACPDUs without being asked; if false, only to a partner that is active.",
        on_bad=OnBad.USE_DEFAULT,
    )
    fast_rate: bool = option(
        False,
        help="Ask the partner for an LACPDU every second and give it up after 3 seconds; else every 30 and after 90.",
        on_bad=OnBad.USE_DEFAULT,
    )
    sys_prio: int = option(
        65535, help="System priority; the lower one decides between two systems.", minimum=0, maximum=65535
    )
    min_ports: int = option(
        1, help="How many ports must be in service for the team to have carrier.", minimum=1, maximum=1024
    )
    agg_select_policy: str = option(
        "lacp_prio",
        help="Which of several possible aggregates is used. lacp_prio: the one with the best port, by the priorities "
        "of the system that decides; lacp_prio_stable: the same, but the one in use stays while it has a port; "
        "bandwidth: the highest sum of speeds; count: the most ports; port_config: the one whose best port has the "
        "highest prio, a sticky one stays.",
        choices=POLICY_NAMES,
    )
    key_policy: str = option(
        "teamd",
        help="Key of a port, which keeps unlike links apart. teamd: lacp_key as it is; speed: ten bits of lacp_key, "
        "then five for the speed and one for full duplex, as kernel bonding does.",
        choices=("teamd", "speed"),
    )
    system_id: bytes | None = option(
        None,
        help="System identifier told to the partner; without it the address of the team device.",
        convert=system_identifier,
        sample="02:00:00:00:00:01",
        pattern="^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}$",
    )
    max_ports: int | None = option(
        None, help="How many ports are used at most; the others are hot standby.", minimum=1, maximum=1024
    )
    fallback: str = option(
        "off",
        help="What to do while no partner speaks LACP. off: nothing carries traffic; individual: one port does, the one "
        "with the highest prio; static: all do. The first LACPDU ends it. SONiC's true and false mean individual and off.",
        choices=("off", "individual", "static"),
    )
    fallback_delay: int = option(
        0, help="Silence of the partner before the fallback, counted from the state defaulted.", minimum=0, unit="ms"
    )


@dataclass(frozen=True, slots=True)
class LacpPortConfig(WeightedPortConfig):
    """Keys below `ports.NAME`."""

    lacp_prio: int = option(
        255, help="Port priority; lower is preferred.", minimum=0, maximum=65535, on_bad=OnBad.REFUSE_PORT
    )
    lacp_key: int = option(
        0,
        help="Key; only ports with the same key form an aggregate.",
        minimum=0,
        maximum=65535,
        on_bad=OnBad.REFUSE_PORT,
    )
    sticky: bool = option(
        False,
        help="With agg_select_policy port_config: the aggregate of this port, once in use, stays.",
        on_bad=OnBad.USE_DEFAULT,
    )
    wait_to_restore: int = option(
        0,
        help="How long a port must be well after a failure before it is used again, unless it is the only one.",
        minimum=0,
        maximum=32767,
        unit="s",
        on_bad=OnBad.REFUSE_PORT,
    )
