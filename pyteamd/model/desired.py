"""The values the core computes: what the kernel should look like, what it looks like, and what to do about it.

Desired and Observed share `options`, `macs`, `members` and `carrier`. A key left out of Desired means "no opinion, never touched"; a key
left out of Observed means "not known yet". A Write is one difference between the two. Frames and notes are the things that happen once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import NamedTuple, TypeAlias

from pyteamd.model.incidents import Incident
from pyteamd.values import dataclass
from pyteamd.wire.frame_filter import FrameFilter

OptionValue: TypeAlias = bool | int | str | bytes

DIRECTIONS = ("rx_enabled", "tx_enabled")
SWITCHES = ("enabled", *DIRECTIONS)
"""What lets traffic through a port. The directions exist since Linux 7.1: `enabled` writes both there, and reads true if both are."""


class OptionKey(NamedTuple):
    """Which instance of a team option. `port` is an ifindex, 0 for options of the team; `index` is 0 outside arrays."""

    name: str
    port: int = 0
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody needs


@dataclass(frozen=True, slots=True)
class Desired:
    """The full picture the daemon wants; whatever is missing is left alone."""

    options: Mapping[OptionKey, OptionValue] = field(default_factory=dict)
    macs: Mapping[int, bytes] = field(default_factory=dict)
    """Hardware address by ifindex, of ports and of the team device itself."""
    members: Mapping[int, bool] = field(default_factory=dict)
    """Ifindex → whether it is to be a port of this team."""
    carrier: bool | None = None
    """Carrier of the team device; None leaves it to the kernel."""
    steal: frozenset[int] = frozenset()
    """Members to be taken from the device they belong to."""
    set_down: frozenset[int] = frozenset()
    """Members to be set down before they join."""


@dataclass(slots=True)
class Observed:
    """What the kernel said last, or took from us since. Changed by its Team only."""

    options: dict[OptionKey, OptionValue] = field(default_factory=dict)
    macs: dict[int, bytes] = field(default_factory=dict)
    members: dict[int, bool] = field(default_factory=dict)
    carrier: bool | None = None
    carrier_free: bool = False
    """Nobody has set the carrier in this mode: the driver makes it follow the links of the ports, and tells a second later."""

    def serves(self, ifindex: int) -> bool:
        """The driver lets frames through this port, both ways."""
        return self.options.get(OptionKey("enabled", ifindex)) is True

    def half_on(self, ifindex: int) -> bool:
        """One direction is let through: `enabled` reads false, and yet not all is off."""
        ways = [self.options.get(OptionKey(name, ifindex)) for name in DIRECTIONS]
        return True in ways and False in ways

    def transmits(self, ifindex: int) -> bool:
        """The driver sends through this port; only since Linux 7.1 may that be so where it does not receive."""
        way = self.options.get(OptionKey("tx_enabled", ifindex))
        return self.serves(ifindex) if way is None else way is True


@dataclass(frozen=True, slots=True)
class SetOption:
    """Set one team option (generic netlink, TEAM_CMD_OPTIONS_SET)."""

    key: OptionKey
    value: OptionValue


@dataclass(frozen=True, slots=True)
class SetMac:
    """Set the hardware address of a port or of the team (rtnetlink, IFLA_ADDRESS)."""

    ifindex: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class SetMember:
    """Make a link a port of the team, or release it (rtnetlink, IFLA_MASTER). A refused link is left as it was."""

    ifindex: int
    member: bool
    steal: bool = False
    """Take it even from another device it belongs to; otherwise that is a refusal, and the kernel is not asked."""
    set_down: bool = False
    """Set it down first; otherwise the kernel refuses a link that is up."""


@dataclass(frozen=True, slots=True)
class SetCarrier:
    """Set the carrier of the team device (rtnetlink, IFLA_CARRIER)."""

    up: bool


Write: TypeAlias = SetOption | SetMac | SetMember | SetCarrier


@dataclass(frozen=True, slots=True)
class Verdict:
    """A link watcher's answer, with the reason in words for logs and `explain`."""

    up: bool
    reason: str
    """The first clause; how long it has been so is said behind it."""
    rest: str = ""
    """What follows the clause, with the punctuation between them."""
    until: float | None = None
    """When time alone turns the answer round; None when it does not. On the clock of `now`."""

    @property
    def text(self) -> str:
        """All of the reason."""
        return self.reason + self.rest


class Level(Enum):
    """Weight of a note; the shell maps it to its log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling a person, once. `text` is the whole log line; `port` the name of the port it is about."""

    level: Level
    text: str
    port: str = ""
    incident: Incident | None = None
    """Which of those that matter to an operator, if any."""
    reason: str = ""
    """Why, where the text does not say it."""
    fault: bool = False
    """A fault of ours cost a port: what led to it is to be kept."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame to send. `octets` start with the Ethernet header; the kernel adds padding and check sequence."""

    port: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Tap:
    """One packet socket the core wants open on a port.

    `frames`: what it lets through. `address`: a further address the interface is to listen to, of a group or of one station; b"" for none.
    `udp_port`: the port that the host's own stack must not answer for, 0 for none.
    """

    frames: FrameFilter
    address: bytes = b""
    udp_port: int = 0


@dataclass(frozen=True, slots=True)
class Outputs:
    """What happened once since the last `Team.take()`."""

    frames: tuple[Frame, ...] = ()
    notes: tuple[Note, ...] = ()
