"""What each port was at each moment, read out of a trace: lanes for a picture of what happened.

A lane is one fact about one port (carrier, a link watcher, an LACP machine, enabled, active) or about the team (port ""). A trace with its
beginning is told to a Team again, and the Team is asked after each step. Where the beginning fell out of the ring, lanes are made from what
events, writes and notes say, and from how it all was when the trace was saved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from pyteamd.core.port import Port
from pyteamd.core.team import Team
from pyteamd.core.trace import Entry
from pyteamd.model.desired import OptionKey, OptionValue, SetMember, SetOption
from pyteamd.model.events import CarrierSeen, LinkGone, LinkSeen, OptionSeen, Refused, Resync
from pyteamd.values import dataclass

GOOD, BETWEEN, BAD, IDLE = "good", "between", "bad", "idle"
"""What a state means for traffic; IDLE is neither good nor bad."""

Lane: TypeAlias = tuple[str, str]
"""The name of a port ("": the team) and what of it."""

CARRIER, ENABLED, ACTIVE, VERDICT = "carrier", "enabled", "active", "link watches"
TEAMS_ACTIVE = ("", "active port")
RECEIVE, MUX = "LACP receive", "LACP mux"
UNTOLD = frozenset((MUX,))
"""Lanes whose changes neither events nor writes nor notes tell."""
MACHINE_HEALTH: Final[Mapping[str, str]] = {
    "current": GOOD,
    "expired": BETWEEN,
    "defaulted": BAD,
    "disabled": BAD,
    "detached": IDLE,
    "waiting": BETWEEN,
    "attached": BETWEEN,
    "collecting": BETWEEN,
    "distributing": GOOD,
    "collecting_distributing": GOOD,
}
WATCHER_NOTE: Final = re.compile(r"(\S+)-link went (up|down)\.$")
DAMPING_NOTE: Final = re.compile(r"flaps, (held out of service)")
LACP_NOTE: Final = re.compile(r'Changed port state: "(\w+)" -> "(\w+)"')


@dataclass(frozen=True, slots=True)
class Value:
    """A state in words, and what it means for traffic."""

    text: str
    health: str


Values: TypeAlias = dict[Lane, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """A lane had this value from `start` to `end`, seconds on the trace's clock."""

    start: float
    end: float
    value: Value


def up_or_down(up: bool) -> Value:
    """State of a link."""
    return Value("up", GOOD) if up else Value("down", BAD)


def switched(on: bool) -> Value:
    """State of the option `enabled`."""
    return Value("enabled", GOOD) if on else Value("disabled", IDLE)


def chosen(yes: bool) -> Value:
    """Whether a port is the active one."""
    return Value("active", GOOD) if yes else Value("standby", IDLE)


def values(team: Team) -> Values:
    """All lanes of a team now."""
    observed = team.facts.observed
    found: Values = {}
    if observed.carrier is not None:
        found["", CARRIER] = up_or_down(observed.carrier)
    active = observed.options.get(OptionKey("activeport"))
    if isinstance(active, int):
        found[TEAMS_ACTIVE] = Value(team.facts.name_of(active), GOOD) if active else Value("none", BAD)
    for ifindex, port in team.ports.items():
        name = port.name
        found[name, CARRIER] = up_or_down(port.running)
        found |= _watchers(port)
        for machine, state in team.runner.machines(port).items():
            found[name, machine] = Value(state.replace("_", " "), MACHINE_HEALTH.get(state, IDLE))
        if OptionKey(ENABLED, ifindex) in observed.options:
            half = Value("one direction", BETWEEN)
            found[name, ENABLED] = half if observed.half_on(ifindex) else switched(observed.serves(ifindex))
        if isinstance(active, int):
            found[name, ACTIVE] = chosen(active == ifindex)
    return found


def _watchers(port: Port) -> Values:
    found: Values = {}
    for watcher in port.watchers:
        if watcher.only_vetoes and not watcher.gates_service:
            continue  # it listens, and never says no
        reason = watcher.verdict().text.removeprefix(f"{watcher.name}: ")
        words = f"{'up' if watcher.up else 'down'}: {reason}"
        found[port.name, _unused(found, port.name, watcher.name)] = Value(words, GOOD if watcher.up else BAD)
    return found


def _unused(found: Values, port: str, name: str) -> str:
    """A name for one more lane of a port: the second watcher of a kind and later ones get a number."""
    same = sum(lane == (port, name) or lane[1].startswith(f"{name} ") for lane in found)
    return f"{name} {same + 1}" if same else name


class Lanes:
    """Spans, gathered in the order of time."""

    def __init__(self) -> None:
        self.spans: dict[Lane, list[Span]] = {}
        self._open: dict[Lane, tuple[float, Value]] = {}

    def set(self, lane: Lane, value: Value | None, at: float) -> None:
        """A lane has this value from now on; None: it is not known any more."""
        since = self._open.get(lane)
        if since is not None and since[1] == value:
            return
        self.spans.setdefault(lane, [])
        if since is not None:
            if at > since[0]:
                self.spans[lane].append(Span(since[0], at, since[1]))
            del self._open[lane]
        if value is not None:
            self._open[lane] = (at, value)

    def set_all(self, now_known: Values, at: float) -> None:
        """The whole picture at a moment."""
        for lane in [lane for lane in self._open if lane not in now_known]:
            self.set(lane, None, at)
        for lane, value in now_known.items():
            self.set(lane, value, at)

    def end(self, at: float) -> None:
        """Nothing is known after this moment."""
        self.set_all({}, at)

    def first(self, lane: Lane) -> float | None:
        """Since when anything is known of the lane."""
        spans = self.spans.get(lane)
        if spans:
            return spans[0].start
        return self._open[lane][0] if lane in self._open else None

    def known(self, lane: Lane) -> bool:
        """Whether anything was said of the lane."""
        return lane in self.spans


