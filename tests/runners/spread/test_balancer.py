"""The balancer: even, calm, and fair by weight."""

from __future__ import annotations

import random

import pytest

from pyteamd.runners.spread.balancer import HASHES, HYSTERESIS, Balancer, best_split, octets_in


class Traffic:
    """Flows with given rates, counted as the kernel does."""

    def __init__(self, rates: dict[int, float]) -> None:
        self.rates = rates
        self.totals = dict.fromkeys(rates, 0)

    def interval(self, balancer: Balancer, noise: random.Random | None = None) -> None:
        for value, rate in self.rates.items():
            self.totals[value] += int(rate * (noise.uniform(0.98, 1.02) if noise else 1))
            balancer.count(value, self.totals[value])


def fullness(balancer: Balancer, weights: dict[int, float]) -> float:
    """Load of the fullest port over that of the best split."""
    loads = balancer.loads(weights)
    return max(loads[port] / weights[port] for port in weights) / best_split(balancer.rates, weights)


ELEPHANT_AND_MICE = {7: 40e6, **dict.fromkeys(range(100, 160), 1000000.0)}
TWO = {11: 1.0, 12: 1.0}


@pytest.mark.parametrize(
    ("rates", "weights"),
    [
        (ELEPHANT_AND_MICE, TWO),
        (ELEPHANT_AND_MICE, {11: 1.0, 12: 1.0, 13: 1.0}),
        (ELEPHANT_AND_MICE, {11: 10.0, 12: 1.0}),
        ({value: 1e6 * (value + 1) for value in range(HASHES)}, dict.fromkeys(range(11, 19), 1.0)),
        ({1: 50e6, 2: 50e6}, TWO),
    ],
)
def test_even_within_three_intervals_and_calm_afterwards(rates: dict[int, float], weights: dict[int, float]) -> None:
    balancer = Balancer()
    balancer.mapping = dict.fromkeys(range(HASHES), 11)  # deliberately skewed
    balancer.place(weights)
    traffic = Traffic(rates)
    noise = random.Random(1)
    for _ in range(4):  # the first reading of the counters says nothing
        traffic.interval(balancer, noise)
        balancer.judge(weights)
    assert fullness(balancer, weights) <= 1.1
    settled = dict(balancer.mapping)
    for _ in range(50):
        traffic.interval(balancer, noise)
        assert balancer.judge(weights) == 0
    assert balancer.mapping == settled


def test_values_without_a_port_are_spread_evenly() -> None:
    balancer = Balancer()
    balancer.place({11: 1.0, 12: 1.0, 13: 2.0})
    counts = [list(balancer.mapping.values()).count(port) for port in (11, 12, 13)]
    assert counts == [64, 64, 128]


def test_a_failed_ports_values_move_and_only_they() -> None:
    balancer = Balancer()
    weights = {11: 1.0, 12: 1.0, 13: 1.0}
    balancer.place(weights)
    before = dict(balancer.mapping)
    del weights[12]
    balancer.place(weights)
    moved = {value for value, port in balancer.mapping.items() if port != before[value]}
    assert moved == {value for value, port in before.items() if port == 12}
    balancer.place({})
    assert balancer.mapping == {}


def test_a_new_port_gets_idle_values_at_once_and_busy_ones_when_judged() -> None:
    balancer = Balancer()
    balancer.place({11: 1.0})
    balancer.rates[3] = 1e6
    balancer.place(TWO)
    assert set(balancer.mapping.values()) == {11}
    balancer.place(TWO, spread_idle=True)
    assert list(balancer.mapping.values()).count(12) in (127, 128, 129)
    assert balancer.mapping[3] == 11


def test_a_value_that_has_been_idle_for_long_counts_as_idle() -> None:
    balancer = Balancer()
    balancer.place({11: 1.0})
    for reading in (0, 1_000_000, *[2_000_000] * 30):
        for value in range(HASHES):
            balancer.count(value, reading)
        balancer.judge({11: 1.0})
    balancer.place(TWO, spread_idle=True)
    assert list(balancer.mapping.values()).count(12) in (127, 128, 129)


def test_few_values_move() -> None:
    balancer = Balancer()
    balancer.place(TWO)
    rates = dict.fromkeys(range(HASHES), 1000000.0)
    traffic = Traffic(rates)
    for _ in range(3):
        traffic.interval(balancer)
        assert balancer.judge(TWO) == 0
    busy = next(value for value, port in balancer.mapping.items() if port == 11)
    traffic.rates[busy] = 41e6
    moved = 0
    for _ in range(4):
        traffic.interval(balancer)
        moved += balancer.judge(TWO)
    assert 0 < moved <= 45
    assert balancer.mapping[busy] == 11 or moved == 1
    assert fullness(balancer, TWO) <= HYSTERESIS


def test_little_traffic_and_single_ports_are_left_alone() -> None:
    balancer = Balancer()
    balancer.mapping = dict.fromkeys(range(HASHES), 11)
    balancer.place(TWO)
    traffic = Traffic({1: 100, 2: 100})
    for _ in range(5):
        traffic.interval(balancer)
        assert balancer.judge(TWO) == 0
    traffic = Traffic({1: 1e9, 2: 1e9})
    for _ in range(5):
        traffic.interval(balancer)
        assert balancer.judge({11: 1.0}) == 0


def test_a_counter_that_began_again_is_no_load() -> None:
    balancer = Balancer()
    balancer.place(TWO)
    for octets in (5_000_000, 9_000_000, 1_000):
        balancer.count(3, octets)
        balancer.judge(TWO)
    assert 0 <= balancer.rates[3] <= 4_000_000


@pytest.mark.parametrize(
    ("payload", "octets"), [(b"\x01" + bytes(7), 1), (bytes(8) + b"x", 0), (b"short", None), (5, None)]
)
def test_counters(payload: object, octets: int | None) -> None:
    assert octets_in(payload) == octets
