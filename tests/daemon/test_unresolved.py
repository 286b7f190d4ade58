"""A host name in a link watcher that has no address, and has one later; the threads of the look-up are in test_daemon_hosts.py."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from daemon_kit import Lab, quiet

from pyteamd.daemon import team_server

ARP_PING = {"name": "arp_ping", "interval": 100}
NO_HOST = "host.invalid"


async def test_a_name_without_an_address_costs_the_watcher_only_and_is_looked_up_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = False

    async def look_up(*_: object) -> list[Any]:
        if not known:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(0, 0, 0, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(team_server, "in_thread", look_up)
    config: dict[str, Any] = {"runner": {"name": "activebackup"}}
    config["ports"] = {"eth1": {}, "eth2": {"link_watch": {**ARP_PING, "target_host": NO_HOST}}}
    daemon = await lab.start(lab.plan(config))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await quiet()
    state = await daemon.state()
    assert list(state["ports"]) == ["eth1", "eth2"]
    assert state["ports"]["eth2"]["link_watches"]["up"] is False
    assert f"arp_ping: cannot resolve host {NO_HOST}" in await daemon.call("Explain")
    await trio.sleep(10)
    assert len([line for line in daemon.lines if line.startswith("Failed to resolve")]) == 1
    known = True
    await trio.sleep(10)
    watches = (await daemon.state())["ports"]["eth2"]["link_watches"]["list"]
    assert [each["target_host"] for each in watches.values()] == ["192.0.2.1"]
