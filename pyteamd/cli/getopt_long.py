"""Command-line options read as the C library's getopt_long reads them, its messages included.

Scripts rely on it: options may stand after operands, short ones bundle (`-vo`), long ones may be shortened to any
prefix that is unique and take their argument as `--name=x` or `--name x`, `--` ends the options. The standard
library's gnu_getopt does most of this but looks at the whole line before it reports anything; the C programs act on
each option in turn, so that `-h --bogus` prints the help.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

UNKNOWN_OPTION = "unknown option."
"""What the C programs say behind that message."""
UNKNOWN = "?"
"""Given instead of an option that could not be read; the message has been issued."""


class UsageError(Exception):
    """The command line cannot be followed; the text is the whole message."""


class OptionReader:
    """Iterate over (letter, argument) in the order of the command line; `operands` is complete after the last one.

    `options` maps each long name to its letter and whether it takes an argument; every option has both forms. `warn`
    is called with each message, which begins with `program`. `permute` false stops at the first operand.
    """

    def __init__(
        self,
        program: str,
        options: Mapping[str, tuple[str, bool]],
        args: Sequence[str],
        warn: Callable[[str], object],
        *,
        permute: bool = True,
    ) -> None:
        self.operands: list[str] = []
        self._program = program
        self._options = options
        self._letters = dict(options.values())
        self._rest = list(args)
        self._warn = warn
        self._permute = permute

    def __iter__(self) -> Iterator[tuple[str, str]]:
        while self._rest:
            arg = self._rest.pop(0)
            if arg == "--":
                break
            if arg.startswith("--"):
                yield self._long(arg[2:])
            elif arg.startswith("-") and arg != "-":
                yield from self._bundle(arg[1:])
            else:
                self.operands.append(arg)
                if not self._permute:
                    break
        self.operands += self._rest

    def _long(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        found = [name] if name in self._options else [long for long in self._options if long.startswith(name)]
        if not found:
            return self._fail(f"unrecognized option '--{text}'")
        if len(found) > 1:
            possible = "".join(f" '--{long}'" for long in found)
            return self._fail(f"option '--{text}' is ambiguous; possibilities:{possible}")
        letter, takes_argument = self._options[found[0]]
        if equals and not takes_argument:
            return self._fail(f"option '--{found[0]}' doesn't allow an argument")
        if takes_argument and not equals:
            if not self._rest:
                return self._fail(f"option '--{found[0]}' requires an argument")
            value = self._rest.pop(0)
        return letter, value

    def _bundle(self, letters: str) -> Iterator[tuple[str, str]]:
        for position, letter in enumerate(letters, start=1):
            takes_argument = self._letters.get(letter)
            if takes_argument is None:
                # The C library sees bytes; only the first of a longer character is named.
                byte = letter.encode("utf-8", "surrogateescape")[:1].decode("utf-8", "surrogateescape")
                yield self._fail(f"invalid option -- '{byte}'")
            elif not takes_argument:
                yield letter, ""
            elif rest := letters[position:]:
                yield letter, rest
                return
            elif self._rest:
                yield letter, self._rest.pop(0)
            else:
                yield self._fail(f"option requires an argument -- '{letter}'")

    def _fail(self, message: str) -> tuple[str, str]:
        self._warn(f"{self._program}: {message}\n")
        return UNKNOWN, ""
