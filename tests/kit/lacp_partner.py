"""An LACP partner for the simulated network: answers each LACPDU at once with a right one, and remembers what it heard and when."""

from __future__ import annotations

from itertools import pairwise

from pyteamd.sim.net import SimNet
from pyteamd.wire import ethernet, lacpdu, slow
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

SYSTEM = b"\x02\xbb\0\0\0\x01"
IN_SERVICE = 0x3F


class LacpPartner:
    """One port of the other system."""

    def __init__(self, number: int) -> None:
        self.outbox: list[bytes] = []
        self.heard: list[tuple[float, Lacpdu]] = []
        self.actor = LacpInfo(100, SYSTEM, 7, 255, number, IN_SERVICE)

    def receive(self, octets: bytes, now: float) -> None:
        """See Partner."""
        frame = ethernet.parse(octets)
        if frame.ethertype != ethernet.ETHERTYPE_SLOW or frame.payload[0] != slow.SUBTYPE_LACP:
            return
        said = lacpdu.parse(frame.payload, frame.destination)
        self.heard.append((now, said))
        self.outbox.append(Lacpdu(self.actor, said.actor).frame(SYSTEM))

    def deadline(self) -> float | None:
        """See Partner."""
        return None

    def tick(self, now: float) -> None:
        """See Partner."""

    def pauses(self, since: float) -> list[float]:
        """Times between LACPDUs."""
        moments = [at for at, _ in self.heard if at >= since]
        return [later - earlier for earlier, later in pairwise(moments)]


def attach(net: SimNet, ends: list[object]) -> list[LacpPartner]:
    """A partner at each of these far ends."""
    partners = [LacpPartner(number) for number, _ in enumerate(ends, start=1)]
    for end, partner in zip(ends, partners, strict=True):
        net.attach(end, partner)  # type: ignore[arg-type]
    return partners
