"""Why a port carries traffic or does not, in one true sentence with the first condition that prevents it. Reads state only.

The order in which conditions are looked for is the order in which a person would have to clear them: is the link there, may it be a
port, did the kernel take what we wrote, is there a carrier, what do the link watchers say, and what did the runner decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pyteamd.core.backoff import port_of
from pyteamd.core.hindrance import AllLinks, Hindrance
from pyteamd.core.joining import stand_ins
from pyteamd.core.port import Port
from pyteamd.core.team import Team
from pyteamd.core.wanted import REMOVED, TAKEN, UNNAMED
from pyteamd.linkwatch.neighbour import Listener
from pyteamd.model.desired import SWITCHES, OptionKey, SetMember, SetOption, Verdict, Write
from pyteamd.model.events import LinkSeen
from pyteamd.model.printable import after_set, argument, in_shell, printable
from pyteamd.model.words import BELONGS, in_words
from pyteamd.runners.base import Reason
from pyteamd.wire.lldp import Neighbour

SHORT_PORTS = 12


def explain(team: Team, now: float, links: AllLinks | None = None) -> dict[str, Reason]:
    """Reason by interface name: ports in ifindex order, then links that are to be ports and are not."""
    reasons = {port.name: with_counters(team, port, of_port(team, port, now), now) for port in team.ports.values()}
    outsiders = of_outsiders(team, now, links or team.facts)
    return reasons | {name: reason for name, reason in outsiders if name not in reasons}


def sentence(name: str, reason: Reason, now: float) -> str:
    """The line a person reads: how long comes after the first clause, what to do at the end."""
    time = "" if reason.since is None else f" for {duration(now - reason.since)}"
    return f"{name}: {reason.clause}{time}{reason.rest}" + (f" ({reason.hint})" if reason.hint else "")


def in_short(team: Team, now: float) -> str:
    """All ports on one line, for a place where there is little room: "em1 carries, em2 standby, em8 missing"."""
    words = []
    for name, reason in explain(team, now).items():
        port = team.ports.named(name)
        why = "missing" if port is None else cause(team, port, now).replace("_", " ")
        words.append(f"{printable(name)} {'carries' if reason.carrying else why}")
    more = f", and {len(words) - SHORT_PORTS} more" if len(words) > SHORT_PORTS else ""
    return ", ".join(words[:SHORT_PORTS]) + more or "no ports"


def of_port(team: Team, port: Port, now: float) -> Reason:
    """One port of the team."""
    return (
        of_team(team)
        or of_carrier(team, port, now)
        or of_watchers(team, port, now)
        or of_kernel(team, port, now)
        or of_hand(team, port)
        or of_runner(team, port, now)
    )


def with_counters(team: Team, port: Port, reason: Reason, now: float) -> Reason:
    """The reason, and what its name and the driver's counters say beside it; they keep no port from traffic."""
    if moved := team.joining.moved(port.ifindex):
        rest = f"{reason.rest}; it {moved}, and stays a port"
        leave = f"to let it go: pyteamdctl {in_shell(team.view.name)} port remove {argument(port.name)}"
        reason = replace(reason, rest=rest, hint=reason.hint or leave)
    since = team.facts.silence.silent_since(port.ifindex, now) if reason.carrying else None
    if since is not None:
        heard = [team.ports[other].name for other in team.facts.silence.heard_by(port.ifindex) if other in team.ports]
        rest = f"{reason.rest}, but has received nothing for {duration(now - since)} while {', '.join(heard)} received"
        hint = "is the switch's port in the right VLAN, and in the aggregate? A link watcher such as arp_ping would act on it"
        return replace(reason, rest=rest, hint=hint)
    if count := team.facts.silence.errors(port.ifindex, now):
        rest = f"{reason.rest}, and its driver counted {count} error{'' if count == 1 else 's'} lately"
        return replace(reason, rest=rest, hint=f"check cable and transceiver: ethtool -S {in_shell(port.name)}")
    return reason


