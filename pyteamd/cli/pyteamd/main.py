"""The command line: teamd's, exactly, and commands of our own when the first word is one of theirs.

teamd takes no operands, so a word in the first place cannot be meant for it. What teamd does before it does what it was asked to is
part of its interface, errors included: the run directory is made, the options are read, and everything but `-h` and `-v` needs
a readable configuration and the name of a device. Modules are imported where they are needed: only a daemon needs an event loop.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from pyteamd import __version__
from pyteamd.cli.getopt_long import UsageError
from pyteamd.cli.pyteamd.commands import SUBCOMMANDS, command
from pyteamd.cli.pyteamd.options import AS_ROOT, Options, Task, parse, usage
from pyteamd.daemon import realtime
from pyteamd.daemon.process import EXIT_CONFIG, EXIT_OK, EXIT_START, RUN_DIR, make_run_dir, open_standard

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from pyteamd.config.config import Config
    from pyteamd.daemon.process import Background
    from pyteamd.schema.problems import Problem

CONFIG_PATIENCE_S = 10.0
"""How long a start waits for a FIFO or a terminal that was named as the configuration."""


def main(argv: list[str] | None = None, run_dir: str = RUN_DIR) -> int:
    """Entry point of `pyteamd`, `python -m pyteamd` and `teamd`. Returns the exit code."""
    argv = sys.argv if argv is None else argv
    open_standard()
    try:
        code = obey(program_name(argv[0]), argv, run_dir)
        sys.stdout.flush()
    except OSError as error:
        from pyteamd.cli.output import undelivered

        return undelivered(program_name(argv[0]), error, sys.stdout, sys.stderr)
    return code


def obey(program: str, argv: list[str], run_dir: str) -> int:
    """Do what the command line says. Returns the exit code."""
    if program == "bond2team":
        from pyteamd.cli.convert import bond2team

        return bond2team.main(argv[1:])
    if len(argv) > 1 and argv[1] in SUBCOMMANDS:
        if SUBCOMMANDS[argv[1]].is_daemon:
            begin_daemon()
        return command(argv[1])(argv[2:], f"{program} {argv[1]}")
    if program != "teamd" and len(argv) > 1 and argv[1].partition("=")[0] == "--complete":
        from pyteamd.cli.complete import tell

        return tell(program, argv[1:], sys.stdout)
    own = program != "teamd"
    try:
        if not own:
            make_run_dir(run_dir)
        options = parse(program, argv[1:], run_dir)
        if own and options.task not in (Task.HELP, Task.VERSION):
            make_run_dir(run_dir)
    except UsageError as error:
        no_command = len(argv) > 1 and argv[1][:1] not in ("", "-") and own
        if no_command:
            return complain(no_such_command(program, argv[1]))
        return complain(f"{error}\n{program} -h lists the options" if own else str(error))
    except OSError as error:
        hint = f"\n{AS_ROOT}" if own and isinstance(error, PermissionError) else ""
        return complain(f'Failed to create directory "{run_dir}": {os.strerror(error.errno or 0)}{hint}')
    match options.task:
        case Task.HELP:
            print(help_text(program))
            return EXIT_OK
        case Task.VERSION:
            print(program, __version__)
            return EXIT_OK
        case Task.RUN:
            begin_daemon()
            return run(options)
    return other_instance(options)


def begin_daemon() -> None:
    """The first act of a start: see realtime.py. What it imports stays, so until that is done collections of garbage only cost time."""
    realtime.ask()
    gc.disable()
    from pyteamd.daemon.put_off import import_trio

    import_trio()


def program_name(argv0: str) -> str:
    """What messages, the version and the log call us: the last part of argv[0], without Python's trappings."""
    name = os.path.basename(argv0)
    return name if name not in ("__main__.py", "") else "pyteamd"


def complain(text: str) -> int:
    """Say why nothing is done. Returns the exit code."""
    print(text, file=sys.stderr)
    return EXIT_START


def no_such_command(program: str, word: str) -> str:
    """What to type instead."""
    from difflib import get_close_matches

    near = get_close_matches(word, SUBCOMMANDS, 1)
    meant = f"did you mean: {program} {near[0]}?" if near else f"{program} -h lists the commands"
    return f'"{word}" is no command; {meant}'


