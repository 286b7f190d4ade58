"""Scenarios: two ports, the link of one is cut, again and again, and frames tell how long traffic stands still.

The device is up and has an address; announcements to the peers are as each program has them by default. One block starts a program,
cuts `cuts` times and stops it; blocks of the candidates take turns on the same ports in the same boot. Of activebackup some more cuts
are not probed but watched: by a real-time process for the driver's event (`switch_ms`), in turn with an ordinary one (`event_ms`: when the
rest of the machine can act on it). Scenarios differ in a Setting: runner, watcher, what else goes on.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pressed
import rawnl
import traced
from cables import PEERS, BenchError, ip, make_cables, peer_of
from probe import Candidate, Cutter, Observer, Running, Watch
from traffic import Prober

DEVICE = "team0"
PORTS = ("eth1", "eth2")
TARGET = "192.0.2.2"
CONFIG: dict[str, Any] = {
    "device": DEVICE,
    "runner": {"name": "activebackup"},
    "link_watch": {"name": "ethtool"},
    "ports": {name: {} for name in PORTS},
}
PING = {"name": "arp_ping", "interval": 100, "missed_max": 3, "source_host": "192.0.2.1", "target_host": TARGET}
WARM_UP_CUTS = 2
AFTER_START_S = 9.0
"""A daemon runs for weeks: what it does in the seconds after a start, which is importing, is not in every figure."""
MOST_WATCHED = 10
"""Cuts of a block that are watched for the driver's event."""
PATIENCE_S = 20.0
STORM = "import sys; sys.path.insert(0, 'tests/bench'); import failover; failover.storm()"
STORM_PAUSE_S = 0.01
BUSY = "while True: pass"
BUSY_LOOPS = 4

Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: `cuts` for each candidate in all, spread over `blocks`; `idle_s` of silence for each."""

    cuts: int = 240
    blocks: int = 5
    idle_s: float = 30.0
    quiet_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Setting:
    """`share`: of the plan's cuts one in so many. `beside`: programs that run meanwhile. `only`: daemons, not bonding or the bare loop."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    share: int = 1
    beside: tuple[tuple[str, ...], ...] = ()
    only_daemons: bool = False
    spreads: bool = False
    bridged: bool = False
    pressed: bool = False


SETTINGS = {
    "failover": Setting(),
    "lacp_cut": Setting(
        {"runner": {"name": "lacp", "active": True, "fast_rate": True, "tx_hash": ["eth"]}}, share=4, spreads=True
    ),
    "pinged": Setting({"link_watch": PING}, share=12, only_daemons=True, bridged=True),
    "pressed": Setting(share=12, pressed=True),
    "storm": Setting(share=4, beside=((sys.executable, "-c", STORM),), only_daemons=True),
    "busy": Setting(
        share=4, beside=(("nice", "-n", "-20", sys.executable, "-c", BUSY),) * BUSY_LOOPS, only_daemons=True
    ),
}


