"""What a team would write if a port lost its link: found out beforehand, on a copy, so that a fail-over need not think first.

The core is pure: a copy of a Team that is given an event says what the Team itself would say, and nobody notices. So when a team has come
to rest, the loss of each port that carries traffic is tried on a copy, and the writes it leads to are remembered. When the event comes
and nothing else has changed in between, they are performed at once; the Team itself digests the event after that. Should it want something
else after all, that is one more difference between desired and observed, and reconciled like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import FunctionType, MethodType
from typing import Any

from pyteamd.config.config import Config
from pyteamd.core.team import Team
from pyteamd.model.desired import Write
from pyteamd.model.events import CarrierSeen, Event, FrameSeen, LinkGone, LinkSeen, PortSeen, Tick

MAXIMUM_PORTS = 8
"""A copy of a team with this many ports takes 3 ms."""
MAXIMUM_COPIES = 8
NEVER_CHANGED = (bool, int, float, str, bytes, type(None), frozenset, FunctionType, Config)
MISSING = object()
ABOUT_A_LINK = (LinkSeen, CarrierSeen, LinkGone, PortSeen)


def foresee(team: Team, now: float) -> Mapping[Event, tuple[Write, ...]]:
    """Link losses that would lead to writes at once → those writes, in order."""
    if not 1 < len(team.ports) <= MAXIMUM_PORTS:
        return {}
    carrying = [i for i, port in team.ports.items() if port.running and team.facts.observed.serves(i)]
    found: dict[Event, tuple[Write, ...]] = {}
    for ifindex in carrying[:MAXIMUM_COPIES]:
        event = CarrierSeen(ifindex, False)
        other = twin(team, {})
        other.handle(event, now)
        if writes := other.writes(now):
            found[event] = writes
    return found


def leaves_valid(event: Event, team: Team) -> bool:
    """Whether a forecast still holds after this event, provided that nothing was written or said because of it."""
    if isinstance(event, ABOUT_A_LINK):
        return event.ifindex not in team.ports and event.ifindex != team.view.ifindex
    return isinstance(event, (Tick, FrameSeen))


def twin(thing: Any, copies: dict[int, Any]) -> Any:
    """A copy that shares what is never changed: values, frozen dataclasses, the configuration. Several times as fast as deepcopy."""
    cls: Any = type(thing)
    if is_shared(cls):
        return thing
    if id(thing) in copies:
        return copies[id(thing)]
    made: Any
    if cls is dict:
        made = copies[id(thing)] = {}
        _fill_dict(made, thing, copies)
    elif cls is list:
        made = copies[id(thing)] = []
        made.extend([twin(element, copies) for element in thing])
    elif cls is tuple:
        made = copies[id(thing)] = tuple([twin(element, copies) for element in thing])
    elif cls is set:
        made = copies[id(thing)] = set(thing)  # what is hashable is never changed
    elif cls is MethodType:
        made = MethodType(thing.__func__, twin(thing.__self__, copies))
    elif cls.__module__.startswith("pyteamd."):
        made = copies[id(thing)] = cls.__new__(cls)
        _fill(made, thing, copies)
    else:
        made = copies[id(thing)] = copy.deepcopy(thing)
    return made


def _fill_dict(made: dict[Any, Any], thing: dict[Any, Any], copies: dict[int, Any]) -> None:
    """Most dictionaries hold values that are shared, and are copied as a whole."""
    made.update(thing)
    for key, value in thing.items():
        cls: Any = type(value)
        if not is_shared(cls):
            made[key] = twin(value, copies)


def _fill(made: Any, thing: Any, copies: dict[int, Any]) -> None:
    """Give a new object of one of our classes twins of what the other one has."""
    if isinstance(thing, dict):
        _fill_dict(made, thing, copies)
    cls: Any = type(thing)
    for name in attributes_of(cls):
        if (value := getattr(thing, name, MISSING)) is not MISSING:
            kind: Any = type(value)
            setattr(made, name, value if is_shared(kind) else twin(value, copies))
    if (plain := getattr(thing, "__dict__", None)) is not None:
        _fill_dict(made.__dict__, plain, copies)


@cache
def is_shared(cls: Any) -> bool:
    """Whether objects of this class never change, or not by the loss of a link."""
    if cls in NEVER_CHANGED or issubclass(cls, (Enum, type)):
        return True
    if issubclass(cls, tuple):
        return cls is not tuple  # named tuples are keys
    parameters = getattr(cls, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


@cache
def attributes_of(cls: Any) -> tuple[str, ...]:
    """Names in the slots of a class and of its bases."""
    return tuple([name for base in cls.__mro__ for name in base.__dict__.get("__slots__", ()) if name != "__weakref__"])
