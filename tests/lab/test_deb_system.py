"""The Debian packages in a whole Debian: in place of libteam-utils, under NetworkManager and systemd, upgraded under traffic, purged.

Only where tests/lab/setup.sh has built the world (part `nm`; for Debian 13 and sid, in `make long`, `nm-trixie` and `nm-sid`) and
installed what makes packages (part `package`). The stories of NetworkManager and of the units are those of test_systemd.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import worlds
from debs import made_debs
from stories import boot, ends_well, needs

OLDER = "1.0.0~alpha1-1"
STORIES = ["deb_story.py installed", "nm_story.py", "unit_story.py verify compat native networkd ifupdown"]
STORIES += ["deb_story.py names upgraded purged"]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("dh_python3"), reason="no dh-python: tests/lab/setup.sh package"),
]


def older(deb: Path, directory: Path) -> None:
    """The same package with a lower version."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    (version,) = re.findall(r"(?m)^Version: (.*)$", control.read_text())
    control.write_text(control.read_text().replace(version, OLDER))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, directory], check=True, capture_output=True)
    shutil.rmtree(tree)


@pytest.fixture(scope="module", params=worlds.WHOLE)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One boot, the packages, all stories: the directory of what they said."""
    world: str = request.param
    needs(world)
    out = tmp_path_factory.mktemp(world)
    for name in ("old", "new"):
        (out / name).mkdir()
    for deb in made_debs(out / "new"):
        older(deb, out / "old")
    tell = "tell() { /usr/bin/python3 -B tests/lab/systemd/$* >\"$LAB_OUT/$(echo $* | tr ' ' -).log\" 2>&1; }"
    boot(world, out, " && ".join([tell, *(f"tell {story}" for story in STORIES)]))
    return out


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str, told: Path) -> None:
    ends_well(told / f"{story.replace(' ', '-')}.log", "an earlier one failed")
