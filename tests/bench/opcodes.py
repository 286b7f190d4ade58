#!/usr/bin/env python3
"""What the daemon computes, in instructions of Python: .venv/bin/python tests/bench/opcodes.py [lacp]

For a cut and its mending; with `lacp`, for one LACPDU in and one out of 64 ports at fast rate of which nothing changes.
The count is the same on a busy machine and on an idle one, so that one percent can be seen. It is that of the pump of
tests/daemon/test_pump_alone.py: no event loop, no netlink, and what the simulated kernel does is left out. An instruction of Python takes
some 80 to 100 of the processor, all that it calls included.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CYCLES = 5
SHOWN = 25
PORTS = 64
LEFT_OUT = ("/pyteamd/sim/", "/tests/")

counted: Counter[CodeType] = Counter()


def each_call(frame: FrameType, event: str, argument: Any) -> Any:
    """Count what runs in it, unless it is the world's."""
    if any(part in frame.f_code.co_filename for part in LEFT_OUT):
        return None
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return each_opcode


def each_opcode(frame: FrameType, event: str, argument: Any) -> Any:
    """One more of its function."""
    if event == "opcode":
        counted[frame.f_code] += 1
    return each_opcode


def cycle(alone: Any) -> None:
    """Each port is cut and mended, and what is due then is done."""
    for port in alone.links:
        peer = alone.kernel.links[port].peer.ifindex
        for up in (False, True):
            alone.kernel.set_up(peer, up)
            while batch := alone.kernel.take_events():
                alone.reader.hear(batch, alone.now)
            end = alone.now + 1
            while (at := alone.pump.wake_at()) < end:
                alone.now = at
                alone.pump.wake(at)
            alone.now = end


def count(action: Callable[[], None]) -> None:
    """Count what this does, and nothing else."""
    counted.clear()
    before = sys.gettrace()
    sys.settrace(each_call)
    try:
        action()
    finally:
        sys.settrace(before)


def cost(alone: Any, cycles: int) -> float:
    """Instructions for a cut and its mending, on average."""
    count(lambda: deque((cycle(alone) for _ in range(cycles)), 0))
    return counted.total() / cycles / len(alone.links)


def tell(times: int, what: str) -> None:
    """Print what was counted, for each of so many."""
    for code, number in counted.most_common(SHOWN):
        print(f"{number / times:8.1f}  {Path(code.co_filename).name} {code.co_qualname}")
    print(f"{counted.total() / times:8.1f}  for {what}")


def main() -> None:
    """Count and tell."""
    sys.path[:0] = [str(ROOT / "tests/daemon"), str(ROOT / "tests/kit")]
    logging.getLogger("alone").addHandler(logging.NullHandler())
    logging.getLogger("alone").propagate = False
    gc.disable()
    if sys.argv[1:] == ["lacp"]:
        from lacp_at_rest import AtRest

        team = AtRest(PORTS, spread_s=1 / PORTS)
        team.go_on(CYCLES)
        count(lambda: team.go_on(CYCLES))
        tell(CYCLES * PORTS, "an LACPDU in and one out")
        return
    from test_pump_alone import Alone

    alone = Alone()
    cost(alone, CYCLES)
    cost(alone, CYCLES)
    tell(CYCLES * len(alone.links), "a cut and its mending")


if __name__ == "__main__":
    main()
