"""The state as OpenMetrics text (openmetrics.io, version 1.0), for monitoring systems. Reads; changes nothing.

A metric has a name, a kind, a help line and samples, which the format wants together. Times are in seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import field
from itertools import accumulate
from typing import Any

from pyteamd import __version__
from pyteamd.core.port import Port
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.linkwatch.neighbour import Listener
from pyteamd.model.printable import printable_lines
from pyteamd.values import dataclass
from pyteamd.views import state as statetree
from pyteamd.views.explain import cause, explain

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STALL_S = 0.1
"""An event loop that wakes this much too late did not run meanwhile."""


@dataclass(slots=True)
class Histogram:
    """How long something took: how often at most each bound, and all together."""

    bounds: tuple[float, ...]
    """Upper ends of the buckets, in seconds; one more is for what took longer."""
    counts: list[int] = field(default_factory=list)
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        """One more; less than none counts as none."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds


WRITE_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
LATE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, STALL_S, 0.25, 0.5, 1.0, 5.0)


@dataclass(slots=True)
class Gauges:
    """How long things took, measured where they happen."""

    writes: Histogram = field(default_factory=lambda: Histogram(WRITE_BOUNDS_S))
    """Time from a batch of events to the kernel's answer."""
    late: Histogram = field(default_factory=lambda: Histogram(LATE_BOUNDS_S))
    """How much too late the clock woke up."""


@dataclass(slots=True)
class Metric:
    """One metric with its samples."""

    name: str
    kind: str
    help: str
    samples: list[str] = field(default_factory=list)

    def add(self, value: float | Histogram, labels: Mapping[str, str]) -> None:
        """One sample, or those of a histogram; a counter's name ends with _total in its samples, that of an info with _info."""
        if isinstance(value, Histogram):
            ends = [*(f"{bound:g}" if bound < 1 else f"{bound:.1f}" for bound in value.bounds), "+Inf"]
            for end, count in zip(ends, accumulate(value.counts), strict=True):
                self._sample("_bucket", count, {**labels, "le": end})
            self._sample("_count", sum(value.counts), labels)
            self._sample("_sum", value.sum_s, labels)
        else:
            self._sample(SUFFIXES.get(self.kind, ""), value, labels)

    def _sample(self, suffix: str, value: float, labels: Mapping[str, str]) -> None:
        shown = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
        number = str(int(value)) if float(value).is_integer() else f"{value:.9g}"
        self.samples.append(f"{self.name}{suffix}{{{shown}}} {number}")

    def lines(self) -> list[str]:
        """The metric's text; nothing without samples."""
        if not self.samples:
            return []
        unit = [f"# UNIT {self.name} seconds"] if self.name.endswith("_seconds") else []
        return [f"# TYPE {self.name} {self.kind}", *unit, f"# HELP {self.name} {self.help}", *self.samples]


SUFFIXES = {"counter": "_total", "info": "_info"}


