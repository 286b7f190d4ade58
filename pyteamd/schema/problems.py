"""What can be wrong with a configuration: a problem, the error that carries them, and the words they are told in.

A problem says where (file, line, column, path of the key), what, and what is allowed instead, in one line:

    team0.conf:4:9: link_watch[1].target_hots: unknown key (did you mean 'target_host'?)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, TypeAlias

from pyteamd.model.printable import printable
from pyteamd.values import dataclass

Path: TypeAlias = tuple[str | int, ...]

ERROR, WARNING = "error", "warning"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_SHOWN_MAX = 60


class Severity(Enum):
    """What a problem leads to, the least first."""

    UNREAD = "nothing: nobody reads the key"
    DOUBTFUL = "nothing: the value is used, but it may not work on this machine"
    TOLERATED = "the value is not used, the daemon starts"
    PORT = "the port is refused"
    START = "the daemon does not start"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1 and point at the key, or at the element of a list."""

    severity: Severity
    path: Path
    message: str
    allowed: str = ""
    """What may stand there instead."""
    hint: str = ""
    """What was probably meant."""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = show_path(self.path)
        more = "; ".join(part for part in (self.allowed and f"allowed: {self.allowed}", self.hint) if part)
        return (f"{where}: " if where else "") + self.message + (f" ({more})" if more else "")

    def text(self, file: str) -> str:
        """The whole line. `file` is how the user knows the text, for instance the file's name."""
        place = [str(part) for part in (file, self.line, self.column) if part not in ("", None)]
        return printable((":".join(place) + ": " if place else "") + str(self) + self._consequence())

    def told(self, file: str) -> str:
        """The line with its weight, in the form compilers have: `team0.conf:4:9: error: ports.eth1.prio: …`."""
        place = [str(part) for part in (file, self.line, self.column) if part not in ("", None)]
        return printable((":".join(place) + ": " if place else "") + f"{self.weight}: {self}{self._consequence()}")

    @property
    def weight(self) -> str:
        """error: a reload refuses it; warning: nothing is lost."""
        return WARNING if self.severity in (Severity.UNREAD, Severity.DOUBTFUL) else ERROR

    def _consequence(self) -> str:
        if self.severity is not Severity.PORT:
            return ""
        general = self.path == ("ports",) or self.path[:1] == ("link_watch",)
        return "; every port is refused" if general else "; the port is refused"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has all of them, the tolerated ones too, in order of the text."""

    def __init__(self, problems: Sequence[Problem], file: str = "", teamd_lines: Sequence[str] = ()) -> None:
        super().__init__(problems, file, teamd_lines)
        self.problems = list(problems)
        self.file = file
        self.teamd_lines = list(teamd_lines)
        """The lines that teamd logs for a text that cannot be parsed; else empty."""

    def __str__(self) -> str:
        return "\n".join(problem.text(self.file) for problem in self.problems)


def verdict(problems: Sequence[Problem]) -> str:
    """What a start and a reload do with a text that has these problems."""
    severities = {problem.severity for problem in problems}
    if not severities:
        return "good: start and reload take it"
    errors = sum(problem.weight == ERROR for problem in problems)
    told = ", ".join(
        counted(number, word) for number, word in ((errors, ERROR), (len(problems) - errors, WARNING)) if number
    )
    if Severity.START in severities:
        return f"{told}: start fails, reload is refused"
    if Severity.PORT in severities:
        return f"{told}: start leaves the refused ports out, reload is refused"
    if errors:
        return f"{told}: start goes on without these values, as teamd does; reload is refused"
    return f"{told}: start and reload take it" + " without these keys" * (Severity.UNREAD in severities)


def counted(number: int, word: str) -> str:
    """ "1 error", "2 errors"."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def show_path(path: Path) -> str:
    """A path as one writes it: `link_watch[1].target_host`, `ports["eth0.100"].prio`; "" for the root."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(text: str) -> str:
    """A string in double quotes, safe to print, cut where it is long."""
    cut = text[:_SHOWN_MAX] + "…" if len(text) > _SHOWN_MAX else text
    safe = "".join(char if char.isprintable() and char not in '"\\' else _escaped(char) for char in cut)
    return f'"{safe}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return repr(char)[1:-1]


def described(value: Any) -> str:
    """A value with its type, for "must be … , not …"."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return f"the integer {value}"
        case float():
            return f"the number {value}"
        case str():
            return f"the string {quoted(value)}"
        case list():
            return "a list"
    return "an object"


def near_miss(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" for the known word most like this one, "" when none is."""
    words = {name.lower().replace("-", "_"): name for name in known}
    plain = word[:_SHOWN_MAX].lower().replace("-", "_")
    if plain in words:
        return f"did you mean '{words[plain]}'?"
    from difflib import get_close_matches  # on demand: a good configuration never needs it

    close = get_close_matches(plain, words, 1, 0.7)
    return f"did you mean '{words[close[0]]}'?" if close else ""
