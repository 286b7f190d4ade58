"""The trace: what the core was told and what it answered, in a ring, and as JSON lines.

An entry is (time, event, writes, frames and notes). Recording keeps references only; text is made on demand. The first line
of a saved trace describes how the team began: while no entry has fallen out of the ring, the trace can be replayed.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyteamd.model.desired
import pyteamd.model.events
from pyteamd.core.typed import hints, wrong_field
from pyteamd.model.desired import OptionKey, Outputs, SetOption, Write
from pyteamd.model.events import (
    Applied,
    ConfigApply,
    Event,
    FrameSeen,
    LinkGone,
    LinkSeen,
    OptionSeen,
    PortGone,
    Resync,
    Tick,
)
from pyteamd.model.printable import printable
from pyteamd.values import dataclass

if TYPE_CHECKING:
    from pyteamd.core.packed import Packed

FORMAT = 1
SHOWN = 60
"""Characters of a wrong value that a message shows."""
RING_ENTRIES = 4096
KEPT_ENTRIES, PACKED_ENTRIES = 512, 64
LIVE_ENTRIES = 256
"""As many of the last steps stay as they are; where links come and go a step takes 650 octets, and packed 30 (and 5 µs, once)."""
UNTELLING = (FrameSeen, Tick, OptionSeen, Applied, Resync, LinkSeen, LinkGone)
"""Events that come by themselves again and again: a step with one that led to nothing tells nothing later."""
REPEATED = frozenset((FrameSeen, ConfigApply, Tick))
"""Events that are often equal to the last one: a partner says the same each second, and an automaton applies the same every minute."""
MOST_PLACES = 1024
PARTS = {"at": "seconds", "event": "an event", "writes": "a list of writes", "outputs": "frames and notes"}
TYPES: dict[str, Any] = {
    name: cls
    for module in (pyteamd.model.events, pyteamd.model.desired)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and (is_dataclass(cls) or issubclass(cls, Enum))
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the core."""

    at: float
    event: Event
    writes: tuple[Write, ...]
    outputs: Outputs


