"""The verb `config apply`: show what another configuration would change, and go over to it."""

from __future__ import annotations

import errno
import json

from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.model.printable import printable, printable_tree

USAGE = (
    "usage: config apply FILE [--dry-run]   for instance: pyteamdctl team0 config apply /etc/teamd/team0.conf --dry-run"
)


def config_apply(session: Session) -> None:
    """Apply a file as a whole, or say everything that is wrong with it and change nothing."""
    words = [word for word in session.args if word not in ("-n", "--dry-run")]
    dry_run = len(words) < len(session.args)
    if len(words) != 1 or words[0].startswith("--"):
        raise VerbError(errno.EINVAL, USAGE)
    (path,) = words
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise VerbError(error.errno or errno.EIO, f"cannot read {path}: {error.strerror}") from None
    report = json.loads(session.client.fetch("ConfigApply", text, "dry-run" if dry_run else "apply"))
    if session.oneline:
        session.print_json(report)
    else:
        report = printable_tree(report)
        for change in report["changes"]:
            session.print(change["text"])
        for line in report["warnings"]:
            session.print(located(path, line))
    if report["problems"]:
        told = "\n".join(located(path, line) for line in report["problems"])
        raise VerbError(errno.EINVAL, f"{told}\nnothing was changed; look at the file with: pyteamd check {path}")
    if not session.oneline:
        session.print(summary(report, dry_run, path, session.client.team))


def located(path: str, line: str) -> str:
    """A problem as the daemon tells it, with the file's name; one without a place in the text is an error of the whole."""
    line = printable(line)
    return f"{path}:{line}" if line[:1].isdigit() else f"{path}: error: {line.removeprefix('error: ')}"


def summary(report: dict[str, list[str]], dry_run: bool, path: str, team: str) -> str:
    """The last line."""
    count = len(report["changes"])
    if not count:
        return "nothing differs"
    changes = f"{count} change{'s' if count > 1 else ''}"
    return f"{changes}; apply with: pyteamdctl {team} config apply {path}" if dry_run else f"{changes} in force"
