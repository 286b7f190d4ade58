"""Damping: when a port that flaps is held out, for how long at most, and how LACP takes it."""

from __future__ import annotations

import pytest
from lacp_bench import Bench

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.damping import Damping, DampingConfig
from pyteamd.model.events import Tick
from pyteamd.runners import RUNNERS

PORT = PortNow(3, "em1", bytes(6), True, True, True)
CONFIG = DampingConfig(penalty=1000, half_life=5, suppress=2000, reuse=1000, max=20)


def flapped(times: int, config: DampingConfig = CONFIG) -> Damping:
    """After so many flaps at the same moment."""
    one = Damping(config, {}, False)
    one.start(PORT, 0.0)
    for _ in range(times):
        one.went_down(PORT, 0.0)
    return one


@pytest.mark.parametrize(("times", "until_s"), [(1, None), (2, 5.0), (4, 10.0), (16, 20.0), (1000, 20.0)])
def test_how_long_a_port_is_held_out(times: int, until_s: float | None) -> None:
    one = flapped(times)
    assert one.deadline() == (None if until_s is None else pytest.approx(until_s))
    assert one.up is (until_s is None)
    if until_s is not None:
        one.tick(PORT, until_s - 0.01)
        assert not one.up
        one.tick(PORT, one.deadline() or 0.0)
        assert one.up


def test_the_longest_time_holds_where_the_penalty_decays_more_slowly() -> None:
    slow = flapped(2, DampingConfig(penalty=1000, half_life=60, suppress=2000, reuse=1000, max=1))
    assert slow.deadline() == 1.0
    assert slow.verdict().rest == ", held out for at most 1 s after the last flap"
    slow.tick(PORT, 1.0)
    assert slow.up


@pytest.mark.parametrize(("times", "penalty"), [(2, 2000), (1000, 16000)])
def test_what_ends_the_hold_is_told(times: int, penalty: int) -> None:
    assert flapped(times).verdict().rest == f", until its penalty ({penalty} at the last flap) is down to 1000"


def test_a_flap_in_the_meantime_takes_longer_and_a_quiet_time_forgives() -> None:
    one = flapped(2)
    one.went_down(PORT, 2.5)
    assert one.deadline() == pytest.approx(2.5 + 5 * 1.2715, abs=0.01)
    quiet = flapped(1)
    quiet.went_down(PORT, 5.0)
    assert quiet.up
    assert quiet.penalty(5.0) == pytest.approx(1500)


@pytest.mark.parametrize(
    ("damping", "problem"),
    [
        ('{"half_life": 5, "reuse": 2000}', "must be below damping.suppress"),
        ('{"half_life": 0}', "out of range"),
        ('{"half_live": 5}', "did you mean"),
    ],
)
def test_wrong_settings_are_named(damping: str, problem: str) -> None:
    text = f'{{"device": "team0", "runner": {{"name": "lacp"}}, "ports": {{"em1": {{"damping": {damping}}}}}}}'
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    assert any(problem in str(one) for one in config.port("em1").problems)


def test_lacp_takes_a_port_that_is_held_out_for_one_without_a_link() -> None:
    bench = Bench()
    bench.serve()
    bench.said(3)
    bench.ports[3].damped = bench.ports[3].gated = True
    bench.handle(Tick())
    assert bench.enabled() == {4}
    assert bench.rx(3) == "disabled"
    assert [pdu.actor.state & 0x30 for pdu in bench.said(3)] == [0], "the partner is told before"
    bench.ports[3].damped = bench.ports[3].gated = False
    bench.handle(Tick())
    assert bench.rx(3) == "expired"
