"""A simulated network interface, and how rtnetlink would describe it."""

from __future__ import annotations

from pyteamd.model.events import ETHERNET, LOOPBACK, LinkSeen
from pyteamd.values import dataclass

NO_HARDWARE = 0xFFFE
TX_QUEUES = 16
"""Of a team device."""


@dataclass(slots=True, eq=False)
class SimLink:
    """A network interface. `speed_mbps` and `duplex` are what its driver reports while the link runs."""

    ifindex: int
    name: str
    mac: bytes
    kind: str = "veth"
    permanent_mac: bytes = b""
    speed_mbps: int = 10000
    duplex: int = 1
    here: bool = True
    """In the namespace of the daemon; otherwise it exists but nobody hears of it."""
    live_mac: bool = True
    """The driver changes the address while the link is up."""
    loopback: bool = False
    up: bool = False
    carrier: bool = False
    """As linkwatch saw it last; of a team device, as its driver set it."""
    master: int = 0
    hardware: int = ETHERNET
    """Device type (ARPHRD_…); a team takes that of its first port."""
    altnames: tuple[str, ...] = ()
    lower: int = 0
    """The link it stands on."""
    overhead: int = 0
    """Octets by which its MTU is below that of the link it stands on."""
    loose_binding: bool = False
    """A VLAN that may be up while the link it stands on is down."""
    mtu: int = 1500
    max_mtu: int = 65535
    peer: SimLink | None = None

    @property
    def running(self) -> bool:
        """IFF_RUNNING."""
        return self.up and self.carrier

    def plugged(self) -> bool:
        """Whether there is a signal on the cable now: both ends must be up."""
        return self.loopback or (self.up and self.peer is not None and self.peer.up)


def link_seen(link: SimLink) -> LinkSeen:
    """The link as RTM_NEWLINK describes it."""
    return LinkSeen(
        ifindex=link.ifindex,
        name=link.name,
        mac=link.mac,
        master=link.master,
        up=link.up,
        running=link.running,
        permanent_mac=link.permanent_mac,
        kind=link.kind,
        carrier=link.carrier,
        altnames=link.altnames,
        lower=link.lower,
        hardware=LOOPBACK if link.loopback else link.hardware,
        mtu=link.mtu,
        max_mtu=link.max_mtu,
        overhead=link.overhead,
        loose_binding=link.loose_binding,
        tx_queues=TX_QUEUES if link.kind == "team" else 0,
    )
