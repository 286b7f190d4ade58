"""Dumps byte for byte as teamd prints them, and updates of a port's settings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_kit import BackupPortConfig, load, update_port

from pyteamd.schema import json_text
from pyteamd.schema.problems import ConfigError

BASE = '{"device":"team0","runner":{"name":"activebackup"},"ports":{"eth1":{},"eth2":{"prio":5}}}'
AFTER_BOTH_JOINED = """\
{
    "device": "team0",
    "mcast_rejoin": {
        "count": 1
    },
    "notify_peers": {
        "count": 1
    },
    "ports": {
        "eth1": {
            "link_watch": {
                "name": "ethtool"
            }
        },
        "eth2": {
            "link_watch": {
                "name": "ethtool"
            },
            "prio": 5
        }
    },
    "runner": {
        "name": "activebackup"
    }
}"""


def test_the_dump_after_both_ports_joined() -> None:
    config = load(BASE, device=None)
    for name in config.port_names():
        config.ensure_watcher(name)
    assert json_text.dumps(config.dump()) == AFTER_BOTH_JOINED
    assert json_text.dumps(config.dump_actual(["eth1", "eth2"])) == AFTER_BOTH_JOINED


def test_unknown_keys_strange_characters_and_reals_are_preserved() -> None:
    config = load(
        '{"x": {"é\\u20ac": [0.1, 1e30, -5, null, true, {}, []]}, "runner": {"name": "roundrobin", "/": "\\u007f"}}'
    )
    assert (
        json_text.dumps(config.dump())
        == """\
{
    "device": "team0",
    "runner": {
        "/": "\x7f",
        "name": "roundrobin"
    },
    "x": {
        "\\u00E9\\u20AC": [
            0.10000000000000001,
            1e30,
            -5,
            null,
            true,
            {},
            []
        ]
    }
}"""
    )


@pytest.mark.parametrize(
    ("written", "present", "actual"),
    [
        ({}, [], None),
        ({}, ["em1"], {"em1": {}}),
        ({"ports": {}}, [], {}),
        ({"ports": {"em1": {"prio": 1}, "em2": {}}}, [], {}),
        ({"ports": {"em1": {"prio": 1}, "em2": {}}}, ["em1", "eth0.5"], {"em1": {"prio": 1}, "eth0.5": {}}),
        ({"ports": 5}, [], 5),
        ({"ports": {"em1": 5}}, [], {}),
        ({"ports": {"em1": 5}}, ["em1"], {"em1": 5}),
    ],
)
def test_the_actual_dump_has_exactly_the_present_ports(written: Any, present: list[str], actual: Any) -> None:
    config = load(json.dumps(written))
    before = json.dumps(config.tree)
    assert config.dump_actual(present).get("ports") == actual
    assert {key for key in config.dump_actual(present) if key != "ports"} == {"device", "runner"}
    assert json.dumps(config.tree) == before


@pytest.mark.parametrize(
    ("written", "dumped"),
    [
        ({}, {}),
        ({"ports": {}}, {}),
        ({"ports": {"em1": {"prio": 1}}}, {"prio": 1}),
        ({"ports": 5}, {}),
        ({"ports": {"em1": 5}}, 5),
    ],
)
def test_the_dump_of_a_port(written: Any, dumped: Any) -> None:
    assert load(json.dumps(written)).dump_port("em1") == dumped


def ports_after(update: str, *, live: bool, name: str = "eth2") -> Any:
    config = load(BASE)
    update_port(config, name, update, live=live)
    return config.tree["ports"]


@pytest.mark.parametrize("live", [True, False])
def test_an_update_replaces_and_does_not_merge(live: bool) -> None:
    assert ports_after('{"prio": 9, "x": [1]}', live=live) == {"eth1": {}, "eth2": {"prio": 9, "x": [1]}}
    assert ports_after("{}", live=live) == {"eth1": {}, "eth2": {}}


def test_an_update_of_an_unknown_port_is_stored_for_later() -> None:
    assert ports_after('{"prio": 9}', live=False, name="eth0.5") == {
        "eth1": {},
        "eth2": {"prio": 5},
        "eth0.5": {"prio": 9},
    }
    config = load("{}")
    update_port(config, "em1", "{}", live=True)
    assert config.tree["ports"] == {"em1": {}}
    odd = load('{"ports": 5}')
    update_port(odd, "em1", '{"prio": 1}', live=False)
    assert odd.tree["ports"] == {"em1": {"prio": 1}}


def test_an_update_is_in_force() -> None:
    config = load(BASE)
    update_port(config, "eth2", '{"prio": 9, "sticky": true}', live=True)
    assert config.port("eth2").config == BackupPortConfig(prio=9, sticky=True)
    update_port(config, "eth2", "{}", live=True)
    assert config.port("eth2").config.prio == 0
    assert config.port("eth2").implicit


REFUSED = [
    ("", "eth2: Failed to parse port config string: '[' or '{' expected near end of file on line 1, column 0"),
    ('{"prio": 1', "eth2: Failed to parse port config string: '}' expected near end of file on line 1, column 10"),
    (
        '{"prio":1,"prio":2}',
        "eth2: Failed to parse port config string: duplicate object key near '\"prio\"' on line 1, column 16",
    ),
    ("prio: 1", "eth2: Failed to parse port config string: '[' or '{' expected near 'prio' on line 1, column 4"),
    ("[]", None),
]


@pytest.mark.parametrize(("text", "line"), REFUSED)
@pytest.mark.parametrize("live", [True, False])
def test_a_broken_update_changes_nothing(text: str, line: str | None, live: bool) -> None:
    config = load(BASE)
    before = json.dumps(config.tree)
    with pytest.raises(ConfigError) as caught:
        update_port(config, "eth2", text, live=live)
    assert caught.value.teamd_lines == ([line] if line else [])
    assert json.dumps(config.tree) == before


@pytest.mark.parametrize("prio", ['"5"', "5.0", "null", "true", "2147483648", "-2147483649"])
def test_a_bad_prio_is_refused_while_it_would_take_effect(prio: str) -> None:
    config = load(BASE)
    before = json.dumps(config.tree)
    with pytest.raises(
        ConfigError, match=r"ports\.eth2\.prio: must be an integer from -2147483648 to 2147483647, not "
    ):
        update_port(config, "eth2", f'{{"prio": {prio}}}', live=True)
    assert json.dumps(config.tree) == before
    update_port(config, "eth2", f'{{"prio": {prio}}}', live=False)
    assert config.tree["ports"]["eth2"] == {"prio": json.loads(prio)}


def test_reading_an_update_stores_nothing() -> None:
    config = load(BASE)
    before = json.dumps(config.tree)
    assert config.read_port("eth2", '{"prio": 9}', live=True) == {"prio": 9}
    assert json.dumps(config.tree) == before


def test_the_stored_settings_are_not_the_callers() -> None:
    config = load(BASE)
    tree = {"prio": 9}
    config.set_port("eth2", tree)
    config.ensure_watcher("eth2")
    assert tree == {"prio": 9}
