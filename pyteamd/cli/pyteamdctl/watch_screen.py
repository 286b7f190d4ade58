"""The terminal of `watch`: curses in a thin shell around the View. It gives the terminal back on every way out.

One loop waits for keys and for a pipe. Into the pipe go the numbers of signals, as Python writes them, and a zero from the thread that
asks the daemon. So nothing happens between two waits, and nothing is polled.
"""

from __future__ import annotations

import curses
import locale
import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress

from pyteamd.cli.pyteamdctl import watch_view
from pyteamd.cli.pyteamdctl.watch_lines import Style, width
from pyteamd.cli.pyteamdctl.watch_look import TeamLook
from pyteamd.cli.pyteamdctl.watch_source import Crash, Lost, Source, Teams
from pyteamd.cli.pyteamdctl.watch_view import Leave, Page, Turn, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pyteamd.cli.pyteamdctl.watch_lines import Line
    from pyteamd.client.client import Client

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH)
ESCAPE_MS = 25
"""How long a key that sends an escape sequence may take for the rest of it."""
KEYS = {
    curses.KEY_UP: watch_view.UP,
    curses.KEY_DOWN: watch_view.DOWN,
    curses.KEY_PPAGE: watch_view.PAGE_UP,
    curses.KEY_NPAGE: watch_view.PAGE_DOWN,
    curses.KEY_HOME: watch_view.HOME,
    curses.KEY_END: watch_view.END,
    curses.KEY_LEFT: watch_view.LEFT,
    curses.KEY_RIGHT: watch_view.ENTER,
    curses.KEY_ENTER: watch_view.ENTER,
    curses.KEY_BACKSPACE: watch_view.BACKSPACE,
}
CHARACTERS = {
    **dict.fromkeys("\n\r", watch_view.ENTER),
    "\x1b": watch_view.ESCAPE,
    **dict.fromkeys("\x7f\b", watch_view.BACKSPACE),
}
COLOURS = {
    Style.BROKEN: curses.COLOR_RED,
    Style.DOUBTFUL: curses.COLOR_YELLOW,
    Style.WAITING: curses.COLOR_YELLOW,
    Style.CARRYING: curses.COLOR_GREEN,
    Style.STANDBY: curses.COLOR_CYAN,
}
PLAINER = str.maketrans("▁▂▃▄▅▆▇█·▸…↑↓", ".:-=+*%#_>~^v")
"""For terminals that know no more than ASCII."""


def live(client: Client, interval_s: float, page: Page) -> int | None:
    """Show it until the reader leaves, or a signal says so. Returns the signal that ended it, None for the reader's wish.

    Raises curses.error, before anything was written, when the terminal is of an unknown kind.
    """
    locale.setlocale(locale.LC_ALL, "")
    curses.setupterm()
    view = View(client.team, page)
    with wake_pipe() as (woken, wake):
        source = Source(client, interval_s, lambda: pushed(wake))
        with terminal() as screen:
            try:
                source.start(None if page is Page.TEAMS else client.team)
                return loop(Screen(screen), view, source, woken)
            finally:
                source.close()


def pushed(wake: int) -> None:
    """Wake the loop; what is in the pipe already wakes it too."""
    with suppress(OSError):
        os.write(wake, b"\0")


