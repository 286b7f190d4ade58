"""A team at rest: an LACPDU that only says the same again costs next to nothing, and leads to what a full look would lead to."""

from __future__ import annotations

import math
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from lacp_at_rest import AtRest
from lacp_pair import Box
from lacp_random import RandomNet

from pyteamd.daemon.forecast import twin
from pyteamd.model.events import Event, FrameSeen
from pyteamd.runners.lacp.habits import TOGETHER_S, Habits
from pyteamd.runners.lacp.machines import Mux
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.scenario.replay import replay

OURS = str(Path(__file__).parents[3])
PORTS = 3
MOST_CALLS = 90
"""Of functions in Python for an LACPDU in and one out, without the simulated world's; 67 when this was written, with a full look 346."""
WORLD = ("/pyteamd/sim/", "/tests/", "/.venv")


def calls(world: AtRest, seconds: float) -> Counter[str]:
    """Functions of ours that are called meanwhile."""
    counted: Counter[str] = Counter()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(OURS) and not any(part in file for part in WORLD):
            counted[frame.f_code.co_qualname] += 1

    sys.setprofile(look)
    try:
        world.go_on(seconds)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("balancer", [{}, {"tx_balancer": {"name": "basic"}}], ids=["", "tx_balancer"])
def test_what_is_said_again_costs_next_to_nothing(balancer: dict[str, Any]) -> None:
    world = AtRest(PORTS, spread_s=0.13, runner=balancer)
    counted = calls(world, 5.0)
    looks = {
        name: counted[name] for name in ("Lacp.handle", "Group.settle", "Team.desired", "reconcile", "Lacpdu.build")
    }
    assert set(looks.values()) == {0}, looks
    assert counted["LacpPort.heard_again"] == counted["LacpPort.said_again"] == 5 * PORTS, counted
    each = counted.total() / (5 * PORTS)
    assert each < MOST_CALLS, f"{each:.0f} calls for an LACPDU in and one out: {counted.most_common(20)}"


def test_ports_that_are_due_at_about_the_same_time_speak_together_and_in_time() -> None:
    world = AtRest(PORTS)
    for partner in world.partners:  # one after the other is asked for a word
        partner.mistakes = {"state": 0}
        world.go_on(1.0 + TOGETHER_S / 4)
        partner.mistakes = {}
    world.go_on(5.0)
    since = world.net.now
    world.go_on(5.0)
    for ifindex in world.team.ports:
        spoke = [at for at, frame in world.sent if frame.port == ifindex and at > since]
        assert [later - at for at, later in pairwise(spoke)] == pytest.approx([1.0] * 4), spoke
    moments = {at for at, _ in world.sent if at > since}
    assert len(moments) == 5, f"{PORTS} ports speak at {sorted(moments)}"


def test_a_port_that_speaks_with_another_one_speaks_three_times_a_second_at_most() -> None:
    """(6.4.16.) Its partner asks for a word again and again, and a moment later it is due with the other port."""
    world = AtRest(2)
    first, other = world.team.ports
    partner = world.partners[0]
    partner.mistakes = {"state": 0}
    world.go_on(1.1)
    partner.silent = True
    asks = [
        entry.event for entry in world.pump.trace if isinstance(entry.event, FrameSeen) and entry.event.ifindex == first
    ]
    world.go_on(1.5)
    due = [at for at, frame in world.sent if frame.port == other][-1] + 2.0
    for at in (due - 0.3, due + 0.03, due + 0.1, due + 0.2, due + 0.8):
        world.go_on(at - world.net.now)
        world.pump.feed(asks[-1:], world.net.now)
    world.go_on(1.0)
    spoke = [at - due for at, frame in world.sent if frame.port == first and at > due - 0.5]
    assert len(spoke) > 4, spoke
    assert min(fourth - at for at, fourth in zip(spoke, spoke[3:], strict=False)) > 0.999, spoke


