#!/usr/bin/env python3
"""Networks in trouble for so many simulated hours: fast rate, 2 to 8 links, both ends, every second one with people who configure.

    tests/runners/lacp/hours.py [HOURS [FIRST]]      no argument: 1000 hours, seeds from 0

One process. Says every hundred networks what it ran. A seed that failed is run again as RandomNet(seed, configure) of
tests/kit/lacp_random.py, where configure is true for odd seeds. Exit status 1 if any failed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/kit")]

from lacp_random import RandomNet  # noqa: E402

from pyteamd.runners.base import Runner  # noqa: E402

Runner.faults_are_fatal = True


def run(seed: int) -> float:
    """One network; its seconds."""
    net = RandomNet(seed, configure=bool(seed % 2))
    for box in net.boxes:
        box.config = type(box.config)(
            **({name: getattr(box.config, name) for name in box.config.__slots__} | {"fast_rate": True})
        )
    net.play()
    net.check_agreement()
    net.check_peace()
    return net.world.now


def main() -> int:
    given = [int(word) for word in sys.argv[1:3]]
    hours, first = given + [1000, 0][len(given) :]
    began, simulated_s, failed, seed = time.monotonic(), 0.0, [], first
    while simulated_s < hours * 3600:
        try:
            simulated_s += run(seed)
        except Exception as problem:
            failed.append(seed)
            print(f"seed {seed}: {problem}", flush=True)
        seed += 1
        if seed % 100 == 0 or simulated_s >= hours * 3600:
            spent = f"{time.monotonic() - began:.0f} s, {time.process_time():.0f} s of CPU"
            print(f"{simulated_s / 3600:.1f} hours, seeds {first} to {seed - 1}, {spent}, failed: {failed}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
