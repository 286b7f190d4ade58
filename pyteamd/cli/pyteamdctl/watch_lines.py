"""What a line of `watch` is made of: pieces of text, each with a style, cut and folded by the columns of a terminal. Pure."""

from __future__ import annotations

from enum import Enum
from unicodedata import combining, east_asian_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Style(Enum):
    """What a piece of text means; the terminal decides how it looks."""

    PLAIN = "plain"
    TITLE = "title"
    FAINT = "faint"
    BROKEN = "broken"
    DOUBTFUL = "doubtful"
    WAITING = "waiting"
    CARRYING = "carrying"
    STANDBY = "standby"


class Line:
    """Pieces from left to right; `chosen`: where the cursor stands."""

    __slots__ = ("chosen", "pieces")

    def __init__(self, *pieces: tuple[str, Style] | str, chosen: bool = False) -> None:
        self.pieces = [(piece, Style.PLAIN) if isinstance(piece, str) else piece for piece in pieces]
        self.chosen = chosen

    @property
    def text(self) -> str:
        """All of it without styles."""
        return "".join(text for text, _ in self.pieces)

    def cut(self, columns: int) -> Line:
        """As much of it as there is room for."""
        made, left = Line(chosen=self.chosen), columns
        for text, style in self.pieces:
            piece = cut(text, left)
            made.pieces.append((piece, style))
            left -= width(piece)
            if piece != text:
                break
        return made


def width(text: str) -> int:
    """Columns it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, columns: int) -> str:
    """Its beginning, with a sign that there is more."""
    if width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > columns - 1:
            break
        kept += char
    return f"{kept}…" if columns > 0 else ""


def padded(text: str, columns: int, right: bool = False) -> str:
    """Exactly so many columns."""
    text = cut(text, columns)
    room = " " * (columns - width(text))
    return room + text if right else text + room


def folded(text: str, columns: int) -> list[str]:
    """A sentence in lines of at most so many columns."""
    lines = [""]
    for word in text.split():
        if lines[-1] and width(lines[-1]) + 1 + width(word) > columns:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def indented(text: str, columns: int, by: int, style: Style = Style.PLAIN) -> list[Line]:
    """A sentence, folded, with a margin."""
    return [Line((" " * by + piece, style)) for piece in folded(text, max(10, columns - by))]


def aligned(rows: Iterable[tuple[str, str]], by: int) -> list[Line]:
    """Names and values in two columns."""
    told = [*rows]
    wide = max((width(name) for name, _ in told), default=0)
    return [Line(" " * by, (padded(name, wide), Style.FAINT), f"  {value}") for name, value in told]