def test_a_partner_that_falls_silent_is_given_up_in_time() -> None:
    world = AtRest(PORTS)
    heard_at = max(partner._next for partner in world.partners) - 1.0
    world.partners[0].silent = True
    world.go_on(heard_at + 3.029 - world.net.now)
    first = next(iter(world.team.ports.values()))
    assert world.team.runner.machines(first)["LACP receive"] == "current"
    world.go_on(0.002)
    assert world.team.runner.machines(first)["LACP receive"] == "expired"
    assert {
        world.team.runner.machines(port)["LACP receive"] for port in world.team.ports.values() if port is not first
    } == {"current"}


def test_the_trace_of_a_team_at_rest_can_be_told_again() -> None:
    world = AtRest(PORTS, spread_s=0.13)
    world.partners[0].state = 0x07
    world.go_on(1.5)
    world.partners[0].state = 0x3F
    world.go_on(2.5)
    steps, difference = replay(world.pump.trace.lines())
    assert difference is None, difference.text()
    assert steps == len(world.pump.trace)


def test_a_fault_of_the_short_way_costs_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    world = AtRest(PORTS)
    monkeypatch.setattr(Lacp, "faults_are_fatal", False)
    for name in ("speak", "repeats"):
        monkeypatch.setattr(Habits, name, lambda *_: 1 / 0)
    before = len(world.sent)
    world.go_on(4.0)
    assert len(world.sent) - before == 4 * PORTS
    assert {port.mux for port in world.team.runner._group.ports.values()} == {Mux.COLLECTING_DISTRIBUTING}


class Doubter:
    """Each time a runner says that it expected an event, a copy of it takes a full look: the same must come of both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, boxes: list[Box]) -> None:
        self.boxes = boxes
        self.agreed = 0
        expects = Lacp.expects

        def doubted(runner: Lacp, event: Event, due: bool, now: float) -> bool:
            box = next(box for box in boxes if box.runner is runner)
            other = twin(runner, {id(port): port for port in box.ports.values()})
            expected = expects(runner, event, due, now)
            if expected:
                other.handle(event, box.view, now)
                self.compare(runner, other, event, now)
            return expected

        monkeypatch.setattr(Lacp, "expects", doubted)

    def compare(self, runner: Lacp, other: Lacp, event: Event, now: float) -> None:
        """Only that ports speak a moment sooner may differ."""
        said, would_say = runner.outbox.frames, other.outbox.frames
        sooner = [frame for frame in said if frame not in would_say]
        assert len(said) == len(would_say) + len(sooner), (said, would_say)
        assert not other.outbox.notes
        assert picture(runner, len(sooner)) == picture(other, 0), event
        ours, theirs = runner.deadline() or math.inf, other.deadline() or math.inf
        assert sooner or ours <= theirs + 1e-9, f"nothing wakes it in time: at {ours}, not {theirs}"
        assert ours > now, f"at {now} it is due at {ours} again"
        self.agreed += 1


def picture(runner: Lacp, sooner: int) -> list[Any]:
    """All that may come to light of a runner later."""
    ports = runner._group.ports.values()
    told = [
        (
            port.receive, port.partner, port.told, port.heard_from, port.standing, port.well_since, port.speed_mbps, port.churn.actor,
            port.churn.partner, port.transmitter.said, port.transmitter.ntt, port.counters.lacpdus_received, port.counters.bad,
        )
        for port in ports
    ]  # fmt: skip
    sent = sum(port.counters.lacpdus_sent for port in ports) - sooner
    return [told, sent, runner._group.chosen, runner.revision, runner._carrier, runner._serving, runner._unsettled]


@pytest.mark.parametrize("seed", [708, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(700, 707))])
def test_a_full_look_leads_to_the_same_whatever_happens(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = RandomNet(seed, configure=bool(seed % 2))
    doubter = Doubter(monkeypatch, net.boxes)
    net.play()
    assert doubter.agreed > 50