class Recalled:
    """What the rest of a trace says of lanes, step by step."""

    def __init__(self, team: int, start: float) -> None:
        """`team`: ifindex of the team; `start`: when the trace begins."""
        self.team = team
        self.start = start
        self.names: dict[int, str] = {}
        self.lanes = Lanes()
        self._joined: dict[str, float] = {}
        """When a port was added that was none at the start."""

    def name_of(self, ifindex: int) -> str:
        """Name of a link; its number while the name is not known."""
        return self.names.get(ifindex, f"interface {ifindex}") if ifindex else "none"

    def see(self, entry: Entry) -> None:
        """One step."""
        at = entry.at
        match entry.event:
            case Resync(links=links, options=options):
                for link in links:
                    self._link(link, at)
                for option in options:
                    self._option(option.key, option.value, at)
            case LinkSeen():
                self._link(entry.event, at)
            case CarrierSeen(ifindex=ifindex, running=running):
                self._changed((self.name_of(ifindex), CARRIER), up_or_down(running), up_or_down(not running), at)
            case LinkGone(ifindex=ifindex):
                self._forget(ifindex, at)
            case OptionSeen(key=key, value=value):
                self._option(key, value, at)
            case Refused(write=SetOption(key=key, value=bool(value))):
                self._option(key, not value, at)
        for write in entry.writes:
            if isinstance(write, SetOption):
                self._option(write.key, write.value, at, written=True)
            elif isinstance(write, SetMember) and write.member:
                self._joined[self.name_of(write.ifindex)] = at
        for note in entry.outputs.notes:
            self._note(note.port, note.text, note.reason, at)

    def _link(self, link: LinkSeen, at: float) -> None:
        self.names[link.ifindex] = link.name
        if link.ifindex == self.team:
            if link.carrier is not None:
                self.lanes.set(("", CARRIER), up_or_down(link.carrier), at)
        elif link.master == self.team:
            self.lanes.set((link.name, CARRIER), up_or_down(link.running), at)
        else:
            self._forget(link.ifindex, at)

    def _forget(self, ifindex: int, at: float) -> None:
        name = self.name_of(ifindex)
        for lane in [lane for lane in self.lanes.spans if lane[0] == name]:
            self.lanes.set(lane, None, at)

    def _option(self, key: OptionKey, value: OptionValue, at: float, written: bool = False) -> None:
        if key.name == "activeport" and isinstance(value, int):
            self._active(value, at)
        elif key.name in (ENABLED, "user_linkup") and isinstance(value, bool):
            shown = switched if key.name == ENABLED else up_or_down
            lane = (self.name_of(key.port), ENABLED if key.name == ENABLED else VERDICT)
            self._changed(lane, shown(value), shown(not value) if written else None, at)

    def _active(self, ifindex: int, at: float) -> None:
        self.lanes.set(TEAMS_ACTIVE, Value(self.name_of(ifindex), GOOD) if ifindex else Value("none", BAD), at)
        names = {name for name, what in self.lanes.spans if name and what == ACTIVE} | {self.name_of(ifindex)}
        for name in sorted(names - {"none"}):
            self.lanes.set((name, ACTIVE), chosen(name == self.name_of(ifindex)), at)

    def _note(self, port: str, text: str, reason: str, at: float) -> None:
        if found := WATCHER_NOTE.search(text):
            up = found[2] == "up"
            reason = reason.removeprefix(f"{found[1]}: ")
            before = Value("down", BAD) if up else Value("up", GOOD)
            self._changed((port, found[1]), Value(f"{found[2]}: {reason}", GOOD if up else BAD), before, at)
        elif found := DAMPING_NOTE.search(text):
            self._changed((port, "damping"), Value(f"down: {found[1]}", BAD), Value("up", GOOD), at)
        elif found := LACP_NOTE.search(text):
            was, is_ = (Value(state.replace("_", " "), MACHINE_HEALTH.get(state, IDLE)) for state in found.groups())
            self._changed((port, RECEIVE), is_, was, at)

    def _changed(self, lane: Lane, value: Value, before: Value | None, at: float) -> None:
        """The first change that is seen of a lane also says what it was until then."""
        if before is not None and not self.lanes.known(lane):
            self.lanes.set(lane, before, self._since(lane))
        self.lanes.set(lane, value, at)

    def _since(self, lane: Lane) -> float:
        """The earliest moment from which an unknown lane can have been as it is."""
        return self._joined.get(lane[0], self.start)

    def finish(self, then: Values, at: float) -> None:
        """How it was when the trace was saved: what was never seen to change was so all the time.

        This does not hold for the lanes UNTOLD, which change without a word.
        """
        chosen_at = self.lanes.first(TEAMS_ACTIVE)
        for lane, value in then.items():
            if lane[1] in UNTOLD:
                continue
            since = self._since(lane)
            if lane[1] == ACTIVE and chosen_at is not None:
                since = max(since, chosen_at)  # before, it may have been this one
            self.lanes.set(lane, value, at if self.lanes.known(lane) else since)
        self.lanes.end(at)


def as_json(now: Values) -> list[list[str]]:
    """For the first line of a saved trace."""
    return [[port, lane, value.text, value.health] for (port, lane), value in now.items()]


def from_json(rows: Any) -> Values:
    """The inverse of `as_json`. ValueError."""
    found: Values = {}
    for row in rows if isinstance(rows, list | tuple) else (rows,):
        match row:
            case [str(port), str(lane), str(text), str(health)]:
                found[port, lane] = Value(text, health)
            case _:
                raise ValueError("saved.lanes: must be a list of [port, lane, value, good or between or bad or idle]")
    return found