def cause(team: Team, port: Port, now: float) -> str:
    """What keeps a port from traffic, as one word, for programs: the first condition of `of_port`, or lacp's word; "" when it carries."""
    places = (
        ("team_down", of_team(team)),
        ("no_carrier" if port.link.up else "admin_down", of_carrier(team, port, now)),
        ("link_watch", of_watchers(team, port, now)),
        ("kernel", of_kernel(team, port, now)),
        ("disabled_by_hand", of_hand(team, port)),
    )
    for word, reason in places:
        if reason is not None:
            return "" if reason.carrying else word
    if team.runner.explain(port, team.view, now).carrying:
        return "" if of_runner(team, port, now).carrying else "team_carrier"
    told = (team.runner.port_state(port, team.view) or {}).get("details", {}).get("blocked_by", "")
    return str(told) or "standby"


def doubt(team: Team, port: Port, now: float) -> str:
    """What the driver's counters say against a port that carries traffic: "silent", "errors", or "" for nothing."""
    silence = team.facts.silence
    if silence.silent_since(port.ifindex, now) is not None:
        return "silent"
    return "errors" if silence.errors(port.ifindex, now) else ""


def of_team(team: Team) -> Reason | None:
    """The team device itself must be up."""
    if team.view.up:
        return None
    name = team.facts.team.name
    return Reason(False, f"{name} is administratively down", f"ip link set {after_set(name)} up")


def of_carrier(team: Team, port: Port, now: float) -> Reason | None:
    """Without a raw link nothing goes, even while a watcher has not given up on the port yet."""
    if port.running:
        return None
    waiting = patience(port, True)
    rest = f"; {waiting.text}{left(waiting, now)}" if waiting else ""
    link = port.link
    lower = team.facts.get_link(link.lower) if link.kind == "vlan" and not link.loose_binding else None
    if (
        not link.up and lower is not None and not lower.up
    ):  # with which the kernel sets it up, and without which it does not
        text, hint = "is administratively down", f"ip link set {after_set(lower.name)} up"
        rest = f", as is {lower.name}, on which it stands{rest}"
    elif not link.up:
        text, hint = "is administratively down", f"ip link set {after_set(link.name)} up"
    elif link.carrier:
        text, hint = "has carrier, and is not operational", "does 802.1X, or another program, hold it dormant?"
    else:
        text, hint = "no carrier", "check the cable, and whether the other end is up"
    return Reason(False, text, hint, port.running_since, rest)


def patience(port: Port, up: bool) -> Verdict | None:
    """The answer of the first watcher that says up (or down, `up` false) and will change its mind by time alone."""
    verdicts = (watcher.verdict() for watcher in port.watchers if watcher.up is up)
    return next((verdict for verdict in verdicts if verdict.until is not None), None)


def left(verdict: Verdict, now: float) -> str:
    """How long an answer will last."""
    return "" if verdict.until is None else f", {max(0.0, verdict.until - now):.1f} s left"


def of_watchers(team: Team, port: Port, now: float) -> Reason | None:
    """The watchers' verdict, where anybody heeds it, with the reason of the first that says down."""
    by_kernel = team.facts.observed.options.get(OptionKey("user_linkup_enabled", port.ifindex)) is True
    if port.up or not (team.runner.heeds_watchers or by_kernel):
        return None
    down = [watcher for watcher in port.watchers if not watcher.up]
    hint = "link_watch_policy is all" if len(down) < len(port.voters()) and port.policy_all else ""
    if stand_ins(port) and not any(other.up for other in team.ports.values()):
        hint = "give the address, if the name can be resolved through this team only"
    if waiting := patience(port, False):
        return Reason(False, waiting.reason, hint, port.running_since, waiting.rest + left(waiting, now))
    why = down[0].verdict().text if down else "no link watcher says up"
    return Reason(False, "link watch down", hint, port.up_since, f": {why}")


