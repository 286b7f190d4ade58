"""What `config apply --dry-run` says is interrupted, and what then is: random teams of every runner, random changes of what they have.

The kernel is the judge: after every write it is asked which ports carry traffic. LACP has tests of its own, with partners.
"""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from explain_kit import Told, backup, begin, told

from pyteamd.core.reload import Disruption, plan
from pyteamd.model.desired import Write
from pyteamd.model.events import ConfigApply
from pyteamd.scenario.simulated import SimulatedWorld

NAMES = ("eth1", "eth2", "eth3")
KINDS = ("activebackup", "activebackup", "activebackup", "loadbalance", "roundrobin", "random", "broadcast")
HOST, DEAD = "192.0.2.1", "192.0.2.9"
ETHTOOL: tuple[dict[str, Any], ...] = ({}, {"delay_up": 200}, {"delay_down": 300})
LONGEST_S = 4.0
REST_S = 6.0
"""After it nothing is under way but what the change begins: the longest penalty is over."""


class Scene:
    """One team, and what is changed of it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.told = Told(SimulatedWorld())
        self.kind = self.random.choice(KINDS)
        world = self.told.world
        for name in NAMES:
            world.make_port(name, self.random.choice((100, 1000, 1000)), 1)
        there = NAMES[: self.random.choice((2, 3, 3))]
        self.config: dict[str, Any] = {"runner": {"name": self.kind}, "ports": {name: self.port() for name in there}}
        self.config["link_watch_policy"] = self.random.choice(("any", "all"))
        begin(self.told, self.config)
        for name in NAMES:
            for host in self.random.choice(((), (HOST,), (HOST,), (HOST,))):
                world.answer(name, host, True, None)
        world.pass_time(3.0)
        for name in NAMES:
            if self.random.random() < 0.2:
                world.set_peer(name, False)
        world.pass_time(3.0)
        if self.kind == "activebackup" and self.random.random() < 0.3 and self.carrying():
            world.set_item("runner.active_port", self.random.choice(there))
        world.pass_time(REST_S)
        self.gone: set[str] = set()

    def port(self) -> dict[str, Any]:
        """Settings of a port."""
        random = self.random
        made: dict[str, Any] = {"prio": random.randint(0, 2), "link_watch": self.watchers()}
        if self.kind == "activebackup":
            made["sticky"] = random.random() < 0.3
        if self.kind == "loadbalance":
            made["weight"] = random.randint(1, 3)
        if random.random() < 0.2:
            made["queue_id"] = random.randint(0, 3)
        if random.random() < 0.2:
            made["damping"] = {"half_life": random.randint(1, 3), "penalty": random.choice((1000, 3000))}
        return made

    def watchers(self) -> list[dict[str, Any]]:
        ping = {
            "name": "arp_ping",
            "interval": 100,
            "missed_max": 2,
            "target_host": self.random.choice((HOST, HOST, HOST, DEAD)),
            "source_host": "192.0.2.2",
        }
        ethtool = {"name": "ethtool", **self.random.choice(ETHTOOL)}
        return self.random.choice(([ethtool], [ethtool], [ping], [ethtool, ping]))

    def change(self) -> dict[str, Any]:
        """Another configuration."""
        random, new = self.random, copy.deepcopy(self.config)
        if self.kind == "activebackup" and random.random() < 0.6:  # what most often moves the active port
            for port in new["ports"].values():
                port |= {"prio": random.randint(-9, 9), "sticky": random.random() < 0.2}
        for _ in range(random.randint(1, 3)):
            name = random.choice(list(new["ports"]))
            port, other = new["ports"].setdefault(name, {}), self.port()
            match random.choice(("prio", "prio", "prio", "keys", "keys", "policy", "watch", "target", "remove", "add")):
                case "prio":
                    port["prio"] = random.randint(0, 3)
                case "keys":
                    for key in random.sample(sorted(other), 2):
                        port[key] = other[key] if key != "link_watch" else port.get(key, other[key])
                case "policy":
                    new["link_watch_policy"] = random.choice(("any", "all"))
                case "watch":
                    port["link_watch"] = other["link_watch"]
                case "target":
                    for watcher in port.get("link_watch", ()):
                        watcher |= {"target_host": DEAD} if watcher["name"] == "arp_ping" else {}
                case "add":
                    new["ports"].setdefault(NAMES[-1], other)
                case "remove" if len(new["ports"]) > 1:
                    del new["ports"][name]
        return new

    def carrying(self) -> set[str]:
        """Ports the kernel sends through."""
        device = self.told.world.device()
        options = {(seen.key.name, seen.key.port): seen.value for seen in device.options()}
        ports = {name: self.told.world.ifindex_of(name) for name in NAMES}
        ports = {name: i for name, i in ports.items() if options.get(("enabled", i)) and self.linked(name, i, options)}
        active = options.get(("activeport", 0))
        return {name for name, i in ports.items() if self.kind != "activebackup" or i == active}

    def linked(self, name: str, ifindex: int, options: dict[tuple[str, int], object]) -> bool:
        """What the driver counts as link: really up, and not down by what we say."""
        really = self.told.world.kernel.links[ifindex].running
        return really and bool(options[("user_linkup", ifindex)] or not options[("user_linkup_enabled", ifindex)])

    def judged(self) -> None:
        """From now on it is looked after every write which ports carry nothing any more."""
        kernel, before = self.told.world.kernel, self.carrying()
        apply = kernel.apply

        def look(team: int, writes: Sequence[Write]) -> Any:
            result = apply(team, writes)
            self.gone |= before - self.carrying()
            return result

        kernel.apply = look  # type: ignore[method-assign]


def promised(seed: int) -> tuple[str, bool]:
    """One team and one change; what was said at most, and whether a port went."""
    scene = Scene(seed)
    new = json.dumps(scene.change())
    world, before = scene.told.world, scene.carrying()
    found = plan(scene.told.team, new)
    assert found.refusals == (), found.refusals
    said = {change.disruption for change in found.changes}
    named = {
        name for change in found.changes if change.disruption is Disruption.PORT for name in change.port.split(", ")
    }
    scene.judged()
    world.running().feed(ConfigApply(new), world.clock)
    world.pass_time(LONGEST_S)
    lines = "\n".join(change.text() for change in found.changes)
    seen = f"seed {seed}, {scene.kind}: of {sorted(before)} {sorted(scene.gone)} went, and this was said:\n{lines}"
    slower = {change.effect.split()[-1] for change in found.changes if "if it is faster than " in change.effect}
    assert Disruption.TEAM in said or scene.gone <= named | slower, seen
    return "team" if Disruption.TEAM in said else "port" if named else "none", bool(scene.gone)


RUNS = 4000 if os.environ.get("PYTEAMD_LONG") else 60


@pytest.mark.slow
def test_no_change_interrupts_more_than_is_said() -> None:
    seen = Counter(promised(seed) for seed in range(RUNS))
    assert {"none", "port", "team"} == {said for said, _ in seen}, seen
    assert all(seen[said, True] > RUNS / 30 for said in ("port", "team")), seen


ROWS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {"eth2": {"prio": 9}}, ["team"]),
    ({"eth1": {"prio": 5}}, {"eth1": {"prio": 5}, "eth2": {"prio": 4}}, ["none"]),
    ({"eth1": {"prio": 5}}, {"eth1": {"prio": 3}, "eth2": {"prio": 2}}, ["none", "none"]),
    ({"eth1": {"prio": 9}, "eth2": {"prio": 8}}, {"eth1": {"prio": 1}, "eth2": {"prio": 0}}, ["none", "none"]),
    ({"eth1": {"sticky": True}}, {"eth1": {"sticky": True}, "eth2": {"prio": 9}}, ["none"]),
    ({"eth1": {"sticky": True, "prio": -1}}, {"eth1": {"prio": -1}}, ["team"]),
    ({"eth1": {"sticky": True}}, {"eth1": {}}, ["none"]),
    ({"eth1": {"sticky": True, "prio": -1}}, {"eth1": {"prio": 5}}, ["none", "none"]),
]


@pytest.mark.parametrize(("before", "after", "said"), ROWS)
def test_the_active_port_stays_or_the_team_is_told(before: Any, after: Any, said: list[str]) -> None:
    """Also when several settings change: no other port is chosen while the kernel has only some of them."""
    both: dict[str, Any] = {"eth1": {}, "eth2": {}}
    made = told(backup(**both | before))
    made.world.pass_time(1.0)
    assert made.team.runner.state(made.team.view) == {"active_port": "eth1"}
    new = json.dumps(backup(**both | after))
    assert [change.disruption.value for change in plan(made.team, new).changes] == said
    made.world.happened()
    made.world.running().feed(ConfigApply(new), made.world.clock)
    made.world.pass_time(1.0)
    moved = [happened.text for happened in made.world.happened() if "activeport" in happened.text]
    assert bool(moved) is ("team" in said), moved


DEAF = {"name": "arp_ping", "interval": 100, "missed_max": 2, "target_host": DEAD}
LEAVING: list[tuple[dict[str, Any], str, dict[str, Any], list[str]]] = [
    # before, the port a user chose ("" for none), after, what is said of each change
    (
        {"eth1": {"prio": 10, "sticky": True}, "eth2": {"prio": 20}, "eth3": {}},
        "",
        {"eth1": {"prio": 10}, "eth3": {}},
        ["ports.eth2: removed (eth2 is interrupted)", "ports.eth1.sticky: true -> false (no interruption)"],
    ),
    (
        {"eth1": {"prio": 10}, "eth2": {}},
        "",
        {"eth2": {}, "eth9": {"prio": 50}},
        [
            "ports.eth9: added, joins when it is there and down; it is active then, not eth2 (the team is interrupted)",
            "ports.eth1: removed (eth1 is interrupted)",
        ],
    ),
    (
        {"eth1": {"prio": 10}, "eth2": {}},
        "",
        {"eth2": {"prio": 3}},
        ["ports.eth1: removed (eth1 is interrupted)", "ports.eth2.prio: 0 -> 3 (no interruption)"],
    ),
    (
        {"eth1": {}, "eth2": {}},
        "",
        {"eth1": {}, "eth2": {"prio": 90}, "eth9": {"prio": 50}},
        [
            "ports.eth9: added, joins when it is there and down (no interruption)",
            "ports.eth2.prio: 0 -> 90 (the team is interrupted)",
        ],
    ),
    # Who comes or goes makes the runner choose again, and then a user's choice stands no longer.
    (
        {"eth1": {}, "eth2": {}, "eth3": {"prio": 5}},
        "eth1",
        {"eth1": {}, "eth3": {"prio": 5}},
        ["ports.eth2: removed (the team is interrupted)"],
    ),
    (
        {"eth1": {}, "eth2": {}, "eth3": {"prio": 5}},
        "eth1",
        {"eth1": {}, "eth2": {"link_watch": DEAF}, "eth3": {"prio": 5}},
        [
            f"ports.eth2.link_watch: ethtool -> arp_ping interval 100 missed_max 2 target_host {DEAD} (the team is interrupted)"
        ],
    ),
    (
        {"eth1": {}, "eth3": {"prio": 5}},
        "eth1",
        {"eth1": {}, "eth3": {"prio": 5}, "eth9": {}},
        [
            "ports.eth9: added, joins when it is there and down; eth3 is active then, not eth1 (the team is interrupted)",
        ],
    ),
]


@pytest.mark.parametrize(("before", "chosen", "after", "said"), LEAVING)
def test_the_ports_that_stay_are_what_a_forecast_goes_by(before: Any, chosen: str, after: Any, said: list[str]) -> None:
    """A port that leaves with the same change is no candidate, and one that takes over at once is the one to beat."""
    made = Told(SimulatedWorld())
    for name in NAMES:
        made.world.make_port(name, 1000, 1)
    begin(made, backup(**before))
    made.world.pass_time(1.0)
    if chosen:
        made.world.set_item("runner.active_port", chosen)
    assert made.team.runner.state(made.team.view) == {"active_port": "eth1"}
    new = json.dumps(backup(**after))
    assert [change.text() for change in plan(made.team, new).changes] == said
    made.world.running().feed(ConfigApply(new), made.world.clock)
    made.world.make_port("eth9", 1000, 1)
    made.world.pass_time(1.0)
    active = made.team.runner.state(made.team.view)["active_port"]
    assert (active != "eth1") is (any("the team" in line for line in said) or "eth1" not in after), active