@contextmanager
def wake_pipe() -> Iterator[tuple[int, int]]:
    """A pipe for the numbers of signals; the handlers themselves do nothing."""

    def nothing(number: int, frame: FrameType | None) -> None:
        """Python has put the number into the pipe."""

    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {number: signal.signal(number, nothing) for number in SIGNALS}
    fd = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield woken, wake
    finally:
        signal.set_wakeup_fd(fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(wake)


@contextmanager
def terminal() -> Iterator[curses.window]:
    """The alternate screen, with keys as they are typed; the terminal as it was afterwards."""
    screen = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(ESCAPE_MS)
        screen.keypad(True)
        screen.nodelay(True)
        with suppress(curses.error):
            curses.curs_set(0)
        yield screen
    finally:
        for undo in (
            lambda: curses.curs_set(1),
            lambda: screen.keypad(False),
            curses.nocbreak,
            curses.echo,
            curses.endwin,
        ):
            with suppress(curses.error):  # the line may have been cut
                undo()


def loop(screen: Screen, view: View, source: Source, woken: int) -> int | None:
    """Keys and news, until it ends."""
    waiting = select.poll()
    waiting.register(woken, select.POLLIN)
    if os.isatty(0):
        waiting.register(0, select.POLLIN)
    while True:
        screen.draw(view)
        ready = dict(waiting.poll())
        if 0 in ready and ready[0] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            return signal.SIGHUP
        if woken in ready and (number := signals(screen, os.read(woken, 4096))) is not None:
            return None if number == signal.SIGINT else number
        while not source.news.empty():
            learn(view, source.news.get())
        if 0 in ready and pressed(screen, view, source):
            return None


def signals(screen: Screen, numbers: bytes) -> int | None:
    """Do what signals ask for. Returns the one that ends the program."""
    for number in numbers:
        if number == signal.SIGTSTP:
            screen.pause()
        elif number == signal.SIGWINCH:
            screen.resize()
        elif number:
            return number
    return None


def learn(view: View, found: TeamLook | Lost | Teams | Crash) -> None:
    """News for the view."""
    match found:
        case TeamLook():
            view.saw(found)
        case Lost(why, at_s):
            view.lose(why, at_s)
        case Teams(rows):
            view.saw_teams(rows)
        case Crash(error):
            raise error


def pressed(screen: Screen, view: View, source: Source) -> bool:
    """All keys that were typed. True: the reader leaves."""
    while (key := screen.key()) is not None:
        match view.press(key):
            case Leave():
                return True
            case Turn(team):
                source.turn(team)
    return False


class Screen:
    """Draws lines, and reads keys."""

    def __init__(self, window: curses.window) -> None:
        self._window = window
        self._unicode = (locale.getpreferredencoding(False)).lower().replace("-", "") == "utf8"
        self._looks = looks()

    def draw(self, view: View) -> None:
        """The whole screen; curses sends what has changed."""
        height, columns = self._window.getmaxyx()
        self._window.erase()
        for row, line in enumerate(view.lines(columns, height, time.monotonic())):
            self._line(row, line)
        self._window.refresh()

    def _line(self, row: int, line: Line) -> None:
        column = 0
        for text, style in line.pieces:
            shown = text if self._unicode else text.translate(PLAINER)
            look = self._looks[style] | (curses.A_BOLD if line.chosen else 0)
            # The last cell of the last line cannot be written without an error, though it is.
            with suppress(curses.error):
                self._window.addstr(row, column, shown, look)
            column += width(text)

    def key(self) -> str | None:
        """The next key that was typed, None when there is none."""
        try:
            key = self._window.get_wch()
        except curses.error:
            return None
        return KEYS.get(key, "") if isinstance(key, int) else CHARACTERS.get(key, key)

    def resize(self) -> None:
        """The terminal has another size."""
        with suppress(OSError):
            columns, lines = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1)
            curses.resizeterm(max(1, lines), max(1, columns))

    def pause(self) -> None:
        """Give the terminal back, stop as the reader wants, and go on where it was."""
        curses.endwin()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, lambda number, frame: None)
        self.resize()
        self._window.clear()
        self._window.refresh()


def looks() -> dict[Style, int]:
    """How each style looks, without colours where there are none or nobody wants them (no-color.org)."""
    found = dict.fromkeys(Style, curses.A_NORMAL) | {
        Style.TITLE: curses.A_BOLD,
        Style.FAINT: curses.A_DIM,
        Style.BROKEN: curses.A_BOLD,
    }
    if os.environ.get("NO_COLOR") or not curses.has_colors():
        return found
    with suppress(curses.error):
        curses.start_color()
        curses.use_default_colors()
        for pair, (style, colour) in enumerate(COLOURS.items(), 1):
            curses.init_pair(pair, colour, -1)
            found[style] |= curses.color_pair(pair)
    return found
