"""The lacp runner as its team sees it: links, desired state, state items, settings, log."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from lacp_bench import PARTNER_MAC, TEAM, TEAM_MAC, Bench, FakePort

from pyteamd.model.desired import OptionKey, Tap
from pyteamd.model.errors import UserError
from pyteamd.model.events import LinkSeen, OptionSeen, Stop, Tick, UserSet
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig, system_identifier
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.schema.option import options_of
from pyteamd.wire import slow


@pytest.mark.parametrize(
    ("running", "team_up", "speed_mbps", "speed_unknown", "duplex", "state", "blocked"),
    [
        (True, True, 1000, False, 1, "expired", "not_heard_yet"),
        (True, True, 0, False, 0, "expired", "not_heard_yet"),
        (True, True, 0, True, 255, "expired", "not_heard_yet"),
        (True, True, 0, True, 1, "expired", "not_heard_yet"),
        (True, True, 1000, False, 255, "expired", "not_heard_yet"),
        (True, True, 1000, False, 0, "disabled", "half_duplex"),
        (True, True, 0, True, 0, "disabled", "half_duplex"),
        (True, True, 0, False, 1, "disabled", "no_speed"),
        (True, True, 0, False, 255, "disabled", "no_speed"),
        (False, True, 1000, False, 1, "disabled", "no_link"),
        (False, False, 0, False, 0, "disabled", "no_link"),
        (True, False, 1000, False, 1, "disabled", "team_down"),
    ],
)
def test_which_links_can_carry_lacp(
    running: bool, team_up: bool, speed_mbps: int, speed_unknown: bool, duplex: int, state: str, blocked: str
) -> None:
    bench = Bench(FakePort(3, running, speed_mbps, speed_unknown, duplex), start=False)
    bench.view.up = team_up
    bench.handle(Tick())
    assert bench.rx(3) == state
    found = bench.runner.blocking(3)
    assert found is not None
    assert found.reason.value == blocked
    assert (bench.said(3) == []) is (state == "disabled")


def test_the_watchers_verdict_is_not_followed() -> None:
    bench = Bench()
    assert not bench.ports[3].up
    bench.serve()


def test_a_watcher_that_gates_service_keeps_a_port_from_traffic_and_the_mux_where_it_is() -> None:
    bench = Bench(min_ports=2)
    bench.serve()
    bench.ports[3].gated = True
    bench.handle(Tick())
    assert bench.enabled() == {4}
    assert bench.runner.desired(bench.view).carrier is False, "it does not count for min_ports"
    assert bench.state(3)["actor_lacpdu_info"]["state"] == 0x3F, "the partner is told nothing (RFC 7130, 3)"
    bench.ports[3].gated = False
    bench.handle(Tick())
    assert bench.enabled() == {3, 4}


def test_what_the_kernel_is_to_look_like() -> None:
    bench = Bench()
    desired = bench.runner.desired(bench.view)
    assert desired.options == {OptionKey("enabled", 3): False, OptionKey("enabled", 4): False}
    assert desired.macs == {3: TEAM_MAC, 4: TEAM_MAC}
    assert desired.carrier is False
    assert desired.members == {}
    bench.serve()
    desired = bench.runner.desired(bench.view)
    assert desired.options == {OptionKey("enabled", 3): True, OptionKey("enabled", 4): True}
    assert desired.carrier is True


def test_a_kernel_that_switches_both_directions_is_used_so_from_the_moment_it_is_known() -> None:
    bench = Bench()
    bench.serve()
    for name in ("rx_enabled", "tx_enabled"):
        bench.observed.options[OptionKey(name, 3)] = True
        bench.handle(OptionSeen(OptionKey(name, 3), True))
    desired = bench.runner.desired(bench.view).options
    assert desired == {
        OptionKey("rx_enabled", 3): True,
        OptionKey("tx_enabled", 3): True,
        OptionKey("enabled", 4): True,
    }


def test_the_team_going_down_is_told_to_the_partner() -> None:
    bench = Bench()
    bench.serve()
    bench.said(3)
    bench.view.up = False
    bench.handle(LinkSeen(TEAM, "team0", TEAM_MAC))
    assert [pdu.actor.state for pdu in bench.said(3)] == [0x07]
    assert bench.enabled() == set()
    bench.wait(60.0)
    assert bench.said(3) == []
    bench.hear(3)
    assert bench.rx(3) == "disabled", "no state changes while the team is down"
    assert bench.state(3)["details"]["counters"]["bad"] == {"link_not_up": 1}
    bench.view.up = True
    bench.handle(LinkSeen(TEAM, "team0", TEAM_MAC, up=True))
    assert bench.rx(3) == "expired"


def test_state_members() -> None:
    bench = Bench(FakePort(3, config=LacpPortConfig(lacp_prio=10, lacp_key=5)), sys_prio=7, active=False)
    bench.hear(3)
    assert bench.runner.state(bench.view) == {
        "active": False,
        "sys_prio": 7,
        "fast_rate": True,
        "select_policy": "lacp_prio",
    }
    state = bench.state(3)
    details = state.pop("details")
    assert state == {
        "selected": True,
        "aggregator": {"id": 3, "selected": True},
        "state": "current",
        "key": 5,
        "prio": 10,
        "actor_lacpdu_info": {
            "system_priority": 7, "system": "02:00:00:00:00:09", "key": 5, "port_priority": 10, "port": 3, "state": 0x06,
        },
        "partner_lacpdu_info": {
            "system_priority": 100, "system": "02:bb:00:00:00:01", "key": 7, "port_priority": 255, "port": 103, "state": 0x3F,
        },
    }  # fmt: skip
    assert list(details) == [
        "mux", "standby", "partner_in_sync", "actor_state", "partner_state", "churn", "blocked_by", "counters",
    ]  # fmt: skip
    assert details["actor_state"] == "passive, short timeout, aggregatable, out of sync"


def test_state_of_a_port_without_a_partner() -> None:
    bench = Bench()
    bench.wait(4.0)
    state = bench.state(3)
    assert (state["state"], state["selected"], state["aggregator"]) == (
        "defaulted",
        False,
        {"id": 0, "selected": False},
    )
    nobody = {"system_priority": 0, "system": "00:00:00:00:00:00", "key": 0, "port_priority": 0, "port": 0}
    assert state["partner_lacpdu_info"] == nobody | {"state": 2}


def two_aggregates(**config: Any) -> Bench:
    """Port 3 leads to one partner, port 4 to another; 3 is in use."""
    bench = Bench(**config)
    for _ in range(4):
        bench.hear(3, mac=PARTNER_MAC)
        bench.hear(4, mac=b"\x02\xcc\0\0\0\x01")
        bench.wait(1.0)
    assert bench.enabled() == {3}
    return bench


@pytest.mark.parametrize("path", ["ports.4.aggregator.selected", "ports.4.runner.aggregator.selected"])
@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_a_user_selects_an_aggregate_until_the_next_occasion(path: str, value: str) -> None:
    bench = two_aggregates()
    bench.runner.set(path, value, bench.view, bench.now)
    bench.handle(UserSet(path, value))
    assert bench.state(4)["aggregator"] == {"id": 4, "selected": True}
    assert bench.enabled() == {4}, "it stood by"
    for _ in range(3):
        bench.hear(3)
        bench.hear(4, mac=b"\x02\xcc\0\0\0\x01")
        bench.wait(0.9)
    assert bench.enabled() == {4}, "nothing that matters changed"
    bench.ports[3].priority = 5
    bench.handle(OptionSeen(OptionKey("priority", 3), 5))
    assert (bench.state(3)["aggregator"]["selected"], bench.enabled()) == (True, {3}), "the policy decides again"


def test_the_other_aggregate_takes_over_at_once_when_the_one_in_use_fails() -> None:
    bench = two_aggregates()
    bench.ports[3].running = False
    bench.changed(3)
    assert bench.enabled() == {4}
    assert bench.runner.desired(bench.view).carrier is True
    assert bench.said(4)[-1].actor.state == 0x3F


def test_a_stable_policy_keeps_what_a_user_selected() -> None:
    bench = two_aggregates(agg_select_policy="lacp_prio_stable")
    bench.runner.set("ports.4.aggregator.selected", "true", bench.view, bench.now)
    bench.handle(UserSet("ports.4.aggregator.selected", "true"))
    bench.ports[3].priority = 5
    bench.handle(OptionSeen(OptionKey("priority", 3), 5))
    assert bench.state(4)["aggregator"]["selected"]


MACS = {ifindex: bytes((2, 0xCC, 0, 0, 0, ifindex)) for ifindex in (3, 4, 5)}


def test_a_port_that_has_expired_cannot_bring_its_aggregate_back() -> None:
    bench = Bench(FakePort(3), FakePort(4), FakePort(5), sys_prio=1)
    for _ in range(3):
        for ifindex, mac in MACS.items():
            bench.hear(ifindex, mac=mac)
        bench.wait(1.0)
    assert bench.enabled() == {3}, "three partners; port 3 is the best"
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    assert (bench.rx(3), bench.enabled()) == ("expired", {4})
    bench.ports[4].running = False
    bench.changed(4)
    assert bench.enabled() == {5}, "the partner of port 3 is known, but was not heard yet"


def test_a_better_aggregate_is_chosen_when_it_is_ready() -> None:
    bench = two_aggregates()
    for running in (False, True):
        bench.ports[3].running = running
        bench.changed(3)
    for seconds in (0.0, 0.9, 1.9):
        bench.hear(3)
        bench.hear(4, mac=b"\x02\xcc\0\0\0\x01")
        assert bench.enabled() == {4}, f"make before break, after {seconds} s"
        bench.wait(1.0 if seconds else 0.9)
    assert bench.enabled() == {3}


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("ports.3.aggregator.selected", "false", "OpNotSupp"),
        ("ports.3.aggregator.selected", "FALSE", "OpNotSupp"),
        ("ports.3.aggregator.selected", "yes", "ItemValueSetFail"),
        ("ports.3.aggregator.selected", "", "ItemValueSetFail"),
        ("ports.3.aggregator.selected", "true", "ItemValueSetFail"),
        ("ports.99.aggregator.selected", "true", "ItemValueSetFail"),
        ("ports.3.aggregator.id", "3", "OpNotSupp"),
        ("ports.eth3.aggregator.selected", "true", "OpNotSupp"),
        ("active", "true", "OpNotSupp"),
        ("aggregator.selected", "true", "OpNotSupp"),
    ],
)
def test_what_cannot_be_set(path: str, value: str, code: str) -> None:
    bench = Bench()
    with pytest.raises(UserError) as raised:
        bench.runner.set(path, value, bench.view, bench.now)
    assert raised.value.code == code


def test_a_port_that_expired_before_it_attached_has_no_aggregate() -> None:
    bench = Bench(FakePort(3))
    bench.hear(3)
    bench.wait(0.1)
    assert bench.runner.choice() == "3"
    bench.ports[3].running = False
    bench.changed(3)
    bench.ports[3].running = True
    bench.changed(3)
    assert bench.rx(3) == "expired"
    assert bench.runner.choice() == ""
    with pytest.raises(UserError):
        bench.runner.set("ports.3.aggregator.selected", "true", bench.view, bench.now)


def test_the_log_of_a_life() -> None:
    bench = Bench(FakePort(3))
    bench.serve()
    bench.ports[3].running = False
    bench.changed(3)
    assert bench.notes == [
        'eth3: Changed port state: "disabled" -> "expired"',
        'eth3: Changed port state: "expired" -> "current"',
        "Selected aggregator led by eth3 (partner 02:bb:00:00:00:01, key 7)",
        "eth3: in service (partner 02:bb:00:00:00:01, key 7)",
        "carrier changed to UP",
        'eth3: Changed port state: "current" -> "disabled"',
        "eth3: out of service",
        "carrier changed to DOWN",
    ]


def test_unlike_speeds_are_mentioned_once() -> None:
    bench = Bench(FakePort(3), FakePort(4, speed_mbps=100))
    bench.serve()
    bench.wait(2.0)
    assert [note for note in bench.notes if "speed" in note] == [
        "Ports of different speed in one aggregator: eth3 1000 Mbit/s, eth4 100 Mbit/s"
    ]


def test_source_address_is_the_original_one_where_it_is_known() -> None:
    bench = Bench(FakePort(3, original_mac=b"\x02\xff\0\0\0\x01"), FakePort(4))
    assert {octets[6:12] for _, octets in bench.frames} == {b"\x02\xff\0\0\0\x01", b"\x02\0\0\0\0\x04"}


def test_ports_come_and_go() -> None:
    bench = Bench()
    bench.serve()
    bench.present(4)
    assert bench.enabled() == {4}
    with pytest.raises(KeyError):
        bench.runner.blocking(3)
    assert bench.runner.port_state(bench.ports[3], bench.view) is None
    bench.present(3, 4)
    assert (bench.rx(3), bench.enabled()) == ("expired", {4})


def test_an_address_of_another_length_keeps_every_port_disabled() -> None:
    bench = Bench(start=False)
    bench.view.mac = bytes(20)
    bench.handle(Tick())
    assert (bench.rx(3), bench.frames) == ("disabled", [])


def test_wait_to_restore_and_its_exception() -> None:
    ports = [FakePort(i, config=LacpPortConfig(wait_to_restore=10)) for i in (3, 4)]
    bench = Bench(*ports)
    bench.serve()
    bench.ports[3].running = False
    bench.changed(3)
    bench.ports[3].running = True
    bench.changed(3)
    for _ in range(9):
        bench.hear(3)
        bench.hear(4)
        bench.wait(1.0)
        assert bench.enabled() == {4}
    blocked = bench.runner.blocking(3)
    assert blocked is not None
    assert blocked.reason.value == "wait_to_restore"
    bench.ports[4].running = False
    bench.changed(4)
    assert bench.enabled() == {3}, "a port that is needed need not wait"


def test_leaving_is_said_whatever_the_limit() -> None:
    bench = Bench()
    bench.serve()
    for _ in range(5):
        bench.hear(3, state=0x37)
        bench.hear(3)
    bench.said(3)
    bench.runner.leave(bench.view, bench.now)
    bench.handle(Stop(keep=False))
    assert [pdu.actor.state for pdu in bench.said(3)] == [0x07]
    assert bench.enabled() == set()
    assert bench.runner.desired(bench.view).carrier is False
    bench.hear(3)
    bench.wait(100.0)
    assert bench.said(3) == []


def test_leave_is_taken_once_however_often_the_team_goes_down() -> None:
    """Ten times a second for ten seconds: three LACPDUs a second, and at most one more that says goodbye."""
    bench = Bench()
    bench.serve()
    bench.said(3)
    sent: list[float] = []
    for turn in range(200):
        bench.view.up = bool(turn % 2)
        bench.handle(LinkSeen(TEAM, "team0", bench.view.mac, up=bench.view.up), 0.05)
        words = bench.said(3)
        sent += [bench.now] * len(words)
        assert turn > 0 or [pdu.actor.state for pdu in words] == [0x07]
    assert max(sum(at - 1.0 < other <= at for other in sent) for at in sent) <= 4
    assert len(sent) <= 40


def test_taps_and_normalisation() -> None:
    bench = Bench()
    assert bench.runner.taps(bench.ports[3]) == (Tap(slow.FRAMES, b"\x01\x80\xc2\0\0\x02"),)
    for given, expected in (
        ({"runner": {"name": "lacp"}}, {"runner": {"name": "lacp", "tx_hash": ["eth", "ipv4", "ipv6"]}}),
        ({"runner": {"name": "lacp", "tx_hash": ["l4"]}}, {"runner": {"name": "lacp", "tx_hash": ["l4"]}}),
        ({"runner": {"name": "lacp", "tx_hash": []}}, {"runner": {"name": "lacp", "tx_hash": []}}),
    ):
        tree: dict[str, Any] = dict(given)
        Lacp.normalise(tree)
        assert tree == expected


def test_configuration_keys() -> None:
    keys = [spec.path for spec in options_of(LacpConfig).values()]
    assert keys[:3] == ["tx_hash", "tx_balancer.name", "tx_balancer.balancing_interval"]
    assert keys[3:8] == ["active", "fast_rate", "sys_prio", "min_ports", "agg_select_policy"]
    ports = [spec.path for spec in options_of(LacpPortConfig).values()]
    damping = [f"damping.{key}" for key in ("half_life", "penalty", "suppress", "reuse", "max")]
    assert set(ports[:9]) == {"prio", "queue_id", "set_down", "steal", *damping}
    assert ports[9:] == ["weight", "lacp_prio", "lacp_key", "sticky", "wait_to_restore"]


@pytest.mark.parametrize(
    "text", ["", "02:00", "01:00:00:00:00:01", "00:00:00:00:00:00", "eth0", "02:00:00:00:00:01:02"]
)
def test_system_identifiers_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        system_identifier(text)
    assert system_identifier("2:0:0:0:0:1") == b"\x02\0\0\0\0\x01"


@pytest.mark.parametrize(("individual_first", "minimum"), list(itertools.product((False, True), (1, 2))))
def test_carrier_of_a_fallback(individual_first: bool, minimum: int) -> None:
    bench = Bench(fallback="individual" if individual_first else "static", min_ports=minimum)
    bench.wait(4.0)
    assert bench.enabled() == ({3} if individual_first else {3, 4})
    assert bench.runner.desired(bench.view).carrier is True
