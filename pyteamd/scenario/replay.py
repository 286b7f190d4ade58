"""Feed a saved trace through the code as it is now, the shipped Pump included: the same decisions, or the first difference."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, cast

from pyteamd.config.config import Config
from pyteamd.core.namespace_links import NamespaceLinks
from pyteamd.core.team import Team
from pyteamd.core.trace import Entry, Trace, decode, parse
from pyteamd.core.typed import fits
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.writing import ANSWERS, Done
from pyteamd.kernel.api import Kernel
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import Frame, Outputs, Tap, Write
from pyteamd.model.errors import KernelGone, KernelRefused, UserError
from pyteamd.model.events import Applied, Event, HostName, LinkGone, LinkSeen, Refused, Resync
from pyteamd.model.words import in_words
from pyteamd.runners import RUNNERS
from pyteamd.scenario.shell import Faults
from pyteamd.schema.problems import ConfigError
from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first step at which the present code decides otherwise."""

    step: int
    entry: Entry
    now: Entry

    def text(self) -> str:
        """For a person: the event, then what was decided then and what is decided now."""
        lines = [f"step {self.step} at {self.entry.at:.6f}: {self.entry.event}"]
        recorded = _decisions(self.entry.writes, self.entry.outputs)
        present = _decisions(self.now.writes, self.now.outputs)
        if self.now.event != self.entry.event:
            lines.append(f"  now another event: {self.now.event}")
        lines += [f"  recorded only: {line}" for line in recorded if line not in present]
        lines += [f"  now only:      {line}" for line in present if line not in recorded]
        if len(lines) == 1:
            lines.append(f"  the same in another order: {' · '.join(present)}")
        return "\n".join(lines)


