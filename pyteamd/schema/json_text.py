"""JSON exactly as jansson reads and writes it, because teamd and its clients do.

Reading is stricter than the standard library: duplicate keys, NaN and Infinity, integers outside signed 64
bit, reals that overflow, U+0000, half a surrogate pair, invalid UTF-8 and nesting below 2048 levels are
refused, and the outermost value must be an object or an array. A refusal carries jansson's text, line and
column (the column is that of the last character read), so that teamd's message "Failed to parse config: ..."
comes out the same.

Writing is sorted by key and ASCII only, with upper-case hexadecimal digits in escapes and reals with 17
significant digits that always show a point or an exponent.

How it works: one regular expression recognises a token; an explicit stack takes the place of recursion, so
depth costs no Python frames. Where the expression fails, `_Lexer._broken` goes over the place once more,
slowly, to find what jansson would have said. Pure: no input or output. Behaviour measured on jansson 2.14.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # the typing module costs the client 3 ms of its start
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

MAX_DEPTH, CONFIG_DEPTH = 2048, 100
"""Levels of nesting, the outermost value included: jansson's, and those of a configuration, which needs six."""

_CONTEXT_BYTES = 20
"""An error message quotes the token at fault when it is at most this long."""

_NO_MORE = object()
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_QUOTED = {char: f"\\{letter}" for letter, char in _ESCAPES.items()} | {'"': '\\"', "\\": "\\\\"}

_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
        (?P<mark>[{}\[\]:,])
      | (?P<string>"(?:[^"\\\x00-\x1f\ud800-\udfff]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
      | (?P<number>-?(?:0(?![0-9])|[1-9][0-9]*+)(?:\.[0-9]++|(?!\.))(?:[eE][+-]?[0-9]++|(?![eE])))
      | (?P<word>[A-Za-z]++)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER_START = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE][+-]?)?)?|[eE][+-]?)?)?")
_STRING_PIECE = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_START = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_SURROGATE = re.compile("[\ud800-\udfff]")


class JanssonError(ValueError):
    """What is wrong with a JSON text, in jansson's words; `line` counts from 1, `column` from 0."""

    def __init__(self, text: str, line: int, column: int) -> None:
        super().__init__(f"{text} on line {line}, column {column}")
        self.text = text
        self.line = line
        self.column = column


def loads(text: str | bytes, deepest: int = MAX_DEPTH) -> dict[str, Any] | list[Any]:
    """Read one JSON object or array. Undecodable bytes may come as bytes or as surrogate escapes in a str.

    Raises JanssonError.
    """
    lexer = _Lexer(text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text, deepest)
    lexer.scan()
    if lexer.kind not in ("[", "{"):
        lexer.fail("'[' or '{' expected")
    root: dict[str, Any] | list[Any] = lexer.value(1)
    open_: list[dict[str, Any] | list[Any]] = [root]
    fresh = True  # nothing read since the opening bracket
    while open_:
        top = open_[-1]
        closing = "}" if isinstance(top, dict) else "]"
        lexer.scan()
        if lexer.kind == closing:
            open_.pop()
            fresh = False
            continue
        if not fresh:
            if lexer.kind != ",":
                lexer.fail(f"'{closing}' expected")
            lexer.scan()
        if isinstance(top, dict):
            key = lexer.key(top)
            value = top[key] = lexer.value(len(open_) + 1)
        else:
            if lexer.kind == "end":
                lexer.fail("']' expected")
            value = lexer.value(len(open_) + 1)
            top.append(value)
        fresh = isinstance(value, (dict, list))
        if fresh:
            open_.append(value)
    lexer.scan()
    if lexer.kind != "end":
        lexer.fail("end of file expected")
    return root


def dumps(value: Any, indent: int = 4) -> str:
    """Write on several lines, `indent` blanks per level, no newline at the end; indent 0 is `dumps_oneline`.

    Takes dict (keys str), list, tuple, str, int, float, bool, None; raises TypeError for another type and
    ValueError for a float that is not finite. A lone surrogate in a str becomes U+FFFD, so that the result
    can always be read back.
    """
    out: list[str] = []
    frames: list[tuple[Iterator[tuple[str, Any]], str]] = [(iter([("", value)]), "")]
    while frames:
        items, closing = frames[-1]
        label, item = next(items, ("", _NO_MORE))
        if item is _NO_MORE:
            frames.pop()
            out.append(closing)
        elif item and isinstance(item, (dict, list, tuple)):
            outer = "\n" + " " * (indent * (len(frames) - 1)) if indent else ""
            inner = outer + " " * indent
            brackets = "{}" if isinstance(item, dict) else "[]"
            out.append(label + brackets[0])
            frames.append((_labelled(item, inner, "," if indent else ", "), outer + brackets[1]))
        else:
            out.append(label + _scalar(item))
    return "".join(out)


