"""Every scenario script, in the simulated world. A difference is shown line by line; `make rewrite` takes the new output over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyteamd.scenario import script as scenario
from pyteamd.scenario.simulated import SimulatedWorld

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("*.txt"))
COUPLED = (
    "lacp-silent-partner",
    "lacp-partners",
    "lacp-restart",
    "lacp-one-by-one",
    "lacp-bfd",
    "lacp-waits",
    "lacp-able-first",
    "lacp-promises",
    "teams-side-by-side",
)
"""What lacp writes where directions can be switched apart is in lacp-independent; the story is the same."""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    text = path.read_text()
    assert " broken  " not in text, f"{path}: an invariant is broken in the expected output"
    differences = scenario.check(text, SimulatedWorld)
    assert not differences, f"{path}:\n" + "\n".join(differences)


def independent_world() -> SimulatedWorld:
    """As a kernel since Linux 7.1."""
    world = SimulatedWorld()
    world.switch_apart()
    return world


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_story_is_the_same_where_the_driver_has_three_switches(path: Path) -> None:
    differences = scenario.check(path.read_text(), independent_world, exact=path.stem not in COUPLED)
    assert not differences, f"{path}:\n" + "\n".join(differences)
