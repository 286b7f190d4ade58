"""The links of a network namespace, once for all teams of the process, and which of them each team is told of.

A host makes links by the thousand, and with many teams nearly every link is another one's. A team is told of its ports, of links that it
names, and of those by which these are judged: what they stand on, what stands on them, who has them. What it is told is all that it
looks at, so its trace can be told again alone. When a link begins to matter, the others come first, as they were last heard of. What it was
told of it is told of until the link is deleted, also when that has another name by then: so it knows what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias

from pyteamd.core.team import Team
from pyteamd.model.events import ConfigApply, Event, LinkGone, LinkSeen, PortAdd, PortConfigUpdate, Resync
from pyteamd.schema.problems import ConfigError
from pyteamd.values import replace

Key: TypeAlias = int | str | bytes
"""Number, name or address of a link."""
Told: TypeAlias = dict[Key, set[int]]
"""Links of which teams were told in this batch, and links that those name: with which teams."""


class HasTeam(Protocol):
    """What tells a team what concerns it."""

    team: Team


class NamespaceLinks:
    """All links, as the events so far have them."""

    def __init__(self) -> None:
        self._teams_at: dict[Key, tuple[int, ...]] = {}
        """What a message must name to concern these teams."""
        self._keys: dict[int, tuple[Key, ...]] = {}
        """The same by team."""
        self._changed: set[int] = set()
        """Teams that were told something since: perhaps other links concern them now."""
        self._links: dict[int, LinkSeen] = {}
        self._standing_on: dict[int, dict[int, None]] = {}
        """Links by the one they stand on."""
        self._before: dict[int, LinkSeen] = {}
        """As it was before the last dump."""
        self._read: tuple[LinkSeen, ...] = ()
        """The last dump."""

    def get(self, ifindex: int) -> LinkSeen | None:
        """The link of this number."""
        return self._links.get(ifindex)

    def hear(self, event: LinkSeen | LinkGone) -> None:
        """Something was said of a link."""
        self._before, self._read = {}, ()
        known = self._links.pop(event.ifindex, None)
        if known is not None and known.lower:
            self._untie(known)
        if isinstance(event, LinkSeen):
            self._put(event)

    def refresh(self, there: Mapping[int, HasTeam]) -> None:
        """What was told has been digested by these teams, which are all there are."""
        known = self._keys.keys()
        if not self._changed and known == there.keys():
            return
        for ifindex in (known | self._changed) - there.keys():
            self._index(ifindex, set())
        for ifindex in (self._changed | (there.keys() - known)) & there.keys():
            self._index(ifindex, keys_of(there[ifindex].team))
        self._changed.clear()

    def nearby(self, event: LinkSeen | LinkGone, told: Told) -> Iterable[int]:
        """Teams that this may concern; `about` says which it does."""
        keys: list[Key] = [event.ifindex]
        if isinstance(event, LinkSeen):
            keys += filter(None, (event.lower, event.master, event.mac, *event.names))
        found: dict[int, None] = {}
        for key in keys:
            for teams in (self._teams_at.get(key), told.get(key)):
                if teams:
                    found |= dict.fromkeys(teams)
        return found

    def about(self, team: Team, event: LinkSeen | LinkGone, told: Told) -> list[LinkSeen | LinkGone]:
        """What to tell the team when this is said; to be asked before `hear`. [] when it is none of its concern."""
        ifindex, ours = event.ifindex, team.view.ifindex
        known = ours in told.get(ifindex, ())
        if isinstance(event, LinkGone):
            if not (known or team.wants(event)):
                return []
            told.get(ifindex, set()).discard(ours)
            self._changed.add(ours)
            return [event]
        if not (known or team.follows(event, self._links.get(event.lower))):
            return []
        before = None if known or ifindex == ours or ifindex in team.facts.links else self._links.get(ifindex)
        told.setdefault(ifindex, set()).add(ours)
        found: list[LinkSeen | LinkGone] = list(self._judging(team, event, told))
        if before is not None and before != event:
            found.append(before)  # its own address is the one that it had then
        return [*found, event]

    def before(self, team: Team, event: Event) -> list[LinkSeen]:
        """What to tell the team before this event: links that it names, and the team does not know yet."""
        self._changed.add(team.view.ifindex)
        match event:
            case LinkSeen():
                return list(self._judging(team, event, {}))
            case PortAdd(link=LinkSeen() as link):
                names = link.names
            case PortConfigUpdate(name=name):
                names = (name,)
            case ConfigApply(text=text):
                try:
                    names = tuple(team.config.again(text).port_names())
                except ConfigError:
                    return []
            case _:
                return []
        wanted = set(names)
        links = [link for link in self._links.values() if not wanted.isdisjoint(link.names)]
        return [link for link in self._with_others(team, links) if link.ifindex not in team.facts.links]

    def of(self, team: Team, dump: Resync) -> tuple[LinkSeen | Resync, ...]:
        """What to tell the team of a dump: those links of it that it is to know."""
        if dump.links is not self._read:  # with many teams, one dump is for all
            self._renew(dump.links)
        keys = keys_of(team) | {port.ifindex for port in dump.ports}
        links = [
            link
            for link in dump.links
            if link.ifindex in keys
            or link.name in keys
            or link.master == team.view.ifindex
            or (link.altnames and not keys.isdisjoint(link.altnames))
        ]
        fresh = [self._before.get(link.ifindex) for link in links if link.master == team.view.ifindex]
        earlier = [link for link in fresh if link and not link.master and link.ifindex not in team.facts.links]
        chosen = {link.ifindex: link for link in (*links, *self._with_others(team, links))}
        return *earlier, replace(dump, links=tuple([chosen[ifindex] for ifindex in sorted(chosen)]))

    def _with_others(self, team: Team, links: Iterable[LinkSeen]) -> list[LinkSeen]:
        """These, and before each those by which it is judged."""
        told: Told = {}
        return [each for link in links for each in (*self._judging(team, link, told), link)]

    def _judging(self, team: Team, link: LinkSeen, told: Told) -> Iterator[LinkSeen]:
        """Links by which this one is judged and that the team does not know."""
        self._changed.add(team.view.ifindex)
        yield from self._below(team, link, told)
        for ifindex in self._standing_on.get(link.ifindex, ()) if link.ifindex != team.view.ifindex else ():
            yield from self._news(team, ifindex, told)

    def _below(self, team: Team, link: LinkSeen, told: Told) -> Iterator[LinkSeen]:
        """Those that it stands on or belongs to, that these stand on or belong to, and so on; the lowest first."""
        for ifindex in (link.master, 0 if link.ifindex == team.view.ifindex else link.lower):
            for other in self._news(team, ifindex, told):
                yield from self._below(team, other, told)
                yield other

    def _news(self, team: Team, ifindex: int, told: Told) -> tuple[LinkSeen, ...]:
        """The link of this number, 0 for none, if there is one of which the team was not told."""
        ours = team.view.ifindex
        if ifindex in (0, ours) or ifindex in team.facts.links or ours in (teams := told.setdefault(ifindex, set())):
            return ()
        teams.add(ours)
        other = self._links.get(ifindex)
        return () if other is None else (other,)

    def _index(self, team: int, keys: set[Key]) -> None:
        """A message must name one of these to concern this team."""
        before = set(self._keys.get(team, ()))
        for key in before - keys:
            others = tuple([other for other in self._teams_at[key] if other != team])
            if others:
                self._teams_at[key] = others
            else:
                del self._teams_at[key]
        for key in keys - before:
            self._teams_at[key] = (*self._teams_at.get(key, ()), team)
        if keys != before:
            self._keys[team] = tuple(keys)
        if not keys:
            self._keys.pop(team, None)

    def _renew(self, links: tuple[LinkSeen, ...]) -> None:
        """These are all there are."""
        self._before, self._links, self._read = self._links, {}, links
        self._standing_on.clear()
        for link in links:
            self._put(link)

    def _put(self, link: LinkSeen) -> None:
        self._links[link.ifindex] = link
        if link.lower:
            self._standing_on.setdefault(link.lower, {})[link.ifindex] = None

    def _untie(self, link: LinkSeen) -> None:
        others = self._standing_on.get(link.lower, {})
        others.pop(link.ifindex, None)
        if not others:
            self._standing_on.pop(link.lower, None)


def keys_of(team: Team) -> set[Key]:
    """What a message must name to concern this team (Team.follows): links it knows and those they name, names, its address."""
    facts = team.facts
    keys: set[Key] = {*facts.known(), facts.team.ifindex, *team.config.port_names(), *team.config.written}
    keys.update(team.members.wanted, team.members.out)
    for link in (facts.team, *facts.links.values()):
        keys.update((link.master, link.lower))
    keys.add(facts.mac_of_team())
    keys -= {0, b""}
    return keys
