"""A look at a team, for `watch`: what was learned at one moment, and what is to be said of each port. Pure."""

from __future__ import annotations

import time
from dataclasses import field
from enum import Enum
from typing import Any

from pyteamd.cli.pyteamdctl.watch_lines import Line, Style
from pyteamd.values import dataclass

ON_ITS_WAY = frozenset(
    (
        *("holding", "not_heard_yet", "fallback_delay", "wait_to_restore", "wait_while", "leaving", "damped"),
        "partner_not_collecting",
    )
)
"""Causes (docs/watch.md) that end by themselves, or with the partner's next step."""


class Health(Enum):
    """How a port is doing, worst first; the value is the place in the order."""

    BROKEN = 0
    DOUBTFUL = 1
    WAITING = 2
    CARRYING = 3
    STANDBY = 4

    @property
    def style(self) -> Style:
        """How it looks."""
        return Style[self.name]


@dataclass(frozen=True, slots=True)
class TeamLook:
    """What was learned of a team at one moment, all texts printable."""

    team: str
    at_s: float
    """Monotonic."""
    wall_s: float
    state: dict[str, Any]
    reasons: list[dict[str, Any]]
    history: list[dict[str, Any]]
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Octets received and sent by name of a link, the team's own included, where the kernel tells."""
    carrier: bool | None = None
    """Of the team device; None when the kernel does not tell."""

    def port(self, name: str) -> dict[str, Any] | None:
        """Its part of the state."""
        found: dict[str, Any] | None = self.state.get("ports", {}).get(name)
        return found


def health(row: dict[str, Any]) -> Health:
    """How the port of a reason is doing."""
    why = row.get("cause", "")
    if row["carrying"]:
        return Health.DOUBTFUL if row.get("doubt") else Health.CARRYING
    if why == "standby":
        return Health.STANDBY
    return Health.WAITING if why in ON_ITS_WAY else Health.BROKEN


def word(row: dict[str, Any]) -> str:
    """The same in a word or two."""
    if row["carrying"]:
        return f"carries, {row['doubt']}" if row.get("doubt") else "carries"
    return str(row.get("cause") or "carries nothing").replace("_", " ")


def sentence(row: dict[str, Any]) -> str:
    """What explain says, without the name."""
    return str(row["text"]).removeprefix(f"{row['port']}: ")


def event_line(wall_s: float, row: dict[str, Any]) -> Line:
    """One event with the time of the day."""
    style = {"error": Style.BROKEN, "warning": Style.DOUBTFUL}.get(str(row.get("level")), Style.PLAIN)
    return Line((f"  {clock(wall_s - row['age_s'])}  ", Style.FAINT), (str(row["text"]), style))


def clock(wall_s: float) -> str:
    """The time of the day here."""
    return time.strftime("%H:%M:%S", time.localtime(wall_s))