def of_kernel(team: Team, port: Port, now: float) -> Reason | None:
    """A write that concerns the port and does not get through."""
    held = next((attempt for attempt in team.backoff.held(now) if concerns(attempt.write, port.ifindex)), None)
    if held is None:
        return None
    words = in_words(held.write, team.facts.name_of)
    tried = "once" if held.repeats == 1 else f"{held.repeats} times"
    hint = f"next try in {max(0.0, held.until_s(held.write) - now):.1f} s"
    if held.hold_until_s <= now:
        why = f"changed back and forth too often, last: {words}"
    else:
        why = f"the kernel refuses to {held.why or words}" if held.refused else f"something else undoes: {words}"
        hint = f"tried {tried}, {hint}"
    serving = team.facts.observed.serves(port.ifindex)
    matters = isinstance(held.write, SetOption) and held.write.key.name in (*SWITCHES, "activeport")
    return Reason(serving and not matters, why, hint)


def concerns(write: Write, ifindex: int) -> bool:
    """Whether a write decides about this port."""
    if isinstance(write, SetOption) and write.key.name == "activeport":
        return write.value == ifindex
    return port_of(write) == ifindex


def of_hand(team: Team, port: Port) -> Reason | None:
    """Disabled by another program, where the runner leaves that to people."""
    switches = [OptionKey(name, port.ifindex) for name in SWITCHES]
    off = [key.name for key in switches if team.facts.observed.options.get(key) is False]
    if not off or any(key in team.desired().options for key in switches):
        return None
    hint = f"teamnl {in_shell(team.facts.team.name)} setoption -p {in_shell(port.name)} enabled true"
    return Reason(False, f"disabled by hand: the option {off[-1] if len(off) == 2 else 'enabled'} is false", hint)


def of_runner(team: Team, port: Port, now: float) -> Reason:
    """The runner's word; but a team without carrier carries nothing."""
    name = team.facts.team.name
    reason = team.runner.explain(port, team.view, now)
    if not reason.carrying:
        return replace(reason, rest=reason.rest + leads_to(team, port)) if team.runner.has_partners else reason
    if team.desired().carrier is not False:
        return reason
    why = f", but {name} has no carrier: {team.runner.explain_carrier()}"
    return Reason(False, "in service", reason.hint, reason.since, why)


def leads_to(team: Team, port: Port) -> str:
    """Where the cable of a port that is not in service goes, as far as LLDP tells, and that another port's goes elsewhere."""
    here = neighbour_of(port)
    if here is None:
        return ""
    words = f"; leads to {printable(here.system)} {printable(here.port)}"
    if here.aggregation_enabled is False:
        words += ", where aggregation is disabled"
    for other in team.ports.values():
        there = neighbour_of(other)
        if there is not None and there.chassis != here.chassis:
            return f"{words}, while {other.name} leads to {printable(there.system)} {printable(there.port)}"
    return words


def neighbour_of(port: Port) -> Neighbour | None:
    """What was last heard of the other end of the port's cable."""
    return next((watcher.now() for watcher in port.watchers if isinstance(watcher, Listener)), None)


def of_outsiders(team: Team, now: float, links: AllLinks) -> Iterator[tuple[str, Reason]]:
    """Links that are configured, wanted, or were taken out, and are no ports."""
    names = dict.fromkeys((*team.config.written, *team.members.wanted))
    out = {ifindex: found for ifindex in team.members.out if (found := links.get_link(ifindex)) is not None}
    for name in names:
        if name in team.facts.team.names:
            yield name, Reason(False, "is the team itself, which cannot be a port of its own")
        elif (link := links.find_link(name)) is None:
            hint = "it joins when it appears" if name in team.members.wanted else ""
            yield name, Reason(False, "there is no such interface", hint)
        elif link.ifindex not in team.ports:
            yield link.name, of_candidate(team, link, now, links)
    for link in out.values():
        yield link.name, of_candidate(team, link, now, links)


