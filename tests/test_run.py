"""What the runner of the tests makes of its parts: nothing that failed may look as if it had passed."""

from __future__ import annotations

import pytest
import run
from run import Outcome, Part

FAILED = Outcome("kernel", status=1, passed=5, failed=1, failures=("tests/kernel/test_x.py::test_y",))
OUT_OF_TIME = Outcome("kernel", status=124)
NO_WORLD = Outcome("kernel", status=run.EXIT_NO_WORLD)


@pytest.mark.parametrize(
    ("parts", "again", "well", "text"),
    [
        ([Outcome("kernel", passed=3)], None, True, "kernel 3 passed in 0 s"),
        ([FAILED], Outcome("kernel", passed=1), True, "(1 of them only when run again, alone)"),
        ([FAILED], FAILED, False, "1 FAILED"),
        ([FAILED], OUT_OF_TIME, False, "1 FAILED"),
        ([FAILED, OUT_OF_TIME], Outcome("kernel", passed=1), False, "1 parts ENDED WITHOUT A REPORT"),
        ([OUT_OF_TIME, FAILED], Outcome("kernel", passed=1), False, "1 parts ENDED WITHOUT A REPORT, status 124"),
        ([OUT_OF_TIME], None, False, "1 parts ENDED WITHOUT A REPORT, status 124"),
        ([NO_WORLD], None, True, "kernel NOT RUN"),
    ],
)
def test_what_is_said(
    parts: list[Outcome], again: Outcome | None, well: bool, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(run, "parts_of", lambda lane: [Part(lane, str(number), []) for number in range(len(parts))])

    def run_part(part: Part) -> Outcome:
        outcome = parts[int(part.title)] if part.title.isdigit() else again
        assert outcome is not None
        return outcome

    monkeypatch.setattr(run, "run_part", run_part)
    said, all_is_well = run.summary(run.run_lanes(["kernel"]))
    assert all_is_well == well
    assert text in said
