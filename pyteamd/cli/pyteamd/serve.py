"""`pyteamd serve`: many teams in one process; its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyteamd.cli.pyteamd import help as helptext
from pyteamd.schema.values import listen_text


def parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    parser = helptext.parser(
        program,
        "Run many teams in one process, each with its own control socket. A directory means all *.conf, *.json, *.yaml "
        "and *.yml in it. The device is named in the file, or is the file's name. SIGHUP reads everything again: "
        "teams are added, removed and changed as the files are. There is no pid file, no D-Bus name and no -d: -k and -e mean one "
        "process for each team, and so do NetworkManager and teamd@.service; use `pyteamd -t TEAM` for those.",
        f"{program} /etc/pyteamd &",
        "pyteamdctl list",
        "pyteamdctl --all explain",
    )
    parser.add_argument("sources", metavar="FILE-or-DIR", nargs="+", help="configurations")
    parser.add_argument("-o", "--take-over", action="store_true", help="take over devices that exist")
    parser.add_argument("-N", "--no-quit-destroy", action="store_true", help="leave the devices at the end")
    parser.add_argument("-n", "--no-ports", action="store_true", help="do not add the configured ports")
    parser.add_argument(
        "-l", "--log-output", metavar="OUTPUT", choices=("stdout", "stderr", "syslog"), help="where to log"
    )
    parser.add_argument(
        "-m",
        "--metrics-listen",
        metavar="ADDRESS",
        type=listen_argument,
        # No "" here: a default that is a text would be checked as if it had been typed.
        help="serve the metrics of all teams there: the path of a unix socket, or a loopback address with a port",
    )
    return parser.parse_args(list(arguments))


def listen_argument(text: str) -> str:
    """An address to listen at. argparse.ArgumentTypeError."""
    try:
        return listen_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from None


def main(arguments: Sequence[str], program: str) -> int:
    """Returns the exit code."""
    options = parse(arguments, program)
    from pyteamd.cli.pyteamd.serving import (
        run,  # the event loop: a shell that asks for options, or the manual, does not need it
    )

    return run(options)
