"""The Debian packages in the trees of Debian 12, 13 and sid: installed by apt, run on that Debian's libraries, purged, nothing left.

The trees are those of tests/lab/setup.sh (`nm`, and for `make long` `nm-trixie` and `nm-sid`), with a writable layer that is forgotten.
What needs a running system (units, NetworkManager, an upgrade under traffic) is in test_deb_system.py.
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
from debs import made_debs
from stories import ROOT, only_in_long

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="no root, or no unshare"),
    pytest.mark.skipif(not shutil.which("dh_python3"), reason="no dh-python: tests/lab/setup.sh package"),
]
STORY = """set -e
mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/tree" && cd /
mount -t overlay overlay "$2/tree" -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work"
mount -t proc proc "$2/tree/proc"
cp -r "$4"/*.deb "$3/tests/kit" "$2/tree/tmp/"
root=$2/tree
inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 sh -ec "$1"
}
echo 127.0.0.1 localhost >>"$2/tree/etc/hosts"
ours() { (cd "$root" && find etc run usr var -path var/log -prune -o -name '*pyteamd*' -print | sort); }
ours >"$2/before"
inside 'apt-get -qq -y install /tmp/*.deb' >&2
inside 'pyteamd -v; teamd -v; pyteamd check /usr/share/doc/pyteamd/examples/*'
inside 'python3 -IB /tmp/kit/on_debians_libraries.py'
inside "python3 -W error -c 'from pyteamd.client import Client, NoDaemon; import pyteamd.daemon.control.dbus'"
inside 'apt-get -qq -y purge pyteamd pyteamd-teamd' >&2
ours | diff "$2/before" -
echo "nothing is left"
"""
"""$1: the tree, $2: an empty directory, $3: the repository, $4: where the packages are."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages of this tree."""
    place = tmp_path_factory.mktemp("debs")
    made_debs(place)
    return place


@pytest.mark.parametrize("world", worlds.WHOLE)
def test_installed_run_and_purged(world: str, packages: Path, tmp_path: Path) -> None:
    only_in_long(world)
    tree = worlds.tree_dir(world)
    if not (tree / ".setup").exists():
        pytest.skip(f"no tree: tests/lab/setup.sh nm{worlds.suite_of(world)}")
    words = ["unshare", "-m", "sh", "-c", STORY, "story", str(tree), str(tmp_path), str(ROOT), str(packages)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, *checked, libraries, end = done.stdout.splitlines()
    assert (first.split()[0], second.split()[0]) == ("pyteamd", "teamd")
    assert len(checked) == len(list((ROOT / "examples").iterdir()))
    assert libraries.startswith("well, on trio ")
    assert end == "nothing is left"
