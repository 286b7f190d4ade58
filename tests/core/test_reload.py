"""Another configuration for a running team: what it changes, what that interrupts, and that nothing else happens."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from explain_kit import Told, backup, lacp, told, two_partners

from pyteamd.core.reload import plan
from pyteamd.model.desired import OptionKey
from pyteamd.model.errors import UserError
from pyteamd.model.events import ConfigApply

PING = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100, "missed_max": 3}
BALANCED: dict[str, Any] = {"runner": {"name": "loadbalance"}, "ports": {"eth1": {}, "eth2": {}}}


def apply(made: Told, config: dict[str, Any] | str) -> list[str]:
    """Go over to a configuration; returns what the daemon wrote and said."""
    made.world.happened()
    text = config if isinstance(config, str) else json.dumps(config)
    made.world.running().feed(ConfigApply(text), made.world.clock)
    made.world.settle()
    return [f"{happened.kind} {happened.text}" for happened in made.world.happened()]


def changes(made: Told, config: dict[str, Any] | str) -> list[str]:
    """The plan's lines."""
    text = config if isinstance(config, str) else json.dumps(config)
    found = plan(made.team, text)
    assert found.refusals == ()
    return [change.text() for change in found.changes]


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value set, objects made on the way."""
    made = copy.deepcopy(config)
    *way, last = path.split("/")
    tree = made
    for step in way:
        tree = tree.setdefault(step, {})
    tree[last] = value
    return made


def option(made: Told, name: str, port: str = "") -> object:
    """The kernel's value."""
    key = OptionKey(name, made.world.ifindex_of(port) if port else 0)
    return {seen.key: seen.value for seen in made.world.device().options()}[key]


@pytest.mark.parametrize("config", [backup(), lacp(), BALANCED], ids=["activebackup", "lacp", "loadbalance"])
def test_the_same_configuration_changes_nothing(config: dict[str, Any]) -> None:
    made = told(config)
    made.world.pass_time(1.0)
    assert changes(made, config) == []
    assert apply(made, config) == []
    assert apply(made, json.dumps(made.team.config.dump())) == []


ROWS: list[tuple[dict[str, Any], str, Any, list[str]]] = [
    (backup(), "ports/eth2", {"prio": 9}, ["ports.eth2.prio: 0 -> 9 (the team is interrupted)"]),
    (backup(), "ports/eth1", {"prio": 9}, ["ports.eth1.prio: 0 -> 9 (no interruption)"]),
    (backup(), "ports/eth1", {"sticky": True}, ["ports.eth1.sticky: false -> true (no interruption)"]),
    (backup(), "ports/eth1", {"queue_id": 3}, ["ports.eth1.queue_id: not set -> 3 (no interruption)"]),
    (
        backup(),
        "ports/eth3",
        {},
        [
            "ports.eth3: added, joins when it is there and down; it is active then if it is faster than eth1 (no interruption otherwise)"
        ],
    ),
    (
        backup(),
        "ports/eth3",
        {"prio": 1},
        ["ports.eth3: added, joins when it is there and down; it is active then, not eth1 (the team is interrupted)"],
    ),
    (
        backup(eth1={}, eth2={"prio": -1}),
        "ports/eth3",
        {"prio": -1},
        ["ports.eth3: added, joins when it is there and down (no interruption)"],
    ),
    (backup(), "ports", {"eth1": {}}, ["ports.eth2: removed (eth2 is interrupted)"]),
    (
        backup(),
        "link_watch",
        {"name": "ethtool", "delay_up": 10},
        [f"ports.{name}.link_watch: ethtool -> ethtool delay_up 10 (no interruption)" for name in ("eth1", "eth2")],
    ),
    (
        backup(),
        "ports/eth2",
        {"link_watch": PING},
        [
            "ports.eth2.link_watch: ethtool -> arp_ping interval 100 target_host 192.0.2.1 (eth2 is interrupted)",
        ],
    ),
    (backup(), "link_watch_policy", "all", ["link_watch_policy: any -> all (no interruption)"]),
    (backup(), "notify_peers", {"count": 5}, ["notify_peers.count: 1 -> 5 (no interruption)"]),
    (
        {**backup(), "notify_peers": {"interval": 50}},
        "notify_peers",
        {},
        ["notify_peers.interval: 50 -> 0 (no interruption)"],
    ),
    (backup(), "hwaddr", "02:00:00:00:00:99", ["hwaddr: not set -> 02:00:00:00:00:99 (the team is interrupted)"]),
    (
        backup(),
        "runner",
        {"name": "activebackup", "hwaddr_policy": "by_active"},
        ["runner.hwaddr_policy: same_all -> by_active (the team is interrupted)"],
    ),
    (BALANCED, "runner/tx_hash", ["l4"], ["runner.tx_hash: eth, ipv4, ipv6 -> l4 (no interruption)"]),
    (
        BALANCED,
        "runner/tx_balancer",
        {"name": "basic"},
        ["runner.tx_balancer.name: not set -> basic (no interruption)"],
    ),
    (lacp(), "runner/fast_rate", False, ["runner.fast_rate: true -> false (no interruption)"]),
    (
        lacp(),
        "ports/eth3",
        {},
        [
            "ports.eth3: added, joins when it is there and down; another aggregate is used then "
            "if its partner is another one, in sync, and better (no interruption otherwise)"
        ],
    ),
    (lacp(), "runner/min_ports", 2, ["runner.min_ports: 1 -> 2 (no interruption)"]),
    (lacp(), "runner/min_ports", 3, ["runner.min_ports: 1 -> 3 (the team is interrupted)"]),
    (lacp(), "runner/max_ports", 1, ["runner.max_ports: not set -> 1 (the team is interrupted)"]),
    (lacp(), "runner/sys_prio", 7, ["runner.sys_prio: 65535 -> 7 (the team is interrupted)"]),
    (lacp(), "ports/eth2", {"lacp_key": 4}, ["ports.eth2.lacp_key: 0 -> 4 (eth2 is interrupted)"]),
    (lacp(), "ports/eth2", {"wait_to_restore": 4}, ["ports.eth2.wait_to_restore: 0 -> 4 (no interruption)"]),
    (backup(), "debug_level", 2, ["debug_level: 0 -> 2 (no interruption)"]),
]


