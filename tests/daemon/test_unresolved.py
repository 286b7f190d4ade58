"""A host name in a link watcher that has no address, and has one later; the threads of the look-up are in test_daemon_hosts.py."""

from __future__ import annotations

import errno
import json
import socket
from typing import Any

import pytest
import trio
from daemon_kit import Lab, quiet

from pyteamd.daemon import team_server
from pyteamd.model.desired import OptionKey, SetOption

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


async def test_going_back_needs_no_address_that_the_start_did_without(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perhaps nothing can be resolved just because of what is on trial."""

    async def look_up(*_: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(team_server, "in_thread", look_up)
    watched = {"link_watch": {**ARP_PING, "target_host": NO_HOST}}
    config: dict[str, Any] = {"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": watched}}
    daemon = await lab.start(lab.plan(config))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await quiet()
    other = {**config, "ports": {"eth1": {"prio": 9}, "eth2": {}}}
    assert json.loads(await daemon.call("ConfigApply", json.dumps(other), "confirm 60"))["applied"]
    assert lab.option("priority", "eth1") == 9
    await trio.sleep(70)
    assert lab.option("priority", "eth1") == 0, daemon.lines
    assert f"arp_ping: cannot resolve host {NO_HOST}" in await daemon.call("Explain")
    queue = SetOption(OptionKey("queue_id", lab.link("eth2").ifindex), 9)
    lab.kernel.refuse(lambda write: write == queue, errno.EINVAL, None)
    refused = {**config, "ports": {"eth1": {"prio": 9}, "eth2": {"queue_id": 9}}}
    problems = json.loads(await daemon.call("ConfigApply", json.dumps(refused), "apply"))["problems"]
    assert "the kernel refuses: set queue_id of eth2 to 9" in problems[0]
    assert lab.option("priority", "eth1") == 0, daemon.lines
