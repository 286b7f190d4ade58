"""What `config apply` says beforehand is true for as long as it can be broken, and every change gets back into service."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from lacp_bench import Bench, FakePort
from lacp_pair import Box, World

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.schema.option import options_of

LONGEST_S = 135.0
"""Longer than any timeout at either rate, and what follows it."""
PORTS = {3: LacpPortConfig(), 4: LacpPortConfig(), 5: LacpPortConfig(lacp_key=7, lacp_prio=300, prio=5)}
WAYS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"fast_rate": True}, {"fast_rate": False}),
    ({"fast_rate": False}, {"fast_rate": True}),
    ({"active": True}, {"active": False}),
    ({"active": False}, {"active": True}),
    ({}, {"sys_prio": 7}),
    ({}, {"min_ports": 2}),
    ({}, {"min_ports": 3}),
    ({}, {"max_ports": 1}),
    ({"max_ports": 1}, {"max_ports": None}),
    ({}, {"key_policy": "speed"}),
    ({}, {"system_id": b"\x02\0\0\0\0\x77"}),
    ({"agg_select_policy": "lacp_prio"}, {"agg_select_policy": "port_config"}),
    ({"agg_select_policy": "port_config"}, {"agg_select_policy": "count"}),
    ({"agg_select_policy": "lacp_prio"}, {"agg_select_policy": "lacp_prio_stable"}),
    ({"agg_select_policy": "count"}, {"agg_select_policy": "bandwidth"}),
    ({}, {"fallback": "static"}),
    ({"fallback": "static"}, {"fallback": "individual"}),
    ({}, {"fallback_delay": 1000}),
)


def served(box: Box) -> tuple[frozenset[int], Any]:
    return frozenset(box.serving()), box.observed.carrier


def met(before: dict[str, Any], **partner: Any) -> tuple[World, Box, Box]:
    world = World()
    box, far = Box(world, "a", PORTS, **before), Box(world, "b", PORTS, **partner)
    for one in (box, far):
        one.start()
    for ifindex in PORTS:
        world.connect((box, ifindex), (far, ifindex))
    world.run(10.0)
    assert box.serving()
    return world, box, far


def test_every_option_is_among_the_changes() -> None:
    own = [name for name in options_of(LacpConfig) if not name.startswith("tx_")]
    assert set(own) == {name for _, after in WAYS for name in after}


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), WAYS)
@pytest.mark.parametrize("partner", [{"active": True}, {"active": False}, {"active": True, "fast_rate": False}])
def test_no_interruption_means_none(before: dict[str, Any], after: dict[str, Any], partner: dict[str, Any]) -> None:
    if not (before.get("active", True) or partner["active"]):
        pytest.skip("two passive ends never meet")
    world, box, far = met(before, **partner)
    was = served(box)
    least: list[frozenset[int]] = []
    box.checks.append(lambda box: least.append(frozenset(box.serving())))
    told = box.configure(**after)
    world.run(LONGEST_S)
    carrier_lost = any(name == "carrier" and value is False and at >= 10.0 for at, name, value in box.writes)
    lost = carrier_lost or any(not was[0] <= now for now in least)
    assert told != "none" or not lost, f"{was} became {min(least, key=len)}"
    silent = not (box.config.active or far.config.active)
    assert bool(box.serving()) is not silent
    assert box.serving() == far.serving()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"lacp_prio": 7}, {"lacp_key": 3}, {"wait_to_restore": 5}, {"sticky": True}, {"prio": 9}]
)
@pytest.mark.parametrize("policy", ["lacp_prio", "port_config", "count"])
def test_changes_of_a_port(settings: dict[str, Any], policy: str) -> None:
    world, box, far = met({"agg_select_policy": policy})
    before = box.serving()
    least: list[set[int]] = []
    box.checks.append(lambda box: least.append(box.serving()))
    told = box.configure({3: settings})
    world.run(LONGEST_S)
    assert told == ("port" if set(settings) & {"lacp_prio", "lacp_key"} else "none")
    assert told == "port" or all(before <= now for now in least)
    assert box.serving() == far.serving() != set()


@pytest.mark.parametrize(("was_fast", "heard_s_ago"), list(itertools.product((True, False), (0.0, 0.9, 2.9))))
def test_a_slower_rate_lengthens_the_patience_that_runs(was_fast: bool, heard_s_ago: float) -> None:
    bench = Bench(FakePort(3), fast_rate=was_fast)
    bench.serve()
    bench.hear(3)
    bench.wait(heard_s_ago)
    config = LacpConfig(fast_rate=False)
    assert bench.runner.disruption("fast_rate", config, bench.view) == "none"
    bench.runner.reconfigure(config, bench.view, bench.now)
    bench.changed(3)
    assert bench.said(3)[-1].actor.state & 0x02 == 0
    bench.wait(90.0 - heard_s_ago)
    assert bench.enabled() == {3}
    bench.wait(heard_s_ago + 1.0)
    assert bench.enabled() == set()


@pytest.mark.parametrize(("partner_state", "told"), [(0x3E, "team"), (0x3F, "none")])
def test_passive_beside_a_passive_partner_is_an_interruption(partner_state: int, told: str) -> None:
    bench = Bench(FakePort(3))
    for _ in range(4):
        bench.hear(3, state=partner_state)
        bench.wait(1.0)
    assert bench.enabled() == {3}
    assert bench.runner.disruption("active", LacpConfig(fast_rate=True, active=False), bench.view) == told
    assert bench.runner.disruption("active", LacpConfig(fast_rate=True), bench.view) == "none"


def test_a_passive_end_says_a_last_word_before_it_falls_silent() -> None:
    """The partner hears us, we do not hear it: it must learn that we gave it up."""
    bench = Bench(FakePort(3), active=False)
    bench.serve()
    bench.said(3)
    bench.wait(10.0)
    said = [pdu.actor.state for pdu in bench.said(3)]
    assert said[-1] == 0x46, "defaulted, out of sync"
    assert said.count(0x46) == 1
    silent = Bench(FakePort(3), active=False)
    silent.wait(200.0)
    assert silent.said(3) == [], "who never spoke has no last word"


@pytest.mark.parametrize(("written", "meant"), [(True, "individual"), (False, "off"), ("static", "static")])
def test_fallback_as_sonic_writes_it(written: Any, meant: str) -> None:
    text = json.dumps({"device": "t", "runner": {"name": "lacp", "fallback": written}})
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    assert config.runner.fallback == meant


def test_a_fallback_that_is_configured_is_in_the_state() -> None:
    assert "fallback" not in Bench().runner.state(Bench().view)
    bench = Bench(FakePort(3), fallback="individual")
    assert bench.runner.state(bench.view)["fallback"] is True
