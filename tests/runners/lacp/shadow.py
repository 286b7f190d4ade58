"""A lacp runner and the reference side by side: what happens to the one happens to the other, and they are compared after each event."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from lacp_pair import Box, World
from reference import Info, Port, Station

from pyteamd.model.events import Event, FrameSeen
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

_END = struct.Struct("!H6sHHHB")
NAMES = {
    "INITIALIZE": "disabled",
    "PORT_DISABLED": "disabled",
    "EXPIRED": "expired",
    "CURRENT": "current",
    "DEFAULTED": "defaulted",
}
MOMENTS = (0.0, 0.01, 0.01, 0.3, 0.3, 0.7, 1.0, 1.0, 1.999, 2.0, 2.0, 3.0, 3.03, 6.1) * 12 + (31.0, 70.0)
STANDS_S = (0.05, 0.4, 0.6, 2.0, 3.5, 7.0, 100.0)
"""How long a process may not be run."""
SPEED_CODE = {10: 2, 100: 3, 1000: 4, 10_000: 7}


def ends(payload: bytes) -> tuple[Info, Info]:
    """Actor and partner of an LACPDU, read by offsets."""
    return Info(*_END.unpack_from(payload, 4)), Info(*_END.unpack_from(payload, 24))


def as_told(end: LacpInfo | None) -> Info | None:
    """What the product keeps of an end, as the reference has it."""
    return end and Info(end.system_priority, end.system, end.key, end.port_priority, end.port, end.state)


class ShadowedBox(Box):
    """A Box with a reference beside it. `disagree` says what differs, at once."""

    station: Station | None = None
    stands_until: float | None = None
    """The process stands still until then: frames and messages wait in its sockets."""
    waiting: list[Callable[[], None]]

    def stand_still(self, seconds: float) -> None:
        """A clock that jumps, for this process: it is not run for so long."""
        if self.stands_until is None and self.runner is not None:
            self.stands_until, self.waiting = self.world.now + seconds, []

    def go_on(self) -> None:
        """It runs again: first it sees how late it is, then what came meanwhile."""
        if self.stands_until is None:
            return
        self.stands_until = None
        if self.station is not None:
            self.station.wake(self.world.now)
        super().tick()
        for arrive in self.waiting:
            arrive()

    def tick(self) -> None:
        """See Box."""
        super().tick() if self.stands_until is None else self.go_on()

    def deadline(self) -> float | None:
        """See Box."""
        return super().deadline() if self.stands_until is None else self.stands_until

    def frame(self, ifindex: int, octets: bytes) -> None:
        """See Box."""
        if self.stands_until is None:
            super().frame(ifindex, octets)
        else:
            self.waiting.append(lambda: super(ShadowedBox, self).frame(ifindex, octets))

    def set_running(self, ifindex: int, running: bool) -> None:
        """See Box."""
        if self.stands_until is None:
            super().set_running(ifindex, running)
        else:
            self.waiting.append(lambda: super(ShadowedBox, self).set_running(ifindex, running))

    def start(self, resume: bool = False, adopted: bool = False) -> None:
        """Both begin."""
        self.station = Station(self.independent())
        super().start(resume=resume, adopted=adopted)

    def kill(self) -> None:
        """Both end."""
        self.station = self.stands_until = None
        super().kill()

    def stop(self) -> None:
        """Both end, with a word."""
        self.station = None
        super().stop()

    def independent(self) -> bool:
        """The kernel can switch both directions."""
        return any(key.name == "rx_enabled" for key in self.observed.options)

    def handle(self, event: Event, judged: bool = False) -> None:
        """The product first, for what it chose is the reference's input."""
        station, now = self.station, self.world.now
        if station is not None:
            station.advance(now)
        sent, news = len(self.world.sent), self._is_news(event)
        super().handle(event, judged)
        if self.station is None or self.runner is None:
            return
        station = self.station
        station.now = now
        self._tell(station, event, news)
        station.chosen = self._chosen()
        station.run()
        self._compare(station, event)
        assert len(self.world.sent) - sent <= 2 * len(self.ports), "more than two LACPDUs at once"

    def _is_news(self, event: Event) -> bool:
        """An LACPDU that repeats what its port knows is not. DIFFERENCE 10: only news tell that a partner has moved."""
        if self.runner is None or not isinstance(event, FrameSeen) or event.ifindex not in self.runner._group.ports:
            return False
        known = self.runner._group.ports[event.ifindex]
        actor, told = ends(event.payload)
        return actor != as_told(known.partner) or told != as_told(known.told)

    def _tell(self, station: Station, event: Event, news: bool) -> None:
        config = self.config
        station.active, station.fast, station.priority = config.active, config.fast_rate, config.sys_prio
        station.system = config.system_id or self.view.mac
        for ifindex in list(station.ports):
            if ifindex not in self.view.ports:
                del station.ports[ifindex]
        for ifindex in self.view.ports:
            if ifindex not in station.ports:
                station.ports[ifindex] = self._new(ifindex)
            port = station.ports[ifindex]
            running = self.ports[ifindex].running
            if running and not self.view.up:
                port.selected = "UNSELECTED"  # DIFFERENCE 8: the team is down
            port.port_enabled = running and self.view.up
            station.record_sync(port) if "RECEIVE" in port.states else None
        if isinstance(event, FrameSeen) and event.ifindex in station.ports:
            port = station.ports[event.ifindex]
            if "RECEIVE" not in port.states or not port.port_enabled:
                return
            port.pdu = ends(event.payload)
            for other in station.ports.values() if news else ():
                same = other.partner[:2] == port.pdu[0][:2] and other.partner.port == port.pdu[0].port
                known = other.partner.system not in (bytes(6), station.system)
                if other is not port and not other.port_enabled and same and known:
                    other.port_moved = True

    def _new(self, ifindex: int) -> Port:
        settings = self.ports[ifindex]

        def key() -> int:
            if self.config.key_policy == "teamd":
                return settings.config.lacp_key
            return (settings.config.lacp_key & 0x3FF) << 6 | SPEED_CODE[settings.speed_mbps] << 1 | 1

        assert self.runner is not None
        return Port(self.runner._group.ports[ifindex].number, key, lambda: settings.config.lacp_prio)

    def _chosen(self) -> Any:
        """What the product has in use, as a plain tuple."""
        assert self.runner is not None
        chosen = self.runner._group.chosen
        return None if chosen is None else tuple(chosen)

    def configure(self, ports: Mapping[int, Mapping[str, Any]] | None = None, **changes: Any) -> str:
        """A slower rate lengthens what runs (DIFFERENCE 7)."""
        slower = self.config.fast_rate and changes.get("fast_rate") is False
        if slower and self.station is not None:
            self.station.advance(self.world.now)
            for port in self.station.ports.values():
                if port.states.get("RECEIVE") == "CURRENT":
                    port.current_while = max(port.current_while, self.world.now + (90.0 + 0.03))
        return super().configure(ports, **changes)

    def _compare(self, station: Station, event: Event) -> None:
        assert self.runner is not None
        group = self.runner._group
        for ifindex, port in station.ports.items():
            known, states = group.ports[ifindex], port.states
            actor = known.actor(group.local)
            product = (
                known.receive.name, known.mux.name, actor.state, known.partner_sync(group.local),
                known.churn.actor.name, known.churn.partner.name, actor.key,
            )  # fmt: skip
            reference = (
                NAMES[states["RECEIVE"]], states["MUX"], station.state(port),
                port.partner_sync and states["RECEIVE"] == "CURRENT", states["actor"], states["partner"], port.key(),
            )  # fmt: skip
            assert product == reference, (
                f"{self.world.now:.3f} s, {self.name} port {ifindex}, {event}: product {product}, reference {reference}"
            )