class Bed:
    """The ports, the instruments and what they found."""

    def __init__(self, quiet_s: float, setting: Setting) -> None:
        make_cables(PORTS)
        if setting.pressed:
            pressed.prepare()
        self.cutter = Cutter(PEERS)  # first: its process should not inherit the sockets
        self.route = rawnl.Route()
        self.watch = Watch(rawnl.Team())
        self.quiet_s = quiet_s
        self.setting = setting
        self.names = {self.route.links()[name].ifindex: name for name in PORTS}
        self._partner(setting)

    def close(self) -> None:
        self.cutter.close()
        with contextlib.suppress(BenchError):
            ip(f"-n {PEERS} link delete far0")
        for name in PORTS:
            ip(f"-n {PEERS} link set {peer_of(name)} up")

    def _partner(self, setting: Setting) -> None:
        """What the far ends belong to."""
        if not setting.spreads and not setting.bridged:
            return
        kind = "bond mode 802.3ad lacp_rate fast miimon 10" if setting.spreads else "bridge"
        ip(f"-n {PEERS} link add far0 type {kind}")
        for name in PORTS:
            if setting.spreads:
                ip(f"-n {PEERS} link set {peer_of(name)} down")
            ip(f"-n {PEERS} link set {peer_of(name)} master far0")
            ip(f"-n {PEERS} link set {peer_of(name)} up")
        ip(f"-n {PEERS} link set far0 up")
        if setting.bridged:
            ip(f"-n {PEERS} address add {TARGET}/24 dev far0")

    def start(self, candidate: Candidate) -> tuple[Running, Prober, dict[str, float]]:
        """Start a program; ready = it returned, and frames leave by one port, or where traffic is spread by both."""
        for name in PORTS:
            ip(f"link set {name} down")  # another program may have left them up, and then the driver does not take them
        self.watch.settle(self.quiet_s)
        self.watch.active = 0
        daemon = Running(candidate, CONFIG | self.setting.changes)
        try:
            prober = self._flowing(candidate, daemon.began_s)
        except BenchError:
            daemon.stop(self.route)
            raise
        in_service_ms = (time.monotonic() - daemon.began_s) * 1e3
        time.sleep(1.0)  # addresses of IPv6 are looked for, and the like
        spent_ms = daemon.parents_cpu_ms + daemon.cpu_ms()
        time.sleep(AFTER_START_S)
        self.watch.settle(self.quiet_s)
        return (
            daemon,
            prober,
            {"start_ms": daemon.returned_ms, "in_service_ms": in_service_ms, "start_cpu_ms": spent_ms},
        )

    def _flowing(self, candidate: Candidate, began_s: float) -> Prober:
        """The device up and with an address, and frames leaving by it."""
        wanted = len(PORTS) if self.setting.spreads and not bare(candidate) else 1
        ip(f"link set {DEVICE} up")
        ip(f"address add 192.0.2.1/24 dev {DEVICE}")
        prober = Prober(DEVICE, PORTS, self.cutter)
        while len({*prober.ways().values()}) < wanted:
            if time.monotonic() > began_s + PATIENCE_S:
                raise BenchError(f"{candidate.name}: frames leave by {set(prober.ways().values())}")
        return prober

    def probe(self, candidate: Candidate, prober: Prober, number: int) -> dict[str, float]:
        """Cut the port that a flow leaves by, put everything back; the gaps in ms."""
        gc.collect()
        ways = prober.ways()
        wanted = PORTS[number % 2] if self.setting.spreads and not bare(candidate) else None
        flow, victim = next((flow, port) for flow, port in ways.items() if wanted in (None, port))
        if self.setting.pressed:
            pressed.squeeze()
        out_ms, into_ms = prober.cut(victim, flow)
        self._mend(candidate, prober, victim)
        return {"out_ms": out_ms, "cut_at_ms": self.cutter.began_ns() / 1e6} | (
            {"in_ms": into_ms} if into_ms is not None and not self.setting.spreads else {}
        )

    def event(self, candidate: Candidate, prober: Prober, observer: Observer) -> float:
        """The same without frames: ms until the driver's event."""
        gc.collect()
        victim = next(iter(prober.ways().values()))
        (other,) = {ifindex for ifindex, name in self.names.items() if name != victim}
        self.watch.settle(self.quiet_s)
        observer.become()
        self.cutter.cut(prober.peers[victim])
        seen_ns = self.watch.next_active(other)
        took_ms = (seen_ns - self.cutter.began_ns()) / 1e6
        Observer.ORDINARY.become()
        self._mend(candidate, prober, victim)
        return took_ms

    def _mend(self, candidate: Candidate, prober: Prober, victim: str) -> None:
        self._rest()
        prober.mend(victim)
        self._rest()
        if not (self.setting.spreads or self.setting.bridged or "--miimon" in candidate.command):
            return
        give_up_s = time.monotonic() + PATIENCE_S
        wanted = {victim} if self.setting.spreads and not bare(candidate) else set()
        time.sleep(1.0 if self.setting.bridged else 0.25)
        while not wanted <= {*prober.ways().values()}:
            if time.monotonic() > give_up_s:
                raise BenchError(f"{candidate.name}: {victim} does not come back")
            time.sleep(0.1)

    def _rest(self) -> None:
        """Until nothing happens; where something always does, for a moment."""
        if self.setting.beside:
            time.sleep(10 * self.quiet_s)
            self.watch.drain()
        else:
            self.watch.settle(self.quiet_s)


def bare(candidate: Candidate) -> bool:
    """No daemon that speaks LACP or knows watchers: the bare loop, or the kernel's own bonding."""
    return any(word.endswith(("floor.py", "bond.py")) for word in candidate.command)


