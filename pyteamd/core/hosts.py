"""Addresses of the hosts that link watchers ask: found outside, asked for again with back-off where none was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pyteamd.linkwatch.base import Unresolved, Watcher
from pyteamd.linkwatch.periodic import is_address
from pyteamd.model.events import HostName
from pyteamd.values import dataclass

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""The time between two look-ups doubles from the first to the longest."""


@dataclass(slots=True)
class FailedLookup:
    """A host without an address."""

    delay_s: float
    retry_at: float


class Hosts:
    """What is known of hosts by name. One that is written as an address is its own answer."""

    def __init__(self) -> None:
        self._addresses: dict[HostName, str] = {}
        self._failures: dict[HostName, FailedLookup] = {}

    @property
    def failing(self) -> bool:
        """Whether the last look-up of some host found no address."""
        return bool(self._failures)

    def resolved(self, addresses: Mapping[HostName, str], now: float) -> None:
        """Numeric addresses, "" for a host that has none now: that is asked for again later. An address once found stays."""
        for host, address in addresses.items():
            if address:
                self._addresses[host] = address
                self._failures.pop(host, None)
            elif host not in self._addresses:
                before = self._failures.get(host)
                delay_s = min(2 * before.delay_s, LONGEST_RETRY_S) if before else FIRST_RETRY_S
                self._failures[host] = FailedLookup(delay_s, now + delay_s)

    def forget_failures(self, hosts: Iterable[HostName]) -> None:
        """These hosts are looked up at once the next time they are needed."""
        for host in hosts:
            self._failures.pop(host, None)

    def without_answer(self, hosts: Iterable[HostName]) -> list[HostName]:
        """The hosts of which nothing is known yet: no address, and not that there is none."""
        return [host for host in self.without_address(hosts) if host not in self._failures]

    def without_address(self, hosts: Iterable[HostName]) -> list[HostName]:
        """The hosts that cannot be asked: not looked up yet, or without success."""
        return [host for host in hosts if not self._address(host)]

    def to_look_up(self, hosts: Iterable[HostName], now: float) -> list[HostName]:
        """The hosts whose time for a look-up, the first or another one, has come."""
        unknown = dict.fromkeys(self.without_address(hosts))
        return [host for host in unknown if host not in self._failures or now >= self._failures[host].retry_at]

    def deadline(self, hosts: Iterable[HostName], now: float) -> float | None:
        """When one of the hosts is to be looked up again; None for never. One whose time has come is being looked up."""
        moments = [self._failures[host].retry_at for host in hosts if host in self._failures]
        return min([moment for moment in moments if moment > now], default=None)

    def watcher(self, kind: type[Watcher], config: Any, up: bool) -> Watcher:
        """A watcher of this kind, or what stands in for it while it has nobody to ask."""
        hosts = kind.hosts_in(config).items()
        if missing := self.without_address(hosts):
            return Unresolved(kind, config, [name for name, _ in missing])
        return kind(config, {name: self._address((name, family)) for name, family in hosts}, up)

    def _address(self, host: HostName) -> str:
        name, family = host
        if host not in self._addresses and is_address(IPv4Address if family == "inet" else IPv6Address, name):
            self._addresses[host] = name
        return self._addresses.get(host, "")
