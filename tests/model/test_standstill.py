"""A process that notices a timer late reads first, once."""

from __future__ import annotations

import pytest

from pyteamd.model.standstill import Silence

SILENCE = Silence(100.0)


@pytest.mark.parametrize(
    ("now", "judged"),
    [
        (99.9, SILENCE),
        (100.0, None),
        (100.5, None),
        (100.75, Silence(100.875, put_off=True)),
        (160.0, Silence(160.125, put_off=True)),
    ],
)
def test_only_a_silence_that_is_noticed_late_is_judged_later(now: float, judged: Silence | None) -> None:
    assert SILENCE.judge(now, late_s=0.5, reading_s=0.125) == judged


def test_who_is_always_late_judges_at_the_second_time() -> None:
    put_off = SILENCE.judge(101.0)
    assert put_off is not None
    assert put_off.judge(101.004) == put_off
    assert put_off.judge(102.0) is None
