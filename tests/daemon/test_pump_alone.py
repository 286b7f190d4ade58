"""The shipped pump without an event loop: time and performer are arguments, as a simulator wants them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import pytest
from surroundings import QuietSurroundings

from pyteamd.config.config import Config
from pyteamd.core.facts import ECHO_WAIT_S
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.daemon import forecast, writing
from pyteamd.daemon.pump import CHECK_S, REST_S, Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.writing import Done
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import Frame, OptionKey, SetOption, Tap, Write
from pyteamd.model.events import CarrierSeen, ConfigApply, HostsResolved, Overrun, PortAdd, PortRemove
from pyteamd.runners import RUNNERS
from pyteamd.sim.kernel import SimKernel

TWO_PORTS: Mapping[str, object] = {"eth1": {}, "eth2": {}}


class Alone(QuietSurroundings):
    """Surroundings that do nothing, a clock that is set, and a performer that keeps what it did."""

    def __init__(self, ports: Mapping[str, object] = TWO_PORTS, **settings: object) -> None:
        """`ports`: their settings. `settings`: those of the team, but for the runner."""
        self.now = 100.0
        self.kernel = SimKernel()
        self.links = [self.kernel.add_pair(name, f"{name}-peer").ifindex for name in ("eth1", "eth2")]
        self.performed: list[tuple[Write, ...]] = []
        self.taps: Mapping[int, frozenset[Tap]] = {}
        ifindex = self.kernel.create_team("team0")
        self.kernel.watch_team(ifindex)
        link = self.kernel.find_link("team0")
        assert link is not None
        self.text = json.dumps({"runner": {"name": "activebackup"}, "ports": ports, **settings})
        team = Team(Config.load(self.text, runners=RUNNERS, watchers=WATCHERS, device="team0"), link)
        self.pump = Pump(team, self.kernel, self, Trace({}), logging.getLogger("alone"), lambda: self.now)
        self.pump.perform = self.perform
        self.reader = Reader(self.kernel)
        self.reader.pumps[ifindex] = self.pump
        self.pump.links = self.reader.links
        self.pump.feed(self.pump.with_others(self.kernel.dump(ifindex)), self.now)
        self.deliver()

    def perform(self, writes: Sequence[Write], done: Done) -> None:
        self.performed.append(tuple(writes))
        done(writes, self.kernel.apply(self.pump.ifindex, writes))

    def deliver(self) -> None:
        while batch := self.kernel.take_events():
            self.reader.deliver(batch, self.now)

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        self.taps = wanted
        return float("inf")

    def send(self, frame: Frame) -> None:
        """See Surroundings."""


def test_a_team_starts_and_fails_over_without_an_event_loop() -> None:
    alone = Alone()
    assert list(alone.pump.team.ports) == alone.links
    eth1, eth2 = alone.links
    alone.performed.clear()
    peer = alone.kernel.links[eth1].peer
    assert peer is not None
    alone.kernel.set_up(peer.ifindex, False)
    alone.deliver()
    assert SetOption(OptionKey("activeport"), eth2) in alone.performed[0]


def test_what_is_due_is_done_when_it_is_woken() -> None:
    alone = Alone()
    assert alone.pump.wake_at() <= alone.now + REST_S
    while (at := alone.pump.wake_at()) < alone.now + 10:
        alone.now = at
        alone.pump.wake(at)
    assert alone.pump.wake_at() > alone.now + 10


def test_a_write_that_is_under_way_holds_the_next_one_until_it_is_done() -> None:
    alone = Alone()
    waiting: list[tuple[tuple[Write, ...], Done]] = []
    alone.pump.perform = lambda writes, done: waiting.append((tuple(writes), done))
    third = alone.kernel.add_pair("eth3", "eth3-peer")
    link = alone.kernel.find_link("eth3")
    alone.pump.feed((PortAdd(third.ifindex, link),), alone.now)
    alone.deliver()
    assert len(waiting) == 1
    alone.pump.perform = alone.perform
    writes, done = waiting.pop()
    done(writes, alone.kernel.apply(alone.pump.ifindex, writes))
    alone.deliver()
    assert third.ifindex in alone.pump.team.ports


def test_other_watchers_of_a_quiet_team_get_other_packet_sockets() -> None:
    """Nothing is written, said or sent for a listener that comes or goes."""
    alone = Alone()
    for wanted in (False, True):
        text = json.dumps({**json.loads(alone.text), "neighbours": wanted})
        alone.pump.feed((ConfigApply(text),), alone.now)
        assert list(alone.taps) == (alone.links if wanted else []), alone.taps
        assert alone.taps == alone.pump.team.taps()


def test_a_watcher_whose_host_has_an_address_at_last_gets_its_packet_socket() -> None:
    probe = {"name": "arp_ping", "target_host": "router", "source_host": "192.0.2.1", "init_wait": 1000}
    alone = Alone({"eth1": {}, "eth2": {"link_watch": probe}}, neighbours=False)
    for address in ("", "192.0.2.2"):
        alone.pump.feed((HostsResolved({("router", "inet"): address}),), alone.now)
        alone.deliver()
        assert list(alone.pump.team.ports) == alone.links
        assert list(alone.taps) == (alone.links[1:] if address else []), alone.taps


def steps(alone: Alone) -> list[str]:
    """What was digested, by kind."""
    return [type(entry.event).__name__ for entry in alone.pump.trace]


def test_the_message_behind_the_early_word_is_no_news() -> None:
    alone = Alone()
    eth1, _ = alone.links
    peer = alone.kernel.links[eth1].peer
    assert peer is not None
    before = len(steps(alone))
    alone.kernel.set_up(peer.ifindex, False)
    alone.deliver()
    told = steps(alone)[before:]
    assert "CarrierSeen" in told
    assert "LinkSeen" not in told
    link = alone.kernel.get_link(eth1)
    assert link is not None
    alone.reader.deliver([(0, replace(link, mtu=9000))], alone.now)
    assert steps(alone)[-1] == "LinkSeen"


def test_there_is_nothing_to_think_of_with_one_port_that_is_up() -> None:
    alone = Alone()
    alone.pump.wake(alone.pump.wake_at())
    peer = alone.kernel.links[alone.links[0]].peer
    assert peer is not None
    alone.now += 10
    alone.kernel.set_up(peer.ifindex, False)
    alone.deliver()
    assert alone.pump.wake_at() == alone.now + CHECK_S
    alone.now += 1
    alone.kernel.set_up(peer.ifindex, True)
    alone.deliver()
    assert alone.pump.wake_at() == alone.now + REST_S


def test_what_was_worked_out_before_holds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut and its mending of each port leads back to where the team was: from then on nothing is copied any more."""
    alone = Alone()
    for number, (lost, other) in enumerate((alone.links, alone.links[::-1]) * 3):
        alone.pump.wake(alone.pump.wake_at())
        if number == 2:
            monkeypatch.setattr(forecast, "twin", None)
        alone.performed.clear()
        peer = alone.kernel.links[lost].peer
        assert peer is not None
        alone.kernel.set_up(peer.ifindex, False)
        batch = alone.kernel.take_events()
        assert alone.reader.write_ahead(batch)
        assert alone.performed[0][0] == SetOption(OptionKey("activeport"), other)
        alone.reader.deliver(batch, alone.now)
        alone.deliver()
        alone.kernel.set_up(peer.ifindex, True)
        alone.deliver()
        assert number < 2 or alone.pump.wake_at() == alone.now + CHECK_S


