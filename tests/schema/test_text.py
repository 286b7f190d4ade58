"""Reading the text of a configuration: JSON or YAML, what is refused and in which words, where a key stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_kit import load, told

import pyteamd
from pyteamd.model.printable import printable
from pyteamd.schema.problems import ConfigError
from pyteamd.schema.text import json_places, read

TEAMD_SAYS = [
    # Each seen on teamd 1.31 with jansson 2.14.
    ("", "'[' or '{' expected near end of file on line 1, column 0"),
    ('{"a":1', "'}' expected near end of file on line 1, column 6"),
    ('{"a":NaN}', "invalid token near 'NaN' on line 1, column 8"),
    ('{"a":1,"a":2}', "duplicate object key near '\"a\"' on line 1, column 10"),
    ('{"a":"\\u0000"}', "\\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"' on line 1, column 13"),
    ('{"a":12345678901234567890}', "too big integer near '12345678901234567890' on line 1, column 25"),
    ("1", "'[' or '{' expected near '1' on line 1, column 1"),
    ("{} x", "end of file expected near 'x' on line 1, column 4"),
    ("\ufeff{}", "'[' or '{' expected near '\ufeff' on line 1, column 1"),
    ("  \n", "'[' or '{' expected near end of file on line 2, column 0"),
    ("device", "'[' or '{' expected near 'device' on line 1, column 6"),
    ("'{}'", "'[' or '{' expected near ''' on line 1, column 1"),
]


@pytest.mark.parametrize(("text", "words"), TEAMD_SAYS)
def test_a_broken_text_is_told_in_the_words_of_teamd(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.teamd_lines == [f"Failed to parse config: {words}"]
    [problem] = caught.value.problems
    assert words == f"{problem.message} on line {problem.line}, column {problem.column}"
    assert str(caught.value).startswith(f"f:{problem.line}:{problem.column}: {printable(problem.message)}")


def test_a_list_is_no_configuration() -> None:
    assert told("[]") == ["! f:1:1: must be an object, not a list"]


def test_a_byte_order_mark_is_named() -> None:
    assert told("\ufeff{}")[0].endswith("(the text begins with a byte order mark, remove it)")


def test_undecodable_bytes_come_as_bytes_or_as_surrogate_escapes() -> None:
    octets = b'{"a":"\xff"}'
    assert told(octets) == told(octets.decode("utf-8", "surrogateescape"))
    assert told(octets)[0].startswith("! f:1:6: unable to decode byte 0xff")


YAML_VALUES: list[tuple[str, Any]] = [
    ("10:20:30:40:50:55", "10:20:30:40:50:55"),
    ("no", "no"),
    ("on", "on"),
    ("010", 10),
    ("0o17", 15),
    ("0x1F", 31),
    ("-5", -5),
    ("+5", 5),
    ("1_000", "1_000"),
    ("2024-01-01", "2024-01-01"),
    ("1e3", 1000.0),
    (".5", 0.5),
    (".inf", ".inf"),
    (".NaN", ".NaN"),
    ("~", None),
    ("", None),
    ("Null", None),
    ("TRUE", True),
    ("false", False),
    ("'5'", "5"),
    ("9223372036854775807", 2**63 - 1),
    ("[a, 1]", ["a", 1]),
    ("{a: 1}", {"a": 1}),
    ("&anchor 5", 5),
    ("! 5", 5),
    ("|-\n  two\n  lines", "two\nlines"),
]


@pytest.mark.parametrize(("text", "value"), YAML_VALUES)
def test_yaml_has_the_core_types_of_its_version_1_2(text: str, value: Any) -> None:
    found = read(f"a: {text}\n").tree["a"]
    assert (found, type(found)) == (value, type(value))


YAML_REFUSALS = [
    ("a: 1\na: 2", "2:1: duplicate key 'a'"),
    ("a: {b: 1, b: 2}", "1:11: duplicate key 'b'"),
    ("a: &x [1]\nb: *x", "2:4: aliases are not supported, repeat the value"),
    ("1: a", "1:1: a key must be a string: put it in quotes"),
    ("true: a", "1:1: a key must be a string: put it in quotes"),
    ("? [a]\n: b", "1:3: a key must be a string: put it in quotes"),
    ("a: !!int 5", "1:4: tags are not supported"),
    ("!!python/object/apply:os.system [ls]", "1:1: tags are not supported"),
    ("a: b: c", "1:5: mapping values are not allowed here"),
    (
        "a:\n\t- 1",
        "2:1: found character '\\t' that cannot start any token (YAML is indented with blanks, not with tabs)",
    ),
    ("a: 1\n---\nb: 2", "2:1: expected a single document in the stream, but found another document"),
    ("a: 9223372036854775808", "1:4: too big integer"),
    ("a: " + "9" * 5000, "1:4: too big integer"),
    ("a: -1e999", "1:4: real number overflow"),
    ('a: "\\0"', "1:4: a string with a character that JSON cannot hold"),
    ('a: "\\ud800"', "1:4: a string with a character that JSON cannot hold"),
    ('a: "\\UFFFFFFFF"', "1:1: an escape that is no character, or a number too long"),
    ("a: \x01", "1:4: character 0x01 is not allowed"),
    (b"a: b\nc: \xff", "2:4: byte 0xff is no UTF-8"),
    ("a: " + "[" * 200 + "]" * 200, "1:103: nested more than 100 levels deep"),
]


@pytest.mark.parametrize(("text", "line"), YAML_REFUSALS)
def test_what_yaml_may_not_do_here(text: str | bytes, line: str) -> None:
    (said,) = told(text)
    assert said in (f"! f:{line}", f"! f:{line} ({said.partition(' (')[2]}")


def test_a_yaml_error_has_the_same_form_as_a_json_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load("a: 1\na: 2")
    assert caught.value.teamd_lines == ["Failed to parse config: duplicate key 'a' on line 2, column 1"]


def test_yaml_and_json_with_the_same_content_are_the_same() -> None:
    json_text = '{"device": "team7", "runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 5}, "em2": {}}}'
    yaml_text = "# comment\ndevice: team7\nrunner:\n  name: activebackup\nports:\n  em1:\n    prio: 5\n  em2:\n"
    assert load(yaml_text, device=None).tree == load(json_text, device=None).tree


def test_an_empty_port_is_null_in_yaml_only() -> None:
    assert told("ports:\n  em1:\n") == []
    assert told('{"ports": {"em1": null}}') == ["f:1:12: ports.em1: must be an object, not null; the port is refused"]


JSON_TEXT = """\
{
\t"device":\t"team0",
\t"link_watch": [ {"name": "ethtool"}, [ [7], "x" ], {} ],
\t"a\\u0062\\"{": {"n": -1.5e3, "t": true, "z": null, "": {}}
}"""
JSON_PLACES = {
    (): (1, 1),
    ("device",): (2, 2),
    ("link_watch",): (3, 2),
    ("link_watch", 0): (3, 18),
    ("link_watch", 0, "name"): (3, 19),
    ("link_watch", 1): (3, 39),
    ("link_watch", 1, 0): (3, 41),
    ("link_watch", 1, 0, 0): (3, 42),
    ("link_watch", 1, 1): (3, 46),
    ("link_watch", 2): (3, 53),
    ('ab"{',): (4, 2),
    ('ab"{', "n"): (4, 17),
    ('ab"{', "t"): (4, 30),
    ('ab"{', "z"): (4, 41),
    ('ab"{', ""): (4, 52),
}


def test_places_in_json_with_tabs_escapes_and_nesting() -> None:
    assert json_places(JSON_TEXT, 9) == JSON_PLACES
    assert json_places(JSON_TEXT, 1) == {path: place for path, place in JSON_PLACES.items() if len(path) <= 1}


def test_places_in_yaml() -> None:
    places = read("device: x\nlink_watch:\n  - name: y\n  - [1, {a: 2}]\n").places
    assert places == {
        (): (1, 1),
        ("device",): (1, 1),
        ("link_watch",): (2, 1),
        ("link_watch", 0): (3, 5),
        ("link_watch", 0, "name"): (3, 5),
        ("link_watch", 1): (4, 5),
        ("link_watch", 1, 0): (4, 6),
        ("link_watch", 1, 1): (4, 9),
        ("link_watch", 1, 1, "a"): (4, 10),
    }


@pytest.mark.parametrize("text", ['{"runner": {"name": "roundrobin"}}', '{"runner": {}, "devise": "x"}', "{", ""])
def test_json_needs_no_yaml_not_even_to_place_its_problems(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pyteamd.schema, "yaml_text", raising=False)
    monkeypatch.setitem(sys.modules, "pyteamd.schema.yaml_text", None)
    with pytest.raises(ImportError):
        told("a: yaml")
    assert len(told(text)) == (0 if "roundrobin" in text else 1)


@pytest.mark.slow
def test_nothing_imports_yaml_before_it_is_needed() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "kit")!r})
from config_kit import load
load('{{"runner": {{"name": "roundrobin"}}, "x": 1}}')
assert "yaml" not in sys.modules, "PyYAML was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
