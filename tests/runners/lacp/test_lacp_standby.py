"""LACP with max_ports: who waits, and how a better port takes the place of one in service."""

from __future__ import annotations

import pytest
from lacp_bench import Bench, FakePort

from pyteamd.model.desired import OptionKey
from pyteamd.runners.lacp.keys import LacpPortConfig


def test_max_ports_and_hot_standby() -> None:
    ports = [FakePort(i, config=LacpPortConfig(lacp_prio=prio)) for i, prio in ((3, 30), (4, 20), (5, 10))]
    bench = Bench(*ports, max_ports=2, sys_prio=1)
    for _ in range(4):
        for ifindex in bench.ports:
            bench.hear(ifindex)
        bench.wait(1.0)
    assert bench.enabled() == {4, 5}
    blocked = bench.runner.blocking(3)
    assert blocked is not None
    assert (blocked.reason.value, blocked.facts) == ("standby", {"max_ports": 2})
    bench.ports[5].running = False
    bench.changed(5)
    assert bench.actor(3).state == 0x3F, "the standby port is ready and in service at once"
    assert bench.enabled() == {3, 4}


@pytest.mark.parametrize("independent", [False, True])
def test_a_better_port_displaces_the_one_in_service_when_its_partner_is_in_sync(independent: bool) -> None:
    ports = [FakePort(i, config=LacpPortConfig(lacp_prio=prio)) for i, prio in ((3, 20), (4, 10))]
    bench = Bench(*ports, max_ports=1, sys_prio=1)
    if independent:
        bench.observed.options |= {OptionKey(name, i): False for name in ("rx_enabled", "tx_enabled") for i in (3, 4)}
    bench.ports[4].running = False
    bench.changed(4)
    for _ in range(4):
        bench.hear(3)
        bench.wait(1.0)
    assert bench.sending() == {3}
    bench.ports[4].running = True
    bench.changed(4)
    for _ in range(4):
        bench.hear(3)
        bench.hear(4, state=0x07)
        bench.wait(1.0)
        assert bench.sending() == {3}, "the other end of port 4 is not in sync yet"
    assert bench.actor(4).state == 0x0F, "in sync, and no more"
    bench.hear(4, state=0x0F)
    if independent:
        assert (bench.sending(), bench.actor(4).state) == ({3}, 0x1F)
        bench.hear(4, state=0x1F)
    assert bench.sending() == {4}
    assert bench.enabled() == {4}
    assert (bench.actor(3).state, bench.actor(4).state) == (0x07, 0x3F)


def test_a_standby_port_takes_over_from_one_whose_partner_goes_out_of_sync() -> None:
    ports = [FakePort(i, config=LacpPortConfig(lacp_prio=prio)) for i, prio in ((3, 20), (4, 10))]
    bench = Bench(*ports, max_ports=1, sys_prio=1)
    for _ in range(4):
        for ifindex in bench.ports:
            bench.hear(ifindex)
        bench.wait(1.0)
    assert bench.enabled() == {4}
    bench.hear(4, state=0x07)
    assert bench.enabled() == {3}
    assert (bench.actor(3).state, bench.actor(4).state) == (0x3F, 0x0F)
    assert bench.runner.broken(bench.view) == []
    bench.hear(4)
    assert bench.enabled() == {4}
    assert bench.actor(3).state == 0x07


def test_a_better_port_that_is_never_in_sync_does_not_keep_a_standby_port_from_taking_over() -> None:
    ports = [FakePort(i, config=LacpPortConfig(lacp_prio=prio)) for i, prio in ((3, 30), (4, 20), (5, 10))]
    bench = Bench(*ports, max_ports=1, sys_prio=1)
    for _ in range(4):
        bench.hear(3)
        bench.hear(4)
        bench.hear(5, state=0x07)
        bench.wait(1.0)
    assert bench.enabled() == {4}
    bench.ports[4].running = False
    bench.changed(4)
    assert bench.enabled() == {3}
