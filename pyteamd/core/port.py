"""One port of the team: what the kernel said of it, its settings, and its link watchers with their combined verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.model.desired import Level, Note, Tap
from pyteamd.model.events import FrameSeen, LinkSeen, PortSeen
from pyteamd.model.incidents import Incident

SPEED_UNKNOWN = 0xFFFFFFFF


class Port:
    """What runners see as `runners.base.PortView`. Changed only by the Team and its parts."""

    __slots__ = (
        "config",
        "kernel_priority",
        "link",
        "notes",
        "original_mac",
        "policy_all",
        "running_since",
        "seen",
        "up",
        "up_since",
        "watchers",
        "written_once",
    )

    def __init__(self, link: LinkSeen, seen: PortSeen, original_mac: bytes, config: Any) -> None:
        """`config`: an instance of the runner's PortConfig."""
        self.link = link
        self.seen = seen
        self.original_mac = original_mac
        self.config = config
        self.kernel_priority: int | None = None
        self.watchers: tuple[Watcher, ...] = ()
        self.policy_all = False
        """link_watch_policy is "all"."""
        self.up = False
        self.up_since: float | None = None
        """When the verdict last changed; None before it ever did."""
        self.running_since: float | None = None
        """When the raw link last changed; None before it ever did."""
        self.written_once = False
        """Its first writes are done; an address or a setting refused before that makes the port unfit."""
        self.notes: list[Note] = []

    @property
    def ifindex(self) -> int:
        """Number of the interface."""
        return self.link.ifindex

    @property
    def running(self) -> bool:
        """Raw link."""
        return self.link.running

    @property
    def settling(self) -> bool:
        """See PortView."""
        return self.link.up and self.link.carrier is True and not self.link.running

    @property
    def unmeasured(self) -> bool:
        """See PortView. The driver hears of a link after others do, and reads its speed then."""
        return self.link.running and not self.seen.linkup

    @property
    def name(self) -> str:
        """Interface name now."""
        return self.link.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the link now, the kernel's own first."""
        return self.link.names

    @property
    def mac(self) -> bytes:
        """Hardware address now."""
        return self.link.mac

    @property
    def speed_mbps(self) -> int:
        """Mbit/s, 0 when down or unknown."""
        speed_mbps = self.seen.speed_mbps  # no second property: asked for each port at each event
        return 0 if speed_mbps == SPEED_UNKNOWN else speed_mbps

    @property
    def speed_unknown(self) -> bool:
        """The driver has link settings but cannot tell the speed."""
        return self.seen.speed_mbps == SPEED_UNKNOWN

    @property
    def duplex(self) -> int:
        """0 half, 1 full, 255 unknown."""
        return self.seen.duplex

    @property
    def priority(self) -> int:
        """The kernel's value where known, else the configured one."""
        if self.kernel_priority is not None:
            return self.kernel_priority
        prio: int = self.config.prio
        return prio

    def start(self, watchers: Iterable[Watcher], policy_all: bool, at: PortNow, now: float) -> None:
        """Begin watching. The verdict starts as the watchers start, without a word; changes are noted."""
        self.watchers = tuple(watchers)
        self.policy_all = policy_all
        self.up = self.combined()
        before = self.verdicts()
        for watcher in self.watchers:
            watcher.start(at, now)
        self.judge(before, at, now)

    def watch_again(self, watchers: Iterable[Watcher], policy_all: bool, at: PortNow, now: float) -> None:
        """Go on with other watchers, which begin with the verdict of those before."""
        self.watchers = tuple(watchers)
        before = self.verdicts()
        for watcher in self.watchers:
            watcher.start(at, now)
        self.judge(before, at, now)
        self.set_policy(policy_all, now)

    def set_policy(self, policy_all: bool, now: float) -> None:
        """Combine the verdicts by this policy from now on."""
        self.policy_all = policy_all
        self._combine(now)

    def carrier(self, at: PortNow, now: float) -> bool:
        """The raw link changed. Returns whether any watcher changed its mind."""
        self.running_since = now
        before = self.verdicts()
        for watcher in self.watchers:
            watcher.carrier(at, now)
        return self.judge(before, at, now)

    def frame(self, at: PortNow, frame: FrameSeen, now: float) -> bool:
        """A frame came in. Returns whether any watcher changed its mind."""
        before = self.verdicts()
        for watcher in self.watchers:
            watcher.frame(at, frame, now)
        return self.judge(before, at, now)

    def tick(self, at: PortNow, now: float) -> bool:
        """Run the watchers whose time has come. Returns whether any changed its mind."""
        before = self.verdicts()
        for watcher in self.watchers:
            deadline = watcher.deadline()
            if deadline is not None and deadline <= now:
                watcher.tick(at, now)
        return self.judge(before, at, now)

    def forgive(self, at: PortNow, now: float) -> None:
        """What the port did is forgotten: it is not held out of service for it."""
        before = self.verdicts()
        for watcher in self.watchers:
            watcher.clear(at, now)
        self.judge(before, at, now)

    def deadline(self) -> float | None:
        """Earliest deadline of the watchers."""
        earliest = None
        for watcher in self.watchers:
            at = watcher.deadline()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    @property
    def probes(self) -> bool:
        """Some watcher asks what is behind the port, and can be answered."""
        return any(type(watcher).proven is not Watcher.proven for watcher in self.watchers)

    def proven(self) -> bool:
        """Something behind the port answered lately."""
        return any(watcher.proven() for watcher in self.watchers)

    def taps(self) -> set[Tap]:
        """Packet sockets the watchers want."""
        return {tap for watcher in self.watchers for tap in watcher.taps()}

    def combined(self, policy_all: bool | None = None) -> bool:
        """The verdict: any or all of the watchers, as `link_watch_policy` says (or would); without watchers up."""
        everyone = self.policy_all if policy_all is None else policy_all
        votes = [watcher.up for watcher in self.voters()]
        return not self.gated and (not votes or (all if everyone else any)(votes))

    def voters(self) -> list[Watcher]:
        """The port's link watches: all watchers but those that can only say no."""
        return [watcher for watcher in self.watchers if not watcher.only_vetoes]

    @property
    def gated(self) -> bool:
        """A watcher that gates service says down: the port carries nothing, whatever the others say."""
        return any(watcher.gates_service and not watcher.up for watcher in self.watchers)

    @property
    def damped(self) -> bool:
        """The link counts as down, also for a runner that follows the raw link: it flapped."""
        return any(watcher.hides_link and not watcher.up for watcher in self.watchers)

    def verdicts(self) -> tuple[bool, ...]:
        """Each watcher's answer."""
        return tuple([watcher.up for watcher in self.watchers])

    def judge(self, before: tuple[bool, ...], at: PortNow, now: float) -> bool:
        """Note what changed since `before` and combine again."""
        after = self.verdicts()
        if after == before:
            return False
        for watcher, was in zip(self.watchers, before, strict=True):
            if watcher.up != was:
                direction = "up" if watcher.up else "down"
                level = Level.INFO if watcher.up else Level.WARNING
                incident = Incident.LINK_BACK if watcher.up else Incident.LINK_LOST
                text, why = f"{self.name}: {watcher.name}-link went {direction}.", watcher.verdict().reason
                self.notes.append(Note(level, text, self.name, incident, why))
        if any(was and not watcher.up for watcher, was in zip(self.watchers, before, strict=True)):
            for watcher in self.watchers:
                watcher.went_down(at, now)
        self._combine(now)
        return True

    def _combine(self, now: float) -> None:
        up = self.combined()
        if up != self.up:
            self.up = up
            self.up_since = now
