"""pyteamdctl: ask a running team daemon, or tell it something; takes teamdctl's place.

    pyteamdctl [options] TEAM VERB…        for instance: pyteamdctl team0 state item get runner.active_port

How it works: options are read as getopt_long reads them, the words after the team's name are looked up in the table
of verbs (ctl_verbs), the program connects, fetches configuration and state as libteamdctl does, and runs the verb.
Texts, messages and exit codes are teamdctl's, so that it can be installed under that name; then the verbs that
teamdctl lacks (`extra`) are left out.
Modules are imported where they are needed: this program starts for every question a script asks.
"""

from __future__ import annotations

import errno
import os
import sys

from pyteamd.cli.getopt_long import OptionReader
from pyteamd.cli.pyteamdctl.verbs import VERBS, Session, Verb, VerbError, load_json
from pyteamd.client.client import Client
from pyteamd.client.connection import NoDaemon, to_bytes
from pyteamd.client.transport import ClientError, TransportMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

OK, FAILURE = 0, 1

_OPTIONS = {
    "help": ("h", False),
    "verbose": ("v", False),
    "oneline": ("o", False),
    "force-dbus": ("D", False),
    "force-zmq": ("Z", True),
    "force-usock": ("U", False),
}
_OPTIONS_HELP = """\
    -h --help                Show this help
    -v --verbose             Increase output verbosity
    -o --oneline             Force output to one line if possible
    -D --force-dbus          Force to use D-Bus interface
    -Z --force-zmq=ADDRESS   Force to use ZeroMQ interface [-Z[Address]]
    -U --force-usock         Force to use UNIX domain socket interface
"""
EXAMPLES = """\
Without a team:
    list                     all teams whose daemon runs here
    --all command            the same command for each of them
Examples:
    pyteamdctl team0 state                              what there is
    pyteamdctl team0 explain                            why each port carries traffic or not
    pyteamdctl team0 watch                              the same, live
    pyteamdctl team0 monitor --json                     events as they happen
    pyteamdctl team0 history                            what happened lately, and why
    pyteamdctl team0 diff                               what the kernel has against what is wanted
    pyteamdctl team0 state item set runner.active_port eth1
    pyteamdctl team0 port add eth2
    pyteamdctl team0 port config update eth2 '{"prio": 10}'
    pyteamdctl team0 config apply team0.conf --dry-run  what a new configuration would change and interrupt
    pyteamdctl team0 config apply team0.conf --confirm 60
    pyteamdctl team0 config confirm                     … or it is taken back when the time is over
    pyteamdctl team0 config revert                      … or at once
    pyteamdctl team0 config dump actual                 the configuration with the ports there are
    pyteamdctl team0 hash --src 192.0.2.1 --dst 192.0.2.2 --sport 1024 --dport 80
    pyteamdctl team0 balance                            what each port sent
    pyteamdctl team0 neighbours                         the system at the other end of each cable
    pyteamdctl team0 trace save bug.jsonl               what happened, for: pyteamd replay bug.jsonl
    pyteamdctl team0 metrics                            OpenMetrics text
    pyteamdctl --all explain                            all teams
"""
_SIOCGIFINDEX = 0x8933
_LOG_ERR, _LOG_DEBUG = 3, 7
_LOG_DIGITS = 20
_LOG_NAMES = {"err": _LOG_ERR, "info": 6, "debug": _LOG_DEBUG}


class UsageError(Exception):
    """The command line asks for nothing that exists; the help follows the text."""


