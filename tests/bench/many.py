"""Scenario: 64 activebackup teams of two ports: what they cost together, and whether a fail-over is as quick as with one team.

A program that serves many teams in one process (SERVES) does so; of any other one process for each team is started. All links exist
and are up throughout, in a team or not, so that the two cases differ in the number of teams only: the more links are up, the longer
the kernel itself takes, whatever serves the team. Cuts go round the teams. Every cut is watched by an ordinary
process, see failover.py.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import failover
import rawnl
from cables import BenchError, ip, peer_of
from pings import SO_RCVBUFFORCE
from probe import Candidate, Cutter, Observer, Running, Watch, make_ports, rss_kb

TEAMS = 64
SERVES = ("pyteamd",)
PATIENCE_S = 240.0
SETTLE_S = 1.0
SHARE = 4
"""A case is given one of so many of the plan's cuts."""
RECEIVE_OCTETS = 1 << 24
"""A start of all teams is told in thousands of messages."""
PAIRS = tuple((f"eth{2 * number}", f"eth{2 * number + 1}") for number in range(1, TEAMS + 1))

Samples = dict[str, dict[str, list[float]]]


class Bed:
    """All ports, the instruments, and which port of each team is the active one."""

    def __init__(self, quiet_s: float) -> None:
        self.cutter = Cutter()  # first: its process should not inherit the sockets
        self.route = rawnl.Route()
        self.watch = Watch(rawnl.Team())
        for one in (self.watch.events, self.watch.links):
            one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_OCTETS)
        self.quiet_s = quiet_s
        names = [name for pair in PAIRS for name in pair]
        make_ports(self.route, names)
        links = self.route.links()
        self.peers = {links[name].ifindex: links[peer_of(name)].ifindex for name in names}
        self.pairs = [tuple(links[name].ifindex for name in pair) for pair in PAIRS]
        self.active: dict[int, int] = {}

    def set_idle_links(self, count: int, up: bool) -> None:
        """The ports that are in none of `count` teams."""
        for pair in self.pairs[count:]:
            for ifindex in pair:
                self.route.set_up(ifindex, up=up)

    def listen(self, timeout_s: float) -> bool:
        """Take one message of the driver; false when there is none in time."""
        self.watch.events.settimeout(timeout_s)
        try:
            port = rawnl.active_port_in(self.watch.events.recv(1 << 16))
        except TimeoutError:
            return False
        finally:
            self.watch.events.settimeout(rawnl.TIMEOUT_S)
        for number, pair in enumerate(self.pairs):
            if port in pair:
                self.active[number] = port
        return True

    def await_teams(self, count: int) -> None:
        """Until every team has an active port, and nothing more happens."""
        deadline_s = time.monotonic() + PATIENCE_S
        while len(self.active) < count:
            self.listen(1.0)
            if time.monotonic() > deadline_s:
                raise BenchError(f"{len(self.active)} of {count} teams work within {PATIENCE_S:g} s")
        self.watch.settle(self.quiet_s)

    def cut(self, number: int) -> float:
        """Cut the active port of a team, put everything back; the answer is the time to the event, in ms."""
        gc.collect()
        victim = self.active[number]
        (other,) = {*self.pairs[number]} - {victim}
        self.cutter.cut(self.peers[victim])
        seen_ns = self.watch.next_active(other)
        took_ms = (seen_ns - self.cutter.began_ns()) / 1e6
        self.active[number] = other
        self.watch.settle(self.quiet_s)
        self.route.set_up(self.peers[victim], up=True)
        self.watch.wait_for_carrier(victim)
        self.watch.settle(self.quiet_s)
        return took_ms


def run(candidates: Sequence[Candidate], plan: failover.Plan) -> Samples:
    """Measure every candidate that is a daemon; the answer is candidate → quantity → samples."""
    bed = Bed(plan.quiet_s)
    daemons = [one for one in candidates if not failover.bare(one)]
    found: Samples = {candidate.name: {} for candidate in daemons}
    cuts = max(4, plan.cuts // SHARE)
    gc.disable()
    try:
        for candidate in daemons:
            for count, place in ((1, "one"), (TEAMS, "many")):
                for quantity, values in _block(bed, candidate, count, cuts).items():
                    found[candidate.name][f"{place}_{quantity}"] = values
                print(f"many: {candidate.name}, {count} teams, {cuts} cuts", flush=True)
    finally:
        bed.cutter.close()
    for samples in found.values():
        medians = [statistics.median(samples[f"{place}_failover_ms"]) for place in ("many", "one")]
        samples["many_to_one"] = [medians[0] / medians[1]]
    return found


def _block(bed: Bed, candidate: Candidate, count: int, cuts: int) -> dict[str, list[float]]:
    with _running(candidate, count, bed) as pids:
        bed.set_idle_links(count, True)
        for number in range(count):
            ip(f"link set team{number} up")
        bed.watch.settle(SETTLE_S)
        Observer.ORDINARY.become()
        took_ms = [bed.cut(number % count) for number in range(cuts)]
        bed.set_idle_links(count, False)
        return {"failover_ms": took_ms, "rss_mb": [sum(rss_kb(pid) for pid in pids) / 1024]}


@contextlib.contextmanager
def _running(candidate: Candidate, count: int, bed: Bed) -> Iterator[list[int]]:
    """This many teams at work; process numbers."""
    configs = [
        {**failover.CONFIG, "device": f"team{number}", "ports": {name: {} for name in pair}}
        for number, pair in enumerate(PAIRS[:count])
    ]
    bed.watch.settle(bed.quiet_s)
    bed.active.clear()
    if Path(candidate.command[0]).name not in SERVES:
        daemons = []
        for number, config in enumerate(configs):
            daemons.append(Running(candidate, config))
            bed.await_teams(number + 1)
        bed.watch.settle(SETTLE_S)
        yield [daemon.pid for daemon in daemons]
        for daemon in daemons:
            daemon.stop(bed.route)
        return
    with tempfile.TemporaryDirectory(prefix="many.") as directory:
        for config in configs:
            Path(directory, f"{config['device']}.conf").write_text(json.dumps(config))
        process = subprocess.Popen([*candidate.command, "serve", directory], stderr=subprocess.DEVNULL)
        bed.await_teams(count)
        bed.watch.settle(SETTLE_S)
        yield [process.pid]
        os.kill(process.pid, signal.SIGTERM)
        if process.wait(PATIENCE_S):
            raise BenchError(f"{candidate.name}: exit status {process.returncode}")
