"""The configuration of a team: JSON or YAML in, typed values and teamd's dumps out, every problem told at once.

Like teamd, a Config owns the parsed input and changes it: the device name, the runner's name and the runner's defaults
are written into it, and the implicit ethtool watcher of a port when that port is added. The dumps show this tree. What
the daemon works with is read from it: `team` and `runner` once, at load; a port's settings when they are asked for.

Interface names are literal keys everywhere. (teamd looks settings up by a dotted path and misses those of `eth0.100`.)

The registries of runners and watchers are arguments: tests give their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pyteamd.schema.check import ABSENT, Problems, check_keys, keys_of, read_options, used_elsewhere
from pyteamd.schema.option import INT_MAX, INT_MIN, OnBad, option
from pyteamd.schema.problems import ConfigError, Path, Problem, Severity, described, near_miss, quoted
from pyteamd.schema.slips import UNSPACED, bonding_mode, foreign, ports_as_list
from pyteamd.schema.text import read, read_object
from pyteamd.schema.values import (
    MAC_PATTERN,
    hardware_address,
    interface_name,
    listen_text,
    listening_doubt,
    name_of_link,
)
from pyteamd.values import dataclass

if TYPE_CHECKING:
    from pyteamd.linkwatch.base import Watcher
    from pyteamd.runners.base import PortConfig, Runner

    Watched: TypeAlias = tuple[type[Watcher], Any]
    """A kind of watcher and its configuration."""

DEFAULT_RUNNER = "roundrobin"
DEFAULT_WATCHER = "ethtool"
KEPT_SETUPS = 1024
"""Number of ports whose settings are remembered once they were read."""
UNSUPPORTED_WATCHERS = {"tipc": "is known to teamd, but not supported here"}


@dataclass(frozen=True, slots=True)
class TeamConfig:
    """Keys of the team itself. None: not written, so the kernel's value stays; but a count that a reload leaves out is 0 again."""

    device: str | None = option(None, help="Name of the team device.", convert=interface_name, strict_type=True)
    debug_level: int = option(
        0,
        help="How much is logged for debugging. Counts when it is more than the -g options ask for.",
        on_bad=OnBad.USE_DEFAULT,
    )
    hwaddr: bytes | None = option(
        None,
        help="Hardware address of the team device. Without it the device gets that of its first port.",
        convert=hardware_address,
        sample="02:00:5e:00:53:01",
        pattern=MAC_PATTERN,
    )
    link_watch_policy: str = option(
        "any",
        help="Whether the link of a port is up when any of its link watchers says so, or when all do.",
        choices=("any", "all"),
    )
    notify_peers_count: int | None = option(
        None,
        path="notify_peers.count",
        help="How many times peers are told where the team is now, after a port was enabled or disabled.",
        minimum=0,
    )
    notify_peers_interval: int | None = option(
        None,
        path="notify_peers.interval",
        help="Time between two such announcements.",
        minimum=0,
        unit="ms",
        sample=100,
    )
    mcast_rejoin_count: int | None = option(
        None,
        path="mcast_rejoin.count",
        help="How many times multicast groups are joined again, after a port was enabled or disabled.",
        minimum=0,
    )
    mcast_rejoin_interval: int | None = option(
        None, path="mcast_rejoin.interval", help="Time between two rounds of joining.", minimum=0, unit="ms", sample=100
    )
    neighbours: bool = option(
        True,
        help="Listen to LLDP on the ports, and show the system at the other end of each cable. Nothing is sent.",
        on_bad=OnBad.USE_DEFAULT,
    )
    metrics_listen: str | None = option(
        None,
        help="Where metrics are served over HTTP: the path of a unix socket, or a loopback address with a port.",
        convert=listen_text,
        sample="127.0.0.1:9700",
    )


ROOT_KEYS = keys_of(TeamConfig, "runner", "ports", "link_watch")


