"""What `watch` shows: keys and looks at a team go in, lines come out. Pure: no terminal, no clock, no daemon.

How it works: a TeamLook is what was learned of a team at one moment. The View keeps the last one, the rates of the last minutes, and where
the reader is: which page, which port, how sorted, what is filtered. `lines` draws that for a terminal of any size; `press` is a key.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from pyteamd.cli.pyteamdctl import watch_port
from pyteamd.cli.pyteamdctl.watch_lines import Line, Style, cut, folded, indented, padded, width
from pyteamd.cli.pyteamdctl.watch_look import Health, TeamLook, clock, event_line, health, sentence, word
from pyteamd.cli.pyteamdctl.watch_rates import Rates, bars, bits
from pyteamd.values import dataclass

HELP = (
    ("q", "leave"),
    ("?", "this help, and back"),
    ("up down pageup pagedown home end", "choose a port, or move the page"),
    ("Enter", "the chosen port: link watchers, LACP, counters, neighbour, rates"),
    ("Esc Backspace Left", "back"),
    ("/", "show only ports whose name or sentence has a text; Enter keeps it, Esc ends it"),
    ("s", "sort by state (broken first), name, rate received, rate sent"),
    ("t", "all teams; Enter looks at one"),
    ("r", "look now"),
)
FEWEST_EVENTS, MOST_EVENTS = 3, 30
FEWEST_COLUMNS, FEWEST_LINES = 20, 6
MESSAGE_S = 15.0
UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "pageup", "pagedown", "home", "end"
ENTER, ESCAPE, BACKSPACE, LEFT = "enter", "escape", "backspace", "left"
BACK = (ESCAPE, BACKSPACE, LEFT)
MOVES = (UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END)


class Page(Enum):
    """What fills the screen."""

    PORTS = "ports"
    PORT = "port"
    TEAMS = "teams"
    HELP = "help"


class Order(Enum):
    """How ports are sorted."""

    STATE = "state"
    NAME = "name"
    RECEIVED = "received"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Leave:
    """What a key asks of the shell: the end."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a key asks of the shell: look at once, at this team, or at all of them."""

    team: str | None


LINK, RATE = 10, 5
"""Columns of a link's speed and duplex, and of a rate."""


@dataclass(frozen=True, slots=True)
class Table:
    """How wide the columns of the list of ports are, and the scale of its bars."""

    name: int
    bar: int
    state: int
    peak: float
    now_s: float

    @property
    def width(self) -> int:
        """Of all columns."""
        return 2 + self.name + 2 + LINK + 2 * (2 + RATE + 1 + self.bar) + 2 + self.state

    def heads(self) -> Line:
        over, full = ("last 3 min", f"peak {bits(self.peak)}") if self.bar >= 12 else ("", "")
        cells = (
            *(padded("PORT", self.name), padded("LINK", LINK)),
            f"{padded('IN', RATE, True)} {padded(over, self.bar)}",
            f"{padded('OUT', RATE, True)} {padded(full, self.bar)}",
            cut("STATE", self.state),
        )
        return Line(("  " + "  ".join(cells), Style.FAINT))