@pytest.mark.parametrize(("config", "path", "value", "lines"), ROWS, ids=[f"{row[1]}={row[2]}" for row in ROWS])
def test_what_changes_and_what_that_interrupts(config: dict[str, Any], path: str, value: Any, lines: list[str]) -> None:
    made = two_partners(config)[0] if config["runner"]["name"] == "lacp" else told(config)
    new = changed(config, path, value)
    assert changes(made, new) == lines
    apply(made, new)
    made.world.pass_time(5.0)
    assert changes(made, new) == []
    assert apply(made, new) == []
    assert (
        [line for line in changes(made, config) if "link_watch" in line]
        or changes(made, config) != []
        or path == "hwaddr"
    )


BAD: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "expected"),
    ('{"runner": {"name": "lacp"}, "ports": {"eth1": {}, "eth2": {}}}', "cannot change from activebackup to lacp"),
    ('{"device": "team9", "runner": {"name": "activebackup"}}', "this is team0, not team9"),
    (changed(backup(), "ports/eth1", {"prio": "high"}), "ports.eth1.prio"),
    (changed(backup(), "ports/eth1", {"link_watch": {"name": "ethtol"}}), '"ethtol" is unknown'),
    (changed(backup(), "runner/hwaddr_policy", "none"), "hwaddr_policy"),
]


@pytest.mark.parametrize(("config", "words"), BAD)
def test_a_bad_one_changes_nothing(config: dict[str, Any] | str, words: str) -> None:
    made = told(backup())
    before, state = copy.deepcopy(made.team.config.dump()), made.world.state()
    text = config if isinstance(config, str) else json.dumps(config)
    assert words in "\n".join(plan(made.team, text).refusals)
    with pytest.raises(UserError) as refusal:
        apply(made, config)
    assert refusal.value.code == "ConfigApplyFail"
    assert words in refusal.value.text
    made.world.settle()
    assert made.world.happened() == []
    assert (made.team.config.dump(), made.world.state()) == (before, state)


def test_all_problems_are_told_with_their_place() -> None:
    made = told(backup())
    text = '{"runner": {"name": "activebackup"},\n "ports": {\n  "eth1": {"prio": "a"},\n  "eth2": {"prio": []}}}'
    refusals = plan(made.team, text, "t.conf").refusals
    assert [line.split(" ")[0] for line in refusals] == ["t.conf:3:12:", "t.conf:4:12:"]


