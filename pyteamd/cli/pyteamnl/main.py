"""pyteamnl: look at the team driver's ports and options, set options, watch them change; takes teamnl's place.

    pyteamnl [options] TEAM COMMAND…       for instance: pyteamnl team0 getoption activeport

How it works: one dump of the team (kernel.requests) answers everything but `monitor`, which then listens to the
family's events. Output and messages have teamnl's form, because scripts (the kernel's own tests among them) read them. Lists begin with
the newest entry, as libteam keeps them.
"""

from __future__ import annotations

import errno
import os
import sys

from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.cli.getopt_long import UNKNOWN, UNKNOWN_OPTION, OptionReader, UsageError
from pyteamd.cli.pyteamnl.device import INIT_FAILED, Device, Failed, option_line, port_line, value_of, value_text
from pyteamd.cli.pyteamnl.words import COMMANDS, OPTION_HELP
from pyteamd.model.printable import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

TEAMNL = "teamnl"

OPTIONS = {"help": ("h", False), "port_name": ("p", True), "array_index": ("a", True)}
EXAMPLES = ("ports", "getoption activeport", "setoption -p eth1 priority 10", "monitor changed")


class Arguments:
    """The command line as understood. `port` is "" and `index_text` None when not given."""

    def __init__(self) -> None:
        self.help = False
        self.port = ""
        self.index_text: str | None = None
        self.operands: list[str] = []


def main() -> int:
    """The program: reads sys.argv, returns the exit code."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pyteamd.cli.output import standard, undelivered

    program = os.path.basename(sys.argv[0])
    program = "pyteamnl" if program.endswith(".py") else program
    out, err = standard()
    try:
        code = run(program, sys.argv[1:], out, err)
        out.flush()
    except OSError as error:
        return undelivered(program, error, out, err)
    return code


def run(program: str, argv: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do what the command line says, as the program of that name; returns the exit code."""
    if program != TEAMNL and list(argv) in (["--version"], ["-V"]):
        from pyteamd import __version__

        out.write(f"{program} {__version__}\n")
        return OK
    if program != TEAMNL and argv and argv[0].partition("=")[0] == "--complete":
        from pyteamd.cli.complete import tell

        return tell(program, argv, out)
    try:
        arguments = read(program, argv, err)
        if arguments.help:
            out.write(help_text(program))
            return OK
        if not arguments.operands:
            raise UsageError("No team device specified.\n")
        if len(arguments.operands) == 1:
            raise UsageError("No command specified.\n")
        team, word, *rest = arguments.operands
        command = next((act for name, act in ACTIONS.items() if name.startswith(word)), None)
        if command is None:
            raise UsageError(f'Unknown command "{word}".\n')
    except UsageError as error:
        if program == TEAMNL:
            err.write(f"{error}\n{help_text(program)}")
        else:
            err.write(f"{str(error).removeprefix(UNKNOWN_OPTION)}{program} -h lists the commands\n")
        return FAILED
    try:
        command(Device(team, arguments.port, arguments.index_text), rest, out)
    except Failed as failure:
        return failed(program, team, failure, err)
    out.flush()
    return OK


def failed(program: str, team: str, failure: Failed, err: TextIO) -> int:
    """Say why a command cannot be carried out. Returns the exit code."""
    if program != TEAMNL and str(failure) == INIT_FAILED:
        err.write(f"{team} is no team device, or the kernel has no team driver.\n")
    elif str(failure):
        err.write(f"{failure}\n")
    err.write(f"Command failed: {os.strerror(failure.errno)}\n")
    return FAILED


def read(program: str, argv: Sequence[str], err: TextIO) -> Arguments:
    """Read the words behind argv[0]. UsageError."""
    arguments = Arguments()
    reader = OptionReader(program, OPTIONS, argv, err.write)
    for letter, value in reader:
        match letter:
            case "h":
                arguments.help = True
                return arguments
            case "p":
                arguments.port = value
            case "a":
                arguments.index_text = value
            case _ if letter == UNKNOWN:
                raise UsageError(UNKNOWN_OPTION)
    arguments.operands = reader.operands
    return arguments


def help_text(program: str) -> str:
    """What `-h` prints."""
    lines = [f"{program} [options] teamdevname command [arguments]"]
    lines += [f"    {option:<25}{text}" for option, text in OPTION_HELP]
    lines.append("Commands:")
    lines += [f"    {(name + ' ' + words).strip():<25}{text}" for name, words, text in COMMANDS]
    if program != TEAMNL:
        lines += ["Examples:", *[f"    {program} team0 {example}" for example in EXAMPLES]]
    return "\n".join(lines) + "\n"


# -- commands ----------------------------------------------------------------------------------------------------------


def ports(team: Device, words: Sequence[str], out: TextIO) -> None:
    for port in team.ports:
        out.write(shown(port_line(team, port), out) + "\n")


def options(team: Device, words: Sequence[str], out: TextIO) -> None:
    for option in team.options:
        out.write(shown(option_line(team, option), out) + "\n")


def getoption(team: Device, words: Sequence[str], out: TextIO) -> None:
    if not words:
        raise Failed(errno.EINVAL, "getoption: Option name as a command line parameter expected.")
    out.write(shown(value_text(team.find(words[0]).value), out) + "\n")


def setoption(team: Device, words: Sequence[str], out: TextIO) -> None:
    from pyteamd.kernel.option_table import OPTIONS as KNOWN
    from pyteamd.model.desired import SetOption
    from pyteamd.model.errors import KernelGone

    for position, what in enumerate(("name", "value")):
        if len(words) <= position:
            raise Failed(errno.EINVAL, f"setoption: Option {what} as a command line parameter expected.")
    key = team.find(words[0]).key
    known = KNOWN.get(key.name)
    value = value_of(known.kind if known else team.kernel.option_kind(key.name), words[1])
    try:
        refused = team.kernel.apply(team.ifindex, [SetOption(key, value)])
    except KernelGone:
        raise Failed(errno.ENODEV) from None
    if refused:
        raise Failed(refused[0].errno)


def monitor(team: Device, words: Sequence[str], out: TextIO) -> None:
    """Show what changes, until ended by a signal."""
    word = words[0] if words else "changed"
    style = next((style for style in ("changed", "all") if style.startswith(word)), None)
    if style is None:
        raise Failed(errno.EINVAL, f'Unknown monitor style "{word}"')
    from pyteamd.cli.pyteamnl import monitor as nl_monitor

    nl_monitor.monitor(team, style == "all", out)


ACTIONS: dict[str, Callable[[Device, Sequence[str], TextIO], None]] = {
    "ports": ports,
    "options": options,
    "getoption": getoption,
    "setoption": setoption,
    "monitor": monitor,
}


if __name__ == "__main__":
    sys.exit(main())
