"""Changing the configuration of a running team: what differs, and what each difference interrupts.

`plan` compares two configurations as the daemon understands them, not as they are written, and answers with a list of changes or with
the reasons why the new one cannot be taken over. When the Team digests a ConfigApply, each part of it takes its own settings over
(`reconfigure`), which only changes what is wanted: the writes follow as they do from any other event. Ports stay in the kernel, watchers
keep their verdict, partners are kept. A port that a person added, and that neither configuration names, stays as it is. At the start the
daemon lives with much, as teamd does; later it does not have to: an error refuses a new configuration. Keys that nobody reads are
warnings, at the start and later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Protocol

from pyteamd.config.config import Config, PortSetup
from pyteamd.core.facts import KernelFacts
from pyteamd.core.hindrance import AllLinks, hindrance
from pyteamd.core.joining import JoiningPorts, beyond, hosts_in, liberties
from pyteamd.core.port import Port
from pyteamd.core.ports import Ports
from pyteamd.core.set_once import COUNTS
from pyteamd.model.errors import UserError
from pyteamd.model.events import HostName
from pyteamd.runners.base import PortView, Runner, Supposed, TeamView
from pyteamd.schema.option import options_of
from pyteamd.schema.problems import ERROR, ConfigError
from pyteamd.values import dataclass

REFUSED = "ConfigApplyFail"


class Running(Protocol):
    """What of a Team is compared with a new configuration."""

    config: Config
    enslave: bool
    facts: KernelFacts
    runner: Runner
    joining: JoiningPorts
    view: TeamView

    @property
    def ports(self) -> Ports: ...


class Disruption(Enum):
    """What a change may interrupt, for a moment."""

    NONE = "none"
    PORT = "port"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` and `after` are None for what is absent."""

    path: str
    before: Any
    after: Any
    disruption: Disruption = Disruption.NONE
    port: str = ""
    """The port that is interrupted, with Disruption.PORT."""
    effect: str = ""
    """What happens, where the values do not say it."""
    depends: bool = False
    """With Disruption.NONE: `effect` says on what an interruption depends."""

    def text(self) -> str:
        """One line for a person."""
        what = self.effect or f"{shown(self.before)} -> {shown(self.after)}"
        interrupted = {Disruption.PORT: f"{self.port} is interrupted", Disruption.TEAM: "the team is interrupted"}
        none = "no interruption otherwise" if self.depends else "no interruption"
        return f"{self.path}: {what} ({interrupted.get(self.disruption, none)})"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new configuration would change. Nothing may be applied while there are `refusals`."""

    config: Config | None
    changes: tuple[Change, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable: bool = False
    """The text itself is refused, whatever the team is like."""


def plan(team: Running, text: str, file: str = "", lenient: bool = False, links: AllLinks | None = None) -> Changes:
    """Compare the configuration in force with the one in this text; `file` is what problems call it, `links` all links there are.

    `lenient`: live with all that a start lives with. Otherwise an error refuses the whole, and a warning is only told: what
    `pyteamd check` says of a text is what happens to it here.
    """
    try:
        new = team.config.again(text, file)
    except ConfigError as error:
        lines = tuple(problem.told(file) for problem in error.problems)
        return Changes(None, refusals=lines or tuple(str(error).splitlines()), unreadable=True)
    warnings = tuple(problem.told(file) for problem in new.problems)
    if not lenient and any(problem.weight == ERROR for problem in new.problems):
        return Changes(None, refusals=warnings)
    refusals = (*incompatible(team, new), *(() if lenient else queues_beyond(team, new)))
    if refusals:
        return Changes(None, refusals=refusals, warnings=warnings)
    return Changes(new, tuple(differences(team, new, links)), (), warnings)


def incompatible(team: Running, new: Config) -> Iterator[str]:
    """What cannot be changed while the daemon runs."""
    old = team.config
    if new.device_written not in (None, old.team.device, old.device_written):
        yield f"device: this is {old.team.device}, not {new.device_written}; another team needs another daemon"
    if new.runner_class is not old.runner_class and team.ports:
        yield (
            f"runner.name: the driver cannot change from {old.runner_name} to {new.runner_name} while the team has ports; "
            f"remove {', '.join(port.name for port in team.ports.values())} first, or restart the daemon"
        )


def queues_beyond(team: Running, new: Config) -> Iterator[str]:
    """Ports whose transmit queue the team does not have. (At a start such a port stays one, without the queue.)"""
    for name in new.written:
        if wrong := beyond(new.port(name), team.facts.team.tx_queues):
            yield f"ports.{name}.{wrong}"


def differences(team: Running, new: Config, links: AllLinks | None) -> Iterator[Change]:
    """Every difference that means something, in the order of the configuration."""
    old = team.config
    setups = list(staying(team, new))
    settings = {port.link.ifindex: setup.config for port, setup in setups}
    future = as_judged(team, new, setups)
    for path, name, before, after in values(old.team, new.team):
        yield of_team(team, path, name, before, after, settings, future)
    if new.runner_class is not old.runner_class:
        yield Change("runner.name", old.runner_name, new.runner_name, Disruption.TEAM)
    else:
        for path, name, before, after in values(old.runner, new.runner):
            disruption = Disruption(team.runner.disruption(name, new.runner, settings, future))
            yield Change(f"runner.{path}", before, after, disruption)
    added = [name for name in new.written if name not in old.written]
    coming = sum(team.ports.named(name) is None for name in added)
    for name in added:
        yield addition(team, new, name, links, settings, future, coming)
    for name in old.written:
        if name not in new.written:
            yield from removal(team, new, name, settings, future)
    for port, setup in setups:
        yield from of_port(team, new, port, setup, settings, future)


def addition(
    team: Running,
    new: Config,
    name: str,
    links: AllLinks | None,
    settings: Mapping[int, Any],
    future: TeamView,
    coming: int,
) -> Change:
    """The change for a link that is configured from now on; `coming` ports come at once. The rest as for `of_port`."""
    present = team.ports.named(name)
    if present is not None and (other := team.joining.configured_as(present, team.config.written)):
        return Change(f"ports.{name}", None, "added", effect=f"another name of {other}, which stays")
    if present is not None:
        return Change(f"ports.{name}", None, "added", effect="is a port already, and is configured from now on")
    if not team.enslave:
        return Change(f"ports.{name}", None, "added", effect="added, and is no port until it is added by command (-n)")
    if hindered := obstacle(team, new, name, links):
        return Change(f"ports.{name}", None, "added", effect=f"added, but it {hindered}")
    told, more = "none", ""
    if new.runner_class is team.config.runner_class:
        port = new.port(new.key((name,))).config
        told, more = team.runner.arrival(port, new.runner, settings, future, coming)
    effect = f"added, joins when it is there and down{more and f'; {more}'}"
    return Change(f"ports.{name}", None, "added", Disruption(told), name, effect, depends=bool(more))


def removal(team: Running, new: Config, name: str, settings: Mapping[int, Any], future: TeamView) -> Iterator[Change]:
    """A name that is no longer configured: for each port that has it, or had it, and leaves. The rest as for `of_port`."""
    path, configured_as = f"ports.{name}", team.joining.configured_as
    ports = [port for port in team.ports.values() if team.enslave and configured_as(port, (name,))]
    if not ports:
        yield Change(path, "a port", None, effect="removed")
    for port in ports:
        if configured_as(port, new.written):
            continue
        told = team.runner.departure(port.ifindex, new.runner, settings, future)
        had = "" if name in port.link.names else f", and with it {port.name}, which had this name"
        yield Change(path, "a port", None, Disruption(told), port.name if had else name, f"removed{had}")


def obstacle(team: Running, new: Config, name: str, links: AllLinks | None) -> str:
    """What keeps a link from joining now, and what would change that; "" for nothing."""
    link = team.facts.called(name) if links is None else links.find_link(name)
    if link is not None and link.ifindex not in team.ports:
        allowed = liberties(new.port(new.key(link.names)), team.facts.team.tx_queues)
        get = None if links is None else links.get_link
        found = hindrance(link, allowed, team.facts, get)
        if found is not None:
            return f"{found.why}{found.until and f'; {found.until}'}"
    return ""


def as_judged(team: Running, new: Config, setups: Iterable[tuple[Port, PortSetup]]) -> TeamView:
    """The team of the ports that stay, with the verdicts they will have; what other watchers will say nobody knows, so it counts as up."""
    view, policy_all = team.view, new.team.link_watch_policy == "all"
    ports: dict[int, PortView] = {}
    for port, setup in setups:
        # A penalty is forgotten with the settings it was counted by.
        lets_in = port.damped and port.config != setup.config
        up = port.running if lets_in or not alike(port, setup) else port.combined(policy_all)
        ports[port.ifindex] = Supposed(port, port.config, up)
    seen = view.observed, view.adopted, view.awaited, view.name, view.order
    return TeamView(view.ifindex, view.mac, view.up, ports, *seen, worked_out={})


def alike(port: Port, after: PortSetup) -> bool:
    """The watchers are of the same kinds as before, and ask the same in the same way: they begin with their verdict, and keep it."""
    before = [(watcher.kind, watcher.config) for watcher in port.voters()]
    return [kind for kind, _ in before] == [kind for kind, _ in after.watchers] and not any(
        kind.may_turn(config, other) for (kind, config), (_, other) in zip(before, after.watchers, strict=True)
    )


def of_team(
    team: Running, path: str, name: str, before: Any, after: Any, settings: Mapping[int, Any], future: TeamView
) -> Change:
    """A key of the team itself. The rest as for `of_port`."""
    if name == "hwaddr":
        disruption = Disruption.NONE if after in (None, team.view.mac) else Disruption.TEAM
        return Change(path, before and before.hex(":"), after and after.hex(":"), disruption)
    if name == "metrics_listen":
        return Change(path, before, after, effect=f"{shown(before)} -> {shown(after)}, from the next start on")
    if name == "link_watch_policy":
        moved = {i: port.name for i, port in team.ports.items() if port.combined(after == "all") != port.up}
        disruption = Disruption(team.runner.verdict_disruption(moved, settings, future))
        return Change(path, before, after, disruption, ", ".join(moved.values()))
    return Change(path, before, after or 0 if name in COUNTS else after)  # see TeamConfig


def of_port(
    team: Running, new: Config, port: Port, after: PortSetup, settings: Mapping[int, Any], future: TeamView
) -> Iterator[Change]:
    """Settings of a port that stays. `settings`: those all ports will have. `future`: see `as_judged`."""
    at = f"ports.{port.name}"
    for path, name, was, becomes in values(port.config, after.config):
        same_runner = new.runner_class is team.config.runner_class
        ifindex, runner = port.link.ifindex, team.runner
        told = runner.port_disruption(ifindex, name, new.runner, settings, future) if same_runner else "none"
        yield Change(f"{at}.{path}", was, becomes, Disruption(told), port.name)
    before = tuple((watcher.kind, watcher.config) for watcher in port.voters())
    if before == after.watchers:
        return
    turns = [] if alike(port, after) else [port.ifindex]  # it may: nobody knows what other watchers will say
    disruption = Disruption(team.runner.verdict_disruption(turns, settings, future))
    yield Change(f"{at}.link_watch", in_words(before), in_words(after.watchers), disruption, port.name)


def staying(team: Running, new: Config, kept: Collection[str] | None = None) -> Iterator[tuple[Port, PortSetup]]:
    """Ports that stay, with their settings under the new configuration; one that people added keeps those they gave it.

    `kept`: see JoiningPorts.rename.
    """
    configured_as = team.joining.configured_as
    for port in team.ports.values():
        names = team.joining.names(port.link)
        named = any(name in new.written for name in names)
        stays = configured_as(port, new.written if kept is None else kept)
        if team.enslave and configured_as(port, team.config.written) and not stays:
            continue
        key = team.config.key(names)
        if not named and key not in new.port_names() and (stored := team.config.dump_port(key)):
            new.set_port(key, stored)
        yield port, new.port(new.key(names))


def values(old: Any, new: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Keys of two configuration objects of one class that differ: path, field, before, after."""
    for name, spec in options_of(type(new)).items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield spec.path, name, before, after


