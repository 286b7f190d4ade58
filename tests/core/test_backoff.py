"""No write is repeated without effect again and again, and ordinary switching is never held back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyteamd.core.backoff import (
    BACK_AND_FORTH,
    FIRST_DELAY_S,
    FREE_CHANGES,
    FREE_REPEATS,
    LONGEST_DELAY_S,
    STEADY_S,
    UNDONE,
    Backoff,
)
from pyteamd.model.desired import OptionKey, SetMac, SetMember, SetOption

ON = SetOption(OptionKey("enabled", 5), True)
OFF = SetOption(OptionKey("enabled", 5), False)


def test_switching_that_follows_from_links_is_free() -> None:
    backoff = Backoff()
    team_wide = SetMac(9, b"x"), SetMac(9, b"y")
    for step in range(100):
        for write in ((ON, OFF)[step % 2], team_wide[step % 2]):
            assert backoff.allowed((write,), step * 0.001) == (write,)
            assert backoff.applied((write,), step * 0.001) == []
        backoff.forget_port(5)


def fight(
    backoff: Backoff, writes: Sequence[SetOption], seconds: float, *, start: float = 0.0, refused: bool = False
) -> tuple[int, list[str]]:
    """A user makes us want one after the other, a thousand times a second. How many were written, and what was said."""
    written, said = 0, []
    for step in range(round(seconds * 1000)):
        now, write = start + step / 1000, writes[step % len(writes)]
        backoff.deadline(now)  # the team asks before it writes, and afterwards
        if backoff.allowed((write,), now):
            written += 1
            if refused and write == OFF:
                backoff.refused(write, now)
            else:
                said += [why for _, why in backoff.applied((write,), now)]
        backoff.deadline(now)
    return written, said


@pytest.mark.parametrize("writes", [(ON, OFF), (ON, ON, OFF), (ON, OFF, ON, ON, ON)])
def test_switching_back_and_forth_is_bounded_and_said_once(writes: Sequence[SetOption]) -> None:
    backoff = Backoff()
    written, said = fight(backoff, writes, 5.0)
    assert FREE_CHANGES < written <= FREE_CHANGES + 5.0 / STEADY_S
    assert said.count(BACK_AND_FORTH) == 1
    assert backoff.allowed((ON, OFF), 200.0) == (ON, OFF)
    assert backoff.deadline(200.0) is None
    assert fight(backoff, writes, 0.003, start=200.0)[1] == []


def test_switching_between_what_is_taken_and_what_is_refused_is_bounded() -> None:
    written, _ = fight(Backoff(), (ON, OFF), 5.0, refused=True)
    assert FREE_CHANGES < written <= FREE_CHANGES + 5.0 / STEADY_S


def test_another_value_does_not_wait_for_the_end_of_a_refusal() -> None:
    backoff = Backoff()
    fight(backoff, (ON, OFF), 1.1, refused=True)
    for step in range(3):
        backoff.refused(OFF, 1.1 + step / 1000)
    now = 1.103
    assert backoff.allowed((ON, OFF), now) == ()
    wake = backoff.deadline(now)
    assert wake is not None
    assert wake - now < 5 * STEADY_S
    assert backoff.allowed((ON, OFF), wake) == (ON,)
    later = backoff.deadline(wake)
    assert later is not None
    assert later - now > 1.0
    assert backoff.allowed((ON, OFF), later) == (ON, OFF)


def test_ten_switches_a_second_are_no_fight() -> None:
    backoff = Backoff()
    for step in range(200):
        write, now = (ON, OFF)[step % 2], step * STEADY_S
        assert backoff.allowed((write,), now) == (write,)
        assert backoff.applied((write,), now) == []


def test_a_write_undone_by_a_program_is_slowed_down_and_that_is_said_once() -> None:
    backoff = Backoff()
    storms = [backoff.applied((ON,), 0.0) for _ in range(FREE_REPEATS + 1)]
    assert storms == [[]] * FREE_REPEATS + [[(ON, UNDONE)]]
    assert backoff.allowed((ON, OFF), 0.05) == (OFF,)
    assert backoff.deadline(0.05) == FIRST_DELAY_S
    assert backoff.allowed((ON,), FIRST_DELAY_S) == (ON,)
    assert backoff.deadline(FIRST_DELAY_S) is None
    assert backoff.applied((ON,), FIRST_DELAY_S) == []
    assert backoff.allowed((ON,), 4 * FIRST_DELAY_S) == ()


def test_slow_repeats_are_no_storm() -> None:
    backoff = Backoff()
    assert not any(backoff.applied((ON,), 2.0 * step) for step in range(50))


def test_refusals_wait_longer_and_longer() -> None:
    backoff = Backoff()
    now = 0.0
    delays = []
    for times in range(1, 9):
        assert backoff.refused(ON, now) == times
        until = backoff.deadline(now)
        assert until is not None
        delays.append(round(until - now, 3))
        now = until
    assert delays == [0.1, 0.4, 1.6, 6.4, 25.6, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S]


def test_news_of_a_port_make_it_free() -> None:
    backoff = Backoff()
    for write in (ON, SetMac(5, b"x"), SetMember(5, True), SetMember(6, True)):
        backoff.refused(write, 0.0)
    backoff.forget_port(5)
    held = (ON, SetMac(5, b"x"), SetMember(5, True), SetMember(6, True))
    assert backoff.allowed(held, 0.0) == held[:3]


def test_success_after_refusals_is_no_repetition() -> None:
    backoff = Backoff()
    for step in range(FREE_REPEATS + 2):
        backoff.refused(ON, float(step))
    assert backoff.applied((ON,), 100.0) == []
