"""Control methods beyond teamd's that only look: why, what differs, what happened, the trace. Replies are JSON."""

from __future__ import annotations

import json
from typing import Any

import trio

from pyteamd import inspect_team
from pyteamd.pump import Pump
from pyteamd.runners.base import UserError

PIECE_OCTETS = 60_000
"""A reply is one packet, and packets have a limit."""


async def explain(pump: Pump) -> str:
    """Why each port carries traffic or not."""
    return to_json(inspect_team.explained(pump.team, trio.current_time()))


async def diff(pump: Pump) -> str:
    """What the kernel shall have against what it has."""
    return to_json(inspect_team.difference(pump.team))


async def history(pump: Pump) -> str:
    """What happened lately, and why."""
    return to_json(inspect_team.history(pump.trace, trio.current_time()))


async def trace(pump: Pump, start: str) -> str:
    """A piece of the trace as JSON lines, from a step number on; `next` is where the next piece begins, null at the end."""
    if not start.isascii() or not start.isdigit():
        raise UserError("InvalidArgs", "Did not receive correct message arguments.")
    lines, following = pump.trace.piece(int(start), PIECE_OCTETS)
    return to_json({"lines": lines, "next": following})


def to_json(value: Any) -> str:
    """Compact text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
