"""The state as OpenMetrics text (openmetrics.io, version 1.0), for monitoring systems. Reads; changes nothing.

A family is a name, a kind and a help line; samples are collected family by family because the format wants them together. Times
are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.model.printable import printable_lines
from pyteamd.views import state as statetree
from pyteamd.views.explain import explain

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STALL_S = 0.1
"""An event loop that wakes this much too late did not run meanwhile."""


@dataclass(slots=True)
class Gauges:
    """What only the event loop can measure."""

    writes: int = 0
    write_s: float = 0.0
    """Time from a batch of events to the kernel's answer: the last one, and the longest."""
    longest_write_s: float = 0.0
    stalls: int = 0
    latest_wake_s: float = 0.0

    def wrote(self, seconds: float) -> None:
        """The kernel answered."""
        self.writes += 1
        self.write_s = seconds
        self.longest_write_s = max(self.longest_write_s, seconds)

    def woke(self, late_s: float) -> None:
        """The clock woke up so much too late."""
        self.stalls += late_s >= STALL_S
        self.latest_wake_s = max(self.latest_wake_s, late_s)


@dataclass(slots=True)
class Metric:
    """One metric with its samples."""

    name: str
    kind: str
    help: str
    samples: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        """One sample; a counter's name ends with _total in its samples."""
        shown = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
        suffix = "_total" if self.kind == "counter" else ""
        number = str(int(value)) if float(value).is_integer() else f"{value:.9g}"
        self.samples.append(f"{self.name}{suffix}{{{shown}}} {number}")

    def lines(self) -> list[str]:
        """The family's text; nothing without samples."""
        if not self.samples:
            return []
        return [f"# TYPE {self.name} {self.kind}", f"# HELP {self.name} {self.help}", *self.samples]


def escaped(text: str) -> str:
    """A label's value: printable, for dashboards show it to people."""
    return printable_lines(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text(teams: Iterable[tuple[Team, Trace, Gauges]], now: float) -> str:
    """The metrics of these teams, the end mark included."""
    families: dict[str, Metric] = {}
    for team, trace, gauges in teams:
        device = team.facts.team.name
        for name, kind, help_line, value, labels in samples(team, trace, gauges, now):
            family = families.setdefault(name, Metric(f"pyteamd_{name}", kind, help_line))
            family.add(value, {"team": device, **labels})
    lines = [line for family in families.values() for line in family.lines()]
    return "\n".join([*lines, "# EOF", ""])


Sample = tuple[str, str, str, float, dict[str, str]]


def samples(team: Team, trace: Trace, gauges: Gauges, now: float) -> Iterable[Sample]:
    """Name, kind, help, value and labels of everything."""
    yield "info", "gauge", "Runner of the team.", 1, {"runner": team.runner.name}
    yield "ports", "gauge", "Ports of the team.", len(team.ports), {}
    carrier = team.facts.observed.carrier
    if carrier is not None:
        yield "carrier", "gauge", "Carrier of the team device.", carrier, {}
    for name, reason in explain(team, now).items():
        yield "port_carrying", "gauge", "The port carries traffic.", reason.carrying, {"port": name}
    state = statetree.state(team)
    for name, port in state.get("ports", {}).items():
        yield from of_port(name, port)
    yield "switches", "counter", "Times another port became the active one.", trace.switches, {}
    for event, count in sorted(trace.counted.items()):
        yield (
            "events",
            "counter",
            "Events digested, by kind; Overrun: the kernel dropped messages for us.",
            count,
            {"kind": event},
        )
    yield "writes", "counter", "Batches of writes the kernel answered.", gauges.writes, {}
    help_line = "Time from learning of an event to the kernel's answer to what follows from it."
    yield "write_seconds", "gauge", help_line, gauges.write_s, {"which": "last"}
    yield "write_seconds", "gauge", help_line, gauges.longest_write_s, {"which": "longest"}
    yield "loop_stalls", "counter", f"Times the event loop woke {STALL_S} s or more too late.", gauges.stalls, {}
    yield "loop_latest_wake_seconds", "gauge", "The longest it was late.", gauges.latest_wake_s, {}
    yield "trace_dropped", "counter", "Steps that fell out of the trace.", trace.dropped, {}


def of_port(name: str, port: dict[str, Any]) -> Iterable[Sample]:
    """One port of the state."""
    label = {"port": name}
    yield "port_link_up", "gauge", "Raw link of the port.", port["link"]["up"], label
    yield "port_up", "gauge", "The link watchers' verdict.", port["link_watches"]["up"], label
    yield "port_speed_bits_per_second", "gauge", "Speed, 0 when unknown.", max(0, port["link"]["speed"]) * 1e6, label
    for place, watcher in port["link_watches"]["list"].items():
        labels = {**label, "watcher": watcher["name"], "instance": place}
        yield "port_down", "counter", "Times a link watcher changed its mind to down.", watcher["down_count"], labels
        for reason, count in watcher.get("drops", {}).items():
            yield "port_drops", "counter", "Frames of no use to a link watcher.", count, {**labels, "reason": reason}
    for counter, value in port.get("runner", {}).get("details", {}).get("counters", {}).items():
        values = value if isinstance(value, dict) else {"": value}
        for reason, count in values.items():
            labels = {**label, "counter": counter, **({"reason": reason} if reason else {})}
            yield "lacp", "counter", "What LACP counted on the port.", count, labels
