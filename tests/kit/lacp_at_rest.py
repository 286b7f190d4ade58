"""An LACP team at fast rate whose partner repeats itself: the shipped pump on a simulated kernel, without an event loop."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from surroundings import QuietSurroundings

from pyteamd.config.config import Config
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace, encode
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.writing import Done
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import Frame, Tap, Write
from pyteamd.runners import RUNNERS
from pyteamd.sim.kernel import SimKernel
from pyteamd.sim.lacp_partner import LacpPartner
from pyteamd.sim.link import SimLink
from pyteamd.sim.net import SimNet, SimSocket
from pyteamd.wire import ethernet, lacpdu


def uncounted(action: Callable[[], None]) -> None:
    """Do what the simulated world does, which no tracer and no profiler sees."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        action()
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)


class Periodic(LacpPartner):
    """Speaks every second, whatever it hears."""

    def receive(self, octets: bytes, now: float) -> None:
        frame = ethernet.parse(octets)
        self.heard = [(now, lacpdu.parse(frame.payload, frame.destination))]


class AtRest(QuietSurroundings):
    """The team, its partner, and the world around the pump. Time passes in `go_on`."""

    def __init__(self, ports: int, spread_s: float = 0.0, runner: Mapping[str, Any] = MappingProxyType({})) -> None:
        """`spread_s`: so much later each link comes up than the one before it, and both ends speak. `runner`: more of its configuration."""
        net = SimNet()
        self.kernel = SimKernel(net)
        self.net = net
        self.sent: list[tuple[float, Frame]] = []
        self.sockets: dict[tuple[int, Tap], SimSocket] = {}
        self.partners: list[Periodic] = []
        fars: list[SimLink] = []
        names = [f"eth{number}" for number in range(1, ports + 1)]
        for number, name in enumerate(names, 1):
            self.partners.append(Periodic(number))
            far = self.kernel.add_pair(name, f"{name}-peer", speed_mbps=1000, duplex=1).peer
            assert far is not None
            net.attach(far, self.partners[-1])
            far.up = False
            fars.append(far)
        self.ifindex = self.kernel.create_team("team0")
        self.kernel.watch_team(self.ifindex)
        self.kernel.set_up(self.ifindex, True)
        link = self.kernel.find_link("team0")
        assert link is not None
        lacp = {"name": "lacp", "active": True, "fast_rate": True, **runner}
        text = json.dumps({"runner": lacp, "ports": {name: {} for name in names}})
        config = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
        beginning = {"config": config.dump(), "link": encode(link), "adopted": False, "enslave": True}
        self.team = Team(config, link)
        self.pump = Pump(self.team, self.kernel, self, Trace(beginning), logging.getLogger("rest"), lambda: net.now)
        self.pump.perform = self._perform
        self.reader = Reader(self.kernel)
        self.reader.pumps[self.ifindex] = self.pump
        self.pump.feed((self.kernel.dump(self.ifindex),), net.now)
        for far, partner in zip(fars, self.partners, strict=True):
            self.go_on(spread_s)
            partner._next = net.now
            self.kernel.set_up(far.ifindex, True)
        self.go_on(10.0)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        end = self.net.now + seconds
        while True:
            self._settle()
            at = min(self.pump.wake_at(), self.net.deadline() or math.inf)
            if at > end:
                break
            uncounted(lambda now=at: self.net.advance(now))  # type: ignore[misc]
            self._settle()
            if self.pump.wake_at() <= self.net.now:
                self.pump.wake(self.net.now)
        self.net.advance(end)

    def _settle(self) -> None:
        """Hear what is there, frames of all ports at once."""
        while True:
            if batch := self.kernel.take_events():
                self.reader.hear(batch, self.net.now)
            elif frames := [frame for socket in list(self.sockets.values()) for frame in socket.read()]:
                self.pump.feed(frames, self.net.now)
            else:
                return

    # -- what the pump needs: see Surroundings ---------------------------------------------------------------------------

    def _perform(self, writes: Sequence[Write], done: Done) -> None:
        done(writes, self.kernel.apply(self.ifindex, writes))

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        for ifindex, taps in wanted.items():
            for tap in taps:
                if (ifindex, tap) not in self.sockets:
                    self.sockets[ifindex, tap] = self.kernel.open_port(ifindex, tap)
        return math.inf

    def send(self, frame: Frame) -> None:
        self.sent.append((self.net.now, frame))
        socket = next(socket for place, socket in self.sockets.items() if place[0] == frame.port)
        uncounted(lambda: socket.send(frame.octets))
