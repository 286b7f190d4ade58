"""What the runner of the tests makes of its parts: nothing that failed may look as if it had passed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import run
from run import Outcome, Part

TEST = "tests/kernel/test_x.py::test_y[a b]"
OTHER = "tests/kernel/test_x.py::test_z"
WELL = Outcome("kernel", passed=1)
FAILED = Outcome("kernel", status=1, passed=5, failures=[TEST])
OUT_OF_TIME = Outcome("kernel", status=124)
NO_WORLD = Outcome("kernel", status=run.EXIT_NO_WORLD)
MANY = Outcome("kernel", status=1, failures=[f"{TEST}[{number}]" for number in range(run.MOST_REPEATS + 1)])


@pytest.mark.parametrize(
    ("parts", "again", "well", "text"),
    [
        ([Outcome("kernel", passed=3)], [], True, "3 passed, 0 failed, 0 skipped\nran: kernel 3 passed in 0 s"),
        ([FAILED], [WELL], True, f"6 passed, 0 failed, 0 skipped\nran: kernel 6 passed in 0 s (only when run again, alone: {TEST})"),
        ([FAILED], [FAILED, WELL], True, f"(only when run again, alone: {TEST})"),
        ([FAILED], [FAILED, FAILED], False, f"FAILED: {TEST}"),
        ([FAILED], [OUT_OF_TIME, OUT_OF_TIME], False, f"FAILED: {TEST}"),
        ([FAILED], [NO_WORLD, NO_WORLD], False, f"FAILED: {TEST}"),
        ([FAILED], [Outcome("kernel", skipped=1)] * 2, False, f"FAILED: {TEST}"),
        ([replace(FAILED, failures=[TEST, OTHER])], [FAILED, FAILED, WELL], False, f"FAILED: {TEST} (only when run again, alone: {OTHER})"),
        ([OUT_OF_TIME, FAILED], [WELL, WELL], True, f"kernel 7 passed in 0 s (only when run again, alone: 0, {TEST})"),
        ([OUT_OF_TIME], [FAILED, WELL], True, f"(only when run again, alone: 0, {TEST})"),
        ([replace(OUT_OF_TIME, hung=OTHER)], [WELL], True, f"1 passed in 0 s (only when run again, alone: {OTHER})"),
        ([replace(OUT_OF_TIME, hung=TEST)], [FAILED, WELL], True, f"6 passed in 0 s (only when run again, alone: {TEST})"),
        ([replace(OUT_OF_TIME, hung=TEST)], [FAILED, FAILED, FAILED], False, f"5 passed in 0 s, FAILED: {TEST}\n"),
        ([OUT_OF_TIME], [OUT_OF_TIME], False, "0 passed, 1 failed, 0 skipped\nran: kernel 0 passed in 0 s, ENDED WITHOUT A REPORT: 0"),
        ([OUT_OF_TIME] * (run.MOST_LOST + 1), [WELL] * run.MOST_LOST, False, f"ENDED WITHOUT A REPORT: {run.MOST_LOST}"),
        ([MANY], [WELL] * run.MOST_REPEATS, False, f"FAILED: {MANY.failures[-1]} (only"),
        ([NO_WORLD], [], True, "kernel NOT RUN"),
    ],
)  # fmt: skip
def test_what_is_said(
    parts: list[Outcome], again: list[Outcome], well: bool, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said, all_is_well = told(parts, again, monkeypatch, tmp_path)
    assert all_is_well == well
    assert text in f"{said}\n"


def told(
    parts: list[Outcome], again: list[Outcome], monkeypatch: pytest.MonkeyPatch, memory: Path, lane: str = "kernel"
) -> tuple[str, bool]:
    """What a run with these parts says at its end, and whether all is well."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(run, "kernels", dict)
    monkeypatch.setattr(run, "set_up", str)
    monkeypatch.setattr(run, "MEMORY", memory / "repeated.json")
    monkeypatch.setattr(run, "TABLES", (str(memory / "kept.json"), str(memory / "measured.json")))
    monkeypatch.setattr(
        run, "parts_of", lambda lane, outcomes: [Part(lane, str(number), []) for number in range(len(parts))]
    )
    repeats = iter(again)

    def run_part(part: Part, beside: tuple[str, ...] = ()) -> Outcome:
        return parts[int(part.title)] if part.title.isdigit() else next(repeats)

    monkeypatch.setattr(run, "run_part", run_part)
    said = run.summary(run.run_lanes([lane]))
    assert next(repeats, None) is None, "each was asked for"
    return said