class Trace:
    """The last steps of one team."""

    def __init__(self, beginning: Mapping[str, Any], size: int = RING_ENTRIES) -> None:
        """`beginning`: how the team began, plain JSON values (configuration text, link, flags)."""
        self.beginning: dict[str, Any] = copied(beginning)  # the configuration goes on changing
        self.dropped = 0
        """Entries that fell out of the ring; a trace without its beginning cannot be replayed."""
        self.counted: Counter[str] = Counter()
        """Events by kind."""
        self.switches = 0
        """Times the active port was written."""
        self.noted = 0
        """Number of the step behind the last one with a note; 0 before there is one."""
        self._size = size
        self._ring: deque[Entry] = deque()
        self._older: deque[tuple[Packed, Packed]] = deque()
        """The steps of the ring before those, PACKED_ENTRIES in each: those that tell something, and the rest."""
        self._kept: deque[tuple[int, Entry]] = deque(maxlen=min(KEPT_ENTRIES, size))
        """The last of those that fell out of the ring and tell something: a minute of probes pushes a day of events out."""
        self._packed: deque[Packed] = deque()
        """Those before them."""
        self._last: dict[object, Any] = {}
        """The last configuration that was applied, the last frames of each port and what was sent then: what is equal is kept only once."""

    def record(self, at: float, event: Event, writes: tuple[Write, ...], outputs: Outputs) -> None:
        """Remember one step."""
        if len(self) >= self._size:
            self._drop()
        if type(event) in REPEATED:
            event = self._same((type(event), getattr(event, "ifindex", 0)), event)
        if outputs.frames:
            outputs = self._same(outputs.frames[0].port, outputs)
        self._ring.append(Entry(at, event, writes, outputs))
        if type(event) is PortGone:
            self._last.pop((FrameSeen, event.ifindex), None)
            self._last.pop(event.ifindex, None)
        self.counted[type(event).__name__] += 1
        for write in writes:
            if isinstance(write, SetOption) and write.key.name == "activeport":
                self.switches += 1
        if outputs.notes:
            self.noted = self._live + len(self._ring)

    @property
    def _live(self) -> int:
        """Number of the first step that is as it was."""
        return self._older[-1][1].last + 1 if self._older else self.dropped

    def _drop(self) -> None:
        """The oldest step falls out of the ring."""
        self.dropped += 1
        if not self._older:
            oldest = self._ring.popleft()
            if tells(oldest):
                self._kept.append((self.dropped - 1, oldest))
        elif self._older[0][1].last < self.dropped:
            self._keep(self._older.popleft()[0])

    def _keep(self, piece: Packed) -> None:
        self._packed.append(piece)
        while sum([other.number for other in self._packed]) - self._packed[0].number >= KEPT_ENTRIES:
            self._packed.popleft()

    def _same(self, place: object, value: Any) -> Any:
        """What was there before if it is equal."""
        if (known := self._last.get(place)) == value:
            return known
        if len(self._last) >= MOST_PLACES:
            del self._last[next(iter(self._last))]
        self._last[place] = value
        return value

    def since(self, start: int) -> Iterator[tuple[int, Entry]]:
        """Steps from this number on that are still there, with their numbers."""
        start = max(start, self.dropped)
        for pieces in list(self._older) if start < self._live else ():
            if pieces[1].last >= start:
                rows = sorted(chain(*(piece.rows() for piece in pieces)), key=itemgetter(0))
                yield from (row for row in rows if row[0] >= start)
        for number in range(max(start, self._live), self._live + len(self._ring)):
            yield number, self._ring[number - self._live]

    def __len__(self) -> int:
        return self._live - self.dropped + len(self._ring)

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, entry in self._numbered(0))

    def _numbered(self, start: int) -> Iterator[tuple[int, Entry]]:
        """All that is left from a number on, what was kept included."""
        return self.since(start) if start >= self.dropped else chain(self._before(start), self.since(start))

    def _before(self, start: int) -> Iterator[tuple[int, Entry]]:
        """What was kept, from a number on: no more is unpacked than that needs."""
        pieces = (*self._packed, *(telling for telling, _ in islice(self._older, 1)))
        rows = chain(self._kept, *(piece.rows() for piece in pieces if piece.last >= start))
        fallen = sorted((row for row in rows if row[0] < self.dropped), key=itemgetter(0))[-(self._kept.maxlen or 1) :]
        return (row for row in fallen if row[0] >= start)

    def pack(self) -> bool:
        """At a quiet moment: some of what is older takes less room from now on. Returns whether there is more to pack."""
        if len(self._kept) >= PACKED_ENTRIES or self._is_worth_packing():
            from pyteamd.core.packed import pack

            if len(self._kept) >= PACKED_ENTRIES:
                self._keep(pack([self._kept.popleft() for _ in range(PACKED_ENTRIES)]))
            else:
                rows = list(enumerate(islice(self._ring, PACKED_ENTRIES), self._live))
                telling, rest = ([row for row in rows if tells(row[1]) is which] for which in (True, False))
                self._older.append((pack(telling, rows[-1][0]), pack(rest, rows[-1][0])))
                for _ in rows:
                    self._ring.popleft()
        return len(self._kept) >= PACKED_ENTRIES or self._is_worth_packing()

    def _is_worth_packing(self) -> bool:
        """Not where a partner says the same again and again: that is kept once, and goes soon."""
        if len(self._ring) < LIVE_ENTRIES + PACKED_ENTRIES:
            return False
        return (
            sum(type(entry.event) not in REPEATED for entry in islice(self._ring, PACKED_ENTRIES)) > PACKED_ENTRIES // 4
        )

    def first_line(self, saved: Mapping[str, Any] | None = None) -> str:
        """How the team began, as JSON. `saved`: how it was when this was asked, for a trace whose beginning is lost."""
        return dump(
            {"format": FORMAT, "dropped": self.dropped, **self.beginning, **({"saved": saved} if saved else {})}
        )

    def lines(self, saved: Mapping[str, Any] | None = None) -> Iterator[str]:
        """JSON lines: the beginning, then one per entry."""
        yield self.first_line(saved)
        for entry in self:
            yield dump(encode(entry))

    def piece(self, start: int, octets: int, saved: Mapping[str, Any] | None = None) -> tuple[list[str], int | None]:
        """About so many octets of the lines, from a step number on (0: with the first line); and where to go on, None at the end.

        Steps are numbered from the daemon's start; of those that fell out of the ring some are kept, and the others passed over.
        """
        lines = [self.first_line(saved)] if start == 0 else []
        size = 0
        for number, entry in self._numbered(start):
            if size >= octets:
                return lines, number
            lines.append(dump(encode(entry)))
            size += len(lines[-1])
        return lines, None


