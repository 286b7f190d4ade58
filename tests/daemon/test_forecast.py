"""A copy of a team says what the team would say, and thinking about the future changes nothing now."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pyteamd.config.config import Config
from pyteamd.core.team import Team
from pyteamd.daemon.ahead import foresee, leaves_valid, twin
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import OptionKey, SetOption
from pyteamd.model.events import CarrierSeen, FrameSeen, LinkSeen, OptionSeen, PortAdd, Tick
from pyteamd.runners import RUNNERS
from pyteamd.scenario.daemon_drive import step
from pyteamd.sim.kernel import SimKernel
from pyteamd.views import state as statetree

PORTS = ("eth1", "eth2", "eth3")


class World:
    """A team on the simulated kernel, brought to rest after each thing that happens."""

    def __init__(self, runner: str, watch: dict[str, Any] | None = None) -> None:
        self.kernel = SimKernel()
        self.peers = {}
        for name in PORTS:
            link = self.kernel.add_pair(name, f"peer-{name}")
            assert link.peer is not None
            self.peers[link.ifindex] = link.peer.ifindex
        text = json.dumps(
            {
                "runner": {"name": runner},
                "ports": {name: {} for name in PORTS},
                **({"link_watch": watch} if watch else {}),
            }
        )
        config = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
        self.ifindex = self.kernel.create_team("team0")
        self.kernel.watch_team(self.ifindex)
        dump = self.kernel.dump(self.ifindex)
        (link,) = [link for link in dump.links if link.ifindex == self.ifindex]
        self.team = Team(config, link)
        self.now = 1.0
        self.give(dump)
        self.settle()

    def give(self, event: Any) -> None:
        """One event with all that follows."""
        step(self.team, event, self.now, lambda writes: self.kernel.apply(self.ifindex, writes), lambda outputs: None)

    def settle(self) -> None:
        """Let the kernel's events and the team's deadlines come for ten seconds."""
        self.hear()
        give_up = self.now + 10
        while (deadline := self.team.deadline()) is not None and deadline < give_up:
            self.now = max(self.now, deadline)
            self.give(Tick())
            self.hear()
        self.now = give_up

    def hear(self) -> None:
        """Digest what the kernel says."""
        while events := self.kernel.take_events():
            for team, event in events:
                if team or self.team.wants(event):
                    self.give(event)

    def set_peer(self, ifindex: int, up: bool) -> None:
        """Cut a port's link or put it back, and settle."""
        self.kernel.set_up(self.peers[ifindex], up)
        self.settle()

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
        forecast = foresee(world.team, world.now)
        assert world.picture() == before
        if forecast and chance.random() < 0.7:
            event = chance.choice(list(forecast))
            assert isinstance(event, CarrierSeen)
            world.team.handle(event, world.now)
            assert world.team.writes(world.now) == forecast[event]
            foreseen += 1
            world.set_peer(event.ifindex, False)
        else:
            world.set_peer(chance.choice(list(world.peers)), chance.random() < 0.8)
    assert foreseen > 0 or runner == "lacp", "without a partner no port of lacp carries traffic"


def test_activebackup_makes_before_it_breaks() -> None:
    world = World("activebackup")
    first, second, _ = world.peers
    assert foresee(world.team, world.now) == {
        CarrierSeen(first, False): (
            SetOption(OptionKey("enabled", second), True),
            SetOption(OptionKey("activeport"), second),
            SetOption(OptionKey("enabled", first), False),
            SetOption(OptionKey("user_linkup", first), False),
        )
    }


def test_with_a_delay_nothing_is_to_be_done_at_once() -> None:
    world = World("activebackup", {"name": "ethtool", "delay_down": 1000})
    assert foresee(world.team, world.now) == {}


@pytest.mark.parametrize("runner", list(RUNNERS))
def test_a_twin_lives_its_own_life(runner: str) -> None:
    world = World(runner)
    before = world.picture()
    other = twin(world.team, {})
    assert statetree.state(other) == statetree.state(world.team)
    assert other.desired() == world.team.desired()
    for ifindex in list(other.ports):
        other.handle(CarrierSeen(ifindex, False), world.now)
    other.handle(OptionSeen(OptionKey("enabled", next(iter(other.ports))), False), world.now)
    other.take()
    for _ in range(20):
        world_deadline = other.deadline()
        if world_deadline is not None:
            other.handle(Tick(), world_deadline)
    assert world.picture() == before
    assert statetree.state(other) != statetree.state(world.team)


def test_what_ends_a_forecast() -> None:
    world = World("activebackup")
    port = world.team.facts.links[next(iter(world.team.ports))]
    foreign = LinkSeen(99, "eth9", b"\0" * 6)
    frame = FrameSeen(port.ifindex, b"", b"", 0, None, b"")
    assert [leaves_valid(event, world.team) for event in (Tick(), frame, foreign)] == [True, True, True]
    for event in (port, CarrierSeen(port.ifindex, True), OptionSeen(OptionKey("enabled", 99), True), PortAdd(99)):
        assert not leaves_valid(event, world.team)
