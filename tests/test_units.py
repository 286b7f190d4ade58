"""The systemd units: the same sandbox for both, as narrow as systemd can measure, and starts that end only where another cannot help."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd.main import main
from pyteamd.daemon import privileges

UNITS = sorted((Path(__file__).parents[1] / "systemd").glob("*.service.in"))
SANDBOX = re.compile(
    r"(Capability|NoNew|Limit|Lock|Memory|Private|Proc|Protect|Restrict(?!art)|SystemCall|UMask|OOM|RestartSec|StartLimit)\w*="
)
EXPOSURE = 2.5


def lines(unit: Path) -> list[str]:
    """The settings of a unit."""
    return [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]


def test_both_have_the_same_sandbox() -> None:
    assert [unit.name for unit in UNITS] == ["pyteamd@.service.in", "teamd@.service.in"]
    first, second = ([line for line in lines(unit) if SANDBOX.match(line)] for unit in UNITS)
    assert first == second
    assert len(first) > 20


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_what_the_program_keeps_is_what_the_unit_gives(unit: Path) -> None:
    (given,) = [line for line in lines(unit) if line.startswith("CapabilityBoundingSet=")]
    numbers = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_NICE": 23}
    assert sum(1 << numbers[name] for name in given.partition("=")[2].split()) == privileges.KEPT
    assert "LimitMEMLOCK=infinity" in lines(unit)  # which it may not lift by itself then


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze (Debian: systemd)")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_exposure(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name.removesuffix(".in")
    installed.write_text(unit.read_text().replace("@bindir@", "/usr/bin"))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(installed)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
    found = re.search(r"exposure level for \S+: ([0-9.]+)", shown)
    assert found, shown
    assert float(found[1]) <= EXPOSURE
    reasons = unit.read_text().partition("still marks")[2]
    for name in re.findall(r"^✗ (\w+)", shown, re.M):
        assert name.rstrip("=") in reasons or name == "SystemCallFilter", f"{name} is marked and has no reason"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_a_fault_that_passes_is_tried_for_as_long_as_it_takes(unit: Path) -> None:
    settings = set(lines(unit))
    assert {"Restart=on-failure", "RestartPreventExitStatus=78", "StartLimitIntervalSec=0"} <= settings
    assert ("Environment=PYTEAMD_EXIT_STATUS=config" in settings) is unit.name.startswith("teamd")


@pytest.mark.parametrize(
    ("program", "environment", "status"),
    [("pyteamd", "", 78), ("teamd", "", 1), ("teamd", "config", 78), ("/usr/bin/teamd", "other", 1)],
)
def test_a_wrong_configuration_has_a_status_of_its_own_but_for_teamd(
    program: str, environment: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEAMD_EXIT_STATUS", environment)
    words = [program, "-t", "team0", "-c", '{"runner": {"name": "none such"}}']
    assert main(words, f"{tmp_path}/") == status
    assert main([program, "-k", *words[1:]], f"{tmp_path}/") == 1, "nothing to end is no wrong configuration"
    logging.getLogger("pyteamd").handlers.clear()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_run_directory_that_cannot_be_made_may_pass(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert main(["pyteamd", "-t", "team0", "-c", "{}"], f"{tmp_path}/run/") == 1