class CannotGoOn(Exception):
    """The program cannot go on; the text says why, the hint (teamdctl gives none) what to type next."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def main() -> int:
    """The program: reads sys.argv, returns the exit code."""
    import signal

    # A closed pipe or Ctrl-C ends the C program without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    name = os.path.basename(sys.argv[0])
    program = "pyteamdctl" if name.endswith(".py") else name
    out, err = _byte_exact(sys.stdout), _byte_exact(sys.stderr)
    code = run(program, sys.argv[1:], out, err)
    try:
        out.flush()
    except OSError as error:
        err.write(f"{program}: cannot write the output: {error.strerror}\n")
        # Python tries to write the rest again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return FAILURE
    return code


def run(program: str, argv: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do what the command line says, as the program of that name; returns the exit code."""
    verbs = [verb for verb in VERBS if not verb.extra or program != "teamdctl"]
    # The command line's bytes go out as they came in, whatever the locale.
    args = [os.fsencode(arg).decode("utf-8", "surrogateescape") for arg in argv]
    if program != "teamdctl" and (args == ["list"] or args[:1] == ["--all"]):
        from pyteamd.cli.pyteamdctl import many_teams

        if args == ["list"]:
            return many_teams.list_teams(out, err)
        return many_teams.each_team(lambda words: run(program, words, out, err), argv[1:], out, err)
    args, tail = split_tail(verbs, args)
    options = _Options(hints=program != "teamdctl")
    operands: list[str] = []
    try:
        operands = options.read(program, args, err)
        if options.help:
            out.write(_help(program, verbs))
            return OK
        if not operands:
            raise UsageError("No team device specified.")
        team = operands[0]
        verb, params = find_verb(verbs, operands[1:])
    except UsageError as error:
        err.write(f"{error}\n")
        out.write(_help(program, verbs))
        if options.hints and (near := near_miss(verbs, operands[1:])):
            err.write(f"did you mean: {program} {operands[0]} {near}?\n")
        return FAILURE
    except CannotGoOn as error:
        err.write(f"{error}\n")
        return FAILURE
    return _run_verb(team, verb, params if tail is None else tail, options, out, err)


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


def near_miss(verbs: Sequence[Verb], words: Sequence[str]) -> str:
    """The verb that these words are nearly; "" for none."""
    from difflib import get_close_matches

    known = [" ".join(verb.words) for verb in verbs]
    tries = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
    near = (get_close_matches(tried, known, 1, 0.75) for tried in tries)
    return next((found[0] for found in near if found), "")


class _Options:
    """What the options say."""

    __slots__ = ("help", "hints", "oneline", "transport", "verbosity")

    def __init__(self, hints: bool) -> None:
        self.hints = hints
        self.help = False
        self.oneline = False
        self.transport: str | None = None
        self.verbosity = 0

    def read(self, program: str, args: Sequence[str], err: TextIO) -> list[str]:
        """Take the options out of the arguments; the operands remain. Raises UsageError, CannotGoOn."""
        forced: set[str] = set()
        permute = "POSIXLY_CORRECT" not in os.environ
        reader = OptionReader(program, _OPTIONS, args, err.write, permute=permute)
        for letter, _ in reader:
            match letter:
                case "h":
                    self.help = True
                    return []
                case "v":
                    self.verbosity += 1
                case "o":
                    self.oneline = True
                case "Z":
                    raise CannotGoOn("ZeroMQ support is not compiled-in")
                case "D":
                    forced.add("dbus")
                case "U":
                    forced.add("usock")
                case _:
                    raise UsageError("unknown option.")
        if len(forced) > 1:
            raise UsageError("Only one interface could be forced at a time (UNIX domain socket, D-Bus, ZMQ).")
        self.transport = forced.pop() if forced else None
        return reader.operands


def _run_verb(team: str, verb: Verb, params: Sequence[str], options: _Options, out: TextIO, err: TextIO) -> int:
    try:
        if "PYTEAMD_RUN_DIR" not in os.environ:
            _check_device(team)
        with _connect(team, options.transport, err) as client:
            _check_team(client)
            try:
                verb.run(Session(client, params, options.oneline, options.verbosity, out, options.hints))
            except (VerbError, ClientError) as error:
                if isinstance(error, ClientError):
                    _log(error, err)
                elif str(error):
                    err.write(f"{error}\n")
                silent = verb.extra and error.errno == errno.ETIMEDOUT
                hint = (
                    f"{verb.words[0]} is pyteamd's own; another daemon, such as C teamd, does not answer it"
                    if silent
                    else ""
                )
                raise CannotGoOn(f"command call failed ({os.strerror(error.errno)})", hint) from None
    except CannotGoOn as error:
        err.write(f"{error}\n")
        if error.hint and options.hints:
            err.write(f"{error.hint}\n")
        return FAILURE
    return OK


