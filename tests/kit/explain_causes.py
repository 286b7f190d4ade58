"""Every cause that keeps a port from carrying traffic, caused in the simulated world, and the port to look at.

All but one are told in commands of scenarios: explain_causes.txt. No real link that can be made at will has the limit that the one needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from explain_kit import Told, backup, told

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


def at(port: str) -> Callable[[Cause], Cause]:
    """A row of CAUSES."""

    def row(cause: Cause) -> Cause:
        CAUSES[cause.__name__] = (cause, port)
        return cause

    return row


@at("eth3")
def mtu_of_the_team_too_large() -> Told:
    made = told(backup(eth1={}, eth3={}))
    kernel = made.world.kernel
    kernel.set_mtu(made.team.view.ifindex, 9000)
    link = kernel.add_pair("eth3", "far")
    link.max_mtu = 1500
    kernel.link_changed(link)
    made.world.settle()
    return made


scripted()
