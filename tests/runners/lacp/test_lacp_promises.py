"""What `config apply` says beforehand is true for as long as it can be broken, and every change gets back into service."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from lacp_bench import Bench, FakePort
from lacp_pair import Box, World

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.events import ConfigApply
from pyteamd.runners import RUNNERS
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.schema.option import options_of
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

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
    alone_and_better = "lacp_key" in settings and policy == "lacp_prio"
    assert told == ("team" if alone_and_better else "port" if {"lacp_prio", "lacp_key"} & set(settings) else "none")
    assert told != "none" or all(before <= now for now in least)
    assert told != "port" or all(before - {3} <= now for now in least)
    assert box.serving() == far.serving() != set()


LINKS = (3, 4, 5, 6)
PARTNERS = (b"\x02\xaa\0\0\0\x01", b"\x02\xcc\0\0\0\x01")
RUNNER_CHANGES: dict[str, tuple[Any, ...]] = {
    "active": (True, False),
    "fast_rate": (True, False),
    "min_ports": (1, 2, 3),
    "max_ports": (None, 1, 2),
    "agg_select_policy": ("lacp_prio", "lacp_prio_stable", "bandwidth", "count", "port_config"),
    "fallback": ("off", "static", "individual"),
    "fallback_delay": (0, 1500),
}
PORT_CHANGES: dict[str, tuple[Any, ...]] = {
    "lacp_prio": (1, 255, 256),
    "lacp_key": (0, 5),
    "wait_to_restore": (0, 3),
    "sticky": (True, False),
    "prio": (0, 1, 5),
}


class Scene:
    """Ports whose partners, one or two, are in sync whatever is asked of them, or say nothing at all; and one `config apply`."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        ports = [FakePort(i, config=self._settings(), speed_mbps=random.choice((1000, 10_000))) for i in LINKS]
        for port in ports:
            port.priority = port.config.prio
        runner = {name: random.choice(values) for name, values in RUNNER_CHANGES.items()} | {
            "min_ports": random.choice((1, 1, 2))
        }
        self.bench = Bench(*ports, sys_prio=1, **(runner | {"active": True, "fast_rate": True}))
        silent = random.random() < 0.15
        self.partners = {} if silent else {i: random.choice(PARTNERS) for i in LINKS}

    def _settings(self) -> LacpPortConfig:
        return LacpPortConfig(**{name: self.random.choice(values) for name, values in PORT_CHANGES.items()})

    def live(self, seconds: int) -> list[tuple[set[int], bool | None]]:
        """This many seconds. Returns what served, and the carrier, after each event of them."""
        seen = []
        for _ in range(seconds):
            for ifindex, mac in self.partners.items():
                self.bench.hear(ifindex, mac=mac)
                seen.append(self.now())
            self.bench.wait(1.0)
            seen.append(self.now())
        return seen

    def flap(self) -> None:
        """A link comes back: it waits for others, or to restore, when the change comes."""
        if self.random.random() < 0.5:
            port = self.random.choice(list(self.bench.ports.values()))
            for port.running in (False, True):
                self.bench.changed(port.ifindex)
            self.live(self.random.randrange(4))

    def now(self) -> tuple[set[int], bool | None]:
        return self.bench.enabled(), self.bench.runner.desired(self.bench.view).carrier

    def apply(self) -> tuple[str, int]:
        """Something of the runner or of one port changes. Returns what is said beforehand, and the port it is about."""
        random, bench = self.random, self.bench
        config, settings = bench.runner.config, {i: port.config for i, port in bench.ports.items()}
        ifindex = random.choice(list(settings))
        if random.random() < 0.5:
            name, values = random.choice(list(RUNNER_CHANGES.items()))
            config = replace(config, **{name: random.choice(values)})
            told = bench.runner.disruption(name, config, settings, bench.view)
        else:
            name, values = random.choice(list(PORT_CHANGES.items()))
            settings[ifindex] = replace(settings[ifindex], **{name: random.choice(values)})
            told = bench.runner.port_disruption(ifindex, name, config, settings, bench.view)
        for port in bench.ports.values():
            port.config = settings[port.ifindex]
            port.priority = port.config.prio
        bench.runner.reconfigure(config, bench.view, bench.now)
        bench.handle(ConfigApply(""))
        return told, ifindex


