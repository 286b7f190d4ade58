"""Files of shell assignments, read as a shell reads them: quotes of every kind, lines that go on, comments. Pure.

What only a shell can know ($NAME, `command`) is kept as it stands and refused where its value matters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from pyteamd.cli.convert.bonding import ConvertError

_NAME = re.compile(r"[A-Za-z_]\w*(?=\+?=)")
_CODE = re.compile(r"([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})")
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Words:
    """The words of a text, one after the other."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._at = 0
        self.line = 1

    def next(self) -> tuple[str, bool] | None:
        """The next word and whether a shell would replace something in it; None at the end. ConvertError."""
        self._skip()
        if self._at >= len(self._text):
            return None
        word, replaced = [], False
        while (char := self._peek()) and char not in " \t\n;":
            self._at += 1
            match char:
                case "'":
                    word.append(self._until("'"))
                case '"':
                    part, dollar = self._double()
                    word.append(part)
                    replaced = replaced or dollar
                case "\\":
                    word.append(self._escaped())
                case "$" if self._peek() == "'":
                    self._at += 1
                    word.append(self._ansi())
                case "$" if self._peek() == '"':  # a text to be translated, which stays as it is
                    pass
                case "$" | "`":
                    word.append(self._substitution(char))
                    replaced = True
                case _:
                    word.append(char)
        return "".join(word), replaced

    def _skip(self) -> None:
        while char := self._peek():
            if char == "#":
                while self._peek() not in ("", "\n"):
                    self._at += 1
            elif char in " \t;\n":
                self.line += char == "\n"
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self.line += 1
                self._at += 2
            else:
                return

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _escaped(self) -> str:
        char = self._peek()
        self._at += 1
        self.line += char == "\n"
        return "" if char == "\n" else char

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._at)
        if end < 0:
            raise ConvertError(f"{self._file}:{self.line}: a quote {quote} is not closed")
        part = self._text[self._at : end]
        self.line += part.count("\n")
        self._at = end + 1
        return part

    def _double(self) -> tuple[str, bool]:
        begin, word, replaced = self.line, [], False
        while (char := self._peek()) != '"':
            if not char:
                raise ConvertError(f'{self._file}:{begin}: a quote " is not closed')
            self._at += 1
            self.line += char == "\n"
            if char == "\\" and self._peek() in ("$", "`", '"', "\\", "\n"):
                word.append(self._escaped())
                continue
            replaced = replaced or char in "$`"
            word.append(self._substitution(char) if char in "$`" else char)
        self._at += 1
        return "".join(word), replaced

    def _substitution(self, first: str) -> str:
        """The text that a shell would replace: `…`, $(…), ${…}, or the $ before a name. ConvertError."""
        opening = first if first == "`" else self._peek()
        closing = {"`": "`", "(": ")", "{": "}"}.get(opening)
        if closing is None:
            return first
        begin, depth, at = self.line, 0, self._at
        while True:
            char = self._peek()
            if not char:
                raise ConvertError(f"{self._file}:{begin}: {first}{opening if first == '$' else ''} is not closed")
            self._at += 1
            self.line += char == "\n"
            if char == closing:
                depth -= 1
                if depth <= 0:
                    return first + self._text[at : self._at]
            elif char == opening:
                depth += 1

    def _ansi(self) -> str:
        begin, word = self.line, []
        while (char := self._peek()) != "'":
            if not char:
                raise ConvertError(f"{self._file}:{begin}: a quote $' is not closed")
            self._at += 1
            self.line += char == "\n"
            word.append(self._code() if char == "\\" else char)
        self._at += 1
        return "".join(word)

    def _code(self) -> str:
        """The character for an escape sequence of $'…'."""
        if code := _CODE.match(self._text, self._at):
            self._at = code.end()
            number = int(code[code.lastindex or 1], 8 if code[1] else 16)
            if code[1] or code[2]:  # an octet
                return bytes([number & 0xFF]).decode("utf-8", "surrogateescape")
            return chr(number) if number <= sys.maxunicode else ""
        char = self._peek()
        self._at += 1
        return _ANSI.get(char, char)


def assignments(
    file: str, text: str, needed: re.Pattern[str], tell: Callable[[str], None] | None = None
) -> dict[str, str]:
    """Name → value; `tell` is told what is set twice. ConvertError for what is no assignment, and where only a shell knows a value whose
    name is `needed`."""
    words = Words(file, text)
    found: dict[str, str] = {}
    while (read := words.next()) is not None:
        word, replaced = read
        name = _NAME.match(word)
        if word == "export":
            continue
        if name is None:
            raise ConvertError(f"{file}:{words.line}: {word!r} is no NAME=VALUE; is a value with spaces not in quotes?")
        value = word[name.end() :]
        if replaced and needed.fullmatch(name[0]):
            raise ConvertError(f"{file}:{words.line}: {name[0]}: only a shell knows what {value.lstrip('+=')!r} is")
        if value.startswith("+"):
            found[name[0]] = found.get(name[0], "") + value[2:]
            continue
        if tell and found.get(name[0], value[1:]) != value[1:]:
            tell(f"{file}:{words.line}: {name[0]} is set again; what stood there before is not used")
        found[name[0]] = value[1:]
    return found


def quoted(value: str) -> str:
    """A value as a shell reads it back."""
    if re.fullmatch(r"[\w.:/,@%+-]*", value, re.ASCII):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def in_double(value: str) -> str:
    """The same between double quotes."""
    return '"' + re.sub(r'([$`"\\])', r"\\\1", value) + '"'
