"""pyteamdctl: ask a running team daemon, or tell it something; takes teamdctl's place.

    pyteamdctl [options] TEAM VERB…        for instance: pyteamdctl team0 state item get runner.active_port

How it works: options are read as getopt_long reads them, the words after the team's name are looked up in the table
of verbs (verbs.py), the program connects, fetches configuration and state as libteamdctl does, and runs the verb.
Texts, messages and exit codes are teamdctl's, so that it can be installed under that name; then the verbs that
teamdctl lacks (`extra`) are left out.
Modules are imported where they are needed: this program starts for every question a script asks.
"""

from __future__ import annotations

import errno
import os
import sys

from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.cli.getopt_long import UNKNOWN_OPTION, OptionReader, UsageError
from pyteamd.cli.pyteamdctl.verbs import VERBS, Session, Verb, VerbError, kernels_name_of, load_json
from pyteamd.cli.pyteamdctl.words import (
    JSON,
    LIST,
    NOT_PERMITTED,
    OPTIONS_HELP,
    OWN_OPTIONS_HELP,
    find_verb,
    split_tail,
)
from pyteamd.client.client import Client
from pyteamd.client.connection import NoDaemon, default_run_dir, has_socket, to_bytes
from pyteamd.client.transport import ClientError, TransportMissing
from pyteamd.model.limits import NAME_MAX
from pyteamd.model.printable import in_shell, printable, printable_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

TEAMDCTL = "teamdctl"
AHEAD = ("-H", "--host", "--all", "--complete")
"""What stands before the team's name, in its place, or instead of everything."""
NOT_RUNNING = (
    "is its daemon running? pyteamdctl list shows those that are; start one with: pyteamd -d -o -t {team} -f FILE"
)

_OPTIONS = {
    "help": ("h", False),
    "verbose": ("v", False),
    "oneline": ("o", False),
    "force-dbus": ("D", False),
    "force-zmq": ("Z", True),
    "force-usock": ("U", False),
}
_OWN_OPTIONS = {"json": ("J", False), "version": ("V", False)}
NO_ANSWER = (
    "it is stopped, or the machine is overloaded; traffic goes on as it was; look at it: "
    'ps -o pid,stat,etime,args -p "$(cat {pid_file})"'
)
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
    pyteamdctl team0 damping clear em1                  let a port that flapped serve again at once
    pyteamdctl team0 trace save bug.jsonl               what happened, for: pyteamd replay bug.jsonl
    pyteamdctl team0 metrics                            OpenMetrics text
    pyteamdctl --all explain                            all teams
    pyteamdctl --all watch                              a live view that begins with all teams
"""
_SIOCGIFINDEX = 0x8933
_LOG_ERR, _LOG_DEBUG = 3, 7
_LOG_DIGITS = 20
_LOG_NAMES = {"err": _LOG_ERR, "info": 6, "debug": _LOG_DEBUG}


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
    out, err = sys.stdout, sys.stderr = _byte_exact(sys.stdout), _byte_exact(sys.stderr)
    try:
        code = run(program, sys.argv[1:], out, err)
        out.flush()
    except OSError as error:
        from pyteamd.cli.output import undelivered

        return undelivered(program, error, out, err)
    return code


def run(program: str, argv: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do what the command line says, as the program of that name; returns the exit code."""
    own = program != TEAMDCTL
    verbs = [verb for verb in VERBS if not verb.extra or own]
    # The command line's bytes go out as they came in, whatever the locale.
    args = [os.fsencode(arg).decode("utf-8", "surrogateescape") for arg in argv]
    if own and any(arg.startswith(AHEAD) or arg == LIST for arg in args):
        from pyteamd.cli.pyteamdctl import ahead

        try:
            code = ahead.run(program, args, lambda words, to, about=err: run(program, words, to, about), out, err)
        except UsageError as error:
            return _misunderstood(program, verbs, error, [], own, out, err)
        if code is not None:
            return code
    args, tail = split_tail(verbs, args)
    options = _Options(own)
    operands: list[str] = []
    try:
        operands = options.read(program, args, err)
        if options.help:
            out.write(_help(program, verbs))
            return OK
        if options.version:
            from pyteamd import __version__

            out.write(f"{program} {__version__}\n")
            return OK
        if not operands:
            raise UsageError("No team device specified.")
        team = operands[0]
        verb, params = find_verb(verbs, operands[1:])
    except UsageError as error:
        return _misunderstood(program, verbs, error, operands, own, out, err)
    except CannotGoOn as error:
        err.write(f"{error}\n")
        return FAILED
    if own and tail and JSON in tail:
        options.json = True
        tail = [word for word in tail if word != JSON]
    return _run_verb(team, verb, params if tail is None else tail, options, out, err)


def _misunderstood(
    program: str, verbs: Sequence[Verb], error: UsageError, operands: Sequence[str], own: bool, out: TextIO, err: TextIO
) -> int:
    """Say what is wrong with the command line; teamdctl adds its whole help, we what to type instead. Returns the exit code."""
    if not own:
        err.write(f"{error}\n")
        out.write(_help(program, verbs))
        return FAILED
    from pyteamd.cli.pyteamdctl.hints import instead

    if str(error) != UNKNOWN_OPTION:  # which was named already
        err.write(f"{error}\n")
    err.write(f"{instead(program, verbs, operands)}\n")
    return FAILED


