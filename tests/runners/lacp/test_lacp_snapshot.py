"""What a lacp daemon leaves to its successor: the picture, its age, and pictures that are of no use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lacp_bench import Bench, FakePort
from lacp_pair import Box, World

from pyteamd.model.desired import OptionKey
from pyteamd.model.events import Resync, Tick
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.runners.lacp.snapshot import load


def left_behind(*ports: FakePort, **config: Any) -> tuple[Bench, dict[str, Any]]:
    """A daemon in service, and the picture it leaves, as it comes back from a file."""
    bench = Bench(*ports, **config)
    bench.serve()
    return bench, json.loads(json.dumps(bench.runner.snapshot(bench.now)))


def successor(snapshot: Any, age_s: float, *ports: FakePort, **config: Any) -> Bench:
    bench = Bench(*ports, start=False, adopted=True, **config)
    bench.runner.resume(snapshot, age_s, bench.now)
    bench.handle(Resync((), (), ()))
    return bench


@pytest.mark.parametrize("age_s", [0.0, 0.5, 2.9])
def test_a_successor_goes_on_without_a_write_and_with_a_right_first_lacpdu(age_s: float) -> None:
    before, snapshot = left_behind()
    last = before.said(3)[-1]
    after = successor(snapshot, age_s)
    assert after.said(3) == [last]
    assert last.actor.state == 0x3F
    desired = after.runner.desired(after.view)
    assert desired.options == {OptionKey("enabled", 3): True, OptionKey("enabled", 4): True}
    assert desired.carrier is True
    assert not any("Changed port state" in note for note in after.notes)


@pytest.mark.parametrize(("partner_state", "age_s"), [(0x3F, 3.0), (0x3D, 90.0)])
def test_a_picture_that_is_older_than_the_partners_patience_is_not_believed(partner_state: int, age_s: float) -> None:
    bench, _ = left_behind()
    for ifindex in bench.ports:
        bench.hear(ifindex, state=partner_state)
    snapshot = bench.runner.snapshot(bench.now)
    young, old = successor(snapshot, age_s - 0.1), successor(snapshot, age_s)
    assert (young.rx(3), young.enabled()) == ("current", {3, 4})
    assert old.rx(3) == "expired"
    assert OptionKey("enabled", 3) not in old.runner.desired(old.view).options, "listens before it touches anything"


@pytest.mark.parametrize("partner_state", [0x3E, 0x3F], ids=["passive", "active"])
def test_a_successor_that_is_passive_tells_a_passive_partner_that_it_is_out_of_service(partner_state: int) -> None:
    """The partner counted on the predecessor, and would for three seconds more, or ninety."""
    before = Bench(FakePort(3))
    for _ in range(4):
        before.hear(3, state=partner_state)
        before.wait(1.0)
    assert before.enabled() == {3}
    after = successor(before.runner.snapshot(before.now), 0.5, FakePort(3), active=False)
    after.wait(0.5)
    serves = partner_state == 0x3F
    assert after.enabled() == ({3} if serves else set())
    assert [pdu.actor.state for pdu in after.said(3)] == [0x3E if serves else 0x0E]


def test_number_and_source_address_do_not_age() -> None:
    _, snapshot = left_behind(FakePort(65539, original_mac=b"\x02\xff\0\0\0\x01"))
    after = successor(snapshot, 1e6, FakePort(3), FakePort(65539))
    assert after.actor(65539).port == 3
    assert after.actor(3).port == 4, "the number a known port will want is not given away"
    after.wait(3.0)
    assert {octets[6:12] for port, octets in after.frames if port == 65539} == {b"\x02\xff\0\0\0\x01"}


def test_another_device_of_the_same_name_begins_again() -> None:
    _, snapshot = left_behind(FakePort(3))
    after = successor(snapshot, 0.1, FakePort(5, name="eth3"))
    assert (after.rx(5), after.actor(5).port) == ("expired", 5)


def test_a_silent_partner_is_found_out_after_one_timeout() -> None:
    _, snapshot = left_behind()
    after = successor(snapshot, 1.0)
    after.wait(2.9)
    assert after.enabled() == {3, 4}
    after.wait(0.2)
    assert after.enabled() == set()


def test_a_link_lost_in_between_is_seen() -> None:
    _, snapshot = left_behind()
    after = successor(snapshot, 1.0, FakePort(3, running=False), FakePort(4))
    assert (after.rx(3), after.enabled()) == ("disabled", {4})


def test_the_aggregate_in_use_is_part_of_the_picture() -> None:
    bench = Bench(agg_select_policy="lacp_prio_stable")
    for _ in range(4):
        bench.hear(4, mac=b"\x02\xcc\0\0\0\x01")
        bench.wait(1.0)
    bench.hear(3)
    assert bench.state(4)["aggregator"]["selected"]
    after = successor(bench.runner.snapshot(bench.now), 0.1, agg_select_policy="lacp_prio_stable")
    assert after.state(4)["aggregator"]["selected"]
    assert after.enabled() == {4}


def test_what_is_left_of_wait_to_restore_goes_on() -> None:
    ports = [FakePort(i, config=LacpPortConfig(wait_to_restore=10)) for i in (3, 4)]
    bench = Bench(*ports)
    bench.serve()
    bench.ports[3].running = False
    bench.changed(3)
    bench.ports[3].running = True
    bench.changed(3)
    bench.hear(3)
    bench.wait(1.0)
    bench.hear(3)
    bench.hear(4)
    after = successor(bench.runner.snapshot(bench.now), 0.5, *ports)
    for _ in range(8):
        after.hear(3)
        after.hear(4)
        after.wait(1.0)
        assert after.enabled() == {4}
    after.hear(3)
    after.hear(4)
    after.wait(2.0)
    assert after.enabled() == {3, 4}


def test_the_revision_grows_with_what_matters_and_rests_otherwise() -> None:
    bench, _ = left_behind()
    bench.hear(3)
    revision = bench.runner.revision
    for _ in range(5):
        bench.hear(3)
        bench.hear(4)
        bench.wait(0.9)
    assert bench.runner.revision == revision
    bench.hear(3, state=0x37)
    assert bench.runner.revision > revision


def damaged() -> list[Any]:
    """Pictures with one thing wrong."""
    _, snapshot = left_behind(FakePort(3))
    found: list[Any] = [{}, {"version": 2, "ports": {}}, {"version": 1}, {"version": 1, "ports": []}, []]
    values: dict[str, list[Any]] = {
        "state": ["happy", None],
        "mux": ["", 3],
        "partner": [None, {}, "x"],
        "told": [{"system": "02"}, 7],
        "source": ["02:00", None, "xx"],
        "number": ["three", None, 0, 65536],
        "restore_s": ["soon", -1, float("nan")],
        "speed_mbps": [float("inf")],
    }
    for key, wrong in values.items():
        for value in wrong:
            found.append({"version": 1, "ports": {"eth3": snapshot["ports"]["eth3"] | {key: value}}})
    partner = snapshot["ports"]["eth3"]["partner"]
    for key, value in (("key", 65536), ("state", 256), ("port", -1)):
        found.append({"version": 1, "ports": {"eth3": snapshot["ports"]["eth3"] | {"partner": partner | {key: value}}}})
    missing = dict(snapshot["ports"]["eth3"])
    del missing["ifindex"]
    return [*found, {"version": 1, "ports": {"eth3": missing}}]


@pytest.mark.parametrize("snapshot", damaged(), ids=str)
def test_a_damaged_picture_is_no_picture(snapshot: Any) -> None:
    assert load(snapshot) == {}
    after = successor(snapshot, 0.1, FakePort(3))
    assert after.rx(3) == "expired"


def test_a_port_found_enabled_is_left_alone_for_two_seconds_only() -> None:
    bench = Bench(adopted=True)
    assert bench.runner.desired(bench.view).options == {}
    assert bench.runner.desired(bench.view).carrier is None
    assert bench.frames == []
    blocked = bench.runner.blocking(3)
    assert blocked is not None
    assert blocked.reason.value == "holding"
    bench.wait(2.1)
    assert bench.enabled() == set()
    assert bench.said(3) != []


def test_the_kernel_is_told_at_the_end_of_the_hold() -> None:
    """Nothing else happens then; the partner is given up a second later."""
    world = World()
    box = Box(world, "a", [3, 4])
    for port in box.ports.values():
        port.running = True
    box.observed.carrier = True
    box.start(adopted=True)
    world.run(1.9)
    assert (box.serving(), box.observed.carrier) == ({3, 4}, True)
    world.run(0.2)
    assert (box.serving(), box.observed.carrier) == (set(), False)


def test_a_partner_that_is_not_in_service_with_us_ends_the_hold() -> None:
    bench = Bench(adopted=True)
    bench.hear(3)
    assert bench.enabled() == set(), "the partner knows us without SYNC"
    assert OptionKey("enabled", 3) in bench.runner.desired(bench.view).options
    assert OptionKey("enabled", 4) not in bench.runner.desired(bench.view).options


@pytest.mark.parametrize("change", ["not adopted", "disabled", "later", "no link"])
def test_who_is_not_held(change: str) -> None:
    bench = Bench(
        FakePort(3, running=change != "no link"),
        adopted=change != "not adopted",
        enabled=change != "disabled",
        start=False,
    )
    if change == "later":
        ports, bench.view.ports = bench.view.ports, {}
        bench.handle(Resync((), (), ()))
        bench.view.ports = ports
    bench.handle(Tick())
    assert bench.runner.desired(bench.view).options == {OptionKey("enabled", 3): False}


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ({"version": 1, "ports": {}}, 0),
        ({"version": 99, "ports": {"eth1": {}}}, 1),
        ({"version": 1, "ports": {"eth1": {}}}, 1),
        ({"version": 1, "ports": "elsewhere"}, 1),
        ({}, 1),
    ],
)
def test_what_is_of_no_use_is_told(left: dict[str, Any], told: int) -> None:
    """After a downgrade, traffic is interrupted: the log says why."""
    runner = Lacp(LacpConfig())
    runner.resume(left, 1.0, 100.0)
    _, notes = runner.outbox.take()
    assert [note.text.partition(":")[0] for note in notes] == told * [
        "What the last daemon left is damaged or of another version"
    ]
