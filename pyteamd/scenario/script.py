"""Scenario scripts: what happens to a team, and what the daemon does about it, as text that is read, run and compared.

A script is made of paragraphs, separated by empty lines. A paragraph that begins with a lower-case letter holds commands, one a line
(an indented line, and one that begins with a closing bracket, continue the line above); what follows a line of four dashes is the
output they are expected to have. Every other paragraph is prose. The first line may say where the script can run: `worlds: sim kernel`;
with the word `independent`, only where the driver switches receiving and sending of a port apart (Linux 7.1 and later).

    Two ports; the better one is cut.

    link eth1 down
    ----
    +0.000 info    eth1: ethtool-link went down.
    +0.000 write   set activeport to eth2
    +0.000 info    Changed active port to "eth2".

The time is that since the paragraph began. Interfaces are shown by name, hardware addresses as `mac(eth1)`: the one eth1 was made
with. A World performs the commands: the simulated one is in `scenario.simulated`; a real one compares without times and writes (`story`).
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from itertools import groupby

from pyteamd.scenario.actions import ACTIONS
from pyteamd.scenario.questions import QUESTIONS
from pyteamd.scenario.session import ScenarioSession
from pyteamd.scenario.shell import NotQuiet
from pyteamd.scenario.world import DEVICE, CommandError, World
from pyteamd.values import dataclass

SEPARATOR = "----"
WORLDS = re.compile(r"worlds:\s*(.*)")
SENT = re.compile(r"sent \d+ on ")
STAMPED = re.compile(r"\+\d+\.\d+ (\S+) +(.*)")
NAMED = re.compile(r"\w+ (\S+): ")
REMOVED = "warning Team device removal detected."
LEAVING = re.compile(r"warning (\S+: is no port of the team any more|Changed active port to .*)")
"""Told when a removed device loses its ports, if the daemon hears of a port before it hears of the device."""
NOTE_KINDS = frozenset(("debug", "info", "warning", "error", "critical", "denied", "broken"))


class ScriptError(Exception):
    """The script cannot be run; the text begins with the number of the line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Command:
    """One command, continuation lines included, and the number of its first line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of commands with the output the script expects."""

    source: tuple[str, ...]
    commands: tuple[Command, ...]
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed script; prose is kept word for word."""

    parts: tuple[tuple[str, ...] | Paragraph, ...]
    worlds: frozenset[str]
    """Where it can run: "sim", "kernel"; and "independent", see the top."""

    def teams(self) -> frozenset[str]:
        """The teams that it names, and team0, which is meant where none is named."""
        commands = [command for part in self.parts if isinstance(part, Paragraph) for command in part.commands]
        return frozenset((DEVICE, *(command.text.split()[-1] for command in commands if command.text[:5] == "team ")))


def parse(text: str) -> Script:
    """Split a script into prose and paragraphs of commands. Raises ScriptError for an unknown command, wherever it stands."""
    lines = text.splitlines()
    worlds = frozenset(("sim",))
    parts: list[tuple[str, ...] | Paragraph] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and bool(lines[end].strip()) == bool(lines[at].strip()):
            end += 1
        paragraph = tuple(lines[at:end])
        found = WORLDS.match(paragraph[0])
        if found:
            worlds = frozenset(found[1].split())
        parts.append(paragraph if found or not paragraph[0][:1].islower() else parse_commands(paragraph, at + 1))
        at = end
    return Script(tuple(parts), worlds)


def parse_commands(paragraph: tuple[str, ...], first_line: int) -> Paragraph:
    """A paragraph of commands."""
    cut = paragraph.index(SEPARATOR) if SEPARATOR in paragraph else len(paragraph)
    commands: list[Command] = []
    for offset, line in enumerate(paragraph[:cut]):
        if commands and line[:1] in (" ", "\t", "}", "]"):
            last = commands[-1]
            commands[-1] = Command(last.line, f"{last.text}\n{line}")
        else:
            commands.append(Command(first_line + offset, line))
    for command in commands:
        word = command.text.split()[0]
        if word not in ACTIONS and word not in QUESTIONS:
            known = ", ".join(sorted((*ACTIONS, *QUESTIONS)))
            raise ScriptError(command.line, f"unknown command {word!r} (known: {known})")
    return Paragraph(paragraph[:cut], tuple(commands), paragraph[cut + 1 :])


def run(text: str, make_world: Callable[[], World]) -> str:
    """Run a script in a new world; returns the script with the output it really had. Raises ScriptError."""
    return "\n".join(line for part in play(parse(text), make_world) for line in render(part)) + "\n"


def check(text: str, make_world: Callable[[], World], *, exact: bool = True) -> list[str]:
    """Run a script and compare; returns the differences as lines, [] when there are none.

    `exact=False` compares only the story (see `story`), for worlds with a clock of their own.
    """
    script = parse(text)
    differences: list[str] = []
    for wanted, got in zip(script.parts, play(script, make_world), strict=True):
        if not isinstance(wanted, Paragraph) or not isinstance(got, Paragraph):
            continue
        before, after = wanted.expected, got.expected
        if not exact:
            before, after = story(before, script.teams()), story(after, script.teams())
        if before != after:
            differences.append(f"line {wanted.commands[0].line}: {'; '.join(wanted.source)}")
            differences += compare(before, after)
    return differences


def play(script: Script, make_world: Callable[[], World]) -> list[tuple[str, ...] | Paragraph]:
    """The parts of the script, each paragraph of commands with the output it really had."""
    session = ScenarioSession(make_world())
    if "independent" in script.worlds:
        session.world.switch_apart()
    played: list[tuple[str, ...] | Paragraph] = []
    try:
        for part in script.parts:
            if isinstance(part, Paragraph):
                session.begin()
                for command in part.commands:
                    perform(session, command)
                part = Paragraph(part.source, part.commands, tuple(session.end()))
            played.append(part)
    finally:
        session.world.close()
    return played


def perform(session: ScenarioSession, command: Command) -> None:
    """Run one command. Raises ScriptError."""
    word = command.text.split()[0]
    # Dedented, so that YAML below `config` stays YAML.
    rest = textwrap.dedent(command.text[len(word) :].lstrip(" \t").lstrip("\n")).strip()
    try:
        if word in ACTIONS:
            session.acted = True
            ACTIONS[word](session, rest)
        else:
            session.gather()
            session.answer(QUESTIONS[word](session, rest))
    except (CommandError, NotQuiet) as problem:
        raise ScriptError(command.line, f"{word}: {problem}") from None


def render(part: tuple[str, ...] | Paragraph) -> tuple[str, ...]:
    """A part as lines of a script."""
    if not isinstance(part, Paragraph):
        return part
    return part.source + ((SEPARATOR, *part.expected) if part.expected else ())


def story(lines: Sequence[str], teams: Collection[str] = ()) -> tuple[str, ...]:
    """What must be the same in every world: the notes in their order, without times, and the answers to questions.

    The notes of one process's `teams` have no order among each other. How many ports a device loses before it goes is up to the kernel.
    """
    told = []
    for line in lines:
        stamped = STAMPED.fullmatch(line)
        if stamped is None and not SENT.match(line):
            told.append(line)
        elif stamped is not None and stamped[1] in NOTE_KINDS:
            told.append(f"{stamped[1]} {stamped[2]}")
    if REMOVED in told:
        told = [line for line in told if not LEAVING.fullmatch(line)]

    def whose(line: str) -> str:
        found = NAMED.match(line)
        return found[1] if found and found[1] in teams else ""

    told = [line for _, lines in groupby(told, key=lambda line: whose(line) != "") for line in sorted(lines, key=whose)]
    told = [line for _, lines in groupby(told, key=is_info) for line in sorted(lines, key=is_choice)]
    return tuple(line for _, lines in groupby(told, key=about_any_port) for line in sorted(lines))


def about_any_port(line: str) -> str:
    """The line without the name of its port: which of several ports is first in the same moment is up to the kernel too."""
    return re.sub(r"^(\w+) [^ :]+: ", r"\1 PORT: ", line)


def is_info(line: str) -> bool:
    """Whether it is a note of a good moment. In a run of them the links come first and what was made of them last: when a link counts as
    operational is up to a worker of the kernel, and a first choice waits for the links that have a carrier."""
    return line.startswith("info ")


def is_choice(line: str) -> bool:
    """Whether a run of good notes ends with it."""
    return line.startswith("info ") and not line.endswith(" went up.")


def compare(wanted: Sequence[str], got: Sequence[str]) -> list[str]:
    """Lines only expected with `-`, lines only got with `+`, common ones indented."""
    return [f"  {line}" for line in difflib.ndiff(wanted, got) if not line.startswith("?")]
