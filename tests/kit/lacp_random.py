"""Random LACP networks: systems of 2 to 8 ports, cables with losses, and an operator who pulls, swaps, kills and restarts.

What must hold is checked after every event; what must come about is asked a bounded time after the last fault.
"""

from __future__ import annotations

from random import Random
from typing import Any

from lacp_pair import LIMIT, Box, Cable, FakePort, World

from pyteamd.model.events import Tick
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.runners.lacp.machines import Current
from pyteamd.runners.lacp.port import LacpPort

FAULTS_S = 40.0
QUIET_S = 20.0
POLICIES = ("lacp_prio", "lacp_prio_stable", "bandwidth", "count", "port_config")
CHANGES: tuple[dict[str, tuple[Any, ...]], ...] = tuple(
    {name: values}
    for name, values in {
        "active": (True, False),
        "fast_rate": (True, False),
        "sys_prio": (1, 9, 65535),
        "min_ports": (1, 2),
        "agg_select_policy": POLICIES,
        "key_policy": ("teamd", "speed"),
        "system_id": (None, b"\x02\x77\0\0\0\0"),
        "max_ports": (None, 1, 2),
        "fallback": ("off", "static", "individual"),
        "fallback_delay": (0, 1500),
    }.items()
)
"""Every option of the runner, but for the spreading of traffic, and what it may become. No box has this system_id as its address."""
PORT_CHANGES: dict[str, tuple[Any, ...]] = {
    "lacp_prio": (1, 255, 256),
    "lacp_key": (0, 0, 5),
    "wait_to_restore": (0, 3),
    "sticky": (True, False),
    "prio": (0, 5),
}
SEVERAL_AGGREGATES_S = 90.0
"""Both ends may have to try aggregates in turn."""


