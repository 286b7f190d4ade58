"""The nsna_ping link watcher: solicit an IPv6 neighbour and wait for its advertisement (RFC 4861).

The source is the link-local address that belongs to the sending MAC address (RFC 4291, appendix A); the neighbour answers to the MAC in
the solicitation, so the port needs no address of its own. A port that carries no traffic probes too, because it could not come back
otherwise; where it shares the team's MAC address it uses its original one for that, so that the switch does not send the team's
frames to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import ClassVar

from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.periodic import Periodic, PeriodicConfig, Target
from pyteamd.model.desired import Tap
from pyteamd.model.events import FrameSeen
from pyteamd.schema.option import OnBad, option
from pyteamd.schema.values import host6
from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError, ndisc
from pyteamd.wire.ethernet import ETHERTYPE_IPV6, MAC_LENGTH

LINK_LOCAL = 0xFE80 << 112
UNIVERSAL_LOCAL_BIT = 0x02


@dataclass(frozen=True, slots=True)
class NsnaPingConfig(PeriodicConfig):
    """Keys of the nsna_ping watcher."""

    target_host: str | None = option(
        None, help="Whom to ask: an address or a host name.", on_bad=OnBad.REFUSE_PORT, sample="2001:db8::1"
    )
    check_host = staticmethod(host6)


class NsnaPing(Periodic):
    """Asks by neighbour solicitation."""

    name = "nsna_ping"
    Config = NsnaPingConfig
    summary = "Asks an IPv6 host by neighbour solicitation; the link is up while advertisements come."
    host_fields: ClassVar[Mapping[str, str]] = {"target_host": "inet6", "target_hosts": "inet6"}
    _spare_mac = b""
    _asked_from: tuple[IPv6Address, ...] = ()
    """Sources of the last probes; two, because the port may have got another address while the answer was under way."""

    def start(self, port: PortNow, now: float) -> None:
        # Whether or not it is the present one: a new port gets the team's address only after it was told to start.
        self._spare_mac = port.original_mac if len(port.original_mac) == MAC_LENGTH else b""
        super().start(port, now)

    def taps(self) -> tuple[Tap, ...]:
        return (Tap(ndisc.ADVERTISEMENTS, self._spare_mac),)

    def may_send(self, port: PortNow) -> bool:
        return True

    def probe(self, port: PortNow, target: Target) -> bytes:
        assert isinstance(target.address, IPv6Address)
        mac = port.mac if port.enabled or not port.any_enabled else self._spare_mac or port.mac
        source = link_local(mac)
        if source not in self._asked_from[:1]:
            self._asked_from = (source, *self._asked_from[:1])
        return ndisc.NeighborSolicit(source, target.address, mac).frame()

    def answers(self, port: PortNow, frame: FrameSeen) -> Iterable[Target]:
        if frame.ethertype != ETHERTYPE_IPV6 or frame.vlan:
            return []
        advert = ndisc.parse(frame.payload)
        if frame.source in port.own_macs:
            raise PeerError(DropReason.OWN_ADDRESS, f"from {frame.source.hex(':')}")
        proven = [target for target in self.targets if advert.target == IPv6Address(int(target.address))]
        # An answer goes to who asked, with the flag that says so (RFC 4861, 7.2.4); others show no way there.
        asked = advert.flags & ndisc.FLAG_SOLICITED and advert.destination in self._asked_from
        if proven and not asked:
            raise PeerError(DropReason.NOT_ASKED, f"{advert.target} to {advert.destination}")
        return proven


def link_local(mac: bytes) -> IPv6Address:
    """The link-local address made of a MAC address (modified EUI-64)."""
    identifier = bytes([mac[0] ^ UNIVERSAL_LOCAL_BIT]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return IPv6Address(LINK_LOCAL | int.from_bytes(identifier))
