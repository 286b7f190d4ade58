"""What a team would write if a port lost its link: found out beforehand, on a copy, so that a fail-over need not think first.

The core is pure: a copy of a Team that is given an event says what the Team itself would say, and nobody notices. So when a team has come
to rest, the loss of each port that carries traffic is tried on a copy, and the writes it leads to are remembered. When the event comes
and nothing else has changed in between, they are performed at once; the Team itself digests the event after that. Should it want something
else after all, that is one more difference between desired and observed, and reconciled like any other.

The thinking takes half of the time from the event to the write (docs/performance.md); that is what this is for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from types import FunctionType, MethodType
from typing import Any, TypeAlias

from pyteamd.config.config import Config
from pyteamd.core.team import Team
from pyteamd.model.desired import Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import CarrierSeen, Event, FrameSeen, LinkGone, LinkSeen, PortSeen, Refused, Tick

MAXIMUM_PORTS = 8
"""A copy of a team with this many ports takes 3 ms."""
MAXIMUM_COPIES = 8
NEVER_CHANGED = (bool, int, float, str, bytes, type(None), frozenset, FunctionType, Config)
MISSING = object()
ABOUT_A_LINK = (LinkSeen, CarrierSeen, LinkGone, PortSeen)

Result: TypeAlias = Sequence[Refused] | KernelGone
"""Of writes: those refused, or the device is no more."""


class Forecast:
    """What a Team at rest would write, and what was written on the strength of it and not digested yet.

    From `match` until `digested` gives its answer the writes of one event are ahead of the Team.
    """

    def __init__(self) -> None:
        self._known: Mapping[Event, tuple[Write, ...]] = {}
        self._event: Event | None = None
        """The one whose writes are ahead."""
        self._writes: tuple[Write, ...] = ()
        self._result: Result | None = None

    def look(self, team: Team, now: float) -> Iterable[tuple[Write, ...]]:
        """The team has come to rest: think. Returns all that may have to be written."""
        self._known = foresee(team, now)
        return self._known.values()

    def spoil(self) -> None:
        """The team has changed: what was foreseen no longer holds."""
        self._known = {}

    @property
    def is_ahead(self) -> bool:
        """Whether an event has still to be digested whose writes are under way or done."""
        return self._event is not None

    def awaits(self, event: Event) -> bool:
        """Whether the writes of this very event are ahead."""
        return event == self._event

    def match(self, events: Iterable[Event], team: Team) -> tuple[Write, ...]:
        """The writes to perform at once, () for none. The events have to be digested then.

        Only the first event that concerns the Team counts: what was foreseen holds for a team at rest.
        """
        if not self._known:
            return ()
        for event in events:
            if type(event) is CarrierSeen and (writes := self._known.get(event, ())):
                self._known = {}
                self._event, self._writes, self._result = event, writes, None
                return writes
            if not leaves_valid(event, team):
                return ()
        return ()

    def done(self, result: Result) -> None:
        """What became of the writes, before their event was digested."""
        self._result = result

    def digested(self, event: Event) -> tuple[tuple[Write, ...], Result | None] | None:
        """The Team has digested this event: None when it is another one, else what was written for it, and with which result.

        No result means that the writes are still under way.
        """
        if self._event is None or event != self._event:
            return None
        writes, result = self._writes, self._result
        self._event, self._writes, self._result = None, (), None
        return writes, result


def foresee(team: Team, now: float) -> Mapping[Event, tuple[Write, ...]]:
    """Link losses that would lead to writes at once, and that another port can make good → those writes, in order."""
    if not 1 < len(team.ports) <= MAXIMUM_PORTS or sum(port.up for port in team.ports.values()) < 2:
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
        if event.ifindex in team.ports or event.ifindex == team.view.ifindex:
            return False
        return not (isinstance(event, LinkSeen) and (event.master == team.view.ifindex or team.members.wants(event)))
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
    if any(map(is_owned, set(map(type, thing.values())))):
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


def is_owned(cls: Any) -> bool:
    """Whether objects of this class have to be copied."""
    return not is_shared(cls)


@cache
def attributes_of(cls: Any) -> tuple[str, ...]:
    """Names in the slots of a class and of its bases."""
    return tuple([name for base in cls.__mro__ for name in base.__dict__.get("__slots__", ()) if name != "__weakref__"])
