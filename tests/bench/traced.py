"""A candidate for the bench: pyteamd, which remembers what its event loop did when, so that a late cut can be explained.

    bench.py --scenario failover --candidate teamd=teamd --candidate 'pyteamd=.venv/bin/python tests/bench/traced.py'

What is remembered (turns and tasks of the loop, collections of garbage, writes) costs some processor time: take figures from another
candidate. The bench prints of each late cut what overlaps with it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path("/tmp/bench.trace")
LATE_MS = 1.0
SHORTEST_NS = 20_000

spans = array("q")
"""Began, ended, number of the name, for each: no objects that would make garbage collections more frequent."""
names: dict[str, int] = {}


def remember(began_ns: int, what: str, least_ns: int = SHORTEST_NS) -> None:
    """This began then and ends now."""
    now_ns = time.monotonic_ns()
    if now_ns - began_ns >= least_ns:
        spans.extend((began_ns, now_ns, names.setdefault(what, len(names))))


def tell(cuts: Iterable[tuple[float, float]]) -> None:
    """Print what went on in cuts (when, in ms; how long it took) that were late, if there is a trace, and forget it."""
    if not FILE.exists():
        return
    found = json.loads(FILE.read_text())
    FILE.unlink()
    for at_ms, took_ms in cuts:
        if took_ms > LATE_MS:
            print(f"late by {took_ms:.2f} ms:")
            for began_ms, ended_ms, what in found:
                if ended_ms > at_ms - 5 and began_ms < at_ms + took_ms + 0.5:
                    print(f"  {began_ms - at_ms:8.3f} to {ended_ms - at_ms:8.3f}  {what}", flush=True)


def _collections() -> None:
    began_ns = 0

    def collecting(phase: str, about: dict[str, int]) -> None:
        nonlocal began_ns
        if phase == "start":
            began_ns = time.monotonic_ns()
        else:
            remember(began_ns, f"garbage, generation {about['generation']}", 0)

    gc.callbacks.append(collecting)


def _loop() -> None:
    from pyteamd.daemon import reader, write_thread

    class Traced(reader.FirstLook):
        """Every turn and every task of the loop."""

        turn_ns = step_ns = 0

        def after_io_wait(self, timeout: float) -> None:
            self.turn_ns = time.monotonic_ns()
            super().after_io_wait(timeout)
            remember(self.turn_ns, "first look")

        def before_io_wait(self, timeout: float) -> None:
            remember(self.turn_ns, "turn of the loop", 0)

        def before_task_step(self, task: Any) -> None:
            self.step_ns = time.monotonic_ns()

        def after_task_step(self, task: Any) -> None:
            remember(self.step_ns, f"task {task.name.rpartition('.')[2]}")

    class Performing(write_thread.WriteThread):
        """Every write."""

        def _perform(self, batch: write_thread.WriteBatch) -> None:
            began_ns = time.monotonic_ns()
            super()._perform(batch)
            remember(began_ns, "write", 0)

    reader.FirstLook = Traced  # type: ignore[misc]
    reader.WriteThread = Performing  # type: ignore[misc]


def main() -> int:
    """Run pyteamd."""
    _collections()
    _loop()
    from pyteamd.cli.pyteamd.main import main as pyteamd

    try:
        return pyteamd()
    finally:
        if spans:  # the process that went to the background
            known = list(names)
            FILE.write_text(
                json.dumps([(b / 1e6, e / 1e6, known[n]) for b, e, n in zip(*[iter(spans)] * 3, strict=True)])
            )


if __name__ == "__main__":
    sys.exit(main())
