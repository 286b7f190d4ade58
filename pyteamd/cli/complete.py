"""What may be typed next: `PROGRAM --complete WORD…` answers the completions of bash, zsh and fish, which know nothing themselves.

`--complete=NAME` answers for the program of that name: teamd, teamdctl and teamnl cannot be asked, they know only teamd's options.

The last word is the one being typed. The first line of the answer is "files" where names of files belong, else "words"; then
one candidate a line, a tab and what it means. What a running daemon knows (ports, paths of items) is asked of it, for ASK_S at most.
"""

from __future__ import annotations

import json
import os
import re

from pyteamd.model.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TextIO

    from pyteamd.cli.pyteamdctl.verbs import Verb

FILES, WORDS = "files", "words"
ASK_S = 0.5
LINKS = "/sys/class/net"
Row = tuple[str, str]
"""A candidate, and what it means."""


def tell(program: str, words: Sequence[str], out: TextIO) -> int:
    """Write the answer to `--complete[=NAME] WORD…`. Returns the exit code."""
    option, *rest = words
    *before, typed = rest or [""]
    kind, rows = COMPLETIONS.get(option.partition("=")[2] or program, of_pyteamdctl)(before, typed)
    out.write(f"{kind}\n")
    out.writelines(f"{printable(word)}\t{printable(meaning)}\n" for word, meaning in rows if word.startswith(typed))
    return 0


# -- pyteamdctl --------------------------------------------------------------------------------------------------------


