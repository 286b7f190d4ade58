"""What a team would write if a port lost its link: found out beforehand, on a copy, so that a fail-over need not think first.

The core is pure: a copy of a Team that is given an event says what the Team itself would say, and nobody notices. So when a team has come
to rest, the loss of each port that carries traffic is tried on a copy, and the writes it leads to are remembered. When the event comes
and nothing else has changed in between, they are performed at once; the Team itself digests the event after that. Should it want something
else after all, that is one more difference between desired and observed, and reconciled like any other.

Teams come back to where they were: a link is lost and back, and the port is standby as the other was. What was found out is kept by
the situation it holds in, and counts again at once; a copy costs a fifth of all that the daemon computes for a cut and its mending.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import repeat
from operator import attrgetter, is_
from types import FunctionType, MemberDescriptorType, MethodType
from typing import Any, TypeAlias

from pyteamd.config.config import Config
from pyteamd.core.team import Phase, Team
from pyteamd.model.desired import Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import CarrierSeen, Event, FrameSeen, LinkGone, LinkSeen, PortSeen, Refused, Tick

MAXIMUM_PORTS = 8
"""A copy of a team with this many ports takes 0.2 ms with activebackup, 0.5 ms with lacp, on a quick machine."""
MOST_REMEMBERED = 8
"""Situations of a team: two ports in turn make two. One takes some three kilobytes."""
ABOUT_A_LINK = (LinkSeen, CarrierSeen, LinkGone, PortSeen)

Copier: TypeAlias = Callable[[Any, dict[int, Any]], Any]
Plan: TypeAlias = tuple[tuple[int, Copier], ...]
"""Places of the attributes that are copied, and how."""
Result: TypeAlias = Sequence[Refused] | KernelGone
"""Of writes: those refused, or the device is no more."""


class Forecast:
    """What a Team at rest would write, and what was written on the strength of it and not digested yet.

    From `match` until `digested` gives its answer the writes of one event are ahead of the Team.
    """

    def __init__(self) -> None:
        self._known: Mapping[int, tuple[Write, ...]] = {}
        self._remembered: dict[Hashable, Mapping[int, tuple[Write, ...]]] = {}
        self.event: Event | None = None
        """The event whose writes are under way or done, and that the Team has still to digest."""
        self._writes: tuple[Write, ...] = ()
        self._result: Result | None = None

    def look(self, team: Team, now: float) -> Mapping[int, tuple[Write, ...]]:
        """The team has come to rest: foresee what it would write. Returns that by the port that is lost."""
        self._known = foresee(team, now)
        if (here := situation(team)) is not None:
            if here not in self._remembered and len(self._remembered) >= MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[here] = self._known
        return self._known

    def recall(self, team: Team) -> Mapping[int, tuple[Write, ...]] | None:
        """Nothing is left to write: if the team was where it is now before, what was foreseen then holds. None: it has to look."""
        here = situation(team)
        if here is None or (known := self._remembered.get(here)) is None:
            return None
        self._known = known
        return known

    def spoil(self) -> bool:
        """The team has changed: what was foreseen no longer holds. Returns whether anything was."""
        known, self._known = self._known, {}
        return bool(known)

    def awaits(self, event: Event) -> bool:
        """Whether the writes of this very event were made before the Team digests it."""
        return event == self.event

    def match(self, events: Iterable[Event], team: Team) -> tuple[Write, ...]:
        """The writes to perform at once, () for none. The events have to be digested then.

        Only the first event that concerns the Team counts: what was foreseen holds for a team at rest.
        """
        for event in events if self._known else ():
            if type(event) is CarrierSeen and not event.running and (writes := self._known.get(event.ifindex, ())):
                self._known = {}
                self.event, self._writes, self._result = event, writes, None
                return writes
            if not leaves_valid(event, team):
                break
        return ()

    def done(self, result: Result) -> None:
        """What became of the writes, before their event was digested."""
        self._result = result

    def digested(self, event: Event) -> tuple[tuple[Write, ...], Result | None] | None:
        """The Team has digested this event: None when it is another one, else what was written for it, and with which result.

        No result means that the writes are still under way.
        """
        if self.event is None or event != self.event:
            return None
        writes, result = self._writes, self._result
        self.event, self._writes, self._result = None, (), None
        return writes, result


def foresee(team: Team, now: float) -> Mapping[int, tuple[Write, ...]]:
    """Ports whose loss of the link would lead to writes at once → those writes, in order."""
    if not may_foresee(team):
        return {}
    carrying = [i for i, port in team.ports.items() if port.running and team.facts.observed.serves(i)]
    found: dict[int, tuple[Write, ...]] = {}
    for ifindex in carrying:
        other = twin(team, {})
        other.handle(CarrierSeen(ifindex, False), now)
        if writes := other.writes(now):
            found[ifindex] = writes
    return found


def may_foresee(team: Team) -> bool:
    """Whether another port can replace one that is lost, and the team is small enough to be copied."""
    return 1 < len(team.ports) <= MAXIMUM_PORTS and sum([port.up for port in team.ports.values()]) > 1


def situation(team: Team) -> Hashable | None:
    """All that `foresee` depends on; None where something may be left to write, time counts, or what counts is not told."""
    if team.phase is not Phase.RUNNING or team.failed or team.unfinished:
        return None
    if team.others_wait() or team.carrier.desired() is not None:
        return None
    runner = team.runner.situation(team.view)
    ports = [(i, port.running, port.policy_all, port.watchers, port.verdicts()) for i, port in team.ports.items()]
    if runner is None or not all(watcher.follows_link() for port in team.ports.values() for watcher in port.watchers):
        return None
    observed = team.facts.observed
    return runner, *ports, *observed.options.items(), *observed.macs.items(), observed.carrier


def leaves_valid(event: Event, team: Team) -> bool:
    """Whether a forecast still holds after this event, provided that nothing was written or said because of it."""
    if isinstance(event, ABOUT_A_LINK):
        if event.ifindex in team.ports or event.ifindex == team.view.ifindex:
            return False
        return not (isinstance(event, LinkSeen) and (event.master == team.view.ifindex or team.members.wants(event)))
    return isinstance(event, (Tick, FrameSeen))


def twin(thing: Any, copies: dict[int, Any]) -> Any:
    """A copy that shares what is never changed: values, frozen dataclasses, the configuration.

    `copies`: what was copied already, by identity: what refers to one object refers to one copy.
    """
    copier = COPIERS.get(type(thing), _find)
    return thing if copier is None else copier(thing, copies)


def _find(thing: Any, copies: dict[int, Any]) -> Any:
    """Copy the first object of a class, having found how they are copied."""
    cls: Any = type(thing)
    parameters = getattr(cls, "__dataclass_params__", None)
    copier: Copier | None
    if issubclass(cls, (Enum, type)) or (parameters is not None and parameters.frozen):
        copier = None
    elif issubclass(cls, tuple):
        copier = None  # named tuples are keys
    elif cls.__module__.startswith("pyteamd."):
        copier = _copier_of(cls)
    else:
        copier = copy.deepcopy
    COPIERS[cls] = copier
    if copier is None:
        SHARED.add(cls)
    return thing if copier is None else copier(thing, copies)


def _copy_dict(thing: Any, copies: dict[int, Any]) -> Any:
    if (made := copies.get(id(thing))) is None:
        made = copies[id(thing)] = thing.copy()
        if made:
            _renew(made, copies)
    return made


def _copy_list(thing: Any, copies: dict[int, Any]) -> Any:
    if (made := copies.get(id(thing))) is None:
        made = copies[id(thing)] = thing.copy()
        if made and not SHARED.issuperset(map(type, made)):
            made[:] = [twin(element, copies) for element in made]
    return made


def _copy_tuple(thing: Any, copies: dict[int, Any]) -> Any:
    if SHARED.issuperset(map(type, thing)):
        return thing
    made = tuple([twin(element, copies) for element in thing])
    return thing if all(map(is_, made, thing)) else made


def _copier_of(cls: Any) -> Copier:
    """Copy slots, the attributes in __dict__, and, where the class is a dictionary itself, its values.

    Which attributes are not shared is found out once for all objects that have the same kinds of values, as nearly all have.
    """
    slots = [name for base in cls.__mro__ for name in base.__dict__.get("__slots__", ())]
    slots = [name for name in slots if isinstance(getattr(cls, name), MemberDescriptorType)]  # no property stands there
    is_dict, has_dict = issubclass(cls, dict), cls.__dictoffset__ != 0
    slots = slots * 2 if len(slots) == 1 else slots  # of one name, attrgetter would give the bare value
    values_of = attrgetter(*slots) if slots else tuple
    plans: dict[Any, Plan] = {}

    def copy_ours(thing: Any, copies: dict[int, Any]) -> Any:
        if (made := copies.get(id(thing))) is not None:
            return made
        made = copies[id(thing)] = cls.__new__(cls)
        if is_dict:
            made.update(thing)
            _renew(made, copies)
        if slots:
            values = values_of(thing)
            deque(map(setattr, repeat(made), slots, values), 0)
            if (plan := plans.get(kinds := tuple(map(type, values)))) is None:
                plan = _plan(plans, kinds, kinds)
            for at, copier in plan:
                setattr(made, slots[at], copier(values[at], copies))
        if has_dict:
            own = made.__dict__
            own.update(thing.__dict__)
            names, kinds = tuple(own), tuple(map(type, own.values()))
            if (plan := plans.get((names, kinds))) is None:
                plan = _plan(plans, (names, kinds), kinds)
            for at, copier in plan:
                own[names[at]] = copier(own[names[at]], copies)
        return made

    return copy_ours


def _plan(plans: dict[Any, Plan], key: object, kinds: Iterable[Any]) -> Plan:
    """Which of an object's attributes are copied, and how; remembered once all these classes are known."""
    copiers = [(at, COPIERS.get(kind, _find)) for at, kind in enumerate(kinds)]
    plan = tuple([(at, copier) for at, copier in copiers if copier is not None])
    if all(copier is not _find for _, copier in plan):
        plans[key] = plan
    return plan


def _renew(owner: dict[Any, Any], copies: dict[int, Any]) -> None:
    """The values of a dictionary that was copied as a whole."""
    if SHARED.issuperset(map(type, owner.values())):
        return
    for key, value in owner.items():
        if (copier := COPIERS.get(type(value), _find)) is not None:
            owner[key] = copier(value, copies)


COPIERS: dict[Any, Copier | None] = {
    **dict.fromkeys((bool, int, float, str, bytes, type(None), frozenset, FunctionType, Config)),
    dict: _copy_dict,
    Counter: _copy_dict,
    list: _copy_list,
    set: lambda thing, copies: copies.setdefault(id(thing), thing.copy()),  # what is hashable is never changed
    tuple: _copy_tuple,
    MethodType: lambda thing, copies: MethodType(thing.__func__, twin(thing.__self__, copies)),
}
"""How objects of a class are copied; None: they are shared. Other classes are added when their first object comes."""
SHARED = {cls for cls, copier in COPIERS.items() if copier is None}
"""Classes whose objects are known to be shared: of most collections all elements are of such classes."""