def tells(entry: Entry) -> bool:
    """Whether a step is worth keeping longer than those that come again and again."""
    return bool(entry.writes or entry.outputs.notes) or not isinstance(entry.event, UNTELLING)


def dump(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value, separators=(",", ":"))  # ASCII: names of links may be octets that are no UTF-8


def copied(tree: Any) -> Any:
    """The same plain JSON values in containers of their own."""
    if isinstance(tree, Mapping):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree


def encode(value: Any) -> Any:
    """Plain JSON values for events, writes and outputs."""
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if is_dataclass(value) and not isinstance(value, type):
        named = {item.name: encode(getattr(value, item.name)) for item in fields(value)}
        return named if isinstance(value, Entry) else {"type": type(value).__name__, **named}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, OptionKey):
        return {"option": list(value)}
    if isinstance(value, tuple):
        return [encode(element) for element in value]
    if isinstance(value, list):  # only in the settings of users, where it has to come back as one
        return {"list": [encode(element) for element in value]}
    if isinstance(value, Mapping):
        return {"map": [[encode(key), encode(item)] for key, item in value.items()]}
    return value


def decode(value: Any) -> Any:
    """The inverse of `encode`; ValueError for what `encode` cannot have made."""
    match value:
        case list():
            return tuple(decode(element) for element in value)
        case {"hex": str(text)}:
            return bytes.fromhex(text)
        case {"option": [str(name), int(port), int(index)]}:
            return OptionKey(name, port, index)
        case {"list": list(elements)}:
            return [decode(element) for element in elements]
        case {"map": list(items)}:
            return {decode(key): decode(item) for key, item in items}
        case {"enum": str(name), "value": plain} if name in TYPES:
            return TYPES[name](plain)
        case {"type": str(name), **named} if name in TYPES:
            return made(name, {str(key): decode(item) for key, item in named.items()})
        case dict():
            raise ValueError(f"not a trace value: {str(value)[:SHOWN]}")
    return value


def made(name: str, values: dict[str, Any]) -> Any:
    """A value of one of the dataclasses. ValueError."""
    cls = TYPES[name]
    try:
        value = cls(**values)
        wrong = wrong_field(value)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    if wrong:
        raise ValueError(f"{name}.{wrong}: {printable(str(values.get(wrong))[:SHOWN])} is none of {hints(cls)[wrong]}")
    return value


def entry(value: Any, after: float) -> Entry:
    """One step, not before the last one. ValueError, KeyError."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    found = Entry(value["at"], *(decode(value[key]) for key in ("event", "writes", "outputs")))
    if wrong := wrong_field(found):
        raise ValueError(f"{wrong}: must be {PARTS[wrong]}")
    if found.at < after:
        raise ValueError(f"at: {found.at} is before the step in front of it")
    return found


def parse(lines: Iterable[str]) -> tuple[dict[str, Any], list[Entry]]:
    """Beginning and entries of a saved trace. ValueError names the line that is wrong."""
    beginning: dict[str, Any] | None = None
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            if beginning is None:
                beginning = dict(value)
                continue
            entries.append(entry(value, entries[-1].at if entries else -math.inf))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"line {number}: not a line of a trace: {error}") from None
    if beginning is None or beginning.get("format") != FORMAT:
        raise ValueError("line 1: not the beginning of a trace")
    return beginning, entries
