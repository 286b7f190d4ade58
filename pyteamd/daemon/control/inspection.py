"""Control methods beyond teamd's that only look: why, what differs, what happened, the trace. Replies are JSON."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import trio

from pyteamd.core.team import Team
from pyteamd.daemon.pump import Pump
from pyteamd.model.errors import INVALID_ARGUMENTS, UserError
from pyteamd.views import history as view
from pyteamd.views import metrics as exposition

TOGETHER_S = 0.05
"""Events that come together are told together; and a fail-over is over before followers are told of it."""
PIECE_OCTETS = 60_000
"""A reply is one packet, and packets have a limit."""
MAXIMUM_DIGITS = 20
"""Of a step's number; Python refuses to read one of thousands."""


async def explain(pump: Pump) -> str:
    """Why each port carries traffic or not."""
    return to_json(view.explained(pump.team, trio.current_time(), pump.kernel))


async def diff(pump: Pump) -> str:
    """What the kernel is to have, against what it has."""
    return to_json(view.difference(pump.team))


async def history(pump: Pump) -> str:
    """What happened lately, and why."""
    return to_json(view.history(pump.trace, trio.current_time()))


async def trace(pump: Pump, start: str) -> str:
    """A piece of the trace as JSON lines, from a step number on; `next` is where the next piece begins, null at the end."""
    first = step(start)
    lines, following = pump.trace.piece(first, PIECE_OCTETS, None if first else saved(pump.team, trio.current_time()))
    return to_json({"lines": lines, "next": following})


def saved(team: Team, now: float) -> dict[str, Any]:
    """The moment on both clocks, the names of links and how each port is: what a trace cannot tell whose beginning is lost."""
    from pyteamd.views.lanes import as_json, values  # hardly ever needed

    names = {str(link.ifindex): link.name for link in (team.facts.team, *team.facts.links.values())}
    return {"now": now, "unix": time.time(), "names": names, "lanes": as_json(values(team))}


async def metrics(pump: Pump) -> str:
    """Metrics as OpenMetrics text."""
    return metrics_text(pump)


def metrics_text(pump: Pump) -> str:
    """The text for one team."""
    return exposition.exposition([metric_rows(pump)])


def metric_rows(pump: Pump) -> list[exposition.Sample]:
    """The samples of one team."""
    return exposition.rows(pump.team, pump.trace, pump.gauges, trio.current_time())


async def events(pump: Pump, start: str) -> str:
    """What was said from a step on; "now": from now on.

    Nothing is kept for a client: one that asks too rarely is told how many steps it has missed (`missed`).
    """
    trace = pump.trace
    if start == "now":
        return to_json({"events": [], "missed": 0, "next": trace.dropped + len(trace)})
    first = step(start)
    told = view.history((entry for _, entry in trace.since(first)), trio.current_time())
    following = trace.dropped + len(trace)
    return to_json({"events": told, "missed": max(0, trace.dropped - first), "next": following})


async def something_to_say(pump: Pump, start: str) -> None:
    """Wait until there are events from this step on, so that a client can ask again at once. UserError."""
    trace = pump.trace
    if start == "now" or trace.noted > (first := step(start)):
        return
    await pump.until(lambda: trace.noted > first, math.inf)
    await trio.sleep(TOGETHER_S)


def step(text: str) -> int:
    """The number of a step. UserError."""
    if len(text) > MAXIMUM_DIGITS or not text.isascii() or not text.isdigit():
        raise UserError(*INVALID_ARGUMENTS)
    return int(text)


def to_json(value: Any) -> str:
    """Compact text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
