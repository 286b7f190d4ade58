"""A configuration written in YAML: the same values JSON would give, and where each of them stands.

YAML has surprises that a configuration can do without, so this is a part of YAML 1.2 with its core types:
`10:20:30:40:50:55`, `no` and `2024-01-01` are strings, `010` is ten; a key must be a string and occur once;
aliases are refused, since a small text can blow up through them; so are tags, and what JSON cannot hold.
PyYAML does the reading; its own rules for values (those of YAML 1.1) are not used.

Imported only when there is YAML to read: PyYAML costs 14 ms.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from pyteamd.schema.json_text import CONFIG_DEPTH
from pyteamd.schema.problems import Path
from pyteamd.schema.slips import UNSPACED

_TAG = "tag:yaml.org,2002:"
_CORE_TYPES = (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", list("-+.0123456789")),
)
"""Type, expression, first characters: sections 10.2 and 10.3.2 of YAML 1.2.2, without .inf and .nan."""
_RADIX = {"0o": 8, "0x": 16}
_DIGITS_MAX = 24
"""Longer integers exceed 64 bits whatever their radix and sign; converting them could take long."""


class YamlError(ValueError):
    """What is wrong with a YAML text; `line` and `column` count from 1."""

    def __init__(self, text: str, line: int, column: int) -> None:
        super().__init__(f"{text} on line {line}, column {column}")
        self.text = text
        self.line = line
        self.column = column


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML up to the tree of nodes, with types, limits and refusals of our own."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise ComposerError(None, None, "aliases are not supported, repeat the value", mark)
        if getattr(event, "tag", None) not in (None, "!"):
            raise ComposerError(None, None, "tags are not supported", mark)
        if self._depth == CONFIG_DEPTH:
            raise ComposerError(None, None, f"nested more than {CONFIG_DEPTH} levels deep", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _expression, _first in _CORE_TYPES:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_expression), _first)


def parse(text: str) -> tuple[Any, dict[Path, tuple[int, int]]]:
    """The value, and for the path of each key and list element its line and column, counted from 1.

    Raises YamlError.
    """
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        what = error.problem or "broken"
        # "but found another document" needs the words before it.
        what = f"{error.context}, {what}" if error.context and what.startswith("but ") else what
        raise YamlError(what, *_place(error.problem_mark)) from None
    except ReaderError as error:
        raise _bad_character(text, error.position) from None
    except (ValueError, OverflowError):
        raise YamlError("an escape that is no character, or a number too long", 1, 1) from None
    places: dict[Path, tuple[int, int]] = {(): (1, 1)}
    return (None if node is None else _value(node, (), places)), places


def _value(node: Node, at: Path, places: dict[Path, tuple[int, int]]) -> Any:
    if isinstance(node, MappingNode):
        return _members(node, at, places)
    if isinstance(node, SequenceNode):
        elements = []
        for index, element in enumerate(node.value):
            places[(*at, index)] = _place(element.start_mark)
            elements.append(_value(element, (*at, index), places))
        return elements
    assert isinstance(node, ScalarNode), "there are three kinds of nodes"
    return _scalar(node)


def _members(node: MappingNode, at: Path, places: dict[Path, tuple[int, int]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _place(key_node.start_mark)
        key = _scalar(key_node) if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str):
            raise YamlError("a key must be a string: put it in quotes", *place)
        if key == "<<":
            raise YamlError("merge keys are not supported, repeat the values", *place)
        if ":" in key and not key_node.style and _has_no_colon(key_node, value_node):
            raise YamlError(UNSPACED, *place)  # {name:lacp} is a key without a value
        if key in members:
            raise YamlError(f"duplicate key '{key}'", *place)
        places[(*at, key)] = place
        members[key] = _value(value_node, (*at, key), places)
    return members


def _has_no_colon(key: Node, value: Node) -> bool:
    """Whether nothing stands behind a key, not even the colon."""
    begin: Any = key.end_mark
    end: Any = value.start_mark
    return ":" not in begin.buffer[begin.pointer : end.pointer]


def _scalar(node: ScalarNode) -> Any:
    """The value of a scalar whose text fits its tag: explicit tags did not get here."""
    text: str = node.value
    value: Any = None
    match node.tag.removeprefix(_TAG):
        case "str":
            if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
                raise YamlError("a string with a character that JSON cannot hold", *_place(node.start_mark))
            value = text
        case "bool":
            value = text.lower() == "true"
        case "int":
            radix = _RADIX.get(text[:2], 10)
            value = int(text[2:] if radix != 10 else text, radix) if len(text) <= _DIGITS_MAX else 2**63
            if not -(2**63) <= value < 2**63:
                raise YamlError("too big integer", *_place(node.start_mark))
        case "float":
            value = float(text)
            if abs(value) == float("inf"):
                raise YamlError("real number overflow", *_place(node.start_mark))
    return value


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _bad_character(text: str, position: int) -> YamlError:
    before, code = text[:position], ord(text[position])
    # Bytes that are no UTF-8 come as surrogate escapes.
    escaped = 0xDC80 <= code <= 0xDCFF
    what = f"byte {code & 0xFF:#04x} is no UTF-8" if escaped else f"character {code:#04x} is not allowed"
    return YamlError(what, before.count("\n") + 1, len(before) - before.rfind("\n"))
