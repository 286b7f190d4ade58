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
from lacp_pair import World

from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

ROOT = Path(__file__).resolve().parents[3]
PARTNER = b"\x02\xbb\0\0\0\x01"


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


def test_two_links_with_one_partner_port_and_one_of_them_goes_and_comes() -> None:
    """Two switches with the same numbers: what the other link repeats meanwhile takes nothing from the one that is lost."""
    world = World()
    box = shadow.ShadowedBox(world, "a", [3, 4])
    box.start()

    def say(ifindex: int) -> None:
        assert box.runner is not None
        group = box.runner._group
        said = Lacpdu(LacpInfo(100, PARTNER, 7, 255, 103, 0x3F), group.ports[ifindex].actor(group.local))
        box.frame(ifindex, said.frame(PARTNER))

    for ifindex in (3, 4):
        box.set_running(ifindex, True)
    for _ in range(4):
        say(3)
        say(4)
        world.run(1.0)
    assert box.serving() == {3, 4}
    box.set_running(3, False)
    for _ in range(3):
        say(4)
        world.run(0.5)
    box.set_running(3, True)
    say(3)
    assert box.serving() == {3, 4}, "back with its first LACPDU"


@pytest.mark.parametrize("seed", [600280, 601289])
def test_what_long_runs_found(seed: int) -> None:
    """An aggregate that was given way to because it was able was left in the same moment for one that was not."""
    shadow.run(seed)
