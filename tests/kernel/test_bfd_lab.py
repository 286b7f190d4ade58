"""BFD between two teams on a real kernel: a path that breaks beside LACP alone.

Real time on a machine that does other things says little: bounds are wide unless the clock counts instructions (PYTEAMD_COUNTED=1):

    python3 tests/lab/lab.py run --world qemu --cpus 1 --counted -- env PYTEAMD_COUNTED=1 PYTEAMD_LONG=1 \
        .venv/bin/python -B -m pytest -s -m kernel tests/kernel/test_bfd_lab.py
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, Stream, at_a_word, bench, chosen, daemon, state, wait_for

from pyteamd.scenario.replay import retell
from pyteamd.views.timeline import Timeline, timeline

pytestmark = pytest.mark.kernel

COUNTED = bool(os.environ.get("PYTEAMD_COUNTED"))
INTERVAL_MS, MULTIPLIER = 50, 3
LIMIT_S = ((MULTIPLIER + 1) * INTERVAL_MS + 20) / 1000 if COUNTED else 1.5
PING_S = 0.01
CUTS = {
    "both ways": ("em1", "p1"),
    "from the switch": ("p1",),
    "to the switch": ("em1",),
}


def bfd(here: int, there: int) -> dict[str, Any]:
    return {
        "name": "bfd",
        "local_host": f"192.0.2.{here}",
        "peer_host": f"192.0.2.{there}",
        "interval": INTERVAL_MS,
        "multiplier": MULTIPLIER,
    }


@contextmanager
def two_teams(on: Bench, watch: bool) -> Iterator[None]:
    """team0 on the host and team1 on the switch, LACP at its fast rate between them; with BFD or without."""
    other = Bench(on.switch, on.host)

    def config(ports: list[str], here: int, there: int) -> str:
        return json.dumps(
            {
                "runner": {"name": "lacp", "active": True, "fast_rate": True},
                **({"link_watch": bfd(here, there)} if watch else {}),
                "ports": {name: {} for name in ports},
            }
        )

    far = [name.replace("em", "p") for name in on.ports]
    for name in far:
        on.on_switch(f"ip link set {name} down")
    with (
        daemon(PYTEAMD, on, config(on.ports, 1, 2)),
        daemon(PYTEAMD, other, config(far, 2, 1), team="team1"),
    ):
        on.on_host("ip addr add 10.0.0.1/24 dev team0 && ip link set team0 up")
        on.on_switch("ip addr add 10.0.0.2/24 dev team1 && ip link set team1 up")
        wait_for(lambda: serving(on, on.ports), 30.0, "all in service")
        yield


def serving(on: Bench, ports: list[str]) -> bool:
    """All carry traffic, and their sessions are up where there are any."""
    told = state()["ports"]
    watches = [told[name]["link_watches"]["list"]["link_watch_0"] for name in ports if name in told]
    well = [told[name]["runner"]["details"]["blocked_by"] == "" for name in ports if name in told]
    return len(well) == len(ports) and all(well) and all(watch.get("state", "up") == "up" for watch in watches)


def told(on: Bench) -> Timeline:
    """What the daemon of team0 has seen and done."""
    with tempfile.TemporaryDirectory() as place:
        assert on.pyteamdctl(f"team0 trace save {place}/trace").status == 0
        return timeline(Path(place, "trace").read_text().splitlines(), retell)


def left_after(on: Bench, cut: float) -> float:
    """How long after this moment of the wall clock em1 was taken out of service by a write."""
    seen = told(on)
    assert seen.unix_offset_s is not None
    writes = [
        mark.at + seen.unix_offset_s - cut
        for mark in seen.marks
        if mark.kind == "write" and mark.text in ("set enabled of em1 to false", "set tx_enabled of em1 to false")
    ]
    return min(after for after in writes if after > 0)


def cut_and_mend(on: Bench, ways: tuple[str, ...]) -> tuple[float, float]:
    """Cut a path whose carrier stays. Returns how long em1 stayed in service, and how long pings were lost, in seconds."""

    def words(action: str) -> list[str]:
        places = [(on.host if link.startswith("em") else on.switch, link) for link in ways]
        return [f"tc -n {namespace} qdisc {action} dev {link} root netem loss 100%" for namespace, link in places]

    with at_a_word(*words("add")) as go, Stream(on, "10.0.0.2", PING_S) as pings:
        cut = go()
        wait_for(lambda: not serving(on, ["em1"]), 10.0, "em1 out of service")
        time.sleep(0.3)
    left_s = left_after(on, cut)
    with at_a_word(*words("del")) as go:
        go()
        wait_for(lambda: serving(on, on.ports), 30.0, "mended")
    return left_s, pings.lost * PING_S


@pytest.mark.parametrize("name", chosen(CUTS, ("from the switch", "to the switch")))
def test_a_path_breaks_while_the_carrier_stays(name: str) -> None:
    measured: dict[bool, tuple[float, float]] = {}
    for watch in (False, True):
        with bench() as on:
            on.on_switch("modprobe sch_netem")
            with two_teams(on, watch):
                measured[watch] = cut_and_mend(on, CUTS[name])
                assert on.on_host("cat /sys/class/net/em1/carrier").out.strip() == "1"
    for watch, (left_s, lost_s) in measured.items():
        what = "bfd" if watch else "LACP fast alone"
        print(f"{name}, {what}: out of service after {1000 * left_s:.0f} ms, pings lost for {1000 * lost_s:.0f} ms")
    assert measured[True][0] < LIMIT_S
    assert measured[True][1] < LIMIT_S + 2 * PING_S
    assert measured[False][0] > 1.5, "LACP alone needs up to 3 s"
