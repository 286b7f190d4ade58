#!/usr/bin/env python3
"""Ask the C teamdctl every case of ctl_cases and write down what it answers, or compare with what is written.

    unshare -nm python3 tests/unit/ctl_record.py write|check

Needs root, teamdctl 1.31 and name spaces of its own, in which it makes an interface named like the team and an empty
/run. The kernel lane runs `check`, so that the file the unit tests use stays what teamdctl really says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ctl_cases import DEAD_SOCKET, NO_SOCKET, TEAM, Case, cases, replies
from ctl_mock import MockDaemon

GOLDEN = Path(__file__).parent / "golden" / "teamdctl-1.31.json"
SOCKET = Path(f"/run/teamd/{TEAM}.sock")
HELP = "{help}"


def answer(case: Case) -> dict[str, Any]:
    """What teamdctl does with one case."""
    SOCKET.unlink(missing_ok=True)
    if case.world == DEAD_SOCKET:
        with MockDaemon(str(SOCKET), {}):
            pass
    serving = case.world not in (NO_SOCKET, DEAD_SOCKET)
    with MockDaemon(str(SOCKET), replies(case.world)) if serving else nullcontext() as daemon:
        command = ["teamdctl", *(os.fsencode(arg) for arg in case.argv)]
        env = {"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus", **case.env}
        ended = subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)
    return {
        "code": ended.returncode,
        "out": text(ended.stdout),
        "err": text(ended.stderr),
        "packets": [text(packet) for packet in daemon.packets] if daemon else [],
    }


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def prepare() -> None:
    """An interface named like the team, and an empty run directory."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    SOCKET.parent.mkdir()
    subprocess.run(["ip", "link", "add", TEAM, "type", "veth", "peer", "name", "peer0"], check=True)


def record() -> dict[str, Any]:
    """All answers by name of the case, the help text once."""
    answers = {case.name: answer(case) for case in cases()}
    help_ = answers[Case(("-h",)).name]["out"]
    for one in answers.values():
        one["out"] = one["out"].replace(help_, HELP)
    return {"help": help_, "answers": answers}


def load() -> dict[str, dict[str, Any]]:
    """The written answers by name of the case."""
    golden = json.loads(GOLDEN.read_text())
    for one in golden["answers"].values():
        one["out"] = one["out"].replace(HELP, golden["help"])
    answers: dict[str, dict[str, Any]] = golden["answers"]
    return answers


def differences(written: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """One line for every case whose answer is not the one written."""
    names = [*seen["answers"], *(name for name in written["answers"] if name not in seen["answers"])]
    found = [
        f"{name}:\n  written {written['answers'].get(name)}\n  seen    {seen['answers'].get(name)}"
        for name in names
        if written["answers"].get(name) != seen["answers"].get(name)
    ]
    return found if written["help"] == seen["help"] else ["the help text", *found]


def main() -> int:
    if sys.argv[1:] not in (["write"], ["check"]):
        print(__doc__, file=sys.stderr)
        return 2
    prepare()
    seen = record()
    if sys.argv[1] == "write":
        GOLDEN.write_text(json.dumps(seen, indent=1) + "\n")
        print(f"{len(seen['answers'])} answers written")
        return 0
    found = differences(json.loads(GOLDEN.read_text()), seen)
    print("\n".join(found) if found else f"{len(seen['answers'])} answers are as written")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
