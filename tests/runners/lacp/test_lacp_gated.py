"""A port that a watcher (bfd) keeps from carrying traffic carries none, whatever LACP says: another aggregate or another port may."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lacp_bench import Bench, FakePort

from pyteamd.model.events import Tick
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig

OTHER = b"\x02\xcc\0\0\0\x01"


def live(bench: Bench, seconds: int, partners: dict[int, bytes]) -> list[set[int]]:
    """This many seconds in which these partners are in sync and collect. Returns what served at the end of each."""
    seen = []
    for _ in range(seconds):
        for ifindex, mac in partners.items():
            bench.hear(ifindex, mac=mac)
        bench.wait(1.0)
        seen.append({i for i in bench.enabled() if not bench.ports[i].gated})
    return seen


def gate(bench: Bench, ifindex: int, closed: bool) -> None:
    bench.ports[ifindex].gated = closed
    bench.handle(Tick())


def two_aggregates(**config: object) -> tuple[Bench, dict[int, bytes]]:
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(lacp_prio=300)), sys_prio=1, **config)
    partners = {3: b"\x02\xbb\0\0\0\x01", 4: OTHER}
    assert live(bench, 6, partners)[-1] == {3}
    return bench, partners


def test_an_aggregate_whose_ports_are_kept_out_gives_way_to_one_that_can_serve() -> None:
    bench, partners = two_aggregates()
    gate(bench, 3, closed=True)
    served = live(bench, 40, partners)
    assert {4} in served[:7], "5 s, and a moment"
    assert served[7:] == [{4}] * 33, "and no way back while it is kept out"
    gate(bench, 3, closed=False)
    assert live(bench, 3, partners)[-1] == {3}, "the better one is able again"


def test_where_the_other_is_kept_out_as_long_as_it_is_not_used_it_has_its_turn() -> None:
    """Micro-BFD runs on a port only after LACP has brought it into service (RFC 7130)."""
    bench, partners = two_aggregates()
    gate(bench, 3, closed=True)
    gate(bench, 4, closed=True)
    for _ in range(20):
        live(bench, 1, partners)
        if 4 in bench.runner._group.ports and bench.runner._group.ports[4].mux.distributing:
            break
    gate(bench, 4, closed=False)
    assert live(bench, 30, partners) == [{4}] * 30


def test_a_port_that_is_kept_out_lends_its_place() -> None:
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(lacp_prio=300)), sys_prio=1, max_ports=1)
    partners = dict.fromkeys((3, 4), b"\x02\xbb\0\0\0\x01")
    assert live(bench, 6, partners)[-1] == {3}
    gate(bench, 3, closed=True)
    assert live(bench, 5, partners)[-1] == {4}
    assert bench.runner.broken(bench.view) == []
    gate(bench, 3, closed=False)
    assert live(bench, 2, partners)[-1] == {3}
    assert bench.runner.broken(bench.view) == []


def test_a_port_that_waits_to_restore_is_needed_where_the_other_is_kept_out() -> None:
    bench = Bench(*(FakePort(i, config=LacpPortConfig(wait_to_restore=60)) for i in (3, 4)))
    partners = dict.fromkeys((3, 4), b"\x02\xbb\0\0\0\x01")
    assert live(bench, 4, partners)[-1] == {3, 4}
    bench.ports[4].running = False
    bench.changed(4)
    bench.ports[4].running = True
    bench.changed(4)
    assert live(bench, 4, partners)[-1] == {3}
    gate(bench, 3, closed=True)
    assert live(bench, 4, partners)[-1] == {4}


@pytest.mark.parametrize(("min_ports", "told"), [(1, "none"), (2, "team")])
def test_the_carrier_that_a_limit_costs_is_told_though_lacp_is_well(min_ports: int, told: str) -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    gate(bench, 4, closed=True)
    assert bench.runner.desired(bench.view).carrier is True
    config = replace(bench.runner.config, min_ports=min_ports)
    ports = {ifindex: port.config for ifindex, port in bench.ports.items()}
    assert bench.runner.disruption("min_ports", config, ports, bench.view) == told
    bench.runner.reconfigure(config, bench.view, bench.now)
    bench.changed(3)
    assert bench.runner.desired(bench.view).carrier is (told == "none")


def test_ports_without_a_partner_count_for_the_limit() -> None:
    bench = Bench(FakePort(3), FakePort(4), fallback="static")
    bench.wait(10.0)
    assert bench.enabled() == {3, 4}
    config = LacpConfig(fast_rate=True, fallback="static", min_ports=2)
    ports = {ifindex: port.config for ifindex, port in bench.ports.items()}
    assert bench.runner.disruption("min_ports", config, ports, bench.view) == "none"
    assert bench.runner.disruption("min_ports", replace(config, min_ports=3), ports, bench.view) == "team"


def test_the_lone_port_without_a_partner_is_one_that_may_carry() -> None:
    bench = Bench(FakePort(3), FakePort(4), fallback="individual")
    bench.wait(10.0)
    assert bench.enabled() == {3}
    gate(bench, 3, closed=True)
    assert bench.enabled() == {4}
    gate(bench, 3, closed=False)
    assert bench.enabled() == {3}


def test_the_carrier_of_a_lone_port_is_explained() -> None:
    bench = Bench(FakePort(3), FakePort(4), fallback="individual", min_ports=2)
    bench.wait(10.0)
    assert bench.runner.desired(bench.view).carrier is True
    assert bench.runner.explain_carrier() == "1 in service, min_ports is 2 (fallback individual: one is enough)"
