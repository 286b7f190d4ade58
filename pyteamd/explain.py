"""Why a port carries traffic or does not, in one true sentence with the first condition that prevents it. Reads state only.

The order in which conditions are looked for is the order in which a person would have to clear them: is the link there, may it be a
port, did the kernel take what we wrote, is there a carrier, what do the link watchers say, and what did the runner decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyteamd.events import LinkSeen
from pyteamd.model import OptionKey, SetOption
from pyteamd.port import Port
from pyteamd.refusals import in_words
from pyteamd.runners.base import Reason
from pyteamd.team import Team


def explain(team: Team, now: float) -> dict[str, Reason]:
    """Reason by interface name: ports in ifindex order, then links that shall be ports and are not."""
    reasons = {port.name: of_port(team, port, now) for port in team.ports.values()}
    return reasons | {name: reason for name, reason in of_outsiders(team) if name not in reasons}


def sentence(name: str, reason: Reason, now: float) -> str:
    """The line a person reads."""
    since = f", for {duration(now - reason.since)}" if reason.since is not None else ""
    hint = f" ({reason.hint})" if reason.hint else ""
    return f"{name}: {reason.text}{since}{hint}"


def of_port(team: Team, port: Port, now: float) -> Reason:
    """One port of the team."""
    return (
        of_team(team)
        or of_carrier(port)
        or of_watchers(port, now)
        or of_kernel(team, port, now)
        or team.runner.explain(port, team.view, now)
    )


def of_team(team: Team) -> Reason | None:
    """The team device itself must be up."""
    if team.view.up:
        return None
    name = team.facts.team.name
    return Reason(False, f"{name} is administratively down", f"ip link set {name} up")


def of_carrier(port: Port) -> Reason | None:
    """Without a raw link nothing goes, but a watcher may not have given up on the port yet."""
    if port.running or port.up:
        return None
    if not port.link.up:
        return Reason(False, "is administratively down", f"ip link set {port.name} up", port.running_since)
    return Reason(False, "no carrier", "check the cable, and whether the other end is up", port.running_since)


def of_watchers(port: Port, now: float) -> Reason | None:
    """The watchers' verdict, with the reason of the first that says down."""
    if port.up:
        return None
    down = [watcher for watcher in port.watchers if not watcher.up]
    verdict = down[0].verdict() if down else None
    text = verdict.reason if verdict else "link watchers say down"
    deadline = down[0].deadline() if down and "still running" in text else None
    if deadline is not None:
        text = f"{text}, {max(0.0, deadline - now):.1f} s left"
    others = len(port.watchers) - len(down)
    hint = "link_watch_policy is all" if others and port.policy_all else ""
    return Reason(False, text, hint, port.up_since)


def of_kernel(team: Team, port: Port, now: float) -> Reason | None:
    """A write that concerns the port and does not get through."""
    held = team.backoff.allowed_later(port.ifindex, now)
    if held is None:
        return None
    words = in_words(held.write, team.facts.name_of)
    refused = held.refused
    why = "the kernel refuses" if refused else "something else undoes"
    hint = f"tried {held.repeats} times, next try in {max(0.0, held.hold_until_s - now):.1f} s"
    serving = team.facts.observed.options.get(OptionKey("enabled", port.ifindex)) is True
    matters = isinstance(held.write, SetOption) and held.write.key.name in ("enabled", "activeport")
    return Reason(serving and not matters, f"{why} to {words}" if refused else f"{why}: {words}", hint, held.last_s)


def of_outsiders(team: Team) -> Iterator[tuple[str, Reason]]:
    """Links that were to be ports."""
    by_name = {link.name: link for link in team.facts.links.values()}
    for name, why in team.roster.refused.items():
        yield name, Reason(False, f"is no port: {why}", "correct the configuration and add it again")
    for name in team.members.wanted:
        link = by_name.get(name)
        if link is None:
            yield name, Reason(False, "there is no such interface", "it joins when it appears")
        elif link.ifindex not in team.ports:
            yield name, of_candidate(team, link)


def of_candidate(team: Team, link: LinkSeen) -> Reason:
    """A link that is there, wanted, and no port."""
    if link.master == team.view.ifindex:
        hosts = ", ".join(team.roster.unresolved())
        return Reason(False, f"is joining: resolving {hosts}" if hosts else "is joining")
    if link.master:
        return Reason(False, f"belongs to {team.facts.name_of(link.master)}", f"ip link set {link.name} nomaster")
    if link.up:
        return Reason(False, "is up, and a port must be down when it is added", f"ip link set {link.name} down")
    return Reason(False, "is about to be added")


def duration(seconds: float) -> str:
    """A span of time for people: 0.4 s, 41 s, 5 min, 3 h, 2 d."""
    for limit, unit, size in ((10, "s", 1), (120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if limit == 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
