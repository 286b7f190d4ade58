"""Traces: every event survives being written and read, and what is no trace is refused with its line."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any, get_args

import pytest
from explain_kit import lacp, two_partners
from hypothesis import given, settings
from hypothesis import strategies as st

from pyteamd.core import packed
from pyteamd.core.trace import FORMAT, KEPT_ENTRIES, PACKED_ENTRIES, Entry, Trace, decode, dump, encode, parse
from pyteamd.core.typed import LARGEST, SMALLEST
from pyteamd.model import desired as model
from pyteamd.model.desired import Frame, Level, Note, OptionKey, Outputs, SetCarrier, SetMac, SetMember, SetOption
from pyteamd.model.events import (
    Applied,
    ConfigApply,
    Event,
    FrameSeen,
    HostsResolved,
    LinkSeen,
    OptionSeen,
    PortAdd,
    PortConfigUpdate,
    PortGone,
    Refused,
    Tick,
)
from pyteamd.scenario.replay import begin
from pyteamd.schema.json_text import CONFIG_DEPTH
from pyteamd.views.explain import explain

EVENTS = get_args(Event)
WRITES = get_args(model.Write)

NAMES = st.text(st.characters(codec="utf-8"), max_size=15) | st.sampled_from(["eth0", "\udcff\udc80"])
"""A link may bear a name that is no UTF-8."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
st.register_type_strategy(str, NAMES)
st.register_type_strategy(int, st.integers(SMALLEST, LARGEST))
st.register_type_strategy(OptionKey, st.builds(OptionKey, NAMES, st.integers(0, LARGEST), st.integers(0, LARGEST)))
KNOWN: dict[type, st.SearchStrategy[Any]] = {
    PortConfigUpdate: st.builds(PortConfigUpdate, NAMES, st.dictionaries(NAMES, JSON, max_size=4)),
    HostsResolved: st.builds(
        HostsResolved, st.dictionaries(st.tuples(NAMES, st.sampled_from(["inet", "inet6"])), NAMES, max_size=3)
    ),
}


def any_of(cls: type) -> st.SearchStrategy[Any]:
    """Values of an event's or write's type, from its annotations."""
    return KNOWN[cls] if cls in KNOWN else st.builds(cls)


@pytest.mark.parametrize("cls", [*EVENTS, *WRITES], ids=lambda cls: cls.__name__)
def test_every_event_and_write_survives(cls: type) -> None:
    @settings(max_examples=12, deadline=None, database=None)
    @given(any_of(cls))
    def survives(value: Any) -> None:
        again = decode(json.loads(dump(encode(value))))
        assert again == value
        assert repr(again) == repr(value)

    survives()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sampled_from(EVENTS).flatmap(any_of), max_size=6))
def test_a_whole_trace_survives(events: list[Any]) -> None:
    trace = Trace({"config": {}, "adopted": False})
    for at, event in enumerate(events):
        trace.record(
            float(at), event, (SetCarrier(True),), Outputs((Frame(2, b"\xff"),), (Note(Level.INFO, "x", "eth0"),))
        )
    beginning, entries = parse(trace.lines())
    assert beginning == {"format": FORMAT, "dropped": 0, "config": {}, "adopted": False}
    assert entries == list(trace)


def test_settings_come_back_as_lists_and_writes_as_tuples() -> None:
    tree = {"link_watch": [{"name": "ethtool"}], "prio": 3}
    update = decode(json.loads(dump(encode(PortConfigUpdate("eth0", tree)))))
    assert type(update.tree["link_watch"]) is list
    applied = decode(json.loads(dump(encode(Applied((SetMac(2, b"\x02"), SetMember(3, True)))))))
    assert type(applied.writes) is tuple


