"""Whose the carrier of the team is: the driver's, until the runner or another program sets it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from explain_kit import Told, again, apply, backup, begin, lacp, told

from pyteamd.core.carrier import Carrier
from pyteamd.core.set_once import MODE
from pyteamd.model.events import Stop, Tick

SPREAD = {"runner": {"name": "loadbalance"}, "ports": {"eth1": {}, "eth2": {}}}


def test_the_carrier_is_the_drivers_again_after_lacp() -> None:
    made = told(lacp())
    made.world.pass_time(1.0)
    for name in ("eth1", "eth2"):
        made.world.remove_port(name)
    apply(made, {"runner": {"name": "loadbalance"}, "ports": {"eth1": {}, "eth2": {}}})
    for name in ("eth1", "eth2"):
        made.world.add_port(name)
    assert made.world.carrier()
    assert made.world.device().hash_program
    made.world.set_peer("eth1", False)
    assert made.world.carrier()
    made.world.set_peer("eth2", False)
    assert not made.world.carrier()


@pytest.mark.parametrize("refused", [False, True])
def test_the_carrier_of_an_empty_device_that_was_left_behind_by_lacp(refused: bool) -> None:
    made = told({}, start=False)
    made.world.kernel.create_team("team0")
    device = made.world.kernel.teams[made.world.ifindex_of("team0")]
    device.set_option(MODE, "loadbalance")
    device.set_carrier(False)
    if refused:
        made.world.refuse("mode", "", None, "EINVAL")
    config = {"runner": {"name": "loadbalance"}, "ports": {"eth1": {}}}
    made.world.start(json.dumps(config), adopt=True, enslave=True, keep=False)
    made.world.set_admin("team0", True)
    assert [port.name for port in made.team.ports.values()] == ["eth1"]
    assert made.world.carrier() is not refused
    assert device.hash_program


@pytest.mark.parametrize("config", [SPREAD, backup(), lacp()], ids=["loadbalance", "activebackup", "lacp"])
@pytest.mark.parametrize("up", [False, True])
def test_a_carrier_that_was_set_by_hand_before_a_take_over_is_put_right(config: dict[str, object], up: bool) -> None:
    made = told(config)
    made.world.pass_time(5.0)
    right = made.world.carrier()
    made.world.kill()
    made.world.device().set_carrier(up)
    made.world.start(json.dumps(config), adopt=True, enslave=True, keep=False)
    made.world.pass_time(3.0)
    assert made.world.carrier() is right
    for name, running in (("eth1", False), ("eth2", False), ("eth2", True)):
        made.world.set_peer(name, running)
        made.world.pass_time(3.0)
        assert made.world.carrier() is (right and (name == "eth1" or running))
    made.world.set_peer("eth2", False)
    assert not made.world.carrier(), "known to be ours by now, so at once"


@pytest.mark.parametrize("waiting", [True, False], ids=["the carrier's change waits in the socket", "nothing waits"])
def test_after_a_standstill_what_the_kernel_said_is_read_before_the_carrier_is_taken_for_ours(waiting: bool) -> None:
    facts = told(SPREAD).team.facts
    carrier = Carrier(facts)
    carrier.look(1.0)
    for ifindex, port in facts.port_list.items():
        facts.port_list[ifindex] = replace(port, linkup=False)
    carrier.look(2.0)
    carrier.look(9.0)
    if waiting:
        facts.observed.carrier = False
    carrier.look(9.006)
    assert carrier.desired() is (None if waiting else False)


def test_a_team_that_ends_waits_for_the_kernel_alone() -> None:
    made = told(SPREAD)
    made.world.pass_time(5.0)
    made.world.kill()
    made.world.device().set_carrier(False)
    made.world.start(json.dumps(SPREAD), adopt=True, enslave=True, keep=False)
    made.world.pass_time(1.0)
    assert made.team.carrier.deadline() is not None
    made.world.refuse("release", "", None, "EBUSY")
    for event, seconds in ((Stop(False), 0.0), (Tick(), 3.0)):
        now = made.world.clock + seconds
        made.world.running().feed(event, now)
        assert (made.team.deadline() or 0.0) > now


def carriers(made: Told) -> list[str]:
    """What was written to the carrier, and ports that were added."""
    return [
        one.text
        for one in made.world.happened()
        if one.kind == "write" and one.text[:11] in ("set carrier", "add port et")
    ]


def test_the_carrier_is_set_before_the_first_port_whatever_ran_before() -> None:
    made = told({"runner": {"name": "loadbalance"}})
    apply(made, lacp({"eth1": {}}))
    made.world.add_port("eth1")
    assert carriers(made) == ["set carrier down", "add port eth1"]
    made.world.kernel.lose_events()
    made.world.pass_time(5.0)
    assert carriers(made) == []
    made.world.remove_port("eth1")
    apply(made, {"runner": {"name": "roundrobin"}, "ports": {"eth1": {}}})
    apply(made, lacp({"eth1": {}}))
    made.world.add_port("eth1")
    assert carriers(made) == ["set carrier down", "add port eth1"]


def test_a_carrier_that_cannot_be_set_is_tried_less_and_less_often() -> None:
    made = told(lacp(), start=False)
    made.world.refuse("carrier", "", None, "EOPNOTSUPP")
    begin(made, lacp())
    assert list(made.team.ports) == [made.world.ifindex_of(name) for name in ("eth1", "eth2")]
    made.world.pass_time(60.0)
    said = [one.text for one in made.world.happened() if "carrier" in one.text and one.kind in ("warning", "error")]
    assert len(said) == 2
    assert "less and less often" in said[1]


def texts(made: Told) -> list[str]:
    """What happened, but for the news that the team lost or has its carrier."""
    return [happened.text for happened in made.world.happened() if not happened.text.startswith("The team has ")]


@pytest.mark.parametrize("up", [False, True])
def test_a_carrier_that_is_set_by_hand_while_we_run_is_left_alone(up: bool) -> None:
    made = told(SPREAD)
    again(made)
    for name in ("eth1", "eth2"):
        made.world.set_peer(name, not up)
    made.world.pass_time(3.0)
    assert made.world.carrier() is not up
    made.world.device().set_carrier(up)
    made.world.settle()
    made.world.pass_time(3.0)
    for running in (up, not up):
        made.world.set_peer("eth1", running)
        made.world.pass_time(3.0)
        assert made.world.carrier() is up
    assert not [text for text in texts(made) if "carrier" in text]


def test_a_carrier_that_the_driver_sets_is_left_to_it() -> None:
    made = told(SPREAD)
    again(made)
    for running in (False, True, False):
        for name in ("eth1", "eth2"):
            made.world.set_peer(name, running)
        made.world.pass_time(3.0)
        assert made.world.carrier() is running
    made.world.set_admin("team0", False)
    made.world.set_peer("eth1", True)
    made.world.pass_time(3.0)
    assert not [text for text in texts(made) if "carrier" in text]
    assert made.team.deadline() is None
