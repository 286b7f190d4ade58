"""Runners and watchers for the tests of the configuration: the keys of teamd, and no behaviour.

They stand here, and not the real ones, so that these tests say what the loader does with a declaration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyteamd.config.config import Config
from pyteamd.linkwatch.base import Watcher
from pyteamd.runners.base import PortConfig, Runner
from pyteamd.schema.option import OnBad, option
from pyteamd.schema.problems import ConfigError
from pyteamd.schema.values import host4, host6

FRAGMENTS = ("eth", "vlan", "ipv4", "ipv6", "ip", "l3", "tcp", "udp", "sctp", "l4")


class RoundRobin(Runner):
    name = "roundrobin"
    mode = "roundrobin"
    summary = "One after the other."


@dataclass(frozen=True, slots=True)
class BackupConfig:
    hwaddr_policy: str = option(
        "same_all", help="Who has which address.", choices=("same_all", "by_active", "only_active")
    )


@dataclass(frozen=True, slots=True)
class BackupPortConfig(PortConfig):
    sticky: bool = option(False, help="Stay.", on_bad=OnBad.USE_DEFAULT)


class Backup(Runner):
    name = "activebackup"
    mode = "activebackup"
    summary = "One at a time."
    Config = BackupConfig
    PortConfig = BackupPortConfig

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        for key in ("notify_peers", "mcast_rejoin"):
            tree.setdefault(key, {}).setdefault("count", 1)


@dataclass(frozen=True, slots=True)
class BalanceConfig:
    tx_hash: tuple[str, ...] = option(
        ("eth", "ipv4", "ipv6"),
        help="What is hashed.",
        choices=FRAGMENTS,
        skip_unknown='Hash frag named "{}" not found.',
        if_empty="nothing is hashed",
    )
    balancer: str | None = option(
        None, path="tx_balancer.name", help="Which balancer.", choices=("basic",), on_bad=OnBad.USE_DEFAULT
    )
    balancing_interval: int = option(
        50, path="tx_balancer.balancing_interval", help="How often.", minimum=0, on_bad=OnBad.USE_DEFAULT
    )


class Balance(Runner):
    name = "loadbalance"
    mode = "loadbalance"
    summary = "By hash."
    Config = BalanceConfig

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        tree["runner"].setdefault("tx_hash", ["eth", "ipv4", "ipv6"])


@dataclass(frozen=True, slots=True)
class LacpConfig(BalanceConfig):
    active: bool = option(True, help="Speak first.")
    fast_rate: bool = option(False, help="Speak often.")
    sys_prio: int = option(65535, help="System priority.", minimum=0, maximum=65535)
    min_ports: int = option(1, help="So many at least.", minimum=1, maximum=1024)
    agg_select_policy: str = option(
        "lacp_prio",
        help="Which aggregate.",
        choices=("lacp_prio", "lacp_prio_stable", "bandwidth", "count", "port_config"),
    )
    max_ports: int = option(1, help="So many at most.", minimum=1)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.max_ports < self.min_ports:
            yield "max_ports", "less than min_ports"
        if self.fast_rate and not self.active:
            yield "fast_rate", "needs active"


@dataclass(frozen=True, slots=True)
class LacpPortConfig(BackupPortConfig):
    lacp_prio: int = option(255, help="Port priority.", minimum=0, maximum=65535, on_bad=OnBad.REFUSE_PORT)
    lacp_key: int = option(0, help="Key.", minimum=0, maximum=65535, on_bad=OnBad.REFUSE_PORT)


class Lacp(Balance):
    name = "lacp"
    summary = "By agreement."
    Config = LacpConfig
    PortConfig = LacpPortConfig


@dataclass(frozen=True, slots=True)
class EthtoolConfig:
    delay_up: int = option(0, help="Wait.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT)
    delay_down: int = option(0, help="Wait.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT)


class Ethtool(Watcher):
    name = "ethtool"
    Config = EthtoolConfig
    summary = "Carrier."


@dataclass(frozen=True, slots=True)
class PingConfig:
    """The severity START of `interval` and `target_host` is not meant: a watcher can only cost a port."""

    interval: int = option(1000, help="How often.", minimum=0, unit="ms")
    init_wait: int = option(0, help="Before the first.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT)
    missed_max: int = option(3, help="How many may fail.", minimum=0, on_bad=OnBad.REFUSE_PORT)


@dataclass(frozen=True, slots=True)
class ArpConfig(PingConfig):
    target_host: str = option("", help="Whom to ask.", required=True, convert=host4, sample="192.0.2.1")
    source_host: str = option("0.0.0.0", help="Who asks.", convert=host4, on_bad=OnBad.REFUSE_PORT)
    also: tuple[str, ...] = option(
        (), help="Whom else to ask.", convert=host4, on_bad=OnBad.REFUSE_PORT, sample=["192.0.2.2"]
    )
    validate_active: bool = option(False, help="Look closely.")
    vlanid: int | None = option(None, help="VLAN.", minimum=0, maximum=4095, on_bad=OnBad.REFUSE_PORT)


class Arp(Watcher):
    name = "arp_ping"
    Config = ArpConfig
    summary = "Asks."


@dataclass(frozen=True, slots=True)
class NaConfig(PingConfig):
    target_host: str = option("", help="Whom to ask.", required=True, convert=host6, sample="fe80::1")


class Na(Watcher):
    name = "nsna_ping"
    Config = NaConfig
    summary = "Asks, too."


RUNNERS: dict[str, type[Runner]] = {cls.name: cls for cls in (RoundRobin, Backup, Balance, Lacp)}
WATCHERS: dict[str, type[Watcher]] = {cls.name: cls for cls in (Ethtool, Arp, Na)}


def load(text: str | bytes, *, file: str = "f", device: str | None = "team0") -> Config:
    return Config.load(text, runners=RUNNERS, watchers=WATCHERS, file=file, device=device)


def told(text: str | bytes, *, device: str | None = "team0") -> list[str]:
    """All problems as one sees them; those that stop the daemon begin with an exclamation mark."""
    try:
        return [problem.text("f") for problem in load(text, device=device).problems]
    except ConfigError as error:
        return [
            f"! {problem.text('f')}" if problem.severity.name == "START" else problem.text("f")
            for problem in error.problems
        ]


def update_port(config: Config, name: str, text: str, *, live: bool) -> None:
    """New settings of a link, read and stored as the daemon does it."""
    config.set_port(name, config.read_port(name, text, live=live))
