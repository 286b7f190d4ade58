"""A configuration that is refused half-way, or not confirmed, is taken back: then all is as it was before it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from explain_kit import Told, apply, backup, told

from pyteamd.core.wanted import UNNAMED
from pyteamd.daemon.control.reconfigure import in_force

HWADDR = "02:00:00:00:09:01"
Doing = Callable[[Told], None]


def nothing(made: Told) -> None:
    """What people did before."""


def rename(made: Told) -> None:
    """The configured name of a port is nobody's any more."""
    made.world.set_admin("eth2", False)
    made.world.rename("eth2", "lan2")
    made.world.set_admin("lan2", True)


def rename_again(made: Told) -> None:
    """And again."""
    rename(made)
    made.world.set_admin("lan2", False)
    made.world.rename("lan2", "lan9")
    made.world.set_admin("lan9", True)


def take_out(name: str) -> Doing:
    """Another program does, and adds the link by command before if it is none of the configured ones."""

    def did(made: Told) -> None:
        made.world.add_port(name)
        made.world.set_master(name, "")

    return did


def add_again(made: Told) -> None:
    """The first port was another for a while, and its address is the team's."""
    made.world.remove_port("eth1")
    made.world.add_port("eth1")


CASES: dict[str, tuple[Doing, list[dict[str, Any]]]] = {
    "a port that was added by command is configured": (lambda made: made.world.add_port("eth3"), [backup(eth2={}, eth3={"prio": 3})]),
    "a port that was removed by command is configured no more": (lambda made: made.world.remove_port("eth2"), [backup(eth1={})]),
    "and is configured again": (lambda made: made.world.remove_port("eth2"), [backup(eth1={}), backup(eth1={}, eth2={})]),
    "and again no more": (lambda made: made.world.remove_port("eth2"), [backup(eth1={}), backup(eth1={}, eth2={}), backup(eth1={})]),
    "a port that was taken out by hand is configured no more": (take_out("eth2"), [backup(eth1={})]),
    "a port that was taken out by hand is configured again": (take_out("eth2"), [backup(eth1={}), backup(eth1={}, eth2={})]),
    "a port that was taken out by hand is configured again, and no more": (
        take_out("eth2"),
        [backup(eth1={}), backup(eth1={}, eth2={}), backup(eth1={})],
    ),
    "what was added by command and taken out by hand is configured": (take_out("eth3"), [backup(eth1={}, eth2={}, eth3={})]),
    "a port that had lost its name is configured no more": (rename, [backup(eth1={})]),
    "a port that had lost its name twice is configured no more": (rename_again, [backup(eth1={})]),
    "a port that had lost its name is configured by its own": (rename, [backup(eth1={}, lan2={"sticky": True})]),
    "a port that had lost its name is configured by its own, and no more": (rename, [backup(lan2={}), backup(eth1={})]),
    "all ports are others": (nothing, [backup(eth3={})]),
    "all ports are others, and the second was the first": (add_again, [backup(eth3={})]),
    "announcements": (nothing, [{**backup(), "mcast_rejoin": {"interval": 50}, "notify_peers": {"count": 7}}]),
    "the address of the team": (nothing, [{**backup(), "hwaddr": HWADDR}]),
    "the address of the team, and its ports": (nothing, [{**backup(eth3={}), "hwaddr": HWADDR}]),
    "the address of the team, and its ports, and the second was the first": (add_again, [{**backup(eth3={}), "hwaddr": HWADDR}]),
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
    outside = {name: reason.clause for name, reason in made.reasons().items() if name not in ports}
    return {
        "options": options,
        "ports": ports,
        "written": team.config.written,
        "address": team.view.mac,
        "wanted": set(team.members.wanted),
        "outside": {name: clause for name, clause in outside.items() if UNNAMED not in clause},
    }


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_all_is_as_before(case: str, at_once: bool) -> None:
    did, others = CASES[case]
    made = told(backup(eth1={"prio": 1}, eth2={"prio": 5}), "eth1", "eth2", "eth3")
    did(made)
    made.world.pass_time(1.0)
    was, before = picture(made), in_force(made.team)
    for other in others:
        apply(made, other)
        made.world.pass_time(0.0 if at_once else 1.0)
    assert picture(made) != was
    made.world.running().feed(before, made.world.clock)
    made.world.settle()
    made.world.pass_time(1.0)
    assert picture(made) == was


def do_something(made: Told, dice: random.Random) -> None:
    """A person or a program, to one of three links, whatever it is called now."""
    world = made.world
    links = [
        link.name
        for link in world.kernel.links.values()
        if link.name.startswith(("eth", "lan")) and "-" not in link.name
    ]
    name, prio = dice.choice(links), dice.randrange(9)
    other = f"{'lan' if name.startswith('eth') else 'eth'}{name[3:]}"
    doing: list[Callable[[], object]] = [
        lambda: world.add_port(name),
        lambda: world.remove_port(name),
        lambda: world.set_master(name, ""),
        lambda: world.port_config(name, {"prio": prio}),
        lambda: (world.set_admin(name, False), world.rename(name, other), world.set_admin(other, made.team.ports.named(other) is not None)),
    ]  # fmt: skip
    dice.choice(doing)()
    world.pass_time(1.0)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 200))])
def test_all_is_as_before_whatever_was_done_and_tried(seed: int) -> None:
    dice = random.Random(seed)
    made = told(backup(eth1={"prio": 1}, eth2={"prio": 5}), "eth1", "eth2", "eth3")
    for _ in range(dice.randrange(4)):
        do_something(made, dice)
    was, before = picture(made), in_force(made.team)
    for _ in range(dice.randrange(1, 4)):
        names = dice.sample(["eth1", "eth2", "eth3", "lan2", "lan3"], dice.randrange(1, 4))
        apply(made, backup(**{name: {"prio": dice.randrange(5)} for name in names}))
        made.world.pass_time(1.0)
    made.world.running().feed(before, made.world.clock)
    made.world.settle()
    made.world.pass_time(3.0)
    for seen in (now := picture(made)), was:
        seen.pop("options")  # of equal ports another may be the active one
    assert now == was
