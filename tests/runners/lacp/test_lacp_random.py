"""Random networks: 12 seeds every time, 200 more in the slow lane, 1,000 with PYTEAMD_LONG=1."""

from __future__ import annotations

import os

import pytest
from lacp_random import RandomNet


def run(seed: int) -> None:
    net = RandomNet(seed)
    net.play()
    net.check_agreement()
    net.check_peace()


@pytest.mark.parametrize("seed", range(12))
def test_both_ends_agree_and_nothing_wrong_is_ever_in_service(seed: int) -> None:
    run(seed)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(10 if os.environ.get("PYTEAMD_LONG") else 2))
def test_a_thousand_networks(hundred: int) -> None:
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        run(seed)
