"""What a Config holds: the stored tree with its defaults, the values read from it, ports, updates, dumps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_kit import (
    ArpConfig,
    BackupConfig,
    BackupPortConfig,
    BalanceConfig,
    EthtoolConfig,
    LacpConfig,
    LacpPortConfig,
    load,
)

from pyteamd.config.config import Config, TeamConfig
from pyteamd.runners.base import NoConfig, PortConfig
from pyteamd.schema import json_text
from pyteamd.schema.problems import ConfigError, Severity

# -- values ---------------------------------------------------------------------------------------------------


def test_an_empty_configuration_is_a_roundrobin_team() -> None:
    config = load("{}")
    assert config.tree == {"device": "team0", "runner": {"name": "roundrobin"}}
    assert config.team == TeamConfig(device="team0")
    assert (config.runner_name, config.runner_class.name, config.runner) == ("roundrobin", "roundrobin", NoConfig())
    assert config.port_names() == []
    assert config.problems == []


def test_every_key_of_the_team() -> None:
    config = load(
        json.dumps(
            {
                "device": "team7",
                "debug_level": 2,
                "hwaddr": "2:0:5e:0:53:1",
                "link_watch_policy": "all",
                "notify_peers": {"count": 3, "interval": 100},
                "mcast_rejoin": {"count": 0, "interval": 200},
            }
        ),
        device=None,
    )
    assert config.team == TeamConfig("team7", 2, bytes.fromhex("02005e005301"), "all", 3, 100, 0, 200)


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        ({"name": "activebackup"}, BackupConfig()),
        ({"name": "activebackup", "hwaddr_policy": "by_active"}, BackupConfig("by_active")),
        ({"name": "loadbalance"}, BalanceConfig(("eth", "ipv4", "ipv6"))),
        ({"name": "loadbalance", "tx_hash": ["l4", "x", 5, "l3", "l3"]}, BalanceConfig(("l4", "l3", "l3"))),
        ({"name": "loadbalance", "tx_hash": []}, BalanceConfig(())),
        ({"name": "loadbalance", "tx_hash": {"eth": 1}}, BalanceConfig(())),
        ({"name": "loadbalance", "tx_hash": None}, BalanceConfig(())),
        (
            {"name": "loadbalance", "tx_balancer": {"name": "basic", "balancing_interval": 7}},
            BalanceConfig(balancer="basic", balancing_interval=7),
        ),
        (
            {"name": "loadbalance", "tx_balancer": {"name": "other", "balancing_interval": -7}},
            BalanceConfig(balancer=None, balancing_interval=50),
        ),
        ({"name": "loadbalance", "tx_balancer": "basic"}, BalanceConfig()),
        ({"name": "lacp", "fast_rate": 1, "active": "x", "sys_prio": 7.0}, LacpConfig()),
        (
            {"name": "lacp", "fast_rate": True, "sys_prio": 7, "min_ports": 2, "max_ports": 2},
            LacpConfig(fast_rate=True, sys_prio=7, min_ports=2, max_ports=2),
        ),
    ],
)
def test_runners(runner: dict[str, Any], expected: Any) -> None:
    assert load(json.dumps({"runner": runner})).runner == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LacpPortConfig()),
        (
            {"prio": -5, "queue_id": 0, "sticky": True, "lacp_prio": 1, "lacp_key": 2},
            LacpPortConfig(prio=-5, queue_id=0, sticky=True, lacp_prio=1, lacp_key=2),
        ),
        ({"prio": "x", "sticky": 1, "queue_id": None, "lacp_prio": 1.0}, LacpPortConfig()),
        ({"prio": True}, LacpPortConfig()),
    ],
)
def test_ports(settings: dict[str, Any], expected: Any) -> None:
    config = load(json.dumps({"runner": {"name": "lacp"}, "ports": {"em1": settings}}))
    assert config.port("em1").config == expected
    assert not config.port("em1").refused


def test_ports_come_in_the_order_they_are_written() -> None:
    assert load('{"ports": {"z": {}, "a": {}, "m": {}}}').port_names() == ["z", "a", "m"]


def test_the_device_of_the_command_line_wins_and_is_stored() -> None:
    config = load('{"device": "team7"}', device="team8")
    assert (config.team.device, config.tree["device"]) == ("team8", "team8")


def test_a_generated_device_name_is_stored() -> None:
    config = load("{}", device=None)
    assert (config.team.device, "device" in config.tree) == (None, False)
    config.set_device("team3")
    assert (config.team.device, config.tree["device"]) == ("team3", "team3")


# -- defaults written into the tree -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({}, {"runner": {"name": "roundrobin"}}),
        ({"runner": {}}, {"runner": {"name": "roundrobin"}}),
        (
            {"runner": {"name": "roundrobin", "x": 1}, "y": [None]},
            {"runner": {"name": "roundrobin", "x": 1}, "y": [None]},
        ),
        (
            {"runner": {"name": "activebackup"}},
            {"runner": {"name": "activebackup"}, "notify_peers": {"count": 1}, "mcast_rejoin": {"count": 1}},
        ),
        (
            {"runner": {"name": "activebackup"}, "notify_peers": {"interval": 9}, "mcast_rejoin": {"count": 4}},
            {
                "runner": {"name": "activebackup"},
                "notify_peers": {"interval": 9, "count": 1},
                "mcast_rejoin": {"count": 4},
            },
        ),
        (
            {"runner": {"name": "activebackup"}, "notify_peers": {"count": "x"}},
            {"runner": {"name": "activebackup"}, "notify_peers": {"count": "x"}, "mcast_rejoin": {"count": 1}},
        ),
        ({"runner": {"name": "lacp"}}, {"runner": {"name": "lacp", "tx_hash": ["eth", "ipv4", "ipv6"]}}),
        ({"runner": {"name": "loadbalance", "tx_hash": "x"}}, {"runner": {"name": "loadbalance", "tx_hash": "x"}}),
        (
            {"ports": {"em1": {}}, "link_watch": []},
            {"ports": {"em1": {}}, "link_watch": [], "runner": {"name": "roundrobin"}},
        ),
    ],
)
def test_what_is_stored(written: dict[str, Any], stored: dict[str, Any]) -> None:
    assert load(json.dumps(written)).tree == {"device": "team0", **stored}


def test_the_default_counts_of_activebackup_are_in_force() -> None:
    config = load('{"runner": {"name": "activebackup"}, "notify_peers": {"count": "x"}}')
    assert (config.team.notify_peers_count, config.team.mcast_rejoin_count) == (None, 1)


# -- link watchers ----------------------------------------------------------------------------------------------

ARP = {"name": "arp_ping", "target_host": "192.0.2.1"}
ARP_CONFIG = ArpConfig(target_host="192.0.2.1")
SLOW = {"name": "ethtool", "delay_up": 7}


@pytest.mark.parametrize(
    ("team", "port", "expected"),
    [
        ({}, {}, [("ethtool", EthtoolConfig())]),
        ({"link_watch": []}, {}, [("ethtool", EthtoolConfig())]),
        ({"link_watch": SLOW}, {}, [("ethtool", EthtoolConfig(7))]),
        ({"link_watch": [SLOW, ARP]}, {}, [("ethtool", EthtoolConfig(7)), ("arp_ping", ARP_CONFIG)]),
        ({}, {"link_watch": ARP}, [("arp_ping", ARP_CONFIG)]),
        ({"link_watch": SLOW}, {"link_watch": ARP}, [("arp_ping", ARP_CONFIG), ("ethtool", EthtoolConfig(7))]),
        (
            {"link_watch": SLOW},
            {"link_watch": [SLOW, ARP]},
            [
                ("ethtool", EthtoolConfig(7)),
                ("arp_ping", ARP_CONFIG),
                ("ethtool", EthtoolConfig(7)),
            ],
        ),
        ({"link_watch": SLOW}, {"link_watch": []}, [("ethtool", EthtoolConfig(7))]),
    ],
)
def test_watchers_of_the_port_come_first_then_those_of_the_team(
    team: dict[str, Any], port: dict[str, Any], expected: list[Any]
) -> None:
    setup = load(json.dumps({**team, "ports": {"em1": port}})).port("em1")
    assert [(cls.name, config) for cls, config in setup.watchers] == expected
    assert setup.problems == ()


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({}, {"ports": {"eth0.100": {"link_watch": {"name": "ethtool"}}}}),
        ({"ports": {"eth0.100": {"prio": 5}}}, {"ports": {"eth0.100": {"prio": 5, "link_watch": {"name": "ethtool"}}}}),
        ({"link_watch": []}, {"link_watch": [], "ports": {"eth0.100": {"link_watch": {"name": "ethtool"}}}}),
        ({"link_watch": SLOW}, {"link_watch": SLOW}),
        ({"ports": {"eth0.100": {"link_watch": SLOW}}}, {"ports": {"eth0.100": {"link_watch": SLOW}}}),
        ({"ports": {"eth0.100": 5}}, {"ports": {"eth0.100": 5}}),
        ({"ports": {"eth0.100": {"link_watch": []}}}, {"ports": {"eth0.100": {"link_watch": []}}}),
    ],
)
def test_the_implicit_watcher_is_stored_when_the_port_joins(written: dict[str, Any], stored: dict[str, Any]) -> None:
    config = load(json.dumps(written))
    config.ensure_watcher("eth0.100")
    config.ensure_watcher("eth0.100")
    assert config.tree == {"device": "team0", "runner": {"name": "roundrobin"}, **stored}


@pytest.mark.parametrize("name", ["eth0.100", "eth0[1]", 'e"h', "a.b.c"])
def test_names_with_dots_and_brackets_are_plain_names(name: str) -> None:
    config = load(json.dumps({"runner": {"name": "activebackup"}, "ports": {name: {"prio": 7, "link_watch": SLOW}}}))
    setup = config.port(name)
    assert setup.config == BackupPortConfig(7)
    assert [config for _, config in setup.watchers] == [EthtoolConfig(7)]


@pytest.mark.parametrize(
    "tree",
    [
        {"link_watch": {"name": "tipc"}},
        {"link_watch": [SLOW, {}]},
        {"ports": {"em1": {"lacp_key": -1}}},
        {"ports": {"em1": {"link_watch": []}}},
        {"ports": 5},
    ],
)
def test_a_refused_port_says_why(tree: dict[str, Any]) -> None:
    config = load(json.dumps({"runner": {"name": "lacp"}, **tree}))
    setup = config.port("em1")
    assert setup.refused
    assert [problem.severity for problem in setup.problems] == [Severity.PORT]
    assert [problem.severity for problem in config.problems] == [Severity.PORT]


def test_a_bad_port_leaves_the_others_alone() -> None:
    config = load('{"ports": {"em1": {"queue_id": -1}, "em2": {}}}')
    assert [config.port(name).refused for name in ("em1", "em2", "em3")] == [True, False, False]


def test_watchers_say_which_hosts_they_need() -> None:
    [(cls, config)] = load(json.dumps({"link_watch": {**ARP, "also": ["gw"]}})).port("em1").watchers
    assert (cls.name, config.target_host, config.also, config.source_host) == (
        "arp_ping",
        "192.0.2.1",
        ("gw",),
        "0.0.0.0",
    )


def test_a_port_that_is_not_configured_has_defaults() -> None:
    setup = load("{}").port("em9")
    assert (setup.config, setup.implicit, setup.refused, setup.problems) == (PortConfig(), True, False, ())


def test_loading_again_what_was_dumped_gives_the_same() -> None:
    config = load('{"runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 5}}, "x": [1.5, "é"]}')
    config.ensure_watcher("em1")
    again = Config.load(json_text.dumps(config.dump()), runners=config._runners, watchers=config._watchers, device=None)
    assert (again.tree, again.team, again.runner) == (config.tree, config.team, config.runner)


def test_an_error_tells_of_tolerated_problems_too() -> None:
    with pytest.raises(ConfigError) as caught:
        load('{"hwaddr": "x", "ports": {"em1": {"prio": "x"}}}')
    assert [problem.severity for problem in caught.value.problems] == [Severity.START, Severity.TOLERATED]
