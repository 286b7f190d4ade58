"""Random networks: 3 seeds every time, 100 more in the slow lane, 1,000 with PYTEAMD_LONG=1; and as many in which people configure.

Hours of it: tests/runners/lacp/hours.py.
"""

from __future__ import annotations

import os

import pytest
from lacp_random import RandomNet


def run(seed: int, configure: bool = False, gates: bool = False) -> None:
    net = RandomNet(seed, configure, gates)
    net.play()
    net.check_agreement()
    net.check_peace()


SOME = [*(pytest.param(seed, marks=() if seed in (3, 4, 5) else pytest.mark.slow) for seed in range(12))]


@pytest.mark.parametrize("seed", SOME)
def test_both_ends_agree_and_nothing_wrong_is_ever_in_service(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed == 3 else pytest.mark.slow) for seed in range(4)])
def test_the_same_while_people_change_every_option_at_both_ends(seed: int) -> None:
    run(seed, configure=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100 if os.environ.get("PYTEAMD_LONG") else 8))
def test_the_same_while_watchers_keep_ports_out_and_let_them_in(seed: int) -> None:
    run(seed, configure=bool(seed % 2), gates=True)


@pytest.mark.slow
@pytest.mark.parametrize("configure", [False, True])
@pytest.mark.parametrize("hundred", range(10 if os.environ.get("PYTEAMD_LONG") else 1))
def test_a_thousand_networks(hundred: int, configure: bool) -> None:
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        run(seed, configure)
