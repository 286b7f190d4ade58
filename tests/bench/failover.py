"""Scenario: activebackup with the ethtool watcher on two ports; the active port's link is cut, again and again.

One block starts a daemon, cuts the active port's peer `cuts` times and stops the daemon. Blocks of the candidates take
turns, in turning order, on the same ports in the same boot. What is timed is peer link down → the driver's event that
names the other port as active; between two cuts everything settles. Every second cut is watched with real-time
priority (`switch_ms`: when the driver sent the event), the others by an ordinary process (`failover_ms`: when the
rest of the machine can act on it).
"""

from __future__ import annotations

import gc
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import rawnl
from probe import BenchError, Candidate, Cutter, Observer, Running, Watch, make_ports, peer_of

DEVICE = "team0"
PORTS = ("eth1", "eth2")
CONFIG = {
    "device": DEVICE,
    "runner": {"name": "activebackup"},
    "link_watch": {"name": "ethtool"},
    "ports": {name: {} for name in PORTS},
}
WARM_UP_CUTS = 2

Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: `cuts` for each candidate in all, spread over `blocks`; `idle_s` of silence for each."""

    cuts: int = 240
    blocks: int = 5
    idle_s: float = 30.0
    quiet_s: float = 0.05


class Bed:
    """The ports, the instruments and what they found."""

    def __init__(self, quiet_s: float) -> None:
        self.cutter = Cutter()  # first: its process should not inherit the sockets
        self.route = rawnl.Route()
        self.watch = Watch(rawnl.Team())
        self.quiet_s = quiet_s
        make_ports(self.route, PORTS)
        links = self.route.links()
        self.ports = {links[name].ifindex: links[peer_of(name)].ifindex for name in PORTS}

    def start(self, candidate: Candidate) -> tuple[Running, dict[str, float]]:
        """Start a daemon; ready = it returned, both ports are in the device and one is active."""
        self.watch.settle(self.quiet_s)
        self.watch.active = 0
        daemon = Running(candidate, CONFIG)
        while not self.watch.active:
            port = rawnl.active_port_in(self.watch.events.recv(1 << 16))
            self.watch.active = port or 0
        in_service_ms = (time.monotonic() - daemon.began_s) * 1e3
        self.watch.settle(self.quiet_s)
        links = self.route.links()
        if any(links[name].master != links[DEVICE].ifindex for name in PORTS):
            raise BenchError(f"{candidate.name}: not every port is in {DEVICE}")
        spent_ms = daemon.parents_cpu_ms + daemon.cpu_ms()
        return daemon, {
            "start_ms": daemon.returned_ms,
            "in_service_ms": max(in_service_ms, daemon.returned_ms),
            "start_cpu_ms": spent_ms,
        }

    def cut(self, observer: Observer) -> float:
        """Cut the active port once, put everything back; the answer is the time to the event, in ms."""
        gc.collect()
        observer.become()
        victim = self.watch.active
        (other,) = self.ports.keys() - {victim}
        self.cutter.cut(self.ports[victim])
        seen_ns = self.watch.next_active(other)
        took_ms = (seen_ns - self.cutter.began_ns()) / 1e6
        self.watch.settle(self.quiet_s)
        self.route.set_up(self.ports[victim], up=True)
        self.watch.wait_for_carrier(victim)
        self.watch.settle(self.quiet_s)
        return took_ms


def run(candidates: Sequence[Candidate], plan: Plan) -> Samples:
    """Measure every candidate; the answer is candidate → quantity → samples."""
    bed = Bed(plan.quiet_s)
    gc.disable()
    found: Samples = {candidate.name: defaultdict(list) for candidate in candidates}
    try:
        for candidate in candidates:  # programs and libraries into the page cache; nothing is kept
            _block(bed, candidate, WARM_UP_CUTS, 0.0)
        for number in range(plan.blocks):
            order = candidates if number % 2 == 0 else candidates[::-1]
            idle_s = plan.idle_s if number == plan.blocks - 1 else 0.0
            cuts = plan.cuts * (number + 1) // plan.blocks - plan.cuts * number // plan.blocks
            for candidate in order:
                for quantity, values in _block(bed, candidate, cuts, idle_s).items():
                    found[candidate.name][quantity] += values
                print(f"failover: block {number + 1} of {plan.blocks}: {candidate.name}, {cuts} cuts", flush=True)
    finally:
        bed.cutter.close()
    return found


def _block(bed: Bed, candidate: Candidate, cuts: int, idle_s: float) -> dict[str, list[float]]:
    daemon, started = bed.start(candidate)
    found = {quantity: [value] for quantity, value in started.items()}
    before_ms = daemon.cpu_ms()
    found["failover_ms"], found["switch_ms"] = [], []
    for number in range(cuts):
        if number % 2:
            found["switch_ms"].append(bed.cut(Observer.REALTIME))
        else:
            found["failover_ms"].append(bed.cut(Observer.ORDINARY))
    Observer.ORDINARY.become()
    found["cpu_per_cut_ms"] = [(daemon.cpu_ms() - before_ms) / cuts]
    found["rss_mb"] = [daemon.rss_kb() / 1024]
    if idle_s:
        wakeups, spent_ms = daemon.wakeups(), daemon.cpu_ms()
        time.sleep(idle_s)
        found["idle_wakeups_per_min"] = [(daemon.wakeups() - wakeups) * 60 / idle_s]
        found["idle_cpu_ms_per_min"] = [(daemon.cpu_ms() - spent_ms) * 60 / idle_s]
    daemon.stop(bed.route)
    return found


def where() -> dict[str, object]:
    """What a reader needs to know about the machine the samples come from."""
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "world": os.environ.get("LAB_WORLD", "?")}