def begin(beginning: Mapping[str, Any]) -> Team:
    """The team as it was when the trace began. ValueError: the first line lacks something."""
    try:
        return _begun(beginning)
    except KeyError as missing:
        raise ValueError(f"line 1: no {missing}") from None
    except ConfigError as error:
        raise ValueError(f"line 1: the configuration is no longer accepted: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"line 1: {error}") from None


def _begun(beginning: Mapping[str, Any]) -> Team:
    text = json.dumps(beginning["config"])  # not sorted by key: ports are added in the order they were written in
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    link = decode(beginning["link"])
    if not isinstance(link, LinkSeen):
        raise ValueError("link: must be a LinkSeen")
    for name in ("adopted", "enslave"):
        if type(beginning[name]) is not bool:
            raise ValueError(f"{name}: must be true or false")
    strict = beginning.get("strict") is True
    team = Team(config, link, adopted=beginning["adopted"], enslave=beginning["enslave"], strict=strict)
    resumed = beginning.get("resumed")
    if not resumed:
        return team
    match resumed:
        case [dict(snapshot), age_s, now] if fits(age_s, float) and fits(now, float):
            team.runner.resume(snapshot, float(age_s), float(now))
            return team
    raise ValueError("resumed: must be a snapshot, its age and the time of that, in seconds")


def replay(lines: Iterable[str]) -> tuple[int, Divergence | None]:
    """Number of steps that agree, and the first that does not. ValueError: not a trace, or one whose beginning is lost."""
    beginning, entries = parse(lines)
    if beginning.get("dropped"):
        raise ValueError(f"the first {beginning['dropped']} steps fell out of the ring: there is nothing to begin from")
    differences: list[Divergence] = []

    def compare(step: int, now: Entry) -> None:
        if now != entries[step]:
            differences.append(Divergence(step, entries[step], now))

    retelling = Retelling(begin(beginning), entries, compare)
    while not differences and retelling.go_on():
        pass
    return (differences[0].step, differences[0]) if differences else (len(entries), None)


def retell(beginning: Mapping[str, Any], entries: Sequence[Entry], look: Callable[[Team, Entry, Entry], None]) -> None:
    """Tell the whole trace. `look` is given each step as recorded and as it is now, and the team as it is after it. ValueError."""
    team = begin(beginning)
    retelling = Retelling(team, entries, lambda step, now: look(team, entries[step], now))
    while retelling.go_on():
        pass


class Retelling:
    """A pump in the world of a trace: the clock, what is heard and what the kernel answers are as recorded; what goes out is not sent.

    Answers of the kernel, and what was read after an overrun, are the pump's own events: they are given when it asks for them.
    """

    def __init__(self, team: Team, entries: Sequence[Entry], look: Callable[[int, Entry], None]) -> None:
        """`look`: told of each step, by its number, what it is now."""
        self._entries = entries
        self._look = look
        self._step = 0
        """The next one to be digested."""
        self._now = 0.0
        self._held: tuple[Sequence[Write], Done] | None = None
        """Writes that the kernel has not answered yet."""
        log = Faults(lambda kind, text: None)  # what the pump logs now it logged then, too
        self._pump = Pump(team, cast(Kernel, self), self, ComparingTrace(self._digested), log, lambda: self._now)
        self._pump.perform = self._perform
        self._pump.links = cast(NamespaceLinks, self)

    def go_on(self) -> bool:
        """Tell what comes next. False at the end."""
        if self._step == len(self._entries):
            return False
        entry = self._entries[self._step]
        self._now = entry.at
        if self._held is not None and type(entry.event) in ANSWERS:
            writes, done = self._held
            self._answer(writes, done, self._step)
            return True
        before = self._step
        with suppress(UserError):  # it was refused then, too, or this step differs
            self._pump.feed((entry.event,), self._now)
        if self._step == before:  # a link that is of no concern to the team now
            self._digested(Entry(entry.at, entry.event, (), Outputs()))
        return True

    # -- what the pump needs: see Surroundings and Kernel ----------------------------------------------------------------

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        """Frames that are heard come from the trace."""
        return math.inf

    def send(self, frame: Frame) -> None:
        """Frames go nowhere."""

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """What was found comes from the trace."""

    def debug_level(self, level: int) -> None:
        """Nothing is logged."""

    def ports_changed(self, ports: Iterable[int]) -> None:
        """Nobody else has to know."""

    def runner_replaced(self) -> None:
        """Nobody else has to know."""

    def fault(self, text: str) -> None:
        """It is in the notes."""

    def prepare(self, team: int, losses: Mapping[int, Sequence[Write]]) -> None:
        """Nothing is encoded."""

    def encode(self, writes: Iterable[Write]) -> None:
        """Nothing is encoded."""

    def dump(self, team: int) -> Resync:
        """As it was read then; links may have been told of before it."""
        events = (entry.event for entry in self._entries[self._step :] if entry.at == self._now)
        event = next((event for event in events if not isinstance(event, LinkSeen)), None)
        if isinstance(event, Resync):
            return event
        if isinstance(event, LinkGone):
            raise KernelGone
        raise KernelRefused(errno.EAGAIN, "read everything")

    def of(self, team: Team, dump: Resync) -> tuple[Event, ...]:
        """See NamespaceLinks: this dump, and before it what the team was told then."""
        told = takewhile(lambda event: event is not dump, (entry.event for entry in self._entries[self._step :]))
        return (*told, dump)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _perform(self, writes: Sequence[Write], done: Done) -> None:
        """The answer comes at once if it did then."""
        self._held = writes, done
        after = self._entries[self._step + 1] if self._step + 1 < len(self._entries) else None
        if after is not None and type(after.event) in ANSWERS and after.at == self._now:
            self._answer(writes, done, self._step + 1)

    def _answer(self, writes: Sequence[Write], done: Done, step: int) -> None:
        """As the steps from this one on have it."""
        self._held = None
        refused: list[Refused] = []
        unanswered = len(writes)
        while unanswered > 0 and step < len(self._entries):
            match self._entries[step].event:
                case Applied(writes=applied):
                    unanswered -= len(applied)
                case Refused() as event:
                    refused.append(event)
                    unanswered -= 1
                case _:
                    break
            step += 1
        done(writes, refused)

    def _digested(self, now: Entry) -> None:
        if self._step < len(self._entries):
            self._step += 1
            self._look(self._step - 1, now)


class ComparingTrace(Trace):
    """What a pump records is looked at and not kept."""

    def __init__(self, look: Callable[[Entry], None]) -> None:
        super().__init__({}, 0)
        self._look = look

    def record(self, at: float, event: Event, writes: tuple[Write, ...], outputs: Outputs) -> None:
        self._look(Entry(at, event, writes, outputs))


def _decisions(writes: tuple[Write, ...], outputs: Outputs) -> list[str]:
    said = [f"says {note.text!r}" for note in outputs.notes]
    sent = [f"sends {len(frame.octets)} octets on {frame.port}: {frame.octets.hex()}" for frame in outputs.frames]
    return [f"writes: {in_words(write, 'interface {}'.format)}" for write in writes] + sent + said
