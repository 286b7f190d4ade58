"""Whatever the text, a configuration loads or raises ConfigError with problems that can be told; nothing else.

The values are good configurations with a few things replaced, removed, renamed or added: most of what is random from the
start would be refused before it comes to anything.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import pytest
from config_kit import load, update_port
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyteamd.schema import json_text
from pyteamd.schema.problems import ConfigError, Problem, Severity

BASES: tuple[Any, ...] = (
    {
        "device": "team0",
        "debug_level": 1,
        "hwaddr": "02:00:5e:00:53:01",
        "link_watch_policy": "all",
        "runner": {"name": "activebackup", "hwaddr_policy": "by_active"},
        "notify_peers": {"count": 2, "interval": 5},
        "mcast_rejoin": {"count": 2},
        "link_watch": [{"name": "ethtool", "delay_up": 5}, {"name": "arp_ping", "target_host": "a", "also": ["b"]}],
        "ports": {"em1": {"prio": 5, "sticky": True}, "eth0.100": {"link_watch": {"name": "ethtool"}, "queue_id": 3}},
    },
    {
        "runner": {
            "name": "lacp",
            "active": True,
            "fast_rate": True,
            "sys_prio": 5,
            "min_ports": 1,
            "tx_hash": ["eth", "l3"],
            "tx_balancer": {"name": "basic", "balancing_interval": 5},
        },
        "link_watch": {"name": "nsna_ping", "target_host": "fe80::1", "interval": 100, "missed_max": 2},
        "ports": {"em1": {"lacp_prio": 5, "lacp_key": 1}, "em2": {}, "em3": {"link_watch": []}},
    },
    {"ports": {"em1": {}}, "link_watch": []},
)
INTEGERS = (-(2**63), -(2**31) - 1, -1, 0, 1, 65536, 2**31, 2**63 - 1)
OTHERS = (
    None,
    True,
    False,
    0.5,
    1e300,
    "",
    "any",
    "lacp",
    "ethtool",
    "tipc",
    "fe80::1",
    "é\x1b\n\u2028😀",
    [],
    {},
    [[]],
    {"name": 5},
)
VALUES = st.sampled_from(INTEGERS + OTHERS) | st.text(max_size=10)
NAMES = st.sampled_from(["name", "prio", "ports", "runner", "link_watch", "x", "eth0.100", "", "lacp-key"]) | st.text(
    max_size=10
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["put", "drop", "add", "rename"]), NAMES, VALUES), max_size=5
)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    found = []
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        found.append((tree, key))
        if isinstance(value, (dict, list)):
            found += places(value)
    return found


def changed(base: Any, changes: list[tuple[int, str, str, Any]]) -> Any:
    tree = json.loads(json.dumps(base))
    for number, what, name, value in changes:
        where = places(tree)
        if not where:
            break
        container, key = where[number % len(where)]
        if what == "put":
            container[key] = copy.deepcopy(value)  # else a sample put into itself would have no end
        elif isinstance(container, list) or what == "drop":
            del container[key]
        elif what == "add":
            container[name] = copy.deepcopy(value)
        else:
            container[name] = container.pop(key)
    return json.loads(json.dumps(tree))


TREES = st.builds(changed, st.sampled_from(BASES), CHANGES)
FEW = settings(derandomize=True, deadline=None, max_examples=25)
MANY = settings(derandomize=True, deadline=None, max_examples=2500 if os.environ.get("PYTEAMD_LONG") else 500)


def check(text: str | bytes) -> None:
    """Load it, use it, and look at what is told."""
    try:
        config = load(text)
    except ConfigError as error:
        look_at(error.problems, starts=False)
        return
    look_at(config.problems, starts=True)
    for name in [*config.port_names(), "em9"]:
        before = config.port(name)
        config.ensure_watcher(name)
        after = config.port(name)
        assert (before.config, before.watchers, before.problems) == (after.config, after.watchers, after.problems)
        assert before.refused or before.watchers
    dumped = json_text.dumps_oneline(config.dump())
    assert json_text.dumps_oneline(load(dumped).dump()) == dumped
    assert '"runner"' in json_text.dumps_oneline(config.dump_actual(["em1", "eth0.100"]))


def look_at(problems: list[Problem], *, starts: bool) -> None:
    assert starts is not any(problem.severity is Severity.START for problem in problems)
    for problem in problems:
        line = problem.text("f")
        assert line.startswith(f"f:{problem.line}:{problem.column}: ")
        assert "\n" not in line.split(" near '")[0]
    assert problems == sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


@FEW
@given(TREES)
def test_any_json_value(tree: Any) -> None:
    check(json.dumps(tree))


@pytest.mark.slow
@MANY
@given(TREES)
def test_many_json_values(tree: Any) -> None:
    check(json.dumps(tree))


@FEW
@given(TREES)
def test_layout_does_not_matter(tree: Any) -> None:
    told = []
    for text in (json.dumps(tree), json.dumps(tree, indent="\t"), json.dumps(tree, ensure_ascii=False, indent=2)):
        try:
            problems = load(text).problems
        except ConfigError as error:
            problems = error.problems
        told.append([str(problem) for problem in problems])
    assert told[0] == told[1] == told[2]


@FEW
@given(st.text(max_size=80) | st.binary(max_size=80))
@example("{" * 3000)
@example('{"a":' * 3000 + "1" + "}" * 3000)
@example('{"a":' * 2040 + "1" + "}" * 2040)
@example('{"ports":{"em1":{"x":' + "[" * 2000 + "]" * 2000 + "}}}")
@example("a: " * 50)
@example("- " * 3000)
@example("a: &a [*a, *a]")
@example("\ufeff")
@example("? " * 200)
def test_any_text(text: str | bytes) -> None:
    check(text)


PIECES = [
    "device",
    "runner",
    "name",
    "ports",
    ": ",
    ":\n",
    "\n",
    "  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
]
PIECES += [
    "|\n",
    ">\n",
    '"',
    "'",
    "#",
    "%YAML 1.2\n",
    "---\n",
    "...\n",
    "? ",
    "~",
    "5",
    "0x1f",
    "1e9",
    "\\",
    "\\u1",
    "\t",
    "\x00",
]
PIECES += ["\x85", "é", "<<", "@", "`", "%", ".5", "-", "+", "_", "null", "TRUE"]
YAML = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@FEW
@given(YAML)
def test_any_yaml(text: str) -> None:
    check(text)


@pytest.mark.slow
@MANY
@given(YAML)
def test_much_yaml(text: str) -> None:
    check(text)


@FEW
@given(TREES, st.booleans())
def test_any_update_of_a_port(tree: Any, live: bool) -> None:
    config = load('{"runner": {"name": "lacp"}, "ports": {"em1": {"prio": 5}}}')
    before = json.dumps(config.tree)
    try:
        update_port(config, "em1", json.dumps(tree), live=live)
    except ConfigError:
        after = before
    else:
        after = before.replace('{"prio": 5}', json.dumps(tree))
    assert json.dumps(config.tree) == after
    assert isinstance(config.port("em1").config.prio, int)
