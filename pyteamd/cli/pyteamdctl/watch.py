"""The verbs that look on: watch, a live view; monitor, a stream of events; metrics.

`watch` draws the whole screen anew once a second, or as often as is wanted, within the size of the terminal. Into a pipe it writes one
such picture without colours and ends, so that a script can use it. `monitor` asks the daemon for events, and the daemon answers when
there are some; nothing is kept for a client that is slow, it is told what it missed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from pyteamd.cli.pyteamdctl.inspect import colourful
from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.client.transport import CallFailed
from pyteamd.model.printable import printable_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
SCREEN, BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
GREEN, RED, YELLOW, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
INTERVAL_S, SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 0.1, 86400.0
FEWEST_COLUMNS, FEWEST_LINES = 40, 10
MOST_TRANSITIONS = 30


def events(session: Session) -> Iterator[dict[str, Any]]:
    """Answers of the daemon, from now on."""
    start = json.loads(session.client.fetch("Events", "now"))["next"]
    while True:
        found = json.loads(session.client.fetch("Events", str(start)))
        start = found["next"]
        yield found


def watch(session: Session) -> None:
    """The live view, or one picture of it into a pipe."""
    interval_s = seconds(session.args)
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        for line in picture(session, shutil.get_terminal_size((80, 24)).columns, 1000, {}):
            session.print(line)
        return
    before: dict[str, tuple[float, int, int]] = {}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal has to be given back
    session.out.write(SCREEN)
    try:
        while True:
            columns, lines = shutil.get_terminal_size()
            shown = picture(session, max(columns, FEWEST_COLUMNS), max(lines, FEWEST_LINES), before)
            paint = colour if colourful() else lambda line, first: line
            coloured = "".join(f"{paint(line, not number)}{CLEAR_LINE}\r\n" for number, line in enumerate(shown))
            session.out.write(f"{HOME}{coloured}{CLEAR_BELOW}")
            session.out.flush()
            time.sleep(interval_s)
    except (KeyboardInterrupt, CallFailed):
        return
    finally:
        session.out.write(BACK)
        session.out.flush()


def seconds(words: Sequence[str]) -> float:
    """How long `watch` waits between two pictures. Raises VerbError."""
    with suppress(ValueError):
        interval_s = float(words[0]) if words else INTERVAL_S
        if len(words) < 2 and 0 <= interval_s <= LONGEST_INTERVAL_S:  # not so for nan
            return max(SHORTEST_INTERVAL_S, interval_s)
    raise VerbError(
        22, f"usage: watch [SECONDS], up to {LONGEST_INTERVAL_S:.0f}   for instance: pyteamdctl team0 watch 0.5"
    )


def picture(session: Session, columns: int, lines: int, before: dict[str, tuple[float, int, int]]) -> list[str]:
    """The view as lines without colour, none longer than `columns`. `before` holds the octet counters of the last call."""
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
        shown.append(f"{mark} {row['port']:<{width}}  {describe(port)}{rates(row['port'], before)}")
        text = row["text"].removeprefix(f"{row['port']}: ")
        shown += [f"    {piece}" for piece in folded(text, columns - 4)]
        if port and (partner := partner_of(port)) and partner.split()[1] not in text:
            shown += [f"    {piece}" for piece in folded(partner, columns - 4)]
    shown += ["", "last transitions:"]
    room = max(1, lines - len(shown) - 1)
    shown += [f"{ago(row['age_s']):>8}  {row['text']}" for row in history[-min(room, MOST_TRANSITIONS) :]] or [
        "  none yet"
    ]
    return [line[:columns] for line in shown[: lines - 1]]


def header(team: str, state: Mapping[str, Any]) -> str:
    """The first line."""
    active = state.get("runner", {}).get("active_port")
    place = f", active port {active}" if active else ""
    return f"{team}: {state['setup']['runner_name']}{place}, {state['team_device']['ifinfo']['dev_addr']}"


def describe(port: Mapping[str, Any] | None) -> str:
    """Link and verdict of a port."""
    if port is None:
        return "no port"
    link = f"{port['link']['speed']} Mbit/s {port['link']['duplex']}" if port["link"]["up"] else "no link"
    return f"{link}, watch {'up' if port['link_watches']['up'] else 'down'}"


def partner_of(port: Mapping[str, Any]) -> str:
    """The LACP partner, where there is one."""
    told = port.get("runner", {}).get("partner_lacpdu_info")
    if not told:
        return ""
    from pyteamd.wire.lacpdu import describe_state

    return f"partner {told['system']} key {told['key']}: {describe_state(told['state'])}"


def rates(name: str, before: dict[str, tuple[float, int, int]]) -> str:
    """Traffic of a link since the last look, from the kernel's counters; "" the first time."""
    try:
        counters = [Path(f"/sys/class/net/{name}/statistics/{which}_bytes").read_text() for which in ("rx", "tx")]
    except OSError:
        return ""
    now, received, sent = time.monotonic(), int(counters[0]), int(counters[1])
    last, before[name] = before.get(name), (now, received, sent)
    if last is None or now <= last[0]:
        return ""
    seconds = now - last[0]
    return f", in {bits((received - last[1]) / seconds)}, out {bits((sent - last[2]) / seconds)}"


def bits(octets_per_s: float) -> str:
    """A rate for a person."""
    rate = 8 * octets_per_s
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if rate < 1000:
            return f"{rate:.0f} {unit}"
        rate /= 1000
    return f"{rate:.1f} Gbit/s"


def folded(text: str, columns: int) -> list[str]:
    """A sentence in lines of at most so many columns."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def ago(seconds: float) -> str:
    """An age in a narrow column."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def colour(line: str, first: bool) -> str:
    """Colours by what a line begins with; the first one is the team's."""
    if first:
        return f"{BOLD}{line}{PLAIN}"
    shade = {"* ": GREEN, "- ": YELLOW}.get(line[:2])
    return f"{shade}{line}{PLAIN}" if shade else line
