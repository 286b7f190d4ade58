"""A daemon at work for a long time: memory, open files and threads stay as they are. Half an hour in `make long`, seconds otherwise.

What may grow at first has a bound: the trace (4096 steps, and 512 of those that tell something and fell out of it), answers that are kept
for a moment (one of each kind), and the pools of the interpreter, which are mixed when the trace has turned around once. So the long form
counts from the moment when as many steps fell out of the trace as it holds.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from daemon_process import ACTIVE_BACKUP, TEXT, ip, links, pyteamd, start
from lab_kit import runs

from pyteamd.client import Client
from pyteamd.core.trace import RING_ENTRIES

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="memory of the process")]
autouse = pytest.fixture(autouse=True)(links)
LONG = bool(os.environ.get("PYTEAMD_LONG"))
SECONDS = 1800.0 if LONG else 8.0
WARM = 0.2
"""Share of the time after which nothing may grow any more, in the long form if the trace has turned around."""
LOOK_ROUNDS = 20
GROWTH_KB = 1024
"""What may be added in the second half; fragments of the allocator, no leak."""
SPARE_THREADS = 2
"""Those that read what may block are kept for ten idle seconds, and how many there are at once depends on the machine."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process uses."""

    operations: int
    rss_kb: int
    files: int
    threads: int


def sample(pid: int, operations: int) -> Sample:
    """Now."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    rss = int(status["VmRSS"].split()[0])
    return Sample(operations, rss, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))


def work(round_: int) -> int:
    """Something of everything; returns how many operations it was."""
    number = 1 + round_ % 2
    ip(f"link set p{number} down")
    with Client.connect("team0", "usock") as client:
        client.refresh()
        for method in ("Explain", "History", "Metrics", "Diff", "StateDump"):
            client.fetch(method)
        changed = {**ACTIVE_BACKUP, "ports": {"eth1": {"prio": round_ % 7}, "eth2": {}}}
        client.fetch("ConfigApply", json.dumps(changed), "apply")
        client.call("PortRemove", "eth2")
        client.call("PortAdd", "eth2")
    ip(f"link set p{number} up")
    ip("link add passing type dummy")
    ip("link del passing")
    return 13


def test_nothing_grows() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    began, operations, round_ = time.monotonic(), 0, 0
    samples: list[Sample] = []
    warm = not LONG
    while (gone := time.monotonic() - began) < SECONDS or not (LONG or samples):
        operations += work(round_)
        round_ += 1
        warm = warm or (round_ % LOOK_ROUNDS == 0 and fell_out_of_the_trace() > RING_ENTRIES)
        if warm and gone > SECONDS * WARM:
            samples.append(sample(pid, operations))
    assert runs(pid)
    assert samples, f"the trace did not turn around in {operations} operations"
    report(samples)
    first, last = samples[0], samples[-1]
    assert last.files <= first.files, "open files grow"
    assert last.threads <= first.threads + SPARE_THREADS, "threads grow"
    half = samples[len(samples) // 2]
    if (
        LONG
    ):  # in the first seconds modules are still imported; blocks are counted in tests/daemon/test_nothing_grows.py
        assert last.rss_kb - half.rss_kb <= GROWTH_KB, "memory grows"
    assert pyteamd("-k", "-t", "team0").returncode == 0


def fell_out_of_the_trace() -> int:
    """This many steps."""
    with Client.connect("team0", "usock") as client:
        first, *_ = json.loads(client.fetch("Trace", "0"))["lines"]
    dropped: int = json.loads(first)["dropped"]
    return dropped


def report(samples: list[Sample]) -> None:
    """How much was added for a thousand operations."""
    first, last = samples[0], samples[-1]
    thousands = max(1, last.operations - first.operations) / 1000
    grown = {
        name: round((getattr(last, name) - getattr(first, name)) / thousands, 2)
        for name in ("rss_kb", "files", "threads")
    }
    half = samples[len(samples) // 2]
    second_half = {"operations": last.operations - half.operations, "rss_kb": last.rss_kb - half.rss_kb}
    whole = {"operations": last.operations, "rss_kb": last.rss_kb, "second half": second_half}
    text = json.dumps({**whole, "per thousand operations": grown})
    print(text)
    if out := os.environ.get("LAB_OUT"):
        Path(out, "soak.json").write_text(text + "\n")
