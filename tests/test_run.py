"""What the runner of the tests makes of its parts: nothing that failed may look as if it had passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import run
from run import Outcome, Part

TEST = "tests/kernel/test_x.py::test_y"
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
        ([OUT_OF_TIME, FAILED], [WELL, WELL], True, f"kernel 7 passed in 0 s (only when run again, alone: {TEST})"),
        ([OUT_OF_TIME], [FAILED, WELL], True, f"(only when run again, alone: {TEST})"),
        ([OUT_OF_TIME], [OUT_OF_TIME], False, "0 passed, 1 failed, 0 skipped\nran: kernel 0 passed in 0 s, ENDED WITHOUT A REPORT: 0"),
        ([OUT_OF_TIME] * (run.MOST_LOST + 1), [WELL] * run.MOST_LOST, False, f"ENDED WITHOUT A REPORT: {run.MOST_LOST}"),
        ([MANY], [WELL] * run.MOST_REPEATS, False, f"FAILED: {MANY.failures[-1]} (only"),
        ([NO_WORLD], [], True, "kernel NOT RUN"),
    ],
)  # fmt: skip
def test_what_is_said(
    parts: list[Outcome], again: list[Outcome], well: bool, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(run, "parts_of", lambda lane: [Part(lane, str(number), []) for number in range(len(parts))])
    repeats = iter(again)

    def run_part(part: Part) -> Outcome:
        return parts[int(part.title)] if part.title.isdigit() else next(repeats)

    monkeypatch.setattr(run, "run_part", run_part)
    said, all_is_well = run.summary(run.run_lanes(["kernel"]))
    assert all_is_well == well
    assert text in said
    assert next(repeats, None) is None, "each was asked for"


def test_no_kernel_is_a_failure_where_it_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    outcome = Outcome("kernel")
    outcome.add(Part("kernel", "0", []), NO_WORLD)
    assert run.summary([outcome])[1] is False
