"""The verb `watch`: a live view in a terminal, or one picture of it into a pipe.

In a terminal curses draws (watch_screen) what the view says (watch_view) of what the daemon and the kernel tell (watch_source). Without a
terminal, with TERM=dumb or one that nobody knows, and where Python has no curses, it writes one picture without colours and ends, so
that a script can use it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import suppress

from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.model.printable import printable_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from pyteamd.client.client import Client

INTERVAL_S, SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 0.1, 86400.0
MOST_TRANSITIONS = 30


def events(session: Session) -> Iterator[dict[str, Any]]:
    """Answers of the daemon, from now on."""
    start = json.loads(session.client.fetch("Events", "now"))["next"]
    while True:
        found = json.loads(session.client.fetch("Events", str(start)))
        start = found["next"]
        yield found


def watch(session: Session) -> None:
    """The live view, or one picture of it."""
    interval_s = seconds(session.args)
    if not lively() or not live(session.client, interval_s):
        for line in picture(session, shutil.get_terminal_size((80, 24)).columns):
            session.print(line)


def lively() -> bool:
    """Whether there is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def live(client: Client, interval_s: float, all_teams: bool = False) -> bool:
    """The live view, until its reader leaves. False: this terminal, or this Python, cannot show it."""
    try:
        import curses

        from pyteamd.cli.pyteamdctl import watch_screen, watch_source
        from pyteamd.cli.pyteamdctl.watch_view import Page
    except ImportError:
        return False
    with suppress(ValueError, KeyError, TypeError, AttributeError):  # told on the screen
        watch_source.look(client)  # what does not answer at all is told in the usual way
    try:
        number = watch_screen.live(client, interval_s, Page.TEAMS if all_teams else Page.PORTS)
    except curses.error as error:
        if "setupterm" in str(error):
            return False
        raise
    if number is not None:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    return True


def seconds(words: Sequence[str]) -> float:
    """How long `watch` waits between two looks. Raises VerbError."""
    with suppress(ValueError):
        interval_s = float(words[0]) if words else INTERVAL_S
        if len(words) < 2 and 0 <= interval_s <= LONGEST_INTERVAL_S:  # not so for nan
            return max(SHORTEST_INTERVAL_S, interval_s)
    raise VerbError(
        22, f"usage: watch [SECONDS], up to {LONGEST_INTERVAL_S:.0f}   for instance: pyteamdctl team0 watch 0.5"
    )


def picture(session: Session, columns: int) -> list[str]:
    """The view as lines without colour, none longer than `columns`."""
    from pyteamd.cli.pyteamdctl.inspect import ago
    from pyteamd.cli.pyteamdctl.watch_lines import folded
    from pyteamd.cli.pyteamdctl.watch_port import leads_to

    client = session.client
    client.refresh()
    state, reasons, history = (
        printable_tree(json.loads(text))
        for text in (client.state_text, client.fetch("Explain"), client.fetch("History"))
    )
    ports = state.get("ports", {})
    shown = [header(client.team, state), ""]
    width = max([len(row["port"]) for row in reasons], default=4)
    for row in reasons:
        port = ports.get(row["port"])
        mark = "*" if row["carrying"] else "-"
        shown.append(f"{mark} {row['port']:<{width}}  {describe(port)}")
        text = row["text"].removeprefix(f"{row['port']}: ")
        shown += [f"    {piece}" for piece in folded(text, columns - 4)]
        if port and (partner := partner_of(port)) and partner.split()[1] not in text:
            shown += [f"    {piece}" for piece in folded(partner, columns - 4)]
        if port and (cable := leads_to(port)) not in text:
            shown.append(f"    {cable}")
    shown += ["", "last transitions:"]
    shown += [f"{ago(row['age_s']):>8}  {row['text']}" for row in history[-MOST_TRANSITIONS:]] or ["  none yet"]
    return [line[:columns] for line in shown]


def header(team: str, state: Mapping[str, Any]) -> str:
    """The first line."""
    active = state.get("runner", {}).get("active_port")
    place = f", active port {active}" if active else ""
    return f"{team}: {state['setup']['runner_name']}{place}, {state['team_device']['ifinfo']['dev_addr']}"


def describe(port: Mapping[str, Any] | None) -> str:
    """Link and verdict of a port."""
    if port is None:
        return "no port"
    link = port["link"]
    speed = f"{link['speed']} Mbit/s {link['duplex']}" if link["speed"] > 0 else "link up"
    return f"{speed if link['up'] else 'no link'}, watch {'up' if port['link_watches']['up'] else 'down'}"


def partner_of(port: Mapping[str, Any]) -> str:
    """The LACP partner, where there is one."""
    told = port.get("runner", {}).get("partner_lacpdu_info")
    if not told:
        return ""
    from pyteamd.wire.lacpdu import describe_state

    return f"partner {told['system']} key {told['key']}: {describe_state(told['state'])}"
