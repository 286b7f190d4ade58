"""What the daemon's answers hold, for type checkers and readers; nothing imports this at run time.

Times are ages in seconds at the moment of the answer. A later version may add keys.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Reason(TypedDict):
    """Why a port carries traffic or not."""

    port: str
    names: list[str]
    """All names of the link, the shown one first."""
    carrying: bool
    text: str
    """The whole sentence, with the port's name, since when, and what to do."""
    reason: str
    hint: str
    since_s: float | None
    cause: str
    """What keeps it from traffic, as one word, "" when it carries some; docs/watch.md has the words."""
    doubt: str
    """What the driver's counters say against a port that carries traffic: silent, errors, or "" for nothing."""


class Event(TypedDict):
    """Something that was said in the log."""

    age_s: float
    level: str
    """error, warning, info or debug."""
    port: str
    """"" when it is about the team as a whole."""
    text: str
    cause: str
    """The kind of event that it followed from; "Missed": this reader was too slow, and the text says how much it missed."""


class Compared(TypedDict):
    """One value of the kernel."""

    what: str
    wanted: Any
    has: Any
    same: bool


class Difference(TypedDict):
    """All values the daemon has an opinion on, and the writes that are still missing, in words."""

    values: list[Compared]
    missing: list[str]


class Change(TypedDict):
    """A difference between two configurations."""

    path: str
    disruption: Literal["none", "port", "team"] | str
    text: str


class Report(TypedDict):
    """What going over to a configuration changes, or is in its way."""

    applied: bool
    changes: list[Change]
    problems: list[str]
    warnings: list[str]
