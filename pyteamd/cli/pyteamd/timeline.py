"""`pyteamd timeline`: a trace as one page of HTML, with lanes for each port, to be looked at in any browser, without a network."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pyteamd.cli.exit_status import FAILED, OK, USAGE
from pyteamd.cli.given_file import octets_of
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.model.printable import printable
from pyteamd.scenario.replay import retell
from pyteamd.views.timeline import Timeline, plain, timeline

TEMPLATE = Path(__file__).with_name("timeline.html")
IN_A_SCRIPT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
"""What could end the HTML element with the data → the same in JSON. In JSON it stands in strings only, where escapes are allowed."""


def main(arguments: Sequence[str], program: str) -> int:
    """`timeline TRACE -o FILE.html`: status 1 when the page cannot be written, 2 when there is no trace."""
    parser = helptext.parser(
        program,
        "Draw what a trace tells: for each port its carrier, link watchers, LACP machines, whether it was enabled and active, with what "
        "happened and what was written, as one HTML page that needs no network.",
        "pyteamdctl team0 trace save night.jsonl",
        f"{program} night.jsonl -o night.html",
        "pyteamd simulate tests/scenarios/storm.txt --timeline storm.html",
    )
    parser.add_argument("trace", metavar="TRACE", help="a trace, - for standard input")
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="the page; standard output when not given")
    options = parser.parse_args(arguments)
    try:
        drawn = timeline(_lines(options.trace), retell)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"{options.trace}: {reason}; a trace is written by: pyteamdctl team0 trace save FILE", file=sys.stderr)
        return USAGE
    return write(drawn, options.output)


def write(drawn: Timeline, path: str) -> int:
    """Write the page into a file, - for standard output. Returns the exit code."""
    text = page(drawn)
    if path == "-":
        sys.stdout.write(text)
        return OK
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        return FAILED
    print(f"{len(drawn.marks)} events and writes drawn; open {path} in a browser")
    return OK


def page(drawn: Timeline) -> str:
    title = html.escape(printable(f"{drawn.team}: what happened"))
    values = json.dumps(plain(drawn), separators=(",", ":")).translate(IN_A_SCRIPT)
    head, rest = TEMPLATE.read_text(encoding="utf-8").split("%TITLE%", 1)
    middle, tail = rest.split("%DATA%", 1)  # not replace: what is put in may contain such words
    return "".join((head, title, middle, values, tail))


def _lines(name: str) -> list[str]:
    octets = sys.stdin.buffer.read() if name == "-" else octets_of(name)
    return octets.decode("utf-8", "replace").splitlines()
