"""The least a Python program can do for a fail-over: what the bench sets its measurements against.

A bare loop that waits for a port's link message and answers with a message prepared ahead: no runner, no state, no
control socket. It takes teamd's `-d -c JSON` and writes a pid file, so that the bench drives it like a daemon.

How it works: make the device, set the mode, enslave the ports, choose the first port with carrier, fork, and then
read rtnetlink. Link messages are looked at with one `unpack_from`, nothing is decoded.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path

from rawnl import IFF_LOWER_UP, IFINFO, NETLINK_ROUTE, RTM_NEWLINK, RTNLGRP_LINK, Route, Team, open_socket


def main(words: list[str]) -> None:
    config = json.loads(words[words.index("-c") + 1])
    name, port_names = config["device"], list(config["ports"])
    pid_file = Path(f"/run/teamd/{name}.pid")
    route, team = Route(), Team()
    route.add(name, "team")
    device = route.links()[name].ifindex
    team.set_mode(device, "activebackup")
    for port in port_names:
        link = route.links()[port]
        route.set_up(link.ifindex, up=False)
        route.set_master(link.ifindex, device)
        route.set_up(link.ifindex, up=True)
    route.set_up(device, up=True)
    links = route.links()
    carrier = {links[port].ifindex: links[port].carrier for port in port_names}
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
    prepared = {port: team.active_port_message(device, port) for port in carrier}
    active = next((port for port, up in carrier.items() if up), 0)
    if active:
        team.socket.send(prepared[active])
    gc.collect()
    gc.freeze()
    send = team.socket.send
    while True:
        packet = events.recv(1 << 16)
        _length, kind = int.from_bytes(packet[:4], "little"), int.from_bytes(packet[4:6], "little")
        _family, _arp, ifindex, flags, _change = IFINFO.unpack_from(packet, 16)
        if kind != RTM_NEWLINK or ifindex not in carrier:
            continue
        carrier[ifindex] = bool(flags & IFF_LOWER_UP)
        if not carrier.get(active):
            other = next((port for port, up in carrier.items() if up), 0)
            if other:
                send(prepared[other])
                active = other


if __name__ == "__main__":
    main(sys.argv[1:])