class View:
    """Where the reader is, and what is known."""

    def __init__(self, team: str, page: Page = Page.PORTS) -> None:
        self.team = team
        self.page = page
        self.look: TeamLook | None = None
        self.rates = Rates()
        self.teams: list[tuple[str, str]] = []
        """Name and summary of every team."""
        self.order = Order.STATE
        self.filter = ""
        self.typing = False
        self.chosen = ""
        """Name of a port, or of a team on the page of teams."""
        self.top = 0
        """First line shown of a page that is longer than the screen."""
        self.lost: tuple[str, float] | None = None
        """Why there are no news, and since when."""
        self.message: tuple[str, float] | None = None
        self._behind = Page.PORTS
        """The page under the help."""

    # -- what is learned -------------------------------------------------------------------------------------------------

    def saw(self, look: TeamLook) -> None:
        """News of the team."""
        if look.team != self.team:
            return
        if self.lost is not None:
            away = look.at_s - self.lost[1]
            self.message = (f"connected again after {away:.0f} s without a daemon", look.at_s)
        self.lost, self.look = None, look
        self.rates.add(look.at_s, look.counters)

    def saw_teams(self, teams: list[tuple[str, str]]) -> None:
        self.teams = teams

    def lose(self, why: str, at_s: float) -> None:
        """The daemon does not answer."""
        self.lost = (why, at_s if self.lost is None else self.lost[1])

    # -- keys ------------------------------------------------------------------------------------------------------------

    def press(self, key: str) -> Leave | Turn | None:
        """A key: one character, or a name such as "up" and "enter"."""
        if self.typing:
            self._type(key)
            return None
        match key:
            case "q":
                return Leave()
            case "?":
                self._help()
            case "r":
                return Turn(None if self.page is Page.TEAMS else self.team)
            case "t" if self.page is not Page.TEAMS:
                self._go(Page.TEAMS)
                self.chosen = self.team
                return Turn(None)
            case "/" if self.page is Page.PORTS:
                self.typing = True
            case "s" if self.page is Page.PORTS:
                orders = list(Order)
                self.order = orders[(orders.index(self.order) + 1) % len(orders)]
            case _ if key in MOVES:
                self._move(key)
            case _ if key == ENTER:
                return self._enter()
            case _ if key in BACK or key == "t":
                return self._back(key)
        return None

    def _type(self, key: str) -> None:
        if key == ENTER:
            self.typing = False
        elif key == ESCAPE:
            self.typing, self.filter = False, ""
        elif key == BACKSPACE:
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter += key
        self.top = 0

    def _help(self) -> None:
        if self.page is Page.HELP:
            self.page = self._behind
        else:
            self._behind, self.page, self.top = self.page, Page.HELP, 0

    def _go(self, page: Page) -> None:
        self.page, self.top = page, 0

    def _enter(self) -> Turn | None:
        if self.page is Page.PORTS and self.chosen:
            self._go(Page.PORT)
        elif self.page is Page.TEAMS and any(name == self.chosen for name, _ in self.teams):
            if self.chosen != self.team:
                self.team, self.look, self.rates, self.lost = self.chosen, None, Rates(), None
            self._go(Page.PORTS)
            self.chosen, self.filter = "", ""
            return Turn(self.team)
        return None

    def _back(self, key: str) -> Turn | None:
        match self.page:
            case Page.HELP:
                self._help()
            case Page.PORT:
                self._go(Page.PORTS)
            case Page.TEAMS:
                self._go(Page.PORTS)
                self.chosen = ""
                return Turn(self.team)
            case Page.PORTS if key == ESCAPE:
                self.filter = ""
        return None

    def _move(self, key: str) -> None:
        steps = {UP: -1, DOWN: 1, PAGE_UP: -10, PAGE_DOWN: 10, HOME: -100_000, END: 100_000}[key]
        if self.page in (Page.PORT, Page.HELP):
            self.top = max(0, self.top + steps)
            return
        names = [row["port"] for row in self.rows()] if self.page is Page.PORTS else [name for name, _ in self.teams]
        if names:
            at = names.index(self.chosen) if self.chosen in names else 0
            self.chosen = names[min(len(names) - 1, max(0, at + steps))]

    # -- what is shown ---------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Reasons of the ports that the filter lets through, in order."""
        if self.look is None:
            return []
        wanted = self.filter.casefold()
        rows = [row for row in self.look.reasons if wanted in row["text"].casefold()]
        match self.order:
            case Order.STATE:
                rows.sort(key=lambda row: health(row).value)
            case Order.NAME:
                rows.sort(key=lambda row: str(row["port"]))
            case Order.RECEIVED | Order.SENT:
                which = int(self.order is Order.SENT)
                rows.sort(key=lambda row: -(self.rates.now(row["port"]) or (-1.0, -1.0))[which])
        return rows

    def lines(self, columns: int, lines: int, now_s: float) -> list[Line]:
        """The screen: at most so many lines, none longer than `columns`."""
        if columns < FEWEST_COLUMNS or lines < FEWEST_LINES:
            return [Line(cut("the terminal is too small", columns))][:lines]
        head = [self._title(), *self._notices(now_s, columns)]
        room = lines - len(head) - 1
        match self.page:
            case Page.HELP:
                body = self._scrolled(help_lines(columns), room)
            case Page.TEAMS:
                body = self._teams(room)
            case Page.PORT:
                body = self._scrolled(self._port(columns, now_s), room)
            case Page.PORTS:
                body = self._ports(columns, room, now_s)
        body = body[:room] + [Line()] * (room - len(body))
        return [line.cut(columns) for line in (*head, *body, self._footer(columns))]

    def _title(self) -> Line:
        if self.page is Page.TEAMS:
            return Line((f"{len(self.teams)} team{'' if len(self.teams) == 1 else 's'}", Style.TITLE))
        look = self.look
        if look is None:
            return Line((self.team, Style.TITLE), "  asking its daemon …")
        line = Line((self.team, Style.TITLE), (f"  {clock(look.wall_s)}", Style.FAINT))
        line.pieces.append((f"  {look.state['setup']['runner_name']}", Style.PLAIN))
        if active := look.state.get("runner", {}).get("active_port"):
            line.pieces.append((f", active port {active}", Style.PLAIN))
        if look.carrier is not None:
            style = Style.PLAIN if look.carrier else Style.BROKEN
            line.pieces.append((f", carrier {'up' if look.carrier else 'down'}", style))
        if rates := self.rates.now(self.team):
            line.pieces.append((f", in {bits(rates[0])}, out {bits(rates[1])} bit/s", Style.PLAIN))
        return line

    def _notices(self, now_s: float, columns: int) -> list[Line]:
        if self.lost is not None and self.page is not Page.TEAMS:
            why, since_s = self.lost
            text = f"no daemon for {now_s - since_s:.0f} s: {why}; trying again. What stands below is old."
            return indented(text, columns, 0, Style.BROKEN)
        if self.message is not None and now_s - self.message[1] < MESSAGE_S:
            return [Line((self.message[0], Style.CARRYING))]
        return []

    def _footer(self, columns: int) -> Line:
        if self.typing:
            return Line(("/", Style.TITLE), f"{self.filter}_   Enter keeps it, Esc ends it")
        match self.page:
            case Page.HELP:
                keys = "q leave  ? back"
            case Page.PORT:
                keys = "q leave  ? help  Esc back  ↑↓ move  t teams"
            case Page.TEAMS:
                keys = "q leave  ? help  Esc back  ↑↓ choose  Enter look at it"
            case Page.PORTS:
                keys = "q leave  ? help  ↑↓ choose  Enter port  / filter  s sort  t teams"
        return Line((padded(keys, columns - 1), Style.TITLE))

    def _scrolled(self, lines: list[Line], room: int) -> list[Line]:
        """The lines of a long page that fit, from `top` on, and a line that says how many are not shown."""
        if len(lines) <= room:
            self.top = 0
            return lines
        self.top = min(self.top, len(lines) - room + 1)
        shown = lines[self.top : self.top + room - 1]
        return [*shown, Line((beyond(self.top, len(lines) - self.top - len(shown), "lines"), Style.WAITING))]

    def _port(self, columns: int, now_s: float) -> list[Line]:
        row = next((row for row in (self.look.reasons if self.look else ()) if row["port"] == self.chosen), None)
        if self.look is None or row is None:
            return [Line(), Line((f"{self.chosen} is neither a port nor to be one", Style.BROKEN))]
        return watch_port.lines(self.look, row, self.rates, columns, now_s)

    def _teams(self, room: int) -> list[Line]:
        if self.chosen not in [name for name, _ in self.teams]:
            self.chosen = self.teams[0][0] if self.teams else ""
        lines = [
            Line(f"{'▸' if name == self.chosen else ' '} {told}", chosen=name == self.chosen)
            for name, told in self.teams
        ]
        at = next((place for place, (name, _) in enumerate(self.teams) if name == self.chosen), 0)
        return windowed(lines, at, room, "teams") or [Line("  no team daemon has a socket here")]

    def _ports(self, columns: int, room: int, now_s: float) -> list[Line]:
        if self.look is None:
            return []
        rows = self.rows()
        names = [row["port"] for row in rows]
        if self.chosen not in names:
            self.chosen = names[0] if names else ""
        table = self._table(columns, now_s)
        head = [self._counts(), Line(), table.heads()] if room > 12 else [self._counts()]
        if not rows:
            empty = f"  no port has {self.filter!r} in its name or sentence" if self.filter else "  no ports"
            return [*head, Line(empty)]
        room -= len(head)
        blocks = [[self._row(row, table), *self._words(row, columns)] for row in rows]
        if sum(map(len, blocks)) <= max(room - FEWEST_EVENTS - 2, 1):
            ports = [line for block in blocks for line in block]
        else:
            ports = self._compact(rows, table, columns, room)
        return [*head, *ports, *self._events(room - len(ports))]

    def _counts(self) -> Line:
        """How many ports there are of each kind, and how they are sorted and filtered."""
        rows = self.look.reasons if self.look else []
        line = Line(f"{len(rows)} port{'' if len(rows) == 1 else 's'}")
        for kind in Health:
            if count := sum(health(row) is kind for row in rows):
                line.pieces.append((f"  {count} {kind.name.lower()}", kind.style))
        line.pieces.append((f"   sorted by {self.order.value}", Style.FAINT))
        if self.filter and not self.typing:
            line.pieces.append((f", only those with {self.filter!r}", Style.WAITING))
        return line

    def _compact(self, rows: list[dict[str, Any]], table: Table, columns: int, room: int) -> list[Line]:
        """A line for each port; the chosen one's sentence below them."""
        at = next(place for place, row in enumerate(rows) if row["port"] == self.chosen)
        told = self._words(rows[at], columns)[:4]
        left = max(1, room - len(told) - 1)
        if len(rows) > left and room > 16:
            left -= FEWEST_EVENTS + 2
        lines = []
        for row in rows:
            line = self._row(row, table)
            if columns - table.width > 20:
                line.pieces.append((f" {sentence(row)}", Style.FAINT))
            lines.append(line)
        broken = frozenset(place for place, row in enumerate(rows) if health(row) is Health.BROKEN)
        return [*windowed(lines, at, left, "ports", broken), Line((padded(self.chosen, columns), Style.FAINT)), *told]

    def _table(self, columns: int, now_s: float) -> Table:
        names = [str(row["port"]) for row in (self.look.reasons if self.look else [])]
        name = min(max([4, *map(width, names)]), 15 if columns >= 80 else 8)
        state = 20 if columns >= 100 else 13
        left = columns - Table(name, 0, state, 0.0, now_s).width
        return Table(name, max(0, min(60 if columns < 160 else 30, left // 2)), state, self.rates.peak(names), now_s)

    def _row(self, row: dict[str, Any], table: Table) -> Line:
        port, kind = row["port"], health(row)
        chosen = port == self.chosen
        line = Line(
            (f"{'▸' if chosen else ' '} {padded(port, table.name)}", kind.style),
            f"  {padded(self._link(port), LINK)}",
            chosen=chosen,
        )
        rates = self.rates.now(port)
        for sent in (False, True):
            cells = self.rates.cells(port, sent, table.bar, table.now_s)
            number = bits(rates[sent]) if rates else ""
            line.pieces += [(f"  {padded(number, RATE, True)} ", Style.PLAIN), (bars(cells, table.peak), Style.FAINT)]
        line.pieces.append((f"  {padded(word(row), table.state)}", kind.style))
        return line

    def _link(self, name: str) -> str:
        port = self.look.port(name) if self.look else None
        return "no port" if port is None else watch_port.link(port)

    def _words(self, row: dict[str, Any], columns: int) -> list[Line]:
        """What explain says, and where the cable leads."""
        text = sentence(row)
        port = self.look.port(row["port"]) if self.look else None
        if port and (place := watch_port.leads_to(port)) and place not in text:
            text += f"; {place}"
        return indented(text, columns, 4, Style.BROKEN if health(row) is Health.BROKEN else Style.PLAIN)

    def _events(self, room: int) -> list[Line]:
        """What happened last, as much as there is room for."""
        if self.look is None or room < 3:
            return []
        told = self.look.history[-min(room - 2, MOST_EVENTS) :]
        lines = [event_line(self.look.wall_s, row) for row in told] or [Line("  none yet")]
        return [Line(), Line(("last events", Style.FAINT)), *lines]


def windowed(lines: list[Line], at: int, room: int, what: str, broken: frozenset[int] = frozenset()) -> list[Line]:
    """As many lines as there is room for, with the chosen one among them; the last says how many are not shown."""
    if len(lines) <= room or room < 2:
        return lines[at : at + 1] if len(lines) > room else lines
    first = min(max(0, at - (room - 1) // 2), len(lines) - (room - 1))
    last = first + room - 1
    hidden = len([place for place in broken if not first <= place < last])
    text = f"{beyond(first, len(lines) - last, what)}{f', {hidden} of them broken' if hidden else ''}"
    return [*lines[first:last], Line((text, Style.BROKEN if hidden else Style.WAITING))]


def beyond(above: int, below: int, what: str) -> str:
    """How much is not shown, and in which direction."""
    arrows = " ".join(f"{sign} {count}" for sign, count in (("↑", above), ("↓", below)) if count)
    return f"  {above + below} {what} not shown ({arrows})"


def help_lines(columns: int) -> list[Line]:
    wide = max(len(keys) for keys, _ in HELP) if columns >= 80 else 12
    lines = [Line()]
    for keys, what in HELP:
        first, *rest = folded(what, max(10, columns - wide - 4))
        lines.append(Line((f"  {padded(keys, wide)}", Style.TITLE), f"  {first}"))
        lines += [Line(" " * (wide + 4) + piece) for piece in rest]
    lines.append(Line())
    for kind, what in (
        (Health.BROKEN, "carries nothing, and needs you to do something"),
        (Health.DOUBTFUL, "carries traffic, but receives nothing while others do, or its driver counts errors"),
        (Health.WAITING, "will carry traffic when a time is over"),
        (Health.CARRYING, "carries traffic"),
        (Health.STANDBY, "could carry traffic"),
    ):
        first, *rest = folded(what, max(10, columns - wide - 4))
        lines.append(Line((f"  {padded(kind.name.lower(), wide)}", kind.style), f"  {first}"))
        lines += [Line(" " * (wide + 4) + piece) for piece in rest]
    return lines
