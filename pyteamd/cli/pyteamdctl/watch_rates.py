"""Traffic over the last minutes, for `watch`: from octet counters to rates, and from rates to a row of bars. Pure.

A cell of the row stands for a stretch of time and shows the highest rate seen in it, so that a short burst does not vanish.
"""

from __future__ import annotations

import math
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SPAN_S = 180.0
"""How far back the bars go."""
BARS = "▁▂▃▄▅▆▇█"
NOTHING = "·"
"""No traffic at all; where nothing is known there is a blank."""
UNITS = ("", "k", "M", "G", "T")


class Rates:
    """Rates of links by name: bits per second received and sent."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, int]] = {}
        self._samples: dict[str, list[tuple[float, float, float]]] = {}

    def add(self, at_s: float, counters: Mapping[str, tuple[int, int]]) -> None:
        """What was counted at this moment: octets received and sent. A counter that went back belongs to another link."""
        for name in self._last.keys() - counters.keys():
            del self._last[name]
        for name, (received, sent) in counters.items():
            last, self._last[name] = self._last.get(name), (at_s, received, sent)
            samples = self._samples.setdefault(name, [])
            if last is not None and at_s > last[0] and received >= last[1] and sent >= last[2]:
                seconds = at_s - last[0]
                samples.append((at_s, 8 * (received - last[1]) / seconds, 8 * (sent - last[2]) / seconds))
            while samples and samples[0][0] <= at_s - SPAN_S:
                samples.pop(0)

    def now(self, name: str) -> tuple[float, float] | None:
        """Received and sent at the last look."""
        samples = self._samples.get(name)
        return samples[-1][1:] if samples and name in self._last else None

    def peak(self, names: Iterable[str]) -> float:
        """The highest rate of any of these, in either direction, over all the time shown."""
        return max((max(row[1:]) for name in names for row in self._samples.get(name, ())), default=0.0)

    def cells(self, name: str, sent: bool, count: int, now_s: float) -> list[float | None]:
        """The highest rate in each of so many equal stretches of the last SPAN_S, the newest last."""
        found: list[float | None] = [None] * count
        for at_s, *both in self._samples.get(name, ()):
            place = count - 1 - math.floor((now_s - at_s) * count / SPAN_S)
            if 0 <= place < count:
                found[place] = max(both[sent], found[place] or 0.0)
        return filled(found)


def filled(cells: list[float | None]) -> list[float | None]:
    """Fill cells in which there was no look with the next rate, which is the mean since the look before; the newest with the last one."""
    known = [place for place, rate in enumerate(cells) if rate is not None]
    for place, following in pairwise(known):
        cells[place + 1 : following] = [cells[following]] * (following - place - 1)
    if known:
        cells[known[-1] + 1 :] = [cells[known[-1]]] * (len(cells) - known[-1] - 1)
    return cells


def bars(cells: Sequence[float | None], peak: float) -> str:
    """One character for each cell; the full height is `peak`."""
    shown = ""
    for rate in cells:
        if rate is None:
            shown += " "
        elif rate <= 0 or peak <= 0:
            shown += NOTHING
        else:
            shown += BARS[min(len(BARS) - 1, math.ceil(rate / peak * len(BARS)) - 1)]
    return shown


def graph(cells: Sequence[float | None], peak: float, lines: int) -> list[str]:
    """The same over several lines, the highest first."""
    rows = []
    for line in reversed(range(lines)):
        row = ""
        for rate in cells:
            height = 0 if rate is None or peak <= 0 else math.ceil(rate / peak * lines * len(BARS))
            above = min(len(BARS), height - line * len(BARS))
            row += BARS[above - 1] if above > 0 else NOTHING if line == 0 and rate is not None else " "
        rows.append(row)
    return rows


def bits(rate: float) -> str:
    """A rate in bits per second for a narrow column, at most 5 characters: 0, 28.1k, 950M."""
    for unit in UNITS:
        if rate < 999.5 or unit == UNITS[-1]:
            return f"{rate:.0f}{unit}" if rate >= 99.95 or not unit else f"{rate:.1f}{unit}"
        rate /= 1000
    raise AssertionError("the last unit takes all")
