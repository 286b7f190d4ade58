"""The verbs `config apply`, `config confirm`, `config revert`: go over to another configuration, for good or on trial."""

from __future__ import annotations

import errno
import json

from pyteamd.cli.given_file import octets_of
from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.model.limits import LONGEST_TRIAL_S
from pyteamd.model.printable import printable, printable_tree

DRY_RUN, DRY_RUN_OPTION, CONFIRM_OPTION = "dry-run", "--dry-run", "--confirm"
UNCHANGED = "nothing was changed; look at the file with: pyteamd check"
USAGE = (
    "usage: config apply FILE [--dry-run | --confirm SECONDS]   "
    "for instance: pyteamdctl team0 config apply /etc/pyteamd/team0.conf --confirm 60"
)


def config_apply(session: Session) -> None:
    """Apply a file as a whole, or say everything that is wrong with it and change nothing."""
    path, how = words_of(list(session.args))
    try:
        text = octets_of(0 if path == "-" else path).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise VerbError(error.errno or errno.EIO, f"cannot read {path}: {error.strerror}") from None
    if not text.strip():
        what = "standard input had nothing in it" if path == "-" else f"{path}: there is nothing in it"
        raise VerbError(errno.EINVAL, f"{what}; nothing was changed")
    if path.lower().endswith(".json") and text.lstrip()[:1] != "{":
        from pyteamd.schema.slips import NAMED_JSON  # the daemon does not hear the name

        raise VerbError(errno.EINVAL, f"{path}: error: {NAMED_JSON}\n{UNCHANGED} {path}")
    report = json.loads(session.client.fetch("ConfigApply", text, how))
    if session.json:
        session.print_document(**report)
    elif session.oneline:
        session.print_json(report)
    else:
        report = printable_tree(report)
        for change in report["changes"]:
            session.print(change["text"])
        for line in report["warnings"]:
            session.print(located(path, line))
    if report["problems"]:
        told = "\n".join(located(path, line) for line in report["problems"])
        raise VerbError(errno.EINVAL, f"{told}\n{UNCHANGED} {path}")
    if not (session.oneline or session.json):
        session.print(summary(report, how, path, session.client.team))


def located(path: str, line: str) -> str:
    """A problem as the daemon tells it, with the file's name; one without a place in the text is an error of the whole."""
    line = printable(line)
    return f"{path}:{line}" if line[:1].isdigit() else f"{path}: error: {line.removeprefix('error: ')}"


def words_of(words: list[str]) -> tuple[str, str]:
    """The file, and how the daemon is to apply it. Raises VerbError."""
    how, path = "", ""
    while words:
        word = words.pop(0)
        option, sign, value = word.partition("=")
        if word in ("-n", DRY_RUN_OPTION) and not how:
            how = DRY_RUN
        elif option == CONFIRM_OPTION and not how and (sign or words):
            how = f"confirm {seconds_of(value if sign else words.pop(0)):g}"
        elif path or word.startswith("--"):
            raise VerbError(errno.EINVAL, USAGE)
        else:
            path = word
    if not path:
        raise VerbError(errno.EINVAL, USAGE)
    return path, how or "apply"


def seconds_of(text: str) -> float:
    """How long one has to confirm. Raises VerbError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TRIAL_S:
        raise VerbError(
            errno.EINVAL, f"--confirm {text}: must be seconds, more than 0 and at most {LONGEST_TRIAL_S:.0f}"
        )
    return seconds


def config_confirm(session: Session) -> None:
    """Keep what `config apply --confirm` brought."""
    session.client.fetch("ConfigConfirm", "keep")
    _told(session, True, "confirmed: the configuration stays")


def config_revert(session: Session) -> None:
    """Take back at once what `config apply --confirm` brought."""
    session.client.fetch("ConfigConfirm", "revert")
    _told(session, False, "taken back: the configuration before is in force")


def _told(session: Session, confirmed: bool, text: str) -> None:
    if session.json:
        session.print_document(confirmed=confirmed)
    else:
        session.print(text)


def summary(report: dict[str, list[str]], how: str, path: str, team: str) -> str:
    """The last line."""
    count = len(report["changes"])
    if not count:
        return "nothing differs"
    changes = f"{count} change{'s' if count > 1 else ''}"
    if how == DRY_RUN:
        return f"{changes}; apply with: pyteamdctl {team} config apply {path}"
    if how == "apply":
        return f"{changes} in force"
    return f"{changes} in force for {how.removeprefix('confirm ')} s; keep with: pyteamdctl {team} config confirm"
