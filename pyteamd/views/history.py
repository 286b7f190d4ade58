"""What `pyteamdctl explain`, `diff` and `history` show, as plain JSON values: reads the Team and its trace, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyteamd.core.hindrance import AllLinks
from pyteamd.core.reconcile import reconcile
from pyteamd.core.team import Team
from pyteamd.core.trace import Entry
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.model.words import in_words, shorten
from pyteamd.views.explain import cause, doubt, explain, sentence

HISTORY_ENTRIES = 200


def explained(team: Team, now: float, links: AllLinks | None = None) -> list[dict[str, Any]]:
    """One object per port: who, whether it carries traffic, and the sentence a person reads. `links`: see explain."""
    return [
        {
            "port": name,
            "names": list(names_of(team, name, links)),
            "carrying": reason.carrying,
            "text": sentence(name, reason, now),
            "reason": reason.text,
            "hint": reason.hint,
            "since_s": None if reason.since is None else round(now - reason.since, 3),
            **in_one_word(team, name, now),
        }
        for name, reason in explain(team, now, links).items()
    ]


def in_one_word(team: Team, name: str, now: float) -> dict[str, str]:
    """For programs: what keeps the port from traffic, and what speaks against it though it carries some (`explain.doubt`)."""
    port = team.ports.named(name)
    if port is None:
        return {"cause": "no_port", "doubt": ""}
    why = cause(team, port, now)
    return {"cause": why, "doubt": "" if why else doubt(team, port, now)}


def names_of(team: Team, name: str, links: AllLinks | None) -> tuple[str, ...]:
    """All names of a link, the shown one first."""
    link = (links or team.facts).find_link(name)
    return (name,) if link is None else link.names


def difference(team: Team) -> dict[str, Any]:
    """What is wanted and what is: every value the daemon has an opinion on, and the writes that are still missing."""
    desired, observed = team.desired(), team.facts.observed
    name_of = team.facts.name_of
    rows = []
    for key, wanted in desired.options.items():
        rows.append(row(option_name(team, key), shown(team, key, wanted), shown(team, key, observed.options.get(key))))
    for ifindex, mac in desired.macs.items():
        has = observed.macs.get(ifindex)
        rows.append(row(f"address of {name_of(ifindex)}", mac.hex(":"), has.hex(":") if has else None))
    for ifindex, member in desired.members.items():
        rows.append(row(f"{name_of(ifindex)} is a port", member, observed.members.get(ifindex, False)))
    if desired.carrier is not None:
        rows.append(row("carrier", desired.carrier, observed.carrier))
    left = reconcile(desired, observed)
    return {"values": rows, "missing": [in_words(write, name_of) for write in left]}


def row(name: str, wanted: Any, has: Any) -> dict[str, Any]:
    """One line of the comparison."""
    return {"what": name, "wanted": wanted, "has": has, "same": wanted == has}


def option_name(team: Team, key: OptionKey) -> str:
    """An option instance for people."""
    place = f"[{key.index}]" if key.name.startswith("lb_tx_hash") else ""
    return f"{key.name}{place}" + (f" of {team.facts.name_of(key.port)}" if key.port else "")


def shown(team: Team, key: OptionKey, value: OptionValue | None) -> Any:
    """An option's value for people; links by name."""
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and key.name in ("activeport", "lb_tx_hash_to_port_mapping")
    ):
        return team.facts.name_of(value) if value else "none"
    return shorten(value) if isinstance(value, bytes) else value


def history(entries: Iterable[Entry], now: float) -> list[dict[str, Any]]:
    """The last notes of the trace, HISTORY_ENTRIES at most, oldest first, each with its age and the event that led to it."""
    told = list(_told(entries, now))
    return told[-HISTORY_ENTRIES:]


def _told(entries: Iterable[Entry], now: float) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for note in entry.outputs.notes:
            yield {
                "age_s": round(now - entry.at, 3),
                "level": note.level.value,
                "port": note.port,
                "text": note.text,
                "cause": type(entry.event).__name__,
            }
