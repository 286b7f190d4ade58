"""`watch` in a real terminal: what stands on it, and how it looks after every way out."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ctl_mock import HANG_UP, SILENT, MockDaemon
from looks import broken, reason, replies
from terminal import PYTEAMDCTL, Terminal, pyteamdctl

from pyteamd.cli.pyteamdctl.watch_rates import BARS

TWO = [reason("em1"), broken("em2")]
FORTY = [broken(f"em{n}") if n % 5 == 0 else reason(f"em{n}") for n in range(1, 41)]
FAST = ("team0", "watch", "0.1")
FAULT = "from pyteamd.cli.pyteamdctl.watch_rates import Rates; Rates.add = lambda *words: 1 // 0"
HELP_LINE = "q leave  ? help"
LOOKED = (HELP_LINE, "2 ports")
"""The line of help is there before the daemon has answered for the first time; the number of ports is not."""


def daemon(directory: Path, rows: list[dict] | None = None, team: str = "team0") -> MockDaemon:
    """A daemon of a team with these ports."""
    return MockDaemon(str(directory / f"{team}.sock"), replies(TWO if rows is None else rows, team))


def leave(terminal: Terminal) -> None:
    """By the key."""
    terminal.type("q")
    assert terminal.ended() == 0
    assert terminal.restored()


@pytest.mark.slow
def test_it_shows_the_team_obeys_keys_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path) as terminal:
        terminal.shows("team0", "2 ports  1 broken  1 carrying", "no carrier", "carries traffic", HELP_LINE)
        assert terminal.colours("no carrier") == {"red"}
        assert terminal.colours("carries traffic") == {"default"}
        terminal.type("\x1bOB")
        terminal.shows("▸ em1")
        terminal.type("\r")
        terminal.shows("link watchers", "ethtool  up, down count 1", "Esc back")
        terminal.type("\x1b")
        terminal.shows(HELP_LINE)
        leave(terminal)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50)])
@pytest.mark.parametrize("rows", [TWO, FORTY], ids=["2", "40"])
def test_at_every_size_and_with_many_ports(tmp_path: Path, columns: int, lines: int, rows: list[dict]) -> None:
    with daemon(tmp_path, rows), pyteamdctl(FAST, tmp_path, columns, lines) as terminal:
        hidden = ["not shown"] if len(rows) == 40 and lines == 24 else []
        text = terminal.shows("team0", HELP_LINE, f"{len(rows)} ports", "event 3 of 3", *hidden)
        assert len(text.split("\n")) == lines
        assert text.split("\n")[-1].startswith(HELP_LINE)
        assert ("not shown" in text) is bool(hidden)
        leave(terminal)


def by_key(terminal: Terminal) -> int:
    """q."""
    terminal.type("q")
    return 0


def by_interrupt(terminal: Terminal) -> int:
    """Ctrl-C."""
    terminal.type("\x03")
    return 0


def by_quit(terminal: Terminal) -> int:
    r"""Ctrl-\."""
    terminal.type("\x1c")
    return signal.SIGQUIT


def by_term(terminal: Terminal) -> int:
    """SIGTERM."""
    terminal.kill(signal.SIGTERM)
    return signal.SIGTERM


def by_hangup(terminal: Terminal) -> int:
    """SIGHUP."""
    terminal.kill(signal.SIGHUP)
    return signal.SIGHUP


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_key, by_interrupt, by_quit, by_term, by_hangup])
def test_every_way_out_gives_the_terminal_back(tmp_path: Path, way: Callable[[Terminal], int]) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path) as terminal:
        terminal.shows(HELP_LINE)
        assert not terminal.restored()
        number = way(terminal)
        assert terminal.ended() & 0x7F == number
        assert terminal.restored()


@pytest.mark.slow
def test_a_fault_of_ours_gives_the_terminal_back_and_is_told(tmp_path: Path) -> None:
    code = PYTEAMDCTL[3].replace("import sys; ", f"import sys; {FAULT}; ")
    with daemon(tmp_path), Terminal((*PYTEAMDCTL[:3], code, *FAST), PYTEAMD_RUN_DIR=str(tmp_path)) as terminal:
        assert os.waitstatus_to_exitcode(terminal.ended()) == 1
        assert terminal.restored()
        assert b"ZeroDivisionError" in terminal.raw[terminal.raw.rfind(b"\x1b[?1049l") :]


@pytest.mark.slow
def test_stopped_and_continued(tmp_path: Path) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path) as terminal:
        terminal.shows(HELP_LINE)
        terminal.type("\x1a")
        assert os.WIFSTOPPED(terminal.ended())
        assert terminal.restored()
        terminal.screen.reset()
        terminal.kill(signal.SIGCONT)
        terminal.shows("team0", HELP_LINE)
        leave(terminal)


@pytest.mark.slow
def test_a_line_that_is_cut_ends_it(tmp_path: Path) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path) as terminal:
        terminal.shows(HELP_LINE)
        terminal.hang_up()
        assert terminal.ended() & 0x7F == signal.SIGHUP


@pytest.mark.slow
def test_what_moves_leaves_nothing_behind(tmp_path: Path) -> None:
    """curses scrolls parts of the screen where that is shorter than to write them again."""

    def events(count: int) -> bytes:
        rows = [
            {"age_s": 9.0, "level": "info", "port": "em1", "text": f"event {n} {'x' * (n * 7 % 40)}", "cause": "Tick"}
            for n in range(count)
        ]
        return b"REPLY_SUCCESS\n" + json.dumps(rows).encode()

    rows = [
        reason("em1", text="in service for 36 s (partner 06:5a:9a:35:eb:d1, key 15, active, in sync, collecting)"),
        reason("em2"),
    ]
    with daemon(tmp_path, rows) as told, pyteamdctl(FAST, tmp_path) as terminal:
        told.replies = {**replies(rows), "History": events(9)}
        terminal.shows("event 8", "in service for 36 s")
        told.replies = {**replies([rows[0], broken("em2")]), "History": events(12)}
        text = terminal.shows("event 11", "1 broken")
        shown = [line for line in text.split("\n") if "event " in line]
        assert shown == [line for line in shown if re.fullmatch(r"  \d\d:\d\d:\d\d  event \d+( x+)?", line)]
        assert text.count("no link") == text.count("em2   no link") == 1
        leave(terminal)


@pytest.mark.slow
def test_another_size_is_seen_at_once_and_not_at_the_next_look(tmp_path: Path) -> None:
    with daemon(tmp_path, FORTY), pyteamdctl(("team0", "watch", "600"), tmp_path, 80, 24) as terminal:
        terminal.shows("40 ports", "not shown")
        terminal.resize(200, 60)
        terminal.until(lambda text: "not shown" not in text and text.split("\n")[-1].startswith(HELP_LINE))
        terminal.resize(10, 3)
        terminal.shows("the termi…")
        terminal.resize(80, 24)
        terminal.shows("not shown", HELP_LINE)
        leave(terminal)


@pytest.mark.slow
def test_a_daemon_that_ends_and_comes_back(tmp_path: Path) -> None:
    with daemon(tmp_path) as first:
        terminal = pyteamdctl(FAST, tmp_path)
        terminal.shows(*LOOKED)
        first.replies = dict.fromkeys(first.replies, HANG_UP)
    with terminal:
        (tmp_path / "team0.sock").unlink()
        terminal.shows("no daemon for", "trying again", "em1")
        assert terminal.colours("no daemon") == {"red"}
        with daemon(tmp_path, FORTY):
            terminal.shows("connected again after", "40 ports")
            leave(terminal)


@pytest.mark.slow
def test_a_daemon_that_is_stuck_leaves_the_keys_alive(tmp_path: Path) -> None:
    with daemon(tmp_path) as stuck, pyteamdctl(FAST, tmp_path) as terminal:
        terminal.shows(*LOOKED)
        stuck.replies = dict.fromkeys(replies(TWO), SILENT)
        terminal.type("?")
        terminal.shows("this help, and back")
        leave(terminal)


@pytest.mark.slow
def test_all_teams_first(tmp_path: Path) -> None:
    with (
        daemon(tmp_path),
        daemon(tmp_path, FORTY, "team1"),
        pyteamdctl(("--all", "watch", "0.1"), tmp_path) as terminal,
    ):
        terminal.shows("2 teams")
        terminal.shows("▸ team0: activebackup; em1 up, em2 down; active port em2")
        terminal.type("\x1bOB\r")
        terminal.shows("team1", "40 ports")
        terminal.type("t")
        terminal.shows("2 teams", "▸ team1")
        leave(terminal)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "colours", "encoding"),
    [
        ({"NO_COLOR": "1"}, {"default"}, True),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"red"}, False),
    ],
    ids=["no colours", "ascii"],
)
def test_without_colours_and_without_unicode(
    tmp_path: Path, environ: dict[str, str], colours: set[str], encoding: bool
) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path, **environ) as terminal:
        text = terminal.shows("no carrier", HELP_LINE)
        assert terminal.colours("no carrier") == colours
        assert ("▸" in text) is encoding
        assert text.isascii() is not encoding
        leave(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("term", ["dumb", "no-such-terminal"])
def test_a_terminal_that_can_only_print_lines_gets_one_picture(tmp_path: Path, term: str) -> None:
    with daemon(tmp_path), pyteamdctl(FAST, tmp_path, TERM=term) as terminal:
        assert terminal.ended() == 0
        assert b"\x1b" not in terminal.raw
        assert b"last transitions:" in terminal.raw


@pytest.mark.slow
def test_a_python_without_curses_gets_one_picture(tmp_path: Path) -> None:
    code = PYTEAMDCTL[3].replace("import sys; ", "import sys; sys.modules['curses'] = None; ")
    with daemon(tmp_path), Terminal((*PYTEAMDCTL[:3], code, *FAST), PYTEAMD_RUN_DIR=str(tmp_path)) as terminal:
        assert terminal.ended() == 0
        assert b"last transitions:" in terminal.raw


@pytest.mark.slow
def test_into_a_pipe_it_writes_one_picture(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTEAMD_RUN_DIR": str(tmp_path), "TERM": "screen"}
    with daemon(tmp_path):
        done = subprocess.run(
            [*PYTEAMDCTL, *FAST], env=environ, capture_output=True, text=True, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("team0: activebackup")
    assert "\x1b" not in done.stdout


@pytest.mark.slow
def test_rates_are_drawn_from_the_kernels_counters(tmp_path: Path) -> None:
    """The loopback device is the one link that every machine has."""
    with (
        daemon(tmp_path, [reason("lo")]),
        pyteamdctl(FAST, tmp_path, 120) as terminal,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.bind(("127.0.0.1", 0))
        terminal.shows(HELP_LINE)

        def drawn(text: str) -> bool:
            for _ in range(20):
                sender.sendto(bytes(1000), sender.getsockname())
            return any(bar in text for bar in BARS)

        terminal.until(drawn)
        leave(terminal)
