"""`pyteamdctl list` and `pyteamdctl --all VERB…`: all teams whose daemon has a control socket here."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from io import StringIO

from pyteamd.cli.pyteamdctl.summary import in_a_line, summary
from pyteamd.cli.pyteamdctl.words import NOT_PERMITTED
from pyteamd.client.client import Client
from pyteamd.client.connection import default_run_dir, teams
from pyteamd.client.transport import ClientError
from pyteamd.model.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from pyteamd.cli.pyteamdctl.verbs import Verb
    from pyteamd.cli.pyteamdctl.words import Run

JSON_VERBS = (
    ("config", "dump"),
    ("config", "dump", "noports"),
    ("config", "dump", "actual"),
    ("state", "dump"),
    ("port", "config", "dump"),
)
"""Those that answer with JSON in any case."""


def found(err: TextIO) -> list[str]:
    """Teams whose daemon has a control socket here; where there are none, a line on `err`."""
    names = teams()
    if not names:
        err.write(f"no team daemon has a socket in {default_run_dir()}; start one with: pyteamd -d -t team0 -f FILE\n")
    return names


def list_teams(as_json: bool, out: TextIO, err: TextIO) -> int:
    """One line for each team: runner, what the watchers say of its ports, active port. Returns the exit code."""
    known: dict[str, dict[str, object]] = {}
    errors: dict[str, str] = {}
    denied = False
    for team in found(err):
        try:
            with Client.connect(team, "usock") as client:
                known[team] = summary(client.state())
                if not as_json:
                    out.write(f"{printable(in_a_line(team, known[team]))}\n")
        except ClientError as error:
            errors[team] = str(error)
            denied = denied or error.errno in (errno.EACCES, errno.EPERM)
        except (ValueError, KeyError, TypeError, AttributeError):
            errors[team] = "its daemon answers with what is no state"
    for team, text in errors.items():
        err.write(f"{printable(team)}: {text}\n")
    if denied:
        err.write(f"{NOT_PERMITTED}\n")
    if as_json:
        merged(known, errors, out)
    return 1 if errors else 0


def merged(teams: Mapping[str, object], errors: Mapping[str, str], out: TextIO) -> None:
    """One document for all teams."""
    from pyteamd.cli.pyteamdctl.document import moment, text

    out.write(text({**moment(0.0), "teams": teams, "errors": errors}, oneline=False) + "\n")


def each_team(verb: Verb, args: Sequence[str], as_json: bool, run: Run, out: TextIO, err: TextIO) -> int:
    """Do the same for every team. Returns the worst exit code: 0 when there is no team.

    What is for programs becomes one document, one OpenMetrics text, one stream; else each answer stands under the team's name.
    """
    words = verb.words
    if words == ("metrics",):
        return all_metrics(args, run, out, err)
    if words == ("monitor",):
        return all_events(args, as_json, run, out, err)
    if words == ("watch",) and (status := all_alive(args, err)) is not None:
        return status
    if as_json or words in JSON_VERBS:
        return all_documents(args, run, out, err)
    worst = 0
    for team in found(err):
        out.write(f"== {printable(team)}\n")
        worst = max(worst, run([team, *args], out))
    return worst


def all_alive(args: Sequence[str], err: TextIO) -> int | None:
    """The live view, beginning with all teams. Returns the exit code; None: there is no terminal for it."""
    from pyteamd.cli.pyteamdctl import watch
    from pyteamd.cli.pyteamdctl.verbs import VerbError

    if not watch.lively():
        return None
    try:
        interval_s = watch.seconds([arg for arg in args if not arg.startswith("-")][1:])
        for team in found(err):
            with suppress(ClientError), Client.connect(team, "usock") as client:
                return 0 if watch.live(client, interval_s, all_teams=True) else None
    except VerbError as error:
        err.write(f"{error}\n")
        return 1
    return None


def all_documents(args: Sequence[str], run: Run, out: TextIO, err: TextIO) -> int:
    """The documents of all teams in one."""
    told: dict[str, object] = {}
    errors: dict[str, str] = {}
    worst = 0
    for team in found(err):
        complaint = StringIO()
        status, text = captured(run, [team, *args], complaint)
        err.write(complaint.getvalue())
        worst = max(worst, status)
        try:
            told[team] = json.loads(text)
        except ValueError:
            errors[team] = next(iter(complaint.getvalue().splitlines()), "no JSON came")
    merged(told, errors, out)
    return worst


def all_metrics(args: Sequence[str], run: Run, out: TextIO, err: TextIO) -> int:
    """The metrics of all teams in one text: the samples of a family stand together, under one help line."""
    families: dict[str, list[str]] = {}
    worst = 0
    for team in found(err):
        status, text = captured(run, [team, *args])
        worst = max(worst, status)
        samples: list[str] = []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                samples = families.setdefault(line, [])
                fresh = not samples
            elif line.startswith("#"):
                if line.startswith("# HELP ") and fresh:
                    samples.append(line)
            else:
                samples.append(line)
    for kind, rows in families.items():
        out.write("".join(f"{row}\n" for row in (kind, *rows)))
    out.write("# EOF\n")
    return worst


def all_events(args: Sequence[str], as_json: bool, run: Run, out: TextIO, err: TextIO) -> int:
    """The events of all teams as they happen, each line with the name of its team, until all daemons have ended."""
    from threading import Thread

    statuses: list[int] = []

    def follow(team: str) -> None:
        prefix = "" if as_json else f"{printable(team)}: "
        statuses.append(run([team, *args], Prefixed(out, prefix)))

    threads = [Thread(target=follow, args=(team,), daemon=True) for team in found(err)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(statuses, default=0)


class Prefixed:
    """A stream whose whole lines go on to another one, each with the same beginning."""

    def __init__(self, out: TextIO, prefix: str) -> None:
        self._out = out
        self._prefix = prefix

    def write(self, text: str) -> int:
        """Whole lines; one call each, so that lines of several threads do not mix."""
        self._out.write("".join(f"{self._prefix}{line}\n" for line in text.splitlines()))
        return len(text)

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return self._out.isatty()


def captured(run: Run, words: Sequence[str], *errors: TextIO) -> tuple[int, str]:
    """Exit code and output."""
    out = StringIO()
    return run(words, out, *errors), out.getvalue()
