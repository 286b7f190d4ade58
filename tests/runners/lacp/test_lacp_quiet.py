"""What nothing can be done about is said once: aggregates that are tried in turn, and churn that comes with it."""

from __future__ import annotations

import pytest
from lacp_bench import PARTNER_MAC, Bench, FakePort

from pyteamd.runners.lacp.churn import ChurnDetection

STRANGER = b"\x02\xcc\0\0\0\x01"
OUT_OF_SYNC = 0x07


def hear_both(bench: Bench, seconds: int, first: int = OUT_OF_SYNC, second: int = OUT_OF_SYNC) -> list[str]:
    """Two partners speak every second; what the log was told."""
    told = len(bench.notes)
    for _ in range(seconds):
        bench.hear(3, state=first)
        bench.hear(4, state=second, mac=STRANGER)
        bench.wait(1.0)
    return bench.notes[told:]


def choices(said: list[str]) -> list[str]:
    return [line.split(" (")[0] for line in said if "ggregator" in line]


NAMED_ONCE = [
    "Selected aggregator led by eth3",
    "Selected aggregator led by eth4",
    "No aggregator carries traffic; they are tried in turn, the next line names the one that does.",
]


def test_aggregates_none_of_which_carries_are_named_once() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    assert choices(hear_both(bench, 45)) == NAMED_ONCE


def test_nor_are_they_named_again_when_all_were_silent_meanwhile() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    hear_both(bench, 30)
    bench.wait(10.0)
    assert bench.rx(3) == bench.rx(4) == "defaulted"
    assert choices(hear_both(bench, 10)) == []


def test_what_there_was_no_room_for_is_told_within_a_minute() -> None:
    """Two partners meet on one link, and then one of them is left: it says the same again and again, nothing else happens."""
    bench = Bench(FakePort(3))
    for turn in range(25):
        bench.hear(3, state=OUT_OF_SYNC, mac=(PARTNER_MAC, STRANGER)[turn % 2])
        bench.wait(0.1)
    in_a_hurry = [line for line in bench.notes if "Selected aggregator" in line]
    for _ in range(70):
        bench.hear(3, state=OUT_OF_SYNC, mac=PARTNER_MAC, key=9)
        bench.wait(1.0)
    lines = [line for line in bench.notes if "Selected aggregator" in line]
    assert len(in_a_hurry) == 10, bench.notes
    assert "key 9" in lines[-1], f"told last: {lines[-1]}"


def test_churn_is_told_once_until_both_ends_have_been_in_sync() -> None:
    churn = ChurnDetection()
    churn.watch(0.0)
    assert churn.step(False, False, 60.0) == (True, True)
    assert [churn.is_news(end) for end in ("actor", "partner", "actor")] == [True, True, False]
    churn.step(True, False, 61.0)
    churn.step(False, True, 62.0)
    assert not churn.is_news("actor")
    churn.step(True, True, 63.0)
    assert churn.is_news("actor")


@pytest.mark.slow
def test_however_long_it_lasts() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    said = hear_both(bench, 900)
    assert choices(said) == NAMED_ONCE
    churns = sorted(line.split(":")[0] + line.split(":")[1] for line in said if "churn" in line)
    assert churns == [f"eth{port} {end} churn" for port in (3, 4) for end in ("actor", "partner")]
    counted = [bench.state(port)["details"]["counters"]["actor_churns"] for port in (3, 4)]
    assert min(counted) > 1, "told once, counted every time"


@pytest.mark.slow
def test_the_one_that_carries_at_last_is_named_and_the_next_trouble_as_well() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    hear_both(bench, 300)
    said = hear_both(bench, 100, second=0x3F)
    assert bench.enabled() == {4}
    assert choices(said) == ["Selected aggregator led by eth4"]
    said = hear_both(bench, 300)
    assert "Selected aggregator led by eth3" in choices(said)
    assert choices(said).count(NAMED_ONCE[-1]) == 1
    assert "eth4: partner churn: not in sync for a minute." in said