def of_candidate(team: Team, link: LinkSeen, now: float, links: AllLinks) -> Reason:
    """A link that is there and no port: what is in its way, as it is now."""
    if link.master == team.view.ifindex and link.ifindex not in team.members.out:
        asked = ", ".join(name for name, _ in team.joining.hosts.without_answer(team.joining.needed_hosts()))
        return Reason(False, f"is joining: resolving {asked}" if asked else "is joining")
    if link.master not in (0, team.view.ifindex):
        return of_another_owner(team, link, links)
    down = f"ip link set {after_set(link.name)} down"
    add = f"pyteamdctl {in_shell(team.view.name)} port add {argument(link.name)}"
    add = f"{down}; {add}" if link.up else add
    found = team.joining.hindrance(link, links.get_link)
    if found is not None and found.hint != down:  # to add it would be refused
        add = found.hint
    if (why := team.members.out.get(link.ifindex)) is not None:
        if why == team.joining.refusals.get(link.ifindex) or BELONGS in why:
            return of_a_refusal(found, why, add)
        if found is not None and found.refusal:  # to add it would be refused for them
            return Reason(False, found.why, found.advice)
        if why in (TAKEN, REMOVED, UNNAMED):
            leaves = link.master == team.view.ifindex
            return of_the_unwanted(None if leaves else found, why, down, add)
        rest = "; it is tried again with other settings" if team.members.in_question(link) else ""
        return Reason(False, f"is no port: {why}", add if link.up else "", rest=rest)  # the same again is no advice
    if not team.members.wants(link):
        named = team.enslave and any(name in team.config.written for name in link.names)
        why = "one of this name was removed by command" if named else "nobody asked for it"
        return of_the_unwanted(found, why, down, add)
    if found is not None:
        up = f"{found.why}, and a port must be down when it is added"
        return Reason(False, up if found.hint == down else found.why, found.advice)
    if why := team.joining.refusals.get(link.ifindex, ""):
        held = next((a for a in team.backoff.held(now) if a.write == SetMember(link.ifindex, True)), None)
        return Reason(False, why, f"next try in {held.hold_until_s - now:.1f} s" if held is not None else "")
    return Reason(False, "is about to be added")


def of_the_unwanted(found: Hindrance | None, why: str, down: str, add: str) -> Reason:
    """A link that a person or a program took out, or that nobody asked for: how to add it, and what is in the way of that."""
    rest = f"; it {found.why}" if found is not None and found.hint != down else ""
    return Reason(False, f"is no port: {why}", add, rest=rest)


def of_a_refusal(found: Hindrance | None, why: str, add: str) -> Reason:
    """A link that the kernel refused when it was asked for: its words, whether that is over, and how to try again where that helps."""
    if found is None or BELONGS in why:  # which is over
        now = f"now it {found.why}" if found is not None else "nothing in its way is known now"
        return Reason(False, f"was refused: {why}; {now}", add)
    return Reason(False, f"is no port: {why}", add)


def of_another_owner(team: Team, link: LinkSeen, links: AllLinks) -> Reason:
    """A link that belongs to another device, and is left there."""
    owner = links.get_link(link.master)
    name = owner.name if owner is not None else f"interface {link.master}"
    belongs = f"belongs to {name}"
    if team.members.wants(link) and link.ifindex not in team.members.out:
        found = team.joining.hindrance(link, links.get_link)
        if found is None:
            return Reason(False, f"{belongs}, and is about to be taken")
        why = found.why if found.why.startswith(belongs) else f"{belongs}, and {found.why}"
        return Reason(False, why, found.advice)
    if team.members.in_question(link) and team.joining.liberties(link).steal:
        add = f"pyteamdctl {in_shell(team.view.name)} port add {argument(link.name)}"
        why = f"{belongs}, and was refused: {team.members.out[link.ifindex]}"
        return Reason(False, why, add, rest="; it is tried again with other settings")
    return Reason(False, f"{TAKEN}, and it {belongs} now" if team.members.out.get(link.ifindex) == TAKEN else belongs)


def duration(seconds: float) -> str:
    """A span of time for people: 0.4 s, 41 s, 5 min, 3 h, 2 d."""
    for limit, unit, size in ((10, "s", 1), (120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if limit == 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
