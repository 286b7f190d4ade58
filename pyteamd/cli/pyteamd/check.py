"""Commands of our own that need no daemon: check, schema, example, replay. Each returns an exit code."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyteamd.cli.exit_status import FAILED, OK, USAGE
from pyteamd.cli.given_file import octets_of
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.printable import printable
from pyteamd.runners import RUNNERS

if TYPE_CHECKING:
    from pyteamd.schema.problems import Problem

CHECK_STATUS = "status: 0 no errors; 1 an error, a file that cannot be read, or with -s a warning; 2 usage"
WRITTEN_BY = "a trace is written by: pyteamdctl team0 trace save FILE"


def check(arguments: Sequence[str], program: str) -> int:
    """`check FILE…`: every problem of every file, one line each, then what a start and a reload will do; status 1 for an error."""
    from pyteamd.schema.problems import ERROR, verdict

    parser = helptext.parser(
        program,
        "Check configuration files, JSON or YAML, and say all problems at once with file, line and path, and what a start and a "
        "reload will do. An error refuses a reload; a warning changes nothing.",
        f"{program} /etc/pyteamd/team0.conf && systemctl reload pyteamd@team0",
        notes=CHECK_STATUS,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="a configuration file; - for standard input")
    parser.add_argument("-s", "--strict", action="store_true", help="status 1 for warnings too")
    parser.add_argument("--json", action="store_true", help="one JSON document; its schema: pyteamd schema check")
    options = parser.parse_args(arguments)
    status, beginning = OK, f"{program.removesuffix('check')}example activebackup > FILE"
    documents = []
    for name in options.files:
        try:
            problems = _problems(name)
        except OSError as error:
            advice = f"; begin one with: {beginning}" if error.errno == errno.ENOENT else ""
            print(f"{printable(name)}: cannot be read: {error.strerror}{advice}", file=sys.stderr)
            status = FAILED
            continue
        if options.json:
            documents.append(_document(name, problems))
        else:
            for problem in problems:
                print(problem.told(name))
            print(f"{printable(name)}: {verdict(problems)}")
        if any(problem.weight == ERROR or options.strict for problem in problems):
            status = FAILED
    if options.json:
        print(json.dumps({"files": documents}, indent=2))
    return status


def _document(name: str, problems: list[Problem]) -> dict[str, Any]:
    """One file, for programs."""
    from pyteamd.schema.problems import ERROR, Severity, show_path, verdict

    errors = {problem.severity for problem in problems if problem.weight == ERROR}
    return {
        "file": name,
        "verdict": verdict(problems),
        "start": "fails" if Severity.START in errors else "partial" if errors else "good",
        "reload": "refused" if errors else "good",
        "problems": [
            {
                "weight": problem.weight,
                "path": show_path(problem.path),
                "message": problem.message,
                "allowed": problem.allowed,
                "hint": problem.hint,
                "line": problem.line,
                "column": problem.column,
                "text": problem.told(name),
            }
            for problem in problems
        ],
    }


def _problems(name: str) -> list[Problem]:
    """What is wrong with a file. OSError."""
    from pyteamd.config.config import Config
    from pyteamd.schema.problems import ConfigError

    try:
        return Config.load(_read(name), runners=RUNNERS, watchers=WATCHERS, file=name).problems
    except ConfigError as error:
        return error.problems


def schema(arguments: Sequence[str], program: str) -> int:
    """`schema [NAME]`: the JSON Schema of the configuration, for editors, or of an answer, for programs."""
    from pyteamd.cli.schemas import SCHEMAS
    from pyteamd.config.document import json_schema

    parser = helptext.parser(
        program,
        "Print the JSON Schema of the configuration, with which editors complete and check; or of what a command prints "
        "with --json.",
        f"{program} > team.schema.json",
        f"{program} explain",
        notes=f"names: {', '.join(SCHEMAS)}",
    )
    parser.add_argument("name", metavar="NAME", nargs="*", help="a command")
    name = " ".join(parser.parse_args(arguments).name)
    if name and name not in SCHEMAS:
        parser.error(f"{name!r} has no schema (there are: {', '.join(SCHEMAS)})")
    print(json.dumps(SCHEMAS[name] if name else json_schema(RUNNERS, WATCHERS), indent=2))
    return OK


def example(arguments: Sequence[str], program: str) -> int:
    """`example RUNNER [WATCHER]`: a commented configuration."""
    from pyteamd.config import document

    parser = helptext.parser(
        program,
        "Print a commented configuration for a runner, in YAML, ready to be edited.",
        f"{program} activebackup arp_ping > /etc/pyteamd/team0.yaml",
    )
    parser.add_argument("runner", metavar="RUNNER", choices=RUNNERS, help=", ".join(RUNNERS))
    parser.add_argument(
        "watcher", metavar="WATCHER", nargs="?", default="ethtool", choices=WATCHERS, help=", ".join(WATCHERS)
    )
    parser.add_argument("--json", action="store_true", help="the same in JSON, without comments")
    options = parser.parse_args(arguments)
    text = document.example(RUNNERS[options.runner], WATCHERS[options.watcher])
    if options.json:
        from pyteamd.schema.text import read

        text = json.dumps(read(text, "").tree, indent=2) + "\n"
    print(text, end="")
    return OK


def replay(arguments: Sequence[str], program: str) -> int:
    """`replay TRACE`: status 0 when the code of today decides the same, 1 with the first difference."""
    from pyteamd.scenario.replay import replay as run

    parser = helptext.parser(
        program,
        f"Feed a trace through this code: the same decisions, or the first difference; {WRITTEN_BY}",
        "pyteamdctl team0 trace save bug.jsonl",
        f"{program} bug.jsonl",
    )
    parser.add_argument("trace", metavar="TRACE", help="a trace")
    options = parser.parse_args(arguments)
    try:
        steps, difference = run(_read(options.trace).decode("utf-8", "replace").splitlines())
    except (OSError, ValueError) as error:
        reason = f"{error.strerror}; {WRITTEN_BY}" if isinstance(error, OSError) else error
        print(f"{options.trace}: {reason}", file=sys.stderr)
        return USAGE
    if difference is None:
        print(f"{options.trace}: {steps} steps, the same decisions")
        return OK
    print(f"{options.trace}: {steps} steps the same, then a difference\n{difference.text()}")
    return FAILED


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else octets_of(name)
