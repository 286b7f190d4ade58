"""`dataclass` as in the standard library, for less: making a class, or a frozen object, takes two fifths of the time.

A daemon defines a hundred of these classes at its start, and makes objects of them for each event. The standard decorator writes and
compiles the source of six functions for each class, and an object of a frozen one is made by as many calls as it has fields. Here only
`__init__` is written; comparing, hashing and showing are closures. The rest is the standard's work: fields, defaults, `match`.

That nothing changes a frozen object is the type checker's to see, not the interpreter's.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from itertools import repeat
from operator import attrgetter

TYPE_CHECKING = False  # without `typing`, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from dataclasses import dataclass as dataclass
    from dataclasses import replace as replace
    from typing import Any
else:

    def dataclass(*, slots, frozen=False, eq=True):
        """Make a class of values. Only classes with slots."""
        return lambda cls: _finished(_initialised(cls), frozen, eq)

    def replace(value, **changes):
        """The same with other values in some fields. Of a class without `__post_init__`."""
        cls = value.__class__
        if cls not in _FIELDS:
            names = [field.name for field in dataclasses.fields(cls)]
            _FIELDS[cls] = (names[0], *names), attrgetter(names[0], *names)  # a tuple, also of one field
        names, values_of = _FIELDS[cls]
        made = cls.__new__(cls)
        deque(map(setattr, repeat(made), names, values_of(value)), 0)
        for name, changed in changes.items():
            setattr(made, name, changed)
        return made

    _FIELDS = {}


def _initialised(cls: Any) -> Any:
    """The class with its fields and `__init__`. The standard decorator wants bases and class alike: all or none of them frozen."""
    bases = [params for base in cls.__mro__[1:] if (params := base.__dict__.get("__dataclass_params__")) is not None]
    frozen = [params.frozen for params in bases]
    try:
        for params in bases:
            params.frozen = False
        return dataclasses.dataclass(repr=False, eq=False)(cls)
    finally:
        for params, was in zip(bases, frozen, strict=True):
            params.frozen = was


def _finished(cls: Any, frozen: bool, eq: bool) -> Any:
    """The class made again, with slots and the methods that all values have."""
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    parts = dict(cls.__dict__)
    for name in (*names, "__dict__", "__weakref__"):
        parts.pop(name, None)
    inherited = {name for base in cls.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
    parts["__slots__"] = tuple([name for name in names if name not in inherited])
    if eq:
        equal, hashed = _comparison([field.name for field in fields if field.compare])
        parts.setdefault("__eq__", equal)
        parts.setdefault("__hash__", hashed if frozen else None)
    parts.setdefault("__repr__", _representation([field.name for field in fields if field.repr]))
    made = type(cls)(cls.__name__, cls.__bases__, parts)
    made.__qualname__ = cls.__qualname__
    made.__dataclass_params__.frozen = frozen
    return made


def _comparison(names: list[str]) -> tuple[Callable[..., Any], Callable[..., int]]:
    """`__eq__` and `__hash__` by these fields."""
    # A tuple in any case: for one name, attrgetter would give the bare value.
    key: Callable[[Any], Any] = attrgetter(names[0], *names) if names else type

    def __eq__(self: Any, other: object) -> Any:
        if self is other:
            return True
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(key(self))

    return __eq__, __hash__


def _representation(names: list[str]) -> Callable[[Any], str]:
    """`__repr__` with these fields."""

    def __repr__(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(_shown(self, names))})"

    return __repr__


def _shown(value: Any, names: list[str]) -> Iterator[str]:
    for name in names:
        yield f"{name}={getattr(value, name)!r}"
