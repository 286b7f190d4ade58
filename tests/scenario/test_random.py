"""Random runs: links, ports, options, users and faults in any order, against the invariants. A failure prints a scenario."""

from __future__ import annotations

import os

import pytest

from pyteamd.runners.activebackup import ActiveBackup
from pyteamd.runners.base import TeamView
from pyteamd.scenario import script as scenario
from pyteamd.scenario.random_runs import generate, script_of, simulate_random
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.sim.net import Dice

LONG = bool(os.environ.get("PYTEAMD_LONG"))
POLICIES = ["same_all", "by_active", "only_active"]
ACTIVEBACKUP = """
{"runner": {"name": "activebackup", "hwaddr_policy": "%s"},
 "ports": {"eth1": {"prio": 10},
           "eth2": {"sticky": true, "queue_id": 2},
           "eth3": {"link_watch": {"name": "ethtool", "delay_up": 500, "delay_down": 200}}}}
"""
WATCHED = """
{"runner": {"name": "activebackup"}, "link_watch_policy": "%s",
 "link_watch": [{"name": "arp_ping", "interval": 300, "missed_max": 2, "target_hosts": ["192.0.2.1", "192.0.2.9"],
                 "target_policy": "all", "send_always": true},
                {"name": "ethtool", "delay_down": 200}],
 "ports": {"eth1": {"prio": 10},
           "eth2": {"link_watch": {"name": "nsna_ping", "interval": 500, "init_wait": 70, "target_host": "2001:db8::1"}},
           "eth3": {}}}
"""


def assert_none_fails(config: str, seeds: range) -> None:
    for failure in simulate_random(config, seeds):
        pytest.fail(str(failure))


@pytest.mark.parametrize("policy", POLICIES)
def test_activebackup(policy: str) -> None:
    assert_none_fails(ACTIVEBACKUP % policy, range(4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "first"),
    [
        (policy, first)
        for number, policy in enumerate(POLICIES)
        for first in range(0, 1000, 100)
        if LONG or first // 100 == number
    ],
)
def test_activebackup_1000_seeds(policy: str, first: int) -> None:
    """Each policy has a hundred of them; with PYTEAMD_LONG=1 the thousand."""
    assert_none_fails(ACTIVEBACKUP % policy, range(first, first + 100))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["any", "all"])
def test_ping_watchers(policy: str) -> None:
    """Hosts answer, or do not, on top of everything else. PYTEAMD_LONG=1: a thousand seeds."""
    assert_none_fails(WATCHED % policy, range(500 if LONG else 8))


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["broadcast", "roundrobin", "random"])
def test_runners_of_the_kernel(runner: str) -> None:
    assert_none_fails(
        f'{{"runner": {{"name": "{runner}"}}, "ports": {{"eth1": {{}}, "eth2": {{"prio": 5}}}}}}',
        range(200 if LONG else 60),
    )


def test_a_seed_gives_the_same_run_again() -> None:
    dice = [Dice(12), Dice(12)]
    assert list(generate(dice[0], ("eth1", "eth2"), 50)) == list(generate(dice[1], ("eth1", "eth2"), 50))


def test_a_fault_is_found_and_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that never leaves a port whose link is down. One command of the run is enough to show it."""
    choose = ActiveBackup._choose

    def stay(self: ActiveBackup, team: TeamView, now: float) -> None:
        if self.active is None:
            choose(self, team, now)

    monkeypatch.setattr(ActiveBackup, "_choose", stay)
    failure = next(simulate_random(ACTIVEBACKUP % "same_all", range(10)))
    assert str(failure).startswith(f"seed {failure.seed}: Broken: active port ")
    beginning, command, *_ = failure.script.split("\n\n")
    assert beginning.endswith("\nstart")
    assert failure.script == script_of(ACTIVEBACKUP % "same_all", beginning.split("\n")[-7:-1], [command])
    assert command.split()[0] in ("link", "admin", "delete", "move", "remake", "remove", "rename")
    assert "\n+0.000 broken  active port " in scenario.run(failure.script, SimulatedWorld)
