"""Traces with wrong values in every place: a difference, the same decisions, or one line that says what is wrong. Never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import targets

from pyteamd.cli.pyteamd.check import replay as command
from pyteamd.cli.pyteamd.timeline import main as timeline
from pyteamd.core.typed import fits
from pyteamd.model.desired import OptionKey, OptionValue, Write
from pyteamd.model.events import Event, LinkSeen, Tick
from pyteamd.scenario.replay import replay

LINES = targets.recorded().decode().splitlines()
ODD: tuple[Any, ...] = (
    *(None, True, -1, -(2**31), 2**64, 10**400, 0.5, 1e308, "", "x", "\udcff", [], [1], {}),
    *(
        {"hex": "zz"},
        {"hex": "00"},
        {"type": "Tick"},
        {"enum": "Level", "value": "?"},
        {"map": [[{}, 1]]},
        {"map": [[[], []]]},
    ),
    *({"type": "LinkSeen"}, {"option": ["a", 1]}, {"list": []}, math.nan, math.inf),
)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree: what holds it, and under which key."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)


def damaged() -> Iterator[list[str]]:
    """The trace with one odd value, in each place of each line, and with one value missing."""
    for number, line in enumerate(LINES):
        for place in range(len(list(places(json.loads(line))))):
            for odd in (*ODD, ...):
                tree = json.loads(line)
                container, key = list(places(tree))[place]
                if odd is ...:
                    del container[key]
                else:
                    container[key] = odd
                yield [*LINES[:number], json.dumps(tree), *LINES[number + 1 :]]


def test_no_word_of_a_damaged_trace_reaches_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "\x1b]0;own\x07"
    trace = tmp_path / "trace"
    for odd in (own, own * 1000, {own: own}, {"type": own}, [own]):
        for command_ in (command, timeline):
            for place in ("at", "event", "writes", "outputs"):
                trace.write_text("\n".join([LINES[0], json.dumps({**json.loads(LINES[1]), place: odd})]))
                assert command_([str(trace)], "pyteamd") != 0
            tree = json.loads(LINES[1])
            tree["event"]["links"][0]["name"] = odd
            tree["event"]["links"][0]["ifindex"] = odd
            trace.write_text("\n".join([LINES[0], json.dumps(tree)]))
            assert command_([str(trace)], "pyteamd") != 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert max(map(len, err.splitlines())) < 400


def test_the_trace_replays() -> None:
    assert replay(LINES) == (2, None)


@pytest.mark.slow
def test_a_damaged_trace_is_one_line() -> None:
    said = [words for words in map(verdict, damaged()) if words]
    assert [words for words in said if not words.startswith("line ") and "steps fell out" not in words] == []
    assert len(said) > 500


def verdict(lines: list[str]) -> str:
    """What is said of a trace that is refused, "" of another."""
    try:
        replay(lines)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text", [b"", b"\x00", b"[" * 100_000, b"{}", b"\xff\xfe", b'{"format": 1}', b'{"format": 1, "config": []}', b"1"]
)
def test_the_command_says_it(text: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace"
    file.write_bytes(text)
    assert command([str(file)], "pyteamd replay") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("value", "hint", "good"),
    [
        (1, int, True),
        (True, int, False),
        (2**64, int, False),
        (1, float, True),
        (math.nan, float, False),
        (b"", OptionValue, True),
        (None, OptionValue, False),
        (OptionKey("a", 1, 2), OptionKey, True),
        (OptionKey("a", None, 2), OptionKey, False),  # type: ignore[arg-type]
        (("a", 1, 2), OptionKey, False),
        (Tick(), Event, True),
        (LinkSeen(1, "a", b""), Write, False),
        ((Tick(),), tuple[Event, ...], True),
        ((1,), tuple[Event, ...], False),
        ([], tuple[Event, ...], False),
        (("a", "b"), tuple[str, str], True),
        (("a",), tuple[str, str], False),
    ],
)
def test_values_and_what_they_are_declared_as(value: object, hint: Any, good: bool) -> None:
    assert fits(value, hint) is good
