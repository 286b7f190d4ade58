"""Example configurations start on the real driver, and C teamdctl finds there what the file says.

PYTEAMD_LONG=1 in the environment starts all of them, without only one.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from lab_kit import bench, must
from lacp_kit import LONG

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="every example starts")]

PLACE = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(PLACE.glob("*.conf")) if LONG else [PLACE / "activebackup_multi_lw_1.conf"]
STARTER = """
import json, os, select, subprocess, sys
from pyteamd import linkwatch, runners
from pyteamd.cli.pyteamd import main as cli
from pyteamd.cli.pyteamd import run as launch
for file in sys.argv[1:]:
    if os.fork() == 0:
        os._exit(cli.main(["teamd", "-d", "-f", file]))
    status = os.waitstatus_to_exitcode(os.wait()[1])
    ask = ["teamdctl", "team0", "state", "dump"]
    state = subprocess.run(ask, capture_output=True, text=True).stdout
    print(json.dumps([status, json.loads(state or "null")]), flush=True)
    gone = os.pidfd_open(pid := int(open("/run/teamd/team0.pid").read()))
    os.kill(pid, 15)
    select.select([gone], [], [], 10)
"""
"""Python and its modules are loaded once: in user-mode Linux that is most of a start."""


def test_examples_start() -> None:
    with bench() as made:
        words = [sys.executable, "-B", "-c", STARTER, *map(str, EXAMPLES)]
        told = [json.loads(line) for line in must(shlex.join(words), namespace=made.host).splitlines()]
    for path, (status, state) in zip(EXAMPLES, told, strict=True):
        wanted = json.loads(path.read_text())
        assert status == 0, path.name
        assert state["setup"]["runner_name"] == wanted["runner"]["name"], path.name
        assert sorted(state.get("ports", {})) == sorted(wanted.get("ports", {})), path.name
