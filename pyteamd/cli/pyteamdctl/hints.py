"""What to type instead, and why something was refused: said under our own name only, on the line after the error."""

from __future__ import annotations

import json
import os

from pyteamd.cli.pyteamdctl.words import LIST, UsageError, find_verb
from pyteamd.client.client import Client
from pyteamd.client.transport import ClientError, DaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyteamd.cli.pyteamdctl.verbs import Session, Verb, VerbError

LINKS = "/sys/class/net"
EXPLAINED: dict[tuple[str, ...], str] = {
    ("state", "item", "get"): "StateItemValueGet",
    ("state", "item", "set"): "StateItemValueSet",
    ("port", "config", "update"): "PortConfigUpdate",
    ("port", "add"): "PortAdd",
}
REASON_S = 0.5
"""Another daemon does not know the method Reason, and teamd answers nothing to what it does not know."""


def instead(program: str, verbs: Sequence[Verb], operands: Sequence[str]) -> str:
    """One line: what was probably meant, or where to look."""
    if found := swapped(verbs, operands):
        return f"did you mean: {program} {' '.join(found)}?"
    for verb in verbs:
        if tuple(operands[1:]) == verb.words and verb.params:
            return f"usage: {program} {operands[0]} {' '.join((*verb.words, *verb.params))}"
    if len(operands) > 1 and (near := near_miss(verbs, operands[1:])):
        return f"did you mean: {program} {operands[0]} {near}?"
    if operands and complete(verbs, operands):
        return f"which team? {program} TEAM {' '.join(operands)}; {program} {LIST} shows them"
    return f"{program} -h lists the commands"


def swapped(verbs: Sequence[Verb], operands: Sequence[str]) -> list[str]:
    """The words with the team's name in its place, [] when it is not just that."""
    there = known()
    if not operands or operands[0] in there:
        return []
    for at, word in enumerate(operands):
        rest = [*operands[:at], *operands[at + 1 :]]
        if at and word in there and complete(verbs, rest):
            return [word, *rest]
    return []


def known() -> set[str]:
    """Names of teams and links here."""
    from pyteamd.client.connection import teams

    try:
        return {*teams(), *os.listdir(LINKS)}
    except OSError:
        return set(teams())


def complete(verbs: Sequence[Verb], words: Sequence[str]) -> bool:
    """Whether the words are a whole command without the team's name."""
    if any(verb.tail and tuple(words[: len(verb.words)]) == verb.words for verb in verbs):
        return True
    try:
        find_verb(verbs, words)
    except UsageError:
        return False
    return True


def near_miss(verbs: Sequence[Verb], words: Sequence[str]) -> str:
    """The verb that these words are nearly; "" for none."""
    from difflib import get_close_matches

    known = [" ".join(verb.words) for verb in verbs]
    tries = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
    near = (get_close_matches(tried, known, 1, 0.75) for tried in tries)
    return next((found[0] for found in near if found), "")


def reason(session: Session, verb: Verb, error: VerbError | ClientError) -> str:
    """Why the daemon refused, where it has more to say than its error, which is teamd's; "" where nothing is known."""
    if not isinstance(error, DaemonError):
        return ""
    method = EXPLAINED.get(verb.words)
    if method is None:
        return error.message
    try:
        with Client.connect(session.client.team, session.client.transport, timeout_s=REASON_S) as client:
            return str(json.loads(client.fetch("Reason", method, session.args[0]))["reason"]) or error.message
    except (ClientError, ValueError, KeyError, TypeError):
        return error.message
