"""LACP systems and the cables between them on virtual time: two or more real runners, or one and a scripted partner.

A heap of moments drives everything; with the same seed a run is the same to the last frame. A Box is a runner with the small part of
a kernel it needs: options, addresses and carrier that survive the runner. A Cable loses, doubles, delays and re-orders. A Peer says
exactly what a test tells it to.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from pyteamd.core.team import REPEATED
from pyteamd.model.desired import Observed, OptionKey
from pyteamd.model.events import CarrierSeen, ConfigApply, Event, FrameSeen, LinkSeen, OptionSeen, Resync, Stop, Tick
from pyteamd.runners.base import TeamView
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.runner import Lacp

TEAM = 9
LIMIT = 3
NEVER = float("inf")


@dataclass
class FakePort:
    """A PortView with nothing behind it."""

    ifindex: int
    mac: bytes
    config: LacpPortConfig = field(default_factory=LacpPortConfig)
    running: bool = False
    speed_mbps: int = 1000
    speed_unknown: bool = False
    duplex: int = 1
    up: bool = True
    name: str = ""
    settling: bool = False
    unmeasured: bool = False
    gated: bool = False
    damped: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or f"eth{self.ifindex}"
        self.names = (self.name,)
        self.original_mac = self.mac

    @property
    def priority(self) -> int:
        return self.config.prio


@dataclass
class Cable:
    """Joins two ends (node, ifindex). `loss` and `double` are probabilities, delays in seconds."""

    ends: tuple[tuple[Any, int], tuple[Any, int]]
    up: bool = False
    loss: float = 0.0
    double: float = 0.0
    delay: float = 0.001
    jitter: float = 0.0
    generation: int = 0

    def other(self, node: Any, ifindex: int) -> tuple[Any, int]:
        return self.ends[1] if self.ends[0] == (node, ifindex) else self.ends[0]


class World:
    """The clock, the cables, and all who live between them."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self.nodes: list[Any] = []
        self.cables: dict[tuple[int, int], Cable] = {}
        self.sent: list[tuple[float, str, int]] = []
        self.watches: list[Callable[[Any, int], None]] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            moment = self._heap[0][0] if self._heap else NEVER
            earliest, first = NEVER, None
            for node in self.nodes:
                due = node.deadline()
                if due is not None and due < earliest:
                    earliest, first = due, node
            if moment > until and earliest > until:
                break
            self.now = max(self.now, min(moment, earliest))
            if first is not None and earliest < moment:
                first.tick()
            else:
                heapq.heappop(self._heap)[2]()
        self.now = until

    # -- cables --------------------------------------------------------------------------------------------------------

    def connect(self, one: tuple[Any, int], other: tuple[Any, int], plug: bool = True, **quality: float) -> Cable:
        """Lay a cable; what was in these sockets before is pulled."""
        for node, ifindex in (one, other):
            self.disconnect(node, ifindex)
        cable = Cable((one, other), **quality)  # type: ignore[arg-type]
        self.cables[id(one[0]), one[1]] = self.cables[id(other[0]), other[1]] = cable
        if plug:
            self.set_link(cable, True)
        return cable

    def disconnect(self, node: Any, ifindex: int) -> None:
        """Pull the cable out at both ends."""
        cable = self.cables.get((id(node), ifindex))
        if cable is not None:
            self.set_link(cable, False)
            for end, index in cable.ends:
                del self.cables[id(end), index]

    def set_link(self, cable: Cable, up: bool) -> None:
        """The link comes or goes at both ends at once; a cable that was taken away no longer matters."""
        if cable.up != up and self.cables.get((id(cable.ends[0][0]), cable.ends[0][1])) is cable:
            cable.up = up
            cable.generation += 1
            for node, ifindex in cable.ends:
                node.set_running(ifindex, up)

    def transmit(self, node: Any, ifindex: int, octets: bytes) -> None:
        """A node sends."""
        self.sent.append((self.now, node.name, ifindex))
        for watch in self.watches:
            watch(node, ifindex)
        cable = self.cables.get((id(node), ifindex))
        if cable is None or not cable.up:
            return
        target, index = cable.other(node, ifindex)
        copies = 1 + (self.random.random() < cable.double)
        generation = cable.generation
        for _ in range(copies):
            if self.random.random() >= cable.loss:
                delay = cable.delay + self.random.random() * cable.jitter
                self.at(delay, lambda: self._arrive(cable, generation, target, index, octets))

    def _arrive(self, cable: Cable, generation: int, target: Any, ifindex: int, octets: bytes) -> None:
        """Frames on the way when the link went down may still be in the receiver's socket, but not when it is up again."""
        if cable.generation == generation or not target.ports[ifindex].running:
            target.frame(ifindex, octets)

    def pace(self, node: Any, ifindex: int, since: float) -> list[float]:
        """When a port sent, from a moment on."""
        return [at for at, name, index in self.sent if name == node.name and index == ifindex and at >= since]


