"""Worlds for the contract suite: the simulator everywhere, the real driver inside the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract_world import World
from sim_world import SimWorld


@pytest.fixture(params=["sim", pytest.param("real", marks=pytest.mark.kernel)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One empty world."""
    if request.param == "sim":
        made: World = SimWorld()
    else:
        from real_world import RealWorld

        made = RealWorld()
    yield made
    made.close()
