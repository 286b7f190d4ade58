"""Feed a saved trace through the code as it is now: the same decisions, or the first difference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyteamd.config.config import Config
from pyteamd.core.team import Team
from pyteamd.core.trace import Entry, decode, parse
from pyteamd.core.typed import fits
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import Outputs, Write
from pyteamd.model.errors import UserError
from pyteamd.model.events import Applied, Event, LinkSeen, Refused
from pyteamd.runners import RUNNERS
from pyteamd.schema.problems import ConfigError


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which the present code decides otherwise."""

    step: int
    entry: Entry
    writes: tuple[Write, ...]
    outputs: Outputs

    def text(self) -> str:
        """For a person: the event, then what was decided then and what is decided now."""
        lines = [f"step {self.step} at {self.entry.at:.6f}: {self.entry.event}"]
        recorded = _decisions(self.entry.writes, self.entry.outputs)
        present = _decisions(self.writes, self.outputs)
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
    for name, good in (
        ("link", isinstance(link, LinkSeen)),
        ("adopted", type(beginning["adopted"]) is bool),
        ("enslave", type(beginning["enslave"]) is bool),
    ):
        if not good:
            raise ValueError(f"{name}: not what it should be")
    strict = beginning.get("strict") is True
    team = Team(config, link, adopted=beginning["adopted"], enslave=beginning["enslave"], strict=strict)
    resumed = beginning.get("resumed")
    if not resumed:
        return team
    match resumed:
        case [dict(snapshot), age_s, now] if fits(age_s, float) and fits(now, float):
            team.runner.resume(snapshot, float(age_s), float(now))
            return team
    raise ValueError("resumed: not what it should be")


def replay(lines: Iterable[str]) -> tuple[int, Difference | None]:
    """Number of steps that agree, and the first that does not. ValueError: not a trace, or one whose beginning is lost."""
    beginning, entries = parse(lines)
    if beginning.get("dropped"):
        raise ValueError(f"the first {beginning['dropped']} steps fell out of the ring: there is nothing to begin from")
    for step, (entry, writes, outputs) in enumerate(retold(begin(beginning), entries)):
        if (writes, outputs) != (entry.writes, entry.outputs):
            return step, Difference(step, entry, writes, outputs)
    return len(entries), None


def retold(team: Team, entries: Iterable[Entry]) -> Iterator[tuple[Entry, tuple[Write, ...], Outputs]]:
    """Tell the team each step again: the entry, and what is decided now. While a step is looked at the team is as it was after it."""
    unanswered = 0
    for entry in entries:
        writes: tuple[Write, ...] = ()
        try:
            team.handle(entry.event, entry.at)
            unanswered += len(entry.writes) - _answered(entry.event)
            if entry.writes or not unanswered:
                writes = team.writes(entry.at)
                if not writes:
                    team.rest(entry.at)
        except UserError:
            pass  # it was refused then, too, or this step differs
        yield entry, writes, team.take()


def _answered(event: Event) -> int:
    """How many writes that were under way this event answers; the core is asked for more when all are."""
    match event:
        case Applied(writes=writes):
            return len(writes)
        case Refused():
            return 1
    return 0


def _decisions(writes: tuple[Write, ...], outputs: Outputs) -> list[str]:
    said = [f"says {note.text!r}" for note in outputs.notes]
    sent = [f"sends {len(frame.octets)} octets on {frame.port}: {frame.octets.hex()}" for frame in outputs.frames]
    return [f"writes {write}" for write in writes] + sent + said