@dataclass(frozen=True, slots=True)
class PortSetup:
    """Everything configured for one port."""

    config: PortConfig
    """An instance of the runner's PortConfig."""
    watchers: tuple[Watched, ...]
    """The port's own ones, then those of every port."""
    problems: tuple[Problem, ...]
    implicit: bool
    """No watcher is configured, so the only one is ethtool."""
    unnamed: tuple[Watched, ...] = ()
    """Watchers that `link_watch` does not name: they come from other keys, and only veto."""

    @property
    def refused(self) -> bool:
        """With these settings the link cannot be a port."""
        return any(problem.severity is Severity.PORT for problem in self.problems)


class Config:
    """Configuration of one team. Made by `load`."""

    team: TeamConfig
    runner_name: str
    runner_class: type[Runner]
    runner: Any
    """An instance of the runner's Config."""
    problems: list[Problem]
    """What `load` found and the daemon can live with, in order of the text."""
    written: tuple[str, ...]
    """Ports that are named in the text; others may be stored later."""

    def __init__(
        self, tree: dict[str, Any], runners: Mapping[str, type[Runner]], watchers: Mapping[str, type[Watcher]]
    ) -> None:
        self.tree = tree
        self._runners = runners
        self._watchers = watchers
        self.device_written: Any = None
        """The device's name in the text; `load` may have been given another one."""
        self._device: str | None = None
        self._read_ahead: tuple[str, Config | ConfigError] | None = None
        """A text and what was found in it."""
        self._setups: dict[str, PortSetup] = {}
        """What `port` returned, because it is called again and again while a link waits."""

    @classmethod
    def load(
        cls,
        text: str | bytes,
        *,
        runners: Mapping[str, type[Runner]],
        watchers: Mapping[str, type[Watcher]],
        file: str = "",
        device: str | None = None,
    ) -> Config:
        """Read a configuration. `device` overrides the name in it (`-t`); `file` is what problems call the text.

        Raises ConfigError with all problems, when the daemon cannot start with one of them.
        """
        source = read(text, file)
        config = cls(source.tree, runners, watchers)
        config.device_written = source.tree.get("device")
        other = foreign(source.tree, ROOT_KEYS)
        problems = source.located(config._settle(device))
        if other:
            problems.insert(0, Problem(Severity.START, (), other, line=1, column=1))
        if any(problem.severity is Severity.START for problem in problems):
            raise ConfigError(problems, file)
        config.problems = problems
        config.written = tuple(config.port_names())
        config._device = device
        return config

    def again(self, text: str | bytes, file: str = "") -> Config:
        """Read another configuration for the same team. Raises as `load`."""
        if self._read_ahead is None or self._read_ahead[0] != text:
            return self._read_again(text, file)
        found = self._read_ahead[1]
        if isinstance(found, ConfigError):
            raise found
        return found

    def read_ahead(self, text: str, file: str = "") -> None:
        """Read a text that `again` will be asked for soon. Changes nothing else, so a thread may do it."""
        try:
            found: Config | ConfigError = self._read_again(text, file)
        except ConfigError as error:
            found = error
        self._read_ahead = (text, found)

    def _read_again(self, text: str | bytes, file: str) -> Config:
        new = Config.load(text, runners=self._runners, watchers=self._watchers, file=file, device=self._device)
        if new.team.device is None and self.team.device is not None:
            new.set_device(self.team.device)
        return new

    def become(self, other: Config) -> None:
        """Take over everything from another configuration; all that hold this one work with that from now on."""
        self.__dict__.update(other.__dict__)
        self._read_ahead = None

    # -- ports ---------------------------------------------------------------------------------------------------

    def port_names(self) -> list[str]:
        """Configured ports, in the order they are written."""
        ports = self.tree.get("ports")
        return list(ports) if type(ports) is dict else []

    def has_port(self, name: str) -> bool:
        """Whether settings are stored under this name."""
        ports = self.tree.get("ports")
        return type(ports) is dict and name in ports

    def key(self, names: Sequence[str]) -> str:
        """The name of a link under which its settings stand: the first that is configured, else the first."""
        return next((name for name in names if self.has_port(name)), names[0])

    def port(self, name: str) -> PortSetup:
        """Settings of a link that is, or is to be, a port; whether configured or not."""
        if (setup := self._setups.get(name)) is None:
            if len(self._setups) >= KEPT_SETUPS:
                self._setups.clear()
            setup = self._setups[name] = self._read_port(name)
        return setup

    def _read_port(self, name: str) -> PortSetup:
        problems: Problems = []
        self._check_ports(problems)
        shared = self._watched(self.tree.get("link_watch", ABSENT), ("link_watch",), problems)
        config, watched, implicit = self._port(name, shared, problems)
        setup = PortSetup(config, watched, tuple(problems), implicit, self._unnamed(config))
        if not setup.refused:
            return setup
        # It is not made a port; one that is a port all the same goes by its carrier, as if none of this were written.
        kind = self._watchers[DEFAULT_WATCHER]
        return replace(setup, watchers=((kind, kind.Config()),), implicit=False)

    def ensure_watcher(self, name: str) -> None:
        """A link became a port: store the implicit watcher when it has no other."""
        if self.port(name).implicit:
            self.tree.setdefault("ports", {}).setdefault(name, {})["link_watch"] = {"name": DEFAULT_WATCHER}
            self._setups.clear()

    def read_port(self, name: str, text: str | bytes, *, live: bool) -> dict[str, Any]:
        """Parse new settings of a link, without storing them; ConfigError when teamd would refuse them.

        `live`: it is a port now, so `prio` takes effect at once and must be good. Absent it means 0, where teamd
        refuses.
        """
        tree = read_object(text, name)
        prio = tree.get("prio", 0)
        if live and not (type(prio) is int and INT_MIN <= prio <= INT_MAX):
            message = f"must be an integer from {INT_MIN} to {INT_MAX}, not {described(prio)}"
            raise ConfigError([Problem(Severity.PORT, ("ports", name, "prio"), message)])
        return tree

    def with_port(self, name: str, tree: Mapping[str, Any]) -> Config:
        """A copy with other settings of one link; this configuration stays as it is."""
        other = Config({**self.tree}, self._runners, self._watchers)
        other.__dict__.update({**self.__dict__, "tree": other.tree, "_setups": {}})
        ports = self.tree.get("ports")
        other.tree["ports"] = {**(ports if type(ports) is dict else {}), name: dict(tree)}
        return other

    def set_port(self, name: str, tree: Mapping[str, Any]) -> None:
        """Replace the stored settings of a link."""
        if type(self.tree.get("ports")) is not dict:
            self.tree["ports"] = {}
        self.tree["ports"][name] = dict(tree)
        self._setups.clear()

    def forget_port(self, name: str) -> None:
        """Drop what is stored for a link."""
        if name in self.port_names():
            del self.tree["ports"][name]
            self._setups.clear()

    # -- the team ------------------------------------------------------------------------------------------------

    def set_device(self, name: str) -> None:
        """Store a name that was generated because none is configured. ValueError, which goes on after the name: not one of a link."""
        name = interface_name(name)
        self.tree["device"] = name
        self.team = replace(self.team, device=name)

    def dump(self) -> dict[str, Any]:
        """The stored configuration; not to be changed."""
        return self.tree

    def dump_actual(self, present: Iterable[str], keys: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The stored configuration, with exactly the present ports. `keys`: the names of some in the configuration."""
        names = list(present)
        ports = self.tree.get("ports", ABSENT)
        if not names and type(ports) is not dict:
            return self.tree
        stored = ports if type(ports) is dict else {}
        return {**self.tree, "ports": {name: stored.get((keys or {}).get(name, name), {}) for name in names}}

    def dump_port(self, name: str) -> Any:
        """The stored settings of a port."""
        ports = self.tree.get("ports")
        return ports.get(name, {}) if type(ports) is dict else {}

    # -- reading the tree ----------------------------------------------------------------------------------------

    def _settle(self, device: str | None) -> Problems:
        """Write the defaults into the tree and read it; returns everything that is wrong with it."""
        problems: Problems = []
        # A device of another type cannot be overwritten in teamd; it is refused below.
        if device is not None and type(self.tree.get("device", "")) is str:
            self.tree["device"] = device
        runner_class = self._choose_runner(problems)
        refused = self._insert_defaults(runner_class, problems) if runner_class else set()
        self.team = read_options(TeamConfig, self.tree, (), problems)
        if self.team.metrics_listen and (doubt := listening_doubt(self.team.metrics_listen)):
            problems.append(Problem(Severity.DOUBTFUL, ("metrics_listen",), doubt))
        others = {key: value for key, value in self.tree.items() if key not in refused}
        check_keys(others, ROOT_KEYS, (), problems)
        shared = self._watched(self.tree.get("link_watch", ABSENT), ("link_watch",), problems)
        self._check_ports(problems)
        if runner_class:
            self.runner_class = runner_class
            self._read_runner(problems)
            for name in self.port_names():
                _check_name(name, self.team.device, problems)
                self._port(name, shared, problems)
        return problems

    def _choose_runner(self, problems: Problems) -> type[Runner] | None:
        section = self.tree.setdefault("runner", {})
        if type(section) is not dict:
            hint = (
                f'write {{"name": "{section}"}}'
                if type(section) is str and section in self._runners
                else unspaced(section)
            )
            message = f"must be an object, not {described(section)}"
            problems.append(Problem(Severity.START, ("runner",), message, hint=hint))
            return None
        name = section.setdefault("name", DEFAULT_RUNNER)
        allowed = ", ".join(self._runners)
        if type(name) is not str:
            message = f"must be a string, not {described(name)}"
            problems.append(Problem(Severity.START, ("runner", "name"), message, allowed))
            return None
        if name not in self._runners:
            message, hint = f"{quoted(name)} is unknown", near_miss(name, self._runners) or bonding_mode(name)
            problems.append(Problem(Severity.START, ("runner", "name"), message, allowed, hint))
            return None
        self.runner_name = name
        return self._runners[name]

    def _insert_defaults(self, runner_class: type[Runner], problems: Problems) -> set[str]:
        """Let the runner write its defaults. Returns keys that should be objects and are not, so that it cannot."""
        sections = {key: value for key, value in self.tree.items() if type(value) is dict or not ROOT_KEYS.get(key)}
        runner_class.normalise(sections)
        blocked = {key for key in sections if key in self.tree and sections[key] is not self.tree[key]}
        for key in blocked:
            message = f"must be an object, not {described(self.tree[key])}: the {runner_class.name} runner writes to it"
            problems.append(Problem(Severity.START, (key,), message))
        self.tree |= {key: value for key, value in sections.items() if key not in blocked}
        return blocked

    def _read_runner(self, problems: Problems) -> None:
        tree, at = self.tree["runner"], ("runner",)
        self.runner = read_options(self.runner_class.Config, tree, at, problems)
        # `addr` is the address for ZeroMQ, which nothing uses any more; teamd still knows the key.
        keys = keys_of(self.runner_class.Config, "name", "addr")
        explain = used_elsewhere(self.runner_name, "runner", self._runners, lambda runner: runner.Config)
        check_keys(tree, keys, at, problems, explain)

    def _check_ports(self, problems: Problems) -> None:
        ports = self.tree.get("ports", {})
        if type(ports) is dict:
            return
        # teamd starts, but cannot store the implicit watcher of a port, should one be added.
        severity = Severity.TOLERATED if self._has_shared_watchers() else Severity.PORT
        problems.append(
            Problem(severity, ("ports",), f"must be an object, not {described(ports)}", hint=ports_as_list(ports))
        )

    def _port(
        self, name: str, shared: tuple[Watched, ...], problems: Problems
    ) -> tuple[PortConfig, tuple[Watched, ...], bool]:
        """Read the settings of one port: its runner's configuration, its watchers, whether they are implicit."""
        at: Path = ("ports", name)
        written = self.dump_port(name)
        if type(written) is not dict:
            severity = Severity.TOLERATED if self._has_shared_watchers() else Severity.PORT
            ignored = "; ignored" if severity is Severity.TOLERATED else ""
            message = f"must be an object, not {described(written)}{ignored}"
            problems.append(Problem(severity, at, message))
        settings: dict[str, Any] = written if type(written) is dict else {}
        config = read_options(self.runner_class.PortConfig, settings, at, problems, Severity.PORT)
        keys = keys_of(self.runner_class.PortConfig, "link_watch")
        explain = used_elsewhere(self.runner_name, "runner", self._runners, lambda runner: runner.PortConfig)
        check_keys(settings, keys, at, problems, explain)
        own = self._watched(settings.get("link_watch", ABSENT), (*at, "link_watch"), problems)
        if self._has_shared_watchers() or settings.get("link_watch", ABSENT) not in (ABSENT, []):
            return config, own + shared, False
        if "link_watch" in settings:
            message = "an empty list names no link watcher"
            problems.append(Problem(Severity.PORT, (*at, "link_watch"), message, hint="leave the key out for ethtool"))
        watcher = self._watchers[DEFAULT_WATCHER]
        # It must be stored when the port joins, and can be only where there are objects.
        room = type(written) is dict and type(self.tree.get("ports", {})) is dict
        return config, ((watcher, watcher.Config()),), room and "link_watch" not in settings

    def _unnamed(self, config: PortConfig) -> tuple[Watched, ...]:
        """Watchers of a port that `link_watch` does not name: what holds it out while it flaps, and who listens to its neighbour."""
        from pyteamd.linkwatch.neighbour import ListenConfig, Listener  # on demand, like all plug-ins

        listener: tuple[Watched, ...] = ((Listener, ListenConfig()),) if self.team.neighbours else ()
        return damping_of(config) + listener

    def _has_shared_watchers(self) -> bool:
        """Whether `link_watch` of the team has anything in it, right or wrong."""
        return bool(self.tree.get("link_watch", []) != [])

    def _watched(self, written: Any, at: Path, problems: Problems) -> tuple[Watched, ...]:
        """Read a `link_watch` value: one object, or a list of them."""
        if written is ABSENT:
            return ()
        if type(written) is list:
            read = [self._watcher(entry, (*at, index), problems) for index, entry in enumerate(written)]
        else:
            read = [self._watcher(written, at, problems)]
        return tuple(watched for watched in read if watched is not None)

    def _watcher(self, entry: Any, at: Path, problems: Problems) -> Watched | None:
        allowed = ", ".join(self._watchers)
        if type(entry) is not dict:
            hint = f'write {{"name": "{entry}"}}' if type(entry) is str and entry in self._watchers else unspaced(entry)
            problems.append(Problem(Severity.PORT, at, f"must be an object, not {described(entry)}", hint=hint))
            return None
        name = entry.get("name", ABSENT)
        cls = self._watchers.get(name) if type(name) is str else None
        if cls is None:
            message, hint = "missing", ""
            if type(name) is str:
                message = f"{quoted(name)} {UNSUPPORTED_WATCHERS.get(name, 'is unknown')}"
                hint = near_miss(name, self._watchers)
            elif name is not ABSENT:
                message = f"must be a string, not {described(name)}"
            problems.append(Problem(Severity.PORT, (*at, "name"), message, allowed, hint))
            return None
        config: Any = read_options(cls.Config, entry, at, problems, Severity.PORT)
        explain = used_elsewhere(cls.name, "link watcher", self._watchers, lambda watcher: watcher.Config)
        check_keys(entry, keys_of(cls.Config, "name"), at, problems, explain)
        return cls, config


def damping_of(config: PortConfig) -> tuple[Watched, ...]:
    """What holds a port with these settings out of service while it flaps; nothing by default."""
    half_life = config.damping_half_life
    if half_life is None:
        return ()
    from pyteamd.linkwatch.damping import Damping, DampingConfig  # most ports have none

    longest = 4 * half_life if config.damping_max is None else config.damping_max
    penalties = config.damping_penalty, half_life, config.damping_suppress, config.damping_reuse
    return ((Damping, DampingConfig(*penalties, longest)),)


def unspaced(value: Any) -> str:
    """What makes a string of a line of YAML that was to be a key and its value."""
    return UNSPACED if type(value) is str and value.startswith("name:") else ""


def _check_name(name: str, device: str | None, problems: Problems) -> None:
    try:
        name_of_link(name)
    except ValueError as error:
        problems.append(Problem(Severity.TOLERATED, ("ports", name), f"{quoted(name)} {error}"))
    if name == device:
        problems.append(Problem(Severity.TOLERATED, ("ports", name), "is the team itself, which cannot be a port"))
