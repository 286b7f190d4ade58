"""The states and transition tables of the LACP machines (IEEE 802.1AX-2014, 6.4.12 to 6.4.17).

How it works: everything that decides which state follows which is in this file, as data; what happens on entering a state
is in `lacp/port.py`. Four machines for each port:

- receive: does the partner speak? A cell of RECEIVE that is missing means that the event changes nothing. The states have
  the names teamd shows. INITIALIZE and LACP_DISABLED of the standard need no state of their own: the first lasts no time,
  and LACP is never switched off on a port; one whose link cannot be aggregated (half duplex) counts as disabled.
- mux: does the port belong to the aggregate and does it pass frames? Each state has a list of guards; the first that holds
  leads on, again and again until none does. One table for kernels that can only switch a port as a whole (COUPLED), one
  for those that can switch both directions (INDEPENDENT).
- churn, twice: has the actor, has the partner been out of sync for a minute?
- periodic: how often do we speak? It follows from what the partner asked for, so it is a function without a state.

States that end by themselves own the moment at which they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple, TypeAlias

from pyteamd.runners.lacp.selection import LagId

FAST_PERIODIC_S = 1.0
SLOW_PERIODIC_S = 30.0
SHORT_TIMEOUT_S = 3.0
LONG_TIMEOUT_S = 90.0
LATE_ARRIVAL_S = 0.03
"""The third LACPDU after two lost ones arrives just when the timeout ends; this much later it still counts."""
CHURN_DETECTION_S = 60.0
AGGREGATE_WAIT_S = 2.0


# -- receive, 6.4.12 -----------------------------------------------------------------------------------------------------


class Link(Enum):
    """Whether the link can carry LACP, and why not."""

    UP = "up"
    DOWN = "no link"
    TEAM_DOWN = "team is down"
    HALF_DUPLEX = "half duplex"
    NO_SPEED = "duplex known but no speed"
    DAMPED = "held out because it flapped"
    LEAVING = "port is leaving"
    FAULT = "a fault of ours"
    """Until the link has been down."""


@dataclass(frozen=True, slots=True)
class Disabled:
    """The link cannot carry LACP now. What is known of the partner is kept."""

    link: Link = Link.DOWN
    name: ClassVar[str] = "disabled"


@dataclass(frozen=True, slots=True)
class Current:
    """The partner spoke recently enough."""

    until: float
    put_off: bool = False
    """The end was noticed late, and put off."""
    name: ClassVar[str] = "current"


@dataclass(frozen=True, slots=True)
class Expired:
    """The link came up, or the partner fell silent: ask it to speak fast."""

    until: float
    put_off: bool = False
    name: ClassVar[str] = "expired"


@dataclass(frozen=True, slots=True)
class Defaulted:
    """There is no partner."""

    name: ClassVar[str] = "defaulted"


Receive: TypeAlias = Disabled | Current | Expired | Defaulted


class Happening(Enum):
    """What the receive machine reacts to."""

    LINK_UP = "link up"
    LINK_DOWN = "link down"
    PDU = "LACPDU"
    TIMEOUT = "timeout"
    MOVED = "partner moved"
    """The partner's port speaks to us through another port of ours (port_moved)."""

    __hash__ = object.__hash__  # Enum's own is Python; these are looked up with every LACPDU


RECEIVE: Mapping[tuple[type[Receive], Happening], type[Receive]] = {
    (Disabled, Happening.LINK_UP): Expired,
    (Disabled, Happening.MOVED): Disabled,
    (Current, Happening.LINK_DOWN): Disabled,
    (Current, Happening.PDU): Current,
    (Current, Happening.TIMEOUT): Expired,
    (Expired, Happening.LINK_DOWN): Disabled,
    (Expired, Happening.PDU): Current,
    (Expired, Happening.TIMEOUT): Defaulted,
    (Defaulted, Happening.LINK_DOWN): Disabled,
    (Defaulted, Happening.PDU): Current,
}


# -- mux, 6.4.15 ---------------------------------------------------------------------------------------------------------


class Mux(Enum):
    """States of both forms of the mux machine."""

    DETACHED = "detached"
    WAITING = "waiting"
    ATTACHED = "attached"
    COLLECTING = "collecting"
    DISTRIBUTING = "distributing"
    COLLECTING_DISTRIBUTING = "collecting_distributing"

    def __init__(self, text: str) -> None:
        self.in_sync = text not in ("detached", "waiting")
        """The port belongs to the aggregate: SYNCHRONIZATION."""
        self.collecting = "collecting" in text or text == "distributing"
        """The port takes frames in."""
        self.distributing = "distributing" in text
        """The port sends frames."""

    __hash__ = object.__hash__  # Enum's own is Python; these are looked up with every LACPDU


@dataclass(frozen=True, slots=True)
class Detached:
    """In no aggregate."""

    hold_until: float | None = None
    """Found in service without a word about its partner: leave the kernel's setting alone and listen until then."""
    state: ClassVar[Mux] = Mux.DETACHED
    lag: ClassVar[LagId | None] = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """To be attached when wait_while is over, for this port and those it waits for."""

    lag: LagId | None
    since: float
    until: float
    state: ClassVar[Mux] = Mux.WAITING


@dataclass(frozen=True, slots=True)
class Attached:
    """Part of the aggregate; `state`: ATTACHED or one of those behind it."""

    lag: LagId | None
    state: Mux = Mux.ATTACHED


Standing: TypeAlias = Detached | Waiting | Attached
"""Where the mux machine stands, with what that state owns."""


