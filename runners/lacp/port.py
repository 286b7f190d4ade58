"""One port's LACP machines: receive, periodic, mux, transmit, churn (IEEE 802.1AX-2014, 6.4).

How it works: everything that happens to one port on LACP's account is in this file; which state follows which is looked up in
`lacp_tables`, and which aggregate is the right one is decided elsewhere and comes in as `Selection`. A port remembers the states
of its machines, what the partner last said of itself (`partner`) and of us (`told`), and what we last said (`said`). All else is
computed when it is needed: our own part of an LACPDU (`actor`), the partner's as we repeat it (`partner_info`), whether the
partner's SYNCHRONIZATION counts, and whether an LACPDU is due, which is a comparison of what we would say with what we said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pyteamd.runners.lacp.machines import (
    AGGREGATE_WAIT_S,
    BECOMES_COUPLED,
    BECOMES_INDEPENDENT,
    CHURN,
    CHURN_DETECTION_S,
    COUPLED,
    INDEPENDENT,
    RECEIVE,
    SHORT_TIMEOUT_S,
    Churn,
    Churned,
    Current,
    Defaulted,
    Disabled,
    Drift,
    Expired,
    Happening,
    Monitor,
    Mux,
    MuxInput,
    NoChurn,
    Pace,
    Receive,
    next_mux,
    periodic,
)
from pyteamd.runners.lacp.selection import LagId
from pyteamd.runners.lacp.system import (
    LACPDUS_PER_S,
    MARKERS_PER_S,
    OTHER_SPEED,
    SPEED_CODES,
    Counters,
    Link,
    LocalSystem,
    RateLimit,
)
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

NO_PARTNER = LacpInfo(0, bytes(6), 0, 0, 0, 0)
DEFAULT_PARTNER = replace(NO_PARTNER, state=lacpdu.TIMEOUT)
"""What is assumed of a silent partner: it wants to be spoken to fast, as with teamd."""

STALL_S = 0.5
GRACE_S = 0.1
"""A timeout noticed so late says that this process stood still. What came meanwhile is in the socket and is read first."""

DISABLED = Disabled()
NO_CHURN = NoChurn()

MUX_BITS = {
    mux: (lacpdu.SYNCHRONIZATION if mux.in_sync else 0)
    | (lacpdu.COLLECTING if mux.collecting else 0)
    | (lacpdu.DISTRIBUTING if mux.distributing else 0)
    for mux in Mux
}

HEEDED_BITS = lacpdu.ACTIVITY | lacpdu.TIMEOUT | lacpdu.SYNCHRONIZATION | lacpdu.AGGREGATION
"""Of our state, what the partner must have right; being wrong about the rest is no reason to speak (update_NTT)."""


@dataclass(slots=True)
class LacpPort:
    """One port. `number`, `source` and the priorities and keys are what LACPDUs say of it."""

    ifindex: int
    name: str
    number: int
    source: bytes
    """Source address of frames: the port's own, not the team's."""
    priority: int = 255
    admin_key: int = 0
    wait_to_restore_s: float = 0.0
    kernel_priority: int = 0
    sticky: bool = False
    link: Link = Link.DOWN
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
    mux: Mux = Mux.DETACHED
    lag: LagId | None = None
    """The aggregate the mux machine waits for or is attached to."""
    wait_since: float = 0.0
    wait_until: float = 0.0
    ready_at: float = 0.0
    """When those it waits for are ready too; set by the selection logic."""
    failed: bool = False
    """It was in use and went bad: it has to wait before it is used again."""
    restore_at: float | None = None
    """End of that wait."""
    served_since: float | None = None
    """When it last went in or out of service, or joined."""
    hold_until: float | None = None
    """Found in service without a word about its partner: leave the kernel's setting alone and listen until then."""
    said: LacpInfo | None = None
    said_at: float = 0.0
    ntt: bool = False
    """Need to transmit though nothing changed on our side."""
    limit: RateLimit = field(default_factory=lambda: RateLimit(LACPDUS_PER_S))
    marker_limit: RateLimit = field(default_factory=lambda: RateLimit(MARKERS_PER_S))
    complained_at: float = float("-inf")
    """When the log last told of a malformed LACPDU."""
    not_complained: int = 0
    """Malformed ones since that the log did not tell of."""
    actor_churn: Churn = NO_CHURN
    partner_churn: Churn = NO_CHURN
    counters: Counters = field(default_factory=Counters)

    # -- computed ------------------------------------------------------------------------------------------------------

    def key(self, local: LocalSystem) -> int:
        """Operational key."""
        if not local.keys_by_speed:
            return self.admin_key
        code = SPEED_CODES.get(self.speed_mbps, OTHER_SPEED)
        return (self.admin_key << 6) & 0xFFC0 | code << 1 | 1

    def actor(self, local: LocalSystem) -> LacpInfo:
        """What we say of ourselves now."""
        state = lacpdu.AGGREGATION | MUX_BITS[self.mux]
        state |= lacpdu.ACTIVITY if local.active else 0
        state |= lacpdu.TIMEOUT if local.fast else 0
        match self.receive:
            case Expired():
                state |= lacpdu.EXPIRED
            case Defaulted():
                state |= lacpdu.DEFAULTED
        return LacpInfo(local.priority, local.mac, self.key(local), self.priority, self.number, state)

    def matched(self, local: LocalSystem) -> bool:
        """The partner means this very port when it speaks of us: it cannot know more than what we last said."""
        return self.told is not None and not mismatch(self.told, self.said or self.actor(local))

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
        """The partner bears our own identifier: a loop, or another system with the same address."""
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
        """The aggregate it belongs to: it keeps its place while expired, but cannot come in then."""
        attached = isinstance(self.receive, Expired) and self.mux.in_sync
        return self.lag_id(local) if attached or isinstance(self.receive, Current) else None

    def restoring(self, now: float) -> bool:
        """It is well again after a failure, but not for long enough."""
        return self.restore_at is not None and now < self.restore_at

    def periodic(self, local: LocalSystem) -> Pace:
        """How often to speak."""
        enabled = not isinstance(self.receive, Disabled)
        short = isinstance(self.receive, Expired) or bool(self.partner.state & lacpdu.TIMEOUT)
        return periodic(enabled, local.active, bool(self.partner.state & lacpdu.ACTIVITY), short)

    def due(self, local: LocalSystem) -> float | None:
        """When the next LACPDU is to be sent; a moment in the past means now, None never."""
        pace = self.periodic(local)
        if pace.value is None or self.hold_until is not None:
            return None
        news = self.ntt or self.said != self.actor(local)
        return self.limit.free_at() if news else max(self.said_at + pace.value, self.limit.free_at())

    def deadline(self, local: LocalSystem, now: float) -> float | None:
        """Next moment at which time alone changes something."""
        moments = [self.due(local), self.hold_until, self.restore_at]
        moments += [timer.until for timer in (self.actor_churn, self.partner_churn) if isinstance(timer, Monitor)]
        if isinstance(self.receive, Current | Expired):
            moments.append(self.receive.until)
        if self.mux is Mux.WAITING and self.ready_at > now:
            moments.append(self.ready_at)
        return min((moment for moment in moments if moment is not None), default=None)

    # -- receive machine -----------------------------------------------------------------------------------------------

    def set_link(self, link: Link, local: LocalSystem, now: float) -> bool:
        """The link can or cannot carry LACP from now on. Returns whether the receive machine moved."""
        self.link = link
        if link is Link.UP:
            return self.happen(Happening.LINK_UP, local, now)
        if link is not Link.DOWN:
            self.unselect()
        return self.happen(Happening.LINK_DOWN, local, now)

    def hear(self, pdu: Lacpdu, source: bytes, local: LocalSystem, now: float) -> bool:
        """An LACPDU came. Returns False when the link cannot carry LACP and it was ignored."""
        if (type(self.receive), Happening.PDU) not in RECEIVE:
            return False
        self.hold_until = None
        if not same_link(pdu.actor, self.partner):
            self.unselect()
        self.told = pdu.partner
        actor = self.actor(local)
        if mismatch(pdu.partner, actor) or (pdu.partner.state ^ actor.state) & HEEDED_BITS:
            self.ntt = True
        self.partner = pdu.actor
        self.heard_from = source
        if self.failed:
            self.failed = False
            self.restore_at = now + self.wait_to_restore_s
        return self.happen(Happening.PDU, local, now)

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
        if target is Disabled:
            self.receive = Disabled()
            self.said, self.ntt, self.hold_until = None, False, None
            self.actor_churn = self.partner_churn = NoChurn()
        elif target is Current:
            self.receive = Current(now + local.timeout_s)
        elif target is Expired:
            self.receive = Expired(now + SHORT_TIMEOUT_S)
        else:
            self.receive = Defaulted()
            self.unselect()
            self.partner, self.told = DEFAULT_PARTNER, None
        return True

    def _fail(self) -> None:
        if self.wait_to_restore_s and (self.mux.in_sync or self.restore_at is not None):
            self.failed, self.restore_at = True, None
            self.unselect()

    # -- mux machine ---------------------------------------------------------------------------------------------------

    def set_mode(self, independent: bool) -> None:
        """What the kernel can do became known or changed."""
        if independent != self.independent:
            self.independent = independent
            self.mux = (BECOMES_INDEPENDENT if independent else BECOMES_COUPLED).get(self.mux, self.mux)

    def step_mux(self, now: MuxInput, at: float, lag: LagId | None) -> bool:
        """One step of the mux machine towards `lag`. Returns whether it moved."""
        target = next_mux(INDEPENDENT if self.independent else COUPLED, self.mux, now)
        if target is None:
            return False
        if target is Mux.WAITING:
            self.lag = lag
            self.wait_since = at
            self.wait_until = self.ready_at = at + AGGREGATE_WAIT_S
        elif target is Mux.ATTACHED:
            self.restore_at = None
        self.set_mux(target)
        return True

    def set_mux(self, target: Mux) -> None:
        """Enter a mux state."""
        self.counters.flaps += self.mux.distributing and not target.distributing
        self.mux = target
        if target is Mux.DETACHED:
            self.lag = None

    def unselect(self) -> None:
        """The link is no longer what it was: out of its aggregate at once."""
        self.set_mux(Mux.DETACHED)

    # -- time ----------------------------------------------------------------------------------------------------------

    def expire(self, local: LocalSystem, now: float) -> bool:
        """Let the timers run out whose time has come, but for churn. Returns whether the receive machine moved."""
        if self.hold_until is not None and now >= self.hold_until:
            self.hold_until = None
        if self.restore_at is not None and now >= self.restore_at:
            self.restore_at = None
        if not isinstance(self.receive, Current | Expired) or now < self.receive.until:
            return False
        if now > self.receive.until + STALL_S:
            self.receive = replace(self.receive, until=now + GRACE_S)
            return False
        return self.happen(Happening.TIMEOUT, local, now)

    def step_churn(self, local: LocalSystem, now: float) -> tuple[bool, bool]:
        """Run both churn machines. Returns whether the actor's and the partner's churn began."""
        if isinstance(self.receive, Disabled):
            return False, False
        before = self.actor_churn, self.partner_churn
        self.actor_churn = drift(self.actor_churn, self.mux.in_sync, now)
        self.partner_churn = drift(self.partner_churn, self.partner_sync(local), now)
        actor = isinstance(self.actor_churn, Churned) and self.actor_churn != before[0]
        partner = isinstance(self.partner_churn, Churned) and self.partner_churn != before[1]
        self.counters.actor_churns += actor
        self.counters.partner_churns += partner
        return actor, partner

    # -- transmit machine ----------------------------------------------------------------------------------------------

    def transmit(self, local: LocalSystem, now: float) -> bytes:
        """The LACPDU to send now, as a frame."""
        self.said = self.actor(local)
        self.said_at = now
        self.ntt = False
        self.limit.use(now)
        self.counters.lacpdus_sent += 1
        return Lacpdu(self.said, self.partner_info(local)).frame(self.source)


def drift(churn: Churn, in_sync: bool, now: float) -> Churn:
    """Next state of a churn machine."""
    what = Drift.IN_SYNC if in_sync else Drift.OUT_OF_SYNC
    if not in_sync and isinstance(churn, Monitor) and now >= churn.until:
        what = Drift.TIMEOUT
    target = CHURN.get((type(churn), what))
    if target is None:
        return churn
    if target is Monitor:
        return Monitor(now + CHURN_DETECTION_S)
    return NO_CHURN if target is NoChurn else Churned()


def same_link(one: LacpInfo, other: LacpInfo) -> bool:
    """The same port of the same system, and of the same mind about aggregation (update_Selected)."""
    return not mismatch(one, other)


def mismatch(told: LacpInfo, real: LacpInfo) -> str:
    """First field in which an end of a link is mistaken for another; "" when it is meant."""
    for name in ("system", "system_priority", "key", "port", "port_priority"):
        if getattr(told, name) != getattr(real, name):
            return name
    return "aggregation" if (told.state ^ real.state) & lacpdu.AGGREGATION else ""
