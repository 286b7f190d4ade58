"""pyteamd installed under teamd's names in a whole Debian: NetworkManager's story and the units', told inside the systemd world.

In `make test` test_deb_system.py tells them, with the Debian packages, and here is only what `make install` does of its own. Only where
tests/lab/setup.sh has built the world (part `nm`; for Debian 13 and sid, in `make long`, `nm-trixie` and `nm-sid`). Each story
prints what it saw; they are shown with `pytest -s`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import worlds

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900
LONG = os.environ.get("PYTEAMD_LONG") == "1" or not shutil.which("dh_python3")
STORIES = ["nm_story.py", "unit_story.py"] if LONG else ["unit_story.py verify compat uninstall"]

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", params=worlds.WHOLE)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One boot, one installation from wheels (ours of now, and those it depends on), all stories: the directory of what they said."""
    world: str = request.param
    if world != worlds.WHOLE[0] and os.environ.get("PYTEAMD_LONG") != "1":
        pytest.skip("make long")
    if reason := worlds.missing(world):
        pytest.skip(f"no world: {reason}")
    out = tmp_path_factory.mktemp(world)
    shutil.copytree(worlds.wheels_dir(world), out / "wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(out / "wheels"), "."], cwd=ROOT, check=True)
    lab = [sys.executable, "tests/lab/lab.py", "run", "--world", world, "--timeout", str(TIMEOUT_S), "--out", str(out)]
    tell = " && ".join(f"tell {story}" for story in STORIES)
    here = "tests/lab/systemd"
    job = f"tell() {{ /usr/bin/python3 -B {here}/$* >$LAB_OUT/$1.log 2>&1; }}; sh {here}/install.sh && {tell}"
    done = subprocess.run([*lab, "--", "sh", "-c", job], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, f"exit status {done.returncode}", sep="\n")
    return out


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, told: Path) -> None:
    log = told / f"{story.split()[0]}.log"
    assert log.exists(), "an earlier one failed, or the installation"
    said = log.read_text()
    print(said)
    assert said.rstrip().endswith("all is well"), said[-6000:]