class Selection(Enum):
    """What the selection logic thinks of a port."""

    UNSELECTED = "unselected"
    STANDBY = "standby"
    """Right aggregate, but not to be used for now."""
    SELECTED = "selected"


class MuxInput(NamedTuple):
    """All the mux machine looks at."""

    selection: Selection
    ready: bool
    """wait_while is over, for this port and those it waits for."""
    partner_sync: bool
    partner_collecting: bool


class Guard(Enum):
    """Condition of a mux transition, in words for the diagrams."""

    CHOSEN = "selected or standby"
    UNSELECTED = "unselected"
    READY = "selected and ready"
    DROPPED = "unselected or standby"
    PARTNER_SYNC = "partner in sync"
    LOST = "unselected or standby or partner not in sync"
    PARTNER_COLLECTING = "partner collecting"
    PARTNER_DEAF = "unselected or standby or partner not in sync or not collecting"

    __hash__ = object.__hash__


def _lost(now: MuxInput) -> bool:
    return now.selection is not Selection.SELECTED or not now.partner_sync


HOLDS: Mapping[Guard, Callable[[MuxInput], bool]] = {
    Guard.CHOSEN: lambda now: now.selection is not Selection.UNSELECTED,
    Guard.UNSELECTED: lambda now: now.selection is Selection.UNSELECTED,
    Guard.READY: lambda now: now.selection is Selection.SELECTED and now.ready,
    Guard.DROPPED: lambda now: now.selection is not Selection.SELECTED,
    Guard.PARTNER_SYNC: lambda now: now.partner_sync,
    Guard.LOST: _lost,
    Guard.PARTNER_COLLECTING: lambda now: now.partner_collecting,
    Guard.PARTNER_DEAF: lambda now: _lost(now) or not now.partner_collecting,
}

MuxTable: TypeAlias = Mapping[Mux, tuple[tuple[Guard, Mux], ...]]

COUPLED: MuxTable = {
    Mux.DETACHED: ((Guard.CHOSEN, Mux.WAITING),),
    Mux.WAITING: ((Guard.UNSELECTED, Mux.DETACHED), (Guard.READY, Mux.ATTACHED)),
    Mux.ATTACHED: ((Guard.DROPPED, Mux.DETACHED), (Guard.PARTNER_SYNC, Mux.COLLECTING_DISTRIBUTING)),
    Mux.COLLECTING_DISTRIBUTING: ((Guard.LOST, Mux.ATTACHED),),
}

INDEPENDENT: MuxTable = {
    Mux.DETACHED: ((Guard.CHOSEN, Mux.WAITING),),
    Mux.WAITING: ((Guard.UNSELECTED, Mux.DETACHED), (Guard.READY, Mux.ATTACHED)),
    Mux.ATTACHED: ((Guard.DROPPED, Mux.DETACHED), (Guard.PARTNER_SYNC, Mux.COLLECTING)),
    Mux.COLLECTING: ((Guard.LOST, Mux.ATTACHED), (Guard.PARTNER_COLLECTING, Mux.DISTRIBUTING)),
    Mux.DISTRIBUTING: ((Guard.PARTNER_DEAF, Mux.COLLECTING),),
}

BECOMES_COUPLED: Mapping[Mux, Mux] = {
    Mux.COLLECTING: Mux.ATTACHED,
    Mux.DISTRIBUTING: Mux.COLLECTING_DISTRIBUTING,
}
BECOMES_INDEPENDENT: Mapping[Mux, Mux] = {Mux.COLLECTING_DISTRIBUTING: Mux.DISTRIBUTING}
"""What a state turns into when it turns out which of the two the kernel can do."""


def next_mux(table: MuxTable, state: Mux, now: MuxInput) -> Mux | None:
    """One step; None when the machine rests."""
    for guard, target in table[state]:
        if HOLDS[guard](now):
            return target
    return None


# -- churn detection, 6.4.17 ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Monitor:
    """Out of sync, not for long yet."""

    until: float
    name: ClassVar[str] = "monitor"


@dataclass(frozen=True, slots=True)
class NoChurn:
    """In sync."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True, slots=True)
class Churned:
    """Out of sync for too long."""

    name: ClassVar[str] = "churned"


Churn: TypeAlias = Monitor | NoChurn | Churned


class Drift(Enum):
    """What a churn machine reacts to."""

    IN_SYNC = "in sync"
    OUT_OF_SYNC = "out of sync"
    TIMEOUT = "timeout"

    __hash__ = object.__hash__


CHURN: Mapping[tuple[type[Churn], Drift], type[Churn]] = {
    (Monitor, Drift.IN_SYNC): NoChurn,
    (Monitor, Drift.TIMEOUT): Churned,
    (NoChurn, Drift.OUT_OF_SYNC): Monitor,
    (Churned, Drift.IN_SYNC): NoChurn,
}


# -- periodic transmission, 6.4.13 ---------------------------------------------------------------------------------------


class Pace(Enum):
    """How often to speak; the value is the interval in seconds, None for never."""

    NONE = None
    FAST = FAST_PERIODIC_S
    SLOW = SLOW_PERIODIC_S

    def __init__(self, interval_s: float | None) -> None:
        self.interval_s = interval_s


def periodic(enabled: bool, active: bool, partner_active: bool, partner_short: bool) -> Pace:
    """Never while disabled or when both ends wait for the other, else as the partner asked."""
    if not enabled or not (active or partner_active):
        return Pace.NONE
    return Pace.FAST if partner_short else Pace.SLOW
