#!/usr/bin/env python3
"""Ask the C teamdctl every case of ctl_cases and ctl_bus_cases and write down its answers, or compare with the written.

    unshare -nm python3 tests/unit/ctl_record.py write|check

Needs root, teamdctl 1.31, dbus-daemon, and name spaces of its own, in which it makes an interface named like the team
and an empty /run. The kernel lane runs `check`, so that what the unit tests rely on stays what teamdctl really says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ctl_bus import BusDaemon, PrivateBus
from ctl_bus_cases import BUS_WORLDS, NO_BUS, bus_cases, calls_as_json
from ctl_cases import DEAD_SOCKET, NO_SOCKET, TEAM, Case, cases, replies
from ctl_mock import MockDaemon

GOLDEN = Path(__file__).parent / "golden"
SOCKET_ANSWERS = GOLDEN / "teamdctl-1.31.json"
BUS_ANSWERS = GOLDEN / "teamdctl-1.31-dbus.json"
SOCKET = Path(f"/run/teamd/{TEAM}.sock")
HELP = "{help}"
NO_BUS_ADDRESS = "unix:path=/run/no-bus"

Answers = dict[str, dict[str, Any]]


def answer(case: Case) -> dict[str, Any]:
    """What teamdctl does with a case on the unix socket."""
    SOCKET.unlink(missing_ok=True)
    if case.world == DEAD_SOCKET:
        with MockDaemon(str(SOCKET), {}):
            pass
    serving = case.world not in (NO_SOCKET, DEAD_SOCKET)
    with MockDaemon(str(SOCKET), replies(case.world)) if serving else nullcontext() as daemon:
        seen = call(case, NO_BUS_ADDRESS)
    return {**seen, "packets": [text(packet) for packet in daemon.packets] if daemon else []}


def bus_answer(case: Case, directory: Path) -> dict[str, Any]:
    """What teamdctl does with a case on D-Bus."""
    SOCKET.unlink(missing_ok=True)
    if case.world == NO_BUS:
        return {**call(case, NO_BUS_ADDRESS), "calls": []}
    with PrivateBus(directory) as bus:
        serving = case.world in BUS_WORLDS
        with BusDaemon(bus, TEAM, BUS_WORLDS[case.world]) if serving else nullcontext() as daemon:
            seen = call(case, bus.address)
        return {**seen, "calls": calls_as_json(daemon.calls) if daemon else []}


def call(case: Case, bus_address: str) -> dict[str, Any]:
    command = [b"teamdctl", *(os.fsencode(arg) for arg in case.argv)]
    env = {"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": bus_address, **case.env}
    ended = subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)
    return {"code": ended.returncode, "out": text(ended.stdout), "err": text(ended.stderr)}


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def prepare() -> None:
    """An interface named like the team, and an empty run directory."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    SOCKET.parent.mkdir()
    subprocess.run(["ip", "link", "add", TEAM, "type", "veth", "peer", "name", "peer0"], check=True)


def record() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each file with what should be in it: all answers by name of the case, the help text once."""
    answers = {case.name: answer(case) for case in cases()}
    help_ = answers[Case(("-h",)).name]["out"]
    for one in answers.values():
        one["out"] = one["out"].replace(help_, HELP)
    yield SOCKET_ANSWERS, {"help": help_, "answers": answers}
    with tempfile.TemporaryDirectory(prefix="pyteamd-bus-") as directory:
        on_bus = {case.name: bus_answer(case, Path(directory)) for case in bus_cases()}
    yield BUS_ANSWERS, {"help": help_, "answers": on_bus}


def load(path: Path) -> Answers:
    """The written answers by name of the case."""
    golden = json.loads(path.read_text())
    answers: Answers = golden["answers"]
    for one in answers.values():
        one["out"] = one["out"].replace(HELP, golden["help"])
    return answers


def differences(written: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """One entry for every case whose answer is not the one written."""
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
    wrong = 0
    for path, seen in record():
        if sys.argv[1] == "write":
            path.write_text(json.dumps(seen, indent=1) + "\n")
            print(f"{path.name}: {len(seen['answers'])} answers written")
        else:
            found = differences(json.loads(path.read_text()), seen)
            wrong += len(found)
            print("\n".join(found) if found else f"{path.name}: {len(seen['answers'])} answers are as written")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
