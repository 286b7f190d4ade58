"""teamd's command line: one table of options, read by getopt_long's rules.

The first mistake ends the program with getopt's own words. Two things happen while the options are read and not later, so that
they happen even together with `-h`: the path of `-f` is made absolute, and a transport that this program lacks is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import Enum

from pyteamd.cli.getopt_long import UNKNOWN, OptionReader, UsageError
from pyteamd.values import dataclass


class Task(Enum):
    """What to do. The last option that names one wins; none of them means RUN."""

    RUN = "run"
    HELP = "help"
    VERSION = "version"
    KILL = "kill"
    CHECK = "check"


@dataclass(slots=True)
class Options:
    """The command line as understood."""

    run_dir: str
    """Directory of pid files and sockets, with a slash at its end."""
    program: str
    """How messages call us; the log's identification is `<program>_<device>`."""
    task: Task = Task.RUN
    daemonize: bool = False
    config_file: str | None = None
    """Absolute path."""
    config_text: str | None = None
    pid_file: str | None = None
    debug_level: int = 0
    log_output: str | None = None
    force_recreate: bool = False
    take_over: bool = False
    keep_device: bool = False
    device: str | None = None
    enslave: bool = True
    """Add the configured ports at the start."""
    dbus: bool = False
    usock: bool = True


@dataclass(frozen=True, slots=True)
class CommandOption:
    """One row of the table. `metavar` is "" for an option without an argument."""

    short: str
    long: str
    metavar: str
    help: str
    effect: Callable[[Options, str], None]


def _set(field: str, value: object) -> Callable[[Options, str], None]:
    def effect(options: Options, argument: str) -> None:
        setattr(options, field, value)

    return effect


def _take(field: str) -> Callable[[Options, str], None]:
    def effect(options: Options, argument: str) -> None:
        setattr(options, field, argument)

    return effect


def _config_file(options: Options, argument: str) -> None:
    try:
        found = os.stat(argument)  # realpath would take "" for the working directory
        # A pipe that has no name, as /dev/stdin often, has no path but the one it was given by.
        nameless = stat.S_ISFIFO(found.st_mode) and not os.path.exists(os.path.realpath(argument))
        options.config_file = os.path.abspath(argument) if nameless else os.path.realpath(argument, strict=True)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        hint = "; standard input is /dev/stdin" if argument == "-" and options.program != "teamd" else ""
        raise UsageError(f'Failed to get absolute path of "{argument}": {reason}{hint}') from None


def _more_debug(options: Options, argument: str) -> None:
    options.debug_level += 1


def _refuse(text: str) -> Callable[[Options, str], None]:
    def effect(options: Options, argument: str) -> None:
        raise UsageError(text)

    return effect


AS_ROOT = "a daemon is started by root; try it with sudo"

COMMAND_OPTIONS = (
    CommandOption("h", "help", "", "Show this text", _set("task", Task.HELP)),
    CommandOption("d", "daemonize", "", "Go to the background once everything is in place", _set("daemonize", True)),
    CommandOption("k", "kill", "", "Stop the daemon of this device and wait for its end", _set("task", Task.KILL)),
    CommandOption("e", "check", "", "Exit with 0 if this device has a daemon, else with 1", _set("task", Task.CHECK)),
    CommandOption("v", "version", "", "Show the version", _set("task", Task.VERSION)),
    CommandOption("f", "config-file", "FILE", "Read the configuration from this file", _config_file),
    CommandOption("c", "config", "TEXT", "The configuration itself; a file is then ignored", _take("config_text")),
    CommandOption("p", "pid-file", "FILE", "Write the process number to this file", _take("pid_file")),
    CommandOption("g", "debug", "", "Log more; may be repeated", _more_debug),
    CommandOption("l", "log-output", "OUTPUT", "Log to stdout, stderr or syslog", _take("log_output")),
    CommandOption("r", "force-recreate", "", "Delete a link of this name first", _set("force_recreate", True)),
    CommandOption("o", "take-over", "", "Use the device if it exists already", _set("take_over", True)),
    CommandOption("N", "no-quit-destroy", "", "Leave device and ports in place at the end", _set("keep_device", True)),
    CommandOption("t", "team-dev", "DEVNAME", "Name of the team device", _take("device")),
    CommandOption("n", "no-ports", "", "Do not add the configured ports at the start", _set("enslave", False)),
    CommandOption("D", "dbus-enable", "", "Serve D-Bus", _set("dbus", True)),
    CommandOption("Z", "zmq-enable", "ADDRESS", "Serve ZeroMQ", _refuse("ZeroMQ support is not compiled-in")),
    CommandOption("U", "usock-enable", "", "Serve the UNIX socket (the default)", _set("usock", True)),
    CommandOption("u", "usock-disable", "", "Do not serve the UNIX socket", _set("usock", False)),
)
BY_LETTER = {option.short: option for option in COMMAND_OPTIONS}


def parse(program: str, arguments: list[str], run_dir: str) -> Options:
    """Read the words behind argv[0]. UsageError with getopt's or teamd's message."""
    options = Options(run_dir, program)
    messages: list[str] = []
    table = {option.long: (option.short, bool(option.metavar)) for option in COMMAND_OPTIONS}
    reader = OptionReader(program, table, arguments, messages.append)
    for letter, argument in reader:
        if letter == UNKNOWN:
            raise UsageError(messages[0].rstrip("\n"))
        BY_LETTER[letter].effect(options, argument)
    if reader.operands:
        raise UsageError("Too many arguments")
    return options


def usage(program: str) -> str:
    """The options as text, one line each, in the order of the table."""
    lines = [f"{program} [options]"]
    for option in COMMAND_OPTIONS:
        long = f"{option.long}={option.metavar}" if option.metavar else option.long
        lines.append(f"    -{option.short} --{long:<22}{option.help}")
    return "\n".join(lines)
