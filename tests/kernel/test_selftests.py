"""The kernel's own tests that start teamd by name, or change options with teamnl, as they are, on pyteamd's commands.

`make long` only; tests/lab/setup.sh selftests puts them into build/selftests. Each runs with C teamd first: one that does not pass then (a
module that this kernel lacks) says nothing of us and is skipped with the last line it printed. Scripts that start no teamd and
call no teamnl (refleak.sh, propagation.sh, which wants the driver netdevsim, and others) are about the kernel alone and do not run.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lacp_kit import LONG

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build/selftests"
PROGRAMS = {"teamd": "pyteamd", "teamdctl": "pyteamdctl", "teamnl": "pyteamnl"}
OURS = re.compile(r"\bteam(d|dctl|nl)\b|\bteam_create\b|\bteam_lib\.sh")
"""What a script says that calls one of these, itself or by a function of a library beside it."""
LIMIT_S = 1200
HOUR = {"base_reachable_time_ms": "3600000", "delay_first_probe_time": "3600"}
"""Hosts do not ask again for a neighbour that they know, in place of after half a minute, or five seconds after its first use.

router_bridge_lag.sh has a team with an address in a bridge for two seconds. The bridge answers for that address, with its own hardware
address, to a host that asks in these seconds: then the host sends to the bridge until the last step has failed. On a quick machine the
host asks later than that, on a slow one not, with C teamd as with ours.
"""
PATIENCE = {"PING_TIMEOUT": "30"}
"""The scripts' own setting, in place of 5 s; ten pings that are answered end at once."""
LINES_SHOWN = 40

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.kernel_kind("independent", reason="they are the tests of that kernel"),
    pytest.mark.skipif(not LONG, reason="minutes; PYTEAMD_LONG=1"),
    pytest.mark.skipif(not (PLACE / ".setup").exists(), reason="tests/lab/setup.sh selftests"),
]


def scripts() -> list[str]:
    """Those that call one of the programs."""
    found = [*(PLACE / "drivers/net/team").glob("*.sh"), *(PLACE / "net/forwarding").glob("*lag*.sh")]
    return sorted(
        str(path.relative_to(PLACE))
        for path in found
        if not path.name.endswith("_lib.sh") and OURS.search(path.read_text())
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with our commands under teamd's names."""
    place = tmp_path_factory.mktemp("bin")
    for name, module in PROGRAMS.items():
        file = place / name
        file.write_text(
            f"#!{sys.executable} -B\nimport sys\nfrom pyteamd.cli.{module}.main import main\nsys.exit(main())\n"
        )
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return place


@pytest.fixture(scope="module", autouse=True)
def hosts_that_need_not_ask() -> Iterator[None]:
    """New links take their settings from these."""
    places = {
        Path(f"/proc/sys/net/{family}/neigh/default", name): HOUR[name] for family in ("ipv4", "ipv6") for name in HOUR
    }
    try:
        before = {place: place.read_text() for place in places}
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not there, as in a network namespace of its own")
    for place, value in places.items():
        place.write_text(value)
    yield
    for place, text in before.items():
        place.write_text(text)


def run(script: str, first: str) -> tuple[int, str]:
    """Exit status and output with these commands first in PATH."""
    path = PLACE / script
    env = {**os.environ, **PATIENCE, "PATH": f"{first}:{os.environ['PATH']}"}
    words = ["unshare", "--net", "--mount", "--propagation", "private", "bash", f"./{path.name}"]
    done = subprocess.run(words, cwd=path.parent, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.returncode, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("script", scripts() if PLACE.exists() else ["none"])
def test_selftest(script: str, ours: Path) -> None:
    status, said = run(script, "/usr/bin")
    if status:
        pytest.skip(f"C teamd does not pass it here either: {'; '.join(wrong(said) or said.splitlines()[-1:])}")
    status, said = run(script, str(ours))
    assert status == 0, "\n".join([*wrong(said), "", *said.splitlines()[-LINES_SHOWN:]])


def wrong(said: str) -> list[str]:
    """The steps of a script that failed."""
    return [line.strip() for line in said.splitlines() if re.search(r"\bFAIL\b|\bnot ok\b", line)]
