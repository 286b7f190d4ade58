"""The scenario scripts that say `kernel`, on the real driver with the real daemon: the same story must be told."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_kit import chosen

from pyteamd.scenario import script as scenario

pytestmark = [pytest.mark.kernel, pytest.mark.both_kernels]
PLACE = Path(__file__).parent.parent / "scenarios"
SCRIPTS = [path for path in sorted(PLACE.glob("*.txt")) if "kernel" in scenario.parse(path.read_text()).worlds]
LATER = (
    "activebackup-prio",
    "activebackup-queue-id",
    "activebackup-same-all",
    "activebackup-sticky",
    "all-links-down",
    "lacp-partners",
    "option-by-hand",
    "teams-one-is-broken",
    "teams-side-by-side",
)


@pytest.mark.parametrize("name", chosen([path.stem for path in SCRIPTS], LATER))
def test_scenario(name: str) -> None:
    from scenario_world import RealScenarioWorld

    path = PLACE / f"{name}.txt"
    differences = scenario.check(path.read_text(), RealScenarioWorld, exact=False)
    assert not differences, f"{path}:\n" + "\n".join(differences)
