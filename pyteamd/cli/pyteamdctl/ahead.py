"""What stands before the team's name or in its place: --all, --host, list, and the question of a shell what may follow."""

from __future__ import annotations

from pyteamd.cli.getopt_long import UsageError
from pyteamd.cli.pyteamdctl.verbs import VERBS
from pyteamd.cli.pyteamdctl.words import JSON, LIST, find_verb, split_tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from pyteamd.cli.pyteamdctl.verbs import Verb
    from pyteamd.cli.pyteamdctl.words import Run


def run(program: str, args: Sequence[str], run: Run, out: TextIO, err: TextIO) -> int | None:
    """Do what the options before the team's name ask for. None: there are none that matter. Raises UsageError."""
    if args[0].partition("=")[0] == "--complete":
        from pyteamd.cli.complete import tell

        return tell(program, args, out)
    hosts, every, rest = read(args)
    if (hosts or every) and not rest:
        raise UsageError("None or incomplete command" if every else "No team device specified.")
    if hosts:
        from pyteamd.cli.pyteamdctl import remote

        return remote.run(hosts, (["--all"] if every else []) + rest, out, err)
    as_json = any(word in (JSON, "-J") for word in rest)
    if every and any(word in ("-h", "--help", "-V", "--version") for word in rest):
        return run(rest, out)
    if every:
        from pyteamd.cli.pyteamdctl import many_teams

        return many_teams.each_team(verb_of(rest), rest, as_json, run, out, err)
    plain = [word for word in rest if word not in (JSON, "-J", "-o", "--oneline")]
    if plain == [LIST]:
        from pyteamd.cli.pyteamdctl import many_teams

        return many_teams.list_teams(as_json, out, err)
    return None


def read(args: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """Hosts, whether --all was said, and the other words. Raises UsageError."""
    hosts, every, kept = [], False, []
    words = list(args)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-H", "--host"):
            if not words:
                raise UsageError(f"option '{word}' requires an argument")
            hosts.append(words.pop(0))
        elif word.startswith("--host="):
            hosts.append(word.removeprefix("--host="))
        elif word.startswith("-H"):
            hosts.append(word.removeprefix("-H"))
        elif word == "--all":
            every = True
        else:
            kept.append(word)
    return hosts, every, kept + words


def verb_of(words: Sequence[str]) -> Verb:
    """The verb that words without a team's name call. Raises UsageError."""
    args, tail = split_tail(VERBS, ["team", *words])
    operands = [arg for arg in args if not arg.startswith("-")]
    verb, _ = find_verb(VERBS, operands[1:])
    return next((other for other in VERBS if other.words == verb.words and other.tail), verb) if tail else verb
