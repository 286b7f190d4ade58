"""A scripted BFD partner: a station at the far end of a wire that answers for a switch, and says of its session what it is told to say.

It knows three rules of RFC 5880: its state follows ours (6.2), a silence of `multiplier` intervals ends the session (6.8.4), a poll is
answered (6.5). It has no addresses of its own: it answers with the address that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pyteamd.values import dataclass
from pyteamd.wire import PeerError, bfd, ethernet
from pyteamd.wire.bfd import Diagnostic, Flag, Packet, State

ANSWERS = {State.ADMIN_DOWN: State.DOWN, State.DOWN: State.INIT, State.INIT: State.UP, State.UP: State.UP}
"""State that it hears → its own from then on. UP it hears only of a session that it has."""
SLOW_S = 1.0


@dataclass(slots=True)
class BfdPartner:
    """One member link of the other system. It speaks first when it has heard us."""

    number: int
    mac: bytes
    interval: float = 0.05
    """Seconds between packets while the session is up."""
    multiplier: int = 3
    silent: bool = False
    state: State | None = None
    """The state it sends, whatever it receives; None: its own."""
    diag: int | None = None
    """The diagnostic it sends; None: the true one."""
    outbox: list[bytes] = field(default_factory=list)
    thinks: State = State.DOWN
    _why: int = 0
    _heard: tuple[float, bfd.Datagram] | None = None
    _next: float | None = None

    def receive(self, octets: bytes, now: float) -> None:
        frame = ethernet.parse(octets)
        if frame.ethertype not in (ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6):
            return
        try:
            datagram = bfd.parse(frame.payload)
        except PeerError:
            return
        theirs = datagram.packet.state
        before, self.thinks = self.thinks, State.DOWN if self._ends(theirs) else ANSWERS[theirs]
        if before is State.UP and self.thinks is not State.UP:
            self._why = Diagnostic.NEIGHBOUR_DOWN
        news = self._heard is None or before is not self.thinks or Flag.POLL in datagram.packet.flags
        self._heard = (now, datagram)
        if news:
            self._say(Flag.FINAL if Flag.POLL in datagram.packet.flags else Flag.NONE)
        if self._next is None or self.thinks is not before:
            self._next = now + self._pace()

    def _ends(self, theirs: State) -> bool:
        """Our session was up, and the other end says that its own is not."""
        return self.thinks is State.UP and theirs in (State.DOWN, State.ADMIN_DOWN)

    def deadline(self) -> float | None:
        return self._next

    def tick(self, now: float) -> None:
        self._next = now + self._pace()
        assert self._heard is not None
        silence_s = self.multiplier * max(self.interval, self._heard[1].packet.desired_min_tx_us / 1e6)
        if self.thinks is not State.DOWN and now >= self._heard[0] + silence_s:
            self.thinks, self._why = State.DOWN, Diagnostic.TIME_EXPIRED
        self._say(Flag.NONE)

    def _pace(self) -> float:
        return self.interval if self.thinks is State.UP else SLOW_S

    def _say(self, flags: Flag) -> None:
        if self.silent or self._heard is None:
            return
        heard = self._heard[1]
        packet = Packet(
            self.thinks if self.state is None else self.state,
            self.number,
            heard.packet.my_discriminator,
            round(1e6 * self._pace()),
            round(1e6 * self.interval),
            multiplier=self.multiplier,
            diagnostic=self._why if self.diag is None else self.diag,
            flags=flags,
        )
        self.outbox.append(bfd.Datagram(heard.destination, heard.source, packet).frame(self.mac))


def instruct(partner: BfdPartner, changes: Mapping[str, Any]) -> None:
    """Tell a partner what to say from now on."""
    for name, value in changes.items():
        setattr(partner, name, value)
