"""What a runner is: it decides which ports carry traffic.

A runner is told what happened (`handle`), asked when time alone will matter (`deadline`), and asked what the kernel should look
like (`desired`), which it computes from the ports each time. It remembers only what cannot be computed. It performs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import KW_ONLY
from typing import Any, ClassVar, Protocol

from pyteamd.model.desired import Desired, Frame, Level, Note, Observed, OptionKey, OptionValue, Tap
from pyteamd.model.errors import NOT_SUPPORTED, UserError
from pyteamd.model.events import Event
from pyteamd.model.incidents import Incident
from pyteamd.model.outbox import Outbox
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass

SETTABLE = ("setup.debug_level", "ports.PORT.damping.penalty")
"""Items of the state that a user may set whatever the runner is."""


@dataclass(frozen=True, slots=True)
class NoConfig:
    """Configuration of a runner that has none."""


@dataclass(frozen=True, slots=True)
class PortConfig:
    """Port keys of every runner; a runner with more subclasses it and names it `PortConfig`."""

    prio: int = option(
        0,
        help="Priority of the port; higher is preferred. Written to the kernel, where it can be changed live.",
        minimum=-(2**31),
        maximum=2**31 - 1,
        on_bad=OnBad.REFUSE_PORT,
    )
    queue_id: int | None = option(
        None,
        help="Transmit queue that leads to this port whatever the runner decides (see tc-skbedit).",
        minimum=0,
        on_bad=OnBad.REFUSE_PORT,
    )
    _: KW_ONLY
    set_down: bool = option(
        False, help="Set the link down before it joins, if it is up. Otherwise the daemon waits until it is down."
    )
    steal: bool = option(
        False,
        help="Take the link even from another device that it belongs to: a bridge, a bond, another team. Otherwise it is left there.",
    )

    damping_half_life: int | None = option(
        None,
        path="damping.half_life",
        help="A port that flaps is held out of service; its penalty decays by half in this time. Off when not given.",
        minimum=1,
        maximum=3600,
        unit="s",
        on_bad=OnBad.REFUSE_PORT,
        sample=5,
    )
    damping_penalty: int = option(
        1000,
        path="damping.penalty",
        help="What each time the port goes down costs.",
        minimum=1,
        maximum=100_000,
        on_bad=OnBad.REFUSE_PORT,
    )
    damping_suppress: int = option(
        2000,
        path="damping.suppress",
        help="At this penalty the port is out of service.",
        minimum=1,
        maximum=1_000_000,
        on_bad=OnBad.REFUSE_PORT,
    )
    damping_reuse: int = option(
        1000,
        path="damping.reuse",
        help="At this penalty it may be used again; below `suppress`.",
        minimum=1,
        maximum=1_000_000,
        on_bad=OnBad.REFUSE_PORT,
    )
    damping_max: int | None = option(
        None,
        path="damping.max",
        help="Longest time out of service after the last flap; four half-lives when not given.",
        minimum=1,
        maximum=86_400,
        unit="s",
        on_bad=OnBad.REFUSE_PORT,
    )

    def contradictions(self) -> Iterable[tuple[str, str]]:
        """(key, what is wrong) for values that do not go together."""
        if self.damping_half_life is not None and self.damping_reuse >= self.damping_suppress:
            yield "damping.reuse", f"must be below damping.suppress ({self.damping_suppress})"


class PortView(Protocol):
    """A port as runners may see it: read only, present ports only."""

    @property
    def ifindex(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]:
        """All names of the link, the kernel's own first."""
        ...

    @property
    def mac(self) -> bytes:
        """Hardware address now."""
        ...

    @property
    def original_mac(self) -> bytes:
        """Last address seen without a master, else the permanent one, else b""."""
        ...

    @property
    def running(self) -> bool:
        """Raw link: administratively up and operational, before any watcher."""
        ...

    @property
    def settling(self) -> bool:
        """It has a carrier and is not operational yet: the kernel gets round to that in a moment."""
        ...

    @property
    def unmeasured(self) -> bool:
        """It is operational, and its speed and duplex are told in a moment."""
        ...

    @property
    def up(self) -> bool:
        """The link watchers' combined verdict."""
        ...

    @property
    def gated(self) -> bool:
        """A watcher that gates service (bfd) says down: no traffic, also under runners that heed no verdicts."""
        ...

    @property
    def damped(self) -> bool:
        """The link flapped and counts as down (port key `damping`)."""
        ...

    @property
    def speed_mbps(self) -> int:
        """0 when down or unknown."""
        ...

    @property
    def speed_unknown(self) -> bool:
        """The driver has link settings but cannot tell the speed (4294967295 in the kernel); `speed_mbps` is 0 then."""
        ...

    @property
    def duplex(self) -> int:
        """0 half, 1 full, 255 unknown, as the kernel says it."""
        ...

    @property
    def priority(self) -> int:
        """The kernel's `priority` option where known, else the configured prio."""
        ...

    @property
    def config(self) -> Any:
        """An instance of the runner's PortConfig."""
        ...


