"""Whether values read from a file are what a dataclass declares. A type checker does that for the program, nobody does it for a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""What a whole number of the kernel can be."""


@cache
def hints(cls: Any) -> dict[str, Any]:
    """Names of the fields of a dataclass and what they are declared as."""
    found = get_type_hints(cls)
    return {item.name: found[item.name] for item in fields(cls)}


def wrong_field(value: Any) -> str:
    """The first field of a dataclass that does not hold what it is declared to hold, "" when all do."""
    named = hints(value.__class__)
    return next((name for name, hint in named.items() if not fits(getattr(value, name), hint)), "")


def fits(value: Any, hint: Any) -> bool:
    """Whether the value is of this type, all the way down. Whole numbers are those of the kernel, others are finite."""
    if hint is int:
        return type(value) is int and SMALLEST <= value <= LARGEST
    if hint in (bool, str, bytes, NoneType):
        return type(value) is hint
    if hint is Any:
        return True
    origin, arguments = parts(hint)
    if origin in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and fits_tuple(value, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items()
        )
    if hint is float:
        return fits(value, int) or (type(value) is float and math.isfinite(value))
    if isinstance(hint, type) and issubclass(hint, tuple):  # a named one
        return isinstance(value, hint) and fits_tuple(value, of_named(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return type(value) is hint
    return isinstance(value, hint)  # a dataclass, which was looked at when it was made


@cache
def parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and its parameters, as in tuple[int, str]."""
    return get_origin(hint), get_args(hint)


@cache
def of_named(hint: type) -> tuple[Any, ...]:
    """The types of a named tuple's elements."""
    return tuple(get_type_hints(hint).values())


def fits_tuple(values: tuple[Any, ...], hints_: tuple[Any, ...]) -> bool:
    """Each element its own type, or all the same."""
    if len(hints_) == 2 and hints_[1] is Ellipsis:
        return all(fits(value, hints_[0]) for value in values)
    return len(values) == len(hints_) and all(fits(value, hint) for value, hint in zip(values, hints_, strict=True))
