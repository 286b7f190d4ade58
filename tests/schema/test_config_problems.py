"""What is wrong with a configuration: where it stands, what it leads to, in which words it is told. Rows: config_rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_kit import load, told
from config_rows import PORT, ROOT, RUNNER, WATCH

from pyteamd.schema.problems import ConfigError, Severity


def rows(table: list[tuple[Any, list[str]]], key: str) -> list[Any]:
    wrap = {
        "": lambda value: value,
        "ports": lambda value: {"runner": {"name": "lacp"}, "ports": {"em1": value}},
    }.get(key, lambda value: {key: value})
    return [pytest.param(wrap(value), lines, id=f"{key}:{json.dumps(value)}"[:80]) for value, lines in table]


@pytest.mark.parametrize(
    ("tree", "lines"),
    rows(ROOT, "") + rows(RUNNER, "runner") + rows(PORT, "ports") + rows(WATCH, "link_watch"),
)
def test_problems(tree: Any, lines: list[str]) -> None:
    assert told(json.dumps(tree)) == lines


def test_all_problems_are_told_at_once_in_order_of_the_text() -> None:
    text = """{
  "runner": {"name": "activebackup", "hwaddr_policy": "by_activ"},
  "hwaddr": "1:2:3",
  "link_watch": [
    {"name": "ethtool"},
    {"name": "arp_ping", "target_hots": "192.0.2.1", "missed_max": -1}
  ],
  "notify_peers": {"count": -1},
  "ports": {
    "eth0.100": {"prio": 1.5, "stcky": true},
    "em2": {"queue_id": -1, "link_watch": {"name": "tipc"}}
  }
}"""
    assert [line.split(":", 3)[1] for line in told(text)] == ["2", "3", "6", "6", "6", "8", "10", "10", "11", "11"]
    with pytest.raises(ConfigError) as caught:
        load(text, file="/etc/team0.conf")
    assert str(caught.value).splitlines()[6] == (
        '/etc/team0.conf:10:18: ports["eth0.100"].prio: must be an integer, not the number 1.5; ignored'
    )
    assert caught.value.teamd_lines == []
    assert caught.value.file == "/etc/team0.conf"


def test_a_tolerated_problem_does_not_stop_the_daemon() -> None:
    config = load('{"x": 1, "ports": {"em1": {"queue_id": -1}}}')
    assert [problem.severity for problem in config.problems] == [Severity.UNREAD, Severity.PORT]


@pytest.mark.parametrize(("port", "warned"), [(1023, True), (1024, False)])
def test_metrics_at_a_port_that_the_kernel_may_reserve_are_used_with_a_warning(port: int, warned: bool) -> None:
    """An update must not leave a team without its daemon, and where net.ipv4.ip_unprivileged_port_start is lower it works."""
    config = load(f'{{"metrics_listen": "127.0.0.1:{port}"}}')
    assert config.team.metrics_listen == f"127.0.0.1:{port}"
    assert [problem.weight for problem in config.problems] == ["warning"] * warned, config.problems
    assert all("net.ipv4.ip_unprivileged_port_start" in problem.message for problem in config.problems)


def test_problems_in_yaml_have_their_places_too() -> None:
    text = "# a comment\nlink_watch:\n  - name: arp_ping\n    target_hots: a\n    vlanid: 5000\n"
    assert told(text) == [
        "f:3:5: link_watch[0].target_host: missing; every port is refused",
        "f:4:5: link_watch[0].target_hots: unknown key (did you mean 'target_host'?)",
        "f:5:5: link_watch[0].vlanid: 5000 is out of range (allowed: 0 to 4095); every port is refused",
    ]


def test_a_bad_device_name_counts_only_when_it_is_used() -> None:
    text = '{"device": "a name too long for an interface"}'
    assert told(text) == []
    assert told(text, device=None) == [
        '! f:1:2: device: "a name too long for an interface" is longer than 15 octets, no interface can have that name'
    ]
    assert told("{}", device="a/b") == [
        '! f:1:1: device: "a/b" is no interface name: blanks, "/" and ":" are not allowed in one'
    ]
    assert told("{}", device="team%d") == [  # the kernel would make team0, and nobody would find it or take it away
        '! f:1:1: device: "team%d" is no interface name: for the kernel "%" stands for a number that it chooses'
    ]


def test_a_port_no_interface_can_be_is_told() -> None:
    assert told('{"ports": {"this is no port": {}}}') == [
        'f:1:12: ports["this is no port"]: "this is no port" is no interface name: '
        'blanks and "/" are not allowed in one'
    ]


@pytest.mark.parametrize("name", ["x" * 127, "pci-0000:00:1f.6", "wan-é", "100%"])
def test_a_port_may_have_any_name_that_a_link_can_have(name: str) -> None:
    assert told(json.dumps({"ports": {name: {}}})) == []
    assert told(json.dumps({"ports": {"x" + "x" * 127: {}}}))[0].endswith(
        "is longer than 127 octets, no interface can have that name"
    )


def test_the_team_is_no_port_of_its_own() -> None:
    assert told('{"ports": {"team0": {}}}') == ["f:1:12: ports.team0: is the team itself, which cannot be a port"]


def test_a_blank_that_is_missing_behind_a_colon() -> None:
    (line,) = told('{"runner": "name:activebackup"}')
    assert line.endswith("(a blank is missing behind the colon)")


def test_what_blocks_the_defaults_of_a_runner_stops_the_daemon() -> None:
    """As in teamd, where the same is tolerated with a runner that writes nothing there."""
    assert told('{"runner": {"name": "activebackup"}, "notify_peers": 5}') == [
        "! f:1:38: notify_peers: must be an object, not the integer 5: the activebackup runner writes to it"
    ]
    assert load('{"runner": {"name": "roundrobin"}, "notify_peers": 5}').tree["notify_peers"] == 5


def test_a_contradiction_counts_unless_its_key_is_refused_already() -> None:
    runner = '{"name": "lacp", "active": false, "fast_rate": true, "x": 1, "sys_prio": -1}'
    assert "! f:1:46: runner.fast_rate: needs active" in told(f'{{"runner": {runner}}}')
    assert told('{"runner": {"name": "lacp", "min_ports": 5, "max_ports": 4}}') == [
        "! f:1:45: runner.max_ports: less than min_ports"
    ]
    assert told('{"runner": {"name": "lacp", "min_ports": 5, "max_ports": -4}}') == [
        "! f:1:45: runner.max_ports: -4 is out of range (allowed: 1 to 2147483647)"
    ]