class Supposed:
    """A port as it is, but with other settings, or another verdict of its watchers."""

    def __init__(self, view: PortView, config: Any, up: bool | None = None) -> None:
        self._view, self.config = view, config
        self.up = view.up if up is None else up

    @property
    def priority(self) -> int:
        """The configured one where it changes, else what the port has."""
        return self._view.priority if self.config.prio == self._view.config.prio else self.config.prio

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


@dataclass(slots=True)
class TeamView:
    """The team as runners may see it. `ports` is in ifindex order."""

    ifindex: int
    mac: bytes
    up: bool
    """Administratively up."""
    ports: Mapping[int, PortView]
    observed: Observed
    adopted: bool
    """The device existed, and may have had ports, when the daemon started (`-o`)."""
    awaited: Collection[int] = ()
    """Ports of the kernel that have a link and are to be ours as soon as the names of their watchers' hosts are resolved."""
    name: str = ""
    """Name by which people ask for the team, even if its device was renamed."""
    order: Collection[str] = ()
    """Names of the links that are to be ports, in the order in which they are added."""
    worked_out: dict[str, Any] | None = None
    """Of a view made to judge one change of the configuration: what the runner worked out for its answers about it. Else None."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a port carries traffic, or the first thing that keeps it from it."""

    carrying: bool
    clause: str
    """Continues a sentence that begins with the port's name and a colon; how long it has been so is said behind it."""
    hint: str = ""
    """What would change it, or what to check."""
    since: float | None = None
    """On the clock of `now`; None when not known."""
    rest: str = ""
    """What follows the clause, with the punctuation between them."""

    @property
    def text(self) -> str:
        """The sentence without its time."""
        return self.clause + self.rest