def dumps_oneline(value: Any) -> str:
    """Write on one line, `{"a": 1, "b": [1, 2]}`; otherwise as `dumps`."""
    return dumps(value, 0)


class _Lexer:
    """Splits the text into tokens; `kind` is the mark itself, or string, number, word, end, invalid."""

    def __init__(self, text: str, deepest: int) -> None:
        self.kind = ""
        self._text, self._deepest = text, deepest
        self._end = 0  # after the last character read
        self._token = ""
        self._value: Any = None
        bad = _SURROGATE.search(text)
        self._bad = bad.start() if bad else -1

    def scan(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        if match is None:
            self._broken(_SPACE.match(self._text, self._end).end())  # type: ignore[union-attr]
            return
        self.kind = match.lastgroup or ""
        self._token = match[self.kind]
        self._end = match.end()
        match self.kind:
            case "mark":
                self.kind = self._token
                return
            case "string":
                self._value = self._token[1:-1] if "\\" not in self._token else self._unescape()
                return
            case "number":
                self._check_next_byte()
                self._value = self._number()
            case "word":
                self._check_next_byte()
                self._value = _WORDS.get(self._token)
                if self._token not in _WORDS:
                    self.kind = "invalid"

    def key(self, members: dict[str, Any]) -> str:
        """Take the current token as an object's key, and read on to the token after the colon."""
        if self.kind != "string":
            self.fail("string or '}' expected")
        key: str = self._value
        if "\0" in key:
            self.fail("NUL byte in object key not supported")
        if key in members:
            self.fail("duplicate object key")
        self.scan()
        if self.kind != ":":
            self.fail("':' expected")
        self.scan()
        return key

    def value(self, depth: int) -> Any:
        """The current token as a value; an opening bracket gives an empty container for the caller to fill."""
        if depth > self._deepest:
            ours = f"nested more than {self._deepest} levels deep"
            self.fail("maximum parsing depth reached" if self._deepest == MAX_DEPTH else ours)
        match self.kind:
            case "{":
                return {}
            case "[":
                return []
            case "string" if "\0" in self._value:
                self.fail("\\u0000 is not allowed without JSON_ALLOW_NUL")
            case "string" | "number" | "word":
                return self._value
            case "invalid":
                self.fail("invalid token")
            case _:
                self.fail("unexpected token")

    def fail(self, text: str, *, no_context: bool = False) -> NoReturn:
        """Raise the error `text` at the current position, naming the current token if it is short."""
        token = self._token.split("\0")[0]
        if not token and not no_context:
            text += " near end of file"
        elif token and len(self._token.encode("utf-8", "surrogateescape")) <= _CONTEXT_BYTES:
            text += f" near '{token}'"
        before = self._text[: self._end]
        raise JanssonError(text, before.count("\n") + 1, len(before) - before.rfind("\n") - 1)

    def _number(self) -> int | float:
        token = self._token
        if any(char in token for char in ".eE"):
            real = float(token)
            if real in (float("inf"), float("-inf")):
                self.fail("real number overflow")
            return real
        # Longer ones are out of range; converting those could take long.
        integer = int(token[:21])
        if not -(2**63) <= integer < 2**63:
            self.fail("too big negative integer" if integer < 0 else "too big integer")
        return integer

    def _unescape(self) -> str:
        value = _ESCAPE.sub(_escaped, self._token[1:-1])
        if _SURROGATE.search(value):
            try:
                # Escapes give UTF-16 units, and nothing else can: surrogates must pair up.
                value = value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self._fail_surrogate()
        return value

    def _fail_surrogate(self) -> NoReturn:
        """Name the first escape, or pair of escapes, that is no character."""
        units = list(_ESCAPE.finditer(self._token))
        number = 0
        while True:
            unit = int(units[number][2] or "0", 16)
            second = units[number + 1] if number + 1 < len(units) else None
            if second is not None and (second.start() != units[number].end() or not second[2]):
                second = None
            if 0xDC00 <= unit <= 0xDFFF or (0xD800 <= unit <= 0xDBFF and second is None):
                self.fail(f"invalid Unicode '\\u{unit:04X}'")
            if 0xD800 <= unit <= 0xDBFF and second is not None:
                low = int(second[2], 16)
                if not 0xDC00 <= low <= 0xDFFF:
                    self.fail(f"invalid Unicode '\\u{unit:04X}\\u{low:04X}'")
                number += 1
            number += 1

    def _broken(self, start: int) -> None:
        """No token begins at `start`: raise jansson's error, or leave an invalid token for the parser."""
        char = self._text[start]
        self._token = ""
        self._end = start
        self._check_next_byte()
        self.kind = "invalid"
        if char == '"':
            self._fail_string()
        number = _NUMBER_START.match(self._text, start)
        self._token = (number[0] if number else "") or char
        self._end = start + len(self._token)
        if number and number[0]:
            self._check_next_byte()

    def _fail_string(self) -> NoReturn:
        """Raise jansson's error for the first mistake in the string that begins here."""
        start, end = self._end, self._end + 1
        while piece := _STRING_PIECE.match(self._text, end):
            end = piece.end()
        self._token = self._text[start:end]
        self._end = end
        char = self._text[end : end + 1]
        if not char:
            self.fail("premature end of input")
        self._check_next_byte()
        if char == "\n":
            self.fail("unexpected newline")
        if char < " ":
            self.fail(f"control character 0x{ord(char):x}")
        # What remains is a backslash; the character that spoils the escape is read, and shown, too.
        escape = _ESCAPE_START.match(self._text, end)
        assert escape is not None
        self._token += escape[0]
        self._end = escape.end()
        self._check_next_byte()
        spoiler = self._text[self._end : self._end + 1]
        self._token += spoiler
        self._end += len(spoiler)
        self.fail("invalid escape")

    def _check_next_byte(self) -> None:
        """Raise jansson's error if the byte after a word or a number, which jansson reads too, is no UTF-8."""
        if self._end == self._bad:
            # A surrogate that stands for no undecodable byte would begin with 0xed in UTF-8.
            code = ord(self._text[self._bad])
            byte = code & 0xFF if 0xDC80 <= code <= 0xDCFF else 0xED
            self.fail(f"unable to decode byte 0x{byte:x}", no_context=True)


def _escaped(match: re.Match[str]) -> str:
    """The character, or the UTF-16 unit, that an escape stands for."""
    return chr(int(match[2], 16)) if match[2] else _ESCAPES.get(match[1], match[1])


def _labelled(
    container: dict[str, Any] | list[Any] | tuple[Any, ...], margin: str, comma: str
) -> Iterator[tuple[str, Any]]:
    """The members with what is written before each: separator, line break, key."""
    lead = margin
    if isinstance(container, dict):
        # Code point order is the byte order of UTF-8, which jansson sorts by.
        for key, member in sorted(container.items()):
            yield f"{lead}{_string(key)}: ", member
            lead = comma + margin
    else:
        for member in container:
            yield lead, member
            lead = comma + margin


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(int(value))
        case float():
            return _real(value)
        case dict():
            return "{}"
        case list() | tuple():
            return "[]"
    raise TypeError(f"no JSON for {type(value).__name__}")


def _real(value: float) -> str:
    text = f"{value:.17g}"
    if text.lstrip("-") in ("inf", "nan"):
        raise ValueError(f"no JSON for {text}")
    mantissa, sign, exponent = text.partition("e")
    if not sign:
        return text if "." in text else text + ".0"
    return f"{mantissa}e{int(exponent)}"


def _string(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_QUOTED.get(char) or _character(ord(char)) for char in text) + '"'


def _character(code: int) -> str:
    if 0x20 <= code < 0x80:
        return chr(code)
    if 0xD800 <= code <= 0xDFFF:
        code = 0xFFFD
    if code < 0x10000:
        return f"\\u{code:04X}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04X}\\u{0xDC00 | code & 0x3FF:04X}"
