"""The picture of what happened: the lanes of a trace that is whole, of one whose beginning is lost, the marks, and the page."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd.timeline import main, page
from pyteamd.core.trace import Trace
from pyteamd.model.desired import Outputs
from pyteamd.model.events import FrameSeen, Resync, Stop, Tick
from pyteamd.scenario import script
from pyteamd.scenario.replay import retell
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.views.lanes import RECEIVE, Value
from pyteamd.views.timeline import Span, Timeline, joined, plain, timeline

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@cache
def traces_of(name: str) -> list[tuple[Trace, float]]:
    """What the daemons of a scenario were told."""
    worlds: list[SimulatedWorld] = []

    def world() -> SimulatedWorld:
        worlds.append(SimulatedWorld())
        return worlds[-1]

    script.run((SCENARIOS / f"{name}.txt").read_text(), world)
    return worlds[0].traces()


def drawn(name: str) -> Timeline:
    return joined([timeline(trace.lines({"now": end}), retell) for trace, end in traces_of(name)])


def texts(spans: list[Span]) -> list[str]:
    return [span.value.text for span in spans]


def test_lanes_of_a_port_that_flaps() -> None:
    found = drawn("damping")
    carrier = found.spans["eth1", "carrier"]
    assert texts(carrier)[:6] == ["down", "up", "down", "up", "down", "up"]
    assert [round(span.end - span.start, 3) for span in carrier[:5]] == [0.2] * 5
    assert texts(found.spans["eth1", "damping"])[1].startswith("down: the port flapped, until its penalty (2841")
    assert texts(found.spans["", "active port"])[:4] == ["eth2", "eth1", "eth2", "eth1"]
    assert {span.value.text for span in found.spans["eth2", "active"]} == {"active", "standby"}


@pytest.mark.slow
def test_lanes_of_lacp_over_a_restart() -> None:
    found = drawn("lacp-restart")
    assert "current" in texts(found.spans["eth1", RECEIVE])
    assert texts(found.spans["eth1", "LACP mux"])[:2] == ["waiting", "collecting distributing"]
    assert any(mark.text == "the daemon starts again" for mark in found.marks)
    assert {frame.what for frame in found.frames} == {"LACP or marker"}
    assert {frame.sent for frame in found.frames} == {True, False}


@pytest.mark.parametrize("name", ["damping", "reload", "links-that-come-and-go"])
def test_spans_of_a_lane_follow_one_another(name: str) -> None:
    found = drawn(name)
    for lane, spans in found.spans.items():
        for span in spans:
            assert found.start <= span.start < span.end <= found.end, lane
        for before, after in pairwise(spans):
            assert before.end <= after.start, lane


def beheaded(trace: Trace, end: float, lost: int) -> Timeline:
    """The same trace when its first steps have fallen out of the ring."""
    first, *rest = trace.lines({"now": end})
    entries = rest[lost:]
    whole = timeline([first, *rest], retell)
    last = {lane: spans[-1].value for lane, spans in whole.spans.items() if spans and spans[-1].end == whole.end}
    lanes = [[*lane, value.text, value.health] for lane, value in last.items()]
    seen = re.findall(r'"type":"LinkSeen","ifindex":(\d+),"name":"([^"]+)"', " ".join(rest))
    saved = {"now": end, "names": dict(seen), "lanes": lanes}
    return timeline([json.dumps({**json.loads(first), "dropped": lost, "saved": saved}), *entries], retell)


def at(spans: list[Span], moment: float) -> Value | None:
    return next((span.value for span in spans if span.start <= moment < span.end), None)


@pytest.mark.parametrize("name", ["damping", "arp-ping", pytest.param("lacp-one-by-one", marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_a_trace_without_its_beginning_shows_the_same_where_it_shows_anything(name: str, part: float) -> None:
    (trace, end), *_ = traces_of(name)
    whole = timeline(trace.lines({"now": end}), retell)
    rest = beheaded(trace, end, int(part * len(trace)))
    assert rest.remarks
    assert "fell out" in rest.remarks[0]
    compared = 0
    for lane, spans in rest.spans.items():
        for span in spans if lane in whole.spans else ():
            then = at(whole.spans[lane], (span.start + span.end) / 2)
            assert then is not None, lane
            assert then.health == span.value.health, (lane, span)
            compared += 1
    assert compared >= 8


def test_what_tells_something_outlives_the_frames_that_push_it_out() -> None:
    trace = Trace({}, 8)
    trace.record(1.0, Stop(False), (), Outputs())
    common = (FrameSeen(1, b"", b"", 0, None, b""), Tick(), Resync((), (), ()))
    for number in range(100):
        trace.record(2.0 + number, common[number % 3], (), Outputs())
    entries = list(trace)
    assert [type(entry.event) for entry in entries].count(Stop) == 1
    assert len(entries) == 9
    assert trace.dropped == 93


def test_a_daemon_that_decides_otherwise_now_is_remarked() -> None:
    (trace, end), *_ = traces_of("damping")
    lines = list(trace.lines({"now": end}))
    wrong = next(n for n, line in enumerate(lines) if "ethtool-link went down" in line)
    lines[wrong] = lines[wrong].replace('"running":false', '"running":true')
    assert timeline(lines, retell).remarks == [
        f"The program that draws this decides otherwise than the one that was traced, from step {wrong} on: lanes may be wrong."
    ]


HOSTILE = "</script><script>alert(1)</script>\x1b]0;x\x07‮%DATA%%TITLE%"


def test_hostile_names_stay_words() -> None:
    value = Value(HOSTILE, "good")
    made = Timeline(HOSTILE, HOSTILE, 0.0, 1.0, {(HOSTILE, HOSTILE): [Span(0.0, 1.0, value)]})
    made.remarks.append(HOSTILE)
    text = page(made)
    assert text.count("<script") == 2, "the data and the program"
    assert text.count("</script>") == 2
    assert "\x1b" not in text
    assert "‮" not in text
    found = re.search(r'type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    assert json.loads(found[1]) == plain(made)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 1}', '{"format": 1, "config": {}, "link": null}\n{"at": 1}', "\0"]
)
def test_what_is_no_trace_is_refused_in_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    assert main([str(path), "-o", str(tmp_path / "page.html")], "pyteamd timeline") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{path}: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trace, end), *_ = traces_of("activebackup-failover")
    saved_to, made = tmp_path / "trace.jsonl", tmp_path / "page.html"
    saved_to.write_text("\n".join(trace.lines({"now": end})))
    assert main([str(saved_to), "-o", str(made)], "pyteamd timeline") == 0
    assert str(made) in capsys.readouterr().out
    text = made.read_text()
    assert "activebackup" in text
    assert not re.search(r"(?:src|href)=|https?://(?!www\.w3\.org/2000/svg)|@import|fetch\(", text), "no network"


@pytest.mark.parametrize("saved", ["5", "[1]", '{"lanes": 5}', '{"lanes": [5]}', '{"names": 5, "now": "x"}'])
def test_a_damaged_first_line_is_no_more_than_a_damaged_line(saved: str) -> None:
    trace = traces_of("activebackup-failover")[0][0]
    first, *rest = trace.lines()
    beginning = {**json.loads(first), "dropped": 3, "saved": json.loads(saved)}
    with pytest.raises(
        ValueError, match=r"must (be|have `link` and `config`, and may have `saved`, each an) |not a number"
    ):
        timeline([json.dumps(beginning), *rest], retell)