def in_words(watchers: tuple[tuple[type, Any], ...]) -> str:
    """Watchers with what is not their default."""
    words = []
    for kind, config in watchers:
        set_values = (
            f"{spec.path} {shown(value)}"
            for name, spec in options_of(type(config)).items()
            if (value := getattr(config, name)) != spec.default
        )
        words.append(" ".join((kind.name, *set_values)))  # type: ignore[attr-defined]
    return "; ".join(words)


def shown(value: Any) -> str:
    """A value for a person."""
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value))
        case bytes():
            return value.hex(":")
    return str(value)


# -- taking it over ----------------------------------------------------------------------------------------------------


def hosts_of(team: Running, new: Config) -> list[HostName]:
    """All hosts of the watchers of the ports that stay."""
    return list(dict.fromkeys(host for _, setup in staying(team, new) for host in hosts_in(setup)))


def unknown_hosts(team: Running, new: Config) -> list[HostName]:
    """Hosts that have to be looked up before the configuration can be applied."""
    return team.joining.hosts.without_answer(hosts_of(team, new))


def unusable_hosts(team: Running, new: Config) -> list[HostName]:
    """Hosts because of which the configuration is refused: they cannot be resolved, and it is the first to name them."""
    old = {host for port in team.ports.values() for host in hosts_in(team.joining.settings(port.link))}
    return [host for host in team.joining.hosts.without_address(hosts_of(team, new)) if host not in old]


def accepted(team: Running, text: str, lenient: bool) -> Config:
    """The configuration of this text, which can be applied now. UserError when it cannot."""
    ready = plan(team, text, lenient=lenient)
    if ready.config is None:
        raise UserError(REFUSED, "; ".join(ready.refusals))
    if not lenient and (hosts := unusable_hosts(team, ready.config)):
        team.joining.hosts.forget_failures(hosts)
        raise UserError(REFUSED, f"cannot resolve host {', '.join(name for name, _ in hosts)}")
    return ready.config
