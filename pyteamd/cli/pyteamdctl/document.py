"""What `--json` prints: one document, always of the same form; `pyteamd schema VERB` has the schema (pyteamd/cli/schemas.py).

A document tells its team and when it was made, by the wall clock (UTC) and by CLOCK_MONOTONIC, and so does every event in it, so that
it can be laid beside a switch's log and beside the kernel's. The document of all teams tells the time only, that of several hosts neither.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def document(team: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what every document has."""
    return {"team": team, **moment(0.0), **body}


def moment(age_s: float) -> dict[str, Any]:
    """The moment `age_s` seconds ago, on both clocks."""
    wall_s = time.time() - age_s
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_s))
    return {"time": f"{whole}.{int(wall_s % 1 * 1000):03d}Z", "monotonic_s": round(time.monotonic() - age_s, 3)}


def dated(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Events with their moment beside their age."""
    return [{**moment(row["age_s"]), **row} for row in rows]


def text(value: object, oneline: bool) -> str:
    """As it is printed; names of links may be anything, so all but ASCII is escaped."""
    return json.dumps(value) if oneline else json.dumps(value, indent=2)
