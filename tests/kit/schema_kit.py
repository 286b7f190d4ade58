"""Validates a value against a JSON schema: the keywords our schema uses, and an error for any other.

Written from the text of the 2020-12 drafts (core and validation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

ANNOTATIONS = {"$schema", "title", "description", "default", "$defs", "then"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


@dataclass
class Place:
    """A value, where it is, and the schema object it is held against."""

    value: Any
    at: str
    schema: dict[str, Any]
    root: dict[str, Any]

    def sub(self, key: str | int, schema: dict[str, Any]) -> list[str]:
        """What is wrong with a member or an element."""
        return wrong(self.value[key], schema, self.root, f"{self.at}.{key}")

    def same(self, schema: dict[str, Any]) -> list[str]:
        """What is wrong with the same value by another schema."""
        return wrong(self.value, schema, self.root, self.at)


def wrong(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """One line for everything that is wrong with the value."""
    place = Place(value, at, schema, root)
    return [
        line
        for keyword, argument in schema.items()
        if keyword not in ANNOTATIONS
        for line in KEYWORDS[keyword](place, argument)
    ]


def of_type(place: Place, name: str) -> Iterator[str]:
    number = name == "integer" and isinstance(place.value, bool)
    if not isinstance(place.value, TYPES[name]) or number:
        yield f"{place.at}: no {name}"


def limited(check: Callable[[Any, Any], bool], kind: type) -> Callable[[Place, Any], Iterator[str]]:
    def validate(place: Place, argument: Any) -> Iterator[str]:
        if type(place.value) is kind and not check(place.value, argument):
            yield f"{place.at}: {place.value} does not go with {argument}"

    return validate


def required(place: Place, names: list[str]) -> Iterator[str]:
    if isinstance(place.value, dict):
        yield from [f"{place.at}: no {name}" for name in names if name not in place.value]


def properties(place: Place, schemas: dict[str, Any]) -> Iterator[str]:
    if isinstance(place.value, dict):
        for name in schemas.keys() & place.value.keys():
            yield from place.sub(name, schemas[name])


def additional(place: Place, schema: Any) -> Iterator[str]:
    if isinstance(place.value, dict):
        for name in place.value.keys() - place.schema.get("properties", {}).keys():
            yield from [f"{place.at}.{name}: not allowed"] if schema is False else place.sub(name, schema)


def items(place: Place, schema: dict[str, Any]) -> Iterator[str]:
    if isinstance(place.value, list):
        for index in range(len(place.value)):
            yield from place.sub(index, schema)


def one_of(place: Place, schemas: list[dict[str, Any]]) -> Iterator[str]:
    results = [place.same(schema) for schema in schemas]
    if sum(not result for result in results) != 1:
        yield from min(results, key=len) or [f"{place.at}: more than one fits"]


def if_then(place: Place, condition: dict[str, Any]) -> Iterator[str]:
    if not place.same(condition):
        yield from place.same(place.schema["then"])


def reference(place: Place, target: str) -> Iterator[str]:
    schema: Any = place.root
    for part in target.removeprefix("#/").split("/"):
        schema = schema[part]
    yield from place.same(schema)


KEYWORDS: dict[str, Callable[[Place, Any], Iterator[str]]] = {
    "type": of_type,
    "enum": lambda place, values: iter([] if place.value in values else [f"{place.at}: not one of {values}"]),
    "const": lambda place, value: iter([] if place.value == value else [f"{place.at}: not {value}"]),
    "minimum": limited(lambda value, limit: value >= limit, int),
    "maximum": limited(lambda value, limit: value <= limit, int),
    "pattern": limited(lambda value, pattern: re.search(pattern, value) is not None, str),
    "required": required,
    "properties": properties,
    "additionalProperties": additional,
    "items": items,
    "allOf": lambda place, schemas: (line for schema in schemas for line in place.same(schema)),
    "oneOf": one_of,
    "if": if_then,
    "$ref": reference,
}
