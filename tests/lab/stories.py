"""What the tests in a whole Debian share: which of them run now, one boot, and how a story ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import worlds

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 1400
"""For a boot with all its stories. The packages' takes longest: 320 s on a quiet machine, several times as much beside other work."""


def only_in_long(world: str) -> None:
    """`make test` takes the first of the whole Debians, `make long` all of them: the others are skipped, by name."""
    if world != worlds.WHOLE[0] and os.environ.get("PYTEAMD_LONG") != "1":
        pytest.skip(f"{world}: PYTEAMD_LONG=1")


def needs(world: str) -> None:
    """Skip, with what is missing, where the world cannot run."""
    only_in_long(world)
    if reason := worlds.missing(world):
        pytest.skip(f"no world: {reason}")


def boot(world: str, out: Path, job: str) -> None:
    """Run a shell job there, with `out` as $LAB_OUT, and print what it said."""
    lab = [sys.executable, "tests/lab/lab.py", "run", "--world", world, "--timeout", str(TIMEOUT_S), "--out", str(out)]
    done = subprocess.run([*lab, "--", "sh", "-c", job], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, f"exit status {done.returncode}", sep="\n")


def ends_well(log: Path, before: str) -> None:
    """The story was told to its end. `before`: what failed if it was not begun."""
    assert log.exists(), before
    said = log.read_text()
    print(said)
    assert said.rstrip().endswith("all is well"), said[-6000:]
