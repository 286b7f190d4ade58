"""What a person reads holds nothing that tells a terminal what to do, and nothing that is not what it seems."""

from __future__ import annotations

import io
import os
import shutil
import subprocess

import pytest

from pyteamd.model.printable import (
    after_set,
    argument,
    in_shell,
    of_kernel,
    printable,
    printable_lines,
    printable_tree,
    shown,
    spellings,
)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("eth0", "eth0"),
        ("grün·端口", "grün·端口"),
        ("a b", "a b"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\u202egnp.0hte", r"a\u202egnp.0hte"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028two", r"line\u2028two"),
        ("nel\x85c1\x9b", r"nel\x85c1\x9b"),
        ("\udcff\udc80", r"\xff\x80"),
        ("\ud800", r"\ud800"),
        ("tab\tnew\n", r"tab\tnew\n"),
        ("\x7f", r"\x7f"),
    ],
)
def test_one_line(name: str, seen: str) -> None:
    assert printable(name) == seen
    assert printable(name).isprintable()


@pytest.mark.parametrize("last", [0x3000, pytest.param(0x10FFFF, marks=pytest.mark.slow)])
def test_every_character_becomes_printable(last: int) -> None:
    assert printable("".join(map(chr, range(last + 1)))).isprintable()


def test_lines_end_at_newlines_only() -> None:
    assert printable_lines("one\ntwo\x0bthree\x1cfour\n") == "one\ntwo\\x0bthree\\x1cfour\n"


def test_trees_with_their_keys() -> None:
    assert printable_tree({"\x1b": ["a\nb", 1, None, {"a": True}]}) == {r"\x1b": [r"a\nb", 1, None, {"a": True}]}


def test_programs_get_what_is_there() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert (shown("\x1b", io.StringIO()), shown("\x1b", Terminal())) == ("\x1b", r"\x1b")


HOSTILE = [
    *("eth0", "eth0.5", "wan-é", "a;b", "$(reboot)", "`x`", "it's", "*", "~", "!x", "a&b", "x>y", '"', "\\"),
    *("\x1b[31m", "\udce4x", "a\u202eb"),
]
OCTETS = [
    b"\xe4",
    rb"\xe4",
    rb"\\xe4",
    rb"\x5cxe4",
    rb"\x\xe4",
    b"\\\xe4",
    b"\\x\xe4",
    rb"\x",
    rb"\xE4",
    "\xe4".encode(),
    b"eth0",
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_a_name_in_a_command_is_one_word_and_the_name() -> None:
    words = " ".join(in_shell(name) for name in HOSTILE)
    assert words.isprintable()
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, timeout=20, check=True)
    assert [os.fsdecode(line) for line in done.stdout.splitlines()] == HOSTILE


def test_names_of_other_octets_are_spelled_otherwise() -> None:
    """And what is typed as it was shown is that name again, in a command that was told, too."""
    seen = [of_kernel(octets) for octets in OCTETS]
    assert len(set(seen)) == len(OCTETS)
    assert [spellings(name)[0] for name in seen] == OCTETS
    assert (seen[0], seen[-1]) == (r"\xe4", "eth0")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_a_name_in_a_command_has_the_octets_that_it_is_spelled_for() -> None:
    words = " ".join(in_shell(of_kernel(octets)) for octets in OCTETS)
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, timeout=20, check=True)
    assert done.stdout.splitlines() == OCTETS


def test_a_name_that_is_a_word_of_a_command() -> None:
    named = ("eth0", "up", "-x", "-x 1", "dev")
    assert [after_set(name) for name in named] == ["eth0", "dev up", "dev -x", "'-x 1'", "dev dev"]
    assert [argument(name) for name in named] == ["eth0", "up", "-- -x", "-- '-x 1'", "dev"]
