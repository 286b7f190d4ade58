"""Ask the C teamdctl every case of ctl_cases and ctl_bus_cases and write down its answers, or compare with the written.

    unshare -nm python3 tests/kit/ctl_record.py write|check|sample|ours|devices

`sample` compares one in eight; `ours` compares pyteamdctl's answers, `devices` only those for which it asks the kernel
about interfaces. All need root, dbus-daemon, and namespaces of their own, in which they make an interface named like
the team and an empty /run; the first three need teamdctl 1.31. The kernel lane runs `sample`, so that what the unit
tests rely on stays what teamdctl really says, and `devices`, which those tests leave out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ctl_bus import BUS_DIES, BusDaemon, PrivateBus
from ctl_bus_cases import BUS_WORLDS, NO_BUS, bus_cases, calls_as_json
from ctl_cases import DEAD_SOCKET, NO_SOCKET, TEAM, Case, cases, replies
from ctl_mock import MockDaemon

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SOCKET_ANSWERS = GOLDEN / "teamdctl-1.31.json"
BUS_ANSWERS = GOLDEN / "teamdctl-1.31-dbus.json"
SOCKET = Path(f"/run/teamd/{TEAM}.sock")
HELP = "{help}"
NO_BUS_ADDRESS = "unix:path=/run/no-bus"

C_CLIENT = ("teamdctl",)
OUR_CLIENT = (
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'teamdctl'; from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())",
)

Answers = dict[str, dict[str, Any]]


def answer(case: Case, client: Sequence[str]) -> dict[str, Any]:
    """What the client does with a case on the unix socket."""
    SOCKET.unlink(missing_ok=True)
    if case.world == DEAD_SOCKET:
        with MockDaemon(str(SOCKET), {}):
            pass
    serving = case.world not in (NO_SOCKET, DEAD_SOCKET)
    with MockDaemon(str(SOCKET), replies(case.world)) if serving else nullcontext() as daemon:
        seen = call(case, client, NO_BUS_ADDRESS)
    return {**seen, "packets": [text(packet) for packet in daemon.packets] if daemon else []}


def bus_answer(case: Case, client: Sequence[str], bus: PrivateBus) -> dict[str, Any]:
    """What the client does with a case on D-Bus."""
    SOCKET.unlink(missing_ok=True)
    if case.world == NO_BUS:
        return {**call(case, client, NO_BUS_ADDRESS), "calls": []}
    if case.world not in BUS_WORLDS:
        return {**call(case, client, bus.address), "calls": []}
    with BusDaemon(bus, TEAM, BUS_WORLDS[case.world]) as daemon:
        seen = call(case, client, bus.address)
    return {**seen, "calls": calls_as_json(daemon.calls)}


def bus_answers(client: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and answer of each case. One bus serves them all, but for those that end it."""
    with tempfile.TemporaryDirectory(prefix="pyteamd-bus-") as directory, PrivateBus(Path(directory)) as shared:
        for case in bus_cases():
            if BUS_DIES in BUS_WORLDS.get(case.world, {}).values():
                with tempfile.TemporaryDirectory(prefix="pyteamd-bus-") as other, PrivateBus(Path(other)) as mortal:
                    yield case.name, bus_answer(case, client, mortal)
            else:
                yield case.name, bus_answer(case, client, shared)


def call(case: Case, client: Sequence[str], bus_address: str) -> dict[str, Any]:
    command = [os.fsencode(word) for word in (*client, *case.argv)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DBUS_SYSTEM_BUS_ADDRESS": bus_address, **case.env}
    ended = subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)
    return {"code": ended.returncode, "out": text(ended.stdout), "err": text(ended.stderr)}


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def prepare() -> None:
    """An interface named like the team, and an empty run directory."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    SOCKET.parent.mkdir()
    subprocess.run(["ip", "link", "add", TEAM, "type", "veth", "peer", "name", "peer0"], check=True)


def record(client: Sequence[str]) -> Iterator[tuple[Path, Answers]]:
    """Each file with the answers that should be in it, by name of the case."""
    yield SOCKET_ANSWERS, {case.name: answer(case, client) for case in cases()}
    yield BUS_ANSWERS, dict(bus_answers(client))


def shortened(answers: Answers) -> dict[str, Any]:
    """The content of a file: the help text, which most answers end with, only once."""
    help_ = load(SOCKET_ANSWERS)[Case(("-h",)).name]["out"]
    short = {name: {**one, "out": one["out"].replace(help_, HELP)} for name, one in answers.items()}
    return {"help": help_, "answers": short}


def renewed(client: Sequence[str], wanted: Callable[[Case, Answers], bool]) -> Iterator[tuple[Path, Answers]]:
    """The written answers on the unix socket, the wanted ones given again."""
    answers = load(SOCKET_ANSWERS)
    for case in cases():
        if wanted(case, answers):
            answers[case.name] = answer(case, client)
    yield SOCKET_ANSWERS, answers


def one_in_eight(case: Case, written: Answers) -> bool:
    return list(written).index(case.name) % 8 == 0


def asks_the_kernel(case: Case, written: Answers) -> bool:
    """The answer depends on which interfaces there are."""
    return "Device" in written[case.name]["err"] or case.argv[0] == f"{TEAM}:1"


def load(path: Path) -> Answers:
    """The written answers by name of the case."""
    golden = json.loads(path.read_text())
    answers: Answers = golden["answers"]
    for one in answers.values():
        one["out"] = one["out"].replace(HELP, golden["help"])
    return answers


def differences(path: Path, seen: Answers) -> list[str]:
    """One entry for every case whose answer is not the one written."""
    written = load(path)
    names = [*seen, *(name for name in written if name not in seen)]
    return [
        f"{name}:\n  written {written.get(name)}\n  seen    {seen.get(name)}"
        for name in names
        if written.get(name) != seen.get(name)
    ]


def main() -> int:
    modes: dict[str, Callable[[], Iterable[tuple[Path, Answers]]]] = {
        "write": lambda: record(C_CLIENT),
        "check": lambda: record(C_CLIENT),
        "sample": lambda: renewed(C_CLIENT, one_in_eight),
        "ours": lambda: record(OUR_CLIENT),
        "devices": lambda: renewed(OUR_CLIENT, asks_the_kernel),
    }
    if len(sys.argv) != 2 or sys.argv[1] not in modes:
        print(__doc__, file=sys.stderr)
        return 2
    mode = sys.argv[1]
    prepare()
    wrong = 0
    for path, seen in modes[mode]():
        if mode == "write":
            content = json.dumps(shortened(seen), indent=1)
            path.write_text(content + "\n")
            print(f"{path.name}: {len(seen)} answers written")
        else:
            found = differences(path, seen)
            wrong += len(found)
            print("\n".join(found) if found else f"{path.name}: {len(seen)} answers are as written")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
