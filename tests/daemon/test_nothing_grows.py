"""A daemon at work for a long time keeps no more than at first: what is allocated is counted, block by block.

The trace is short here, so that everything that has a bound has reached it after a few rounds. On the real driver, for half an hour:
tests/kernel/test_soak.py.
"""

from __future__ import annotations

import gc
import json
import sys

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, Running

TRACE_ENTRIES = 64
ROUNDS = 20
BATCHES = 4
MOST_BLOCKS = 2 * ROUNDS
"""What may be added by a batch: the interpreter has caches that fill slowly. A round has twenty operations."""
LOOKS = ("Explain", "History", "Metrics", "Diff", "StateDump", "Balance", "ConfigDumpActual")


async def work(lab: Lab, daemon: Running, number: int) -> None:
    """Something of everything."""
    port = f"eth{1 + number % 2}"
    lab.cut(port)
    await trio.sleep(0.1)
    for method in LOOKS:
        await daemon.call(method)
    changed = {**ACTIVE_BACKUP, "ports": {"eth1": {"prio": number % 5}, "eth2": {}}}
    await daemon.call("ConfigApply", json.dumps(changed), "apply")
    for method in ("PortRemove", "PortAdd"):
        await daemon.call(method, "eth2")
    assert "NoSuch" in await daemon.call("PortAdd", f"gone{number}")
    await trio.sleep(0.1)
    lab.cut(port, True)
    lab.kernel.add_pair("passing", "by")
    await trio.sleep(0.1)
    lab.kernel.delete_link(lab.link("passing").ifindex)
    await trio.sleep(0.2)
    daemon.lines.clear()
    lab.kernel.performed.clear()


@pytest.mark.slow
async def test_nothing_grows(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(trace_entries=TRACE_ENTRIES, snapshot_stem=f"{lab.directory}/team0"))
    blocks = []
    for batch in range(BATCHES):
        for number in range(ROUNDS):
            await work(lab, daemon, batch * ROUNDS + number)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert min(blocks[-1] - blocks[-2], blocks[-2] - blocks[-3]) <= MOST_BLOCKS, blocks
