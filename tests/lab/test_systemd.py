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
from stories import ROOT, boot, ends_well, needs

LONG = os.environ.get("PYTEAMD_LONG") == "1" or not shutil.which("dh_python3")
STORIES = ["nm_story.py", "unit_story.py"] if LONG else ["unit_story.py verify compat uninstall"]

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", params=worlds.WHOLE)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One boot, one installation from wheels (ours of now, and those it depends on), all stories: the directory of what they said."""
    world: str = request.param
    needs(world)
    out = tmp_path_factory.mktemp(world)
    shutil.copytree(worlds.wheels_dir(world), out / "wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(out / "wheels"), "."], cwd=ROOT, check=True)
    tell = " && ".join(f"tell {story}" for story in STORIES)
    here = "tests/lab/systemd"
    job = f"tell() {{ /usr/bin/python3 -B {here}/$* >$LAB_OUT/$1.log 2>&1; }}; sh {here}/install.sh && {tell}"
    boot(world, out, job)
    return out


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, told: Path) -> None:
    ends_well(told / f"{story.split()[0]}.log", "an earlier one failed, or the installation")
