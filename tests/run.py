#!/usr/bin/env python3
"""Run the test lanes one after the other and end with one line that says what ran and what did not.

    tests/run.py [lane…]        no lane = all; lanes: fast, slow, lab, kernel

fast    everything that needs no kernel driver, no root and under 0.25 s a test
slow    the long ones of the same kind: many seeds, whole conversations
lab     the launcher of the real-kernel lab itself
kernel  tests/kernel on a real team driver, inside the lab

Exit status 0 when nothing failed and every lane asked for could run; with CI set in the environment a lane that cannot run here is a
failure, otherwise it is only said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-B", "-W", "error", "-m", "pytest", "-p", "no:cacheprovider"]
LAB = [sys.executable, str(ROOT / "tests/lab/lab.py"), "run", "--timeout", "1200"]
EXIT_NO_WORLD = 77
EXIT_NO_TESTS = 5
MOST_PROCESSES = 4
REAL_TIME = ("kernel", "lab")
MOST_REPEATS = 15
"""More failures than this are no accident."""
LANES = {
    "fast": "not slow and not kernel and not lab",
    "slow": "slow and not kernel and not lab",
    "lab": "lab",
    "kernel": "kernel",
}


@dataclass
class Outcome:
    """Counts of one lane."""

    lane: str
    status: int
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """Node ids of the tests that failed."""
    repeated: int = 0
    """Tests that passed only when they were run again, alone."""


def run_lane(lane: str) -> Outcome:
    """Run one lane and count what its reports say.

    The real kernel is a real-time world: there, a test that failed beside another guest is run once more, alone, and the last
    line says of how many that was true.
    """
    outcome = run_files(lane, shares(lane))
    if lane in REAL_TIME and 0 < len(outcome.failures) <= MOST_REPEATS:
        print(f"== {lane}, again and alone: {' '.join(outcome.failures)}", flush=True)
        again = run_files(lane, [list(outcome.failures)])
        if again.passed == len(outcome.failures) and not again.failed:
            outcome.status = 0
            outcome.passed += again.passed
            outcome.repeated, outcome.failed = again.passed, 0
        outcome.seconds += again.seconds
    return outcome


def run_files(lane: str, parts: list[list[str]]) -> Outcome:
    """Run test files, or single tests, each part in a process of its own at the same time."""
    print(f"== {lane}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pyteamd-tests-") as name:
        began = time.monotonic()
        commands = []
        for number, files in enumerate(parts):
            directory = Path(name, str(number))
            directory.mkdir()
            commands.append(command_for(lane, files, directory))
        status = run_together(commands, Path(name))
        outcome = Outcome(lane, status, time.monotonic() - began)
        for report in sorted(Path(name).rglob("report.xml")):
            count(outcome, ElementTree.parse(report))
    return outcome


def shares(lane: str) -> list[list[str]]:
    """The test files of a lane, dealt out to as many processes (for the kernel lane: guests) as there are processors."""
    places = ("tests/kernel",) if lane == "kernel" else ("tests",)
    paths = [path for place in places for path in (ROOT / place).rglob("test_*.py")]
    files = [str(path.relative_to(ROOT)) for path in sorted(paths, key=lambda path: (-path.stat().st_size, path))]
    most = 1 if lane == "lab" else min(os.cpu_count() or 1, MOST_PROCESSES)
    return [files[number::most] for number in range(most)]


def command_for(lane: str, files: list[str], directory: Path) -> list[str]:
    """The command that runs these files and leaves report.xml in the directory."""
    inner = [*PYTEST, "-m", LANES[lane], "--durations=3", *files]
    if lane != "kernel":
        return [*inner, f"--junitxml={directory}/report.xml"]
    shell = " ".join(quote(word) for word in [*inner, "--junitxml=$LAB_OUT/report.xml"])
    return [*LAB, "--out", str(directory), "--", "sh", "-c", shell]


def run_together(commands: list[list[str]], directory: Path) -> int:
    """Run commands at the same time, print what each said, one after the other; the worst exit status."""
    running = []
    for number, command in enumerate(commands):
        log = (directory / f"{number}.log").open("w+")
        running.append((subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log), log))
    worst = 0
    for process, log in running:
        status = process.wait()
        log.seek(0)
        print(log.read(), flush=True)
        log.close()
        if status not in (0, EXIT_NO_TESTS):
            worst = status
    return worst


def quote(word: str) -> str:
    """Shell quoting that leaves $LAB_OUT to the shell in the lab."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def count(outcome: Outcome, report: ElementTree.ElementTree[ElementTree.Element | None]) -> None:
    """Counts and reasons from a JUnit report."""
    reasons = []
    for case in report.iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None:
            outcome.skipped += 1
            reasons.append(skipped.get("message", "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
            outcome.failures += (f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}",)
        else:
            outcome.passed += 1
    outcome.reasons = tuple(sorted({*outcome.reasons, *reasons}))


def summary(outcomes: list[Outcome]) -> tuple[str, bool]:
    """The last lines, and whether all is well."""
    well = True
    parts = []
    for outcome in outcomes:
        if outcome.lane == "kernel" and outcome.status == EXIT_NO_WORLD:
            well = well and not os.environ.get("CI")
            parts.append("kernel NOT RUN (no kernel with the team driver to be had here, see above)")
            continue
        well = well and outcome.status == 0
        text = f"{outcome.lane} {outcome.passed} passed in {outcome.seconds:.0f} s"
        text += f", {outcome.failed} FAILED" if outcome.failed else ""
        text += f" ({outcome.repeated} of them only when run again, alone)" if outcome.repeated else ""
        text += f", ended with status {outcome.status}" if outcome.status and not outcome.failed else ""
        text += f", {outcome.skipped} skipped ({'; '.join(outcome.reasons)})" if outcome.skipped else ""
        parts.append(text)
    total = [sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "failed", "skipped")]
    failed = total[1] or int(not well)
    return f"{total[0]} passed, {failed} failed, {total[2]} skipped\nran: {' · '.join(parts)}", well


def main() -> int:
    lanes = sys.argv[1:] or list(LANES)
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown:
        print(f"no lane {unknown[0]!r}; there are: {', '.join(LANES)}", file=sys.stderr)
        return 2
    text, well = summary([run_lane(lane) for lane in lanes])
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
