"""The scenario scripts that say `kernel`, on the real driver with the real daemon: the same story must be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyteamd import scenario

pytestmark = pytest.mark.kernel
SCRIPTS = [
    path
    for path in sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))
    if "kernel" in scenario.parse(path.read_text()).worlds
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    from tests.kernel.scenario_world import RealScenarioWorld

    differences = scenario.check(path.read_text(), RealScenarioWorld, exact=False)
    assert not differences, f"{path}:\n" + "\n".join(differences)
