#!/usr/bin/env python3
"""The product against the reference in random runs, as many as you like; a seed that fails can be run again alone.

    tests/runners/lacp/differential.py [FIRST [COUNT]]      no argument: 0 100000

One process. Says what it ran every two hundred runs, and at the end how many, how long, and which seeds differed. Exit status 1 if any did.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/kit"), str(ROOT / "tests/runners/lacp")]

import shadow  # noqa: E402

from pyteamd.runners.base import Runner  # noqa: E402

Runner.faults_are_fatal = True


def main() -> int:
    given = [int(word) for word in sys.argv[1:3]]
    first, count = given + [0, 100_000][len(given) :]
    began, differed = time.monotonic(), []
    for seed in range(first, first + count):
        try:
            shadow.run(seed)
        except Exception as problem:
            differed.append(seed)
            print(f"seed {seed}: {type(problem).__name__}: {problem}", flush=True)
        done = seed - first + 1
        if done % 200 == 0 or done == count:
            spent = f"{time.monotonic() - began:.0f} s, {time.process_time():.0f} s of CPU"
            print(
                f"{done} runs, seeds {first} to {seed}, {spent}, {len(differed)} differed: {differed[:20]}", flush=True
            )
    return 1 if differed else 0


if __name__ == "__main__":
    sys.exit(main())
