"""The bench's arithmetic: statistics, ratios, limits, the table."""

from __future__ import annotations

import struct

import pytest
import rawnl
import report

SAMPLES = {
    "teamd": {row.quantity: [2.0, 4.0, 3.0] for row in report.ROWS["failover"]},
    "pyteamd": {row.quantity: [1.0, 1.0, 3.0] for row in report.ROWS["failover"]},
}


@pytest.mark.parametrize(
    ("name", "samples", "expected"),
    [
        ("median", [3.0, 1.0, 2.0], 2.0),
        ("median", [4.0, 1.0, 2.0, 3.0], 2.5),
        ("mean", [1.0, 2.0, 6.0], 3.0),
        ("max", [1.0, 9.0, 2.0], 9.0),
        ("p95", [float(n) for n in range(1, 101)], 95.0),
        ("p95", [float(n) for n in range(1, 21)], 19.0),
        ("p95", [7.0], 7.0),
        ("p50", [1.0, 2.0, 3.0], 2.0),
    ],
)
def test_statistic(name: str, samples: list[float], expected: float) -> None:
    assert report.statistic(name, samples) == expected


def test_a_ratio_is_taken_against_the_reference() -> None:
    summary = report.summarise("failover", SAMPLES, "teamd")
    assert summary["out_ms.median"] == {
        "teamd": {"value": 3.0, "ratio": None},
        "pyteamd": {"value": 1.0, "ratio": 1 / 3},
    }
    assert summary["out_ms.max"]["pyteamd"] == {"value": 3.0, "ratio": 0.75}


def test_no_ratio_to_a_reference_of_zero() -> None:
    samples = {**SAMPLES, "teamd": {**SAMPLES["teamd"], "idle_wakeups_per_min": [0.0]}}
    summary = report.summarise("failover", samples, "teamd")
    assert summary["idle_wakeups_per_min.mean"]["pyteamd"]["ratio"] is None


def test_limits_name_what_is_missed_and_nothing_else() -> None:
    samples = {**SAMPLES, "pyteamd": {row.quantity: [0.5] for row in report.ROWS["failover"]}}
    assert report.missed_limits("failover", samples, "teamd", "pyteamd") == []
    heavy = {**samples, "pyteamd": {**samples["pyteamd"], "out_ms": [0.5, 0.5, 1.5], "rss_mb": [31.2]}}
    assert report.missed_limits("failover", heavy, "teamd", "pyteamd") == [
        "out, 95th percentile (ms): pyteamd has 0.38 of teamd, allowed are 0.33",
        "resident memory (MB): pyteamd has 31.2, allowed are 30",
    ]


def test_a_median_is_held_against_the_bare_loop() -> None:
    samples = {**SAMPLES, "pyteamd": {"out_ms": [0.9]}, report.BARE: {"out_ms": [0.5]}}
    assert report.missed_limits("failover", samples, "teamd", "pyteamd") == [
        "out by the other port, median (ms): pyteamd has 1.80 of the bare loop, allowed are 1.6"
    ]


def test_the_table_has_a_line_for_each_row_and_a_ratio_for_each_rival() -> None:
    lines = report.table("failover", {**SAMPLES, "bonding": {"out_ms": [6.0]}}, "teamd").splitlines()
    assert lines[0].split() == ["teamd", "pyteamd", "ratio", "bonding", "ratio"]
    assert len(lines) == 1 + len(report.ROWS["failover"])
    assert lines[1].split()[-5:] == ["3.00", "1.00", "0.33", "6.00", "2.00"]
    assert lines[11].split()[-2:] == ["-", "-"]


def option_event(name: str, value: int) -> bytes:
    option = rawnl.text(rawnl.OPTION_NAME, name) + rawnl.number(rawnl.OPTION_DATA, value)
    options = rawnl.attribute(rawnl.TEAM_ATTR_LIST_OPTION, rawnl.attribute(rawnl.TEAM_ATTR_ITEM_OPTION, option))
    body = struct.pack("=BBxx", rawnl.TEAM_CMD_OPTIONS_GET, 1) + rawnl.number(rawnl.TEAM_ATTR_TEAM_IFINDEX, 7) + options
    return rawnl.message(30, 0, body) + rawnl.message(rawnl.NLMSG_DONE, 0, b"")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (option_event("activeport", 5), 5),
        (option_event("activeport", 5) + option_event("activeport", 6), 6),
        (option_event("enabled", 5), None),
        (option_event("activeport", 5)[:40], None),
        (b"", None),
    ],
)
def test_the_active_port_is_read_from_an_event(packet: bytes, expected: int | None) -> None:
    assert rawnl.active_port_in(packet) == expected