def help_text(program: str) -> str:
    """What `-h` prints."""
    from pyteamd.runners import RUNNERS

    commands = [f"    {program} {name:<12}{row.help}" for name, row in SUBCOMMANDS.items()]
    return "\n".join(
        [
            *(usage(program), "Available runners: " + ", ".join(RUNNERS)),
            *("Other commands:", *commands, *examples(program)),
            *([] if program == "teamd" else [where_the_rest_is()]),
        ]
    )


def where_the_rest_is() -> str:
    """Tell where manual pages and units are, or how to get them: pip, pipx and uv install only the commands."""
    for place in (sys.prefix, "/usr/local", "/usr"):
        for page in (f"{place}/share/man/man8/pyteamd.8", f"{place}/share/man/man8/pyteamd.8.gz"):
            if os.path.exists(page):
                return f"Manual pages and units: under {place} (man pyteamd; systemctl cat pyteamd@)"
    return "Manual pages and units are not installed; from the source: make install-data BINDIR=" + (
        os.path.dirname(os.path.abspath(sys.argv[0])) or "/usr/bin"
    )


def examples(program: str) -> list[str]:
    """Command lines to begin with."""
    client = "teamdctl" if program == "teamd" else "pyteamdctl"
    lines = (
        f"{program} example activebackup > team0.yaml",
        f"{program} check team0.yaml",
        f"{program} -d -t team0 -f team0.yaml",
        f"{client} team0 state",
        f"{program} -k -t team0",
    )
    return ["Examples:", *[f"    {line}" for line in lines]]


# -- -k and -e ---------------------------------------------------------------------------------------------------------


def other_instance(options: Options) -> int:
    """`-k` and `-e`. The configuration has to be readable, but need not be one that a daemon could start with."""
    from pyteamd.daemon import process
    from pyteamd.schema.problems import ConfigError
    from pyteamd.schema.text import read

    log = early_log(options)
    try:
        tree = read(config_text(options, log), options.config_file or "").tree
    except ConfigError as error:
        return config_failed(error, options.program, log)
    use_debug_level(options, tree.get("debug_level"), log)
    device = options.device
    if device is None and "device" in tree:
        device = tree["device"]
        if type(device) is not str:
            log.error("Failed to get string from non-string object")
            device = None
    if device is None:
        log.error("Team device name not specified.")
        return EXIT_START
    pid_path = say_what_is_used(options, device, log)
    act = process.kill if options.task is Task.KILL else process.check
    return act(pid_path, log)


# -- the daemon --------------------------------------------------------------------------------------------------------


def run(options: Options) -> int:
    """Run the daemon here, or start it in the background and wait until it is ready. Returns the exit code."""
    from pyteamd.daemon import pid_file as pidfile
    from pyteamd.daemon import process
    from pyteamd.schema.problems import ConfigError

    log = early_log(options)
    try:
        config = load_config(options, log)
    except ConfigError as error:
        if error.problems and not error.teamd_lines:
            say_what_is_wrong(error.problems, error.file or "configuration", log)
            error = ConfigError([])
        config_failed(error, options.program, log)
        return wrong_config(options.program, os.environ)
    use_debug_level(options, config.team.debug_level, log)
    device = config.team.device or free_device_name()
    config.set_device(device)
    pid_path = say_what_is_used(options, device, log)
    say_what_is_wrong(config.problems, options.config_file or "configuration", log)
    process.reset_signals()
    if pid := pidfile.running(pid_path, log):
        log.error("Daemon already running on PID %d.", pid)
        log.error("Failed: File exists")
        return EXIT_START
    if options.config_file is not None:
        options.config_file = os.path.abspath(options.config_file)  # the background has another directory
    background = in_background(log) if options.daemonize else None
    if isinstance(background, int):
        return background
    process.close_inherited(background.pipe_fd if background else None)

    from pyteamd.cli.pyteamd.run import launch

    return launch(options, config, device, pid_path, background)


def in_background(log: logging.Logger) -> Background | int:
    """Fork. The daemon's side of it; in the process that waits, and where it failed, the exit code."""
    from pyteamd.daemon import process

    try:
        side = process.go_to_background(log)
    except OSError as error:
        log.error("Going to the background: %s", error.strerror)
        return EXIT_START
    if isinstance(side, process.Foreground):
        return side.wait()
    realtime.ask()
    return side


