"""The Debian packages in fresh trees of Debian 12, 13 and sid: installed from files, run, purged, nothing left (make long; needs a mirror).

What needs a running system (units, NetworkManager, an upgrade under traffic) is in tests/lab/systemd/deb_story.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = "python3,python3-trio,python3-pyroute2,python3-jeepney,python3-yaml,libteam-utils,man-db"
SUITES = ("bookworm", "trixie", "sid")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.environ.get("PYTEAMD_LONG") != "1", reason="make long"),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("debootstrap"), reason="no root or no debootstrap"),
    pytest.mark.skipif(not shutil.which("dh_python3"), reason="no dh-python: tests/lab/setup.sh package"),
]


@pytest.fixture(scope="module")
def debs() -> list[Path]:
    """The packages of this tree."""
    subprocess.run(["make", "-s", "deb"], cwd=ROOT, check=True, capture_output=True)
    return sorted((ROOT / "build/deb").glob("*.deb"))


@pytest.fixture(params=SUITES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A system that nobody has used."""
    place = tmp_path / "tree"
    words = ["debootstrap", "--variant=minbase", f"--include={NEEDED}", request.param, str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"debootstrap {request.param}: {done.stdout[-300:]}")
    subprocess.run(["mount", "-t", "proc", "proc", str(place / "proc")], check=True)
    yield place
    subprocess.run(["umount", str(place / "proc")], check=True)


def inside(tree: Path, command: str) -> str:
    """A command in the tree; its output."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["chroot", tree, "sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def files_of(tree: Path) -> set[str]:
    """Everything of ours, by name."""
    return {
        str(path.relative_to(tree))
        for folder in ("usr", "etc", "var", "run")
        for path in (tree / folder).rglob("*pyteamd*")
    }


def test_installed_run_and_purged(tree: Path, debs: list[Path]) -> None:
    before = files_of(tree)
    for deb in debs:
        shutil.copy(deb, tree / "tmp")
    inside(tree, "apt-get -y install /tmp/*.deb")
    assert "pyteamd" in inside(tree, "pyteamd -v")
    assert inside(tree, "teamd -v").startswith("teamd ")
    assert "good" in inside(tree, "pyteamd check /usr/share/doc/pyteamd/examples/lacp_1.conf")
    story = 'port eth1\nport eth2\nconfig {"runner": {"name": "lacp"}}\nstart\n'
    (tree / "tmp/story.txt").write_text(story)
    assert "start" in inside(tree, "pyteamd simulate /tmp/story.txt")
    inside(tree, "python3 -c 'from pyteamd.client import Client, NoDaemon'")
    inside(
        tree,
        "python3 -W error -c 'import pyteamd.daemon.team_server, pyteamd.kernel.netlink, pyteamd.daemon.control.dbus'",
    )
    inside(tree, "apt-get -y purge pyteamd pyteamd-teamd")
    left = {name for name in files_of(tree) - before if not name.startswith(("var/cache", "var/log"))}
    assert left == set()
