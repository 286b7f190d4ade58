"""The words in which problems are told."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from config_kit import told

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema.problems import ConfigError, Problem, described, near_miss, quoted, show_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("device",), "device"),
        (("link_watch", 1, "target_host"), "link_watch[1].target_host"),
        (("ports", "eth0.100", "prio"), 'ports["eth0.100"].prio'),
        (("ports", "1"), 'ports["1"]'),
        (("ports", 'a"b\\\n\x1b'), 'ports["a\\"b\\\\\\n\\x1b"]'),
        (("", "x-y"), '[""].x-y'),
    ],
)
def test_paths_are_shown_as_one_writes_them(path: tuple[str | int, ...], shown: str) -> None:
    assert show_path(path) == shown


def test_user_text_is_safe_to_print_and_short() -> None:
    assert quoted("a" * 1000) == '"' + "a" * 60 + '…"'
    assert quoted("\x1b[2J\u202e") == '"\\x1b[2J\\u202e"'
    [line] = told(json.dumps({"runner": {}, "\x1b[31m\n" * 50: 1}))
    assert line.isprintable()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (5, "the integer 5"),
        (5.0, "the number 5.0"),
        ("x", 'the string "x"'),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_values_are_described_with_their_type(value: Any, words: str) -> None:
    assert described(value) == words


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("min-ports", "min_ports"),
        ("MIN_PORTS", "min_ports"),
        ("minport", "min_ports"),
        ("fastrate", "fast_rate"),
        ("zzz", ""),
        ("", ""),
        ("x" * 10**6, ""),
    ],
)
def test_near_misses(word: str, found: str) -> None:
    assert near_miss(word, ["min_ports", "fast_rate", "active"]) == (f"did you mean '{found}'?" if found else "")


@pytest.mark.parametrize("odd", ["\x1b[31m", "a\u202eb", "x\ny", "\udcff"])
def test_a_problem_is_one_printable_line_whatever_was_written(odd: str) -> None:
    """In the place of every option that there is, of team, runners, watchers and ports."""
    for kind, plugins in (("runner", RUNNERS), ("link_watch", WATCHERS)):
        for name, plugin in plugins.items():
            values = {"name": name, **dict.fromkeys(options_of(plugin.Config), odd), odd: odd}
            text = json.dumps(
                {"device": odd, kind: values, "hwaddr": odd, "ports": {odd: {"prio": odd, odd: odd}}, odd: 1}
            )
            problems = problems_of(text)
            assert problems
            for problem in problems:
                assert problem.text(odd).isprintable()
                assert problem.told(odd).isprintable()


def options_of(config: type) -> list[str]:
    """Names of the keys."""
    return [each.name for each in fields(config)]


def problems_of(text: str) -> list[Problem]:
    """All of them."""
    try:
        return Config.load(text, runners=RUNNERS, watchers=WATCHERS).problems
    except ConfigError as error:
        return error.problems
