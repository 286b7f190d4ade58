"""Names of hosts in link watchers, looked up in a thread; on the real clock, because a thread knows no other."""

from __future__ import annotations

from typing import Any

from daemon_kit import ACTIVE_BACKUP, Lab

ARP_PING = {"name": "arp_ping", "interval": 100}


async def test_host_names_are_resolved_before_it_is_ready(lab: Lab) -> None:
    config = {**ACTIVE_BACKUP, "link_watch": {**ARP_PING, "target_host": "localhost"}}
    daemon = await lab.start(lab.plan(config))
    assert sorted((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_name_without_an_address_costs_the_port_only(lab: Lab) -> None:
    config: dict[str, Any] = {"runner": {"name": "activebackup"}}
    config["ports"] = {"eth1": {}, "eth2": {"link_watch": {**ARP_PING, "target_host": "no such host"}}}
    daemon = await lab.start(lab.plan(config))
    assert list((await daemon.state())["ports"]) == ["eth1"]
    assert any(line.startswith("Failed to resolve no such host: ") for line in daemon.lines)
    assert lab.link("eth2").master == 0
