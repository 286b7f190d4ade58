"""Send and count: what arp_ping and nsna_ping have in common. A ping watcher adds `probe` and `answers`.

A probe goes out every `interval`, the first after `init_wait`, the others on a grid that all ports have in common (multiples of the
interval on the daemon's clock), so that one wake-up serves many ports; the first interval is half to one and a half. At each tick the
interval that ends is judged: answered, then the target is alive; not answered, then one more is missed. More than `missed_max` missed
in a row and the target is dead. teamd learns of the last missed answer an interval late; here, when the next unanswered probe would be
one too many, its answer is awaited only as long as answers from this network have lately taken (at least 20 ms, at most an interval).
So a dead target is found within `missed_max` + 1 intervals and a little, and never before `missed_max`. A dead target is alive again at
the first tick after an answer.

With arp_ping a port probes while it carries traffic, or while no port does; other ports stay silent (unless `send_always`), because frames
with the team's address on an idle port would lead the switch astray. nsna_ping has another address for them, and always probes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import floor
from typing import Any, ClassVar

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.model.desired import Level, Verdict
from pyteamd.model.events import FrameSeen
from pyteamd.model.standstill import Silence
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass
from pyteamd.wire import PeerError
from pyteamd.wire.ethernet import MAC_LENGTH

LEAST_GRACE_S = 0.02
"""An answer on a local network takes far less."""
ENOUGH_GRACE_S = 0.04
"""More than this is given only to networks that are slow themselves."""
DECAY = 0.8
"""How fast the memory of a slow answer fades, per answer."""


@dataclass(frozen=True, slots=True)
class PeriodicConfig:
    """Keys of every ping watcher."""

    interval: int = option(1000, help="Time between probes.", minimum=1, unit="ms", on_bad=OnBad.REFUSE_PORT)
    init_wait: int = option(0, help="Time before the first probe.", minimum=0, unit="ms", on_bad=OnBad.REFUSE_PORT)
    missed_max: int = option(3, help="How many answers in a row may be missed.", minimum=0, on_bad=OnBad.REFUSE_PORT)
    target_host: str | None = option(
        None, help="Whom to ask: an address or a host name.", on_bad=OnBad.REFUSE_PORT, sample="192.0.2.1"
    )
    target_hosts: tuple[str, ...] = option(
        (), help="Several to ask, in place of target_host.", on_bad=OnBad.REFUSE_PORT
    )
    target_policy: str = option(
        "any",
        help="With several targets: any of them, or all, must answer.",
        choices=("any", "all"),
        on_bad=OnBad.REFUSE_PORT,
    )

    def contradictions(self) -> Iterable[tuple[str, str]]:
        """(key, what is wrong) for values that do not go together."""
        if not self.target_host and not self.target_hosts:
            yield "target_host", "missing; give the address or name of a host that answers"
        if self.target_host and self.target_hosts:
            yield "target_hosts", "give target_host or target_hosts, not both"
        for key, hosts in (("target_host", (self.target_host,)), ("target_hosts", self.target_hosts)):
            for host in hosts:
                if host and (problem := problem_of(host, self.check_host)):
                    yield key, problem

    @staticmethod
    def check_host(text: str) -> str:
        """The host if it can be asked; ValueError says what is wrong with it."""
        return text

    @property
    def hosts(self) -> tuple[str, ...]:
        """All targets as written."""
        return self.target_hosts or ((self.target_host,) if self.target_host else ())


def problem_of(host: str, check: Callable[[str], str]) -> str:
    """What a check of `pyteamd.schema.values` has against a host, "" for nothing."""
    try:
        check(host)
    except ValueError as error:
        return f"{host} {error}"
    return ""


def is_address(kind: type[IPv4Address] | type[IPv6Address], host: str) -> bool:
    """Whether a host is written as an address of this kind."""
    try:
        kind(host)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class Target:
    """One host that is asked."""

    address: IPv4Address | IPv6Address
    alive: bool
    answered: bool = False
    """Since the last tick."""
    missed: int = 0
    """Ticks in a row without an answer."""


class Rhythm:
    """When probes are due, and how long the answer that decides is waited for."""

    __slots__ = ("_end", "_interval_s", "_slowest_s", "begun", "next", "sent_at", "silence")

    def __init__(self, interval_s: float) -> None:
        self.next: float | None = None
        """The next probes."""
        self.silence: Silence | None = None
        """The wait for the answer that decides; None while no answer does."""
        self.sent_at: float | None = None
        self.begun = False
        """The first probes were due."""
        self._end: Silence | None = None
        """The end of the interval was noticed late, and put off."""
        self._interval_s = interval_s
        self._slowest_s = 0.0

    def ends(self, now: float) -> bool:
        """Whether the interval is over, and the first probes or the next ones are due."""
        if self.next is None or now < self.next:
            return False
        if not self.begun:  # nobody was asked yet
            return True
        self._end = (self._end or Silence(self.next)).judge(now)
        return self._end is None

    def go_on(self, now: float) -> None:
        """Probes that were due are sent: the next ones are due at a whole number of intervals."""
        due = now if self.next is None else self.next
        if self.begun:  # ticks that were slept through are not made up for
            self.next = due + self._interval_s * (int((now - due) / self._interval_s) + 1)
        else:
            self.next = self._interval_s * (floor(now / self._interval_s + 0.5) + 1)
        self.begun = True

    def answered(self, now: float) -> None:
        """A target gave its first answer to the last probes."""
        if self.sent_at is not None:
            took_s = min(now - self.sent_at, self._interval_s)
            self._slowest_s = max(took_s, self._slowest_s * DECAY)

    def grace_s(self) -> float:
        """How long to wait for the answer that decides: twice as long as answers take, but where they take long, half as long again."""
        patient_s = min(max(LEAST_GRACE_S, 2 * self._slowest_s), ENOUGH_GRACE_S)
        return min(max(patient_s, 1.5 * self._slowest_s), self._interval_s)

    def judges(self, now: float) -> bool:
        """Whether the time of the answer that decides is over; a little later where this process itself was kept waiting."""
        if self.silence is None:
            return False
        self.silence = self.silence.judge(now)
        return self.silence is None

    def deadline(self) -> float | None:
        """When something is due."""
        due = self.next if self._end is None else self._end.until
        return due if due is None or self.silence is None else min(due, self.silence.until)


class Periodic(Watcher):
    """Base of the ping watchers."""

    Config = PeriodicConfig
    frees_kernel_link: ClassVar[bool] = True
    host_fields: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def may_turn(cls, before: Any, after: Any) -> bool:
        """Other targets may be silent, and the same ones may be too slow for another rhythm."""
        return bool(replace(after, init_wait=before.init_wait) != before)

    def __init__(self, config: Any, hosts: Mapping[str, str], up: bool) -> None:
        super().__init__(config, hosts, up)
        self.targets = [Target(ip_address(hosts[host]), up) for host in config.hosts]
        self.drops: Counter[str] = Counter()
        """Frames that looked like an answer and were none, by reason."""
        self._rhythm = Rhythm(config.interval / 1000)
        self._asks = True
        """Whether the last probes were due on this port, too."""

    # -- what a ping watcher is made of --------------------------------------------------------------------------------

    @abstractmethod
    def probe(self, port: PortNow, target: Target) -> bytes:
        """A frame that asks the target."""

    @abstractmethod
    def answers(self, port: PortNow, frame: FrameSeen) -> Iterable[Target]:
        """The targets this frame proves alive. PeerError: malformed, or no answer though it looks like one; counted in `drops`."""

    def may_send(self, port: PortNow) -> bool:
        """Whether this port probes now. (Without an Ethernet address to be answered at, as of a tunnel or InfiniBand, none does.)"""
        return port.enabled or not port.any_enabled

    # -- what happens --------------------------------------------------------------------------------------------------

    def start(self, port: PortNow, now: float) -> None:
        if len(port.mac) != MAC_LENGTH:
            words = f"{port.name}: {self.name} cannot ask: the port's address is not an Ethernet address."
            self.note(Level.WARNING, words, port.name)
        self._rhythm.next = now + self.config.init_wait / 1000
        if self._rhythm.next <= now:
            self.tick(port, now)

    def frame(self, port: PortNow, frame: FrameSeen, now: float) -> None:
        try:
            proven = list(self.answers(port, frame))
        except PeerError as error:
            self.drops[error.reason.value] += 1
            return
        for target in proven:
            if not target.answered:
                self._rhythm.answered(now)
            target.answered = True

    def tick(self, port: PortNow, now: float) -> None:
        rhythm = self._rhythm
        if rhythm.judges(now):
            self._last_word()
        if not rhythm.ends(now):
            return
        if rhythm.begun:
            for target in self.targets:
                self._judge(target)
            self._decide()
        self._asks = self.may_send(port)
        if self._asks and len(port.mac) == MAC_LENGTH:
            for target in self.targets:
                self.send(port.ifindex, self.probe(port, target))
            rhythm.sent_at = now
        rhythm.go_on(now)
        if any(target.alive and target.missed == self.config.missed_max for target in self.targets):
            rhythm.silence = Silence(now + rhythm.grace_s())

    def deadline(self) -> float | None:
        return self._rhythm.deadline()

    def verdict(self) -> Verdict:
        if self.up:
            return Verdict(True, f"{self.name}: answered by {self._names(alive=True)}")
        worst = max((target.missed for target in self.targets), default=0)
        words = f"{self.name}: no answer from {self._names(alive=False)}, {worst} missed of {self.config.missed_max} allowed"
        return Verdict(
            False,
            words if self._asks else f"{words}; while another port is in service this one asks only with send_always",
        )

    def proven(self) -> bool:
        """Some target answered in the present or the last interval: what is behind this port is alive."""
        return any(target.answered or (target.alive and target.missed == 0) for target in self.targets)

    def state(self) -> dict[str, Any]:
        decides = max if self.config.target_policy == "all" else min
        shown: dict[str, Any] = {
            "interval": self.config.interval,
            "init_wait": self.config.init_wait,
            "missed_max": self.config.missed_max,
            "missed": decides((target.missed for target in self.targets), default=0),
            "target_host": str(self.targets[0].address) if self.targets else "",
        }
        if len(self.targets) > 1:
            shown["target_policy"] = self.config.target_policy
            shown["targets"] = {str(t.address): {"up": t.alive, "missed": t.missed} for t in self.targets}
        if self.drops:
            shown["drops"] = dict(sorted(self.drops.items()))
        return shown

    # -- judging -------------------------------------------------------------------------------------------------------

    def _judge(self, target: Target) -> None:
        """The interval of this target ends."""
        if target.answered:
            target.missed = 0
            target.alive = True
        else:
            target.missed += 1
            target.alive = target.alive and target.missed <= self.config.missed_max
        target.answered = False

    def _last_word(self) -> None:
        """The time for the answer that decides is over."""
        for target in self.targets:
            if target.alive and not target.answered and target.missed >= self.config.missed_max:
                target.alive = False
        self._decide()

    def _decide(self) -> None:
        combine = all if self.config.target_policy == "all" else any
        self.set_up(combine(target.alive for target in self.targets))

    def _names(self, alive: bool) -> str:
        return ", ".join(str(target.address) for target in self.targets if target.alive is alive) or "nobody"
