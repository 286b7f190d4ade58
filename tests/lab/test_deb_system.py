"""The Debian packages in a whole Debian: in place of libteam-utils, under NetworkManager, upgraded under traffic, purged (make long).

Only where tests/lab/setup.sh has built the world (part `nm`) and installed what makes packages (part `package`).
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
TIMEOUT_S = 580
OLDER = "1.0.0~alpha1-1"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(worlds.missing("systemd")), reason=f"no world: {worlds.missing('systemd')}"),
    pytest.mark.skipif(not shutil.which("dh_python3"), reason="no dh-python: tests/lab/setup.sh package"),
    pytest.mark.skipif(os.environ.get("PYTEAMD_LONG") != "1", reason="make long"),
]


def test_the_packages_from_installation_to_purge(tmp_path: Path) -> None:
    for which, version in (("old", OLDER), ("new", "")):
        environment = {**os.environ, "VERSION": version}
        subprocess.run(["make", "-s", "deb"], cwd=ROOT, env=environment, capture_output=True, check=True)
        (tmp_path / which).mkdir()
        for deb in (ROOT / "build/deb").glob("*.deb"):
            shutil.copy(deb, tmp_path / which)
    lab = [sys.executable, "tests/lab/lab.py", "run", "--world", "systemd", "--timeout", str(TIMEOUT_S)]
    job = ["--out", str(tmp_path), "--", "/usr/bin/python3", "-B", "tests/lab/systemd/deb_story.py"]
    done = subprocess.run([*lab, *job], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    assert done.stdout.rstrip().endswith("all is well"), done.stdout[-4000:] + done.stderr[-4000:]