def of_teamdctl(before: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """Options, teams and verbs of teamdctl, and what they take."""
    from pyteamd.cli.pyteamdctl.verbs import VERBS
    from pyteamd.cli.pyteamdctl.words import OPTIONS_HELP

    operands = [word for word in before if not word.startswith("-")]
    if operands:
        return of_verb([verb for verb in VERBS if not verb.extra], operands[0], operands[1:], typed)
    return WORDS, rows_of_help(OPTIONS_HELP) if typed.startswith("-") else [(team, "team") for team in teams()]


def of_pyteamdctl(before: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """The same for pyteamdctl, with what stands before a team or in its place."""
    from pyteamd.cli.pyteamdctl.verbs import VERBS
    from pyteamd.cli.pyteamdctl.words import OPTIONS_HELP, OWN_OPTIONS_HELP

    if before and before[-1] in ("-H", "--host"):
        return WORDS, []
    hosts = [at for at, word in enumerate(before) if word in ("-H", "--host")]
    said = [word for at, word in enumerate(before) if at - 1 not in hosts and at not in hosts]
    operands = [word for word in said if not word.startswith("-")]
    if "--all" in said:
        operands.insert(0, "")
    if operands == ["list"]:
        return WORDS, [("--json", "one document")]
    if not operands:
        if typed.startswith("-"):
            return WORDS, [*rows_of_help(OPTIONS_HELP + OWN_OPTIONS_HELP), ("--all", "every team")]
        return WORDS, [*[(team, "team") for team in teams()], ("list", "all teams whose daemon runs here")]
    return of_verb(VERBS, operands[0], operands[1:], typed)


def of_verb(verbs: Sequence[Verb], team: str, words: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """What may follow the name of a team (or --all) and these words."""
    following: dict[str, str] = {}
    plain = typed.startswith("-") and not any(
        verb.tail and tuple(words[: len(verb.words)]) == verb.words for verb in verbs
    )
    if plain:
        return WORDS, [("--json", "answer with JSON")] if words else []
    for verb in verbs:
        count = len(verb.words)
        if tuple(words[:count]) == verb.words:
            given = words[count:]
            if verb.tail:
                return of_tail(verb, given, typed)
            if len(given) < len(verb.params):
                return of_parameter(team, verb.params[len(given)].strip("[]"), verb, given)
        elif len(words) < count and verb.words[: len(words)] == tuple(words):
            following[verb.words[len(words)]] = ""
    return WORDS, [*following.items()]


def of_tail(verb: Verb, given: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """A verb with options of its own."""
    from pyteamd.cli.pyteamdctl.balance import FLOW_KEYS

    options: dict[str, tuple[str, ...]] = {
        "config": ("--dry-run", "--confirm", "--json"),
        "hash": (*(f"--{key}" for key in FLOW_KEYS), "--json"),
    }
    if verb.words[0] == "config" and not typed.startswith("-"):
        waiting = given[-1:] == ["--confirm"] or any(not word.startswith("-") for word in given)
        return (WORDS if waiting else FILES), []
    return WORDS, [(option, "") for option in options.get(verb.words[0], ("--json",)) if option not in given]


def of_parameter(team: str, parameter: str, verb: Verb, given: Sequence[str]) -> tuple[str, list[Row]]:
    """Candidates for one parameter of a verb."""
    match parameter:
        case "FILE":
            return FILES, []
        case "PORTDEV" if verb.words == ("port", "add"):
            return WORDS, [(name, "link") for name in sorted(links() - {*ports(team), team})]
        case "PORTDEV":
            return WORDS, [(name, "port") for name in ports(team)]
        case "ITEMPATH":
            state = state_of(team)
            wanted = settable_in(state) if verb.words[-1] == "set" else lambda path: True
            return WORDS, [(path, value) for path, value in leaves(state) if wanted(path)]
        case "VALUE" if given[-1] == "runner.active_port":
            return WORDS, [(name, "port") for name in ports(team)]
        case "VALUE" if given[-1].endswith(".selected"):
            return WORDS, [("true", "")]
        case "VALUE" if given[-1].endswith(".damping.penalty"):
            return WORDS, [("0", "forgives")]
    return WORDS, []


def settable_in(state: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether an item of this state can be set at all."""
    from pyteamd.runners import RUNNERS
    from pyteamd.runners.base import SETTABLE

    runner = state.get("setup", {}).get("runner_name")
    paths = {*SETTABLE, *(RUNNERS[runner].settable if runner in RUNNERS else ())}
    return lambda path: re.sub(r'^ports\.("[^"]*"|[^.]*)', "ports.PORT", path) in paths


def state_of(team: str) -> Mapping[str, Any]:
    """The state of a team, {} when nobody answers."""
    from pyteamd.client.client import Client
    from pyteamd.client.transport import ClientError

    try:
        with Client.connect(team, "usock", timeout_s=ASK_S) as client:
            state = json.loads(client.fetch("StateDump"))
    except (ClientError, ValueError, OSError):
        return {}
    return state if isinstance(state, dict) else {}


def leaves(tree: Mapping[str, Any], way: str = "") -> Iterator[Row]:
    """Paths of all items, and their values."""
    for key, value in tree.items():
        name = f'"{key}"' if way == "ports" and "." in key else key
        path = f"{way}.{name}" if way else name
        if isinstance(value, dict):
            yield from leaves(value, path)
        else:
            yield path, str(value)


def ports(team: str) -> list[str]:
    return list(state_of(team).get("ports", {}))


def teams() -> list[str]:
    """Teams whose daemon has a socket here."""
    from pyteamd.client.connection import teams as found

    return found()


def links() -> set[str]:
    try:
        return set(os.listdir(LINKS))
    except OSError:
        return set()


def rows_of_help(text: str) -> list[Row]:
    """Long options of a help text: `-o --oneline   what it does`."""
    rows = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].startswith("--"):
            rows.append((words[1].partition("=")[0].partition("[")[0], " ".join(words[2:])))
    return rows


# -- pyteamd -----------------------------------------------------------------------------------------------------------


def of_pyteamd(before: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """Commands of our own, teamd's options, and what each takes."""
    from pyteamd.cli.pyteamd.commands import SUBCOMMANDS

    if before and before[0] in SUBCOMMANDS:
        return of_subcommand(before[0], before[1:], typed)
    kind, rows = of_teamd(before, typed)
    return kind, rows if before or typed.startswith("-") else [(name, row.help) for name, row in SUBCOMMANDS.items()]


def of_teamd(before: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """teamd's options."""
    from pyteamd.cli.pyteamd import options

    named = {word: option for option in options.COMMAND_OPTIONS for word in (f"-{option.short}", f"--{option.long}")}
    option = named.get(before[-1]) if before else None
    match option.metavar if option else "":
        case "FILE":
            return FILES, []
        case "OUTPUT":
            return WORDS, [(output, "") for output in ("stdout", "stderr", "syslog")]
        case "TEXT" | "ADDRESS":
            return WORDS, []
        case "DEVNAME":
            return WORDS, [(team, "team") for team in teams()]
    if typed.startswith("-"):
        return WORDS, [(f"--{option.long}", option.help) for option in options.COMMAND_OPTIONS]
    return WORDS, []


def of_subcommand(name: str, given: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """What its parser says it takes."""
    from pyteamd.cli.pyteamd import help as helptext
    from pyteamd.cli.pyteamd.commands import command

    actions = helptext.parser_of(command(name), name)._actions
    options = {option: action for action in actions for option in action.option_strings}
    last = options.get(given[-1]) if given else None
    if last is not None and last.nargs != 0:
        return of_action(last.choices, str(last.metavar or last.dest).upper())
    if typed.startswith("-"):
        return WORDS, [(option, action.help or "") for option, action in options.items() if option.startswith("--")]
    count = 0
    for before, word in zip(("", *given), given, strict=False):
        takes = options.get(before)
        count += not word.startswith("-") and (takes is None or takes.nargs == 0)
    if name == "schema":
        return WORDS, following_words(given)
    places = [action for action in actions if not action.option_strings]
    if not places or (count >= len(places) and places[-1].nargs in (None, "?")):
        return WORDS, []
    place = places[min(count, len(places) - 1)]
    return of_action(place.choices, str(place.metavar or place.dest).upper())


def following_words(given: Sequence[str]) -> list[Row]:
    """What may follow in the name of an answer's schema."""
    from pyteamd.cli.schemas import SCHEMAS

    names = [name.split() for name in SCHEMAS]
    count = len(given)
    return [
        (word, "") for word in dict.fromkeys(name[count] for name in names if name[:count] == [*given] and name[count:])
    ]


def of_action(choices: Iterable[object] | None, metavar: str) -> tuple[str, list[Row]]:
    """The choices of an argument, or files where its name says that it is a file."""
    from pyteamd.model.registry import Registry

    if isinstance(choices, Registry):
        return WORDS, [(name, cls.summary) for name, cls in choices.items()]
    if choices is not None:
        return WORDS, [(str(choice), "") for choice in choices]
    return (FILES if any(word in metavar for word in ("FILE", "DIR", "TRACE")) else WORDS), []


# -- pyteamnl ----------------------------------------------------------------------------------------------------------


def of_pyteamnl(before: Sequence[str], typed: str) -> tuple[str, list[Row]]:
    """Links, commands, names of options."""
    from pyteamd.cli.pyteamnl.words import COMMANDS, OPTION_HELP

    valued = ("-p", "--port_name", "-a", "--array_index")
    if before and before[-1] in valued:
        return WORDS, [(name, "link") for name in sorted(links())] if before[-1] in valued[:2] else []
    operands = [
        word for at, word in enumerate(before) if not word.startswith("-") and not (at and before[at - 1] in valued)
    ]
    if typed.startswith("-"):
        return WORDS, [(typed_.split()[1].partition("=")[0], text) for typed_, text in OPTION_HELP]
    match operands:
        case []:
            return WORDS, [(name, "link") for name in sorted({*links(), *teams()})]
        case [_]:
            return WORDS, [(name, text) for name, _, text in COMMANDS]
        case [_, "getoption" | "setoption"]:
            from pyteamd.kernel.option_table import OPTIONS

            return WORDS, [(name, option.help) for name, option in OPTIONS.items()]
        case [_, "monitor"]:
            return WORDS, [("changed", "what changed"), ("all", "the whole lists each time")]
    return WORDS, []


COMPLETIONS = {
    "pyteamd": of_pyteamd,
    "pyteamdctl": of_pyteamdctl,
    "pyteamnl": of_pyteamnl,
    "teamd": of_teamd,
    "teamdctl": of_teamdctl,
    "teamnl": of_pyteamnl,
}
