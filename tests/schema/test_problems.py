"""The words in which problems are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_kit import told

from pyteamd.schema.problems import described, near_miss, quoted, show_path


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
