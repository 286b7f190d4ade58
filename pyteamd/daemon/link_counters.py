"""What the drivers of links count, read now and then and shown to each team (core/silence.py).

/proc/self/net/dev has the counters of all links of our network namespace in one read, and the kernel takes no lock for it that
a driver could hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable
from typing import Final

import trio

from pyteamd.core.silence import LinkCounters
from pyteamd.daemon.control.desk import guarded
from pyteamd.daemon.pump import Pump
from pyteamd.model.errors import UserError
from pyteamd.model.printable import of_kernel
from pyteamd.views.explain import of_port

INTERVAL_S: Final = 5.0
TABLE: Final = "/proc/self/net/dev"
RECEIVED, RECEIVE_ERRORS, RECEIVE_DETAILS, SENT, SEND_ERRORS, SEND_DETAILS = 1, 2, 5, 9, 10, 14
"""Columns behind the name. The details are sums of the kinds of errors (length, overrun, checksum, framing; carrier, aborted, window,
heartbeat), which should be in the errors and with some drivers, tun's for one, are not. What was dropped counts as no error: an idle
port drops what it hears, and so does a host that is busy."""


async def watch(pumps: Callable[[], Iterable[Pump]], log: logging.Logger) -> None:
    """Look again and again, until cancelled. It only tells people something: a fault in it ends the look at a team, not the team."""
    given_up: set[int] = set()
    while True:
        await trio.sleep(INTERVAL_S)
        watched = [pump for pump in pumps() if pump.team.ports and pump.ifindex not in given_up]
        names = {port.name for pump in watched for port in pump.team.ports.values()}
        if watched and (table := read(names)) is not None:
            for pump in watched:
                try:
                    with guarded("Counters of links", log):
                        show(pump, table, trio.current_time())
                except UserError:
                    given_up.add(pump.ifindex)


def show(pump: Pump, table: dict[str, LinkCounters], now: float) -> None:
    """Let one team see the counters of its ports."""
    team = pump.team
    ports = {ifindex: table[port.name] for ifindex, port in team.ports.items() if port.name in table}
    names = {ifindex: port.name for ifindex, port in team.ports.items()}

    def carries(ifindex: int) -> bool:
        return team.facts.observed.serves(ifindex) and of_port(team, team.ports[ifindex], now).carrying

    pump.log(team.facts.silence.look(ports, names, carries, now))


def read(names: Container[str], path: str = TABLE) -> dict[str, LinkCounters] | None:
    """The counters of links of these names; None where the table cannot be read."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(
                b"\n"
            )  # not splitlines and strip: names may have other ends of lines, and other blanks
    except OSError:
        return None
    found = {}
    for line in lines:
        octets, colon, numbers = line.lstrip(b" ").partition(b":")
        if not colon or (name := of_kernel(octets)) not in names:
            continue
        columns = numbers.split()
        if len(columns) > SEND_DETAILS and all(column.isdigit() for column in columns):
            counted = [int(column) for column in columns]
            errors = max(counted[RECEIVE_ERRORS], counted[RECEIVE_DETAILS])
            errors += max(counted[SEND_ERRORS], counted[SEND_DETAILS])
            found[name] = LinkCounters(counted[RECEIVED], counted[SENT], errors)
    return found
