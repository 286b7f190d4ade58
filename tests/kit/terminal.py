"""A terminal for programs that want one: a pty, and pyte, an independent reader of what they write to it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pyte

RESTORED, ALTERNATE = b"\x1b[?1049l", b"\x1b[?1049h"
SHOWN, HIDDEN = b"\x1b[?25h", b"\x1b[?25l"
PATIENCE_S = 60.0
LEADER = str(Path(__file__).with_name("session_leader.py"))
PYTEAMDCTL = (
    sys.executable,
    "-B",
    "-c",
    "import sys; from pyteamd.cli.pyteamdctl import main as ctl; sys.argv[0] = 'pyteamdctl'; sys.exit(ctl.main())",
)


class Screen(pyte.Screen):  # type: ignore[misc]
    """With the two movements of lines that pyte lacks and curses uses: SU and SD of ECMA-48."""

    def scroll_up(self, count: int = 1) -> None:
        """The lines between the margins go up."""
        self._scrolled(self.delete_lines, count)

    def scroll_down(self, count: int = 1) -> None:
        """… and down."""
        self._scrolled(self.insert_lines, count)

    def _scrolled(self, move: Callable[[int], None], count: int) -> None:
        row, column = self.cursor.y, self.cursor.x
        self.cursor.y = self.margins.top if self.margins else 0
        for line in range(self.lines):
            self.buffer[line]  # one that was never written would not move
        move(count or 1)
        self.cursor.y, self.cursor.x = row, column


class Stream(pyte.ByteStream):  # type: ignore[misc]
    """Knows them too."""

    csi: ClassVar[dict[str, str]] = {**pyte.ByteStream.csi, "S": "scroll_up", "T": "scroll_down"}
    events = frozenset((*pyte.ByteStream.events, "scroll_up", "scroll_down"))


class Terminal:
    """Runs a command in a terminal of its own size, as the foreground of a session."""

    def __init__(self, command: Sequence[str], columns: int = 80, lines: int = 24, **environ: str) -> None:
        self.screen = Screen(columns, lines)
        self._stream = Stream(self.screen)
        self.raw = b""
        master, slave = os.openpty()
        self._master, self._slave = master, slave
        self._set_size(columns, lines)
        self.before = modes(slave)
        told, tell = os.pipe()
        self._told = told
        self._leader = subprocess.Popen(
            [sys.executable, "-ISB", LEADER, str(slave), str(tell), *command],
            pass_fds=(slave, tell),
            env={**os.environ, "TERM": "screen", "LANG": "C.UTF-8", **environ},
        )
        os.close(tell)
        os.set_blocking(master, False)
        self.pid = self._number()

    def _number(self) -> int:
        """The next number that the leader tells."""
        told = os.read(self._told, 4)
        assert len(told) == 4, "the leader of the session is gone"
        return int.from_bytes(told, "little")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self._leader.wait()
        for fd in (self._master, self._slave, self._told):
            if fd >= 0:
                os.close(fd)

    @property
    def text(self) -> str:
        """What stands on it."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def colours(self, text: str) -> set[str]:
        """Colours of the cells of the first line that has this text, where the text stands."""
        for row, line in enumerate(self.screen.display):
            if (at := line.find(text)) >= 0:
                return {self.screen.buffer[row][column].fg for column in range(at, at + len(text))}
        raise AssertionError(f"{text!r} does not stand on\n{self.text}")

    def read(self, wait_s: float = 0.1) -> None:
        """What has been written meanwhile."""
        if select.select([self._master], [], [], wait_s)[0]:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:
                return
            self.raw += piece
            self._stream.feed(piece)

    def until(self, condition: Callable[[str], object]) -> str:
        """Until the screen is like that. Returns its text."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition(self.text):
            assert time.monotonic() < give_up, f"waited in vain; the screen:\n{self.text}\n{self.raw[-600:]!r}"
            self.read()
        return self.text

    def shows(self, *texts: str) -> str:
        """Until all of these stand on it."""
        return self.until(lambda screen: all(text in screen for text in texts))

    def type(self, keys: str | bytes) -> None:
        """Type."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size; the kernel sends SIGWINCH."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """The line is cut."""
        for fd in (self._master, self._slave):
            os.close(fd)
        self._master = self._slave = -1

    def kill(self, number: int) -> None:
        """A signal."""
        os.kill(self.pid, number)

    def ended(self) -> int:
        """Wait for its end, or its stop. Returns the status as waitpid has it."""
        give_up = time.monotonic() + PATIENCE_S
        while not select.select([self._told], [], [], 0.02)[0]:
            assert time.monotonic() < give_up, f"it does not end; the screen:\n{self.text}"
            if self._master >= 0:
                self.read(0)
        status = self._number()
        while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
            self.read(0)
        if not os.WIFSTOPPED(status):
            self.pid = 0
        return status

    def restored(self) -> bool:
        """Whether it is as it was: the modes of the line, the main screen, a visible cursor."""
        for shown, hidden in ((RESTORED, ALTERNATE), (SHOWN, HIDDEN)):
            if self.raw.rfind(shown) < self.raw.rfind(hidden):
                return False
        return modes(self._slave) == self.before


def modes(fd: int) -> list[Any]:
    """The modes of a line."""
    return termios.tcgetattr(fd)[:4]


def pyteamdctl(words: Sequence[str], run_dir: Path, columns: int = 80, lines: int = 24, **environ: str) -> Terminal:
    """pyteamdctl in a terminal, asking the daemons of this directory."""
    return Terminal((*PYTEAMDCTL, *words), columns, lines, PYTEAMD_RUN_DIR=str(run_dir), **environ)
