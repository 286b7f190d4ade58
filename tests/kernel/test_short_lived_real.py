"""Links that live for a moment, beside a team in service: no memory is kept of them, and a fail-over takes as long as before."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import pytest
from lab_kit import PYTEAMD, Bench, bench, daemon, must, run, settled_kib, state, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="links of others, whatever the driver")]
LONG = bool(os.environ.get("PYTEAMD_LONG"))

BEFORE, JOINED_BEFORE = 3000, 40
"""How many until memory is measured, and how many of those that join besides: by then the allocator has what a batch of them needs for
a moment, and the trace packs its older steps."""
LINKS = 100_000 if LONG else 200
AT_ONCE = 400
WANTED_EACH = 2000
"""One of so many has a name that is wanted, and joins."""
GROUP = 7
"""Deleted together: one by one the kernel waits for each."""
LEFT_KB = 1024
CUTS = 9


def pass_by(on: Bench, first: int, count: int) -> None:
    """Links that are made and deleted: free ones, some that stand on another one, and now and then one that is wanted."""
    for start in range(first, first + count, AT_ONCE):
        lines = []
        for number in range(start, min(start + AT_ONCE, first + count)):
            name = "eth9" if number % WANTED_EACH == 0 else f"s{number}"
            base, kind = ("link em3 ", "macvlan") if number % 3 == 0 else ("", "dummy")
            change = [] if name == "eth9" else [f"link set {name} up" if number % 2 else f"link set {name} mtu 1400"]
            lines += [f"link add {base}name {name} group {GROUP} type {kind}", *change]
        lines += [f"link del group {GROUP}"]
        must("ip -batch - <<'END'\n" + "\n".join(lines) + "\nEND", namespace=on.host)


def active() -> str:
    """The active port."""
    return str(state()["runner"]["active_port"])


def fail_overs_s(on: Bench) -> list[float]:
    """Seconds from the command that cuts a cable until another port is active, several times."""
    found = []
    for _ in range(CUTS):
        number = int(active().removeprefix("em"))
        began = time.monotonic()
        run(f"ip link set p{number} down", namespace=on.switch)
        wait_for(lambda number=number: active() != f"em{number}", 20.0)
        found.append(time.monotonic() - began)
        run(f"ip link set p{number} up", namespace=on.switch)
        on.await_link(number, True)
        wait_for(lambda number=number: state()["ports"][f"em{number}"]["link_watches"]["up"], 20.0)
    return found


def test_they_join_and_are_forgotten() -> None:
    """In the long form they also leave nothing: memory, and the time of a fail-over, before and after a hundred thousand of them."""
    config = json.dumps({"runner": {"name": "activebackup"}, "ports": {"em1": {}, "em2": {}, "eth9": {}}})
    with bench(3) as on, daemon(PYTEAMD, on, config) as running:
        on.on_host("sysctl -w net.ipv6.conf.default.disable_ipv6=1; ip link set team0 up; ip link set em3 up")
        wait_for(lambda: active() in ("em1", "em2"), 20.0)
        if LONG:
            cost_nothing(on, running.pid)
        else:
            pass_by(on, 2_000_000, LINKS)
        wait_for(lambda: set(state()["ports"]) == {"em1", "em2"}, 20.0)
        assert "eth9: there is no such interface" in on.pyteamdctl("team0 explain").out
        on.on_host("ip link add eth9 type veth peer name eth9p")
        wait_for(lambda: "eth9" in state()["ports"], 20.0)


def cost_nothing(on: Bench, pid: int) -> None:
    """Pass by, and compare."""
    idle_kb = settled_kib(pid)
    for _ in range(JOINED_BEFORE):
        on.on_host("ip link add eth9 type dummy")
        wait_for(lambda: "eth9" in state()["ports"], 20.0)
        on.on_host("ip link del eth9")
    pass_by(on, 1_000_000, BEFORE)
    before_s, before_kb = fail_overs_s(on), settled_kib(pid)
    began = time.monotonic()
    pass_by(on, 2_000_000, LINKS)
    took_s = time.monotonic() - began
    after_kb, after_s = settled_kib(pid), fail_overs_s(on)
    seen = {
        "links": LINKS,
        "seconds": round(took_s),
        "kB": (idle_kb, before_kb, after_kb),
        "fail-over ms": [round(1e3 * statistics.median(times), 1) for times in (before_s, after_s)],
        "least ms": [round(1e3 * min(times), 1) for times in (before_s, after_s)],
    }
    print(seen)
    if out := os.environ.get("LAB_OUT"):
        Path(out, "short_lived.json").write_text(json.dumps(seen))
    assert after_kb - before_kb < LEFT_KB, seen
    assert min(after_s) < 2 * min(before_s) + 0.05, seen