def test_a_key_that_nobody_reads_is_told_and_a_value_that_cannot_be_used_refuses() -> None:
    odd = {**backup(), "prots": {}}
    made = told(odd)
    taken = plan(made.team, json.dumps({**odd, "porst": {}}))
    assert (taken.refusals, len(taken.warnings)) == ((), 2)
    assert all(": warning: " in line for line in taken.warnings)
    for config in (backup(eth1={"prio": "high"}), backup()):  # whether it was lived with before or not
        assert (
            "error: ports.eth1.prio" in plan(told(config).team, json.dumps(backup(eth1={"prio": "high"}))).refusals[0]
        )


def test_prio_moves_the_traffic_and_nothing_else() -> None:
    made = told(backup())
    assert apply(made, backup(eth1={}, eth2={"prio": 100})) == [
        'info Changed active port to "eth2".',
        "write set priority of eth2 to 100",
        "write set activeport to eth2",
        "write set enabled of eth2 to true",
        "write set enabled of eth1 to false",
    ]


def test_what_people_changed_by_hand_stays_unless_it_is_written_differently() -> None:
    made = told(backup(eth1={}, eth2={"prio": 3}))
    made.world.set_option(OptionKey("priority", made.world.ifindex_of("eth1")), 50)
    made.world.set_item("runner.active_port", "eth2")
    assert apply(made, backup(eth1={}, eth2={"prio": 3, "queue_id": 1})) == ["write set queue_id of eth2 to 1"]
    assert option(made, "priority", "eth1") == 50
    assert made.team.runner.state(made.team.view) == {"active_port": "eth2"}


def test_sticky_taken_away_lets_the_better_port_take_over() -> None:
    made = told(backup(eth1={"prio": 9}, eth2={"sticky": True}))
    made.world.set_peer("eth1", False)
    made.world.set_peer("eth1", True)
    assert option(made, "activeport") == made.world.ifindex_of("eth2")
    apply(made, backup(eth1={"prio": 9}, eth2={}))
    assert option(made, "activeport") == made.world.ifindex_of("eth1")


def test_ports_come_and_go() -> None:
    made = told(backup())
    made.world.make_port("eth3", 1000, 1)
    lines = apply(made, backup(eth2={}, eth3={"prio": 5}))
    assert lines.index('warning Changed active port to "eth2".') < lines.index("write release port eth1")
    assert "write add port eth3" in lines
    assert list(made.world.state()["ports"]) == ["eth2", "eth3"]
    assert option(made, "activeport") == made.world.ifindex_of("eth3")
    assert "eth1" not in made.team.config.dump()["ports"]
    made.world.delete("eth3")
    made.world.make_port("eth3", 1000, 1)
    assert "eth3" in made.world.state()["ports"]


def test_a_port_that_people_added_stays_with_its_settings() -> None:
    made = told(backup(eth1={}))
    made.world.make_port("eth3", 1000, 1)
    made.world.port_config("eth3", {"prio": -5, "link_watch": {"name": "ethtool", "delay_up": 7}})
    made.world.add_port("eth3")
    assert changes(made, backup(eth1={"prio": 1})) == ["ports.eth1.prio: 0 -> 1 (no interruption)"]
    apply(made, backup(eth1={"prio": 1}))
    assert "eth3" in made.world.state()["ports"]
    assert made.team.config.dump_port("eth3")["prio"] == -5
    assert changes(made, backup(eth1={})) == ["ports.eth1.prio: 1 -> 0 (no interruption)"]
    said = "ports.eth3: is a port already, and is configured from now on (no interruption)"
    assert changes(made, backup(eth1={"prio": 1}, eth3=made.team.config.dump_port("eth3"))) == [said]


def test_without_enslaving_ports_are_other_peoples_business() -> None:
    made = Told()
    made.world.make_port("eth1", 1000, 1)
    made.world.start(json.dumps(backup(eth1={})), adopt=False, enslave=False, keep=False)
    made.world.set_master("eth1", "team0")
    assert changes(made, backup(eth2={})) == [
        "ports.eth2: added, and is no port until it is added by command (-n) (no interruption)",
        "ports.eth1: removed (no interruption)",
    ]
    apply(made, backup(eth2={}))
    assert "eth1" in made.world.state()["ports"]
    said = "ports.eth1: is a port already, and is configured from now on (no interruption)"
    assert said in changes(made, backup(eth1={}))