class RandomPair:
    """Two teams, or one and a hostile partner, and everything that may happen to them."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.world = World(seed)
        count = random.randint(1, 4)
        hostile = random.random() < 0.4
        self.boxes = [self._box(name, index, count) for index, name in enumerate("a" if hostile else "ab")]
        if not hostile:
            for ifindex in self.boxes[0].ports:
                quality = {"loss": random.choice((0.0, 0.0, 0.2)), "delay": random.choice((0.0005, 0.05))}
                self.world.connect((self.boxes[0], ifindex), (self.boxes[1], ifindex), plug=False, **quality)

    def _box(self, name: str, index: int, count: int) -> ShadowedBox:
        random = self.random
        ports = {
            3 + i: LacpPortConfig(lacp_prio=random.choice((255, 1)), lacp_key=random.choice((0, 0, 5)))
            for i in range(count)
        }
        return ShadowedBox(
            self.world, name, ports, mac=bytes((2, index, 0, 0, 0, 1)), independent=random.random() < 0.4,
            fast_rate=random.random() < 0.7, active=random.random() < 0.8, sys_prio=random.choice((65535, 1)),
            agg_select_policy=random.choice(("lacp_prio", "lacp_prio_stable", "count", "bandwidth", "port_config")),
            key_policy=random.choice(("teamd", "speed")),
        )  # fmt: skip

    def play(self, events: int = 40) -> None:
        """Start all, and let things happen."""
        for box in self.boxes:
            box.start()
        for _ in range(events):
            self.world.run(self.random.choice(MOMENTS))
            self.happen()

    def happen(self) -> None:
        """One thing."""
        random = self.random
        box = random.choice(self.boxes)
        ifindex = random.choice(list(box.ports))
        kinds = ("link", "link", "link", "say", "say", "say", "say", "admin", "port", "team", "kill", "gone", "stand")
        kind = random.choice(kinds)
        if kind not in ("link", "say", "stand"):
            box.go_on()
        match kind:
            case "stand":
                box.stand_still(random.choice(STANDS_S))
            case "link":
                cable = self.world.cables.get((id(box), ifindex))
                if cable is None:
                    box.set_running(ifindex, random.random() < 0.8)
                else:
                    self.world.set_link(cable, random.random() < 0.8)
            case "say":
                self._say(box, ifindex)
            case "admin":
                box.configure(**self._change())
            case "port":
                box.configure(
                    {ifindex: random.choice(({"lacp_prio": 7}, {"lacp_prio": 300}, {"lacp_key": 5}, {"lacp_key": 0}))}
                )
            case "team" if random.random() < 0.3:
                box.set_up(not box.view.up)
            case "kill" if random.random() < 0.3:
                box.kill()
                self.world.run(random.choice((0.1, 4.0)))
                box.start()
            case "gone" if random.random() < 0.3 and len(box.ports) > 1:
                box.present(*[i for i in box.ports if i != ifindex])
                self.world.run(random.choice((0.0, 2.0)))
                box.present(*box.ports)

    def _change(self) -> dict[str, Any]:
        return self.random.choice(
            ({"fast_rate": True}, {"fast_rate": False}, {"active": True}, {"active": False}, {"sys_prio": 1}, {"sys_prio": 9},
             {"key_policy": "speed"}, {"key_policy": "teamd"}, {"system_id": b"\x02\0\0\0\0\x77"}, {"system_id": None},
             {"agg_select_policy": "count"}, {"agg_select_policy": "lacp_prio"}, {"agg_select_policy": "port_config"})
        )  # fmt: skip

    def _say(self, box: ShadowedBox, ifindex: int) -> None:
        """The other end of this link says something, often right."""
        random = self.random
        if box.runner is None or ifindex not in box.view.ports:
            return
        group = box.runner._group
        told = group.ports[ifindex].actor(group.local)
        if random.random() < 0.25:
            wrong: Any = random.choice(
                ({"port": 99}, {"key": 99}, {"system": bytes(6)}, {"system_priority": 3}, {"port_priority": 3})
            )
            told = LacpInfo(**({name: getattr(told, name) for name in LacpInfo.__dataclass_fields__} | wrong))
        if random.random() < 0.15:
            told = LacpInfo(
                told.system_priority, told.system, told.key, told.port_priority, told.port, random.randrange(256)
            )
        state = random.choice((0x3F, 0x3F, 0x3F, 0x3D, 0x0F, 0x1F, 0x07, 0x05, 0x3E, 0x3B, 0xC7, random.randrange(256)))
        system = random.choice((b"\x02\xbb\0\0\0\x01",) * 6 + (b"\x02\xcc\0\0\0\x01", bytes(6), box.view.mac))
        number = random.choice((ifindex + 100,) * 6 + (103, 104))
        actor = LacpInfo(
            random.choice((100,) * 6 + (65535,)), system, random.choice((7,) * 6 + (8,)), 255, number, state
        )
        box.frame(ifindex, Lacpdu(actor, told).frame(b"\x02\xbb\0\0\0\x01"))


def run(seed: int) -> None:
    """One random run; AssertionError names the first difference."""
    pair = RandomPair(seed)
    try:
        pair.play()
    except AssertionError as problem:
        raise AssertionError(f"seed {seed}: {problem}") from None
