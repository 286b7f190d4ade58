#!/usr/bin/env python3
"""make tag: an annotated tag v1.2.3 of the commit that is checked out, when the tree is as a release must be.

Before: set __version__ in pyteamd/__init__.py, debian/changelog and packaging/pyteamd.spec, and give what is Unreleased in CHANGELOG.md a
heading of its own, `## [1.2.3] - 2026-11-27`, under an empty `## [Unreleased]`. The tag's text is that part of the changelog. Pushing
the tag, and building and publishing sdist and wheel from it (`python -m build`), is left to a person.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)"$', re.MULTILINE)


def packaged(version: str) -> str:
    """The spelling of Debian and rpm, in which a candidate comes before the version."""
    return re.sub(r"(a|b|rc)(?=\d)", r"~\1", version)


def released(changelog: str, version: str) -> str:
    """The part of the changelog about this version, "" if there is none."""
    parts = re.split(r"^## \[(.*?)\](?: - \d{4}-\d\d-\d\d)?$", changelog, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(version, "").strip()


def problems(root: Path) -> tuple[str, list[str]]:
    """The version, and everything that does not agree with it."""
    found = VERSION.search((root / "pyteamd/__init__.py").read_text())
    if found is None:
        return "", ["pyteamd/__init__.py: no __version__ like 1.2.3 or 1.2.3rc1"]
    version, told = found[1], []
    if not (root / "debian/changelog").read_text().startswith(f"pyteamd ({packaged(version)}-"):
        told.append(f"debian/changelog: the first entry is not {packaged(version)}")
    if not re.search(
        rf"^Version: +{re.escape(packaged(version))}$", (root / "packaging/pyteamd.spec").read_text(), re.M
    ):
        told.append(f"packaging/pyteamd.spec: Version is not {packaged(version)}")
    if not released((root / "CHANGELOG.md").read_text(), version):
        told.append(f"CHANGELOG.md: no `## [{version}] - YYYY-MM-DD` with something below it")
    return version, told


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Tag, or say why not."""
    version, told = problems(ROOT)
    if git("status", "--porcelain"):
        told.append("the tree has changes that are not committed")
    if version and git("tag", "--list", f"v{version}"):
        told.append(f"v{version} is there already")
    if told:
        print("not tagged:", *told, sep="\n  ", file=sys.stderr)
        return 1
    text = released((ROOT / "CHANGELOG.md").read_text(), version)
    git("tag", "--annotate", f"v{version}", "--cleanup=verbatim", "-m", f"pyteamd {version}\n\n{text}\n")
    print(f"tagged v{version}; publish with: git push origin v{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
