"""Everything the core can learn, one frozen dataclass each. The repr of an event is its line in the trace.

Kernel events carry what the kernel said, not what it means: two sources tell of a port (rtnetlink's links and the team
family's port list), they arrive in any order, and the Team puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, TypeAlias

from pyteamd.model.desired import OptionKey, OptionValue, Write
from pyteamd.values import dataclass

ETHERNET, LOOPBACK = 1, 772
"""Device types (ARPHRD_…)."""

HostName: TypeAlias = tuple[str, str]
"""A host as the configuration has it, and the address family it is wanted in ("inet", "inet6")."""


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A network interface as rtnetlink describes it (RTM_NEWLINK); the team device itself included."""

    ifindex: int
    name: str
    mac: bytes
    master: int = 0
    """Ifindex of the device it is enslaved to, 0 for none."""
    up: bool = False
    """Administratively up (IFF_UP)."""
    running: bool = False
    """IFF_RUNNING: administratively up and operational. The team driver's raw port link is the same predicate."""
    permanent_mac: bytes = b""
    kind: str = ""
    """IFLA_INFO_KIND, for instance "team", "veth"; "" for hardware."""
    carrier: bool | None = None
    """IFLA_CARRIER, None when the kernel did not say."""
    altnames: tuple[str, ...] = ()
    """Further names of the link (IFLA_PROP_LIST), of up to 127 octets."""
    lower: int = 0
    """Ifindex of the link of this namespace that it stands on (IFLA_LINK of a VLAN, a macvlan, …), 0 for none."""
    hardware: int = ETHERNET
    """Device type (ARPHRD_…)."""
    mtu: int = 0
    """Octets; 0 when the kernel did not say."""
    max_mtu: int = 0
    """The largest that the driver takes, in octets; 0 when the kernel did not say, or any."""
    overhead: int = 0
    """Octets by which its MTU must be below that of the link it stands on (MACsec)."""
    loose_binding: bool = False
    """A VLAN that may be up while the link it stands on is down (VLAN_FLAG_LOOSE_BINDING)."""
    tx_queues: int = 0
    """Transmit queues of a team device; 0 of other links, or when the kernel did not say."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the link, the kernel's own first."""
        return (self.name, *self.altnames)


@dataclass(frozen=True, slots=True)
class CarrierSeen:
    """Early word, read from the header alone, that IFF_RUNNING of a link changed; the LinkSeen follows."""

    ifindex: int
    running: bool


@dataclass(frozen=True, slots=True)
class LinkGone:
    """The interface was deleted or left this network namespace (RTM_DELLINK)."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class PortSeen:
    """An entry of the team family's port list."""

    ifindex: int
    linkup: bool
    speed_mbps: int
    """Mbit/s; 0 when down or without link settings; 4294967295 when unknown, as the kernel says it."""
    duplex: int
    """0 half, 1 full, 255 unknown."""


@dataclass(frozen=True, slots=True)
class PortGone:
    """The team family reported the port as removed."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class OptionSeen:
    """The kernel's value of one team option instance."""

    key: OptionKey
    value: OptionValue


@dataclass(frozen=True, slots=True)
class OptionGone:
    """The option instance no longer exists (its port left, or the mode changed)."""

    key: OptionKey


@dataclass(frozen=True, slots=True)
class Resync:
    """A complete dump, at the start and after each Overrun. What it does not name does not exist."""

    links: tuple[LinkSeen, ...]
    ports: tuple[PortSeen, ...]
    options: tuple[OptionSeen, ...]


@dataclass(frozen=True, slots=True)
class Overrun:
    """Messages of the kernel were lost (ENOBUFS), or could not be read. The shell answers with a Resync."""


UNTOLD_VLAN: Final = -1


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """A frame received on a port, already through the socket filter; never the kernel's copy of one that we sent through this port."""

    ifindex: int
    destination: bytes
    source: bytes
    ethertype: int
    """After any VLAN tag."""
    vlan: int | None
    """VLAN id of the outer tag, None for an untagged frame, UNTOLD_VLAN for a tag the kernel took off without saying which."""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """These writes were accepted by the kernel."""

    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The kernel refused a write with this errno. Earlier writes of the same batch may have been applied."""

    write: Write
    errno: int
    explanation: str = field(default="", compare=False, repr=False)
    """The kernel's own words; "" when it gave none."""


@dataclass(frozen=True, slots=True)
class HostsResolved:
    """Numeric addresses of host names used by link watchers; "" for a name that could not be resolved."""

    addresses: Mapping[HostName, str]


@dataclass(frozen=True, slots=True)
class UserSet:
    """Set a state item. `path` as in the control protocol, for instance `runner.active_port`."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class PortAdd:
    """A user wants this link in the team."""

    ifindex: int
    link: LinkSeen | None = None
    """As it was just looked up; the Team may not know one that belongs to another device."""


@dataclass(frozen=True, slots=True)
class PortRemove:
    """A user wants this port out of the team."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class PortConfigUpdate:
    """Replace the stored configuration of a port; `tree` is the parsed JSON object."""

    name: str
    tree: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConfigApply:
    """Go over to another configuration; see reload.py.

    `written`: an earlier configuration is taken back, which named these ports. `choice`: what the runner had chosen then (Runner.choice).
    `kept`, `out`: see JoiningPorts.rename. `former`: see JoiningPorts. `mac`: address of the team then, in hex, or "".
    `tried`: the ports that were named since, which a daemon that was restarted meanwhile may not know.
    """

    text: str
    written: tuple[str, ...] | None = None
    choice: str = ""
    kept: tuple[str, ...] | None = None
    mac: str = ""
    out: tuple[tuple[int, str], ...] = ()
    former: tuple[tuple[int, str], ...] = ()
    tried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave in good order. `keep`: leave device, ports and their options as they are (`-N`)."""

    keep: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing but time passed; a deadline may have come."""


KernelEvent: TypeAlias = (
    LinkSeen | CarrierSeen | LinkGone | PortSeen | PortGone | OptionSeen | OptionGone | Resync | Overrun
)
Event: TypeAlias = (
    KernelEvent
    | FrameSeen
    | Applied
    | Refused
    | HostsResolved
    | UserSet
    | PortAdd
    | PortRemove
    | PortConfigUpdate
    | ConfigApply
    | Stop
    | Tick
)
