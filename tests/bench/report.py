"""From samples to what is printed and kept: one number for each quantity and candidate, ratios, limits. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Samples = Mapping[str, Mapping[str, Sequence[float]]]
BARE = "bare loop"
"""The candidate that `bare_limit` is against."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a quantity (unit last), the statistic taken of its samples, and what is allowed.

    `ratio_limit` is against the reference, `bare_limit` against the bare loop, `limit` in the quantity's own unit; None = no limit.
    Smaller is better. A candidate that has no such quantity has no value.
    """

    quantity: str
    statistic: str
    text: str
    ratio_limit: float | None = None
    limit: float | None = None
    bare_limit: float | None = None

    @property
    def key(self) -> str:
        return f"{self.quantity}.{self.statistic}"


ROWS = {
    "failover": (
        Row("out_ms", "median", "out by the other port, median (ms)", bare_limit=1.6),
        Row("out_ms", "p95", "out, 95th percentile (ms)", ratio_limit=0.33),
        Row("out_ms", "max", "out, maximum (ms)", ratio_limit=0.4),
        Row("in_ms", "median", "in from the other port, median (ms)", bare_limit=1.6),
        Row("in_ms", "p95", "in, 95th percentile (ms)", ratio_limit=0.33),
        Row("in_ms", "max", "in, maximum (ms)", ratio_limit=0.4),
        Row("switch_ms", "median", "driver's event, real-time observer, median (ms)"),
        Row("switch_ms", "p95", "driver's event, real-time observer, 95th percentile (ms)"),
        Row("event_ms", "median", "driver's event, ordinary observer, median (ms)"),
        Row("event_ms", "p95", "driver's event, ordinary observer, 95th percentile (ms)"),
        Row("cpu_per_cut_ms", "mean", "CPU per cut, link down and up again (ms)", ratio_limit=3.0),
        Row("start_ms", "median", "start until -d returns (ms)"),
        Row("in_service_ms", "median", "start until frames leave (ms)"),
        Row("start_cpu_ms", "median", "CPU of a start (ms)"),
        Row("rss_mb", "max", "resident memory (MB)", limit=30.0),
        Row("idle_wakeups_per_min", "mean", "idle wake-ups per minute"),
        Row("idle_cpu_ms_per_min", "mean", "CPU per idle minute (ms)"),
    ),
    "lacp_cut": (
        Row("out_ms", "median", "flow of a cut LACP port moved, median (ms)", bare_limit=1.6),
        Row("out_ms", "p95", "flow of a cut LACP port moved, 95th percentile (ms)"),
        Row("out_ms", "max", "flow of a cut LACP port moved, maximum (ms)"),
    ),
    "pinged": (
        Row("out_ms", "median", "arp_ping every 100 ms, 3 missed: out, median (ms)"),
        Row("out_ms", "max", "arp_ping every 100 ms, 3 missed: out, maximum (ms)"),
    ),
    "pressed": (
        Row("out_ms", "median", "memory taken before the cut: out, median (ms)"),
        Row("out_ms", "max", "memory taken before the cut: out, maximum (ms)"),
        Row("faults_per_cut", "mean", "pages read for a cut and its mending"),
    ),
    "storm": (
        Row("out_ms", "median", "in a storm: out, median (ms)"),
        Row("out_ms", "p95", "in a storm: out, 95th percentile (ms)", ratio_limit=1.0),
        Row("out_ms", "max", "in a storm: out, maximum (ms)"),
        Row("in_ms", "p95", "in a storm: in, 95th percentile (ms)", ratio_limit=1.0),
        Row("cpu_ms_per_s", "mean", "in a storm: CPU per second (ms)", ratio_limit=1.5),
    ),
    "busy": (
        Row("out_ms", "median", "four busy loops: out, median (ms)"),
        Row("out_ms", "p95", "four busy loops: out, 95th percentile (ms)", ratio_limit=1.0),
        Row("out_ms", "max", "four busy loops: out, maximum (ms)"),
        Row("in_ms", "p95", "four busy loops: in, 95th percentile (ms)", ratio_limit=1.0),
    ),
    "scale": tuple(
        Row(f"scale_{quantity}_{size}", statistic, f"{size} lacp teams: {text}", limit=limit)
        for size in (16, 64, 256)
        for quantity, statistic, text, limit in (
            ("ports_in_service", "mean", f"ports in service, of {2 * size}", None),
            ("off_ms", "p99", "LACPDU off its second, 99th percentile (ms)", 100.0),
            ("cpu_ms_per_s", "mean", "CPU per second (ms)", None),
            ("rss_mb", "mean", "resident memory (MB)", {16: None, 64: 60.0, 256: 100.0}[size]),
            ("start_s", "mean", "start until all are in service (s)", None),
            ("start_cpu_ms", "mean", "CPU of that (ms)", None),
        )
    ),
    "pings": (
        Row("ping_cpu_ms_per_s", "mean", "64 ports pinged every 100 ms, CPU per second (ms)", ratio_limit=3.0),
        Row("probes_per_s", "mean", "probes sent per second, 640 are due"),
        Row("ping_wakeups_per_s", "mean", "wake-ups per second"),
        Row("probe_late_ms", "p99", "probe later than due, 99th percentile (ms)"),
        Row("probe_late_ms", "max", "probe later than due, maximum (ms)", limit=50.0),
    ),
    "lacp": (
        Row("lacp_cpu_ms_per_s", "mean", "lacp at fast rate on 64 ports, CPU per second (ms)"),
        Row("lacp_event_buffer_mb", "max", "event buffer it needed for that (MB), 0: its own"),
        Row("lacp_ports_in_service", "mean", "ports in service when it has settled, of 64"),
        Row("lacpdus_per_s", "mean", "LACPDUs sent per second, 64 are due"),
        Row("lacp_wakeups_per_s", "mean", "wake-ups per second"),
        Row("lacpdu_off_ms", "p99", "interval other than 1 s by, 99th percentile (ms)"),
        Row("lacpdu_off_ms", "max", "interval other than 1 s by, maximum (ms)", limit=100.0),
    ),
    "many": (
        Row("many_rss_mb", "max", "64 teams of 2 ports, resident memory in all (MB)", ratio_limit=1.0, limit=60.0),
        Row("one_rss_mb", "max", "1 team of 2 ports, resident memory (MB)"),
        Row("many_failover_ms", "median", "fail-over with 64 teams, median (ms)"),
        Row("one_failover_ms", "median", "fail-over with 1 team, median (ms)"),
        Row("many_to_one", "median", "fail-over with 64 teams to that with 1, medians", limit=1.2),
    ),
}


def statistic(name: str, samples: Sequence[float]) -> float:
    """median, mean, max, or pNN: the smallest sample that at least NN % of the samples do not exceed."""
    ordered = sorted(samples)
    match name:
        case "median":
            middle = len(ordered) // 2
            return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        case "mean":
            return math.fsum(ordered) / len(ordered)
        case "max":
            return ordered[-1]
        case _:
            return ordered[math.ceil(len(ordered) * int(name.removeprefix("p")) / 100) - 1]


def value_of(row: Row, quantities: Mapping[str, Sequence[float]]) -> float | None:
    """The row's number of one candidate; None when it was not measured."""
    samples = quantities.get(row.quantity)
    return statistic(row.statistic, samples) if samples else None