def escaped(text: str) -> str:
    """A label's value: printable, because dashboards show it to people."""
    return printable_lines(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text(teams: Iterable[tuple[Team, Trace, Gauges]], now: float) -> str:
    """The metrics of these teams, the end mark included."""
    return exposition(rows(team, trace, gauges, now) for team, trace, gauges in teams)


def rows(team: Team, trace: Trace, gauges: Gauges, now: float) -> list[Sample]:
    """All samples of one team, with its name."""
    device = team.facts.team.name
    return [(*row, {"team": device, **labels}) for *row, labels in samples(team, trace, gauges, now)]  # type: ignore[misc]


def exposition(teams: Iterable[Iterable[Sample]]) -> str:
    """The text of several teams: the samples of a metric stand together."""
    metrics: dict[str, Metric] = {}
    for samples_of_team in teams:
        for name, kind, help_line, value, labels in samples_of_team:
            metrics.setdefault(name, Metric(f"pyteamd_{name}", kind, help_line)).add(value, labels)
    return "\n".join([*(line for metric in metrics.values() for line in metric.lines()), "# EOF", ""])


Sample = tuple[str, str, str, float | Histogram, dict[str, str]]
"""Name, kind, help, value and labels."""


def samples(team: Team, trace: Trace, gauges: Gauges, now: float) -> Iterable[Sample]:
    """Everything about one team."""
    yield "build", "info", "What runs.", 1, {"version": __version__}
    yield "team", "info", "Runner of the team.", 1, {"runner": team.runner.name}
    yield "ports", "gauge", "Ports of the team.", len(team.ports), {}
    carrier = team.facts.observed.carrier
    if carrier is not None:
        yield "carrier", "gauge", "Carrier of the team device.", carrier, {}
    yield from of_traffic(team, now)
    for ifindex, member in team.ports.items():
        yield from of_counters(team, ifindex, {"port": member.name}, now)
        yield from of_watchers(member, now)
        yield from of_neighbour(member)
    state = statetree.state(team)
    for name, port in state.get("ports", {}).items():
        yield from of_port(name, port)
    yield "switches", "counter", "Times another port became the active one.", trace.switches, {}
    for event, count in sorted(trace.counted.items()):
        help_line = "Events digested, by kind; Overrun: the kernel dropped messages for us."
        yield "events", "counter", help_line, count, {"kind": event}
    help_line = "Time from learning of an event to the kernel's answer to what follows from it."
    yield "write_seconds", "histogram", help_line, gauges.writes, {}
    yield "loop_late_seconds", "histogram", "How much too late the event loop woke up.", gauges.late, {}
    yield "trace_dropped", "counter", "Steps that fell out of the trace.", trace.dropped, {}


def of_traffic(team: Team, now: float) -> Iterable[Sample]:
    """Which ports carry traffic, and what keeps the others from it."""
    for name, reason in explain(team, now).items():
        port = team.ports.named(name)
        yield "port_carrying", "gauge", "The port carries traffic.", reason.carrying, {"port": name}
        why = "no_port" if port is None else cause(team, port, now)
        if why:
            help_line = "1 while the port carries no traffic; the label says what keeps it from it."
            yield "port_blocked", "gauge", help_line, 1, {"port": name, "reason": why}


def of_watchers(port: Port, now: float) -> Iterable[Sample]:
    """What the port's link watchers measure."""
    instances = {watcher: {"instance": f"link_watch_{number}"} for number, watcher in enumerate(port.voters())}
    for watcher in port.watchers:
        for name, help_line, value in watcher.gauges(now):
            yield f"port_{name}", "gauge", help_line, value, {"port": port.name, **instances.get(watcher, {})}


def of_neighbour(port: Port) -> Iterable[Sample]:
    """The system at the other end of the port's cable, as LLDP tells, and what was heard and thrown away."""
    listener = next((watcher for watcher in port.watchers if isinstance(watcher, Listener)), None)
    if listener is None:
        return
    label = {"port": port.name}
    yield "port_neighbours", "gauge", "Systems that are heard through the port by LLDP.", len(listener.heard), label
    for reason, count in sorted(listener.drops.items()):
        help_line = "LLDPDUs that break a rule."
        yield "port_neighbour_drops", "counter", help_line, count, {**label, "reason": reason}
    if (said := listener.now()) is None:
        return
    told = {"chassis": said.chassis, "neighbour_port": said.port, "system": said.system_name}
    vlan = {} if said.vlan is None else {"vlan": str(said.vlan)}
    help_line = "The system at the other end of the cable, as it tells of itself by LLDP."
    yield "port_neighbour", "info", help_line, 1, {**label, **told, **vlan}
    if said.aggregation_enabled is not None:
        help_line = "Whether the other end of the cable says that it aggregates."
        yield "port_neighbour_aggregation", "gauge", help_line, said.aggregation_enabled, label


def of_counters(team: Team, ifindex: int, label: dict[str, str], now: float) -> Iterable[Sample]:
    """Silence and errors, from what the driver of a port counts; other exporters have its counters."""
    total = team.facts.silence.total(ifindex)
    if total is not None:
        silent = team.facts.silence.silent_since(ifindex, now) is not None
        yield "port_silent", "gauge", "The port receives nothing while another one does.", silent, label
        yield "port_errors", "counter", "Errors that the driver of the port counted.", total.errors, label


def of_port(name: str, port: dict[str, Any]) -> Iterable[Sample]:
    """One port of the state."""
    label = {"port": name}
    yield "port_link_up", "gauge", "Raw link of the port.", port["link"]["up"], label
    yield "port_up", "gauge", "The link watchers' verdict.", port["link_watches"]["up"], label
    octets = max(0, port["link"]["speed"]) * 125000
    yield "port_speed_bytes", "gauge", "Speed per second, 0 when unknown.", octets, label
    for place, watcher in port["link_watches"]["list"].items():
        labels = {**label, "watcher": watcher["name"], "instance": place}
        yield "port_down", "counter", "Times a link watcher changed its mind to down.", watcher["down_count"], labels
        for reason, count in watcher.get("drops", {}).items():
            yield "port_drops", "counter", "Frames of no use to a link watcher.", count, {**labels, "reason": reason}
    if "partner_lacpdu_info" in port.get("runner", {}):
        yield from of_lacp(label, port["runner"])


def of_lacp(label: dict[str, str], runner: dict[str, Any]) -> Iterable[Sample]:
    """The partner, and what LACP counted: a metric for each thing counted, because their sum means nothing."""
    partner = runner["partner_lacpdu_info"]
    told = {"system": partner["system"], "key": str(partner["key"]), "partner_port": str(partner["port"])}
    yield "port_partner", "info", "The LACP partner as it tells of itself.", 1, {**label, **told}
    for bit, flag in enumerate(STATE_FLAGS):
        on = partner["state"] >> bit & 1
        yield "port_partner_state", "gauge", "Flags of the partner's state.", on, {**label, "flag": flag}
    for counter, value in runner.get("details", {}).get("counters", {}).items():
        help_line = f"What LACP counted on the port: {counter.replace('_', ' ')}."
        values = value if isinstance(value, dict) else {"": value}
        for reason, count in values.items():
            labels = {**label, "reason": reason} if reason else label
            yield f"port_lacp_{counter}", "counter", help_line, count, labels


STATE_FLAGS = (
    *("activity", "short_timeout", "aggregation", "synchronization"),
    *("collecting", "distributing", "defaulted", "expired"),
)
"""Bits 0 to 7 of the state octet, IEEE 802.1AX-2014, 6.4.2.3."""
