"""The product and the reference, written from the standard's state tables, agree in random runs: 10 every time, 400 in the slow lane.

2,000 with PYTEAMD_LONG=1. Any number, and one seed again: tests/runners/lacp/differential.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import shadow

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("seed", range(10))
def test_both_are_of_one_mind(seed: int) -> None:
    shadow.run(seed)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(20 if os.environ.get("PYTEAMD_LONG") else 4))
def test_two_thousand_runs(hundred: int) -> None:
    for seed in range(100 + 100 * hundred, 200 + 100 * hundred):
        shadow.run(seed)


def test_the_reference_shares_no_code_with_the_product() -> None:
    names = Path(reference.__file__).read_text().split()
    assert "pyteamd" not in " ".join(names)


@pytest.mark.slow
def test_the_command_runs_a_seed_again() -> None:
    command = [sys.executable, str(ROOT / "tests/runners/lacp/differential.py"), "3", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("2 runs, seeds 3 to 4")) == (0, True), done.stdout + done.stderr


def several() -> None:
    for seed in range(10):
        shadow.run(seed)


def test_a_difference_is_found() -> None:
    """The comparison can fail: a reference that waits longer than the product."""
    before, reference.WAIT_WHILE = reference.WAIT_WHILE, 2.5
    try:
        with pytest.raises(AssertionError, match="product"):
            several()
    finally:
        reference.WAIT_WHILE = before


@pytest.mark.parametrize("seed", [600280, 601289])
def test_what_long_runs_found(seed: int) -> None:
    """An aggregate that was given way to because it was able was left in the same moment for one that was not."""
    shadow.run(seed)