def test_watchers_keep_their_verdict() -> None:
    made = told({**backup(), "link_watch": PING})
    made.world.answer("eth1", "192.0.2.1", True, None)
    made.world.pass_time(1.0)
    before = {name: made.team.ports.named(name) for name in ("eth1", "eth2")}
    ups = {name: port.up for name, port in before.items() if port}
    assert ups == {"eth1": True, "eth2": False}
    assert apply(made, {**backup(), "link_watch": {**PING, "missed_max": 5}}) == []
    made.world.pass_time(0.45)
    assert {name: port.up for name, port in before.items() if port} == ups


def test_a_delay_of_one_port_is_changed_and_holds() -> None:
    made = told(backup())
    apply(made, backup(eth1={"link_watch": {"name": "ethtool", "delay_down": 2000}}, eth2={}))
    made.world.set_peer("eth1", False)
    made.world.pass_time(1.9)
    assert option(made, "activeport") == made.world.ifindex_of("eth1")
    made.world.pass_time(0.2)
    assert option(made, "activeport") == made.world.ifindex_of("eth2")


def test_ping_to_ethtool_gives_the_kernel_its_link_back() -> None:
    made = told({**backup(), "link_watch": PING})
    made.world.pass_time(1.0)
    assert option(made, "user_linkup_enabled", "eth1") is True
    apply(made, backup())
    assert option(made, "user_linkup_enabled", "eth1") is False
    assert made.line("eth1").startswith("eth1: carries traffic")


def test_the_policy_of_all_watchers_takes_effect_at_once() -> None:
    both = {**backup(), "link_watch": [{"name": "ethtool"}, PING]}
    made = told(both)
    made.world.pass_time(1.0)
    assert changes(made, {**both, "link_watch_policy": "all"}) == [
        "link_watch_policy: any -> all (eth1, eth2 is interrupted)"
    ]
    apply(made, {**both, "link_watch_policy": "all"})
    assert [port.up for port in made.team.ports.values()] == [False, False]


@pytest.mark.parametrize(
    "way", [("by_active", "same_all"), ("only_active", "by_active"), ("only_active", "same_all", "only_active")]
)
def test_every_address_policy_is_as_from_the_start(way: tuple[str, ...]) -> None:
    def policy(name: str) -> dict[str, Any]:
        return changed(backup(), "runner/hwaddr_policy", name)

    made = told(backup())
    for name in way:
        apply(made, policy(name))
    fresh = told(policy(way[-1]))
    for world in (made.world, fresh.world):
        world.set_peer("eth1", False)
        world.settle()
    macs = [
        [world.kernel.links[world.ifindex_of(name)].mac for name in ("eth1", "eth2")]
        for world in (made.world, fresh.world)
    ]
    assert macs[0] == macs[1]


def test_a_kernel_that_refuses_a_new_setting_costs_nothing() -> None:
    made = told(backup())
    made.world.refuse("queue_id", "eth2", None, "EINVAL")
    lines = apply(made, backup(eth1={}, eth2={"queue_id": 9}))
    assert lines[0] == "refused set queue_id of eth2 to 9"
    assert "eth2" in made.world.state()["ports"]
    assert not made.team.failed


