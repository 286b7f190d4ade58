"""A port whose link and partner are well is in service: settling, changes while it runs, partners with the same identity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lacp_bench import Bench, FakePort
from lacp_pair import Box, World
from lacp_story import A_PORTS, meet

from pyteamd.runners.lacp.keys import LacpPortConfig


@pytest.mark.parametrize("other_goes_at", [2.05, 2.5, 3.0, 3.35])
@pytest.mark.parametrize("fast_rate", [True, False])
def test_a_port_that_waited_for_another_attaches_when_that_one_goes(other_goes_at: float, fast_rate: bool) -> None:
    """Link 2 comes up before link 1 is done with waiting, and goes down again: nobody is left to wait for."""
    world = World()
    box, far = (Box(world, name, A_PORTS, fast_rate=fast_rate) for name in "ab")
    for one in (box, far):
        one.start()
    first, second = (world.connect((box, i), (far, i), plug=False) for i in (3, 4))
    world.at(0.0, lambda: world.set_link(first, True))
    world.at(1.5, lambda: world.set_link(second, True))
    world.at(other_goes_at, lambda: world.set_link(second, False))
    world.run(other_goes_at + 1.0)
    assert box.serving() == far.serving() == {3}


def reconfigured(bench: Bench, **ports: Any) -> None:
    """`config apply` of other port settings, as the core does it."""
    for port in bench.ports.values():
        port.config = replace(port.config, **ports)
    bench.runner.reconfigure(bench.runner.config, bench.view, bench.now)
    bench.changed(3)


@pytest.mark.parametrize("partner_state", [0x3F, 0x0F, 0x07])
def test_a_priority_that_changes_is_on_the_wire_within_a_second(partner_state: int) -> None:
    """In service, attached, and with a partner that is out of sync; the answer to what was said before comes after the change."""
    bench = Bench(FakePort(3))
    for _ in range(4):
        bench.hear(3, state=partner_state)
        bench.wait(1.0)
    bench.said(3)
    before = bench.actor(3)
    reconfigured(bench, lacp_prio=7)
    bench.hear_about(3, before, state=partner_state)
    bench.wait(1.0)
    said = bench.said(3)
    assert said[-1].actor.port_priority == 7
    assert bench.actor(3) == said[-1].actor, "the state shows what the wire says"
    for _ in range(3):
        bench.hear(3, state=partner_state)
        bench.wait(1.0)
    assert bench.enabled() == ({3} if partner_state & 0x08 else set())


def test_links_of_two_switches_that_share_system_key_and_port_number_serve_together() -> None:
    """EVPN multihoming, CLAG: each leaf says the same of its end. A link that comes back takes no other out."""
    world, box, peer = meet(speak=False)
    for port in peer.ports.values():
        port.number, port.every = 1, 1.0
    peer.begin()
    world.run(5.0)
    assert box.serving() == {3, 4}
    cable = world.cables[id(box), 4]
    began = world.now
    world.set_link(cable, False)
    world.run(1.0)
    world.set_link(cable, True)
    world.run(5.0)
    assert box.serving() == {3, 4}
    assert box.changes(3, began) == [], "port 3 never left"
    assert (world.now, "carrier", False) not in box.writes
    assert not [name for at, name, _ in box.writes if at > began and name == "carrier"]


def test_a_partner_port_that_moved_from_a_dead_link_is_forgotten_there() -> None:
    bench = Bench(FakePort(3), FakePort(4), FakePort(5, config=LacpPortConfig(lacp_prio=9)))
    bench.serve()
    bench.ports[3].running = False
    bench.changed(3)
    bench.hear(4, number=103)
    assert bench.state(3)["partner_lacpdu_info"]["system"] == "00:00:00:00:00:00"
    assert bench.notes[-1] == "eth3: partner moved to eth4." or "eth3: partner moved to eth4." in bench.notes


def live(bench: Bench, seconds: int, states: dict[int, int]) -> list[set[int]]:
    """This many seconds in which the partners of these ports, one each, say this of themselves. Returns what served at the end of each."""
    seen = []
    for _ in range(seconds):
        for ifindex, state in states.items():
            bench.hear(ifindex, mac=bytes((2, 0xBB, 0, 0, 0, ifindex)), state=state)
        bench.wait(1.0)
        seen.append(bench.enabled())
    return seen


@pytest.mark.parametrize("other_says", [0x07, 0x0F], ids=["never in sync", "never collecting"])
def test_a_port_that_waits_to_restore_is_needed_where_the_other_aggregate_cannot_serve(other_says: int) -> None:
    """It waited for the whole of wait_to_restore, up to nine hours, beside a port whose partner is not in sync with us."""
    bench = Bench(FakePort(3, config=LacpPortConfig(wait_to_restore=3600)), FakePort(4), sys_prio=1)
    assert live(bench, 30, {3: 0x3F, 4: other_says})[-1] == {3}
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    assert live(bench, 20, {3: 0x3F, 4: other_says})[8:] == [{3}] * 12


def test_nor_does_it_wait_for_a_port_of_its_own_aggregate_whose_partner_does_not_collect() -> None:
    bench = Bench(FakePort(3, config=LacpPortConfig(wait_to_restore=3600)), FakePort(4))
    bench.serve()
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    bench.hear(4, state=0x0F)
    for _ in range(5):
        bench.hear(3)
        bench.hear(4, state=0x0F)
        bench.wait(1.0)
    assert 3 in bench.enabled()


def test_it_waits_while_another_aggregate_carries() -> None:
    bench = Bench(FakePort(3, config=LacpPortConfig(wait_to_restore=20)), FakePort(4), sys_prio=1)
    assert live(bench, 10, {3: 0x3F, 4: 0x3F})[-1] == {3}
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    assert live(bench, 18, {3: 0x3F, 4: 0x3F}) == [{4}] * 18
    assert live(bench, 5, {3: 0x3F, 4: 0x3F})[-1] == {3}


def test_the_end_of_wait_to_restore_is_not_noticed_with_the_next_lacpdu_only() -> None:
    """At the slow rate that would be half a minute later."""
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(wait_to_restore=5)), fast_rate=False)
    for _ in range(4):
        for ifindex in (3, 4):
            bench.hear(ifindex, state=0x3D)
        bench.wait(1.0)
    for running in (False, True):
        bench.ports[4].running = running
        bench.changed(4)
    bench.hear(4, state=0x3D)
    bench.wait(4.9)
    assert bench.enabled() == {3}
    bench.wait(0.2)
    assert bench.enabled() == {3, 4}
