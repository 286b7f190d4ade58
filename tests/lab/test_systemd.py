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
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the guest's results with the wheels to install from: ours of now, and those it depends on."""
    out = tmp_path_factory.mktemp("systemd")
    shutil.copytree(worlds.cache_dir() / "wheels", out / "wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(out / "wheels"), "."], cwd=ROOT, check=True)
    return out


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, wheels: Path) -> None:
    here = "tests/lab/systemd"
    lab = [
        sys.executable,
        "tests/lab/lab.py",
        "run",
        "--world",
        "systemd",
        "--timeout",
        str(TIMEOUT_S),
        "--out",
        str(wheels),
    ]
    job = f"sh {here}/install.sh && /usr/bin/python3 -B {here}/{story}"
    done = subprocess.run([*lab, "--", "sh", "-c", job], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert done.stdout.strip().endswith("all is well")
