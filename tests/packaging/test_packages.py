"""The Debian packages and the RPMs: they are built, judged by lintian and rpmlint, and promise what pyproject.toml asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from debs import made_debs

from pyteamd import __version__
from pyteamd.daemon.fault_file import MOST
from pyteamd.runners import RUNNERS

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_NAMES = {"pyyaml": "python3-yaml"}
FEDORA_NAMES = {"pyyaml": "python3-pyyaml"}
TEAMD = ("teamd", "teamdctl", "teamnl")
NAMES = (*TEAMD, "bond2team")


def said(*words: str | Path) -> str:
    """What a program prints."""
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def needed() -> dict[str, str]:
    """What pyproject.toml asks for: name → lower bound."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = dict(re.match(r"(\w+)>=([\d.]+)", line).groups() for line in lines)  # type: ignore[misc, union-attr]
    assert len(found) == len(lines)
    return found


def test_both_ask_for_what_the_project_asks_for() -> None:
    control, spec = (ROOT / "debian/control").read_text(), (ROOT / "packaging/pyteamd.spec").read_text()
    for name, bound in needed().items():
        assert f"{DEBIAN_NAMES.get(name, f'python3-{name}')} (>= {bound})" in control
        assert re.search(rf"^Requires: +{FEDORA_NAMES.get(name, f'python3-{name}')} >= {re.escape(bound)}$", spec, re.M)


def test_one_version_everywhere() -> None:
    packaged = re.sub(r"(a|b|rc)(?=\d)", r"~\1", __version__)
    assert (ROOT / "debian/changelog").read_text().startswith(f"pyteamd ({packaged}-1) ")
    spec = (ROOT / "packaging/pyteamd.spec").read_text()
    assert re.search(rf"^Version: +{re.escape(packaged)}$", spec, re.M)
    assert f" - {packaged}-1\n" in spec


