"""One port's LACP machines: receive, periodic, mux, transmit, churn (IEEE 802.1AX-2014, 6.4).

How it works: everything that happens to one port on LACP's account is in this file; which state follows which is looked up in
`machines`, and which aggregate is the right one is decided elsewhere and comes in as `Selection`. A port remembers the states of its
machines, which own their moments, and what the partner last said of itself (`partner`) and of us (`told`). All else is computed when
it is needed: our own part of an LACPDU (`actor`), the partner's as we repeat it (`partner_info`), whether the partner's
SYNCHRONIZATION counts, and whether an LACPDU is due, which is a comparison of what we would say with what we said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter

from pyteamd.model.standstill import Silence
from pyteamd.runners.base import PortView
from pyteamd.runners.lacp.churn import ChurnDetection
from pyteamd.runners.lacp.machines import (
    AGGREGATE_WAIT_S,
    BECOMES_COUPLED,
    BECOMES_INDEPENDENT,
    COUPLED,
    INDEPENDENT,
    RECEIVE,
    SHORT_TIMEOUT_S,
    Attached,
    Current,
    Defaulted,
    Detached,
    Disabled,
    Expired,
    Happening,
    Link,
    Mux,
    MuxInput,
    Pace,
    Receive,
    Standing,
    Waiting,
    next_mux,
    periodic,
)
from pyteamd.runners.lacp.selection import LagId
from pyteamd.runners.lacp.system import OTHER_SPEED, SPEED_CODES, Counters, LocalSystem, Patience, Transmitter
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo, one_end

NO_PARTNER = LacpInfo(0, bytes(6), 0, 0, 0, 0)
DEFAULT_PARTNER = replace(NO_PARTNER, state=lacpdu.TIMEOUT)
"""What is assumed of a silent partner: it wants to be spoken to fast, as with teamd."""

STALL_S = 0.5
GRACE_S = 0.1
"""A timeout noticed later than STALL_S says that this process stood still; the partner is given GRACE_S more."""

DISABLED = Disabled()
DETACHED = Detached()
NEVER = float("inf")
"""A moment that does not come."""
FAILED = NEVER
"""Value of `well_since` and `restore_at` of a port that failed in use and was not heard since: the next LACPDU begins the wait."""

MUX_BITS = {
    mux: (lacpdu.SYNCHRONIZATION if mux.in_sync else 0)
    | (lacpdu.COLLECTING if mux.collecting else 0)
    | (lacpdu.DISTRIBUTING if mux.distributing else 0)
    for mux in Mux
}

IDENTITY = ("system", "system_priority", "key", "port", "port_priority")
identity = attrgetter(*IDENTITY)
HEEDED_BITS = lacpdu.ACTIVITY | lacpdu.TIMEOUT | lacpdu.SYNCHRONIZATION | lacpdu.AGGREGATION
"""Bits of our state about which the partner must be right; being wrong about the rest is no reason to speak (update_NTT)."""


@dataclass(slots=True)
class LacpPort:
    """One port. `number` and `source` are what LACPDUs say of it as long as it lives."""

    view: PortView
    """The port as the team has it: name, link, settings."""
    number: int
    source: bytes
    """Source address of frames: the port's own, not the team's."""
    speed_mbps: int = 0
    """Last known speed; kept while the link is down."""
    independent: bool = False
    """The kernel can switch receiving and sending apart."""
    receive: Receive = DISABLED
    partner: LacpInfo = NO_PARTNER
    told: LacpInfo | None = None
    """What the partner last said of us."""
    heard_from: bytes = b""
    """Source address of the last LACPDU."""
    standing: Standing = DETACHED
    well_since: float | None = None
    """Beginning of wait_to_restore, FAILED before that; None when it does not wait."""
    served_since: float | None = None
    """When it last went in or out of service, or joined."""
    transmitter: Transmitter = field(default_factory=Transmitter)
    churn: ChurnDetection = field(default_factory=ChurnDetection)
    patience: Patience = field(default_factory=Patience)
    counters: Counters = field(default_factory=Counters)

    # -- computed ------------------------------------------------------------------------------------------------------

    @property
    def ifindex(self) -> int:
        """Number of the interface."""
        return self.view.ifindex

    @property
    def name(self) -> str:
        """Name of the interface now."""
        return self.view.name

    @property
    def link(self) -> Link:
        """Whether the link can carry LACP, and why not."""
        return self.receive.link if isinstance(self.receive, Disabled) else Link.UP

    @property
    def mux(self) -> Mux:
        """State of the mux machine."""
        return self.standing.state

    @property
    def lag(self) -> LagId | None:
        """The aggregate the mux machine waits for or is attached to."""
        return self.standing.lag

    @property
    def hold_until(self) -> float | None:
        """Until when the kernel's setting is left alone; None when it is ours."""
        return self.standing.hold_until if isinstance(self.standing, Detached) else None

    def key(self, local: LocalSystem) -> int:
        """Operational key."""
        admin_key: int = self.view.config.lacp_key
        if not local.keys_by_speed:
            return admin_key
        code = SPEED_CODES.get(self.speed_mbps, OTHER_SPEED)
        return (admin_key << 6) & 0xFFC0 | code << 1 | 1

    def actor(self, local: LocalSystem) -> LacpInfo:
        """What we say of ourselves now."""
        state = lacpdu.AGGREGATION | MUX_BITS[self.mux]
        state |= lacpdu.ACTIVITY if local.active else 0
        state |= lacpdu.TIMEOUT if local.fast else 0
        if isinstance(self.receive, Expired):
            state |= lacpdu.EXPIRED | lacpdu.DEFAULTED if self.told is None else lacpdu.EXPIRED
        elif isinstance(self.receive, Defaulted):
            state |= lacpdu.DEFAULTED
        system, priority, key, number, port_priority = self.identity(local)
        return one_end(priority, system, key, port_priority, number, state)

    def identity(self, local: LocalSystem) -> tuple[bytes, int, int, int, int]:
        """What we call ourselves, in the order of IDENTITY. No machine of ours has a part in it."""
        return local.mac, local.priority, self.key(local), self.number, self.view.config.lacp_prio

    def matched(self, local: LocalSystem) -> bool:
        """The partner means this very port when it speaks of us."""
        told = self.told
        if told is None or not told.state & lacpdu.AGGREGATION:
            return False
        return identity(told) == self.identity(local)

    def partner_sync(self, local: LocalSystem) -> bool:
        """The partner is in sync with us (recordPDU, 6.4.9): it says so, means us, and the link will be kept alive."""
        if not isinstance(self.receive, Current) or not self.partner.state & lacpdu.SYNCHRONIZATION:
            return False
        if self.partner.state & lacpdu.AGGREGATION and not self.matched(local):
            return False
        told_active = self.told is not None and self.told.state & lacpdu.ACTIVITY
        return bool(self.partner.state & lacpdu.ACTIVITY or (local.active and told_active))

    def partner_collecting(self) -> bool:
        """The partner takes in what we send."""
        return bool(self.partner.state & lacpdu.COLLECTING)

    def partner_info(self, local: LocalSystem) -> LacpInfo:
        """The partner as we repeat it: SYNCHRONIZATION only where it counts, so that the partner learns when it does not."""
        state = self.partner.state
        if isinstance(self.receive, Expired):
            state |= lacpdu.TIMEOUT
        if state & lacpdu.SYNCHRONIZATION and not self.partner_sync(local):
            state &= ~lacpdu.SYNCHRONIZATION
        return self.partner if state == self.partner.state else replace(self.partner, state=state)

    def partner_known(self) -> bool:
        """Some system was heard on this link, and is not given up yet."""
        return self.partner.system != NO_PARTNER.system

    def looped(self, local: LocalSystem) -> bool:
        """The partner has our own identifier: a loop, or another system with the same address."""
        return self.partner.system == local.mac

    def lag_id(self, local: LocalSystem) -> LagId | None:
        """The aggregate this link could belong to; None when it cannot belong to any."""
        if not self.partner_known() or self.looped(local):
            return None
        partner = self.partner
        alone = not partner.state & lacpdu.AGGREGATION
        link = (self.number, partner.port_priority, partner.port) if alone else ()
        ours = (local.priority, local.mac, self.key(local))
        return LagId(*ours, partner.system_priority, partner.system, partner.key, link)

    def member_of(self, local: LocalSystem) -> LagId | None:
        """The aggregate it belongs to."""
        return self.lag_id(local) if self.belongs() else None

    def belongs(self) -> bool:
        """Whether the port belongs to the aggregate of `lag_id`: it keeps its place while expired, but cannot come in then."""
        attached = isinstance(self.receive, Expired) and self.mux.in_sync
        return attached or isinstance(self.receive, Current)

    @property
    def restore_at(self) -> float | None:
        """End of wait_to_restore, as long as it is configured now; FAILED before it has begun."""
        return None if self.well_since is None else self.well_since + self.view.config.wait_to_restore

    def restoring(self, now: float) -> bool:
        """It is well again after a failure, but not for long enough."""
        return self.restore_at is not None and now < self.restore_at < FAILED

    def pace(self, local: LocalSystem) -> Pace:
        """How often to speak."""
        enabled = not isinstance(self.receive, Disabled)
        short = isinstance(self.receive, Expired) or bool(self.partner.state & lacpdu.TIMEOUT)
        return periodic(enabled, local.active, bool(self.partner.state & lacpdu.ACTIVITY), short)

    def due(self, local: LocalSystem) -> float | None:
        """When the next LACPDU is to be sent; a moment in the past means now, None never."""
        if isinstance(self.receive, Disabled) or self.hold_until is not None:
            return None
        return self.transmitter.due(self.actor(local), self.pace(local).interval_s)

    def deadline(self) -> float:
        """Next moment at which time alone changes something, infinity for none.

        Without the end of wait_while, which others decide with it, the end of the partner's silence, and the next LACPDU.
        """
        moments = [self.hold_until, self.churn.deadline(), self.restore_at]
        return min([moment for moment in moments if moment is not None], default=NEVER)

    def silent_at(self) -> float:
        """When the partner will have been silent for too long, infinity when it is not waited for."""
        return self.receive.until if isinstance(self.receive, Current | Expired) else NEVER

    # -- receive machine -----------------------------------------------------------------------------------------------

    def set_link(self, link: Link, local: LocalSystem, now: float) -> bool:
        """The link can or cannot carry LACP from now on. Returns whether the receive machine moved."""
        if link is Link.UP:
            return self.happen(Happening.LINK_UP, local, now)
        if link is not Link.DOWN:
            self.unselect()
        moved = self.happen(Happening.LINK_DOWN, local, now)
        self.receive = Disabled(link)
        return moved

    def begin_again(self, link: Link) -> None:
        """Forget all that was heard; the link is of no use for this reason."""
        self.counters.flaps += self.mux.distributing
        self.receive, self.standing, self.well_since = Disabled(link), DETACHED, None
        self.partner, self.told, self.heard_from = NO_PARTNER, None, b""
        self.transmitter.forget()
        self.churn.stop()

    def hear(self, pdu: Lacpdu, source: bytes, local: LocalSystem, now: float) -> bool:
        """An LACPDU came. Returns False when the link cannot carry LACP and it was ignored."""
        if (type(self.receive), Happening.PDU) not in RECEIVE:
            return False
        if self.hold_until is not None or not same_link(pdu.actor, self.partner):
            self.unselect()
        self.told = pdu.partner
        actor = self.actor(local)
        if mismatch(pdu.partner, actor) or (pdu.partner.state ^ actor.state) & HEEDED_BITS:
            self.transmitter.ntt = True
        self.partner = pdu.actor
        self.heard_from = source
        if self.well_since == FAILED:
            self.well_since = now
        return self.happen(Happening.PDU, local, now)

    def heard_again(self, local: LocalSystem, now: float) -> None:
        """An LACPDU came that says what the last one said."""
        self.counters.lacpdus_received += 1
        self._begin_silence(local, now)

    def _begin_silence(self, local: LocalSystem, now: float) -> None:
        self.receive = Current(now + local.timeout_s)

    def happen(self, what: Happening, local: LocalSystem, now: float) -> bool:
        """Look the event up and enter the state it leads to. Returns whether it led anywhere."""
        target = RECEIVE.get((type(self.receive), what))
        if target is None:
            return False
        if isinstance(self.receive, Current) and target is not Current:
            self._fail()
            self.counters.timeouts += what is Happening.TIMEOUT
        if what is Happening.MOVED:
            self.unselect()
            self.partner, self.told = NO_PARTNER, None
        elif target is Disabled:
            self.receive = DISABLED
            self.transmitter.forget()
            self.churn.stop()
            if self.hold_until is not None:
                self.unselect()
        elif target is Current:
            self._begin_silence(local, now)
        elif target is Expired:
            self.receive = Expired(now + SHORT_TIMEOUT_S)
        else:
            self.receive = Defaulted()
            self.unselect()
            self.partner, self.told = DEFAULT_PARTNER, None
        return True

    def be_patient(self, local: LocalSystem, now: float) -> None:
        """We ask for slow LACPDUs from now on, so the next one may come that late; what we have heard is worth as much as a new one."""
        if isinstance(self.receive, Current):
            self.receive = Current(max(self.receive.until, now + local.timeout_s))

    def _fail(self) -> None:
        if self.view.config.wait_to_restore and (self.mux.in_sync or self.well_since is not None):
            self.well_since = FAILED
            self.unselect()

    # -- mux machine ---------------------------------------------------------------------------------------------------

    def set_mode(self, independent: bool) -> None:
        """What the kernel can do became known or changed."""
        if independent != self.independent:
            self.independent = independent
            if isinstance(self.standing, Attached):
                other = (BECOMES_INDEPENDENT if independent else BECOMES_COUPLED).get(self.mux, self.mux)
                self.standing = Attached(self.lag, other)

    def step_mux(self, now: MuxInput, at: float, lag: LagId | None) -> bool:
        """One step of the mux machine towards `lag`. Returns whether it moved."""
        target = next_mux(INDEPENDENT if self.independent else COUPLED, self.mux, now)
        if target is None:
            return False
        self.counters.flaps += self.mux.distributing and not target.distributing
        if target is Mux.DETACHED:
            self.standing = DETACHED
        elif target is Mux.WAITING:
            self.standing = Waiting(lag, at, at + AGGREGATE_WAIT_S)
        else:
            if target is Mux.ATTACHED:
                self.well_since = None
            self.standing = Attached(self.lag, target)
        return True

    def unselect(self) -> None:
        """The link is no longer what it was: out of its aggregate at once."""
        self.counters.flaps += self.mux.distributing
        self.standing = DETACHED

    # -- time ----------------------------------------------------------------------------------------------------------

    def expire(self, local: LocalSystem, now: float) -> bool:
        """Let the timers run out whose time has come, but for churn. Returns whether the receive machine moved."""
        if self.hold_until is not None and now >= self.hold_until:
            self.standing = DETACHED
        if self.restore_at is not None and now >= self.restore_at:
            self.well_since = None
        if not isinstance(self.receive, Current | Expired) or now < self.receive.until:
            return False
        silence = Silence(self.receive.until, self.receive.put_off).judge(now, STALL_S, GRACE_S)
        if silence is not None:
            self.receive = replace(self.receive, until=silence.until, put_off=silence.put_off)
            return False
        return self.happen(Happening.TIMEOUT, local, now)

    def step_churn(self, local: LocalSystem, now: float) -> tuple[bool, bool]:
        """Run both churn machines. Returns whether the actor's and the partner's churn began."""
        if isinstance(self.receive, Disabled):
            return False, False
        actor, partner = self.churn.step(self.mux.in_sync, self.partner_sync(local), now)
        self.counters.actor_churns += actor
        self.counters.partner_churns += partner
        return actor, partner

    # -- transmit machine ----------------------------------------------------------------------------------------------

    def transmit(self, local: LocalSystem, now: float) -> bytes:
        """The LACPDU to send now, as a frame."""
        actor = self.actor(local)
        self.transmitter.said = actor
        self.said_again(now)
        return Lacpdu(actor, self.partner_info(local)).frame(self.source)

    def said_again(self, now: float) -> None:
        """What was said last is said now."""
        self.transmitter.spoke(now)
        self.counters.lacpdus_sent += 1


def same_link(one: LacpInfo, other: LacpInfo) -> bool:
    """The same port of the same system, and of the same mind about aggregation (update_Selected)."""
    return not mismatch(one, other)


def mismatch(told: LacpInfo, real: LacpInfo) -> str:
    """First field in which an end of a link is mistaken for another; "" when it is meant."""
    if identity(told) != identity(real):
        return next(name for name in IDENTITY if getattr(told, name) != getattr(real, name))
    return "aggregation" if (told.state ^ real.state) & lacpdu.AGGREGATION else ""
