"""Desired against Observed: the ordered list of writes that make them agree.

The order is fixed, traffic first: what a port needs before it may carry traffic, then enable the new one, point the driver at
it, and only then disable the old one (make before break); verdicts and the addresses of idle ports come last. Options stand
together as far as the order allows, because they then travel in one message. An empty list means nothing to do, which is also
what a restarted daemon finds.
"""

from __future__ import annotations

from pyteamd.model.desired import (
    SWITCHES,
    Desired,
    Observed,
    OptionKey,
    OptionValue,
    SetCarrier,
    SetMac,
    SetMember,
    SetOption,
    Write,
)

MODE, TEAM_OPTION, ENSLAVE, PORT_OPTION, NEEDED_MAC, ENABLE, ACTIVE, DISABLE = range(8)
HASH_MAP, CARRIER, VERDICT, IDLE_MAC, RELEASE = range(8, 13)

OPTION_RANKS = {
    "mode": MODE,
    "activeport": ACTIVE,
    "lb_tx_hash_to_port_mapping": HASH_MAP,
    "user_linkup": VERDICT,
    "user_linkup_enabled": VERDICT,
}


def reconcile(desired: Desired, observed: Observed) -> tuple[Write, ...]:
    """The writes that lead from `observed` to `desired`, in the order to perform them; () when nothing differs."""
    found: list[tuple[int, Write]] = []
    known = observed.options
    for key, value in desired.options.items():
        differs = known.get(key) != value or type(known.get(key)) is not type(value)
        if differs or (key.name == "enabled" and value is False and observed.half_on(key.port)):
            found.append((option_rank(key, value), SetOption(key, value)))
    for ifindex, mac in desired.macs.items():
        if observed.macs.get(ifindex) != mac:
            idle = any(desired.options.get(OptionKey(name, ifindex)) is False for name in SWITCHES)
            found.append((IDLE_MAC if idle else NEEDED_MAC, SetMac(ifindex, mac)))
    for ifindex, member in desired.members.items():
        if observed.members.get(ifindex, False) != member:
            found.append((ENSLAVE if member else RELEASE, SetMember(ifindex, member)))
    if desired.carrier is not None and (observed.carrier is not desired.carrier or observed.carrier_free):
        # Once it is set the driver keeps its hands off; before the first port, or the team has carrier as soon as a link has.
        found.append((TEAM_OPTION if observed.carrier_free else CARRIER, SetCarrier(desired.carrier)))
    if len(found) > 1:
        found.sort(key=rank_of)
    return tuple([write for _, write in found])


def rank_of(item: tuple[int, Write]) -> int:
    """Sort key; equal ranks keep the order in which they were desired (ports: ifindex, ports to enslave: configuration)."""
    return item[0]


def option_rank(key: OptionKey, value: OptionValue) -> int:
    """Place of an option in the fixed order."""
    if key.name in SWITCHES:
        return ENABLE if value else DISABLE
    return OPTION_RANKS.get(key.name, PORT_OPTION if key.port else TEAM_OPTION)
