"""The commands of pyteamd beside teamd's options: one table. Modules are imported when their command is given."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One row of the table: `run(arguments, program) -> exit code` is looked up in the module when the command is given."""

    module: str
    help: str
    function: str = "main"
    is_daemon: bool = False


SUBCOMMANDS = {
    "check": Subcommand("pyteamd.cli.pyteamd.check", "Check configuration files", "check"),
    "convert": Subcommand("pyteamd.cli.pyteamd.convert", "Turn a bond's configuration into a team's, and back"),
    "example": Subcommand("pyteamd.cli.pyteamd.check", "Print a commented configuration for a runner", "example"),
    "replay": Subcommand("pyteamd.cli.pyteamd.check", "Feed a recorded trace through the code of today", "replay"),
    "schema": Subcommand("pyteamd.cli.pyteamd.check", "Print the JSON Schema of the configuration", "schema"),
    "serve": Subcommand("pyteamd.cli.pyteamd.serve", "Run many teams in one process", is_daemon=True),
    "simulate": Subcommand("pyteamd.cli.pyteamd.simulate", "Run scenario files on simulated links, without root"),
    "timeline": Subcommand("pyteamd.cli.pyteamd.timeline", "Draw a recorded trace as an HTML page"),
}


def command(name: str) -> Callable[[Sequence[str], str], int]:
    """One of SUBCOMMANDS, imported."""
    row = SUBCOMMANDS[name]
    found: Callable[[Sequence[str], str], int] = getattr(importlib.import_module(row.module), row.function)
    return found