def test_a_repetition_three_runs_in_a_row_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repeated, at_once = ([FAILED], [WELL]), ([WELL], [])
    history = [repeated, repeated, at_once, repeated, repeated, repeated, repeated, at_once]
    well = [told(*run_, monkeypatch, tmp_path)[1] for run_ in history]
    assert well == [True, True, True, True, True, False, False, True]
    said, _ = [told(*repeated, monkeypatch, tmp_path) for _ in range(3)][-1]
    assert f"FAILED, FOR THE 3RD TIME IN A ROW ONLY WHEN RUN AGAIN: {TEST}" in said
    assert ", 1 failed, " in said


def test_a_part_that_is_lost_three_runs_in_a_row_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the test that hung, since parts are dealt otherwise each time."""
    lost = [replace(OUT_OF_TIME, hung=TEST)], [WELL]
    assert [told(*lost, monkeypatch, tmp_path)[1] for _ in range(3)] == [True, True, False]


def test_the_first_kernel_is_the_quicker_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is there before one that is not."""

    def firsts(*lines: str) -> list[str]:
        done = subprocess.CompletedProcess([], 0, "\n".join(lines), "")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
        return [kernel.world for kernel in run.kernels().values()]

    assert firsts("coupled\tuml\t6.1", "independent\tuml-new\t7.2") == ["uml-new", "uml"]
    assert firsts("coupled\thost\t6.1", "independent\tuml-new\t7.2") == ["host", "uml-new"]
    assert firsts("coupled\tqemu\t6.1", "independent\tuml-new\t7.2") == ["uml-new", "qemu"]
    assert firsts("coupled\tqemu\t6.1", "independent\t\twhy") == ["qemu", ""]


def test_other_lanes_are_repeated_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said, well = told([replace(FAILED, lane="fast")], [WELL], monkeypatch, tmp_path, lane="fast")
    assert well
    assert f"fast 6 passed in 0 s (only when run again, alone: {TEST})" in said


def test_what_needs_a_tree_comes_when_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything runs once, and guests do not wait for the trees."""
    made, ran = threading.Event(), []
    parts = {
        "lab": [
            Part("lab", "story", ["tests/lab/test_systemd.py"]),
            Part("lab", "launcher", ["tests/lab/test_lab.py"]),
        ],
        "kernel": [Part("kernel", "first", []), Part("kernel", "last", [])],
        "slow": [Part("slow", "seeds", ["tests/lab/test_systemd.py"])],
        "oldest": [Part("oldest", "old", [])],
    }

    def set_up(part: str) -> None:
        assert made.wait(100), "a guest runs meanwhile"

    def run_part(part: Part, beside: tuple[str, ...] = ()) -> Outcome:
        assert beside == run.BESIDE
        ran.append(part.title)
        if part.title == "first":
            made.set()
        return Outcome(part.lane, passed=1)

    monkeypatch.setattr(run, "kernels", lambda: {"kernel": run.Kernel("coupled", "uml", "6.1")})
    monkeypatch.setattr(run, "set_up", set_up)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / ".venv-oldest/bin").mkdir(parents=True)
    (tmp_path / ".venv-oldest/bin/python").touch()
    monkeypatch.setattr(run, "MEMORY", tmp_path / "repeated.json")
    monkeypatch.setattr(run, "parts_of", lambda lane, outcomes: parts[lane])
    monkeypatch.setattr(run, "run_part", run_part)
    outcomes = run.run_lanes(list(parts))
    assert sorted(ran) == ["first", "last", "launcher", "old", "seeds", "story"]
    assert [outcome.passed for outcome in outcomes] == [2, 2, 1, 1]


def test_when_nothing_else_is_left_there_is_one_guest_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A guest waits half of its time."""
    together = threading.Barrier(4)
    parts = {"slow": [Part("slow", "seeds", [])], "kernel": [Part("kernel", str(number), []) for number in range(4)]}

    def run_part(part: Part, beside: tuple[str, ...] = ()) -> Outcome:
        if part.lane == "kernel":
            together.wait(100)
        return Outcome(part.lane, passed=1)

    monkeypatch.setattr(run, "kernels", lambda: {"kernel": run.Kernel("coupled", "uml", "6.1")})
    monkeypatch.setattr(run, "processes", lambda: 3)
    monkeypatch.setattr(run, "MEMORY", tmp_path / "repeated.json")
    monkeypatch.setattr(run, "TABLES", (str(tmp_path / "kept.json"), str(tmp_path / "measured.json")))
    monkeypatch.setattr(run, "parts_of", lambda lane, outcomes: parts[lane])
    monkeypatch.setattr(run, "run_part", run_part)
    assert [outcome.passed for outcome in run.run_lanes(list(parts))] == [1, 4]


