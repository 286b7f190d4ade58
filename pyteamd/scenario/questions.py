"""The commands of scenario scripts that ask: they answer with lines and change nothing. Docstrings as in `scenario.actions`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from pyteamd.model.desired import DIRECTIONS
from pyteamd.scenario.actions import words
from pyteamd.scenario.session import ScenarioSession


def state(session: ScenarioSession, rest: str) -> Iterable[str]:
    """state [PATH]: the state tree or a part of it, as JSON on one line."""
    tree: Any = session.world.state()
    for name in words(rest, 0, 1, "state [PATH]")[:1]:
        for step in name.split("."):
            if not isinstance(tree, dict) or step not in tree:
                return [f"no {name}"]
            tree = tree[step]
    return [json.dumps(tree, sort_keys=True)]


def view(session: ScenarioSession, rest: str) -> Iterable[str]:
    """view: one line for each port: what the daemon thinks of it, what the kernel does with it."""
    words(rest, 0, 0, "view")
    tree, options = session.world.state(), session.world.options()
    lines = []
    for name, about in tree.get("ports", {}).items():
        marks = [
            f"link {'up' if about['link']['up'] else 'down'}",
            f"watch {'up' if about['link_watches']['up'] else 'down'}",
            "enabled" if options.get(("enabled", name, 0)) == "true" else "disabled",
        ]
        if options.get(("activeport", "", 0)) == name:
            marks.append("active")
        lines.append(f"{name}: {', '.join(marks)}, address {about['ifinfo']['dev_addr']}")
    carrier = "up" if session.world.carrier() else "down"
    return [*lines, f"team: carrier {carrier}, address {tree['team_device']['ifinfo']['dev_addr']}"]


def explain(session: ScenarioSession, rest: str) -> Iterable[str]:
    """explain [PORT]: why a port carries traffic or does not, without times; all of them when none is named."""
    names = words(rest, 0, 1, "explain [PORT]")
    return [line for line in session.world.explain() if not names or line.startswith(f"{names[0]}: ")]


def options(session: ScenarioSession, rest: str) -> Iterable[str]:
    """options: the team's options as the kernel has them; without rx_enabled and tx_enabled, so that one story fits all kernels."""
    words(rest, 0, 0, "options")
    lines = []
    for (name, owner, index), value in session.world.options().items():
        if name in DIRECTIONS:
            continue
        place = f"[{index}]" if index else ""
        lines.append(f"{name}{place}{f' of {owner}' if owner else ''} = {value}")
    return lines


def diff(session: ScenarioSession, rest: str) -> Iterable[str]:
    """diff: what the daemon still wants to change."""
    words(rest, 0, 0, "diff")
    return session.world.diff() or ["no difference"]


def frames(session: ScenarioSession, rest: str) -> Iterable[str]:
    """frames PORT: frames sent on it since the last `frames`, one a line, with the time since the first of them."""
    name = words(rest, 1, 1, "frames PORT")[0]
    mine = [frame for frame in session.frames if frame.port == name]
    session.frames = [frame for frame in session.frames if frame.port != name]
    return [f"+{frame.at - mine[0].at:.3f} {frame.text}" for frame in mine]


def notes(session: ScenarioSession, rest: str) -> Iterable[str]:
    """notes: all notes since the last `notes`, without times."""
    words(rest, 0, 0, "notes")
    told, session.notes = session.notes, []
    return [f"{note.kind:<7} {note.text}" for note in told]


QUESTIONS: dict[str, Callable[[ScenarioSession, str], Iterable[str]]] = {
    "state": state,
    "view": view,
    "explain": explain,
    "options": options,
    "diff": diff,
    "frames": frames,
    "notes": notes,
}
