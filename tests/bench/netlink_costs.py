#!/usr/bin/env python3
"""What the netlink codecs cost, natively and without privileges: python3 tests/bench/netlink_costs.py

Microseconds of processor time, the best of several rounds, on messages recorded from a real
kernel; then imports: milliseconds and resident memory of fresh processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyteamd.kernel import rtnl, team_family
from pyteamd.kernel.framing import messages
from pyteamd.model.desired import OptionKey, OptionValue

ROOT = Path(__file__).resolve().parents[2]
RECORDED = json.loads((ROOT / "tests/kit/golden/netlink-6.1.json").read_text())
FAILOVER: list[tuple[OptionKey, OptionValue]] = [
    (OptionKey("enabled", 4), True),
    (OptionKey("activeport"), 4),
    (OptionKey("enabled", 3), False),
]
MEASURE = """
import sys, time
began = time.process_time()
{statement}
spent = time.process_time() - began
resident = next(line for line in open('/proc/self/smaps_rollup') if line.startswith('Rss:')).split()[1]
print(spent * 1000, int(resident) / 1024, len(sys.modules))
"""


def best_us(call: Callable[[], object], number: int = 1000, rounds: int = 30) -> float:
    """Microseconds of one call in the best round."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(number):
            call()
        spent.append((time.process_time() - began) / number)
    return min(spent) * 1e6


def costs() -> dict[str, float]:
    """Name of an operation → microseconds."""
    link = bytes.fromhex(RECORDED["peer_down_links"][-1])
    echoes = [bytes.fromhex(octets) for octets in RECORDED["failover_events"]]
    warm = team_family.Decoder()
    item = FAILOVER[0]
    return {
        "fail-over message of three options, warm": best_us(
            lambda: team_family.set_options(25, 2, [team_family.encode_option(*write) for write in FAILOVER])
        ),
        "one option, first time": best_us(lambda: team_family.encode_option.__wrapped__(*item), 100),
        "link datagram: frame and glance": best_us(
            lambda: [rtnl.loss_in(message.octets[: rtnl.GLANCE]) for message in messages(link)]
        ),
        "link: decode": best_us(lambda: rtnl.decode(link), 200),
        "echo of the fail-over, three messages, warm": best_us(lambda: [warm.decode(octets) for octets in echoes]),
        "echo of the fail-over, first time": best_us(
            lambda: [team_family.Decoder().decode(octets) for octets in echoes], 100
        ),
    }


def imports(statement: str, rounds: int = 15) -> tuple[float, float, int]:
    """(best milliseconds, megabytes, modules) of a statement in a fresh process, interpreter start not included."""
    found = []
    for _ in range(rounds):
        command = [sys.executable, "-c", MEASURE.format(statement=statement)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ})
        spent_ms, resident_mb, modules = done.stdout.split()
        found.append((float(spent_ms), float(resident_mb), int(modules)))
    return min(found)


def main() -> None:
    for name, us in costs().items():
        print(f"{us:8.2f} µs  {name}")
    for statement in ("pass", "import trio", "import pyteamd.kernel.requests", "import pyteamd.kernel.netlink"):
        spent_ms, resident_mb, modules = imports(statement)
        print(f"{spent_ms:8.1f} ms {resident_mb:6.1f} MB {modules:4} modules  {statement}")


if __name__ == "__main__":
    main()
