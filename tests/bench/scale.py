"""Scenario: many lacp teams of two ports at fast rate in one `pyteamd serve`, each against a kernel bond in another namespace.

How it grows: 16 and 64 teams, and 256 where SCALE=256 says so (for that the guest needs some GB, and more time than QEMU has). Of each:
ports in service as their partners see it, how regular the LACPDUs are, processor time, memory, and the time of a start until all are in
service. One packet socket in the other namespace keeps what arrives there with the kernel's time stamps.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import failover
from cables import PEERS, BenchError, inside, ip, make_cables, peer_of
from lacp import IN_SERVICE, INTERVAL_MS, Listener
from probe import Candidate, cpu_ms, rss_kb

SIZES = (16, 64, 256)
MOST = int(os.environ.get("SCALE", "64"))
PATIENCE_S = 240.0
WATCHED_S = 20.0
LOOK_EVERY_S = 0.5

Samples = dict[str, dict[str, list[float]]]


def ports_of(number: int) -> tuple[str, str]:
    """The ports of a team."""
    return f"eth{2 * number + 1}", f"eth{2 * number + 2}"


def partner(number: int) -> None:
    """A bond of the far ends."""
    make_cables(ports_of(number))
    bond = f"bond{number}"
    ip(f"-n {PEERS} link add {bond} type bond mode 802.3ad lacp_rate fast miimon 100")
    for name in ports_of(number):
        ip(f"-n {PEERS} link set {peer_of(name)} down")
        ip(f"-n {PEERS} link set {peer_of(name)} master {bond}")
    ip(f"-n {PEERS} link set {bond} up")


def run(candidates: Sequence[Candidate], plan: failover.Plan) -> Samples:
    """Measure every candidate that can serve many teams; the answer is candidate → quantity → samples."""
    found: Samples = {candidate.name: {} for candidate in candidates}
    made = 0
    for size in (size for size in SIZES if size <= MOST):
        for number in range(made, size):
            partner(number)
        made = size
        for candidate in candidates:
            if Path(candidate.command[0]).name == "pyteamd":
                samples = _measure(candidate, size)
                found[candidate.name].update({f"{key}_{size}": it for key, it in samples.items()})
                print(f"scale: {candidate.name}, {size} teams: {shown(samples)}", flush=True)
    for number in range(made):
        ip(f"-n {PEERS} link delete bond{number}")
    return found


def shown(samples: dict[str, list[float]]) -> str:
    """A line of them."""
    p99 = sorted(samples["scale_off_ms"])[len(samples["scale_off_ms"]) * 99 // 100]
    return ", ".join([f"off_p99_ms {p99:.3g}", *(f"{key} {it[0]:.4g}" for key, it in samples.items() if len(it) == 1)])


def _measure(candidate: Candidate, size: int) -> dict[str, list[float]]:
    with inside(PEERS):
        listener = Listener([peer_of(name) for number in range(size) for name in ports_of(number)])
    with tempfile.TemporaryDirectory(prefix="scale.") as directory:
        for number in range(size):
            config = {
                "device": f"team{number}",
                "runner": {"name": "lacp", "active": True, "fast_rate": True, "tx_hash": ["eth"]},
                "link_watch": {"name": "ethtool"},
                "ports": {name: {} for name in ports_of(number)},
            }
            Path(directory, f"team{number}.conf").write_text(json.dumps(config))
        began_s = time.monotonic()
        process = subprocess.Popen([*candidate.command, "serve", directory], stderr=subprocess.DEVNULL)
        _set_up(size, began_s)
        serving = _settle(listener, size, began_s)
        start_s, start_cpu_ms = time.monotonic() - began_s, cpu_ms(process.pid)
        before_ms, began_s = cpu_ms(process.pid), time.monotonic()
        time.sleep(WATCHED_S)
        spent_ms, took_s = cpu_ms(process.pid) - before_ms, time.monotonic() - began_s
        heard, rss_mb = listener.heard(), rss_kb(process.pid) / 1024
        listener.close()
        os.kill(process.pid, signal.SIGTERM)
        process.wait(PATIENCE_S)
    off_ms = [
        abs(later - earlier - INTERVAL_MS)
        for told in heard.values()
        for (earlier, _), (later, _) in itertools.pairwise(told)
    ]
    if not off_ms:
        raise BenchError(f"{candidate.name}: no LACPDUs from {size} teams")
    return {
        "scale_ports_in_service": [float(serving)],
        "scale_off_ms": off_ms,
        "scale_cpu_ms_per_s": [spent_ms / took_s],
        "scale_rss_mb": [rss_mb],
        "scale_start_s": [start_s],
        "scale_start_cpu_ms": [start_cpu_ms],
    }


def _set_up(size: int, began_s: float) -> None:
    """The daemon makes the devices and leaves them down, as teamd does."""
    for number in range(size):
        while not Path(f"/sys/class/net/team{number}").exists():
            if time.monotonic() - began_s > PATIENCE_S:
                raise BenchError(f"team{number} was not made within {PATIENCE_S:g} s")
            time.sleep(0.01)
        ip(f"link set team{number} up")


def _settle(listener: Listener, size: int, began_s: float) -> int:
    """Wait until the last word on every port is that it is in service; how many are, should they never all be."""
    state: dict[str, int] = {}
    while time.monotonic() - began_s < PATIENCE_S:
        time.sleep(LOOK_EVERY_S)
        state |= {end: told[-1][1] for end, told in listener.heard().items()}
        if sum(one == IN_SERVICE for one in state.values()) == 2 * size:
            break
    listener.heard()
    return sum(one == IN_SERVICE for one in state.values())
