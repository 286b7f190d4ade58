"""Reads the text of a configuration: JSON as teamd does, or YAML; and finds the place of a key in it.

Which of the two it is, the file's name says where it ends in .json, .yaml or .yml; JSON in a file named .yaml is read as JSON, which
is YAML, too. Of any other file, and of a text without one, the text itself says it: JSON begins with a brace (or with a bracket, which
is then refused because the outermost value must be an object). Anything else is YAML if it is a mapping; if it is not, it is told as
teamd would tell it, as broken JSON.

JSON is read by pyteamd.schema.json_text, which keeps no places. They are looked up in the text when there is a problem to tell,
so that a good configuration does not pay for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pyteamd.schema import json_text, slips
from pyteamd.schema.problems import ConfigError, Path, Problem, Severity
from pyteamd.values import dataclass

YAML_ENDINGS = ("yaml", "yml")
_BLANK = " \t\r\n"
_BOM = "\ufeff"
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]++')


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text that has been read."""

    tree: dict[str, Any]
    text: str
    places: Mapping[Path, tuple[int, int]] | None
    """Line and column of each path, counted from 1; None for JSON: not looked up yet."""

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems with line and column, in order of the text. What is not in the text is placed at its parent."""
        found = list(problems)
        if not found:
            return found
        places = self.places
        if places is None:
            places = json_places(self.text, max(len(problem.path) for problem in found))
        found = [_located(problem, places) for problem in found]
        return sorted(found, key=lambda problem: (problem.line or 0, problem.column or 0))


def read(text: str | bytes, file: str = "") -> ReadText:
    """Parse a configuration. Undecodable bytes may come as bytes or as surrogate escapes.

    Raises ConfigError, whose `teamd_lines` has the line teamd logs.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    ending = file.rpartition(".")[2].lower()
    looks_like_json = text.removeprefix(_BOM).lstrip(_BLANK)[:1] in ("{", "[", "")
    if ending == "json":
        named = slips.NO_OBJECT if re.match(r'\s*["\d]|\s*(true|false|null)\b', text) else slips.NAMED_JSON
        return _read_json(text, file, "" if looks_like_json else slips.other_program(text) or named)
    if ending in YAML_ENDINGS and looks_like_json and not is_json(text):
        return _read_yaml(text, file)
    return _read_json(text, file) if looks_like_json else _read_yaml(text, file)


def is_json(text: str) -> bool:
    """Whether a text can be read as JSON."""
    try:
        json_text.loads(text)
    except json_text.JanssonError:
        return False
    return True


def read_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse the settings of a port that came through the control protocol. `what` begins teamd's line. Raises ConfigError."""
    try:
        tree = json_text.loads(text, json_text.CONFIG_DEPTH - 2)  # they stand two levels down in the configuration
    except json_text.JanssonError as error:
        shown = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        hint = slips.in_json(shown, str(error))
        raise _broken(error, "", f"{what}: Failed to parse port config string: {error}", hint) from None
    if not isinstance(tree, dict):
        raise ConfigError([Problem(Severity.PORT, (), "must be an object, not a list")])
    return tree


def _read_json(text: str, file: str, meant: str = "") -> ReadText:
    try:
        tree = json_text.loads(text, json_text.CONFIG_DEPTH)
    except json_text.JanssonError as error:
        hint = (
            "the text begins with a byte order mark, remove it"
            if text.startswith(_BOM)
            else meant or slips.in_json(text, str(error))
        )
        raise _broken(error, file, f"Failed to parse config: {error}", hint) from None
    if not isinstance(tree, dict):
        raise ConfigError([Problem(Severity.START, (), "must be an object, not a list", line=1, column=1)], file)
    return ReadText(tree, text, None)


def _read_yaml(text: str, file: str) -> ReadText:
    from pyteamd.schema import yaml_text  # on demand: PyYAML is large, and most configurations are JSON

    try:
        tree, places = yaml_text.parse(text)
    except yaml_text.YamlError as error:
        raise _broken(error, file, f"Failed to parse config: {error}", slips.in_yaml(text, str(error))) from None
    if not isinstance(tree, dict):
        return _read_json(text, file, slips.in_yaml(text) or slips.NO_MAPPING)
    # `eth0:` with nothing behind it is the natural way to write an empty object in YAML, and so is `ports:`.
    ports = tree.get("ports", ())
    if ports is None or isinstance(ports, dict):
        tree["ports"] = {name: {} if settings is None else settings for name, settings in (ports or {}).items()}
    return ReadText(tree, text, places)


def _broken(error: Any, file: str, teamd_line: str, hint: str = "") -> ConfigError:
    problem = Problem(Severity.START, (), error.text, "", hint, error.line, error.column)
    return ConfigError([problem], file, [teamd_line])


def _located(problem: Problem, places: Mapping[Path, tuple[int, int]]) -> Problem:
    path = problem.path
    while path not in places and path:
        path = path[:-1]
    line, column = places.get(path, (1, 1))
    return replace(problem, line=line, column=column)


def json_places(text: str, deepest: int) -> dict[Path, tuple[int, int]]:
    """Line and column, from 1, of each key and list element of a correct JSON text, for paths of up to `deepest` parts."""
    places: dict[Path, tuple[int, int]] = {}
    path: list[str | int] = []  # one part for each open container: the present key or index
    open_: list[str] = []
    key_next = False
    line, line_start, seen = 1, 0, 0  # of the text up to `seen`
    for match in _TOKEN.finditer(text):
        token = match[0]
        is_key = key_next and token[0] == '"'
        is_element = bool(open_) and open_[-1] == "[" and token[0] not in ",]"
        if is_key:
            (path[-1],) = json_text.loads(f"[{token}]")
            key_next = False
        if (is_key or is_element or not open_) and len(path) <= deepest:
            line += text.count("\n", seen, match.start())
            line_start = max(line_start, text.rfind("\n", seen, match.start()) + 1)
            seen = match.start()
            places.setdefault(tuple(path), (line, match.start() - line_start + 1))
        if token in "{[":
            open_.append(token)
            path.append(0)
            key_next = token == "{"
        elif token in "}]":
            open_.pop()
            path.pop()
            key_next = False
        elif token == ",":
            key_next = open_[-1] == "{"
            if not key_next:
                path[-1] = int(path[-1]) + 1
    return places
