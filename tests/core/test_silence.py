"""A port that carries traffic and hears nothing is told, with what to look at, and nothing is done about it."""

from __future__ import annotations

import pytest
from explain_kit import Told, backup, told

from pyteamd.core.silence import ERRORS_S, ERRORS_TOLD_S, SILENT_S, LinkCounters, SilentPorts
from pyteamd.core.trace import Trace
from pyteamd.model.desired import Level, Note
from pyteamd.model.incidents import Incident
from pyteamd.views.explain import explain, sentence
from pyteamd.views.metrics import Gauges, text

ONE, TWO = 1, 2


def counted(one: int, two: int, errors: int = 0) -> dict[int, LinkCounters]:
    """Two ports that received so much."""
    return {ONE: LinkCounters(one, 0, errors), TWO: LinkCounters(two, 0, 0)}


def look(silence: SilentPorts, counters: dict[int, LinkCounters], carrying: dict[int, str], now: float) -> list[Note]:
    """What is told when these ports carry traffic."""
    return silence.look(counters, {ONE: "eth1", TWO: "eth2"}, carrying.__contains__, now)


def test_whether_a_port_carries_is_asked_when_there_is_something_to_tell() -> None:
    silence, asked = SilentPorts(), []

    def carries(ifindex: int) -> bool:
        asked.append(ifindex)
        return True

    for received, now in ((5, 0.0), (6, 5.0), (50, 5.0 + 2 * SILENT_S), (60, 10.0 + 2 * SILENT_S)):
        silence.look(counted(5, received), {ONE: "eth1", TWO: "eth2"}, carries, now)
    assert asked == [ONE]


def test_silent_while_another_one_hears() -> None:
    silence = SilentPorts()
    assert look(silence, counted(5, 5), {ONE: "eth1"}, 0.0) == []
    assert look(silence, counted(5, 9), {ONE: "eth1"}, SILENT_S - 1) == []
    (note,) = look(silence, counted(5, 10), {ONE: "eth1"}, SILENT_S)
    assert (note.level, note.incident, note.port) == (Level.WARNING, Incident.SILENCE, "eth1")
    assert look(silence, counted(5, 20), {ONE: "eth1"}, 2 * SILENT_S) == [], "once"
    (note,) = look(silence, counted(6, 20), {ONE: "eth1"}, 3 * SILENT_S)
    assert note.text == "eth1: receives again."
    assert len(look(silence, counted(6, 90), {ONE: "eth1"}, 5 * SILENT_S)) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [counted(5, 5), counted(5, 5)],  # the whole network is quiet
        [counted(5, 5), counted(5, 7)],  # one frame now and then
        [counted(5, 5), counted(6, 99)],
        [counted(9, 5), counted(3, 99)],  # the driver began again
        [{ONE: LinkCounters(5, 0, 0)}, {ONE: LinkCounters(5, 0, 0)}],  # there is no other port
    ],
)
def test_what_is_no_silence(steps: list[dict[int, LinkCounters]]) -> None:
    silence = SilentPorts()
    for number, step in enumerate(steps):
        assert look(silence, step, {ONE: "eth1"}, number * 2 * SILENT_S) == []


def test_a_standby_port_is_not_told_of() -> None:
    silence = SilentPorts()
    look(silence, counted(5, 5), {TWO: "eth2"}, 0.0)
    assert look(silence, counted(5, 50), {TWO: "eth2"}, 2 * SILENT_S) == []


def test_errors_are_told_for_a_while() -> None:
    silence = SilentPorts()
    look(silence, counted(1, 1), {}, 0.0)
    assert silence.errors(ONE, 0.0) == 0
    (note,) = look(silence, counted(2, 2, errors=3), {}, 5.0)
    assert (note.level, note.incident, note.port) == (Level.WARNING, Incident.ERRORS, "eth1")
    assert note.text == "eth1: its driver counted 3 errors (check cable and transceiver: ethtool -S eth1)."
    assert look(silence, counted(3, 3, errors=4), {}, 10.0) == [], "once"
    assert silence.errors(ONE, 10.0) == 4
    assert silence.errors(ONE, 10.0 + ERRORS_S) == 0
    assert look(silence, counted(3, 3, errors=4), {}, 5.0 + ERRORS_TOLD_S) == []
    (note,) = look(silence, counted(3, 3, errors=5), {}, 6.0 + ERRORS_TOLD_S)
    assert note.text.startswith("eth1: its driver counted 1 error (")


def test_a_port_that_left_is_forgotten() -> None:
    silence = SilentPorts()
    look(silence, counted(5, 5), {}, 0.0)
    look(silence, {TWO: LinkCounters(9, 0, 0)}, {}, SILENT_S)
    assert silence.total(ONE) is None
    assert silence.silent_since(ONE, 100.0) is None


def heard(made: Told, eth1: int, eth2: int, errors: int = 0) -> None:
    """The drivers of the team's ports have counted so much."""
    ports = {
        made.world.ifindex_of("eth1"): LinkCounters(eth1, 0, errors),
        made.world.ifindex_of("eth2"): LinkCounters(eth2, 0, 0),
    }
    look(made.team.facts.silence, ports, {}, made.world.clock)


def test_explain_and_metrics() -> None:
    made = told(backup())
    heard(made, 5, 5)
    made.world.pass_time(11.0)
    heard(made, 5, 50)
    wanted = made.team.desired()
    now = made.world.clock
    line = sentence("eth1", explain(made.team, now)["eth1"], now)
    assert line.startswith("eth1: carries traffic as the active port for 1")
    assert ", but has received nothing for 11 s while eth2 received (is the switch's port in the right VLAN" in line
    assert "received" not in sentence("eth2", explain(made.team, now)["eth2"], now)
    assert made.team.desired() == wanted
    assert 'pyteamd_port_silent{team="team0",port="eth1"} 1' in text([(made.team, Trace({}), Gauges())], now)
    heard(made, 6, 51, errors=2)
    line = sentence("eth1", explain(made.team, now)["eth1"], now)
    assert line.endswith(", and its driver counted 2 errors lately (check cable and transceiver: ethtool -S eth1)")
