"""Command lines that teach: a parser whose help ends with examples, one a line, ready to be copied, and whose errors are one line."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pyteamd.cli.exit_status import USAGE

COLUMNS = 79


class Parser(argparse.ArgumentParser):
    """An error is one line and one hint, without the usage."""

    capture = False
    """Instead of parsing, hand the parser to a caller that wants to know what a command takes (see `parser_of`)."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse, whose other methods that parse call this one."""
        if Parser.capture:
            raise Captured(self)
        self._given = [str(word) for word in args or ()]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """See argparse, which reports a missing argument and not the unknown option that may be its cause."""
        if message.startswith("the following arguments are required"):
            unknown = [
                word for word in self._given if word.startswith("--") and not self._known(word.partition("=")[0])
            ]
            message = f"unrecognized arguments: {' '.join(unknown)}" if unknown else message
        self.exit(USAGE, f"{self.prog}: {message}\n{self.prog} -h explains the options\n")

    def _known(self, option: str) -> bool:
        return any(known.startswith(option) for known in self._option_string_actions)


class Captured(Exception):
    """Raised in place of parsing, with the parser of the command."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


def parser(program: str, description: str, *examples: str, notes: str = "") -> Parser:
    shown = [textwrap.fill(notes, COLUMNS), ""] if notes else []
    shown += ["example:" if len(examples) == 1 else "examples:", *[f"  {example}" for example in examples]]
    return Parser(
        program,
        description=textwrap.fill(description, COLUMNS),
        epilog="\n".join(shown),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parser_of(command: Callable[[Sequence[str], str], int], program: str) -> Parser:
    """The parser that a command makes for itself."""
    Parser.capture = True
    try:
        command([], program)
    except Captured as found:
        return found.parser
    finally:
        Parser.capture = False
    sys.exit(f"{program}: no parser")  # pragma: no cover
