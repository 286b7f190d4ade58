"""pyteamd installed under teamd's names in a whole Debian: NetworkManager's story and the units', told inside the systemd world.

Only where tests/lab/setup.sh has built the world (part `nm`). Each story prints what it saw; both are shown with `pytest -s`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import worlds

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900
STORIES = ["nm_story.py", "unit_story.py"]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(worlds.missing("systemd")), reason=f"no world: {worlds.missing('systemd')}"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One boot, one installation from wheels (ours of now, and those it depends on), all stories: the directory of what they said."""
    out = tmp_path_factory.mktemp("systemd")
    shutil.copytree(worlds.cache_dir() / "wheels", out / "wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(out / "wheels"), "."], cwd=ROOT, check=True)
    lab = [
        sys.executable,
        "tests/lab/lab.py",
        "run",
        "--world",
        "systemd",
        "--timeout",
        str(TIMEOUT_S),
        "--out",
        str(out),
    ]
    tell = " && ".join(f"tell {story}" for story in STORIES)
    here = "tests/lab/systemd"
    job = f"tell() {{ /usr/bin/python3 -B {here}/$1 >$LAB_OUT/$1.log 2>&1; }}; sh {here}/install.sh && {tell}"
    done = subprocess.run([*lab, "--", "sh", "-c", job], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, f"exit status {done.returncode}", sep="\n")
    return out


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, told: Path) -> None:
    log = told / f"{story}.log"
    assert log.exists(), "an earlier one failed, or the installation"
    said = log.read_text()
    print(said)
    assert said.rstrip().endswith("all is well"), said[-6000:]
