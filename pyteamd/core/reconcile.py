"""Desired against Observed: the ordered list of writes that make them agree. An empty list means nothing to do, which is also
what a restarted daemon finds.

The order is fixed. First what a port needs before it may carry traffic at all, then what traffic waits for, and of that nothing
stands behind a write that can start a worker of the kernel: enabling a port does. It queues announcements to the peers, and the worker
that sends them may take the processor from our system call in the middle of the message, find the kernel's lock taken (by us), and
spin until the scheduler's tick ends its turn, up to 4 ms later. What such a write itself does is done before. So:

- `activeport` first: the driver sends through it at once, enabled or not;
- addresses of ports in use next. They travel in messages of their own, the announcements must carry them, and a port whose address
  is not the team's hears no unicast; by_active changes the team's address in the same place;
- in the modes that spread traffic, ports to disable: the driver takes them out of its hash and out of the hash map, so their flows
  move with that alone, and nothing is started by it. A port that works, when no other one stays enabled, is disabled only
  after its successor is enabled (make before break);
- then enable the new port, from when it is heard, too;
- only then what nobody waits for: the old port of a mode with an active port, the hash map (its entries for a disabled port are
  void already), carrier, verdicts, addresses of idle ports.

Options stand together as far as the order allows, because they then travel in one message.
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

MODE, TEAM_OPTION, ENSLAVE, PORT_OPTION, ACTIVE, NEEDED_MAC, DISABLE_AT_ONCE, ENABLE = range(8)
DISABLE, HASH_MAP, CARRIER, VERDICT, IDLE_MAC, RELEASE = range(8, 14)

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
            found.append((option_rank(key, value, desired, observed), SetOption(key, value)))
    for ifindex, mac in desired.macs.items():
        if observed.macs.get(ifindex) != mac:
            idle = any(desired.options.get(OptionKey(name, ifindex)) is False for name in SWITCHES)
            found.append((IDLE_MAC if idle else NEEDED_MAC, SetMac(ifindex, mac)))
    for ifindex, member in desired.members.items():
        if observed.members.get(ifindex, False) != member:
            write = SetMember(ifindex, member, ifindex in desired.steal, ifindex in desired.set_down)
            found.append((ENSLAVE if member else RELEASE, write))
    if desired.carrier is not None and (observed.carrier is not desired.carrier or observed.carrier_free):
        # Once it is set the driver keeps its hands off; before the first port, or the team has carrier as soon as a link has.
        found.append((TEAM_OPTION if observed.carrier_free else CARRIER, SetCarrier(desired.carrier)))
    if len(found) > 1:
        found.sort(key=rank_of)
    return tuple([write for _, write in found])


def rank_of(item: tuple[int, Write]) -> int:
    """Sort key; equal ranks keep the order in which they were desired (ports: ifindex, ports to enslave: configuration)."""
    return item[0]


def option_rank(key: OptionKey, value: OptionValue, desired: Desired, observed: Observed) -> int:
    """Place of an option in the fixed order."""
    if key.name in SWITCHES:
        return ENABLE if value else disable_rank(key, desired, observed)
    return OPTION_RANKS.get(key.name, PORT_OPTION if key.port else TEAM_OPTION)


def disable_rank(key: OptionKey, desired: Desired, observed: Observed) -> int:
    """At once, where traffic is spread and the port is down anyway, or another one stays enabled, which takes over what it had."""
    if OptionKey("activeport") in desired.options:
        return DISABLE
    if desired.options.get(OptionKey("user_linkup", key.port)) is False:
        return DISABLE_AT_ONCE
    stays = [
        other.port
        for other in observed.options
        if other.name == "enabled"
        and observed.serves(other.port)
        and not any(desired.options.get(OptionKey(name, other.port)) is False for name in SWITCHES)
    ]
    return DISABLE_AT_ONCE if stays else DISABLE
