"""The arp_ping link watcher: ask an IPv4 host for its MAC address and see whether anything comes back (RFC 826).

Without validation any ARP request or reply of others that arrives on the port is proof that it leads somewhere, as with teamd. With
validation (`validate_active` on a port that carries traffic, `validate_inactive` on one that does not), and always when there are several
targets, only what a target itself says counts, and with validation only replies between it and `source_host`. What this host sent is
never an answer: not the copies of outgoing frames (the socket does not hear them), and not our own broadcasts that a switch floods back
through another port, with one exception: an idle port that hears a broadcast of the port in service is connected to it, and as long as
*that* port gets real answers the network behind both is alive. The moment it gets none, the flooded broadcasts prove nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any, ClassVar

from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.periodic import Periodic, PeriodicConfig, Target, problem_of
from pyteamd.model.desired import Tap
from pyteamd.model.events import FrameSeen
from pyteamd.schema.option import OnBad, option
from pyteamd.schema.values import host4
from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError, arp
from pyteamd.wire.ethernet import ETHERTYPE_ARP


@dataclass(frozen=True, slots=True)
class ArpPingConfig(PeriodicConfig):
    """Keys of the arp_ping watcher."""

    source_host: str | None = option(
        None, help="Sender address of the probes; 0.0.0.0 when not given.", on_bad=OnBad.REFUSE_PORT
    )
    validate_active: bool = option(
        False, help="On a port that carries traffic only replies of the target count.", on_bad=OnBad.USE_DEFAULT
    )
    validate_inactive: bool = option(
        False, help="On a port that carries no traffic only replies of the target count.", on_bad=OnBad.USE_DEFAULT
    )
    send_always: bool = option(False, help="Probe also on ports that carry no traffic.", on_bad=OnBad.USE_DEFAULT)
    vlanid: int | None = option(
        None,
        help="Tag the probes with this VLAN id and expect answers in it.",
        minimum=0,
        maximum=4095,
        on_bad=OnBad.REFUSE_PORT,
    )

    def contradictions(self) -> Iterable[tuple[str, str]]:
        yield from PeriodicConfig.contradictions(self)
        if self.source_host and (problem := problem_of(self.source_host, host4)):
            yield "source_host", problem

    check_host = staticmethod(host4)


class ArpPing(Periodic):
    """Asks by ARP."""

    name = "arp_ping"
    Config = ArpPingConfig
    summary = "Asks an IPv4 host by ARP; the link is up while answers come."
    host_fields: ClassVar[Mapping[str, str]] = {"source_host": "inet", "target_host": "inet", "target_hosts": "inet"}

    def __init__(self, config: ArpPingConfig, hosts: Mapping[str, str], up: bool) -> None:
        super().__init__(config, hosts, up)
        self._source = IPv4Address(hosts[config.source_host] if config.source_host else "0.0.0.0")

    def taps(self) -> tuple[Tap, ...]:
        return (Tap(arp.frames(self.config.vlanid)),)

    def may_send(self, port: PortNow) -> bool:
        return self.config.send_always or super().may_send(port)

    def probe(self, port: PortNow, target: Target) -> bytes:
        assert isinstance(target.address, IPv4Address)
        return arp.request(port.mac, self._source, target.address).frame(vlan_id=self.config.vlanid)

    def answers(self, port: PortNow, frame: FrameSeen) -> Iterable[Target]:
        if frame.ethertype != ETHERTYPE_ARP or not self._same_vlan(frame.vlan):
            return []
        message = arp.parse(frame.payload)
        if frame.source in port.own_macs or message.sender_mac in port.own_macs:
            flooded = not port.enabled and port.carried and not self.config.validate_inactive
            if message.operation is arp.Operation.REPLY:  # a switch floods back broadcasts only
                raise PeerError(DropReason.OWN_ADDRESS, f"from {message.sender_mac.hex(':')}")
            return self.targets if flooded and len(self.targets) == 1 else []
        validate = self.config.validate_active if port.enabled else self.config.validate_inactive
        if validate:
            proven = [target for target in self.targets if self._is_reply(message, target)]
        elif len(self.targets) > 1:
            proven = [target for target in self.targets if message.sender_ip == target.address]
        else:
            return self.targets
        about = any(message.sender_ip == target.address for target in self.targets)
        if not proven and about and message.operation is arp.Operation.REPLY:  # what others say is no concern of ours
            raise PeerError(DropReason.NOT_ASKED, f"{message.sender_ip} to {message.target_ip}")
        return proven

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "source_host": str(self._source),
            "validate_active": self.config.validate_active,
            "validate_inactive": self.config.validate_inactive,
            "send_always": self.config.send_always,
        }

    def _same_vlan(self, vlan: int | None) -> bool:
        """Without `vlanid`, untagged and priority-tagged frames; with it, frames of that VLAN."""
        return (vlan or 0) == 0 if self.config.vlanid is None else vlan == self.config.vlanid

    def _is_reply(self, message: arp.Arp, target: Target) -> bool:
        pair = (message.sender_ip, message.target_ip)
        ours = (target.address, self._source)
        return message.operation is arp.Operation.REPLY and pair in (ours, ours[::-1])
