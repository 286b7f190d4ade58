"""Where `watch` gets its looks from: the daemon, asked in a thread of its own, and the kernel's counters.

A daemon that does not answer keeps nobody waiting but this thread; it is tried again at every interval, so a restart is noticed. What was
learned is put into a queue, and `wake` tells the reader that there is something.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path

from pyteamd.cli.pyteamdctl.summary import in_a_line, summary
from pyteamd.cli.pyteamdctl.watch_look import TeamLook
from pyteamd.client.client import Client
from pyteamd.client.connection import teams
from pyteamd.client.transport import ClientError
from pyteamd.model.printable import printable, printable_tree, spellings
from pyteamd.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    News: TypeAlias = "TeamLook | Lost | Teams | Crash"

SYSFS = Path("/sys/class/net")
END_S = 1.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon does not answer."""

    why: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Teams:
    """All teams here: name and summary."""

    rows: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Crash:
    """A fault of ours; the one who reads the queue raises it."""

    error: BaseException


class Source:
    """Looks at one team, or at all of them, again and again until it is closed."""

    def __init__(self, client: Client, interval_s: float, wake: Callable[[], None]) -> None:
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._client: Client | None = client
        self._transport = client.transport
        self._team: str | None = client.team
        self._interval_s = interval_s
        self._wake = wake
        self._turned = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def start(self, team: str | None) -> None:
        """Begin; `team` None: with all teams."""
        self._team = team
        self._thread.start()

    def turn(self, team: str | None) -> None:
        """Look at once, at this team from now on, or at all of them."""
        self._team = team
        self._turned.set()

    def close(self) -> None:
        """End, also a call that waits."""
        self._closed = True
        self._turned.set()
        if (client := self._client) is not None:
            client.interrupt()
        self._thread.join(END_S)

    def _run(self) -> None:
        while not self._closed:
            self._turned.clear()
            try:
                found = self._teams() if (team := self._team) is None else self._look(team)
            except Exception as error:
                found = Crash(error)
            self.news.put(found)
            self._wake()
            self._turned.wait(self._interval_s)

    def _look(self, team: str) -> News:
        try:
            if self._client is None or self._client.team != team:
                self._drop()
                self._client = Client.connect(team, self._transport)
            return look(self._client)
        except ClientError as error:
            self._drop()
            return Lost(printable(str(error)), time.monotonic())
        except (ValueError, KeyError, TypeError, AttributeError):
            self._drop()
            return Lost("it answers with what is no state", time.monotonic())

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _teams(self) -> Teams:
        self._drop()
        return Teams([(name, printable(told)) for name, told in map(told_of, teams())])


def told_of(team: str) -> tuple[str, str]:
    """Name and summary of a team, or why there is none."""
    try:
        with Client.connect(team, "usock") as client:
            return team, in_a_line(team, summary(client.state()))
    except ClientError as error:
        return team, f"{team}: {error}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return team, f"{team}: its daemon answers with what is no state"


def look(client: Client) -> TeamLook:
    """All there is to know of a team now. Raises ClientError."""
    exact = [json.loads(client.fetch(method)) for method in ("StateDump", "Explain", "History")]
    names = [client.team, *(row["port"] for row in exact[1])]
    state, reasons, history = map(printable_tree, exact)
    return TeamLook(
        client.team, time.monotonic(), time.time(), state, reasons, history, counted(names), carrier(client.team)
    )


def counted(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Octets received and sent, from the kernel's counters, of the links that are here, by their names as they are shown."""
    found = {}
    for name in names:
        for octets in spellings(name):
            with suppress(OSError, ValueError):
                place = SYSFS / os.fsdecode(octets) / "statistics"
                counters = int((place / "rx_bytes").read_text()), int((place / "tx_bytes").read_text())
                found[printable(name)] = counters
                break
    return found


def carrier(name: str) -> bool | None:
    """Carrier of a link; a link that is down has none."""
    with suppress(OSError):
        return (SYSFS / name / "carrier").read_text().strip() == "1"
    return False if (SYSFS / name).is_dir() else None
