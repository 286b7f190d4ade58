"""What the daemon computes for a cut does not grow unnoticed."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import opcodes
import pytest


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python have other instructions")
def test_what_a_cut_and_its_mending_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(opcodes.ROOT, "tests/daemon")))
    from test_pump_alone import Alone

    log = logging.getLogger("alone")
    monkeypatch.setattr(log, "propagate", False)
    log.addHandler(logging.NullHandler())
    alone = Alone()
    for _ in range(2):
        opcodes.cycle(alone)
    cost = opcodes.cost(alone, 1)
    found = "\n".join(f"{count} {code.co_qualname}" for code, count in opcodes.counted.most_common(40))
    assert cost < 30_000, f"{cost} instructions of Python:\n{found}"