def test_what_is_worked_out_while_something_is_left_to_write_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest would be written once more where the same situation is met later."""
    alone = Alone()
    alone.pump.wake(alone.pump.wake_at())
    here = forecast.situation(alone.pump.team)
    monkeypatch.setattr(writing, "MAXIMUM_ROUNDS", 0)
    preferred = {"eth1": {"prio": 1}, "eth2": {"prio": 9}}
    alone.pump.feed((ConfigApply(json.dumps({**json.loads(alone.text), "ports": preferred})),), alone.now)
    assert alone.pump.team.writes(alone.now) != ()
    alone.pump.wake(alone.now + REST_S)
    assert list(alone.pump._forecast._remembered) == [here]


def test_what_is_remembered_again_takes_no_room_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "situation", lambda team: team)
    monkeypatch.setattr(forecast, "foresee", lambda team, now: {team: ()})
    memory = forecast.Forecast()
    teams: Any = range(forecast.MOST_REMEMBERED)
    for team in (*teams, teams[-1]):
        memory.look(team, 0.0)
        assert memory.recall(teams[0]) == {0: ()}, team
    memory.look("another", 0.0)  # type: ignore[arg-type]
    assert memory.recall(teams[0]) is None


def test_a_write_that_is_never_announced_does_not_end_all_forecasts() -> None:
    alone = Alone()
    first, _ = alone.links
    cut, lost = [alone.kernel.links[port].peer for port in alone.links]
    assert cut is not None and lost is not None  # noqa: PT018 what mypy has to know
    alone.pump.wake(alone.pump.wake_at())
    alone.kernel.hold("team")
    for up in (False, True):
        alone.kernel.set_up(cut.ifindex, up)
        alone.deliver()
    assert alone.pump.team.facts.awaits_echo(alone.now)
    assert not alone.pump.team.facts.awaits_echo(alone.now + ECHO_WAIT_S)
    alone.now = alone.pump.wake_at()
    alone.pump.wake(alone.now)
    alone.performed.clear()
    alone.kernel.set_up(lost.ifindex, False)
    assert alone.reader.write_ahead(alone.kernel.take_events())
    assert alone.performed[0][0] == SetOption(OptionKey("activeport"), first)


def test_after_a_disturbance_all_older_steps_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Alone()
    left = [True, True, False]
    monkeypatch.setattr(alone.pump.trace, "pack", lambda: left.pop(0))
    moments = []
    while alone.pump.wake_at() < alone.now + 10:
        moments.append(alone.pump.wake_at())
        alone.pump.wake(moments[-1])
    assert left == []
    assert [round(later - earlier, 3) for earlier, later in pairwise(moments)][-2:] == [CHECK_S, CHECK_S]


Race: TypeAlias = Callable[[Alone], None]


def all_is_lost(alone: Alone) -> None:
    """The receive buffer overflows between the glance and the reading."""
    alone.kernel.take_events()
    alone.reader.deliver([(0, Overrun())], alone.now)


def other_words(alone: Alone) -> None:
    """Another team's dump empties the link socket: the message comes later, as that of any link."""
    heard = alone.kernel.take_events()
    alone.reader.deliver([(team, event) for team, event in heard if type(event) is not CarrierSeen], alone.now)


