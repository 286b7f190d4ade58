"""Names of hosts in link watchers, looked up in a thread; on the real clock, because a thread knows no other."""

from __future__ import annotations

from typing import Any

from daemon_kit import ACTIVE_BACKUP, Lab

ARP_PING = {"name": "arp_ping", "interval": 100}
NO_HOST = "x" * 64
"""A label that is too long for a name server to be asked."""


async def test_host_names_are_resolved_before_it_is_ready(lab: Lab) -> None:
    config = {**ACTIVE_BACKUP, "link_watch": {**ARP_PING, "target_host": "localhost"}}
    daemon = await lab.start(lab.plan(config))
    assert sorted((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_name_without_an_address_costs_the_port_only(lab: Lab) -> None:
    config: dict[str, Any] = {"runner": {"name": "activebackup"}}
    config["ports"] = {"eth1": {}, "eth2": {"link_watch": {**ARP_PING, "target_host": NO_HOST}}}
    daemon = await lab.start(lab.plan(config))
    assert list((await daemon.state())["ports"]) == ["eth1"]
    assert any(line.startswith(f"Failed to resolve {NO_HOST}: ") for line in daemon.lines)
    assert lab.link("eth2").master == 0
    await daemon.call("PortAdd", "eth2")
    assert sum(line.startswith("Failed to resolve") for line in daemon.lines) > 1, "asked for again, looked up again"
