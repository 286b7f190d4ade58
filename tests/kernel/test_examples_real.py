"""Example configurations start on the real driver, and C teamdctl finds there what the file says; what `convert` makes of other programs'
files starts too.

All examples run at once in one process. With PYTEAMD_LONG=1 in the environment each has a daemon of its own too, and so has each
converted file; without, one file of each format.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_kit import PYTEAMD, bench, must, wait_for
from lacp_kit import LONG

from pyteamd.cli.convert.bonding import Bond, bond_to_team
from pyteamd.cli.convert.formats import FORMATS

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="every example starts")]

ROOT = Path(__file__).resolve().parents[2]
CONVERTED = ROOT / "tests/cli/convert"
EXAMPLES = sorted((ROOT / "examples").iterdir())
STARTER = """
import json, os, select, subprocess, sys
from pyteamd import linkwatch, runners
from pyteamd.cli.pyteamd import main as cli
from pyteamd.cli.pyteamd import run as launch
for file in sys.argv[1:]:
    if os.fork() == 0:
        os._exit(cli.main(["pyteamd", "-d", "-f", file]))
    status = os.waitstatus_to_exitcode(os.wait()[1])
    ask = ["teamdctl", "team0", "state", "dump"]
    state = subprocess.run(ask, capture_output=True, text=True).stdout
    print(json.dumps([status, json.loads(state or "null")]), flush=True)
    gone = os.pidfd_open(pid := int(open("/run/teamd/team0.pid").read()))
    os.kill(pid, 15)
    select.select([gone], [], [], 10)
"""
"""Python and its modules are loaded once: in user-mode Linux that is most of a start."""


def started(files: list[Path]) -> list[tuple[int, dict[str, Any]]]:
    """Status of the start, and the state that C teamdctl is told, of a daemon for each file."""
    named = {name for path in files for name in re.findall(r"\be(?:m|th)\d\b", path.read_text())}
    with bench() as made:
        must(
            "; ".join(f"ip link add {name} type dummy" for name in sorted(named - {*made.ports})) or ":",
            namespace=made.host,
        )
        words = [sys.executable, "-B", "-c", STARTER, *map(str, files)]
        return [json.loads(line) for line in must(shlex.join(words), namespace=made.host).splitlines()]


def agrees(path: Path, state: dict[str, Any], prefix: str = "") -> None:
    """The state is what the file asks for."""
    wanted = yaml.safe_load(path.read_text())
    assert state["setup"]["runner_name"] == wanted["runner"]["name"], path.name
    assert sorted(state.get("ports", {})) == sorted(f"{prefix}{port}" for port in wanted.get("ports") or ()), path.name


def test_all_examples_run_at_once(tmp_path: Path) -> None:
    teams = {f"team{number}": path for number, path in enumerate(EXAMPLES)}
    ports = []
    for number, (team, path) in enumerate(teams.items()):
        text = path.read_text().replace("team0", team)
        ports += sorted({f"n{number}{port}" for port in re.findall(r"\be(?:m|th)\d", text)})
        (tmp_path / f"{team}{path.suffix}").write_text(re.sub(r"\b(e(?:m|th)\d)", rf"n{number}\1", text))
    with bench(0) as made:
        must("; ".join(f"ip link add {port} type dummy" for port in ports), namespace=made.host)
        words = ["ip", "netns", "exec", made.host, *shlex.split(PYTEAMD), "serve", str(tmp_path)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        try:
            for number, (team, path) in enumerate(teams.items()):
                ask = f"teamdctl {team} state dump"
                wait_for(lambda ask=ask: made.on_host(ask).status == 0, 60.0, ask)
                state = json.loads(made.on_host(ask).out)
                agrees(path, state, f"n{number}")
        finally:
            process.terminate()
            _, told = process.communicate(timeout=20)
        assert process.returncode == 0, told


@pytest.mark.skipif(not LONG, reason="one daemon for each example; PYTEAMD_LONG=1")
def test_each_example_starts_alone() -> None:
    for path, (status, state) in zip(EXAMPLES, started(EXAMPLES), strict=True):
        assert status == 0, path.name
        agrees(path, state)


def test_converted_devices_start(tmp_path: Path) -> None:
    files, runners = [], []
    for kind in [name for name in FORMATS if name != "bonding"]:
        for number, fixture in enumerate(sorted((CONVERTED / kind).glob("*.txt"))):
            first, *parts = re.split(r"(?m)^---- (.*)\n", fixture.read_text())
            if first.startswith("refused") or (number and not LONG):
                continue
            for device in FORMATS[kind].read(dict(zip(parts[::2], parts[1::2], strict=True))).devices():
                tree = bond_to_team(device)[0] if isinstance(device, Bond) else {**device.tree, "ports": device.ports}
                files.append(tmp_path / f"{len(files)}.conf")
                files[-1].write_text(json.dumps({**tree, "device": "team0"}))
                runners.append(tree.get("runner", {}).get("name", "roundrobin"))
    assert len(files) > 7
    told = started(files)
    assert [(status, state["setup"]["runner_name"]) for status, state in told] == [(0, runner) for runner in runners]