def test_the_runner_can_be_changed_while_there_are_no_ports() -> None:
    made = told({"runner": {"name": "activebackup"}})
    apply(made, {"runner": {"name": "roundrobin"}, "ports": {"eth1": {}}})
    assert option(made, "mode") == "roundrobin"
    assert made.line("eth1") == "eth1: carries traffic"


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, ["ports.eth2: removed (eth2 is interrupted)"]),
        ({"min_ports": 2}, {"min_ports": 2}, ["ports.eth2: removed (the team is interrupted)"]),
        (
            {},
            {"min_ports": 2},
            ["runner.min_ports: 1 -> 2 (the team is interrupted)", "ports.eth2: removed (the team is interrupted)"],
        ),
        (
            {"min_ports": 2},
            {"min_ports": 1},
            ["runner.min_ports: 2 -> 1 (no interruption)", "ports.eth2: removed (eth2 is interrupted)"],
        ),
        (
            {},
            {"max_ports": 1},
            ["runner.max_ports: not set -> 1 (no interruption)", "ports.eth2: removed (eth2 is interrupted)"],
        ),
    ],
)
def test_lacp_counts_the_ports_that_stay(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    made, _, _ = two_partners(lacp(**before))
    assert changes(made, lacp({"eth1": {}}, **after)) == lines
    apply(made, lacp({"eth1": {}}, **after))
    made.world.pass_time(5.0)
    assert made.team.facts.observed.carrier is not any("the team" in line for line in lines)


@pytest.mark.parametrize(
    ("before", "after", "more", "said"),
    [
        ({"max_ports": 3}, {"max_ports": 2}, {"eth3": {"lacp_prio": 10}}, ["no interruption", "the team"]),
        ({"max_ports": 3}, {"max_ports": 3}, {"eth3": {"lacp_prio": 10}}, ["no interruption otherwise"]),
        ({"max_ports": 3}, {"max_ports": 3}, {f"eth{i}": {"lacp_prio": 10} for i in (3, 4)}, ["the team"] * 2),
        ({}, {"agg_select_policy": "count"}, {"eth3": {}}, ["no interruption", "no interruption"]),
        ({"agg_select_policy": "count"}, {}, {"eth3": {}}, ["no interruption", "no interruption otherwise"]),
    ],
)
def test_lacp_ports_that_come_are_judged_by_what_comes_with_them(
    before: dict[str, Any], after: dict[str, Any], more: dict[str, Any], said: list[str]
) -> None:
    made, _, _ = two_partners(lacp(**before))
    lines = changes(made, lacp({"eth1": {}, "eth2": {}, **more}, **after))
    told = [line.rpartition("(")[2].rstrip(")").removesuffix(" is interrupted") for line in lines]
    assert told == said, lines


def test_the_rules_of_lacp_are_asked_once_for_all_that_changes() -> None:
    made, _, _ = two_partners(lacp())
    group: Any = made.team.runner._group  # type: ignore[attr-defined]
    would_lose, asked = group.would_lose, list[int]()
    group.would_lose = lambda *args: asked.append(1) or would_lose(*args)
    new = {name: {"prio": 3, "sticky": True, "lacp_prio": 7} for name in ("eth1", "eth2")}
    lines = changes(made, lacp(new, max_ports=4, agg_select_policy="count"))
    assert (len(lines), len(asked)) == (8, 1), lines


def test_lacp_goes_on_with_its_partner() -> None:
    made, _, _ = two_partners(lacp())
    since = [reason.since for reason in made.reasons().values()]
    apply(made, lacp(fast_rate=False, min_ports=2, agg_select_policy="bandwidth"))
    made.world.pass_time(5.0)
    assert [reason.since for reason in made.reasons().values()] == since
    assert all(reason.carrying for reason in made.reasons().values())
    apply(made, lacp(fast_rate=False, min_ports=3))
    assert made.line("eth1").startswith("eth1: in service for")
    assert "min_ports is 3" in made.line("eth1")
    apply(made, lacp({"eth1": {}, "eth2": {"lacp_key": 5}}))
    made.world.pass_time(5.0)
    assert "our key 5" in made.line("eth2")


@pytest.mark.parametrize(
    ("policy", "ports", "runner", "patience_s"),
    [
        ("lacp_prio", {"eth1": {"prio": 9}, "eth2": {}}, {}, 0.1),
        ("lacp_prio_stable", {"eth1": {"prio": 9}, "eth2": {}}, {"agg_select_policy": "port_config"}, 0.1),
        ("lacp_prio", {"eth1": {}, "eth2": {"lacp_key": 5}}, {}, 4.0),
    ],
)
def test_an_aggregate_that_a_user_chose_is_in_use_again_when_all_is_taken_back(
    policy: str, ports: dict[str, Any], runner: dict[str, Any], patience_s: float
) -> None:
    made, _, _ = two_partners(lacp(agg_select_policy=policy), {"system": b"\x02\xcc\0\0\0\1"})
    made.world.set_item("ports.eth2.runner.aggregator.selected", "true")
    made.world.pass_time(3.0)
    assert made.reasons()["eth2"].carrying
    text, written, choice = json.dumps(made.team.config.dump()), made.team.config.written, made.team.runner.choice()
    feed = made.world.running().feed
    feed(ConfigApply(json.dumps(lacp(ports, **{"agg_select_policy": policy} | runner))), made.world.clock)
    made.world.settle()
    assert not made.reasons()["eth2"].carrying
    feed(ConfigApply(text, written, choice), made.world.clock)
    made.world.pass_time(patience_s)
    assert made.reasons()["eth2"].carrying
    made.world.pass_time(5.0)
    assert made.reasons()["eth2"].carrying
    assert made.team.runner.choice() == choice


def test_a_host_without_an_address_refuses_everything() -> None:
    made = told(backup())
    named = {**backup(), "link_watch": {**PING, "target_host": "gateway"}}
    with pytest.raises(UserError, match="cannot resolve host gateway"):
        apply(made, named)
