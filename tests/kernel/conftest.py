"""Worlds for the contract suite: the simulator everywhere, the real driver inside the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract_world import World
from sim_world import SimWorld


@pytest.fixture(params=["sim", "sim-independent", pytest.param("real", marks=pytest.mark.kernel)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One empty world. Each mode of the simulated driver has its real kernel: before Linux 7.1, and from there on."""
    if request.param == "real":
        from real_world import RealWorld

        made: World = RealWorld()
    else:
        made = SimWorld(independent=request.param == "sim-independent")
    yield made
    made.close()
