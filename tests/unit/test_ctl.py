"""pyteamdctl answers as teamdctl 1.31 does: text, messages, exit code, and the bytes on the socket.

The cases are in ctl_cases, the answers in golden/teamdctl-1.31.json, written by the C program itself (ctl_record).
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from ctl_cases import CONFIG, DEAD_SOCKET, NO_SOCKET, STATES, TEAM, WORLDS, Case, cases, daemon, replies
from ctl_mock import MockDaemon
from ctl_record import SOCKET_ANSWERS, load

from pyteamd import client, ctl
from pyteamd.ctl_verbs import VERBS

CASES = {case.name: case for case in cases()}
GOLDEN = load(SOCKET_ANSWERS)
REAL_RUN_DIR = "/var/run/teamd"


def needs_device(name: str) -> bool:
    """The answer comes from asking the kernel about an interface; test_ctl_peers asks those."""
    return "Device" in GOLDEN[name]["err"] or CASES[name].argv[0] == "team0:1"


def answer(case: Case, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What our program does with the case; the run directory's name as it would be on a real system."""
    path = str(run_dir / f"{TEAM}.sock")
    for name in ("TEAMDCTL_LOG", "POSIXLY_CORRECT"):
        monkeypatch.delenv(name, raising=False)
    settings = {"PYTEAMD_RUN_DIR": str(run_dir), "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus", **case.env}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if case.world.startswith("silent"):
        monkeypatch.setattr(client, "REPLY_TIMEOUT_S", 0.01)
    if case.world == DEAD_SOCKET:
        with MockDaemon(path, {}):
            pass
    out, err = io.StringIO(), io.StringIO()
    serving = case.world not in (NO_SOCKET, DEAD_SOCKET)
    with MockDaemon(path, replies(case.world)) if serving else nullcontext() as mock:
        code = ctl.run("teamdctl", case.argv, out, err)
    packets = [packet.decode("utf-8", "surrogateescape") for packet in mock.packets] if mock else []
    errors = err.getvalue().replace(str(run_dir), REAL_RUN_DIR)
    return {"code": code, "out": out.getvalue(), "err": errors, "packets": packets}


def test_every_case_has_an_answer_and_every_answer_its_case() -> None:
    assert set(CASES) == set(GOLDEN)


@pytest.mark.parametrize("name", [name for name in CASES if not needs_device(name)])
def test_as_teamdctl(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(CASES[name], tmp_path, monkeypatch) == GOLDEN[name]
