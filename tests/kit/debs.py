"""The Debian packages of this tree: made once for all tests that want them, also where these run at the same time."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "pyteamd",
    "runners",
    "linkwatch",
    "packaging",
    "debian",
    "systemd",
    "examples",
    "docs",
    "Makefile",
    "pyproject.toml",
)


def sources() -> Iterator[Path]:
    """What goes into the packages."""
    for name in SOURCES:
        yield from (
            path for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file() and path.suffix != ".pyc"
        )
    yield from ROOT.glob("*.md")


def made_debs(place: Path) -> list[Path]:
    """Copies of the packages in this directory; `make deb` where there are none that are newer than all that goes into them."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/.deb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest_s = max(path.stat().st_mtime for path in sources())
        made = sorted((ROOT / "build/deb").glob("*.deb"))
        if not made or min(path.stat().st_mtime for path in made) < newest_s:
            done = subprocess.run(["make", "-s", "deb"], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            made = sorted((ROOT / "build/deb").glob("*.deb"))
        return [Path(shutil.copy2(deb, place)) for deb in made]