def test_a_trace_is_ascii() -> None:
    trace = Trace({})
    trace.record(0.0, Tick(), (), Outputs((), (Note(Level.INFO, "\udcff: é", ""),)))
    assert all(line.isascii() for line in trace.lines())


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "line 1: not the beginning"),
        (["{"], "line 1: not a line"),
        (['{"format": 99}'], "line 1: not the beginning"),
        (['{"format": 1}', "7"], "line 2: not a line"),
        (['{"format": 1}', '{"at": 1}'], "line 2: not a line"),
        (
            ['{"format": 1}', '{"at": 1, "event": {"type": "Nonsense"}, "writes": [], "outputs": null}'],
            "line 2: not a line.*Nonsense",
        ),
        (
            ['{"format": 1}', '{"at": 1, "event": {"type": "LinkGone", "x": 2}, "writes": [], "outputs": null}'],
            "line 2: not a line.*LinkGone",
        ),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(lines: list[str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(lines)


def filled(steps: int, size: int) -> Trace:
    """A trace with so many steps and room for so many."""
    trace = Trace({}, size)
    for number in range(steps):
        trace.record(float(number), FrameSeen(1, b"", b"", 0, None, bytes(100)), (), Outputs())
    return trace


@pytest.mark.parametrize(("steps", "size"), [(0, 8), (5, 8), (8, 8), (20, 8)])
def test_pieces_make_up_the_whole(steps: int, size: int) -> None:
    trace = filled(steps, size)
    lines: list[str] = []
    start: int | None = 0
    while start is not None:
        piece, start = trace.piece(start, 500)
        lines += piece
    assert lines == list(trace.lines())
    assert json.loads(lines[0])["dropped"] == max(0, steps - size)


def test_a_piece_is_bounded() -> None:
    piece, following = filled(100, 200).piece(0, 1000)
    assert sum(map(len, piece)) < 2000
    assert following == len(piece) - 1


def test_entries_keep_the_kernels_own_words() -> None:
    refused = Refused(SetOption(OptionKey("mode"), "x"), 16, "driver says no")
    entry = Entry(1.0, refused, (), Outputs())
    (again,) = parse(['{"format": 1}', dump(encode(entry))])[1]
    assert isinstance(again.event, Refused)
    assert again.event.explanation == "driver says no"


def test_a_successor_replays_with_what_it_was_given() -> None:
    made, _, _ = two_partners(lacp())
    handed = [made.team.runner.snapshot(made.world.clock), 0.5, made.world.clock]
    link = made.world.kernel.find_link("team0")
    beginning = {"config": made.team.config.dump(), "link": encode(link), "adopted": True, "enslave": True}

    def first_words(**more: Any) -> tuple[bool, ...]:
        team = begin(json.loads(dump({**beginning, **more})))
        team.handle(made.world.kernel.dump(made.team.view.ifindex), made.world.clock + 0.1)
        return tuple(reason.carrying for reason in explain(team, made.world.clock + 0.1).values())

    assert first_words(resumed=handed) == (True, True)
    assert first_words() == (False, False)


QUIET = Outputs()
TOLD = Outputs(notes=(Note(Level.INFO, "x", "eth0"),))
FREE = LinkSeen(9, "veth9", bytes(6))


def test_links_of_others_do_not_push_out_what_tells_something() -> None:
    trace = Trace({}, 8)
    trace.record(1.0, PortAdd("eth5"), (), TOLD)
    for ifindex in range(10, 60):
        trace.record(1.0, LinkSeen(ifindex, f"veth{ifindex}", bytes(6)), (), QUIET)
    assert next(entry.event for entry in trace) == PortAdd("eth5")


def test_who_applies_the_same_all_the_time_takes_no_memory() -> None:
    """A program that applies the file of a hundred ports every minute would fill the ring with its copies."""
    trace = Trace({})
    for number in range(3):
        trace.record(number, ConfigApply("x" * 1000 + str(number // 2)), (), Outputs())
    first, second, third = (entry.event for entry in trace)
    assert first is second
    assert third == ConfigApply("x" * 1000 + "1")


def test_a_trace_full_of_what_partners_repeat_is_small() -> None:
    """256 teams have one each: 512 steps of LACPDUs that were heard and sent took 340 kB."""

    def fill(trace: Trace) -> None:
        for number in range(512):
            port = 3 + number % 2
            heard = FrameSeen(port, bytes(6), bytes((2, 0, 0, 0, 0, port)), 0x8809, None, bytes((port,)) * 110)
            trace.record(number / 2, heard, (), Outputs((Frame(port, bytes((port,)) * 124),)))
            trace.record(number / 2, Tick(), (), Outputs())

    told = Trace({})
    tracemalloc.start()
    try:
        fill(kept := Trace({}, 512))
        took_kb = tracemalloc.get_traced_memory()[0] / 1024
    finally:
        tracemalloc.stop()
    fill(told)
    assert took_kb < 80, took_kb
    assert list(kept) == list(told)[-512:]


def test_older_steps_are_packed_and_told_as_before() -> None:
    """What 512 steps with writes and notes took was the largest part of what short-lived links left."""

    def step(number: int) -> tuple[Event, tuple[SetMac, ...], Outputs]:
        link = LinkSeen(3 + number % 40, f"eth{number}", number.to_bytes(6, "big"), master=4, altnames=("port",))
        note = Note(Level.INFO, f"eth{number}: link up", f"eth{number}")
        return link, (SetMac(link.ifindex, link.mac),), Outputs((), (note,))

    plain, pressed = Trace({}, 512), Trace({}, 512)
    for number in range(2000):
        plain.record(float(number), *step(number))
    tracemalloc.start()
    try:
        for number in range(2000):
            pressed.record(float(number), *step(number))
            if number == 511:
                ring_kb = tracemalloc.get_traced_memory()[0] / 1024
            pressed.pack()
        kept_kb = tracemalloc.get_traced_memory()[0] / 1024 - ring_kb
    finally:
        tracemalloc.stop()
    assert list(pressed) == list(plain)
    assert [pressed.piece(start, 5000) for start in (0, 1100)] == [plain.piece(start, 5000) for start in (0, 1100)]
    assert kept_kb < ring_kb / 4, (ring_kb, kept_kb)


def test_a_ring_full_of_links_that_join_and_leave_is_small() -> None:
    """Such a step has objects of its own; what a partner repeats has not, and is not packed."""
    sizes: list[float] = []
    makes: tuple[Callable[[int], Event], ...] = (
        lambda number: OptionSeen(OptionKey("priority", number + 1000), number),
        lambda number: Tick(),
    )
    for event in makes:
        for packs in (False, True):
            trace = Trace({}, 1024)
            tracemalloc.start()
            try:
                for number in range(1024):
                    trace.record(float(number), event(number), (), Outputs())
                while packs and trace.pack():
                    pass
                sizes.append(tracemalloc.get_traced_memory()[0])
            finally:
                tracemalloc.stop()
            assert len(trace) == len(list(trace)) == 1024
            assert bool(trace._older) is (packs and len(sizes) == 2)
    assert sizes[1] < sizes[0] / 2, sizes


def kept(*events: Event) -> Trace:
    """A trace with these among the first of those that fell out of the ring; the number of each is its place."""
    trace = Trace({}, KEPT_ENTRIES)
    older = [*events, *(PortAdd(f"eth{number}") for number in range(len(events), KEPT_ENTRIES))]
    for number, event in enumerate((*older, *older)):
        trace.record(float(number), event, (), TOLD)
    return trace


def deep(levels: int) -> PortConfigUpdate:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return PortConfigUpdate("eth1", {"new": value})


@pytest.mark.parametrize(
    "event", [deep(100_000), PortConfigUpdate("eth1", {"new": lambda: 1})], ids=("deep", "no value")
)
def test_steps_that_cannot_be_packed_stay_as_they_are(event: PortConfigUpdate) -> None:
    """A trace is packed by the clock: what was raised there ended the daemon, and the steps were lost."""
    trace = kept(PortAdd("eth1"), event)
    before = [(number, id(entry.event)) for number, entry in trace._numbered(0)]
    assert trace.pack()
    assert [(number, id(entry.event)) for number, entry in trace._numbered(0)] == before
    assert len(trace._kept) == KEPT_ENTRIES - PACKED_ENTRIES, "it is not tried again"


def test_the_deepest_configuration_is_packed_and_told() -> None:
    trace = kept(deep(CONFIG_DEPTH))
    trace.pack()
    assert not trace._packed[0].apart
    assert len(list(trace.lines())) == 1 + 2 * KEPT_ENTRIES


def test_only_what_is_asked_for_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = kept()
    before = list(trace._numbered(0))
    while trace.pack():
        pass
    unpacked: list[int] = []
    rows = packed.Packed.rows
    monkeypatch.setattr(packed.Packed, "rows", lambda piece: unpacked.append(piece.last) or rows(piece))
    pieces = KEPT_ENTRIES // PACKED_ENTRIES
    for start, expected in ((KEPT_ENTRIES, 0), (KEPT_ENTRIES - 1, 1), (PACKED_ENTRIES, pieces - 1), (0, pieces)):
        unpacked.clear()
        assert list(trace._numbered(start)) == before[start:], start
        assert len([last for last in unpacked if last < KEPT_ENTRIES]) == expected, start


@pytest.mark.parametrize("ports", [64, 70])
def test_what_partners_repeat_is_kept_once_with_many_ports(ports: int) -> None:
    trace = Trace({})
    for _ in range(3):
        for port in range(2, 2 + ports):
            heard = FrameSeen(port, bytes(6), bytes(6), 0x8809, None, bytes(110))
            trace.record(1.0, heard, (), Outputs((Frame(port, bytes(124)),)))
        trace.record(1.0, Tick(), (), Outputs())
    assert len({id(entry.event) for entry in trace}) == ports + 1
    assert len({id(entry.outputs) for entry in trace if entry.outputs.frames}) == ports


def test_what_a_port_repeated_is_forgotten_when_it_is_gone() -> None:
    trace = Trace({})
    for port in range(2, 2000):
        for event in (FrameSeen(port, b"", b"", 0, None, b""), PortGone(port)):
            trace.record(1.0, event, (), Outputs((Frame(port, b""),)) if event.__class__ is FrameSeen else QUIET)
    assert not trace._last
