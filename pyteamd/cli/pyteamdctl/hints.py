"""What to type instead, and why something was refused: said under our own name only, on the line after the error."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from pyteamd.cli.getopt_long import UsageError
from pyteamd.cli.pyteamdctl.words import LIST, find_verb
from pyteamd.client.client import Client
from pyteamd.client.transport import ClientError, DaemonError
from pyteamd.model.printable import printable

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
"""How long a reason is waited for: teamd does not know the method Reason, and answers nothing to what it does not know."""


def instead(program: str, verbs: Sequence[Verb], operands: Sequence[str]) -> str:
    """One line: what was probably meant, or where to look."""
    if found := swapped(verbs, operands):
        return f"did you mean: {program} {' '.join(found)}?"
    for verb in verbs:
        if tuple(operands[1:]) == verb.words and verb.params:
            return f"usage: {program} {operands[0]} {' '.join((*verb.words, *verb.params))}"
    if after := what_may_follow(verbs, operands[1:], len(operands) - 1):
        return f"what may follow: {after}"
    if len(operands) > 1 and (near := near_miss(verbs, operands[1:])):
        return f"did you mean: {program} {operands[0]} {near}?"
    if operands and complete(verbs, operands):
        return f"which team? {program} TEAM {' '.join(operands)}; {program} {LIST} shows them"
    if after := what_may_follow(verbs, operands[1:], 1):
        return f"what may follow: {after}"
    return f"{program} -h lists the commands"


def swapped(verbs: Sequence[Verb], operands: Sequence[str]) -> list[str]:
    """The words with the team's name moved to its place, [] when that alone does not make a command of them."""
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


def what_may_follow(verbs: Sequence[Verb], words: Sequence[str], least: int) -> str:
    """How each verb goes on that begins with these words, else with the first of them, `least` at least; "" for none."""
    for count in range(len(words), max(least, 1) - 1, -1):
        begin = tuple(words[:count])
        if found := [verb for verb in verbs if verb.words[:count] == begin and len(verb.words) > count]:
            return ", ".join(" ".join((*verb.words[count:], *verb.params, verb.tail)).rstrip() for verb in found)
    return ""


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
    told = _told(session, method) if method is not None else ""
    return told or (no_such_device(session, verb) if error.code == "NoSuchDev" else "") or error.message


def _told(session: Session, method: str) -> str:
    """What the daemon says when it is asked; "" for nothing."""
    try:
        with Client.connect(session.client.team, session.client.transport, timeout_s=REASON_S) as client:
            return str(json.loads(client.fetch("Reason", method, session.args[0]))["reason"])
    except (ClientError, ValueError, KeyError, TypeError):
        return ""


def no_such_device(session: Session, verb: Verb) -> str:
    """teamd's "No such device." with the name of it; "" where the verb names none."""
    if "PORTDEV" not in verb.params or not session.args:
        return ""
    name = printable(session.args[0])
    if verb.words in (("port", "add"), ("port", "config", "update")):
        return f"there is no link {name}; ip link shows those that there are"
    with suppress(ClientError, ValueError, AttributeError):
        return (
            f"{name} is no port of this team; its ports: {', '.join(map(printable, session.client.ports())) or 'none'}"
        )
    return f"{name} is no port of this team"
