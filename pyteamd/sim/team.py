"""The simulated team driver: ports, options, modes and carrier of one team device, as the kernel's driver does them.

How it works. A `SimTeam` holds what `struct team` holds and announces changes through its kernel in the order the driver does:
within one request the rtnetlink messages come where the kernel sends them, a port event precedes the option event when a port
joins, and follows it when a port leaves. The rules are those of `drivers/net/team/team.c` and the `team_mode_*.c` beside it
(Linux 6.1). Since Linux 7.1 the driver switches receiving and sending of a port apart: so it is here where the kernel is `independent`
(seen in 7.2). Whatever this file and a real kernel do differently under the contract tests is a fault of this file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Protocol

from pyteamd.core.facts import HANDLERS
from pyteamd.kernel.option_table import OPTIONS, OptionKind, TeamOption, problem_of
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.model.events import KernelEvent, OptionGone, OptionSeen, PortGone, PortSeen
from pyteamd.sim.link import TX_QUEUES, SimLink
from pyteamd.values import dataclass

NO_MODE = "*NOMODE*"
MODES = ("broadcast", "roundrobin", "random", "activebackup", "loadbalance")
FOLLOWS_TEAM_MAC = ("broadcast", "roundrobin", "random")
TX_METHODS = ("hash", "hash_to_port_mapping")
HASHES = 256
BPF_INSTRUCTION = 8


class Refusal(Exception):
    """The kernel says no; `errno` is positive, `explanation` its extended acknowledgement, "" where it gives none."""

    def __init__(self, number: int, explanation: str = "") -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number
        self.explanation = explanation


TABLES = {False: {name: option for name, option in OPTIONS.items() if not option.recent}, True: OPTIONS}
"""By whether the kernel is independent, in the driver's order of registration; those of a mode are registered when the mode is chosen."""

TYPES = {
    OptionKind.FLAG: bool,
    OptionKind.U32: int,
    OptionKind.S32: int,
    OptionKind.STRING: str,
    OptionKind.BINARY: bytes,
}
NO_TRAFFIC = bytes(8)


@dataclass(slots=True)
class SimPort:
    """What the driver remembers of a port."""

    link: SimLink
    original_mac: bytes
    rx_enabled: bool = False
    tx_enabled: bool = False
    """Before Linux 7.1 always the same as `rx_enabled`."""
    linkup: bool = False
    """Raw link as last announced in a port event."""
    effective: bool = False
    """`linkup`, or the user's word where the user's word counts; carrier and transmission follow this one."""
    speed_mbps: int = 0
    duplex: int = 0
    user_linkup: bool = False
    user_linkup_enabled: bool = False
    priority: int = 0
    queue_id: int = 0

    @property
    def enabled(self) -> bool:
        """What the option reads: both directions."""
        return self.rx_enabled and self.tx_enabled


class RestOfKernel(Protocol):
    """What the driver calls in the rest of the kernel."""

    independent: bool
    links: dict[int, SimLink]

    def owners(self, link: SimLink) -> list[SimLink]:
        """The device that the link belongs to, the one that this belongs to, and so on."""
        ...

    def announce(self, team: SimTeam, *events: KernelEvent) -> None:
        """The team family says something."""

    def link_changed(self, link: SimLink) -> None:
        """rtnetlink says how the link is now."""

    def change_admin(self, link: SimLink, up: bool) -> None:
        """Open or close a link."""

    def change_mac(self, link: SimLink, mac: bytes) -> None:
        """Give the link another address."""

    def change_carrier(self, link: SimLink, up: bool) -> None:
        """Carrier of a team device."""


