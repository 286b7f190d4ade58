"""Verbs that teamdctl does not have: explain, diff, history, damping clear, trace save."""

from __future__ import annotations

import errno
import json
import os
import sys
import time

from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.model.printable import printable, printable_tree, spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GREEN, RED, YELLOW, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def explain(session: Session) -> None:
    """One sentence per port, or for the port named."""
    rows = _fetch(session, "Explain")
    if session.args:
        wanted = (spelled(session.args[0]), printable(session.args[0]))
        rows = [row for row in rows if any(name in wanted for name in (row["port"], *row.get("names", ())))]
        if not rows:
            raise VerbError(errno.ENODEV, f"{session.args[0]} is neither a port nor to be one.")
    if session.json:
        session.print_document(ports=rows)
        return
    if session.oneline:
        session.print_json(rows)
        return
    for row in rows:
        session.print(_coloured(row["text"], GREEN if row["carrying"] else YELLOW))
    if not rows:
        session.print("no ports: add one with `port add NAME`, or name them in the configuration")


def diff(session: Session) -> None:
    """What the kernel has against what we want; with -v also what agrees. Exit status 1 when something differs."""
    found = _fetch(session, "Diff")
    if session.json:
        session.print_document(**found)
    elif session.oneline:
        session.print_json(found)
    else:
        for row in found["values"]:
            if not row["same"]:
                session.print(_coloured(f"! {row['what']}: wanted {_text(row['wanted'])}, is {_text(row['has'])}", RED))
            elif session.verbosity:
                session.print(f"  {row['what']}: {_text(row['has'])}")
        if not found["missing"]:
            session.print("the kernel is as wanted")
    if found["missing"]:
        raise VerbError(errno.EAGAIN, f"{len(found['missing'])} values differ")


def history(session: Session) -> None:
    """What happened, oldest first, with the time since and the kind of event it followed from."""
    rows = _fetch(session, "History")
    if session.json:
        from pyteamd.cli.pyteamdctl.document import dated

        session.print_document(events=dated(rows))
        return
    if session.oneline:
        session.print_json(rows)
        return
    for row in rows:
        session.print(f"{ago(row['age_s']):>10}  {row['text']}  [{row['cause']}]")


def damping_clear(session: Session) -> None:
    """Forgive a port that flapped: its penalty is gone, and it is used again."""
    from pyteamd.client.transport import DaemonError

    (port,) = session.args
    try:
        session.client.set(f'ports."{port}".damping.penalty', 0)
    except DaemonError as error:
        if error.code != "PathDoesNotExist":
            raise
        raise VerbError(errno.ENOENT, f"{port} is no port with damping.half_life in its configuration") from None


def trace_save(session: Session) -> None:
    """Write the trace of the daemon to a file, for `pyteamd replay` and `pyteamd timeline`."""
    lines: list[str] = []
    start: int | None = 0
    while start is not None:
        piece = json.loads(session.client.fetch("Trace", str(start)))
        lines += piece["lines"]
        start = piece["next"]
    text = "\n".join(lines) + "\n"
    path = session.args[0] if session.args else f"{session.client.team}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    try:
        # A name of our own choice can be foretold, so in /tmp a link of another user may stand there.
        with open(path, "w" if session.args else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise VerbError(error.errno or errno.EIO, f"cannot write {path}: {error.strerror}") from None
    if session.json:
        session.print_document(file=path, steps=text.count("\n") - 1)
        return
    session.print(
        f"{text.count(chr(10)) - 1} steps written to {path}; look at them with: pyteamd timeline {path} -o FILE.html"
    )


def _fetch(session: Session, method: str) -> Any:
    answer = json.loads(session.client.fetch(method))
    return answer if session.oneline or session.json else printable_tree(answer)


def _text(value: object) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "true" if value else "false"
    return str(value)


def ago(seconds: float) -> str:
    """An age in a narrow column."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def colourful() -> bool:
    """Whether the reader sees colours, and did not say no (no-color.org)."""
    environ = os.environ
    return sys.stdout.isatty() and environ.get("TERM", "dumb") != "dumb" and not environ.get("NO_COLOR")


def _coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{PLAIN}" if colourful() else text