def run(name: str, candidates: Sequence[Candidate], plan: Plan) -> Samples:
    """Measure every candidate in one setting; the answer is candidate → quantity → samples."""
    setting = SETTINGS[name]
    bed = Bed(plan.quiet_s, setting)
    if setting.pressed:
        candidates = [Candidate(name, tuple(command)) for name, command in pressed.CANDIDATES.items()]
    wanted = [one for one in candidates if not (setting.only_daemons and bare(one))]
    if setting.spreads:
        wanted = [one for one in wanted if "--miimon" not in one.command]
    gc.disable()
    found: Samples = {candidate.name: defaultdict(list) for candidate in wanted}
    total = max(4, plan.cuts // setting.share)
    blocks = min(plan.blocks, max(1, total // 8))
    try:
        for number in range(blocks):
            order = wanted if number % 2 == 0 else wanted[::-1]
            idle_s = plan.idle_s if number == blocks - 1 and name == "failover" else 0.0
            cuts = total * (number + 1) // blocks - total * number // blocks
            for candidate in order:
                for quantity, values in _block(bed, candidate, cuts, idle_s).items():
                    found[candidate.name][quantity] += values
                print(f"{name}: block {number + 1} of {blocks}: {candidate.name}, {cuts} cuts", flush=True)
    finally:
        bed.close()
    return found


def _block(bed: Bed, candidate: Candidate, cuts: int, idle_s: float) -> dict[str, list[float]]:
    daemon, prober, started = bed.start(candidate)
    found: dict[str, list[float]] = defaultdict(list, {quantity: [value] for quantity, value in started.items()})
    events = not (
        bed.setting.pressed
        or bed.setting.spreads
        or bed.setting.beside
        or bed.setting.bridged
        or "--miimon" in candidate.command
    )
    for number in range(WARM_UP_CUTS):
        bed.probe(candidate, prober, number)
    with _beside(bed.setting.beside):
        began_s, before_ms, faults = time.monotonic(), daemon.cpu_ms(), daemon.major_faults()
        for number in range(cuts):
            for quantity, took_ms in bed.probe(candidate, prober, number).items():
                found[quantity].append(took_ms)
        found["faults_per_cut"] = [(daemon.major_faults() - faults) / cuts]
        if bed.setting.beside:
            found["cpu_ms_per_s"] = [(daemon.cpu_ms() - before_ms) / (time.monotonic() - began_s)]
        elif events:
            before_ms, watched = daemon.cpu_ms(), min(cuts, MOST_WATCHED)
            for number in range(watched):
                observer = (Observer.REALTIME, Observer.ORDINARY)[number % 2]
                found[("switch_ms", "event_ms")[number % 2]].append(bed.event(candidate, prober, observer))
            found["cpu_per_cut_ms"] = [(daemon.cpu_ms() - before_ms) / watched]
    found["rss_mb"] = [daemon.rss_kb() / 1024]
    if idle_s:
        wakeups, spent_ms = daemon.wakeups(), daemon.cpu_ms()
        time.sleep(idle_s)
        found["idle_wakeups_per_min"] = [(daemon.wakeups() - wakeups) * 60 / idle_s]
        found["idle_cpu_ms_per_min"] = [(daemon.cpu_ms() - spent_ms) * 60 / idle_s]
    prober.close()
    daemon.stop(bed.route)
    traced.tell(zip(found["cut_at_ms"], found["out_ms"], strict=True))
    return found


@contextlib.contextmanager
def _beside(commands: Sequence[Sequence[str]]) -> Iterator[None]:
    """Programs that run meanwhile."""
    running = [subprocess.Popen(command, start_new_session=True) for command in commands]
    try:
        yield
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def storm() -> None:
    """Make and delete links that are nobody's port, until killed."""
    route = rawnl.Route()
    while True:
        route.add("dummy9", "dummy")
        route.delete(socket.if_nametoindex("dummy9"))
        time.sleep(STORM_PAUSE_S)


def where() -> dict[str, object]:
    """What a reader needs to know about the machine the samples come from."""
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "world": os.environ.get("LAB_WORLD", "?")}


SCENARIOS = {name: partial(run, name) for name in SETTINGS}