class SimTeam:
    """One team device. Methods raise `Refusal`."""

    def __init__(self, kernel: RestOfKernel, link: SimLink) -> None:
        self.kernel = kernel
        self.link = link
        self.table = TABLES[kernel.independent]
        self.mode = NO_MODE
        self.ports: dict[int, SimPort] = {}
        """By ifindex, in order of joining."""
        self.enabled_order: list[int] = []
        self.user_carrier = False
        self.active = 0
        self._numbers = dict.fromkeys(
            ("notify_peers_count", "notify_peers_interval", "mcast_rejoin_count", "mcast_rejoin_interval"), 0
        )
        self._clear_mode()

    def _clear_mode(self) -> None:
        self.active = 0
        self.user_carrier = False
        self.hash_program = b""
        self.tx_method = "hash"
        self.refresh_interval = 0
        self.mapping = [0] * HASHES

    # Options

    def options(self) -> Iterator[OptionSeen]:
        """Every option instance in the driver's order: the team's, those of the mode, then each port's."""
        for mode in dict.fromkeys(("", self.mode)):
            yield from (self._seen(key) for key in self._keys(mode))
        for port in self.ports.values():
            yield from self._port_options(port)

    def _offered(self, mode: str, *, per_port: bool) -> Iterator[TeamOption]:
        """What a mode brings along; "": what every team has."""
        same = (option for option in self.table.values() if option.per_port == per_port)
        return (option for option in same if (mode in option.modes if mode else not option.modes))

    def _keys(self, mode: str) -> list[OptionKey]:
        """Instances of the team's own options that a mode brings along."""
        options = self._offered(mode, per_port=False)
        return [OptionKey(option.name, 0, index) for option in options for index in range(option.array_size or 1)]

    def _port_options(self, port: SimPort) -> Iterator[OptionSeen]:
        for mode in dict.fromkeys(("", self.mode)):
            for option in self._offered(mode, per_port=True):
                yield self._seen(OptionKey(option.name, port.link.ifindex))

    def _seen(self, key: OptionKey) -> OptionSeen:
        return OptionSeen(key, self.value(key))

    def value(self, key: OptionKey) -> OptionValue:
        """The option's value now. KeyError when there is no such instance."""
        self._option(key)
        if key.port:
            value: OptionValue = NO_TRAFFIC if key.name == "lb_port_stats" else getattr(self.ports[key.port], key.name)
            return value
        match key.name:
            case "mode":
                return self.mode
            case "activeport":
                return self.active
            case "bpf_hash_func":
                return self.hash_program
            case "lb_tx_method":
                return self.tx_method
            case "lb_tx_hash_to_port_mapping":
                return self.mapping[key.index]
            case "lb_hash_stats":
                return NO_TRAFFIC
            case "lb_stats_refresh_interval":
                return self.refresh_interval
        return self._numbers[key.name]

    def _option(self, key: OptionKey) -> TeamOption:
        """The option of an instance that exists now, else KeyError."""
        option = self.table[key.name]
        if (option.modes and self.mode not in option.modes) or not 0 <= key.index < (option.array_size or 1):
            raise KeyError(key)
        if option.per_port != bool(key.port) or (key.port and key.port not in self.ports):
            raise KeyError(key)
        return option

    def set_option(self, key: OptionKey, value: OptionValue) -> None:
        """TEAM_CMD_OPTIONS_SET for one option; announces the new value, changed or not."""
        try:
            option = self._option(key)
        except KeyError:
            raise Refusal(errno.ENOENT) from None
        if type(value) is not TYPES[option.kind]:
            raise Refusal(errno.ENOENT)  # the driver looks an option up by name *and* type
        if option.read_only:
            raise Refusal(errno.EOPNOTSUPP)
        if problem_of(option.kind, value):
            raise Refusal(errno.EINVAL)  # cannot even be put into a message
        if key.port:
            self._set_port_option(self.ports[key.port], key.name, value)
        else:
            self._set_team_option(key, value)
        self.kernel.announce(self, self._seen(key))

    def _set_port_option(self, port: SimPort, name: str, value: OptionValue) -> None:
        match name:
            case "enabled":
                self._switch(port, rx=bool(value), tx=bool(value))
            case "rx_enabled":
                self._switch(port, rx=bool(value), tx=port.tx_enabled)
            case "tx_enabled":
                self._switch(port, rx=port.rx_enabled, tx=bool(value))
            case "queue_id":
                # The driver cuts the value to 16 bits before it looks at it.
                queue = int(value) & 0xFFFF
                if queue != port.queue_id and queue >= TX_QUEUES:
                    raise Refusal(errno.EINVAL)
                port.queue_id = queue
            case "user_linkup" | "user_linkup_enabled":
                setattr(port, name, value)
                self._refresh_effective(port)
                self.check_carrier()
            case _:
                setattr(port, name, value)

    def _set_team_option(self, key: OptionKey, value: OptionValue) -> None:
        match key.name, value:
            case "mode", str():
                self._set_mode(value)
            case "activeport", int():
                if value not in self.ports:
                    raise Refusal(errno.ENOENT)
                self.active = value
            case "bpf_hash_func", bytes():
                if len(value) % BPF_INSTRUCTION:
                    raise Refusal(errno.EINVAL)
                self.hash_program = value
            case "lb_tx_method", str():
                if value not in TX_METHODS:
                    raise Refusal(errno.EINVAL)
                self.tx_method = value
            case "lb_tx_hash_to_port_mapping", int():
                if value not in self.enabled_order:
                    raise Refusal(errno.ENODEV)
                self.mapping[key.index] = value
            case "lb_stats_refresh_interval", int():
                self.refresh_interval = value
            case _, int():
                self._numbers[key.name] = value

    def _set_mode(self, mode: str) -> None:
        if self.ports:
            raise Refusal(errno.EBUSY)
        if mode == self.mode or mode not in MODES:
            raise Refusal(errno.EINVAL)
        self.kernel.announce(self, *(OptionGone(key) for key in self._keys(self.mode)))
        self._clear_mode()
        self.mode = mode
        self.kernel.announce(self, *(self._seen(key) for key in self._keys(mode)))

    # Ports

    def add_port(self, link: SimLink) -> None:
        """Enslave: the checks of `team_port_add` in its order, then its effects in their order."""
        if link.loopback:
            raise Refusal(errno.EINVAL, "Loopback device can't be added as a team port")
        if link is self.link:
            raise Refusal(errno.EINVAL, "Cannot enslave team device to itself")
        if link in self.kernel.owners(self.link):
            raise Refusal(errno.EBUSY, "Device is already an upper device of the team interface")
        if link.up:
            raise Refusal(errno.EBUSY, "Device is up. Set it down before adding it as a team port")
        if self.ports and link.hardware != self.link.hardware:
            raise Refusal(errno.EBUSY, "Device is of different type")
        if link.hardware != self.link.hardware:
            self.link.hardware, self.link.mtu = link.hardware, link.mtu
        self._stack_port(link)
        port = SimPort(link, link.mac)
        if self.mode in FOLLOWS_TEAM_MAC:
            self.kernel.change_mac(link, self.link.mac)
        self.kernel.change_admin(link, True)
        link.master = self.link.ifindex
        self.kernel.link_changed(link)
        self.ports[link.ifindex] = port
        self._switch(port, rx=True, tx=True)
        self._announce_port(port, link.running)
        self.check_carrier()
        self.kernel.announce(self, *self._port_options(port))

    def _stack_port(self, link: SimLink) -> None:
        """What the kernel finds while it adds a port: its MTU, the link it stands on, and links that stand on it."""
        lower = self.kernel.links.get(link.lower)
        if self.link.mtu > (link.max_mtu or self.link.mtu):
            raise Refusal(errno.EINVAL)
        if lower is not None and lower.mtu - link.overhead < self.link.mtu:
            raise Refusal(errno.ERANGE)
        if lower is not None and not lower.up and link.kind == "vlan" and not link.loose_binding:
            raise Refusal(errno.ENETDOWN)
        if any(other.lower == link.ifindex and other.kind in HANDLERS for other in self.kernel.links.values()):
            raise Refusal(errno.EBUSY)
        link.mtu = self.link.mtu

    def remove_port(self, link: SimLink) -> None:
        """Release: options go first, then the port, then the link gets its own address back."""
        port = self.ports[link.ifindex]
        self._switch(port, rx=False, tx=False)
        options = [OptionGone(seen.key) for seen in self._port_options(port)]
        del self.ports[link.ifindex]
        link.master = 0
        self.kernel.link_changed(link)
        self.kernel.change_admin(link, False)
        changed: list[OptionSeen] = []
        if self.active == link.ifindex:
            self.active = 0
            changed.append(self._seen(OptionKey("activeport")))
        self.kernel.announce(self, *changed, *options)
        self.kernel.announce(self, PortGone(link.ifindex))
        self.check_carrier()
        self.kernel.change_mac(link, port.original_mac)

    def remove_all_ports(self) -> None:
        """The device is being deleted."""
        for port in list(self.ports.values()):
            self.remove_port(port.link)
        self.kernel.announce(self, *(OptionGone(key) for key in self._keys(self.mode)))

    def _switch(self, port: SimPort, *, rx: bool, tx: bool) -> None:
        """Let the port receive and transmit, or not. Nothing is announced but what follows from it."""
        sent, port.rx_enabled, port.tx_enabled = port.tx_enabled, rx, tx
        if tx and not sent:
            self.enabled_order.append(port.link.ifindex)
        elif sent and not tx:
            self._stop_sending(port)

    def _stop_sending(self, port: SimPort) -> None:
        ifindex = port.link.ifindex
        self.enabled_order.remove(ifindex)
        slots = [index for index, owner in enumerate(self.mapping) if owner == ifindex]
        for index in slots:
            self.mapping[index] = 0
        if slots:
            changed = (self._seen(OptionKey("lb_tx_hash_to_port_mapping", 0, index)) for index in slots)
            self.kernel.announce(self, *changed)

    def port_link_changed(self, link: SimLink) -> None:
        """The notifier: the port's own state changed (NETDEV_UP, NETDEV_DOWN, NETDEV_CHANGE)."""
        port = self.ports.get(link.ifindex)
        if port is None:
            return
        if port.linkup != link.running:
            self._announce_port(port, link.running)
        self.check_carrier()

    def _announce_port(self, port: SimPort, linkup: bool) -> None:
        port.linkup = linkup
        self._refresh_effective(port)
        port.speed_mbps, port.duplex = (port.link.speed_mbps, port.link.duplex) if linkup else (0, 0)
        self.kernel.announce(self, self.port_seen(port))

    def port_seen(self, port: SimPort) -> PortSeen:
        """The port as the port list shows it."""
        return PortSeen(port.link.ifindex, port.linkup, port.speed_mbps, port.duplex)

    def _refresh_effective(self, port: SimPort) -> None:
        effective = port.user_linkup if port.user_linkup_enabled else port.linkup
        if effective != port.effective:
            port.effective = effective
            self.kernel.link_changed(port.link)  # NETDEV_CHANGELOWERSTATE: before the port event

    # Carrier, address

    def check_carrier(self) -> None:
        """The driver's own rule, until the carrier is set by hand."""
        if not self.user_carrier:
            self.kernel.change_carrier(self.link, any(port.effective for port in self.ports.values()))

    def set_carrier(self, up: bool) -> None:
        """IFLA_CARRIER; from now on the carrier is the user's, until the mode changes."""
        self.user_carrier = True
        self.kernel.change_carrier(self.link, up)

    def mac_changed(self) -> None:
        """The device has a new address: some modes pass it on to the ports."""
        if self.mode in FOLLOWS_TEAM_MAC:
            for port in self.ports.values():
                self.kernel.change_mac(port.link, self.link.mac)
