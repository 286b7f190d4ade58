"""Names of links and texts of peers, made harmless for their readers.

The kernel forbids only blanks, "/" and ":" in the name of a link. Everything else may stand there: an escape sequence that sets the
title of a terminal or hides a line, an override that turns the writing direction around, a line separator that forges a log line,
octets that are no UTF-8. What people read (terminal, log, metrics, explanations) goes through here; what programs read (JSON, the
control protocol, files to be read back) stays exact.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # the client imports this module, and typing costs it 3 ms
    from typing import Any, TextIO

_PLAIN = "@%+=,.-_"
_FIRST_OCTET, _LAST_OCTET = "\udc80", "\udcff"
"""What Python makes of octets that are no UTF-8 (surrogateescape)."""


def printable(text: str) -> str:
    r"""One line as it may be shown: every character that cannot be printed is escaped, as `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def spelled(name: str) -> str:
    r"""A name as it is spelled everywhere: an octet that is no UTF-8 is written `\xe4`."""
    if name.isprintable():
        return name
    return "".join(_escaped(char) if _FIRST_OCTET <= char <= _LAST_OCTET else char for char in name)


def of_kernel(octets: bytes) -> str:
    r"""A name as the kernel has it, spelled: an octet that is no UTF-8 is `\xe4`, and the backslash of a name that reads so is `\x5c`."""
    if b"\\x" in octets:
        import re

        octets = re.sub(rb"\\(?=x[0-9a-f]{2})", rb"\\x5c", octets)
    return octets.decode("utf-8", "backslashreplace")


def spellings(name: str) -> list[bytes]:
    """The octets that a name may stand for, the likelier first: those that escapes in it mean (see `of_kernel`), and those it is."""
    octets = name.encode("utf-8", "surrogateescape")
    if b"\\x" not in octets:
        return [octets]
    import re  # the client hardly ever needs it

    meant = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), octets)
    return [octets] if meant == octets else [meant, octets]


def in_shell(name: str) -> str:
    r"""A name as a word of a command that people are told to type: quoted where a shell would not take it as it is."""
    if all(char.isalnum() or char in _PLAIN for char in name):
        return name
    octets = spellings(name)[0]
    if name.isprintable() and octets == name.encode():
        return "'" + name.replace("'", "'\\''") + "'"
    return "$'" + "".join(chr(o) if chr(o).isalnum() and o < 128 else f"\\x{o:02x}" for o in octets) + "'"


def after_set(name: str) -> str:
    """The same behind `ip link set`: behind the word `dev`, if ip may take it for a word of its own. None of these has a digit."""
    return in_shell(name) if any(char.isdigit() for char in name) else f"dev {in_shell(name)}"


def argument(name: str) -> str:
    """The same as the last argument of a command of ours: a dash in front makes no option of it."""
    return f"-- {in_shell(name)}" if name.startswith("-") else in_shell(name)


def printable_lines(text: str) -> str:
    """A text of several lines as it may be shown: each of them `printable`. Only the newline ends a line."""
    return text if text.isprintable() else "\n".join(printable(line) for line in text.split("\n"))


def printable_tree(value: Any) -> Any:
    """Plain JSON values with every string in them made printable, the keys of objects included."""
    match value:
        case str():
            return printable(value)
        case list():
            return [printable_tree(element) for element in value]
        case dict():
            return {printable(str(key)): printable_tree(item) for key, item in value.items()}
    return value


def shown(text: str, out: TextIO) -> str:
    """A text for people and programs alike: exact into a pipe or a file, printable on a terminal."""
    return printable_lines(text) if out.isatty() else text


def _escaped(char: str) -> str:
    if _FIRST_OCTET <= char <= _LAST_OCTET:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return repr(char)[1:-1]
