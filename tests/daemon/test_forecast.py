"""A copy of a team says what the team would say, and thinking about the future changes nothing now."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import pytest

from pyteamd.daemon.forecast import foresee, leaves_valid, situation, twin
from pyteamd.model.desired import OptionKey, SetOption
from pyteamd.model.events import CarrierSeen, FrameSeen, LinkSeen, OptionSeen, PortAdd, PortSeen, Tick
from pyteamd.runners import RUNNERS
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.scenario.world import CommandError
from pyteamd.views import state as statetree

PORTS = ("eth1", "eth2", "eth3")


class World(SimulatedWorld):
    """A team on the simulated kernel, brought to rest after each thing that happens."""

    def __init__(self, runner: str, watch: dict[str, Any] | None = None) -> None:
        super().__init__()
        for name in PORTS:
            self.make_port(name, 10000, 1)
        keys = {"link_watch": watch} if watch else {}
        config = {"runner": {"name": runner}, "ports": {name: {} for name in PORTS}, **keys}
        self.start(json.dumps(config), adopt=False, enslave=True, keep=False)
        self.team = self.running().team
        self.peers = {self.ifindex_of(name): name for name in PORTS}
        self.pass_time(10.0)

    def set_link(self, ifindex: int, up: bool) -> None:
        """Cut a port's link or put it back, and settle."""
        self.set_peer(self.peers[ifindex], up)
        self.pass_time(10.0)

    def picture(self) -> object:
        """All that can be seen of the team."""
        team = self.team
        return (
            statetree.state(team),
            team.desired(),
            team.deadline(),
            dict(team.facts.observed.options),
            list(team.ports),
        )


@pytest.mark.parametrize("runner", list(RUNNERS))
@pytest.mark.parametrize("seed", range(5))
def test_what_was_foreseen_is_what_happens(runner: str, seed: int) -> None:
    chance = random.Random(seed)
    world = World(runner)
    foreseen = 0
    for _ in range(20):
        before = world.picture()
        forecast = foresee(world.team, world.clock)
        assert world.picture() == before
        if forecast and chance.random() < 0.7:
            event = CarrierSeen(chance.choice(list(forecast)), False)
            world.team.handle(event, world.clock)
            assert world.team.writes(world.clock) == forecast[event.ifindex]
            foreseen += 1
            world.set_link(event.ifindex, False)
        else:
            world.set_link(chance.choice(list(world.peers)), chance.random() < 0.8)
    assert foreseen > 0 or runner == "lacp", "without a partner no port of lacp carries traffic"


def something(world: World, chance: random.Random) -> None:
    """One thing of all that may change what is written for a lost link."""
    port, name = chance.choice(list(world.peers.items()))
    match chance.randrange(9):
        case 0 | 1 | 2 | 3:
            world.set_peer(name, chance.random() < 0.7)
        case 4:
            world.set_item("runner.active_port", name)
        case 5:
            world.set_option(OptionKey("priority", port), chance.choice([0, 10]))
        case 6:
            speed_mbps = chance.choice([100, 10000])
            world.running().feed(PortSeen(port, world.team.ports[port].running, speed_mbps, 1), world.clock)
        case 7:
            world.port_config(name, {"sticky": chance.random() < 0.3, "link_watch": {"name": "ethtool"}})
        case 8:
            policy = chance.choice(["same_all", "by_active", "only_active"])
            world.apply_config(
                json.dumps(
                    {
                        "runner": {"name": "activebackup", "hwaddr_policy": policy},
                        "ports": {name: {"sticky": chance.random() < 0.3} for name in PORTS},
                    }
                )
            )
    world.pass_time(10.0)


@pytest.mark.parametrize("seed", range(8))
def test_in_the_same_situation_the_same_is_foreseen(seed: int) -> None:
    chance = random.Random(seed)
    world = World("activebackup")
    known: dict[Hashable, object] = {}
    again = 0
    for _ in range(40):
        with suppress(CommandError):
            something(world, chance)
        if (here := situation(world.team)) is not None:
            forecast = foresee(world.team, world.clock)
            again += here in known
            assert known.setdefault(here, forecast) == forecast
    assert again > 0


@pytest.mark.parametrize(
    ("runner", "watch"),
    [
        ("activebackup", {"name": "arp_ping", "source_host": "192.0.2.1", "target_host": "192.0.2.2"}),
        ("activebackup", {"name": "ethtool", "delay_up": 1000}),
        ("loadbalance", None),
        ("lacp", None),
    ],
)
def test_nothing_is_remembered_where_more_counts_than_what_is_seen(runner: str, watch: dict[str, Any] | None) -> None:
    world = World(runner, watch)
    first = next(iter(world.peers.values()))
    world.set_peer(first, False)
    world.pass_time(0.5)
    world.set_peer(first, True)
    world.pass_time(0.5)
    assert situation(world.team) is None


def test_activebackup_makes_before_it_breaks() -> None:
    world = World("activebackup")
    first, second, _ = world.peers
    assert foresee(world.team, world.clock) == {
        first: (
            SetOption(OptionKey("activeport"), second),
            SetOption(OptionKey("enabled", second), True),
            SetOption(OptionKey("enabled", first), False),
            SetOption(OptionKey("user_linkup", first), False),
        )
    }


def test_with_a_delay_nothing_is_to_be_done_at_once() -> None:
    world = World("activebackup", {"name": "ethtool", "delay_down": 1000})
    assert foresee(world.team, world.clock) == {}


@pytest.mark.parametrize("runner", list(RUNNERS))
def test_a_twin_lives_its_own_life(runner: str) -> None:
    world = World(runner)
    before = world.picture()
    other = twin(world.team, {})
    assert statetree.state(other) == statetree.state(world.team)
    assert other.desired() == world.team.desired()
    for ifindex in list(other.ports):
        other.handle(CarrierSeen(ifindex, False), world.clock)
    other.handle(OptionSeen(OptionKey("enabled", next(iter(other.ports))), False), world.clock)
    other.take()
    for _ in range(20):
        world_deadline = other.deadline()
        if world_deadline is not None:
            other.handle(Tick(), world_deadline)
    assert world.picture() == before
    assert statetree.state(other) != statetree.state(world.team)


@pytest.mark.parametrize("holder", [dict, list, tuple])
def test_a_twin_copies_what_is_changed_beside_what_is_not(holder: type) -> None:
    mixed: list[object] = [1, "a", [2], None]
    thing = holder(enumerate(mixed)) if holder is dict else holder(mixed)
    other = twin(thing, {})
    assert other == thing
    thing[2].append(3)
    assert other != thing


def test_what_ends_a_forecast() -> None:
    world = World("activebackup")
    port = world.team.facts.links[next(iter(world.team.ports))]
    foreign = LinkSeen(99, "eth9", b"\0" * 6)
    frame = FrameSeen(port.ifindex, b"", b"", 0, None, b"")
    assert [leaves_valid(event, world.team) for event in (Tick(), frame, foreign)] == [True, True, True]
    wanted = LinkSeen(98, "eth8", b"\0" * 6)
    world.team.members.want(["eth8"], wanted)
    for event in (
        wanted,
        port,
        CarrierSeen(port.ifindex, True),
        OptionSeen(OptionKey("enabled", 99), True),
        PortAdd(99),
    ):
        assert not leaves_valid(event, world.team)