class _Options:
    """What the options say."""

    __slots__ = ("help", "json", "oneline", "own", "transport", "verbosity", "version")

    def __init__(self, own: bool) -> None:
        self.own = own
        self.help = self.version = self.json = False
        self.oneline = False
        self.transport: str | None = None
        self.verbosity = 0

    def read(self, program: str, args: Sequence[str], err: TextIO) -> list[str]:
        """Take the options out of the arguments; the operands remain. Raises UsageError, CannotGoOn."""
        forced: set[str] = set()
        permute = "POSIXLY_CORRECT" not in os.environ
        table = _OPTIONS | _OWN_OPTIONS if self.own else _OPTIONS
        reader = OptionReader(program, table, args, err.write, permute=permute)
        for letter, _ in reader:
            match letter:
                case "h":
                    self.help = True
                    return []
                case "V":
                    self.version = True
                    return []
                case "J":
                    self.json = True
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
                    raise UsageError(UNKNOWN_OPTION)
        if len(forced) > 1:
            raise UsageError("Only one interface could be forced at a time (UNIX domain socket, D-Bus, ZMQ).")
        self.transport = forced.pop() if forced else None
        return reader.operands


def _run_verb(team: str, verb: Verb, params: Sequence[str], options: _Options, out: TextIO, err: TextIO) -> int:
    try:
        if options.own and not has_socket(team):
            team = kernels_name_of(team)
        if "PYTEAMD_RUN_DIR" not in os.environ and not (options.own and has_socket(team)):  # it may have been renamed
            _check_device(team, options.own)
        with _connect(team, options, err) as client:
            _check_team(client)
            session = Session(client, params, options.oneline, options.verbosity, out, options.own, options.json)
            try:
                verb.run(session)
            except (VerbError, ClientError) as error:
                if options.own:
                    raise _in_our_words(session, verb, error, err) from None
                if isinstance(error, ClientError):
                    _log(error, err)
                elif str(error):
                    err.write(f"{error}\n")
                hint = getattr(error, "hint", "")
                raise CannotGoOn(f"command call failed ({os.strerror(error.errno)})", hint) from None
            err.writelines(f"{printable(line)}\n" for line in session.remarks)
    except CannotGoOn as error:
        err.write(f"{printable_lines(str(error))}\n")
        if error.hint and options.own:
            err.write(f"{printable_lines(error.hint)}\n")
        return FAILED
    return OK


def _in_our_words(session: Session, verb: Verb, error: VerbError | ClientError, err: TextIO) -> CannotGoOn:
    """What a failed verb says under our own name: one sentence, and where there is one a hint."""
    from pyteamd.cli.pyteamdctl.hints import reason

    if isinstance(error, ClientError) and _log_level() >= _LOG_DEBUG:
        _log(error, err)
    text = reason(session, verb, error) or str(error) or f"{' '.join(verb.words)} failed: {os.strerror(error.errno)}"
    if verb.extra and error.errno == errno.ETIMEDOUT:
        return CannotGoOn(
            text, f"{verb.words[0]} is pyteamd's own; another daemon, such as C teamd, does not answer it"
        )
    hint = getattr(error, "hint", "")
    said = hint in text or hint in text.replace("error: ", "")  # the reason says of each problem that it is an error
    return CannotGoOn(text, "" if said else hint)


def _connect(team: str, options: _Options, err: TextIO) -> Client:
    """Connect and fetch configuration and state. Raises CannotGoOn."""
    transport = options.transport
    try:
        client = Client.connect(team, transport)
        try:
            client.refresh()
        except ClientError:
            client.close()
            raise
    except ClientError as error:
        failures = [*error.failures.values()] if isinstance(error, NoDaemon) else []
        for failure in failures:
            # Why each way failed is said only when it was the only one to try, or a debugging user asks.
            if (transport and not options.own) or _log_level() >= _LOG_DEBUG or isinstance(failure, TransportMissing):
                _log(failure, err)
        if options.own:
            first = next(iter(failures), error)
            if first.errno in (errno.EACCES, errno.EPERM):
                raise CannotGoOn(f"the daemon of {team} may not be asked ({first})", NOT_PERMITTED) from None
            if errno.ETIMEDOUT in (first.errno, error.errno):
                told = error if error.errno == errno.ETIMEDOUT else first
                pid_file = in_shell(f"{default_run_dir()}/{team}.pid")
                raise CannotGoOn(
                    f"the daemon of {team} does not answer ({told})", NO_ANSWER.format(pid_file=pid_file)
                ) from None
            raise CannotGoOn(f"no daemon answers for {team} ({first})", NOT_RUNNING.format(team=team)) from None
        _log(error, err)
        raise CannotGoOn(f"teamdctl_connect failed ({os.strerror(error.errno)})") from None
    return client


def _check_device(name: str, own: bool) -> None:
    """There must be a network device of that name, as the kernel reads it. Raises CannotGoOn."""
    import fcntl
    import socket
    import struct

    try:
        # Under teamdctl's name its kind of socket, which only root gets: others see its error. Ours says later what is not permitted.
        with socket.socket(socket.AF_INET if own else socket.AF_PACKET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCGIFINDEX, struct.pack("16s24x", to_bytes(name)[:NAME_MAX]))
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
    text = f"{program} [options] teamdevname command [command args]\n{OPTIONS_HELP}Commands:\n{lines}"
    if program == TEAMDCTL:
        return text
    text = text.replace(OPTIONS_HELP, OPTIONS_HELP + OWN_OPTIONS_HELP)
    return text + EXAMPLES.replace("pyteamdctl", program)


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