REPORT = """
<testsuites><testsuite>
<testcase classname="tests.cli.test_x" name="test_y" time="2.5"><failure message="m">
    def test_y():
&gt;       assert 1 == 2
E       assert 1 == 2

tests/cli/test_x.py:3: AssertionError
</failure></testcase>
<testcase classname="tests.cli.test_x" name="test_z" time="0.5" />
</testsuite></testsuites>
"""


def test_a_failure_is_told_again_at_the_end() -> None:
    outcome = Outcome("fast")
    run.count(outcome, run.ElementTree.ElementTree(run.ElementTree.fromstring(REPORT)))
    assert outcome.files == {"tests/cli/test_x.py": 3000}
    assert run.told_again([outcome]) == (
        "== what failed, in short\n-- fast: tests/cli/test_x.py::test_y\n"
        "E       assert 1 == 2\ntests/cli/test_x.py:3: AssertionError\n"
    )
    outcome.repeated = ["tests/cli/test_x.py::test_y"]
    assert "test_y, passed when it was run again\n" in run.told_again([outcome])
    assert run.in_short("\n".join(f"E   {number}" for number in range(1000))).count("\n") < run.MOST_LINES
    assert run.told_again([Outcome("fast")]) == ""


def test_the_longest_files_are_dealt_first_and_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "TABLES", (str(tmp_path / "kept.json"), str(tmp_path / "measured.json")))
    (tmp_path / "kept.json").write_text('{"kernel": {"a": 9.0, "b": 5.0, "c": 5.0, "d": 0.5}}')
    assert run.dealt("kernel", ["a", "b", "c", "d", "new"], 2) == [["a", "d", "new"], ["b", "c"]]
    (tmp_path / "measured.json").write_text('{"kernel": {"a": 1.0}}')
    assert run.dealt("kernel", ["a", "b", "c"], 2) == [["b", "a"], ["c"]]
    assert run.dealt("fast", ["a"], 3) == [["a"]]
    parts = [Part("kernel", name, [name]) for name in "abcd"]
    assert [part.title for part in run.longest_first(parts)] == ["b", "c", "a", "d"]


def test_what_cannot_be_had_is_said_and_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    said, well = told([], [], monkeypatch, tmp_path, lane="oldest")
    assert well
    assert "oldest NOT RUN (tests/lab/setup.sh oldest makes what it needs)" in said
    monkeypatch.setattr(run, "kernels", lambda: {"kernel-2": run.Kernel("independent", "", "uml-new: not found: x")})
    outcomes = {"kernel-2": Outcome("kernel-2")}
    run.look_ahead(outcomes)
    said, well = run.summary(list(outcomes.values()))
    assert well
    assert "kernel-2 NOT RUN (uml-new: not found: x)" in said


def test_no_kernel_is_a_failure_where_it_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    outcome = Outcome("kernel")
    outcome.add(Part("kernel", "0", []), NO_WORLD)
    assert run.summary([outcome])[1] is False


HANGING = """
import time

import pytest


@pytest.fixture
def never() -> None:
    time.sleep(20)


def test_waits() -> None:
    time.sleep(20)


def test_goes_on() -> None:
    pass


def test_waits_for_its_fixture(never: None) -> None:
    pass
"""