def test_a_purge_takes_what_daemons_keep_in_the_run_directory_and_nothing_else() -> None:
    """And the manual names it. What others may have written there, and what a running daemon has, is not ours to take."""
    purged = re.findall(r"/run/teamd/(\S+)", (ROOT / "debian/pyteamd.postrm").read_text())
    manual = (ROOT / "packaging/pages.py").read_text()
    kept = [f"{runner.name}.json" for runner in RUNNERS.values() if runner.has_partners] + ["unconfirmed.json"]
    for name in (*kept, *(f"fault{number}.jsonl" for number in range(1, MOST + 1))):
        assert any(fnmatch(f"team0.{name}", pattern) for pattern in purged), name
    for name in ("team0.conf", "team0.sock", "team0.pid", "notes.json"):
        assert not any(fnmatch(name, pattern) for pattern in purged), name
    assert all(f"/run/teamd/DEVICE.{name}" in manual for name in (*kept, "fault1.jsonl"))


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → package."""
    if not shutil.which("dh_python3") or not shutil.which("lintian"):
        pytest.skip("no debhelper, dh-python or lintian: tests/lab/setup.sh package")
    return {path.name.partition("_")[0]: path for path in made_debs(tmp_path_factory.mktemp("debs"))}


@pytest.fixture(scope="module")
def rpms() -> dict[str, Path]:
    """The same as RPMs."""
    if not shutil.which("rpmbuild") or not shutil.which("rpmlint"):
        pytest.skip("no rpmbuild or rpmlint: tests/lab/setup.sh package")
    said("make", "-s", "rpm")
    return {said("rpm", "-qp", "--qf", "%{NAME}", path): path for path in (ROOT / "build/rpm").glob("*.noarch.rpm")}


def installed(place: Path) -> set[str]:
    """All files that packaging/install.sh puts into a package."""
    for stage in ("install-data", "install-commands", "install-compat"):
        words = [
            "env",
            f"DESTDIR={place}",
            "PREFIX=/usr",
            "PYTHON=/usr/bin/python3",
            "sh",
            "packaging/install.sh",
            stage,
        ]
        said(*words)
    return {f"/{path.relative_to(place)}" for path in place.rglob("*") if not path.is_dir() or path.is_symlink()}


def field(deb: Path, name: str) -> list[str]:
    return [part for part in said("dpkg-deb", "-f", deb, name).strip().split(", ") if part]


def files(deb: Path) -> set[str]:
    """Paths in a package, those of the modules by their first directory."""
    lines = said("dpkg-deb", "-c", deb).splitlines()
    return {line.split()[5].removeprefix(".") for line in lines}


@pytest.mark.slow
def test_debian_packages(debs: dict[str, Path]) -> None:
    assert set(debs) == {"pyteamd", "pyteamd-teamd"}
    both, ours = files(debs["pyteamd-teamd"]), files(debs["pyteamd"])
    assert {f"/usr/bin/{name}" for name in NAMES} <= both
    assert {f"/usr/share/man/man8/{name}.8.gz" for name in TEAMD} <= both
    assert {"/usr/bin/pyteamd", "/usr/lib/systemd/system/pyteamd@.service", "/etc/pyteamd/"} <= ours
    assert "/usr/lib/python3/dist-packages/pyteamd/runners/lacp/machines.py" in ours
    assert not {name for name in both & ours if not name.endswith("/")}
    for relation in ("Conflicts", "Replaces", "Provides"):
        assert "libteam-utils" in field(debs["pyteamd-teamd"], relation)
    depends = field(debs["pyteamd"], "Depends")
    assert "python3:any (>= 3.11~)" in depends
    assert not [name for name in depends if "build" in name or "pytest" in name]


@pytest.mark.slow
def test_lintian_has_nothing_to_say(debs: dict[str, Path]) -> None:
    words = ["lintian", "--pedantic", "--display-info", "--fail-on", "none", "--allow-root"]
    done = subprocess.run([*words, *debs.values()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_commands_run_with_the_distributions_python_and_nothing_of_the_environment(
    debs: dict[str, Path], tmp_path: Path
) -> None:
    said("dpkg-deb", "-x", debs["pyteamd"], tmp_path)
    for name in ("pyteamd", "pyteamdctl", "pyteamnl"):
        assert (tmp_path / "usr/bin" / name).read_text().startswith("#! /usr/bin/python3 -IXutf8\n")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/lib/python3/dist-packages/trio").exists(), reason="no python3-trio")
def test_the_daemon_runs_on_debians_own_libraries(debs: dict[str, Path], tmp_path: Path) -> None:
    said("dpkg-deb", "-x", debs["pyteamd"], tmp_path)
    words = ["/usr/bin/python3", "-IB", str(ROOT / "tests/kit/on_debians_libraries.py")]
    assert said(*words, str(tmp_path / "usr/lib/python3/dist-packages")).startswith("well, on trio 0.")


@pytest.mark.slow
def test_rpms(rpms: dict[str, Path], tmp_path: Path) -> None:
    assert set(rpms) == {"pyteamd", "pyteamd-teamd"}
    listed = set(said("rpm", "-qpl", rpms["pyteamd-teamd"]).splitlines())
    assert {f"/usr/bin/{name}" for name in NAMES} <= listed
    ours = set(said("rpm", "-qpl", rpms["pyteamd"]).splitlines())
    assert {"/usr/bin/pyteamd", "/usr/lib/systemd/system/pyteamd@.service", "/etc/pyteamd"} <= ours
    assert not ours & listed
    requires = set(said("rpm", "-qp", "--requires", rpms["pyteamd"]).splitlines())
    assert {f"{FEDORA_NAMES.get(name, f'python3-{name}')} >= {bound}" for name, bound in needed().items()} <= requires
    assert "teamd" in said("rpm", "-qp", "--conflicts", rpms["pyteamd-teamd"]).split()
    others = re.compile(r"/python3|/licenses/|/doc/pyteamd-")  # the modules, and what the spec names itself
    there = {line for line in ours | listed if not others.search(line)}
    wanted = installed(tmp_path)
    assert wanted <= there
    assert [line for line in there - wanted if not (tmp_path / line[1:]).is_dir()] == []
    for rpm in rpms.values():
        for script in re.split(r"(?m)^\w+ scriptlet \(using /bin/sh\):$", said("rpm", "-qp", "--scripts", rpm)):
            assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0, script
    scripts = said("rpm", "-qp", "--scripts", rpms["pyteamd"])
    assert "try-restart 'pyteamd@*.service'" in scripts
    assert "systemctl stop 'pyteamd@*.service'" in scripts


@pytest.mark.slow
def test_rpmlint_has_nothing_to_say_that_is_not_explained(rpms: dict[str, Path]) -> None:
    words = ["rpmlint", "-c", "packaging/rpmlint.toml", "packaging/pyteamd.spec", *map(str, rpms.values())]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.search(r" 0 errors, 0 warnings", done.stdout), done.stdout
