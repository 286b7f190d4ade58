"""A picture of what happened, as plain values: lanes for each port, frames, and marks with their words, from the lines of a trace.

Times are seconds on the clock of the trace. `unix_offset_s` turns them into wall-clock time where the trace says when it was saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from pyteamd.core import backoff
from pyteamd.core.team import Team
from pyteamd.core.trace import Entry, decode, parse
from pyteamd.core.typed import fits
from pyteamd.model.desired import Frame, OptionValue, SetOption, Write
from pyteamd.model.events import (
    CarrierSeen,
    ConfigApply,
    Event,
    FrameSeen,
    HostsResolved,
    LinkGone,
    LinkSeen,
    Overrun,
    PortAdd,
    PortConfigUpdate,
    PortRemove,
    Refused,
    Resync,
    Stop,
    UserSet,
)
from pyteamd.model.printable import printable_tree
from pyteamd.model.words import in_words, refusal
from pyteamd.values import dataclass
from pyteamd.views.lanes import Lanes, Recalled, Span, Values, from_json, values
from pyteamd.wire import PeerError, ethernet
from pyteamd.wire.lldp import ETHERTYPE_LLDP

EVENT, WRITE, REFUSED = "event", "write", "refused"
"""Kinds of marks beside the levels of notes."""

NameOf = Callable[[int], str]
Retell = Callable[[Mapping[str, Any], Sequence[Entry], Callable[[Team, Entry, Entry], None]], None]
"""How a trace is told again, see scenario/replay.py: its beginning, its steps, and what is told of each: the team, then and now."""

KINDS_OF_FRAMES: Final = {
    ethernet.ETHERTYPE_ARP: "ARP",
    ethernet.ETHERTYPE_SLOW: "LACP or marker",
    ETHERTYPE_LLDP: "LLDP",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment. `port` "": to the team. `kind`: event, write, refused, or the level of a note."""

    at: float
    port: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame of ours (`sent`) or of a peer."""

    at: float
    port: str
    sent: bool
    what: str


@dataclass(slots=True)
class Timeline:
    """All that is drawn. `remarks`: sentences about the picture itself."""

    team: str
    runner: str
    start: float
    end: float
    spans: dict[tuple[str, str], list[Span]] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    frames: list[Passed] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unix_offset_s: float | None = None


def timeline(lines: Iterable[str], retell: Retell) -> Timeline:
    """The picture of a saved trace. ValueError: it is none."""
    beginning, entries = parse(lines)
    if not entries:
        raise ValueError("the trace has no steps")
    saved = beginning.get("saved") or {}
    end = _number(saved, "now", entries[-1].at)
    link = decode(beginning.get("link"))
    config = beginning.get("config")
    if not isinstance(link, LinkSeen) or not isinstance(config, dict) or not isinstance(saved, dict):
        raise ValueError("line 1: must have `link` and `config`, and may have `saved`, each an object")
    runner = config.get("runner")
    name = runner.get("name", "") if isinstance(runner, dict) else ""
    made = Timeline(link.name, str(name), entries[0].at, max(end, entries[-1].at))
    if "unix" in saved:
        made.unix_offset_s = _number(saved, "unix", 0.0) - end
    if beginning.get("dropped"):
        _recall(made, link, entries, saved)
        dropped = beginning["dropped"]
        made.remarks.append(
            f"{dropped} steps fell out of the daemon's memory; lanes before the first change of a value are what it must have been, "
            "and blank where that is not known."
        )
    else:
        _follow(made, beginning, entries, retell)
    return made


def _follow(made: Timeline, beginning: Mapping[str, Any], entries: Sequence[Entry], retell: Retell) -> None:
    """The whole trace: what the team is after each step."""
    lanes = Lanes()
    same: list[bool] = []

    def draw(team: Team, entry: Entry, now: Entry) -> None:
        same.append(now == entry)
        lanes.set_all(values(team), entry.at)
        made.marks += marks(entry, team.facts.name_of)
        made.frames += passed(entry, team.facts.name_of)

    retell(beginning, entries, draw)
    if not all(same):
        made.remarks.append(
            "The program that draws this decides otherwise than the one that was traced, "
            f"from step {same.index(False) + 1} on: lanes may be wrong."
        )
    lanes.end(made.end)
    made.spans = lanes.spans


def _recall(made: Timeline, link: LinkSeen, entries: Sequence[Entry], saved: Any) -> None:
    """A trace without its beginning."""
    told = Recalled(link.ifindex, made.start)
    then: Values = from_json(saved.get("lanes", ()))
    names = saved.get("names", {})
    told.names = {int(number): str(name) for number, name in names.items()} if isinstance(names, dict) else {}
    for entry in entries:
        told.see(entry)
        made.marks += marks(entry, told.name_of)
        made.frames += passed(entry, told.name_of)
    told.finish(then, made.end)
    made.spans = told.lanes.spans


def _number(saved: Any, key: str, otherwise: float) -> float:
    value = saved.get(key, otherwise) if isinstance(saved, dict) else otherwise
    if not fits(value, float):
        raise ValueError(f"saved.{key}: not a number")
    return float(value)


# -- marks -------------------------------------------------------------------------------------------------------------


def marks(entry: Entry, name_of: NameOf) -> Iterator[Mark]:
    """What happened in a step: the event in words where it is worth any, what was said, what was written."""
    happened = event_in_words(entry.event, name_of)
    if happened is not None:
        port, text = happened
        yield Mark(entry.at, port, REFUSED if isinstance(entry.event, Refused) else EVENT, text)
    for note in entry.outputs.notes:
        why = f" ({note.reason})" if note.reason else ""
        yield Mark(entry.at, note.port, note.level.value, note.text + why)
    for write in entry.writes:
        yield Mark(entry.at, port_of(write, name_of), WRITE, in_words(write, name_of))


def event_in_words(event: Event, name_of: NameOf) -> tuple[str, str] | None:
    """The port and the words; None for what comes again and again, and for what the lanes show."""
    match event:
        case CarrierSeen(ifindex=ifindex, running=running):
            return name_of(ifindex), f"the kernel says: carrier {'up' if running else 'down'}"
        case LinkGone(ifindex=ifindex):
            return name_of(ifindex), "the link is gone"
        case Resync(links=links):
            return "", f"everything was read: {len(links)} links"
        case Overrun():
            return "", "the kernel lost messages for the daemon"
        case Refused(write=write):
            return port_of(write, name_of), f"the kernel refused to {refusal(event, name_of)}"
        case HostsResolved(addresses=addresses):
            return "", "hosts were looked up: " + ", ".join(
                f"{host} {found or 'not found'}" for (host, _), found in addresses.items()
            )
        case Stop(keep=keep):
            return "", f"told to end{', and to leave all as it is' if keep else ''}"
    return _request_in_words(event, name_of)


def _request_in_words(event: Event, name_of: NameOf) -> tuple[str, str] | None:
    """What a user asked for."""
    match event:
        case UserSet(path=path) if path.startswith("damping."):
            return name_of(int(path.removeprefix("damping."))), "a user clears the port's penalty"
        case UserSet(path=path, value=value):
            return "", f"a user sets {path} to {value}"
        case PortAdd(ifindex=ifindex, link=link):
            name = name_of(ifindex) if link is None else link.name
            return name, "a user adds the port"
        case PortRemove(ifindex=ifindex):
            return name_of(ifindex), "a user removes the port"
        case PortConfigUpdate(name=name):
            return name, "a user changes the port's configuration"
        case ConfigApply(written=written):
            return (
                "",
                "a user applies another configuration" if written is None else "an earlier configuration is taken back",
            )
    return None


def port_of(write: Write, name_of: NameOf) -> str:
    """The port that a write concerns, "" for the team."""
    number: OptionValue = backoff.port_of(write)
    if isinstance(write, SetOption) and write.key.name == "activeport":
        number = write.value
    return name_of(number) if isinstance(number, int) and number else ""


# -- frames ------------------------------------------------------------------------------------------------------------


def passed(entry: Entry, name_of: NameOf) -> Iterator[Passed]:
    """Frames received and sent in a step."""
    if isinstance(entry.event, FrameSeen):
        seen = entry.event
        yield Passed(entry.at, name_of(seen.ifindex), False, kind_of_frame(seen.ethertype, seen.payload))
    for frame in entry.outputs.frames:
        yield Passed(entry.at, name_of(frame.port), True, _kind(frame))


def _kind(frame: Frame) -> str:
    try:
        parsed = ethernet.parse(frame.octets)
    except PeerError:
        return "frame"
    return kind_of_frame(parsed.ethertype, parsed.payload)


def kind_of_frame(ethertype: int, payload: bytes) -> str:
    """Which protocol a frame is of, in a word or two."""
    if ethertype == ethernet.ETHERTYPE_IPV4 or (ethertype == ethernet.ETHERTYPE_IPV6 and payload[6:7] == b"\x11"):
        return "BFD"
    if ethertype == ethernet.ETHERTYPE_IPV6:
        return "neighbour discovery"
    return KINDS_OF_FRAMES.get(ethertype, f"type {ethertype:#06x}")


# -- for the page ------------------------------------------------------------------------------------------------------


def joined(parts: Sequence[Timeline]) -> Timeline:
    """One picture of daemons that ran one after the other, as in a scenario with a restart. At least one part."""
    first = parts[0]
    whole = Timeline(first.team, first.runner, first.start, parts[-1].end, unix_offset_s=first.unix_offset_s)
    for number, part in enumerate(parts):
        if number:
            whole.marks.append(Mark(part.start, "", EVENT, "the daemon starts again"))
        for lane, spans in part.spans.items():
            whole.spans.setdefault(lane, []).extend(spans)
        whole.marks += part.marks
        whole.frames += part.frames
        whole.remarks += [remark for remark in part.remarks if remark not in whole.remarks]
    return whole


def plain(drawn: Timeline) -> dict[str, Any]:
    """JSON values, times in seconds from the beginning, names and words made harmless."""
    start = drawn.start
    places = {lane[0] for lane in drawn.spans} | {mark.port for mark in drawn.marks}
    ports = ["", *sorted(places - {"", drawn.team})]

    def since(at: float) -> float:
        return round(at - start, 6)

    groups = []
    for port in ports:
        lanes = [
            {"name": lane, "spans": [[since(s.start), since(s.end), s.value.text, s.value.health] for s in spans]}
            for (owner, lane), spans in drawn.spans.items()
            if owner == port
        ]
        frames = [[since(frame.at), int(frame.sent), frame.what] for frame in drawn.frames if frame.port == port]
        groups.append({"name": port or drawn.team, "team": not port, "lanes": lanes, "frames": frames})
    shown: dict[str, Any] = printable_tree(
        {
            "team": drawn.team,
            "runner": drawn.runner,
            "unix": None if drawn.unix_offset_s is None else start + drawn.unix_offset_s,
            "length": since(drawn.end),
            "remarks": drawn.remarks,
            "groups": groups,
            "marks": [[since(mark.at), mark.port or drawn.team, mark.kind, mark.text] for mark in drawn.marks],
        }
    )
    return shown
