"""A lacp runner and the team it sees, for tests of the runner alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyteamd.model.desired import Observed, OptionKey
from pyteamd.model.events import Event, FrameSeen, PortSeen, Resync, Tick
from pyteamd.runners.base import TeamView
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.wire import lacpdu, slow
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

TEAM, TEAM_MAC, PARTNER_MAC = 9, b"\x02\0\0\0\0\x09", b"\x02\xbb\0\0\0\x01"


@dataclass
class FakePort:
    """A PortView with nothing behind it."""

    ifindex: int
    running: bool = True
    speed_mbps: int = 1000
    speed_unknown: bool = False
    duplex: int = 1
    up: bool = False
    priority: int = 0
    original_mac: bytes = b""
    name: str = ""
    config: LacpPortConfig = field(default_factory=LacpPortConfig)
    settling: bool = False
    unmeasured: bool = False
    gated: bool = False
    damped: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or f"eth{self.ifindex}"
        self.names = (self.name,)
        self.mac = bytes((2, 0, 0, 0, 0, self.ifindex & 0xFF))


class Bench:
    """A runner, its team, and a partner in words: `hear` is what P says through a port."""

    def __init__(
        self, *ports: FakePort, adopted: bool = False, enabled: bool = True, start: bool = True, **config: Any
    ) -> None:
        self.now = 1000.0
        self.ports = {port.ifindex: port for port in ports or (FakePort(3), FakePort(4))}
        self.observed = Observed(options={OptionKey("enabled", i): enabled for i in self.ports})
        self.view = TeamView(TEAM, TEAM_MAC, True, dict(self.ports), self.observed, adopted)
        self.runner = Lacp(LacpConfig(**({"fast_rate": True} | config)))
        self.notes: list[str] = []
        self.frames: list[tuple[int, bytes]] = []
        if start:
            self.handle(Resync((), (), ()))

    def handle(self, event: Event, after: float = 0.0) -> None:
        """An event some seconds later."""
        self.now += after
        self.runner.handle(event, self.view, self.now)
        frames, notes = self.runner.outbox.take()
        self.frames += [(frame.port, frame.octets) for frame in frames]
        self.notes += [note.text for note in notes]

    def wait(self, seconds: float) -> None:
        """Let time pass, all deadlines met."""
        until = self.now + seconds
        while (deadline := self.runner.deadline()) is not None and deadline <= until:
            self.handle(Tick(), max(0.0, deadline - self.now))
        self.now = until

    def changed(self, ifindex: int) -> None:
        """The port's facts were changed."""
        self.handle(PortSeen(ifindex, True, 0, 0))

    def present(self, *ifindexes: int) -> None:
        """These are the ports now."""
        self.view.ports = {i: self.ports[i] for i in ifindexes}
        self.handle(Tick())

    def actor(self, ifindex: int) -> LacpInfo:
        """What the runner says of this port, from the state."""
        shown = self.state(ifindex)["actor_lacpdu_info"]
        return LacpInfo(**(shown | {"system": bytes.fromhex(shown["system"].replace(":", ""))}))

    def hear(self, ifindex: int, *, state: int = 0x3F, key: int = 7, number: int = 0, mac: bytes = PARTNER_MAC) -> None:
        """P, well informed, says something through the other end of this port."""
        actor = LacpInfo(100, mac, key, 255, number or (ifindex + 100) & 0xFFFF, state)
        self.frame(ifindex, Lacpdu(actor, self.actor(ifindex)).build())

    def hear_about(self, ifindex: int, told: LacpInfo, state: int = 0x3F) -> None:
        """P says this of our end, whatever is true."""
        self.frame(ifindex, Lacpdu(LacpInfo(100, PARTNER_MAC, 7, 255, (ifindex + 100) & 0xFFFF, state), told).build())

    def frame(self, ifindex: int, payload: bytes) -> None:
        self.handle(FrameSeen(ifindex, slow.GROUP, PARTNER_MAC, 0x8809, None, payload))

    def serve(self) -> None:
        """Bring every port into service."""
        for _ in range(4):
            for ifindex in self.view.ports:
                self.hear(ifindex)
            self.wait(1.0)
        assert self.enabled() == set(self.view.ports)

    def state(self, ifindex: int) -> dict[str, Any]:
        state = self.runner.port_state(self.ports[ifindex], self.view)
        assert state is not None
        return state

    def rx(self, ifindex: int) -> str:
        return str(self.state(ifindex)["state"])

    def enabled(self) -> set[int]:
        """Ports that are to carry traffic."""
        return {key.port for key, value in self.runner.desired(self.view).options.items() if value is True}

    def sending(self) -> set[int]:
        """Ports through which the kernel is to send."""
        options = self.runner.desired(self.view).options
        return {key.port for key, value in options.items() if value is True and key.name in ("enabled", "tx_enabled")}

    def said(self, ifindex: int) -> list[Lacpdu]:
        """LACPDUs sent through a port, and forget them."""
        sent = [octets for port, octets in self.frames if port == ifindex]
        self.frames = [frame for frame in self.frames if frame[0] != ifindex]
        return [lacpdu.parse(octets[14:], octets[:6]) for octets in sent]
