#!/usr/bin/env python3
"""Make the pictures in docs: a timeline of a scenario, in a real browser (Debian: chromium)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORY = ROOT / "docs/lacp-night.txt"
SIZE = "1280,760"


def main() -> int:
    """Write docs/timeline.png."""
    if shutil.which("chromium") is None:
        print("pictures: no chromium (Debian: chromium); nothing was drawn", file=sys.stderr)
        return 1
    target = ROOT / "docs/timeline.png"
    with tempfile.TemporaryDirectory(prefix="pictures.") as place:
        page = Path(place, "night.html")
        draw = [sys.executable, "-m", "pyteamd", "simulate", str(STORY), "--timeline", str(page)]
        subprocess.run(draw, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options = [f"--user-data-dir={place}/profile", f"--window-size={SIZE}", f"--screenshot={target}"]
        subprocess.run([*browser, *options, page.as_uri()], check=True, timeout=120, stderr=subprocess.DEVNULL)
    print(f"pictures: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
