"""A trace is told again to the Pump that is shipped: what the Pump does differently is a difference, too."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from pyteamd.daemon import writing
from pyteamd.daemon.writing import MAXIMUM_ROUNDS
from pyteamd.model.events import LinkSeen, Overrun, Resync
from pyteamd.scenario import script
from pyteamd.scenario.replay import Divergence, replay
from pyteamd.scenario.simulated import SimulatedWorld


def played(ports: Iterable[str], *commands: str) -> tuple[SimulatedWorld, str]:
    """A world in which a daemon for these ports has started and the commands were performed; what was told of it."""
    world = SimulatedWorld()
    config = json.dumps({"runner": {"name": "roundrobin"}, "ports": {port: {} for port in ports}})
    return world, script.run("\n".join((f"config {config}", "start", *commands)), lambda: world)


def told_again(world: SimulatedWorld) -> Divergence | None:
    (trace, _), *_ = world.traces()
    return replay(trace.lines())[1]


MANY = [f"eth{number}" for number in range(MAXIMUM_ROUNDS + 5)]


def many_at_once() -> tuple[SimulatedWorld, str]:
    """More links come in one batch than a pump writes times for one event."""
    return played(MANY, "hold link", *(f"port {port}" for port in MANY), "release link", "at +5s")


def test_many_links_in_one_batch_are_no_fault_of_the_kernel() -> None:
    world, told = many_at_once()
    assert "the kernel does not have" not in told.lower(), told
    assert (difference := told_again(world)) is None, difference.text()
    assert len(world.running().team.ports) == len(MANY)


def test_a_pump_that_writes_less_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = many_at_once()
    monkeypatch.setattr(writing, "MAXIMUM_ROUNDS", 0)
    difference = told_again(world)
    assert difference is not None
    assert "recorded only: writes" in difference.text()


def test_lost_messages_in_the_middle_of_all() -> None:
    world, _ = played(
        ["eth1", "eth2"], "port eth1", "port eth2", "at +1s", "overrun", "link eth1 down", "overrun", "at +1s"
    )
    (trace, _), *_ = world.traces()
    kinds = [type(entry.event) for entry in trace]
    assert kinds.count(Overrun) >= 2
    assert kinds.count(Resync) >= 3
    assert (difference := told_again(world)) is None, difference.text()


def test_a_link_that_was_put_in_by_hand_while_messages_were_lost() -> None:
    """The team is told how the link was before: that is its own address, which the driver has changed since."""
    made = [f"port {port}" for port in ("eth1", "eth2", "eth9")]
    world, _ = played(
        ["eth1", "eth2"], *made, "at +1s", "hold link", "master eth9 team0", "overrun", "release link", "at +1s"
    )
    (trace, _), *_ = world.traces()
    events = [entry.event for entry in trace]
    at = max(at for at, event in enumerate(events) if isinstance(event, Resync))
    before = events[at - 1]
    assert isinstance(before, LinkSeen), before
    assert (before.name, before.master) == ("eth9", 0)
    assert world.running().team.facts.original_mac(before.ifindex) == before.mac != world.running().team.facts.team.mac
    assert (difference := told_again(world)) is None, difference.text()


def test_answers_that_a_writing_thread_brings_later() -> None:
    world, _ = played(["eth1", "eth2"], "port eth1", "port eth2", "at +1s", "link eth1 down", "at +1s")
    (trace, _), *_ = world.traces()
    first, *steps = map(json.loads, trace.lines())
    answered = {step["at"] for step in steps if step["event"]["type"] == "Applied"}
    late = False
    for step, before in zip(steps, [None, *(step["at"] for step in steps)], strict=False):
        late = step["event"]["type"] == "Applied" or (late and step["at"] == before)
        step["at"] += 0.001 * late
    assert len(answered) >= 2
    steps_told, difference = replay(map(json.dumps, (first, *steps)))
    assert difference is None, difference.text()
    assert steps_told == len(steps)


BLOCKED = (
    "device m0 macvlan on eth2",
    "at +100s",
    "admin eth2 down",
    "at +1s",
    "admin eth2 up",
    "at +100s",
    "delete m0",
    "at +10s",
)


@pytest.mark.parametrize(
    "first",
    [("port eth2", "admin eth2 up", "at +5s", "start", "at +100s"), ("start", "at +5s", "port eth2", "admin eth2 up")],
)
def test_a_link_that_passed_by_kept_another_one_from_joining(first: tuple[str, ...]) -> None:
    world = SimulatedWorld()
    config = json.dumps({"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}})
    told = script.run("\n".join((f"config {config}", "port eth1", *first, *BLOCKED)), lambda: world)
    assert (difference := told_again(world)) is None, f"{difference.text()}\n{told}"