def a_removal_is_first(alone: Alone) -> None:
    """A user's request has its turn before the reader."""
    alone.pump.feed((PortRemove(alone.links[0]),), alone.now)


@pytest.mark.parametrize("race", [all_is_lost, other_words, a_removal_is_first])
def test_a_write_ahead_of_its_message_does_not_block_the_team_when_that_never_comes(race: Race) -> None:
    alone = Alone()
    alone.pump.wake(alone.pump.wake_at())
    eth1, eth2 = alone.links
    peers = [alone.kernel.links[ifindex].peer for ifindex in alone.links]
    assert peers[0] is not None
    assert peers[1] is not None
    alone.kernel.set_up(peers[0].ifindex, False)
    alone.performed.clear()
    assert alone.reader.write_ahead([(0, CarrierSeen(eth1, False))])
    assert SetOption(OptionKey("activeport"), eth2) in alone.performed[0]
    race(alone)
    alone.deliver()
    told = steps(alone)
    assert alone.kernel.links[eth2].master == alone.pump.ifindex
    assert alone.pump.team.facts.observed.options[OptionKey("activeport")] == eth2, told
    if race is a_removal_is_first:
        assert not alone.kernel.links[eth1].master, told
        return
    alone.kernel.set_up(peers[0].ifindex, True)
    alone.deliver()
    alone.kernel.set_up(peers[1].ifindex, False)
    alone.deliver()
    assert alone.pump.team.facts.observed.options[OptionKey("activeport")] == eth1, steps(alone)
