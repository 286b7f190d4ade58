"""What is built can be installed: make install and uninstall with DESTDIR leave nothing, the wheel and the sdist hold all that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import worlds

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("pyteamd", "pyteamdctl", "pyteamnl")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("make"), reason="no make"),
    pytest.mark.skipif(os.environ.get("PIP_NO_INDEX") == "1", reason="no package index"),
]


def make(target: str, place: Path, *more: str, status: int = 0) -> None:
    """A target of the Makefile with DESTDIR."""
    words = ["make", "-s", target, f"DESTDIR={place}", f"PYTHON={sys.executable}", *more]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr


def test_install_and_uninstall_leave_nothing(tmp_path: Path) -> None:
    place = tmp_path / "root"
    (place / "usr/local/bin").mkdir(parents=True)
    left = ROOT / "build/lib/pyteamd/left_from_an_earlier_build.py"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    make("install", place)
    assert not list(place.rglob(left.name))
    make("install-compat", place)
    bin_dir = place / "usr/local/bin"
    assert sorted(path.name for path in bin_dir.iterdir()) == sorted(
        [*COMMANDS, "bond2team", "teamd", "teamdctl", "teamnl"]
    )
    for name in COMMANDS:
        assert (bin_dir / name).read_text().startswith("#!/usr/local/lib/pyteamd/bin/python3 -IXutf8\n")
        manual = place / f"usr/local/share/man/man8/{name}.8"
        assert manual.read_text().startswith(f".TH {name.upper()} 8")
    unit = (place / "usr/local/lib/systemd/system/teamd@.service").read_text()
    assert "ExecStart=/usr/local/bin/teamd -U -D -o -t %i -f /run/teamd/%i.conf\n" in unit
    assert (place / "etc/dbus-1/system.d/pyteamd.conf").exists()
    python = place / "usr/local/lib/pyteamd/bin/python3"
    code = "import sys; from pyteamd.cli.pyteamd.main import main; sys.exit(main(['teamd', '-v'], sys.argv[1] + '/'))"
    said = subprocess.run(
        [python, "-I", "-c", code, tmp_path], env={}, capture_output=True, text=True, check=True, cwd="/"
    )
    assert said.stdout.startswith("teamd ")
    assert not list(place.rglob("site-packages/pip"))
    make("install", place)  # over itself: the names of before are still known
    before = sorted(place.rglob("*"))
    make("install", place, "PACKAGE=/nonexistent", status=2)
    assert sorted(place.rglob("*")) == before, "a failure leaves everything as it was"
    make("uninstall", place)
    assert sorted(place.rglob("*")) == [place / "usr", place / "usr/local", place / "usr/local/bin"]


def test_wheel_and_sdist_hold_everything(tmp_path: Path) -> None:
    # Not "build": that is also the name of a directory here, and an import takes it for a namespace package.
    pytest.importorskip("build.__main__", reason="no build (pip install build)")
    subprocess.run(
        [sys.executable, "-m", "build", "-q", "-o", str(tmp_path), "."], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(file.relative_to(ROOT))
        for package in (ROOT / "pyteamd", ROOT / "pyteamd/runners", ROOT / "pyteamd/linkwatch")
        for file in package.rglob("*.py")
    }
    assert modules | {"pyteamd/py.typed"} <= names
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "packaging/install.sh",
        "debian/control",
        "systemd/pyteamd@.service.in",
        "systemd/dbus/pyteamd.conf",
        "LICENSE",
    } <= inside
    for name in COMMANDS:
        assert (
            f"{name} = pyteamd"
            in zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
        )
    runs_from_an_environment_of_its_own(wheel, tmp_path / "environment")


def runs_from_an_environment_of_its_own(wheel: Path, place: Path) -> None:
    """As pipx installs it: nothing of the system's packages, links to the commands, no word from the process environment."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, wheel], check=True)
    code = "from pyteamd.client import Client, teams; print(Client.__name__, teams('/nonexistent'))"
    said = subprocess.run([place / "bin/python", "-Ic", code], capture_output=True, text=True, check=True, cwd="/")
    assert said.stdout == "Client []\n"
    example = ROOT / "examples/lacp_1.conf"
    for name, words in (("pyteamd", ["check", str(example)]), ("pyteamdctl", ["-h"]), ("pyteamnl", ["-h"])):
        link = place / f"link-to-{name}"
        link.symlink_to(place / "bin" / name)
        said = subprocess.run([link, *words], env={}, capture_output=True, text=True, check=True, cwd="/")
        assert (f"{example}: good" if name == "pyteamd" else "--help") in said.stdout


IN_A_CHROOT = r"""
set -e
mkdir up work root && mount -t tmpfs tmpfs up && mkdir up/up up/work
mount -t overlay overlay root -o "lowerdir=$TREE,upperdir=up/up,workdir=up/work"
mkdir root/opt/source root/opt/wheels
tar -x -C root/opt/source -f tree.tar
cp wheels/* root/opt/wheels/
cat >root/opt/go <<'END'
set -e
test ! -e /proc/self
test ! -d /run/systemd/system
cd /opt/source
make -s install PACKAGE=pyteamd PIP_FLAGS="--no-index --find-links /opt/wheels" PYTHON=/usr/bin/python3
make -s install-compat
teamd -v
pyteamd check examples/lacp_1.conf
make -s uninstall
teamd -v
find / -xdev -iname '*pyteamd*' -not -path '/opt/*' -not -path '/var/log/*'
END
exec chroot root sh /opt/go
"""


@pytest.mark.skipif(os.environ.get("PYTEAMD_LONG") != "1", reason="whole Debians without /proc; PYTEAMD_LONG=1")
@pytest.mark.parametrize("world", worlds.WHOLE)
def test_install_in_a_chroot_without_proc(world: str, tmp_path: Path) -> None:
    """As an image is built: no /proc, no systemd that runs; under teamd's names in place of Debian's, and back."""
    if reason := worlds.missing(world):
        pytest.skip(f"no tree: {reason}")
    shutil.copytree(worlds.wheels_dir(world), tmp_path / "wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(tmp_path / "wheels"), "."], cwd=ROOT, check=True)
    parts = ("Makefile", "packaging", "systemd", "examples", "pyteamd", "runners", "linkwatch")
    subprocess.run(["tar", "-cf", str(tmp_path / "tree.tar"), *parts], cwd=ROOT, check=True)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_A_CHROOT],
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TREE": str(worlds.tree_dir(world))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount" in done.stderr and done.returncode == 32:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    version, checked, _distributions = [line for line in done.stdout.splitlines() if not line.startswith("install: ")]
    assert version.startswith("teamd 1.0")
    assert checked.startswith("examples/lacp_1.conf: good")
