"""The one table of the team driver's options: name, type, where it exists, what it means.

Everything that deals with options reads it: the netlink codec, the simulator, `pyteamnl` and its completion.
Types and modes as in drivers/net/team/team_core.c and team_mode_*.c. Options that a newer kernel has and this table has
not are no error anywhere: they are passed through as their own type says.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from pyteamd.model.desired import OptionValue
from pyteamd.values import dataclass

MAX_STRING: Final = 32
MAX_BINARY: Final = 32768
"""4,096 instructions of classic BPF, the kernel's own limit for a program."""


class OptionKind(IntEnum):
    """Types of options: netlink's own attribute type numbers, carried in TEAM_ATTR_OPTION_TYPE."""

    U32 = 3
    STRING = 5
    FLAG = 6
    BINARY = 11
    S32 = 14


WORDS: Final[dict[int, str]] = {
    **{OptionKind.U32: "a number", OptionKind.S32: "a number", OptionKind.STRING: "text"},
    **{OptionKind.FLAG: "true or false", OptionKind.BINARY: "octets"},
}


@dataclass(frozen=True, slots=True)
class TeamOption:
    """An option of the team driver."""

    name: str
    kind: OptionKind
    help: str
    per_port: bool = False
    array_size: int = 0
    """Number of instances, `OptionKey.index` 0 to array_size-1; 0 when it is no array."""
    modes: tuple[str, ...] = ()
    """The modes that have it; empty: all."""
    read_only: bool = False
    recent: bool = False
    """Since Linux 7.1."""


_AB: Final = ("activebackup",)
_LB: Final = ("loadbalance",)

_TABLE: Final = (
    TeamOption(
        "mode", OptionKind.STRING, "How the driver spreads traffic; can change only while the team has no ports."
    ),
    TeamOption("notify_peers_count", OptionKind.U32, "Gratuitous ARPs and neighbour advertisements per enabled port."),
    TeamOption("notify_peers_interval", OptionKind.U32, "Time between these, in milliseconds."),
    TeamOption("mcast_rejoin_count", OptionKind.U32, "Repeated multicast joins (IGMP, MLD) per enabled port."),
    TeamOption("mcast_rejoin_interval", OptionKind.U32, "Time between these, in milliseconds."),
    TeamOption("enabled", OptionKind.FLAG, "The port may transmit and receive.", per_port=True),
    TeamOption("rx_enabled", OptionKind.FLAG, "The port may receive.", per_port=True, recent=True),
    TeamOption("tx_enabled", OptionKind.FLAG, "The port may transmit.", per_port=True, recent=True),
    TeamOption("user_linkup", OptionKind.FLAG, "The port's link as the daemon's link watchers see it.", per_port=True),
    TeamOption(
        "user_linkup_enabled", OptionKind.FLAG, "The driver believes user_linkup, not the carrier.", per_port=True
    ),
    TeamOption("priority", OptionKind.S32, "Of two ports with one queue_id, the higher is used.", per_port=True),
    TeamOption("queue_id", OptionKind.U32, "Transmit queue reserved for the port, 0 for none.", per_port=True),
    TeamOption("activeport", OptionKind.U32, "Ifindex of the one port in use, 0 for none.", modes=_AB),
    TeamOption("bpf_hash_func", OptionKind.BINARY, "Classic BPF program that hashes frames; empty: hash 0.", modes=_LB),
    TeamOption("lb_tx_method", OptionKind.STRING, "What selects the port: hash or hash_to_port_mapping.", modes=_LB),
    TeamOption(
        "lb_tx_hash_to_port_mapping",
        OptionKind.U32,
        "Ifindex of the port for a hash, 0 for none.",
        array_size=256,
        modes=_LB,
    ),
    TeamOption(
        "lb_hash_stats",
        OptionKind.BINARY,
        "Octets sent per hash, a 64-bit number in host order.",
        array_size=256,
        modes=_LB,
        read_only=True,
    ),
    TeamOption(
        "lb_port_stats",
        OptionKind.BINARY,
        "Octets sent by the port, a 64-bit number in host order.",
        per_port=True,
        modes=_LB,
        read_only=True,
    ),
    TeamOption(
        "lb_stats_refresh_interval", OptionKind.U32, "Time between counter events, in 0.1 s; 0: none.", modes=_LB
    ),
)

OPTIONS: Final = {option.name: option for option in _TABLE}
"""Every option known here, by name."""


def problem_of(kind: int, value: OptionValue) -> str:
    """What is wrong with a value for an option of this kind, and what is allowed; "" when it fits."""
    match kind, value:
        case OptionKind.FLAG, bool():
            return ""
        case OptionKind.U32, int() if not isinstance(value, bool):
            return "" if 0 <= value <= 0xFFFFFFFF else f"{value} (allowed: 0 to 4294967295)"
        case OptionKind.S32, int() if not isinstance(value, bool):
            return "" if -0x80000000 <= value <= 0x7FFFFFFF else f"{value} (allowed: -2147483648 to 2147483647)"
        case OptionKind.STRING, str():
            fits = len(value.encode()) <= MAX_STRING and "\0" not in value
            return "" if fits else f"{value!r} (allowed: {MAX_STRING} octets)"
        case OptionKind.BINARY, bytes():
            return "" if len(value) <= MAX_BINARY else f"{len(value)} octets (allowed: {MAX_BINARY})"
    allowed = WORDS.get(kind)
    return f"{value!r} (allowed: {allowed})" if allowed else f"its type {kind} cannot be written"


def guess(value: OptionValue) -> OptionKind:
    """The kind to assume of an option that is not in the table and that the kernel has not told of."""
    match value:
        case bool():
            return OptionKind.FLAG
        case int():
            return OptionKind.U32 if value >= 0 else OptionKind.S32
        case str():
            return OptionKind.STRING
    return OptionKind.BINARY
