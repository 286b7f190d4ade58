"""Every cause that keeps a port from carrying traffic, as commands of scenarios (explain_causes.txt), and the port to look at."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from explain_kit import Told

from pyteamd.scenario.script import run

Cause = Callable[[], Told]
CAUSES: dict[str, tuple[Cause, str]] = {}
"""Name → what to do, and the port to look at."""


HEADING = re.compile(r"(= )?(\w+)(?: ([\w.]+))?(?:: (\w+))?")
"""The name of a beginning, or of a cause with its port; and what it begins with."""


def scripted() -> None:
    """Rows of CAUSES from the text."""
    beginnings: dict[str, list[str]] = {}
    _, *paragraphs = Path(__file__).with_suffix(".txt").read_text().split("\n\n")
    for paragraph in paragraphs:
        heading, *commands = paragraph.strip().splitlines()
        found = HEADING.fullmatch(heading)
        assert found, heading
        beginning, name, port, before = found.groups()
        lines = [*(beginnings[before] if before else ()), *commands]
        if beginning:
            beginnings[name] = lines
        else:
            CAUSES[name] = partial(performed, lines), port


def performed(lines: list[str]) -> Told:
    """The world after these commands."""
    made = Told()
    run("\n".join(lines), lambda: made.world)
    return made


scripted()
