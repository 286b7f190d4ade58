"""Classes of values are what the standard library's decorator would make, with one difference: setting a field of a frozen one raises
nothing. That is left to the type checker."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from pyteamd import values

Decorator = Callable[..., Any]


def classes(decorator: Decorator) -> dict[str, Any]:
    """The same classes made by a decorator."""

    class Base:
        """A base with fields."""

        number: int
        name: str = "x"

    Base = decorator(frozen=True, slots=True)(Base)  # type: ignore[misc]

    class Derived(Base):
        """More fields, and one again with another default."""

        more: tuple[int, ...] = ()
        name: str = "y"
        made: dict[str, int] = field(default_factory=dict)

    Derived = decorator(frozen=True, slots=True)(Derived)  # type: ignore[misc]
    return {cls.__name__: cls for cls in (Base, Derived, *others(decorator))}


def others(decorator: Decorator) -> list[Any]:
    """Those that stand alone."""

    class Quiet:
        """A field that does not count, and a class attribute that is none."""

        kept: int
        why: str = field(default="", compare=False, repr=False)
        LIMIT = 3

        def doubled(self) -> int:
            """A method."""
            return 2 * self.kept

        def __str__(self) -> str:
            return "own words"

    class Nothing:
        """No fields."""

    class Changing:
        """Not frozen."""

        items: list[int] = field(default_factory=list)
        at: float = 0.0

    class Alone:
        """Equal to itself only."""

        at: float = 0.0

    Quiet = decorator(frozen=True, slots=True)(Quiet)  # type: ignore[misc]
    Nothing = decorator(frozen=True, slots=True)(Nothing)  # type: ignore[misc]
    Changing = decorator(slots=True)(Changing)  # type: ignore[misc]
    Alone = decorator(slots=True, eq=False)(Alone)  # type: ignore[misc]
    return [Quiet, Nothing, Changing, Alone]


OURS, THEIRS = classes(values.dataclass), classes(dataclasses.dataclass)
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Base", (1,), {}),
    ("Base", (1, "z"), {}),
    ("Base", (), {"name": "z", "number": 2}),
    ("Derived", (1,), {}),
    ("Derived", (1, "y", (2, 3)), {"made": {"a": 1}}),
    ("Quiet", (4,), {}),
    ("Quiet", (4, "because"), {}),
    ("Nothing", (), {}),
    ("Changing", (), {}),
    ("Changing", ([1], 1.5), {}),
    ("Alone", (1.0,), {}),
]


def made(kind: dict[str, Any]) -> list[Any]:
    """One object of each call."""
    return [kind[name](*arguments, **named) for name, arguments, named in CALLS]


def hashed(value: Any) -> Any:
    """Equal hashes go by the same number; None where there is none."""
    try:
        return hash(value) == hash(copy.copy(value))
    except TypeError:
        return None


def test_they_compare_alike() -> None:
    ours, theirs = made(OURS), made(THEIRS)
    assert [[one == other for other in ours] for one in ours] == [[one == other for other in theirs] for one in theirs]
    again = [[one == other for other in made(OURS)] for one in ours]
    assert again == [[one == other for other in made(THEIRS)] for one in theirs]
    assert ours != theirs
    assert OURS["Nothing"]() != 3


def test_they_look_alike() -> None:
    assert [repr(one) for one in made(OURS)] == [repr(one) for one in made(THEIRS)]
    assert [str(one) for one in made(OURS)] == [str(one) for one in made(THEIRS)]


def test_they_are_hashed_where_the_others_are() -> None:
    assert [hashed(one) for one in made(OURS)] == [hashed(one) for one in made(THEIRS)]
    assert {OURS["Quiet"](1, "a"), OURS["Quiet"](1, "b")} == {OURS["Quiet"](1)}


@pytest.mark.parametrize("name", list(OURS))
def test_the_classes_are_alike(name: str) -> None:
    ours, theirs = OURS[name], THEIRS[name]
    assert ours.__slots__ == theirs.__slots__
    assert ours.__match_args__ == theirs.__match_args__
    assert ours.__qualname__ == theirs.__qualname__
    assert ours.__dataclass_params__.frozen == theirs.__dataclass_params__.frozen
    assert [one.name for one in dataclasses.fields(ours)] == [one.name for one in dataclasses.fields(theirs)]
    assert not hasattr(ours(1) if ours.__match_args__ else ours(), "__dict__")


@pytest.mark.parametrize(("name", "arguments", "named"), CALLS)
def test_they_can_be_copied_replaced_and_listed(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = OURS[name](*arguments, **named), THEIRS[name](*arguments, **named)
    assert str(dataclasses.asdict(ours)) == str(dataclasses.asdict(theirs))
    for field_name in ours.__match_args__:
        changed = dataclasses.replace(ours, **{field_name: 7})
        assert getattr(changed, field_name) == 7
        assert type(changed) is type(ours)
    assert repr(copy.deepcopy(ours)) == repr(ours)


def test_wrong_calls_are_refused() -> None:
    for call in ({}, {"number": 1, "other": 2}):
        with pytest.raises(TypeError):
            OURS["Base"](**call)


def test_a_standard_class_may_stand_on_one_of_ours() -> None:
    class Above(OURS["Base"]):  # type: ignore[misc]
        """Of a plug-in."""

        further: int = 3

    Above = dataclasses.dataclass(frozen=True, slots=True)(Above)  # type: ignore[misc]
    assert Above(1) == Above(1, "x", 3)
    assert Above(1) != OURS["Base"](1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Above(1).further = 4


@pytest.mark.parametrize("name", ["Base", "Derived", "Quiet"])
def test_only_the_type_checker_keeps_a_frozen_one_from_being_changed(name: str) -> None:
    for made_here, raises in ((OURS[name](1), False), (THEIRS[name](1), True)):
        first = made_here.__match_args__[0]
        with pytest.raises(dataclasses.FrozenInstanceError) if raises else contextlib.nullcontext():
            setattr(made_here, first, 2)
        assert getattr(made_here, first) == (1 if raises else 2)


def test_values_can_be_pickled() -> None:
    from pyteamd.core.backoff import Attempt
    from pyteamd.model.desired import SetCarrier

    attempt = Attempt(SetCarrier(True), 1.0)
    assert pickle.loads(pickle.dumps(attempt)) == attempt