def _connect(team: str, transport: str | None, err: TextIO) -> Client:
    """Connect and fetch configuration and state. Raises CannotGoOn."""
    try:
        client = Client.connect(team, transport)
        try:
            client.refresh()
        except ClientError:
            client.close()
            raise
    except ClientError as error:
        failures = error.failures.values() if isinstance(error, NoDaemon) else ()
        for failure in failures:
            # Why each way failed is said only when it was the only one to try, or a debugging user asks.
            if transport or _log_level() >= _LOG_DEBUG or isinstance(failure, TransportMissing):
                _log(failure, err)
        _log(error, err)
        hint = (
            f"is its daemon running? pyteamdctl list shows those that are; start one with: pyteamd -d -t {team} -f FILE"
        )
        raise CannotGoOn(f"teamdctl_connect failed ({os.strerror(error.errno)})", hint) from None
    return client


def _check_device(name: str) -> None:
    """There must be a network device of that name, as the kernel reads it. Raises CannotGoOn."""
    import fcntl
    import socket
    import struct

    try:
        # The kind of socket teamdctl uses, so that a user without privileges is told the same.
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as packet_socket:
            fcntl.ioctl(packet_socket, _SIOCGIFINDEX, struct.pack("16s24x", to_bytes(name)[:15]))
    except OSError as error:
        if error.errno == errno.ENODEV:
            hint = f"pyteamdctl list shows the teams there are; start this one with: pyteamd -d -t {name} -f FILE"
            raise CannotGoOn(f'Device "{name}" does not exist', hint) from None
        raise CannotGoOn(f'Device "{name}" - failed to get interface index ({error.strerror})') from None


def _check_team(client: Client) -> None:
    """The daemon at the other end must be this team's. Raises CannotGoOn."""
    try:
        config = load_json(client.config_text)
    except VerbError as error:
        raise CannotGoOn(str(error)) from None
    device = config.get("device") if isinstance(config, dict) else None
    if not isinstance(device, str):
        raise CannotGoOn("Failed to parse device name from config.")
    if device != client.team:
        raise CannotGoOn(
            f"Unable to access to {client.team} through connected teamd daemon because it controls {device}."
        )


def _log(error: ClientError, err: TextIO) -> None:
    if _log_level() >= _LOG_ERR:
        err.writelines(f"libteamdctl: {function}: {text}\n" for function, text in error.trail)


def _log_level() -> int:
    """$TEAMDCTL_LOG as libteamdctl reads it: a number with nothing or white space after it, or a name's beginning."""
    text = os.environ.get("TEAMDCTL_LOG")
    if text is None:
        return _LOG_ERR
    first = (text.split() or [""])[0]
    digits = first[1:] if first[:1] in ("+", "-") else first
    if digits.isascii() and digits.isdecimal():
        return int(first[:_LOG_DIGITS])  # more would be above all levels, or below
    return next((level for name, level in _LOG_NAMES.items() if text.startswith(name)), 0)


def _help(program: str, verbs: Iterable[Verb]) -> str:
    lines = "".join(f"    {' '.join((*verb.words, *verb.params, verb.tail)).rstrip()}\n" for verb in verbs)
    text = f"{program} [options] teamdevname command [command args]\n{_OPTIONS_HELP}Commands:\n{lines}"
    return text if program == "teamdctl" else text + EXAMPLES.replace("pyteamdctl", program)


def _byte_exact(stream: TextIO | None) -> TextIO:
    """The stream set to write UTF-8 and to give back undecodable bytes as they were; nowhere if it is closed."""
    import io

    if stream is None:
        return open(os.devnull, "w")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    return stream


if __name__ == "__main__":
    sys.exit(main())
