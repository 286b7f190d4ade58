"""Links that come and go by the thousand, as containers' do: nothing is kept of them, and a fail-over takes as long as before."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc

import pytest
from explain_kit import backup, told

from pyteamd.core.team import Team
from pyteamd.model.desired import OptionKey
from pyteamd.model.events import CarrierSeen, KernelEvent, LinkGone, LinkSeen

LINKS = 100_000 if os.environ.get("PYTEAMD_LONG") else 10_000
OCTETS_EACH = (1 << 20) / 100_000
"""A hundred thousand of them may leave a megabyte."""
MASTER = 77


def lives(first: int, count: int) -> list[list[KernelEvent]]:
    """Some are free, some get a master, some stand on another link, some have a name that is wanted; all are deleted."""
    found: list[list[KernelEvent]] = []
    for ifindex in range(first, first + count):
        name = "eth9" if ifindex % 5 == 0 else f"veth{ifindex:x}"
        link = LinkSeen(ifindex, name, b"\2\0\0" + ifindex.to_bytes(3, "big"), altnames=(f"other{ifindex}",))
        enslaved = LinkSeen(ifindex, name, link.mac, MASTER, up=True, running=True)
        upper = LinkSeen(ifindex, name, link.mac, kind="macvlan", lower=ifindex - 1 if ifindex % 2 else 3)
        found.append([link, *([enslaved] if ifindex % 3 == 0 else [upper]), LinkGone(ifindex)])
    return found


def churn(team: Team, first: int, count: int) -> None:
    """The daemon's pump asks of each link whether it concerns the team."""
    for life in lives(first, count):
        for event in life:
            if team.wants(event):
                team.handle(event, 100.0)
                team.take()


def fail_over_s(team: Team) -> float:
    """From the loss of a carrier to the writes, the quickest of many."""
    best = 1.0
    active = team.facts.observed.options[OptionKey("activeport")]
    assert isinstance(active, int)
    for _ in range(50):
        began = time.perf_counter()
        team.handle(CarrierSeen(active, False), 100.0)
        assert team.writes(100.0)
        best = min(best, time.perf_counter() - began)
        team.handle(CarrierSeen(active, True), 100.0)
    return best


@pytest.mark.slow
def test_they_cost_nothing() -> None:
    team = told(backup(eth1={}, eth2={}, eth9={})).team
    tracemalloc.start()
    try:
        churn(team, 1000, 500)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        churn(team, 2000, LINKS)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < LINKS * OCTETS_EACH


@pytest.mark.slow
def test_they_leave_the_urgent_path_as_it_was() -> None:
    team = told(backup(eth1={}, eth2={}, eth9={})).team
    before = fail_over_s(team)
    churn(team, 1000, LINKS)
    assert fail_over_s(team) < 2 * before + 100e-6
