"""Files of sections and settings, as NetworkManager and systemd write them. Pure."""

from __future__ import annotations

from pyteamd.cli.convert.bonding import ConvertError

Sections = list[tuple[str, list[tuple[str, str]]]]


def read_ini(file: str, text: str, comments: str = "#;", joined_lines: bool = False) -> Sections:
    """Sections in order, each with its settings in order. `joined_lines`: a backslash at the end goes on. ConvertError."""
    sections: Sections = []
    for number, line in _lines(text, joined_lines):
        stripped = line.strip()
        if not stripped or stripped[0] in comments:
            continue
        if stripped[0] == "[" and stripped[-1] == "]":
            sections.append((stripped[1:-1], []))
            continue
        name, sign, value = stripped.partition("=")
        if not sign or not sections:
            what = "is no NAME=VALUE" if sections else "stands before the first [section]"
            raise ConvertError(f"{file}:{number}: {stripped[:60]!r} {what}")
        sections[-1][1].append((name.strip(), value.strip()))
    if not sections:
        raise ConvertError(f"{file}: has no [section]")
    return sections


def _lines(text: str, joined_lines: bool) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    kept = ""
    for number, line in enumerate(text.splitlines(), 1):
        if joined_lines and line.endswith("\\"):
            kept += line[:-1] + " "
            continue
        found.append((number, kept + line))
        kept = ""
    if kept:
        found.append((len(text.splitlines()), kept))
    return found


def unescaped(value: str) -> str:
    r"""A value of a key file: \s \n \t \r \\ are blank, newline, tab, return, backslash."""
    out, rest = [], iter(value)
    for char in rest:
        if char == "\\":
            char = next(rest, "\\")
            char = {"s": " ", "n": "\n", "t": "\t", "r": "\r"}.get(char, char)
        out.append(char)
    return "".join(out)


def escaped(value: str) -> str:
    """The way back."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return "\\s" + text[1:] if text.startswith(" ") else text
