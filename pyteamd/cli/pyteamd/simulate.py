"""`pyteamd simulate`: run scenario scripts, or random ones, on simulated links and virtual time, without any privileges."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.cli.given_file import text_of
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.model.printable import printable
from pyteamd.scenario import script as scenario
from pyteamd.scenario.actions import ACTIONS
from pyteamd.scenario.questions import QUESTIONS
from pyteamd.scenario.random_runs import STEPS, simulate_random
from pyteamd.scenario.script import ScriptError
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.schema.problems import ConfigError


def main(arguments: Sequence[str], program: str) -> int:
    """Returns the exit code: 1 when a script cannot be run, differs from its output, or a random run fails."""
    options = parse(arguments, program)
    if options.commands:
        print(describe_commands())
        return OK
    try:
        if options.random is not None:
            return run_random(options)
        return max([run_file(path, options) for path in options.files], default=OK)
    except OSError as problem:
        hint = f"what a script can say: {program} --commands"
        print(f"{program}: {printable(str(problem.filename))}: {problem.strerror}; {hint}", file=sys.stderr)
        return FAILED
    except UnicodeDecodeError as problem:
        print(f"{program}: {problem}", file=sys.stderr)
        return FAILED


def parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    """Read the command line. SystemExit with a message when it is wrong."""
    parser = helptext.parser(
        program,
        "Run scenario scripts on simulated links and virtual time.",
        f"printf 'port eth1\\nstart\\nview\\n' | {program} -",
        f"{program} --check tests/scenarios/*.txt",
        f"{program} --random 1000 examples/activebackup_ethtool_1.conf",
        f"{program} --commands",
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="script to run, - for standard input; with --random a configuration"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the output in the script and show differences"
    )
    parser.add_argument("--rewrite", action="store_true", help="put the output into the script")
    parser.add_argument(
        "--random", type=int, metavar="N", help="run N random scenarios with this configuration instead"
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="SEED", help="with --random: the first seed (default 0)"
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help=f"with --random: length (default {STEPS})"
    )
    parser.add_argument("--timeline", metavar="PAGE", help="also draw what happened as an HTML page")
    parser.add_argument("--commands", action="store_true", help="list the commands of scripts")
    options = parser.parse_args(list(arguments))
    if options.random is not None and (options.random < 1 or options.steps < 1 or len(options.files) != 1):
        parser.error("--random needs at least 1 run and 1 step, and one configuration file")
    if options.rewrite and ("-" in options.files or options.check):
        parser.error("--rewrite goes neither with standard input nor with --check")
    if options.timeline and (options.random is not None or len(options.files) != 1):
        parser.error("--timeline needs exactly one script")
    if not (options.files or options.commands):
        parser.error("which script? (pyteamd simulate FILE; --commands lists what a script can say)")
    return options


def run_file(path: str, options: argparse.Namespace) -> int:
    """One script, as the options say."""
    text = sys.stdin.read() if path == "-" else text_of(path)
    worlds: list[SimulatedWorld] = []

    def world() -> SimulatedWorld:
        worlds.append(SimulatedWorld())
        return worlds[-1]

    try:
        if options.check:
            differences = scenario.check(text, world)
            if differences:
                print(f"{path}:", *differences, sep="\n")
            return max(draw(worlds, options.timeline), FAILED if differences else OK)
        transcript = scenario.run(text, world)
    except ScriptError as problem:
        print(f"{path}: {problem}", file=sys.stderr)
        return FAILED
    if not options.rewrite:
        print(transcript, end="")
    elif transcript != text:
        Path(path).write_text(transcript, encoding="utf-8")
        print(f"{path}: rewritten")
    return draw(worlds, options.timeline)


def draw(worlds: Sequence[SimulatedWorld], path: str | None) -> int:
    """The picture of what the daemons of a world did, where one is wanted. Returns the exit code."""
    if path is None:
        return OK
    from pyteamd.cli.pyteamd.timeline import write
    from pyteamd.scenario.replay import retell
    from pyteamd.views.timeline import joined, timeline

    parts = [
        timeline(trace.lines({"now": end}), retell) for world in worlds for trace, end in world.traces() if len(trace)
    ]
    if not parts:
        print("no daemon was started: there is nothing to draw", file=sys.stderr)
        return FAILED
    return write(joined(parts), path)


def run_random(options: argparse.Namespace) -> int:
    """Random scenarios with one configuration; each failure is printed as a script."""
    (path,) = options.files
    seeds = range(options.first, options.first + options.random)
    failed = 0
    try:
        for failure in simulate_random(text_of(path), seeds, options.steps):
            failed += 1
            print(failure, end="\n\n", flush=True)
    except ConfigError as problem:
        print(problem, file=sys.stderr)
        return FAILED
    print(
        f"{len(seeds)} random runs of {options.steps} steps (seeds {seeds[0]} to {seeds[-1]}): {failed or 'none'} failed"
    )
    return FAILED if failed else OK


def describe_commands() -> str:
    """The help texts of all commands."""
    texts = [inspect.getdoc(command) or "" for command in (*ACTIONS.values(), *QUESTIONS.values())]
    return "\n".join(
        "\n".join([text.splitlines()[0], *(f"    {line}" for line in text.splitlines()[1:] if line)]) for text in texts
    )
