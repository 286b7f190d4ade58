"""A configuration that is refused half-way, or not confirmed, is taken back: then all is as it was before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from explain_kit import Told, apply, backup, told

from pyteamd.daemon.unconfirmed import Before

HWADDR = "02:00:00:00:09:01"
Doing = Callable[[Told], None]


def nothing(made: Told) -> None:
    """What people did before."""


def rename(made: Told) -> None:
    """The configured name of a port is nobody's any more."""
    made.world.set_admin("eth2", False)
    made.world.rename("eth2", "lan2")
    made.world.set_admin("lan2", True)


CASES: dict[str, tuple[Doing, dict[str, Any]]] = {
    "a port that was added by command is configured": (lambda made: made.world.add_port("eth3"), backup(eth2={}, eth3={"prio": 3})),
    "a port that was removed by command is configured no more": (lambda made: made.world.remove_port("eth2"), backup(eth1={})),
    "a port that was taken out by hand is configured no more": (lambda made: made.world.set_master("eth2", ""), backup(eth1={})),
    "a port that had lost its name is configured no more": (rename, backup(eth1={})),
    "a port that had lost its name is configured by its own": (rename, backup(eth1={}, lan2={"sticky": True})),
    "all ports are others": (nothing, backup(eth3={})),
    "announcements": (nothing, {**backup(), "mcast_rejoin": {"interval": 50}, "notify_peers": {"count": 7}}),
    "the address of the team": (nothing, {**backup(), "hwaddr": HWADDR}),
    "the address of the team, and its ports": (nothing, {**backup(eth3={}), "hwaddr": HWADDR}),
}  # fmt: skip


def picture(made: Told) -> dict[str, Any]:
    """All that is to be as before."""
    team = made.team
    options = {seen.key: seen.value for seen in made.world.device().options()}
    ports = {
        name: (port.config, [(each.kind, each.config) for each in port.watchers])
        for port in team.ports.values()
        for name in [port.name]
    }
    return {
        "options": options,
        "ports": ports,
        "written": team.config.written,
        "address": team.view.mac,
        "outside": {name: reason.clause for name, reason in made.reasons().items() if name not in ports and name != "eth3"},
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_all_is_as_before(case: str) -> None:
    did, other = CASES[case]
    made = told(backup(eth1={"prio": 1}, eth2={}), "eth1", "eth2", "eth3")
    did(made)
    made.world.pass_time(1.0)
    team, was = made.team, picture(made)
    before = Before(
        json.dumps(team.config.dump()),
        team.config.written,
        team.runner.choice(),
        team.joining.to_keep(),
        team.view.mac.hex(),
    )
    apply(made, other)
    made.world.pass_time(1.0)
    assert picture(made) != was
    made.world.running().feed(before.event(), made.world.clock)
    made.world.settle()
    made.world.pass_time(1.0)
    assert picture(made) == was
