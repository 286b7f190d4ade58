"""JSON as jansson has it: refusals with their text, line and column, and the written form.

The tables were made by jansson 2.14; where the library is installed, both are also compared on texts made at random.
"""

from __future__ import annotations

import random
import struct

import pytest
from jansson_oracle import LIBRARY, Oracle

from pyteamd.schema import json_text

REFUSED = [
    (b"", "'[' or '{' expected near end of file on line 1, column 0"),
    (b" \n ", "'[' or '{' expected near end of file on line 2, column 1"),
    (b"{", "string or '}' expected near end of file on line 1, column 1"),
    (b"[", "']' expected near end of file on line 1, column 1"),
    (b'{"a"', "':' expected near end of file on line 1, column 4"),
    (b'{"a":', "unexpected token near end of file on line 1, column 5"),
    (b'{"a":1', "'}' expected near end of file on line 1, column 6"),
    (b'{"a":1,', "string or '}' expected near end of file on line 1, column 7"),
    (b"[1", "']' expected near end of file on line 1, column 2"),
    (b"[1,", "']' expected near end of file on line 1, column 3"),
    (b'{"a":1,}', "string or '}' expected near '}' on line 1, column 8"),
    (b"[1,]", "unexpected token near ']' on line 1, column 4"),
    (b"[,]", "unexpected token near ',' on line 1, column 2"),
    (b"{,}", "string or '}' expected near ',' on line 1, column 2"),
    (b"{a:1}", "string or '}' expected near 'a' on line 1, column 2"),
    (b"{'a':1}", "string or '}' expected near ''' on line 1, column 2"),
    (b"{1:1}", "string or '}' expected near '1' on line 1, column 2"),
    (b'{"a" 1}', "':' expected near '1' on line 1, column 6"),
    (b"[1 2]", "']' expected near '2' on line 1, column 4"),
    (b"[1}", "']' expected near '}' on line 1, column 3"),
    (b'{"a":1]', "'}' expected near ']' on line 1, column 7"),
    (b'{"a":1 "b":2}', "'}' expected near '\"b\"' on line 1, column 10"),
    (b"[:]", "unexpected token near ':' on line 1, column 2"),
    (b"{}x", "end of file expected near 'x' on line 1, column 3"),
    (b"{} {}", "end of file expected near '{' on line 1, column 4"),
    (b"[]]", "end of file expected near ']' on line 1, column 3"),
    (b"1", "'[' or '{' expected near '1' on line 1, column 1"),
    (b'"a"', "'[' or '{' expected near '\"a\"' on line 1, column 3"),
    (b"null", "'[' or '{' expected near 'null' on line 1, column 4"),
    (b"[01]", "invalid token near '0' on line 1, column 2"),
    (b"[-01]", "invalid token near '-0' on line 1, column 3"),
    (b"[1.]", "invalid token near '1.' on line 1, column 3"),
    (b"[1.x]", "invalid token near '1.' on line 1, column 3"),
    (b"[.5]", "invalid token near '.' on line 1, column 2"),
    (b"[+1]", "invalid token near '+' on line 1, column 2"),
    (b"[-]", "invalid token near '-' on line 1, column 2"),
    (b"[-a]", "invalid token near '-' on line 1, column 2"),
    (b"[1e]", "invalid token near '1e' on line 1, column 3"),
    (b"[1e+]", "invalid token near '1e+' on line 1, column 4"),
    (b"[1.5.2]", "']' expected near '.' on line 1, column 5"),
    (b"[0x10]", "']' expected near 'x' on line 1, column 3"),
    (b"[NaN]", "invalid token near 'NaN' on line 1, column 4"),
    (b"[Infinity]", "invalid token near 'Infinity' on line 1, column 9"),
    (b"[-Infinity]", "invalid token near '-' on line 1, column 2"),
    (b"[nul]", "invalid token near 'nul' on line 1, column 4"),
    (b"[True]", "invalid token near 'True' on line 1, column 5"),
    (b"[9223372036854775808]", "too big integer near '9223372036854775808' on line 1, column 20"),
    (b"[-9223372036854775809]", "too big negative integer near '-9223372036854775809' on line 1, column 21"),
    (b"[99999999999999999999]", "too big integer near '99999999999999999999' on line 1, column 21"),
    (b"[" + b"9" * 5000 + b"]", "too big integer on line 1, column 5001"),
    (b"[1e400]", "real number overflow near '1e400' on line 1, column 6"),
    (b"[-1e400]", "real number overflow near '-1e400' on line 1, column 7"),
    (b'["a', "premature end of input near '\"a' on line 1, column 3"),
    (b'["a\\"', "premature end of input near '\"a\\\"' on line 1, column 5"),
    (b'["a\nb"]', "unexpected newline near '\"a' on line 1, column 3"),
    (b'["a\tb"]', "control character 0x9 near '\"a' on line 1, column 3"),
    (b'["\x01"]', "control character 0x1 near '\"' on line 1, column 2"),
    (b'["\x00"]', "control character 0x0 near '\"' on line 1, column 2"),
    (b'["\\x"]', "invalid escape near '\"\\x' on line 1, column 4"),
    (b'["\\', "invalid escape near '\"\\' on line 1, column 3"),
    (b'["\\u"]', "invalid escape near '\"\\u\"' on line 1, column 5"),
    (b'["\\u12"]', "invalid escape near '\"\\u12\"' on line 1, column 7"),
    (b'["\\u12g4"]', "invalid escape near '\"\\u12g' on line 1, column 7"),
    (b'["\\ud800"]', "invalid Unicode '\\uD800' near '\"\\ud800\"' on line 1, column 9"),
    (b'["\\udc00"]', "invalid Unicode '\\uDC00' near '\"\\udc00\"' on line 1, column 9"),
    (b'["\\ud800\\u0041"]', "invalid Unicode '\\uD800\\u0041' near '\"\\ud800\\u0041\"' on line 1, column 15"),
    (b'["\\ud800 \\udc00"]', "invalid Unicode '\\uD800' near '\"\\ud800 \\udc00\"' on line 1, column 16"),
    (b'["\\ud800\\n"]', "invalid Unicode '\\uD800' near '\"\\ud800\\n\"' on line 1, column 11"),
    (b'["\\ud83d\\ude00\\ud83d"]', "invalid Unicode '\\uD83D' near '\"\\ud83d\\ude00\\ud83d\"' on line 1, column 21"),
    (b'["\\u0000"]', "\\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"' on line 1, column 9"),
    (b'{"\\u0000":1}', "NUL byte in object key not supported near '\"\\u0000\"' on line 1, column 9"),
    (b'{"a":1,"a":2}', "duplicate object key near '\"a\"' on line 1, column 10"),
    (b'{"a":{"b":1,"b":2}}', "duplicate object key near '\"b\"' on line 1, column 15"),
    (b'{"aaaaaaaaaaaaaaaaaaaa":1,"aaaaaaaaaaaaaaaaaaaa":2}', "duplicate object key on line 1, column 48"),
    (b'{"a":1,"\\u0061":2}', "duplicate object key near '\"\\u0061\"' on line 1, column 15"),
    (b'["\xff"]', "unable to decode byte 0xff near '\"' on line 1, column 2"),
    (b"\xff{}", "unable to decode byte 0xff on line 1, column 0"),
    (b"[1\xff]", "unable to decode byte 0xff near '1' on line 1, column 2"),
    (b"[true\xff]", "unable to decode byte 0xff near 'true' on line 1, column 5"),
    (b'["\xc3"]', "unable to decode byte 0xc3 near '\"' on line 1, column 2"),
    (b'["\xed\xa0\x80"]', "unable to decode byte 0xed near '\"' on line 1, column 2"),
    (b'["\xc0\x80"]', "unable to decode byte 0xc0 near '\"' on line 1, column 2"),
    (b'["\xf5\x80\x80\x80"]', "unable to decode byte 0xf5 near '\"' on line 1, column 2"),
    (b"\xef\xbb\xbf{}", "'[' or '{' expected near '\ufeff' on line 1, column 1"),
    (b"[\xc3\xa9]", "invalid token near 'é' on line 1, column 2"),
    (b"[@]", "invalid token near '@' on line 1, column 2"),
    (b"[/* c */]", "invalid token near '/' on line 1, column 2"),
    (b'{\n  "a": 1,\n  "b" 2\n}', "':' expected near '2' on line 3, column 7"),
    (b'{\r\n"a":x}', "invalid token near 'x' on line 2, column 5"),
    (b'{"\xc3\xa9\xf0\x9f\x98\x80": \xc3\xa9}', "invalid token near 'é' on line 1, column 8"),
    ('{"ééééééééééé":1, "ééééééééééé":2}'.encode(), "duplicate object key on line 1, column 31"),
    (b'{"a":\n\n\n', "unexpected token near end of file on line 4, column 0"),
    (b"[" * 2049, "maximum parsing depth reached near '[' on line 1, column 2049"),
]

WRITTEN = [
    (b"{}", "{}", "{}"),
    (b" [ ] ", "[]", "[]"),
    (b'{"b":[],"a":{}}', '{\n    "a": {},\n    "b": []\n}', '{"a": {}, "b": []}'),
    (b"[1,[2,3]]", "[\n    1,\n    [\n        2,\n        3\n    ]\n]", "[1, [2, 3]]"),
    (b'{"a":{"b":1}}', '{\n    "a": {\n        "b": 1\n    }\n}', '{"a": {"b": 1}}'),
    (b"[true,false,null]", "[\n    true,\n    false,\n    null\n]", "[true, false, null]"),
    (b"[-0]", "[\n    0\n]", "[0]"),
    (b"[9223372036854775807]", "[\n    9223372036854775807\n]", "[9223372036854775807]"),
    (b"[-9223372036854775808]", "[\n    -9223372036854775808\n]", "[-9223372036854775808]"),
]
REALS = [
    ("0.1", "0.10000000000000001"),
    ("1.0", "1.0"),
    ("-0.0", "-0.0"),
    ("1e0", "1.0"),
    ("1E+5", "100000.0"),
    ("1e17", "1e17"),
    ("1e-7", "9.9999999999999995e-8"),
    ("1e300", "1.0000000000000001e300"),
    ("5e-324", "4.9406564584124654e-324"),
    ("1e-400", "0.0"),
    ("123456789012345678.0", "1.2345678901234568e17"),
]
STRINGS = [
    ('"\\u00e9"', '"\\u00E9"'),
    ('"\u00e9\U0001f600"', '"\\u00E9\\uD83D\\uDE00"'),
    ('"\\ud83d\\ude00"', '"\\uD83D\\uDE00"'),
    ('"\\/ / \\u002f"', '"/ / /"'),
    ('"\\b\\f\\n\\r\\t\\"\\\\"', '"\\b\\f\\n\\r\\t\\"\\\\"'),
    ('"\\u0001\\u001f\x7f"', '"\\u0001\\u001F\x7f"'),
    ('"\uffff"', '"\\uFFFF"'),
    ('"\ufeff\\ud83d\\ude00"', '"\\uFEFF\\uD83D\\uDE00"'),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text: bytes, message: str) -> None:
    for given in (text, text.decode("utf-8", "surrogateescape")):
        with pytest.raises(json_text.JanssonError) as refused:
            json_text.loads(given)
        error = refused.value
        assert str(error) == f"{error.text} on line {error.line}, column {error.column}" == message


@pytest.mark.parametrize(("text", "lines", "one_line"), WRITTEN)
def test_written(text: bytes, lines: str, one_line: str) -> None:
    value = json_text.loads(text)
    assert (json_text.dumps(value), json_text.dumps_oneline(value)) == (lines, one_line)


@pytest.mark.parametrize(("text", "written"), [*REALS, *STRINGS])
def test_scalars(text: str, written: str) -> None:
    assert json_text.dumps_oneline(json_text.loads(f"[{text}]")) == f"[{written}]"


def test_keys_are_in_the_byte_order_of_utf8() -> None:
    keys = ["\U0001f600", "\uffff", "\u00e9", "z", "a", "A", "", "aa"]
    assert list(json_text.loads(json_text.dumps(dict.fromkeys(keys)))) == sorted(keys, key=str.encode)


def test_other_indents_and_tuples() -> None:
    assert json_text.dumps({"a": (1, [])}, 2) == '{\n  "a": [\n    1,\n    []\n  ]\n}'


def test_a_lone_surrogate_is_written_as_the_replacement_character() -> None:
    assert json_text.dumps_oneline({"\udcff": "a\ud800"}) == '{"\\uFFFD": "a\\uFFFD"}'


def test_a_surrogate_that_stands_for_no_byte_is_refused() -> None:
    with pytest.raises(json_text.JanssonError, match="unable to decode byte 0xed near"):
        json_text.loads('["\ud800"]')


@pytest.mark.parametrize(
    ("value", "kind"),
    [({1}, TypeError), ([b"x"], TypeError), (float("nan"), ValueError), ([float("-inf")], ValueError)],
)
def test_what_has_no_json(value: object, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="no JSON for"):
        json_text.dumps(value)


def test_depth_costs_no_stack() -> None:
    text = "[" * json_text.MAX_DEPTH + "]" * json_text.MAX_DEPTH
    assert json_text.dumps_oneline(json_text.loads(text)) == text


PIECES = [
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b'"a"', b'"a":', b'"b":', b" ", b"\n", b"\t", b"\r"),
    *(b"1", b"0", b"-", b".", b"e", b"E+5", b"1.5", b"-0.0", b"1e-7", b"1e400", b"9223372036854775808"),
    *(b"-9223372036854775809", b"true", b"null", b"NaN", b"abc", b"aaaaaaaaaaaaaaaaaaaaaaaa", b"@", b"/"),
    *(b"\\", b"\\u", b"\\ud83d", b"\\ude00", b"\\u0041", b"\\u0000", b"\\n", b"\\x", b"\x01", b"\x7f"),
    *(b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
]
GOOD = b'{"device":"team0","ports":{"eth1":{"prio":-10,"sticky":true}},"x":[1,2.5,"a\\u00e9\\ud83d\\ude00",null,[],{}]}'


def random_text(source: random.Random) -> bytes:
    """A text of pieces, or a good one with something changed; most are wrong somewhere."""
    if source.random() < 0.5:
        start, end = source.choice([(b"", b""), (b"[", b"]"), (b'{"a":', b"}"), (b'["', b'"]')])
        return start + b"".join(source.choice(PIECES) for _ in range(source.randint(0, 7))) + end
    text = bytearray(GOOD)
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(text))
        length = source.choice([0, 0, 1, 2])
        text[place : place + length] = source.choice([b"", *PIECES])
    return bytes(text)


def answer(text: bytes) -> tuple[str, ...]:
    try:
        value = json_text.loads(text)
    except json_text.JanssonError as error:
        return (str(error),)
    return (json_text.dumps(value), json_text.dumps_oneline(value))


def same(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """jansson shows only the first byte of a character that spoils an escape; we show all of it."""
    spoilt = [message[0] for message in (ours, theirs) if message[0].startswith("invalid escape")]
    if len(spoilt) == 2 and not all(message.isascii() for message in spoilt):
        return spoilt[0].rsplit(" on line", 1)[1] == spoilt[1].rsplit(" on line", 1)[1]
    return ours == theirs


def test_random_texts_against_the_library() -> None:
    try:
        oracle = Oracle()
    except OSError:
        pytest.skip(f"no {LIBRARY} (Debian: libjansson4)")
    source = random.Random(20)
    texts = [random_text(source) for _ in range(1500)]
    reals = (struct.unpack("d", source.randbytes(8))[0] for _ in range(500))
    texts += [b"[%s]" % repr(real).encode() for real in reals if real - real == 0]
    wrong = [(text, answer(text), oracle.answer(text)) for text in texts if not same(answer(text), oracle.answer(text))]
    assert not wrong
