"""Every scenario script, in the simulated world. A difference is shown line by line; `make rewrite` takes the new output over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyteamd.scenario import script as scenario
from pyteamd.scenario.simulated import SimulatedWorld

HERE = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    text = path.read_text()
    assert " broken  " not in text, f"{path}: an invariant is broken in the expected output"
    differences = scenario.check(text, SimulatedWorld)
    assert not differences, f"{path}:\n" + "\n".join(differences)
