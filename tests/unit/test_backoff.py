"""No write is repeated without effect for ever, and ordinary switching is never held back."""

from __future__ import annotations

from pyteamd.backoff import FIRST_DELAY_S, FREE_REPEATS, LONGEST_DELAY_S, Backoff
from pyteamd.model import OptionKey, SetMac, SetMember, SetOption

ON = SetOption(OptionKey("enabled", 5), True)
OFF = SetOption(OptionKey("enabled", 5), False)


def test_fast_switching_is_free() -> None:
    backoff = Backoff()
    for step in range(100):
        write = ON if step % 2 else OFF
        assert backoff.allowed((write,), step * 0.001) == (write,)
        assert backoff.applied((write,), step * 0.001) == []


def test_a_write_undone_by_somebody_is_slowed_down() -> None:
    backoff = Backoff()
    storms = [bool(backoff.applied((ON,), 0.0)) for _ in range(FREE_REPEATS + 1)]
    assert storms == [False] * FREE_REPEATS + [True]
    assert backoff.allowed((ON, OFF), 0.05) == (OFF,)
    assert backoff.deadline(0.05) == FIRST_DELAY_S
    assert backoff.allowed((ON,), FIRST_DELAY_S) == (ON,)
    assert backoff.deadline(FIRST_DELAY_S) is None


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
