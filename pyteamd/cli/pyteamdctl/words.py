"""The words of a command line: which verb they call, by the rules of teamdctl."""

from __future__ import annotations

from pyteamd.cli.getopt_long import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from pyteamd.cli.pyteamdctl.verbs import Verb

    Run: TypeAlias = Callable[..., int]
    """Do what these words say, and write the answer there: words, output, and errors if they go elsewhere than those of the program."""

LIST, JSON = "list", "--json"
NOT_PERMITTED = "only root may ask a team's daemon; try it with sudo"
OPTIONS_HELP = """\
    -h --help                Show this help
    -v --verbose             Increase output verbosity
    -o --oneline             Force output to one line if possible
    -D --force-dbus          Force to use D-Bus interface
    -Z --force-zmq=ADDRESS   Force to use ZeroMQ interface [-Z[Address]]
    -U --force-usock         Force to use UNIX domain socket interface
"""
OWN_OPTIONS_HELP = """\
    -J --json                Answer with JSON; pyteamd schema VERB describes it
    -H --host=[USER@]HOST    Ask there, through ssh; several times for several hosts
    -V --version             Show the version
"""


def split_tail(verbs: Sequence[Verb], args: list[str]) -> tuple[list[str], list[str] | None]:
    """The arguments up to a verb that takes all that follows, in full and right behind the team's name; and what follows."""
    operands = [at for at, arg in enumerate(args) if not arg.startswith("-")]
    for verb in verbs:
        places = operands[1 : 1 + len(verb.words)]
        if verb.tail and tuple(args[at] for at in places) == verb.words:
            return args[: places[-1] + 1], args[places[-1] + 1 :]
    return args, None


def find_verb(verbs: Sequence[Verb], words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb that the words call, and its parameters. Raises UsageError.

    A verb that takes fewer parameters than there are words left is passed over for a longer one.
    """
    rest = list(words)
    path: tuple[str, ...] = ()
    while rest:
        word = rest.pop(0)
        depth = len(path)
        longer = (verb.words for verb in verbs if verb.words[:depth] == path and len(verb.words) > depth)
        name = next((words[depth] for words in longer if words[depth].startswith(word)), None)
        if name is None:
            raise UsageError(f'Unknown command "{word}".')
        path += (name,)
        for verb in verbs:
            if verb.words == path and len(verb.params) >= len(rest):
                if missing := verb.params[len(rest) :]:
                    raise UsageError(f'Command line parameter "{missing[0]}" expected.')
                return verb, rest
    raise UsageError("None or incomplete command")
