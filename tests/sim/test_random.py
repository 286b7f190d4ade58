"""Random runs: links, ports, options, users and faults in any order, against the invariants. A failure prints a scenario."""

from __future__ import annotations

import pytest

from pyteamd.randomrun import simulate_random

ACTIVEBACKUP = """
{"runner": {"name": "activebackup", "hwaddr_policy": "%s"},
 "ports": {"eth1": {"prio": 10},
           "eth2": {"sticky": true, "queue_id": 2},
           "eth3": {"link_watch": {"name": "ethtool", "delay_up": 500, "delay_down": 200}}}}
"""


def assert_none_fails(config: str, seeds: range) -> None:
    for failure in simulate_random(config, seeds):
        pytest.fail(str(failure))


@pytest.mark.parametrize("policy", ["same_all", "by_active", "only_active"])
def test_activebackup(policy: str) -> None:
    assert_none_fails(ACTIVEBACKUP % policy, range(17))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["same_all", "by_active", "only_active"])
@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_activebackup_1000_seeds(policy: str, first: int) -> None:
    assert_none_fails(ACTIVEBACKUP % policy, range(first, first + 100))


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["broadcast", "roundrobin", "random"])
def test_runners_of_the_kernel(runner: str) -> None:
    assert_none_fails(f'{{"runner": {{"name": "{runner}"}}, "ports": {{"eth1": {{}}, "eth2": {{"prio": 5}}}}}}', range(200))