def summarise(scenario: str, samples: Samples, reference: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """Row key → candidate → its `value` and, but for the reference itself, its `ratio` to the reference."""
    summary: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in ROWS[scenario]:
        base = value_of(row, samples[reference])
        summary[row.key] = {}
        for name, quantities in samples.items():
            value = value_of(row, quantities)
            ratio = value / base if value is not None and base and name != reference else None
            summary[row.key][name] = {"value": value, "ratio": ratio}
    return summary


def missed_limits(scenario: str, samples: Samples, reference: str, judged: str) -> list[str]:
    """One sentence for every limit that the candidate `judged` does not keep."""
    missed = []
    for row in ROWS[scenario]:
        value = value_of(row, samples[judged])
        if value is None:
            continue
        for limit, base, against in (
            (row.limit, 1.0, ""),
            (row.ratio_limit, value_of(row, samples[reference]), f" of {reference}"),
            (row.bare_limit, value_of(row, samples.get(BARE, {})), f" of the {BARE}"),
        ):
            if limit is not None and base and value > limit * base:
                figure = f"{value / base:.2f}" if against else f"{value:.1f}"
                missed.append(f"{row.text}: {judged} has {figure}{against}, allowed are {limit:g}")
    return missed


def table(scenario: str, samples: Samples, reference: str) -> str:
    """The summary as aligned text: a column for each candidate, its ratio to the reference behind it."""
    summary = summarise(scenario, samples, reference)
    others = [name for name in samples if name != reference]
    head = ["", reference, *(cell for name in others for cell in (name, "ratio"))]
    lines = [head]
    for row in ROWS[scenario]:
        cells = [row.text, _number(summary[row.key][reference]["value"])]
        for name in others:
            cells += [_number(summary[row.key][name]["value"]), _number(summary[row.key][name]["ratio"])]
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
