"""The one table of the team driver's options: name, type, where it exists, what it means.

Everything that deals with options reads it: the netlink codec, validation, the simulator, `pyteamnl`, the documentation.
Types and modes as in drivers/net/team/team_core.c and team_mode_*.c. Options that a newer kernel has and this table has
not are no error anywhere: they are passed through as their own type says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pyteamd.model.desired import OptionValue

MAX_STRING: Final = 32
MAX_BINARY: Final = 32768
"""4,096 instructions of classic BPF, the kernel's own limit for a program."""


class Kind(IntEnum):
    """Types of options: netlink's own attribute type numbers, carried in TEAM_ATTR_OPTION_TYPE."""

    U32 = 3
    STRING = 5
    FLAG = 6
    BINARY = 11
    S32 = 14


@dataclass(frozen=True, slots=True)
class TeamOption:
    """An option of the team driver."""

    name: str
    kind: Kind
    help: str
    per_port: bool = False
    array_size: int = 0
    """Number of instances, `OptionKey.index` 0 to array_size-1; 0 when it is no array."""
    modes: tuple[str, ...] = ()
    """The modes that have it; empty: all."""
    read_only: bool = False
    recent: bool = False
    """Only the newest kernels have it."""


_AB: Final = ("activebackup",)
_LB: Final = ("loadbalance",)

_TABLE: Final = (
    TeamOption("mode", Kind.STRING, "How the driver spreads traffic; can change only while the team has no ports."),
    TeamOption("notify_peers_count", Kind.U32, "Gratuitous ARPs and neighbour advertisements per enabled port."),
    TeamOption("notify_peers_interval", Kind.U32, "Time between these, in milliseconds."),
    TeamOption("mcast_rejoin_count", Kind.U32, "Repeated multicast joins (IGMP, MLD) per enabled port."),
    TeamOption("mcast_rejoin_interval", Kind.U32, "Time between these, in milliseconds."),
    TeamOption("enabled", Kind.FLAG, "The port may transmit and receive.", per_port=True),
    TeamOption("rx_enabled", Kind.FLAG, "The port may receive.", per_port=True, recent=True),
    TeamOption("tx_enabled", Kind.FLAG, "The port may transmit.", per_port=True, recent=True),
    TeamOption("user_linkup", Kind.FLAG, "What user space thinks of the port's link.", per_port=True),
    TeamOption("user_linkup_enabled", Kind.FLAG, "The driver believes user_linkup, not the carrier.", per_port=True),
    TeamOption("priority", Kind.S32, "Rank among ports of equal queue_id; the lower value first.", per_port=True),
    TeamOption("queue_id", Kind.U32, "Transmit queue reserved for the port, 0 for none.", per_port=True),
    TeamOption("activeport", Kind.U32, "Ifindex of the one port in use, 0 for none.", modes=_AB),
    TeamOption("bpf_hash_func", Kind.BINARY, "Classic BPF program that hashes frames; empty: hash 0.", modes=_LB),
    TeamOption("lb_tx_method", Kind.STRING, "What selects the port: hash or hash_to_port_mapping.", modes=_LB),
    TeamOption(
        "lb_tx_hash_to_port_mapping",
        Kind.U32,
        "Ifindex of the port for a hash, 0 for none.",
        array_size=256,
        modes=_LB,
    ),
    TeamOption(
        "lb_hash_stats",
        Kind.BINARY,
        "Octets sent per hash, a 64-bit number in host order.",
        array_size=256,
        modes=_LB,
        read_only=True,
    ),
    TeamOption(
        "lb_port_stats",
        Kind.BINARY,
        "Octets sent by the port, a 64-bit number in host order.",
        per_port=True,
        modes=_LB,
        read_only=True,
    ),
    TeamOption("lb_stats_refresh_interval", Kind.U32, "Time between counter events, in 0.1 s; 0: none.", modes=_LB),
)

OPTIONS: Final = {option.name: option for option in _TABLE}
"""Every option known here, by name."""


def problem_of(kind: int, value: OptionValue) -> str:
    """What is wrong with a value for an option of this kind, and what is allowed; "" when it fits."""
    match kind, value:
        case Kind.FLAG, bool():
            return ""
        case Kind.U32, int() if not isinstance(value, bool):
            return "" if 0 <= value <= 0xFFFFFFFF else f"{value} (allowed: 0 to 4294967295)"
        case Kind.S32, int() if not isinstance(value, bool):
            return "" if -0x80000000 <= value <= 0x7FFFFFFF else f"{value} (allowed: -2147483648 to 2147483647)"
        case Kind.STRING, str():
            fits = len(value.encode()) <= MAX_STRING and "\0" not in value
            return "" if fits else f"{value!r} (allowed: {MAX_STRING} octets)"
        case Kind.BINARY, bytes():
            return "" if len(value) <= MAX_BINARY else f"{len(value)} octets (allowed: {MAX_BINARY})"
    words = {Kind.FLAG: "true or false", Kind.U32: "a number", Kind.S32: "a number", Kind.STRING: "text"}
    allowed = "octets" if kind == Kind.BINARY else words.get(Kind(kind)) if kind in set(Kind) else None
    return f"{value!r} (allowed: {allowed})" if allowed else f"its type {kind} cannot be written"


def guess(value: OptionValue) -> Kind:
    """The kind of an option that is neither in the table nor was heard of from the kernel."""
    match value:
        case bool():
            return Kind.FLAG
        case int():
            return Kind.U32 if value >= 0 else Kind.S32
        case str():
            return Kind.STRING
    return Kind.BINARY