class Runner:
    """Base class; every method has a default."""

    name: ClassVar[str]
    mode: ClassVar[str]
    """Mode of the kernel driver."""
    has_partners: ClassVar[bool] = False
    """The other end remembers us (lacp): a snapshot hides a crash from it, and explain says where the cable of an idle port leads."""
    Config: ClassVar[type] = NoConfig
    PortConfig: ClassVar[type[PortConfig]] = PortConfig
    summary: ClassVar[str] = ""
    """One sentence for help and documentation."""
    heeds_watchers: ClassVar[bool] = True
    """A port whose link watchers say down is not used. If false, the kernel decides by the raw link, or by our verdict where a
    watcher has `frees_kernel_link`."""

    settable: ClassVar[tuple[str, ...]] = ()
    """Items of the state that a user may set: `runner.ITEM`, or `ports.PORT.runner.ITEM` for one that each port has."""

    sets_carrier: ClassVar[bool] = False
    """The runner decides about the carrier of the team, not the driver."""
    faults_are_fatal: ClassVar[bool] = False
    """In tests and simulations a fault of ours is raised; the daemon survives one of a port."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.revision = 0
        """Counts changes of what `snapshot` tells."""
        self.outbox = Outbox()

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        """Insert the defaults teamd inserts into the stored configuration; `tree` is the root object."""

    def settings(self) -> Mapping[OptionKey, OptionValue]:
        """Options of the team to be written once, when it is set up; a person may change them later."""
        return {}

    def announcements(self) -> Iterable[str]:
        """Lines for the log when the team is set up."""
        return ()

    def handle(self, event: Event, team: TeamView, now: float) -> bool | None:
        """Called after the Team digested `event` and the watchers answered; ports and verdicts are those of now.

        False: nothing that `desired` is made of has changed. Anything else: it may have.
        """
        return None

    def expects(self, event: Event, due: bool, now: float) -> bool:
        """Whether a frame or a Tick is one of those that come again and again and change nothing; then it is digested with that.

        Asked before `handle`, and before watchers hear the frame: they have heard the same before. `due`: `deadline` has come.
        """
        return False

    def deadline(self) -> float | None:
        """Next moment at which time alone changes something; a Tick is handled then."""
        return None

    def desired(self, team: TeamView) -> Desired:
        """What the kernel should look like, as far as this runner has an opinion. Computed, never stored."""
        return Desired()

    def taps(self, port: PortView) -> tuple[Tap, ...]:
        """Packet sockets wanted on this port."""
        return ()

    def situation(self, team: TeamView) -> Hashable | None:
        """All that is remembered here, and of the ports is not in their links and verdicts, and that `desired` would follow from if a link
        were lost; None if that is not to be told in short."""
        return None

    def state(self, team: TeamView) -> dict[str, Any] | None:
        """The team-level `runner` object of the state, None for none."""
        return None

    def port_state(self, port: PortView, team: TeamView) -> dict[str, Any] | None:
        """The `runner` object of a port in the state, None for none."""
        return None

    def machines(self, port: PortView) -> Mapping[str, str]:
        """The machines this runner has for a port, by name, each with the state it is in; for pictures of what happened."""
        return {}

    def set(self, path: str, value: str, team: TeamView, now: float) -> None:
        """Set a state item. `path` is below `runner.` ("active_port") or below the port's ("ports.IFINDEX.…").

        Asked for what is in `settable` alone. Raises UserError.
        """
        raise UserError(*NOT_SUPPORTED, f"with {self.name}, nothing of the runner can be set")

    def explain(self, port: PortView, team: TeamView, now: float) -> Reason:
        """Why this port carries traffic or not. Asked only where link, link watchers (if they are heeded) and kernel are not in the way."""
        return Reason(True, "carries traffic")

    def explain_carrier(self) -> str:
        """Why the team is to have no carrier; asked only when `desired` says so."""
        return "no port is in service"

    def broken(self, team: TeamView) -> list[str]:
        """Invariants of this runner that do not hold, one sentence each."""
        return []

    def leave(self, team: TeamView, now: float) -> None:
        """The daemon stops in good order: all ports are about to be released."""

    def leave_port(self, ifindex: int, team: TeamView, now: float) -> None:
        """This port is about to be released."""

    def snapshot(self, now: float) -> dict[str, Any] | None:
        """What a successor of this process should know after a crash, JSON-ready; None for nothing.

        `revision` grows whenever the answer changes in a way that matters: then it has to be saved again.
        """
        return None

    def resume(self, snapshot: Mapping[str, Any], age_s: float, now: float) -> None:
        """Go on from a predecessor's snapshot; call it before the first `handle`.

        `age_s`: time since the predecessor's last sign of life, on a clock that counts suspend (CLOCK_BOOTTIME); what is
        too old, malformed or about another port is ignored.
        """

    def note(
        self, level: Level, text: str, port: str = "", incident: Incident | None = None, *, fault: bool = False
    ) -> None:
        """Say something once. `incident`, `fault`: see Note."""
        self.outbox.notes.append(Note(level, text, port, incident, fault=fault))

    def send(self, ifindex: int, octets: bytes) -> None:
        """Queue a frame for this port."""
        self.outbox.frames.append(Frame(ifindex, octets))

    def disruption(self, name: str, config: Any, ports: Mapping[int, Any], team: TeamView) -> str:
        """What is interrupted when this field of our configuration becomes that of `config`: "none", or "team".

        `ports`: the settings they will have, by ifindex. `team`: with the verdicts that its ports will have, as far as that is known; one
        that other watchers will judge counts as up. Both without the ports that leave with the same change.
        """
        return "none"

    def port_disruption(self, ifindex: int, name: str, config: Any, ports: Mapping[int, Any], team: TeamView) -> str:
        """What is interrupted when this field of a port's settings becomes that of `ports`: "none", "port", or "team"."""
        return "none"

    def verdict_disruption(self, moved: Collection[int], ports: Mapping[int, Any], team: TeamView) -> str:
        """What is interrupted when the verdicts of these ports turn round: "none", "port", or "team" where traffic leaves another one."""
        return "port" if moved else "none"

    def arrival(
        self, port: Any, config: Any, ports: Mapping[int, Any], team: TeamView, coming: int = 1
    ) -> tuple[str, str]:
        """What is interrupted ("none", "team") when a port with the settings `port` comes, and in words what happens then.

        "none" with words: whether anything is interrupted depends on what nobody knows before; the words say on what. `coming`: how many
        ports come with the same change, this one among them. `config`, `ports`, `team`: as for `disruption`.
        """
        return "none", ""

    def departure(self, ifindex: int, config: Any, ports: Mapping[int, Any], team: TeamView) -> str:
        """What is interrupted when this port leaves: "port", or "team" where others are used from then on.

        `config`, `ports`, `team`: as for `disruption`.
        """
        return "port"

    def reconfigure(self, config: Any, team: TeamView, now: float) -> None:
        """Go on with another configuration; that of the ports has been changed already. `settings` is asked again afterwards."""
        self.config = config

    def choice(self) -> str:
        """What was chosen among equals or by a person, "" for nothing: neither the configuration nor the kernel tells it."""
        return ""

    def choose_again(self, choice: str, team: TeamView, now: float) -> None:
        """A change of the configuration is taken back: choose as before, as far as that is still right."""
