"""Three teams in one process, and what can happen to them in an order that only the seed knows: each stays as the kernel has it.

Two of them want the same link; links are moved from one to another by hand, and taken by teams that may steal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

import pytest

from pyteamd.daemon.reader import Batch, Reader
from pyteamd.scenario.random_runs import CRASHES, LONG_S, SPEEDS, attempt, generate, look, look_at_the_end
from pyteamd.scenario.session import ScenarioSession
from pyteamd.scenario.shrink import shrink
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.sim.net import Dice

pytestmark = pytest.mark.slow
TEAMS = {"team0": ("eth1", "eth2"), "team1": ("eth3", "eth4"), "team2": ("eth2", "eth5")}
PORTS = tuple(f"eth{number}" for number in range(1, 7))
SEEDS = 250 if os.environ.get("PYTEAMD_LONG") else 2
TAKE_IT = '{"steal": true, "set_down": true}'
SETTLE = ("kernel-accepts", "release link", "release team", f"at +{LONG_S}")


def play(commands: Sequence[str], when_served: Callable[[], None] = lambda: None) -> str:
    """Run the commands in a new world; returns what went wrong, "" when nothing did. `when_served` is called after the start."""
    world = SimulatedWorld()
    session = ScenarioSession(world)
    try:
        for command in (*commands, *SETTLE):
            attempt(session, command)
            if command == "serve":
                when_served()
            meant = world.team_name
            for team in TEAMS:
                world.team_name = team
                look(world)
            world.team_name = meant
        for team in TEAMS:
            world.team_name = team
            if world.serves():
                look_at_the_end(world)
    except CRASHES as problem:
        return f"{world.team_name}: {type(problem).__name__}: {problem}"
    return ""


def beginning(dice: Dice, runner: str, seed: int) -> list[str]:
    """Links, configurations, and the start."""
    commands = [f"batches {seed}", *(f"port {name} speed {dice.choice(SPEEDS)}" for name in PORTS)]
    for team, names in TEAMS.items():
        config = {"runner": {"name": runner}, "ports": {name: {} for name in names}}
        commands += [f"team {team}", f"config {json.dumps(config)}"]
    return [*commands, "serve"]


def happenings(dice: Dice, steps: int = 40) -> list[str]:
    """What happens to one of the teams, or to a link of whichever."""
    commands = []
    for command in generate(dice, PORTS, steps):
        team = dice.choice(tuple(TEAMS))
        first, *rest = ["serve", "-o"] if command == "start -o" else command.split(" ", 2)
        if first == "portconfig" and dice.below(2):
            rest = [rest[0], TAKE_IT]
        commands += [f"team {team}", " ".join((first, *(team if word == "team0" else word for word in rest)))]
    return commands


@pytest.mark.parametrize("runner", ["activebackup", "lacp", "roundrobin"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_teams_that_want_each_others_links_stay_as_the_kernel_has_them(seed: int, runner: str) -> None:
    dice = Dice(seed)
    first, then = beginning(dice, runner, seed), happenings(dice)
    problem = play([*first, *then])
    assert not problem, "\n".join((problem, *first, *shrink(then, lambda rest: bool(play([*first, *rest])))))


def test_what_is_said_of_another_team_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge judges: a fault in the reader, which gives what is said of one team to each of them, is found in what happens later."""
    deliver = Reader.deliver

    def confused(self: Reader, batch: Batch, now: float) -> None:
        deliver(self, [(to, event) for team, event in batch for to in (self.pumps if team else (team,))], now)

    dice = Dice(1)
    first, then = beginning(dice, "activebackup", 1), happenings(dice)
    assert play(first) == ""
    problem = play([*first, *then], lambda: monkeypatch.setattr(Reader, "deliver", confused))
    assert "Broken: " in problem, problem