@pytest.mark.slow
def test_a_test_that_hangs_names_itself(tmp_path: Path) -> None:
    """And the next one still runs. One whose fixture hangs ends the process, and is the one that ran."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    limits = (Path(__file__).parent / "conftest.py").read_text().replace("LIMIT_S = 120", "LIMIT_S = 1")
    limits = limits.replace("LAST_RESORT_S = 30", "LAST_RESORT_S = 5").replace(
        "ARMED_AGAIN_S = 10", "ARMED_AGAIN_S = 0"
    )
    (tmp_path / "conftest.py").write_text(limits)
    words = [sys.executable, "-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", str(tmp_path)]
    running = tmp_path / "running"
    env = {**os.environ, "PYTEAMD_RUNNING": str(running)}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert "HANGS: test_hanging.py::test_waits, more than 1 s" in done.stderr
    assert re.findall("(FAILED|PASSED) ", done.stdout) == ["FAILED", "PASSED"], done.stdout
    assert "in never" in done.stderr, done.stderr
    assert running.read_text() == "test_hanging.py::test_waits_for_its_fixture"


def test_what_does_not_go_away_after_its_report_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LINGER_S", 0.2)
    program = f"import pathlib, time; pathlib.Path({str(tmp_path / 'report.xml')!r}).write_text(''); time.sleep(60)"
    began = time.monotonic()
    said, status, _ = run.supervised([sys.executable, "-c", program], dict(os.environ), tmp_path / "report.xml", 1500)
    assert (status, b"did not go away" in said) == (0, True)
    assert time.monotonic() - began < 30
    assert (
        run.supervised([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ), tmp_path / "none", 1500)[1] == 3
    )


ENDLESS = """
import sys
from pathlib import Path
import run
here = Path(sys.argv.pop())
run.command_for = lambda part, directory: [sys.executable, "-c", "import time; time.sleep(600)"]
run.parts_of = lambda lane, outcomes: [run.Part(lane, str(number), []) for number in range(50)]
run.MEMORY, run.TABLES = here / "repeated.json", (str(here / "kept.json"), str(here / "measured.json"))
run.SETUP = here / "setup.sh"
sys.exit(run.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_ends_all_of_it(number: signal.Signals, tmp_path: Path) -> None:
    """No part goes on, none of those that wait is begun, and what makes a tree ends with what it started."""
    (tmp_path / "setup.sh").write_text("#!/bin/sh\nsleep 601\n: not the last\n")
    (tmp_path / "setup.sh").chmod(0o755)
    words = [sys.executable, "-c", ENDLESS, "fast", "oldest", str(tmp_path)]
    with subprocess.Popen(words, cwd=Path(run.__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while len(children := descendants_of(process.pid)) < run.processes() + 2:
            assert time.monotonic() < until, children
            time.sleep(0.05)
        process.send_signal(number)
        try:
            said, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            for child in (process.pid, *descendants_of(process.pid)):
                os.kill(child, signal.SIGKILL)
            raise
        assert process.returncode == 128 + number, said
        while stay := list(filter(goes_on, children)):
            assert time.monotonic() < until, stay
            time.sleep(0.05)


def descendants_of(pid: int) -> list[int]:
    """Of any thread, and theirs."""
    children = [int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()]
    return children + [each for child in children for each in descendants_of(child)]


def goes_on(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


def test_in_a_slow_world_only_what_both_kernels_show_needs_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is counted, without one; with PYTEAMD_LONG all of it runs there."""
    monkeypatch.setattr(run, "PLACES", {"kernel-2": run.Kernel("coupled", "qemu", "6.1")})
    monkeypatch.setattr(run, "LONG", False)
    waits, *shown = run.parts_of("kernel-2", {"kernel-2": Outcome("kernel-2")})
    in_guests = {Path(file).name for part in shown for file in part.files}
    assert {
        "test_contract.py",
        "test_contract_joining.py",
        "test_scenarios_real.py",
        "test_lacp_differential.py",
    } <= in_guests
    assert not in_guests & {"test_tour.py", "test_lacp.py"}, "the latter is marked for the other kind"
    assert "tests/kernel/test_tour.py" in waits.files
    assert all({"PYTEAMD_KERNEL=few", "--counted"} < {*run.command_for(part, Path("/x"))} for part in shown)
    command = run.command_for(waits, Path("/x"))
    assert command[:3] == ["env", "PYTEAMD_KERNEL=none", "LAB_KIND=coupled"]
    assert "run" not in command
    monkeypatch.setattr(run, "LONG", True)
    parts = run.parts_of("kernel-2", {"kernel-2": Outcome("kernel-2")})
    assert not any(part.waits for part in parts)
    assert all("PYTEAMD_KERNEL=all" in run.command_for(part, Path("/x")) for part in parts)
