"""What is no Python can be installed apart from it: no package index, no /proc, no root, and every file where its reader looks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "packaging/install.sh"
COMMANDS = {"pyteamd": "teamd", "pyteamdctl": "teamdctl", "pyteamnl": "teamnl"}

pytestmark = pytest.mark.slow


def install(what: str, place: Path, prefix: str = "/usr", **more: str) -> None:
    """One stage into `place`, with an environment that has nothing else in it."""
    environment = {"PATH": os.environ["PATH"], "DESTDIR": str(place), "PREFIX": prefix, **more}
    done = subprocess.run(["sh", SCRIPT, what], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a package holds besides the modules."""
    place = tmp_path_factory.mktemp("package")
    for stage in ("install-data", "install-commands", "install-compat"):
        install(stage, place)
    return place


def test_everything_is_where_a_distribution_has_it(package: Path) -> None:
    files = {str(path.relative_to(package)) for path in package.rglob("*") if not path.is_dir()}
    expected = {
        *(f"usr/bin/{name}" for pair in COMMANDS.items() for name in pair),
        *(f"usr/share/man/man8/{name}.8" for pair in COMMANDS.items() for name in pair),
        *(f"usr/share/man/man5/{name}.conf.5" for name in ("pyteamd", "teamd")),
        *(f"usr/share/bash-completion/completions/{name}" for pair in COMMANDS.items() for name in pair),
        *(f"usr/share/zsh/site-functions/_{name}" for pair in COMMANDS.items() for name in pair),
        *(f"usr/share/fish/vendor_completions.d/{name}.fish" for pair in COMMANDS.items() for name in pair),
        *(f"usr/share/doc/pyteamd/examples/{path.name}" for path in (ROOT / "examples").iterdir()),
        *(f"usr/lib/systemd/system/{name}@.service" for name in ("pyteamd", "teamd")),
        *("usr/lib/tmpfiles.d/pyteamd.conf", "usr/share/dbus-1/system.d/pyteamd.conf"),
        *("usr/share/pyteamd/pyteamd.schema.json", "usr/share/man/man1/bond2team.1"),
    }
    assert expected <= files
    assert (package / "etc/pyteamd").is_dir()
    assert not [name for name in files if name.endswith((".new", ".pyc", "installed"))]
    assert "properties" in json.loads((package / "usr/share/pyteamd/pyteamd.schema.json").read_text())


def test_units_name_the_commands_where_they_are(package: Path, tmp_path: Path) -> None:
    unit = package / "usr/lib/systemd/system/pyteamd@.service"
    assert "/usr/bin/pyteamd " in unit.read_text()
    assert "@bindir@" not in unit.read_text()
    install("install-data", tmp_path, "/usr/local", BINDIR="/opt/tools/bin", UNITDIR="/etc/systemd/system")
    unit = tmp_path / "etc/systemd/system/pyteamd@.service"
    assert "/opt/tools/bin/pyteamd " in unit.read_text()


def test_commands_name_the_interpreter_and_run_apart_from_the_environment(package: Path) -> None:
    for name in COMMANDS:
        assert (package / "usr/bin" / name).read_text().startswith("#!/usr/bin/python3 -IXutf8\n")
        assert (package / "usr/bin" / name).stat().st_mode & 0o777 == 0o755


def test_every_page_of_teamd_leads_to_one_of_ours(package: Path) -> None:
    pages = package / "usr/share/man"
    for page in [*pages.glob("man*/teamd*"), *pages.glob("man*/teamnl*")]:
        target = page.read_text().split()[1]
        assert (pages / target).is_file(), f"{page} → {target}"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that everybody may use: those of pytest are root's alone."""
    with tempfile.TemporaryDirectory(prefix="pyteamd-") as place:
        Path(place).chmod(0o777)
        yield Path(place)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to give both up")
def test_neither_proc_nor_root_is_needed(package: Path, open_to_all: Path) -> None:
    copy = open_to_all / "source"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__"), symlinks=True
    )
    program = f"mount -t tmpfs none /proc && setpriv --reuid 65534 --regid 65534 --clear-groups sh {copy}/packaging/install.sh $1"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": f"{open_to_all}/there", "PREFIX": "/usr"}
    for stage in ("install-data", "install-commands", "install-compat"):
        words = ["unshare", "-m", "sh", "-c", program, "sh", stage]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
    there = open_to_all / "there"
    assert {str(path.relative_to(there)) for path in there.rglob("*")} == {
        str(path.relative_to(package)) for path in package.rglob("*")
    }


def test_what_is_installed_without_the_program_can_be_taken_back(tmp_path: Path) -> None:
    prefix = str(tmp_path / "prefix")
    places = {"UNITDIR": f"{prefix}/units", "TMPFILESDIR": f"{prefix}/tmpfiles", "SYSCONFDIR": f"{prefix}/etc"}
    environment = {"PATH": os.environ["PATH"], "PREFIX": prefix, **places}
    for stage in ("install-data", "uninstall"):
        done = subprocess.run(["sh", SCRIPT, stage], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert bool(list(tmp_path.rglob("pyteamd.8"))) == (stage == "install-data")
    assert not (tmp_path / "prefix").exists()


def test_files_that_are_no_modules_go_into_the_package() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {
        path
        for package, patterns in told.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    there = {path for path in (ROOT / "pyteamd").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert (ROOT / "pyteamd/cli/pyteamd/timeline.html") in there
    assert there <= packed