def load_config(options: Options, log: logging.Logger) -> Config:
    """The configuration of `-c` or `-f`, or an empty one. ConfigError."""
    from pyteamd.config.config import Config
    from pyteamd.linkwatch import WATCHERS
    from pyteamd.runners import RUNNERS

    text, file = config_text(options, log), options.config_file or ""
    return Config.load(text, runners=RUNNERS, watchers=WATCHERS, file=file, device=options.device)


def config_text(options: Options, log: logging.Logger) -> str | bytes:
    """The text of the configuration. ConfigError when the file cannot be read."""
    if options.config_text is not None:
        if options.config_file is not None:
            log.warning("Command line config string is present, ignoring given config file.")
            options.config_file = None
        return options.config_text
    if options.config_file is None:
        return "{}"
    from pyteamd.cli.given_file import octets_of
    from pyteamd.schema.problems import ConfigError

    try:
        return octets_of(options.config_file, CONFIG_PATIENCE_S)
    except IsADirectoryError:
        if options.program != "teamd":
            told = [
                f"{options.config_file}: is a directory; all teams of its files at once: pyteamd serve {options.config_file}"
            ]
            raise ConfigError([], options.config_file, told) from None
        return ""
    except OSError as error:
        reason = f"unable to open {options.config_file}: {error.strerror}"
        raise ConfigError([], options.config_file, [f"Failed to parse config: {reason}"]) from None


def say_what_is_wrong(problems: Sequence[Problem], file: str, log: logging.Logger) -> None:
    """Every problem, in the words of `pyteamd check`."""
    from pyteamd.schema.problems import ERROR, verdict

    for problem in problems:
        (log.error if problem.weight == ERROR else log.warning)("%s", problem.told(file))
    if problems:
        log.warning("%s: %s", file, verdict(problems))


def config_failed(error: Any, program: str, log: logging.Logger) -> int:
    """Tell every problem of the configuration; of a text that is no JSON in teamd's words, else with a hint. Returns the exit code."""
    hints = [problem.hint for problem in error.problems if problem.hint and program != "teamd"]
    for line in [*error.teamd_lines, *hints] if error.teamd_lines else str(error).splitlines():
        log.error("%s", line)
    log.error("Failed to load config.")
    return EXIT_START


def wrong_config(program: str, environ: Mapping[str, str]) -> int:
    """The exit code for a wrong configuration: teamd's under its name, unless the unit asks for ours, after which it is not restarted."""
    return EXIT_START if program == "teamd" and environ.get("PYTEAMD_EXIT_STATUS") != "config" else EXIT_CONFIG


def use_debug_level(options: Options, configured: object, log: logging.Logger) -> None:
    """The log's level is the greater of that of the options and the configured one."""
    from pyteamd.daemon.log import set_debug_level

    if type(configured) is int and configured > options.debug_level:
        options.debug_level = configured
    set_debug_level(log, options.debug_level)


def free_device_name() -> str:
    """The first teamN for which there is no link."""
    import socket

    taken = {name for _, name in socket.if_nameindex()}
    number = 0
    while f"team{number}" in taken:
        number += 1
    return f"team{number}"


def say_what_is_used(options: Options, device: str, log: logging.Logger) -> str:
    """Log which device and files are used. Returns the path of the pid file."""
    pid_path = options.pid_file if options.pid_file is not None else f"{options.run_dir}{device}.pid"
    log.debug('Using team device "%s".', device)
    log.debug('Using PID file "%s"', pid_path)
    if options.config_file is not None:
        log.debug('Using config file "%s"', options.config_file)
    return pid_path


def early_log(options: Options) -> logging.Logger:
    """Until it is known where the log goes, it goes to stderr; warnings and errors also to syslog where that is asked for."""
    from pyteamd.daemon.log import also_to_syslog, choose_output, open_log, set_debug_level

    ident = f"{options.program}_{options.device}" if options.device else options.program
    log = open_log("stderr", ident, os.environ)
    if choose_output(options.log_output, os.environ, False) == "syslog":
        also_to_syslog(log, ident)
    set_debug_level(log, options.debug_level)
    return log