def promised(seed: int) -> None:
    scene, unchanged = Scene(seed), Scene(seed)
    for one in (scene, unchanged):
        one.live(12)
        one.flap()
    ports, carrier = scene.now()
    anyway = [unchanged.now(), *unchanged.live(12)]
    told, ifindex = scene.apply()
    after = [scene.now(), *scene.live(12)]
    lost = set().union(*(ports - now for now, _ in after)) - set().union(*(ports - now for now, _ in anyway))
    carriers = {now for _, now in after} - {now for _, now in anyway} | {carrier}
    seen = (
        f"seed {seed}: {told} was said, and {sorted(lost)} of {sorted(ports)} went, carrier {carrier} became {carriers}"
    )
    if told == "none":
        assert not lost, seen
    elif told == "port":
        assert lost <= {ifindex}, seen
    assert told == "team" or not carrier or carriers == {True}, seen


SOME = [
    (*range(4), 356),
    pytest.param(range(4, 2000 if os.environ.get("PYTEAMD_LONG") else 100), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("some", SOME)
def test_no_change_of_anything_interrupts_more_than_is_said(some: Iterable[int]) -> None:
    """356: what takes the place of the aggregate in use a moment later has fewer ports than `min_ports` asks for then.
    1671: a port whose link has just come back makes another aggregate the better one as soon as its partner speaks again, or
    has its place back in the one in use (2389), or is given up and falls back (2346)."""
    for seed in some:
        promised(seed)


def two_partners(*, agg_select_policy: str, **better: Any) -> Bench:
    """Port 3 is in service, and what it could be left for is in sync on ports 4 and 5."""
    ports = [FakePort(3, config=LacpPortConfig(**better)), *(FakePort(i) for i in (4, 5))]
    ports[0].priority = ports[0].config.prio
    bench = Bench(*ports, sys_prio=1, agg_select_policy=agg_select_policy)
    meet(bench, 3)
    meet(bench, 3, 4, 5)
    assert bench.enabled() == {3}
    return bench


def meet(bench: Bench, *ports: int, seconds: int = 5) -> None:
    for _ in range(seconds):
        for ifindex in ports:
            bench.hear(ifindex, mac=PARTNERS[ifindex != 3])
        bench.wait(1.0)


@pytest.mark.parametrize(
    ("policy", "was", "ifindex", "becomes"),
    [
        ("port_config", {"sticky": True}, 3, {"sticky": False}),
        ("port_config", {"prio": 1}, 4, {"prio": 9}),
        ("lacp_prio", {"lacp_prio": 10}, 4, {"lacp_prio": 1}),
    ],
)
def test_settings_of_a_port_that_lead_to_another_aggregate_interrupt_the_team(
    policy: str, was: dict[str, Any], ifindex: int, becomes: dict[str, Any]
) -> None:
    bench = two_partners(agg_select_policy=policy, **was)
    if "sticky" in was:
        bench.ports[4].config = replace(bench.ports[4].config, prio=9)
        bench.ports[4].priority = 9
        meet(bench, 3, 4, 5)
        assert bench.enabled() == {3}, "it is sticky"
    settings = {i: replace(port.config, **(becomes if i == ifindex else {})) for i, port in bench.ports.items()}
    (name,) = becomes
    assert bench.runner.port_disruption(ifindex, name, bench.runner.config, settings, bench.view) == "team"
    assert bench.runner.port_disruption(ifindex, "weight", bench.runner.config, settings, bench.view) == "none"
    bench.ports[ifindex].config = settings[ifindex]
    bench.ports[ifindex].priority = settings[ifindex].prio
    bench.runner.reconfigure(bench.runner.config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    meet(bench, 3, 4, 5)
    assert 3 not in bench.enabled()


def told_and_seen(
    bench: Bench, partners: dict[int, bytes], ports: dict[int, dict[str, Any]], **runner: Any
) -> tuple[list[str], set[int]]:
    """What is said before `config apply` of these changes, and which of the ports in service went out of it in ten seconds."""
    config = replace(bench.runner.config, **runner)
    settings = {i: replace(port.config, **ports.get(i, {})) for i, port in bench.ports.items()}
    told = [bench.runner.disruption(name, config, settings, bench.view) for name in runner]
    told += [
        bench.runner.port_disruption(i, name, config, settings, bench.view) for i, one in ports.items() for name in one
    ]
    before, lost = bench.enabled(), set[int]()
    for ifindex, port in bench.ports.items():
        port.config = settings[ifindex]
        port.priority = port.config.prio
    bench.runner.reconfigure(config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    lost |= before - bench.enabled()
    for _ in range(10):
        for ifindex, mac in partners.items():
            bench.hear(ifindex, mac=mac)
            lost |= before - bench.enabled()
        bench.wait(1.0)
        lost |= before - bench.enabled()
    return told, lost


def test_a_port_that_need_not_wait_any_longer_may_take_the_service_over() -> None:
    bench = Bench(FakePort(3, config=LacpPortConfig(wait_to_restore=600)), FakePort(4), sys_prio=1)
    partners = {3: PARTNERS[0], 4: PARTNERS[1]}
    meet(bench, 3, 4)
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    meet(bench, 3, 4, seconds=8)
    assert bench.enabled() == {4}
    assert told_and_seen(bench, partners, {3: {"wait_to_restore": 900}}) == (["none"], set())
    assert told_and_seen(bench, partners, {3: {"wait_to_restore": 0}}) == (["team"], {4})


def test_so_may_a_better_aggregate_that_still_waits_under_another_policy() -> None:
    bench = Bench(FakePort(3, running=False), FakePort(4), sys_prio=1, agg_select_policy="lacp_prio_stable")
    meet(bench, 4)
    bench.ports[3].running = True
    bench.changed(3)
    meet(bench, 3, 4, seconds=1)
    partners = {3: PARTNERS[0], 4: PARTNERS[1]}
    assert told_and_seen(bench, partners, {}, agg_select_policy="lacp_prio") == (["team"], {4})


@pytest.mark.parametrize(("first_is_well", "told"), [(True, "team"), (False, "none")])
def test_a_port_that_stands_by_takes_a_place_as_soon_as_its_partner_follows(first_is_well: bool, told: str) -> None:
    """Port 5 becomes better than 4: at once nothing happens, for its partner says out of sync to one that stands by."""
    ports = [FakePort(3, running=first_is_well), FakePort(4), FakePort(5, config=LacpPortConfig(lacp_prio=300))]
    bench = Bench(*ports, sys_prio=1, max_ports=1 + first_is_well)

    def live(seconds: int) -> None:
        for _ in range(seconds):
            for ifindex in (3, 4, 5) if first_is_well else (4, 5):
                bench.hear(ifindex, state=0x3F if bench.actor(ifindex).state & 0x08 else 0x07)
            bench.wait(1.0)

    live(6)
    before = bench.enabled()
    assert before == ({3, 4} if first_is_well else {4})
    priority = 100 if first_is_well else 299
    settings = {i: replace(port.config, lacp_prio=priority if i == 5 else 255) for i, port in bench.ports.items()}
    said = bench.runner.port_disruption(5, "lacp_prio", bench.runner.config, settings, bench.view)
    assert said == (told if told == "team" else "port")
    bench.ports[5].config = settings[5]
    bench.runner.reconfigure(bench.runner.config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    live(6)
    assert (bench.enabled() == before) is (told == "none")


def test_what_comes_about_anyway_is_not_told_of_a_change() -> None:
    """Port 3 is better than 4 and stands by, for its partner is out of sync; a limit that changes nothing is no interruption."""
    bench = Bench(FakePort(3), FakePort(4), FakePort(5), sys_prio=1, max_ports=2)
    for _ in range(6):
        for ifindex in (3, 4, 5):
            bench.hear(ifindex, state=0x07 if ifindex == 3 else 0x3F)
        bench.wait(1.0)
    assert bench.enabled() == {4, 5}
    settings = {i: port.config for i, port in bench.ports.items()}
    for max_ports, told in ((3, "none"), (None, "none"), (1, "team")):
        config = replace(bench.runner.config, max_ports=max_ports)
        assert bench.runner.disruption("max_ports", config, settings, bench.view) == told
    same = replace(bench.runner.config, agg_select_policy="lacp_prio_stable")
    assert bench.runner.disruption("agg_select_policy", same, settings, bench.view) == "none"


def test_a_port_that_has_to_be_known_again_may_be_missed_meanwhile() -> None:
    """Where ports are counted, the moment for which it is out of service is enough for another aggregate to be the larger one."""
    bench = Bench(*(FakePort(i) for i in (3, 4, 5, 6)), sys_prio=1, agg_select_policy="count")
    partners = {3: PARTNERS[0], 4: PARTNERS[0], 5: PARTNERS[1], 6: PARTNERS[1]}
    assert told_and_seen(bench, partners, {}) == ([], set())
    assert bench.enabled() == {3, 4}
    assert told_and_seen(bench, partners, {3: {"lacp_prio": 100}}) == (["team"], {3, 4})


@pytest.mark.parametrize(
    ("min_ports", "changed", "told"),
    [(2, (3,), "team"), (2, (3, 4), "port"), (1, (3,), "port"), (1, (3, 4, 5), "team"), (1, (3, 4), "port")],
)
def test_ports_that_have_to_be_known_again_may_be_too_few_for_the_carrier(
    min_ports: int, changed: tuple[int, ...], told: str
) -> None:
    several = (3, 4) if (min_ports, changed) == (2, (3,)) else (3, 4, 5, 6) if min_ports == 2 else (3, 4, 5)
    bench = Bench(*(FakePort(i) for i in several), min_ports=min_ports)
    bench.serve()
    settings = {i: replace(port.config, lacp_prio=100 if i in changed else 255) for i, port in bench.ports.items()}
    for ifindex in changed:
        said = bench.runner.port_disruption(ifindex, "lacp_prio", bench.runner.config, settings, bench.view)
        assert said == told
    for ifindex, port in bench.ports.items():
        port.config = settings[ifindex]
    bench.runner.reconfigure(bench.runner.config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    assert (bench.runner.desired(bench.view).carrier is False) is (told == "team")


ADDED = [
    ({}, {}, "none", "if its partner is another one"),
    ({}, {"lacp_key": 5}, "team", "its key makes it another aggregate"),
    ({"agg_select_policy": "lacp_prio_stable"}, {"lacp_key": 5}, "none", ""),
    ({"agg_select_policy": "count"}, {"lacp_key": 5}, "none", ""),
    ({"agg_select_policy": "port_config"}, {"prio": 1, "lacp_key": 5}, "team", "its key"),
    ({"agg_select_policy": "port_config"}, {"lacp_key": 5}, "none", ""),
    ({"key_policy": "speed"}, {}, "none", "if its partner is another one"),
    ({"max_ports": 2}, {}, "team", "takes the place of another port"),
    ({"max_ports": 3}, {}, "none", "if its partner is another one"),
    ({"max_ports": 2, "agg_select_policy": "count"}, {"lacp_prio": 300}, "none", ""),
]


@pytest.mark.parametrize(("runner", "port", "told", "words"), ADDED)
def test_what_a_port_that_is_added_may_interrupt(
    runner: dict[str, Any], port: dict[str, Any], told: str, words: str
) -> None:
    """Its partner is not known beforehand; the best one there could be decides, and the lower ifindex, whether anything can be lost."""
    bench = Bench(FakePort(2, config=LacpPortConfig(**port)), FakePort(3), FakePort(4), sys_prio=1, **runner)
    bench.ports[2].priority = port.get("prio", 0)
    bench.present(3, 4)
    bench.serve()
    settings = {i: bench.ports[i].config for i in (3, 4)}
    said, what_then = bench.runner.arrival(bench.ports[2].config, bench.runner.config, settings, bench.view)
    assert said == told
    assert words in what_then
    assert bool(words) is bool(what_then)
    bench.present(2, 3, 4)
    first, best = bench.enabled(), b"\x02\0\0\0\0\x01"
    lost = set[int]()
    for _ in range(8):
        for ifindex in (3, 4):
            bench.hear(ifindex)
        other = not what_then.startswith("it takes")
        bench.frame(2, Lacpdu(LacpInfo(0, best, 9, 0, 1, 0x3F), bench.actor(2)).build()) if other else bench.hear(2)
        bench.wait(1.0)
        lost |= first - bench.enabled()
    assert bool(lost) <= bool(what_then), f"{sorted(lost)} went"
    assert bool(lost) >= (told == "team"), "nothing went"


BETTER = {"lacp_prio": 1}
COMING: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], list[tuple[str, bool]]]] = [
    # before, after, the ports that come, and what is said of each: what is interrupted, whether with words
    ({}, {"max_ports": 1}, [BETTER], [("team", True)]),
    ({}, {"max_ports": 2}, [BETTER], [("none", True)]),
    ({"max_ports": 1}, {"max_ports": None}, [BETTER], [("none", True)]),
    ({"max_ports": 2}, {"max_ports": 2}, [BETTER, BETTER], [("team", True)] * 2),
    ({"max_ports": 3}, {"max_ports": 3}, [BETTER, BETTER], [("none", True)] * 2),
    ({"max_ports": 2}, {"max_ports": 2}, [BETTER, {"lacp_prio": 300}], [("team", True), ("none", True)]),
    ({"agg_select_policy": "lacp_prio_stable"}, {"agg_select_policy": "lacp_prio"}, [{}], [("none", True)]),
    ({}, {"agg_select_policy": "lacp_prio_stable"}, [{}], [("none", False)]),
    ({"agg_select_policy": "count"}, {"agg_select_policy": "count"}, [{}], [("none", False)]),
    ({"agg_select_policy": "count"}, {"agg_select_policy": "count"}, [{}, {}], [("none", True)] * 2),
    ({"agg_select_policy": "count"}, {"agg_select_policy": "count"}, [{"lacp_key": 5}] * 2, [("team", True)] * 2),
]


@pytest.mark.parametrize(("before", "after", "ports", "told"), COMING)
def test_ports_that_come_with_other_settings_and_other_ports(
    before: dict[str, Any], after: dict[str, Any], ports: list[dict[str, Any]], told: list[tuple[str, bool]]
) -> None:
    bench = Bench(FakePort(3), sys_prio=1, **before)
    bench.serve()
    new = replace(bench.runner.config, **after)
    come = [LacpPortConfig(**port) for port in ports]
    said = [bench.runner.arrival(one, new, {3: bench.ports[3].config}, bench.view, len(come)) for one in come]
    assert [(what, bool(words)) for what, words in said] == told, said


IN_FALLBACK = [
    ("individual", {"prio": 5}, "team", "not eth4"),
    ("individual", {"prio": 3}, "none", "its ifindex is smaller or its partner speaks"),
    ("individual", {}, "none", "if its partner speaks"),
    ("static", {"prio": 5}, "none", "if its partner speaks"),
    ("off", {}, "none", ""),
]


@pytest.mark.parametrize(("kind", "port", "told", "words"), IN_FALLBACK)
def test_a_port_that_comes_during_the_fallback(kind: str, port: dict[str, Any], told: str, words: str) -> None:
    """Nothing was said of it, though the individual one carries traffic no more where the other is preferred."""
    bench = Bench(FakePort(3, config=LacpPortConfig(**port)), FakePort(4, config=LacpPortConfig(prio=3)), fallback=kind)
    bench.ports[3].priority, bench.ports[4].priority = port.get("prio", 0), 3
    bench.present(4)
    bench.wait(10.0)
    before = bench.enabled()
    assert before == (set() if kind == "off" else {4})
    settings = {4: bench.ports[4].config}
    said, what_then = bench.runner.arrival(bench.ports[3].config, bench.runner.config, settings, bench.view)
    assert (said, words in what_then, bool(what_then)) == (told, True, bool(words))
    bench.present(3, 4)
    bench.wait(10.0)
    assert bool(before - bench.enabled()) is (said == "team" or "ifindex" in what_then)


def test_a_change_of_all_ports_is_judged_at_once() -> None:
    """Each of them asked the rules of all ports twice: a second for 64 ports, during which nothing else was done."""
    bench = Bench(*(FakePort(i) for i in range(1, 65)))
    bench.serve()
    asked: list[str] = []
    group: Any = bench.runner._group
    loses = group._loses
    group._loses = lambda *args, **more: asked.append("loses") or loses(*args, **more)
    new = {i: replace(port.config, lacp_prio=7, weight=3) for i, port in bench.ports.items()}
    future = replace(bench.view, worked_out={})
    for name in ("weight", "lacp_prio", "prio"):
        said = {bench.runner.port_disruption(i, name, bench.runner.config, new, future) for i in new}
        assert said == {"team" if name == "lacp_prio" else "none"}
        assert name != "weight" or not asked
    assert 0 < len(asked) <= 4
    assert bench.runner.port_disruption(1, "prio", bench.runner.config, new, bench.view) == "none"
    assert len(asked) > 4, "nothing is remembered of a question that was put to the team as it is now"


def test_a_change_of_something_else_does_not_bring_back_what_was_given_up() -> None:
    """An aggregate that was in sync and never carried was tried again, at the cost of the one in service, after any `config apply`."""
    bench = Bench(FakePort(3), FakePort(4), sys_prio=1)
    for second in range(60):
        bench.hear(3, state=0x0F)
        bench.hear(4, mac=PARTNERS[1])
        bench.wait(1.0)
        if second == 30:
            config = replace(bench.runner.config, fallback_delay=5)
            assert bench.enabled() == {4}
            ports = {ifindex: port.config for ifindex, port in bench.ports.items()}
            assert bench.runner.disruption("fallback_delay", config, ports, bench.view) == "none"
            bench.runner.reconfigure(config, bench.view, bench.now)
            bench.handle(ConfigApply(""))
        assert second < 30 or bench.enabled() == {4}


def test_another_policy_gives_what_was_given_up_a_new_trial_and_says_so() -> None:
    bench = Bench(FakePort(3, config=LacpPortConfig(prio=5)), FakePort(4), sys_prio=1, agg_select_policy="port_config")
    bench.ports[3].priority = 5
    for _ in range(20):
        bench.hear(3, state=0x0F)
        bench.hear(4, mac=PARTNERS[1])
        bench.wait(1.0)
    assert bench.enabled() == {4}
    config = replace(bench.runner.config, agg_select_policy="lacp_prio")
    settings = {ifindex: port.config for ifindex, port in bench.ports.items()}
    assert bench.runner.disruption("agg_select_policy", config, settings, bench.view) == "team"
    bench.runner.reconfigure(config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    assert bench.enabled() == {3}


@pytest.mark.parametrize(("becomes_s", "back_after_s"), [(0, 0), (20, 20), (40, 40)])
def test_wait_to_restore_is_as_long_as_it_is_configured_now(becomes_s: int, back_after_s: int) -> None:
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(wait_to_restore=30)))
    bench.serve()
    for running in (False, True):
        bench.ports[4].running = running
        bench.changed(4)

    def second() -> None:
        for ifindex in (3, 4):
            bench.hear(ifindex)
        bench.wait(1.0)

    for _ in range(10):
        second()
    assert bench.enabled() == {3}
    bench.ports[4].config = LacpPortConfig(wait_to_restore=becomes_s)
    bench.runner.reconfigure(bench.runner.config, bench.view, bench.now)
    bench.handle(ConfigApply(""))
    for _ in range(max(0, back_after_s - 12)):
        second()
        assert bench.enabled() == {3}
    for _ in range(5):
        second()
    assert bench.enabled() == {3, 4}


@pytest.mark.parametrize(("was_fast", "heard_s_ago"), list(itertools.product((True, False), (0.0, 0.9, 2.9))))
def test_a_slower_rate_lengthens_the_patience_that_runs(was_fast: bool, heard_s_ago: float) -> None:
    bench = Bench(FakePort(3), fast_rate=was_fast)
    bench.serve()
    bench.hear(3)
    bench.wait(heard_s_ago)
    config = LacpConfig(fast_rate=False)
    assert bench.runner.disruption("fast_rate", config, {}, bench.view) == "none"
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
    assert bench.runner.disruption("active", LacpConfig(fast_rate=True, active=False), {}, bench.view) == told
    assert bench.runner.disruption("active", LacpConfig(fast_rate=True), {}, bench.view) == "none"


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
