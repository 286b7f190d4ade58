"""The least a Python program can do for a fail-over: what the bench sets its measurements against.

A bare loop that waits for a port's link message and answers with a message prepared ahead: no runner, no state, no
control socket. It takes teamd's `-d -c JSON` and writes a pid file, so that the bench drives it like a daemon.

How it works: make the device, set the mode and the announcements teamd has by default, enslave the ports, choose the first one with
carrier, fork, and then read rtnetlink. Link messages are looked at with one `unpack_from`, nothing is decoded. For lacp it speaks no
LACP: all ports are enabled from the start, and a port whose link goes down is disabled and taken out of the hash map.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rawnl import IFF_LOWER_UP, IFINFO, NETLINK_ROUTE, RTM_NEWLINK, RTNLGRP_LINK, Route, Team, open_socket, option

ANNOUNCEMENTS = (option("notify_peers_count", 1), option("mcast_rejoin_count", 1))
FLOWS_HASH = 0
"""Of every frame: without a program the driver does not compute one."""


def main(words: list[str]) -> None:
    config = json.loads(words[words.index("-c") + 1])
    pid_file = Path(f"/run/teamd/{config['device']}.pid")
    route, team = Route(), Team()
    device, carrier = set_up(config, route, team)
    events = open_socket(NETLINK_ROUTE, RTNLGRP_LINK)
    events.settimeout(None)
    pid_file.parent.mkdir(exist_ok=True)
    if pid := os.fork():
        pid_file.write_text(f"{pid}\n")
        os._exit(0)
    os.setsid()

    def leave(*_: object) -> None:
        route.delete(device)
        pid_file.unlink()
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    serve = spread if config["runner"]["name"] == "lacp" else backup
    changed = serve(team, device, carrier)
    gc.collect()
    gc.freeze()
    while True:
        packet = events.recv(1 << 16)
        _length, kind = int.from_bytes(packet[:4], "little"), int.from_bytes(packet[4:6], "little")
        _family, _arp, ifindex, flags, _change = IFINFO.unpack_from(packet, 16)
        if kind == RTM_NEWLINK and ifindex in carrier and carrier[ifindex] != bool(flags & IFF_LOWER_UP):
            carrier[ifindex] = bool(flags & IFF_LOWER_UP)
            changed(ifindex)


def set_up(config: dict[str, Any], route: Route, team: Team) -> tuple[int, dict[int, bool]]:
    """Make the device with its ports. Returns its number, and by port whether it has carrier."""
    name = config["device"]
    route.add(name, "team")
    device = route.links()[name].ifindex
    team.set_mode(device, "loadbalance" if config["runner"]["name"] == "lacp" else "activebackup")
    team.set_options(device, *ANNOUNCEMENTS)
    for port in config["ports"]:
        link = route.links()[port]
        route.set_up(link.ifindex, up=False)
        route.set_master(link.ifindex, device)
        route.set_up(link.ifindex, up=True)
    route.set_up(device, up=True)
    links = route.links()
    return device, {links[port].ifindex: links[port].carrier for port in config["ports"]}


def backup(team: Team, device: int, carrier: dict[int, bool]) -> Callable[[int], None]:
    """One port is active, the others are disabled."""
    send = team.socket.send
    active, *idle = sorted(carrier, key=lambda port: not carrier[port])
    team.set_options(device, option("activeport", active), *(option("enabled", False, port) for port in idle))

    def message(old: int, new: int) -> bytes:
        return team.message(
            device, option("activeport", new), option("enabled", True, new), option("enabled", False, old)
        )

    prepared = {(old, new): message(old, new) for old in carrier for new in carrier}

    def changed(_: int) -> None:
        nonlocal active
        if not carrier[active] and (other := next((port for port, up in carrier.items() if up), 0)):
            send(prepared[active, other])
            active = other

    return changed


def spread(team: Team, device: int, carrier: dict[int, bool]) -> Callable[[int], None]:
    """All ports are enabled that have a link."""
    send = team.socket.send
    prepared = {
        (port, up): team.message(
            device,
            option("enabled", up, port),
            option("lb_tx_hash_to_port_mapping", port if up else other, index=FLOWS_HASH),
        )
        for port in carrier
        for other in carrier
        if other != port
        for up in (True, False)
    }

    def changed(port: int) -> None:
        send(prepared[port, carrier[port]])

    return changed


if __name__ == "__main__":
    main(sys.argv[1:])