class Box:
    """One system under test: a runner, and the kernel state that outlives it."""

    def __init__(
        self,
        world: World,
        name: str,
        ports: Iterable[int] | Mapping[int, LacpPortConfig],
        *,
        mac: bytes = b"",
        independent: bool = False,
        **config: Any,
    ) -> None:
        self.world, self.name = world, name
        self.mac = mac or bytes((2, 0, 0, 0, 0, ord(name[0])))
        self.config = LacpConfig(**({"fast_rate": True} | config))
        settings = ports if isinstance(ports, Mapping) else dict.fromkeys(ports, LacpPortConfig())
        self.ports = {i: FakePort(i, self.mac[:-1] + bytes((i & 0xFF,)), s) for i, s in sorted(settings.items())}
        self.observed = Observed()
        for ifindex in self.ports:
            for option in ("enabled", "rx_enabled", "tx_enabled")[: 3 if independent else 1]:
                self.observed.options[OptionKey(option, ifindex)] = True
        self.view = TeamView(TEAM, self.mac, True, dict(self.ports), self.observed, False)
        self.runner: Lacp | None = None
        self.notes: list[tuple[float, str]] = []
        self.writes: list[tuple[float, OptionKey | str, Any]] = []
        self.file: tuple[dict[str, Any], float] | None = None
        self.identities: dict[bytes, float] = {}
        """Each it had, and when it was last seen to have it."""
        self.checks: list[Callable[[Box], None]] = []
        self._deadline: float | None = None
        world.nodes.append(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, resume: bool = False, adopted: bool = False) -> None:
        """Start the daemon. `resume`: with what the last one left behind."""
        self.runner = Lacp(self.config)
        self.view.adopted = adopted or resume
        if resume and self.file is not None:
            snapshot, alive_at = self.file
            self.runner.resume(snapshot, self.world.now - alive_at, self.world.now)
        self.handle(Resync((), (), ()))

    def kill(self) -> None:
        """SIGKILL: the kernel stays as it is."""
        if self.runner is not None:
            self.file = (self.runner.snapshot(self.world.now), self.world.now)
        self.runner = None

    def stop(self) -> None:
        """Leave in good order."""
        assert self.runner is not None
        self.runner.leave(self.view, self.world.now)
        self.handle(Stop(False))
        self.runner = None

    def handle(self, event: Event, judged: bool = False) -> None:
        """What the Team does with an event, in short. Checks come after all but a frame of which nothing came.

        `judged`: a watcher has changed its mind, which is not what comes again and again.
        """
        if self.runner is None:
            return
        self._remember()
        now = self.world.now
        due = self._deadline is not None and self._deadline <= now
        expected = type(event) in REPEATED and not judged and self.runner.expects(event, due, now)
        moved = not expected and self.runner.handle(event, self.view, now) is not False
        if moved:
            self._apply()
        self._remember()
        frames, notes = self.runner.outbox.take()
        self.notes += [(self.world.now, note.text) for note in notes]
        for frame in frames:
            self.world.transmit(self, frame.port, frame.octets)
        if moved or frames or notes or type(event) is not FrameSeen:
            for check in self.checks:
                check(self)
        deadline = self._deadline = self.runner.deadline()
        assert deadline is None or deadline > self.world.now, f"{self.name}: deadline in the past after {event}"

    def _remember(self) -> None:
        assert self.runner is not None
        self.identities[self.runner._group.local.mac] = self.world.now

    def _apply(self) -> None:
        assert self.runner is not None
        desired = self.runner.desired(self.view)
        for key, value in desired.options.items():
            if self.observed.options.get(key) != value:
                self.observed.options[key] = value
                self.writes.append((self.world.now, key, value))
        for ifindex, mac in desired.macs.items():
            if ifindex in self.ports and self.ports[ifindex].mac != mac:
                self.ports[ifindex].mac = mac
        if desired.carrier is not None and desired.carrier != self.observed.carrier:
            self.observed.carrier = desired.carrier
            self.writes.append((self.world.now, "carrier", desired.carrier))

    # -- what happens to it --------------------------------------------------------------------------------------------

    def set_running(self, ifindex: int, running: bool) -> None:
        self.ports[ifindex].running = running
        self.handle(CarrierSeen(ifindex, running))

    def frame(self, ifindex: int, octets: bytes) -> None:
        if ifindex in self.view.ports:
            ethertype = int.from_bytes(octets[12:14])
            self.handle(FrameSeen(ifindex, octets[:6], octets[6:12], ethertype, None, octets[14:]))

    def set_up(self, up: bool) -> None:
        """Set the team device up or down."""
        self.view.up = up
        self.handle(self._team_link())

    def set_mac(self, mac: bytes) -> None:
        """Change the address of the team device."""
        self.view.mac = mac
        self.handle(self._team_link())

    def _team_link(self) -> LinkSeen:
        return LinkSeen(TEAM, "team0", self.view.mac, up=self.view.up)

    def present(self, *ifindexes: int) -> None:
        """Only these are ports of the team now."""
        self.view.ports = {i: port for i, port in self.ports.items() if i in ifindexes}
        self.handle(Resync((), (), ()))

    def option(self, name: str, ifindex: int, value: bool) -> None:
        self.observed.options[OptionKey(name, ifindex)] = value
        self.handle(OptionSeen(OptionKey(name, ifindex), value))

    def configure(self, ports: Mapping[int, Mapping[str, Any]] | None = None, **changes: Any) -> str:
        """`config apply` with these keys changed. Returns what is said beforehand to be interrupted: "none", "port" or "team"."""
        told = set()
        new = replace(self.config, **changes)
        future = {i: replace(port.config, **(ports or {}).get(i, {})) for i, port in self.view.ports.items()}
        if self.runner is not None:
            self._remember()
            told = {
                self.runner.disruption(name, new, future, self.view)
                for name in changes
                if getattr(self.config, name) != changes[name]
            }
        for ifindex, settings in (ports or {}).items():
            port = self.ports[ifindex]
            if self.runner is not None:
                told |= {
                    self.runner.port_disruption(ifindex, name, new, future, self.view)
                    for name in settings
                    if getattr(port.config, name) != settings[name]
                }
        for ifindex, settings in (ports or {}).items():
            self.ports[ifindex].config = replace(self.ports[ifindex].config, **settings)
        self.config = new
        if self.runner is not None:
            self.runner.reconfigure(new, self.view, self.world.now)
            self.handle(ConfigApply(""))
        return "team" if "team" in told else "port" if "port" in told else "none"

    def deadline(self) -> float | None:
        return self._deadline if self.runner else None

    def tick(self) -> None:
        self.handle(Tick())

    # -- questions -----------------------------------------------------------------------------------------------------

    def state(self, ifindex: int) -> dict[str, Any]:
        """The port's part of the state."""
        assert self.runner is not None
        state = self.runner.port_state(self.ports[ifindex], self.view)
        assert state is not None
        return state

    def rx(self, ifindex: int) -> str:
        """Name of the receive state."""
        return str(self.state(ifindex)["state"])

    def actor_state(self, ifindex: int) -> int:
        """The state octet we send."""
        return int(self.state(ifindex)["actor_lacpdu_info"]["state"])

    def serving(self, *, receive: bool = False) -> set[int]:
        """Ports the kernel lets traffic through."""
        name = "rx_enabled" if receive else "tx_enabled"
        options = self.observed.options
        return {i for i in self.ports if options.get(OptionKey(name, i), options.get(OptionKey("enabled", i)))}

    def blocked(self, ifindex: int) -> str:
        """First reason why the port carries no traffic."""
        assert self.runner is not None
        blocked = self.runner.blocking(ifindex)
        return blocked.reason.value if blocked else ""

    def changes(self, ifindex: int, since: float = 0.0) -> list[tuple[float, Any]]:
        """When the kernel was told to enable or disable the port."""
        key = OptionKey("enabled", ifindex)
        return [(at, value) for at, name, value in self.writes if name == key and at >= since]

    def said(self, words: str, since: float = 0.0) -> list[float]:
        """When these words were logged."""
        return [at for at, text in self.notes if words in text and at >= since]
