"""Worlds for the contract suite: the simulator everywhere, the real driver inside the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.sim_world import SimWorld
from tests.kernel.worlds import World


@pytest.fixture(params=["sim", pytest.param("real", marks=pytest.mark.kernel)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One empty world."""
    if request.param == "sim":
        made: World = SimWorld()
    else:
        from tests.kernel.real_world import RealWorld

        made = RealWorld()
    yield made
    made.close()