class RandomNet:
    """One network made from a seed."""

    def __init__(self, seed: int, configure: bool = False, gates: bool = False) -> None:
        """`configure`: people at both ends change every option meanwhile. `gates`: watchers keep ports out of service and let them in."""
        self.seed = seed
        self.configure = configure
        self.gates = gates
        self.random = Random(seed)
        self.world = World(seed)
        count = self.random.randint(2, 8)
        systems = 3 if self.random.random() < 0.3 else 2
        self.boxes = [self._box(name, index, count) for index, name in enumerate("abc"[:systems])]
        if not any(box.config.active for box in self.boxes[:2]) or systems == 3:
            for box in self.boxes:
                box.config = type(box.config)(**(_fields(box.config) | {"active": True}))
        self.born: dict[str, float] = {}
        self.resumed: dict[str, float] = {}
        self.goodbyes: list[tuple[float, str, int]] = []
        quality = {
            "loss": self.random.choice((0.0, 0.0, 0.05, 0.3)),
            "double": self.random.choice((0.0, 0.1)),
            "delay": self.random.choice((0.0005, 0.005)),
            "jitter": self.random.choice((0.0, 0.02)),
        }
        self.cables: list[Cable] = []
        a, b = self.boxes[:2]
        for left, right in zip(a.ports, b.ports, strict=True):
            self.cables.append(self.world.connect((a, left), (b, right), plug=False, **quality))
        self.quality = quality
        self.repaired = False
        for box in self.boxes:
            box.checks += [self.check_service, self.check_liveness]
        self.world.watches.append(self.check_pace)
        self.spoken: dict[tuple[str, int], list[float]] = {}

    def _box(self, name: str, index: int, count: int) -> Box:
        random = self.random
        first = random.choice((3, 70_000))
        ports = {
            first + 7 * i: LacpPortConfig(
                lacp_prio=random.choice((255, 255, 1, 256)),
                prio=random.randint(0, 2),
                sticky=random.random() < 0.2,
                wait_to_restore=random.choice((0, 0, 0, 3)),
            )
            for i in range(count)
        }
        return Box(
            self.world,
            name,
            ports,
            mac=bytes((2, index, 0, 0, 0, random.randint(0, 255))),
            independent=random.random() < 0.4,
            fast_rate=random.random() < 0.7,
            active=random.random() < 0.8,
            sys_prio=random.choice((65535, 65535, 1)),
            agg_select_policy=random.choice(POLICIES),
            key_policy=random.choice(("teamd", "speed")),
            max_ports=random.choice((None, None, None, 1, 2)),
            fallback=random.choice(("off", "off", "off", "static", "individual")),
        )

    # -- faults --------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Start everything, let faults happen, repair, and wait for peace."""
        for box in self.boxes:
            self.world.at(self.random.random(), lambda box=box: self.start(box))  # type: ignore[misc]
        for cable in self.cables:
            self.world.at(self.random.random() * 3, lambda cable=cable: self.world.set_link(cable, True))  # type: ignore[misc]
        at = 0.0
        while at < FAULTS_S:
            at += self.random.expovariate(0.3)
            self.world.at(at, self.fault)
        self.world.run(at + 1.0)
        self.repair()
        self.world.run(self.bound_s())

    def fault(self) -> None:
        """One fault."""
        kinds = ("flap", "flap", "cut", "plug", "kill", "kill", "stop", "swap", "down", "third")
        kinds += ("apply",) * 6 * self.configure + ("gate",) * 6 * self.gates
        kind = self.random.choice(kinds)
        box = self.random.choice(self.boxes)
        cable = self.random.choice(self.cables)
        match kind:
            case "flap":
                self.world.set_link(cable, not cable.up)
                delay = self.random.choice((0.01, 0.3, 4.0))
                self.world.at(delay, lambda: self.world.set_link(cable, self.repaired or not cable.up))
            case "cut" | "plug":
                self.world.set_link(cable, kind == "plug")
            case "kill":
                box.kill()
                resume = self.random.random() < 0.6
                self.world.at(self.random.choice((0.3, 1.5, 5.0)), lambda: self.start(box, resume))
            case "stop" if box.runner is not None:
                self.goodbyes += [(self.world.now, box.name, ifindex) for ifindex in box.ports]
                box.stop()
                self.world.at(1.0, lambda: self.start(box))
            case "swap":
                self.swap()
            case "down":
                self.goodbyes += [(self.world.now, box.name, ifindex) for ifindex in box.ports]
                box.set_up(not box.view.up)
            case "third" if len(self.boxes) == 3:
                self.to_the_third()
            case "apply":
                self.apply(box)
            case "gate":
                self.gate(box, self.random.choice(list(box.ports)), self.random.random() < 0.6)

    def apply(self, box: Box) -> None:
        """The operator changes a setting."""
        if self.random.random() < 0.4:
            name = self.random.choice(list(PORT_CHANGES))
            box.configure({self.random.choice(list(box.ports)): {name: self.random.choice(PORT_CHANGES[name])}})
        else:
            ((name, values),) = self.random.choice(CHANGES).items()
            box.configure(**{name: self.random.choice(values)})

    def gate(self, box: Box, ifindex: int, closed: bool) -> None:
        """A watcher keeps the port out of service, or lets it in."""
        box.ports[ifindex].gated = closed
        box.handle(Tick(), judged=True)

    def start(self, box: Box, resume: bool = False) -> None:
        """Start a daemon that does not run."""
        if box.runner is None:
            self.born[box.name] = self.world.now
            self.resumed[box.name] = self.world.now if resume else float("-inf")
            box.start(resume=resume, adopted=self.random.random() < 0.5)

    def swap(self) -> None:
        """Two cables change places at one end."""
        one, other = self.random.choice(self.cables), self.random.choice(self.cables)
        if one is not other:
            ends = (one.ends[0], other.ends[1]), (other.ends[0], one.ends[1])
            self.relay([one, other], ends)

    def to_the_third(self) -> None:
        """One cable from a to b now leads to c."""
        cable = self.random.choice(self.cables)
        box = self.boxes[2]
        used = {end for one in self.cables for end in one.ends}
        free = [(box, ifindex) for ifindex in box.ports if (box, ifindex) not in used]
        if free:
            self.relay([cable], [(cable.ends[0], free[0])])

    def relay(self, old: list[Cable], ends: Any) -> None:
        """Pull cables and lay others."""
        for cable in old:
            self.cables.remove(cable)
            self.world.disconnect(*cable.ends[0])
        for one, other in ends:
            if one[0] is not other[0]:
                self.cables.append(self.world.connect(one, other, **self.quality))

    def repair(self) -> None:
        """The end of all faults."""
        self.repaired = True
        for box in self.boxes:
            self.start(box)
            for ifindex in box.ports if self.gates else ():
                self.gate(box, ifindex, closed=False)
            if not box.view.up:
                box.set_up(True)
            if self.configure and not box.config.active:
                box.configure(active=True)
        if self.configure and len({box.config.system_id for box in self.boxes} - {None}) < sum(
            box.config.system_id is not None for box in self.boxes
        ):
            self.boxes[0].configure(system_id=None)
            self.boxes[-1].configure(system_id=None)
        for cable in self.cables:
            cable.loss = cable.double = 0.0
            self.world.set_link(cable, True)

    def bound_s(self) -> float:
        """How long agreement may take: timeouts, two waits, wait_to_restore; at the slow rate a stale partner lasts 90 s."""
        late_s = SEVERAL_AGGREGATES_S if self.several() else 0.0
        return late_s + (16.0 if all(box.config.fast_rate for box in self.boxes) and not self.configure else 130.0)

    def several(self) -> bool:
        """The links between two systems may form more than one aggregate."""
        return any(len({port.config.lacp_key for port in box.ports.values()}) > 1 for box in self.boxes)

    # -- what must always hold -----------------------------------------------------------------------------------------

    def check_service(self, box: Box) -> None:
        """A port in service has a current partner, the one it is wired to, and the same as all the others."""
        assert box.runner is not None
        group = box.runner._group
        partners = set()
        for ifindex in box.serving():
            port = group.ports[ifindex]
            if port.hold_until is not None or ifindex in box.runner._fallback.ports:
                continue
            assert isinstance(port.receive, Current), self.say(box, port, "is in service, not current")
            assert port.partner_sync(group.local), self.say(box, port, "is in service, partner not in sync")
            partners.add((port.partner.system, port.partner.key))
            self.check_wire(box, port)
        assert len(partners) <= 1, f"seed {self.seed}: {box.name} serves {partners}"

    def check_liveness(self, box: Box) -> None:
        """Nothing that could go on stands still, and what waits has a deadline."""
        assert box.runner is not None
        broken = box.runner.broken(box.view)
        assert not broken, f"seed {self.seed}, {self.world.now:.3f} s: {box.name} {broken}"

    def check_wire(self, box: Box, port: LacpPort) -> None:
        """Never forward on a wrong port. A daemon just resumed believes its predecessor until the partner was to be heard.

        A partner that became another system is believed as long: the frames that say so may be lost.
        """
        if self.world.now < self.resumed[box.name] + group_timeout(box):
            return
        cable = self.world.cables.get((id(box), port.ifindex))
        assert cable is not None, self.say(box, port, "is in service without a cable")
        assert cable.up, self.say(box, port, "is in service without a link")
        other, index = cable.other(box, port.ifindex)
        if other.runner is None:
            return
        still = other.runner._group.local.mac == port.partner.system  # it may have had nothing to do for a long time
        known_at = self.world.now if still else other.identities.get(port.partner.system, float("-inf"))
        assert self.world.now <= known_at + group_timeout(box), self.say(box, port, f"is wired to {other.name}")
        if other.runner is not None and index in other.runner._group.ports:
            number = other.runner._group.ports[index].number
            assert port.partner.port == number, self.say(box, port, f"is wired to port {number}")

    def check_pace(self, box: Box, ifindex: int) -> None:
        """At most three LACPDUs a second and port in one life of a daemon, but for the one that says goodbye."""
        now = self.world.now
        spoken = self.spoken.setdefault((box.name, ifindex), [])
        spoken.append(now)
        since = max(self.born[box.name], now - 1.0 + 1e-9)
        recent = sum(1 for at in spoken[-8:] if at > since or at == now)
        farewell = sum(1 for at, name, index in self.goodbyes if (name, index) == (box.name, ifindex) and at > since)
        assert recent <= LIMIT + farewell, f"seed {self.seed}: {box.name} {ifindex} sent at {spoken[-5:]}"

    def say(self, box: Box, port: LacpPort, what: str) -> str:
        return f"seed {self.seed}, {self.world.now:.3f} s: {box.name} {port.name} {what}"

    # -- what must come about ------------------------------------------------------------------------------------------

    def check_agreement(self) -> None:
        """Both ends of every cable are of one mind, and two systems use all they can."""
        for cable in self.cables:
            (one, left), (other, right) = cable.ends
            for sender, out, receiver, into in ((one, left, other, right), (other, right, one, left)):
                sends, takes = out in sender.serving(), into in receiver.serving(receive=True)
                assert sends == takes, (
                    f"seed {self.seed}: {sender.name} {out} sends {sends}, {receiver.name} {into} takes {takes}"
                )
        if self.several():
            ends = {id(end) for cable in self.cables for end, _ in cable.ends}
            for box in self.boxes[:2]:
                assert len(self.boxes) > 2 or id(box) not in ends or box.serving(), (
                    f"seed {self.seed}: {box.name} serves nothing"
                )
        elif len(self.boxes) == 2:
            limits = [box.config.max_ports or 99 for box in self.boxes]
            expected = min(len(self.cables), *limits)
            for box in self.boxes:
                assert len(box.serving()) == expected, (
                    f"seed {self.seed}: {box.name} serves {box.serving()} of {expected}"
                )

    def check_peace(self) -> None:
        """Nothing happens any more but LACPDUs at their rate.

        A system that serves nothing goes on trying its aggregates in turn: nothing is written, and the log names each of them once.
        One that chose often has its last choice in the log when the limit of the log lets it.
        """
        began, sent = self.world.now, len(self.world.sent)
        before = [(box, told(box), len(box.writes), lines_to_come(box)) for box in self.boxes]
        self.world.run(QUIET_S)
        for box, said, written, more in before:
            trouble = f"seed {self.seed}: {box.name} has still something to do after {began:.1f} s: {box.notes[-2:]}"
            assert told(box) <= said + more, trouble
            assert len(box.writes) == written, trouble
        allowed = 2 * len(self.cables) * (QUIET_S + 2)
        assert len(self.world.sent) - sent <= allowed, f"seed {self.seed}: {len(self.world.sent) - sent} LACPDUs"


def lines_to_come(box: Box) -> int:
    """How many the log may still get where nothing happens any more."""
    if not box.serving():
        return len(box.ports) + 1
    return int(box.runner is not None and box.runner._group.choice.news_at() is not None)


def told(box: Box) -> int:
    """Lines in the log; that a port is still not in sync may be said late."""
    return sum(1 for _, text in box.notes if "churn" not in text)


def group_timeout(box: Box) -> float:
    """How long a resumed port may believe its predecessor."""
    return 4.0 if box.config.fast_rate else 91.0


def _fields(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


__all__ = ["FakePort", "RandomNet"]
