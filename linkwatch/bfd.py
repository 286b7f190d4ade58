"""The bfd link watcher: a BFD session with the switch on each member link (RFC 7130, "micro-BFD").

The session and its timers are in `bfd_session`; here is what surrounds it on one port: addresses, frames, and what the session means for
the port. A port whose session was up and is not any more leads nowhere. A session that was never up says nothing about the port: the
other end may not speak BFD at all, so the port is used, unless `required` is set (RFC 7130, 5). Nor does one that either end has
administratively down (RFC 5882, 3.2).

Frames leave with the port's address. They go to the group address of RFC 7130 until the peer's own is known from its frames, and again
when a session is down and hears nothing; nobody is asked by ARP. A socket of the kernel layer holds the UDP port, so that the host's own
stack does not answer the peer with ICMP.
"""

from __future__ import annotations

from binascii import crc32
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, ClassVar

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.linkwatch.bfd_session import BfdSession, Terms
from pyteamd.model.desired import Level, Tap, Verdict
from pyteamd.model.events import FrameSeen
from pyteamd.schema.option import OnBad, option
from pyteamd.schema.values import numeric_address
from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError, bfd
from pyteamd.wire.bfd import Diagnostic, State
from pyteamd.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAC_LENGTH

ETHERTYPES = (ETHERTYPE_IPV4, ETHERTYPE_IPV6)


@dataclass(frozen=True, slots=True)
class BfdConfig:
    """Keys of the bfd watcher."""

    local_host: str = option(
        "",
        help="Address of this end, IPv4 or IPv6; the same for all ports.",
        required=True,
        convert=numeric_address,
        on_bad=OnBad.REFUSE_PORT,
        sample="192.0.2.2",
    )
    peer_host: str = option(
        "",
        help="Address of the switch, as its BFD configuration has it for this aggregate.",
        required=True,
        convert=numeric_address,
        on_bad=OnBad.REFUSE_PORT,
        sample="192.0.2.1",
    )
    interval: int = option(
        300,
        help="Time between packets that this end wants to send.",
        minimum=10,
        maximum=60_000,
        unit="ms",
        on_bad=OnBad.REFUSE_PORT,
    )
    min_rx: int | None = option(
        None,
        help="Time between packets that this end can receive; as `interval` when not given.",
        minimum=10,
        maximum=60_000,
        unit="ms",
        on_bad=OnBad.REFUSE_PORT,
    )
    multiplier: int = option(
        3, help="How many intervals of silence end the session.", minimum=1, maximum=255, on_bad=OnBad.REFUSE_PORT
    )
    required: bool = option(
        False, help="The port is out of service also while its session was never up.", on_bad=OnBad.USE_DEFAULT
    )
    admin_down: bool = option(
        False,
        help="Tell the peer that the session is administratively down; the port follows its carrier.",
        on_bad=OnBad.USE_DEFAULT,
    )
    authentication: str = option(
        "none",
        help="Authentication of packets: none. The kinds of RFC 5880 are refused, and packets that have one are dropped and counted.",
        on_bad=OnBad.REFUSE_PORT,
    )
    echo: bool = option(False, help="The echo function; there is none, the peer is told so.", on_bad=OnBad.USE_DEFAULT)
    demand: bool = option(
        False, help="Demand mode; not for this end, a peer that demands it is obeyed.", on_bad=OnBad.USE_DEFAULT
    )

    def contradictions(self) -> Iterable[tuple[str, str]]:
        """(key, what is wrong) for values that do not go together."""
        for key in ("local_host", "peer_host"):
            if not getattr(self, key):
                yield key, "missing; give the address, as 192.0.2.1"
        if self.authentication != "none":
            yield "authentication", f"{self.authentication} is not supported; write none, here and on the switch"
        for key in ("echo", "demand"):
            if getattr(self, key):
                yield key, "not supported; leave it out, here and on the switch"
        if self.local_host and self.peer_host:
            if (":" in self.local_host) != (":" in self.peer_host):
                yield "peer_host", "is not of the same family as local_host"
            elif self.local_host == self.peer_host:
                yield "peer_host", "is the same as local_host"

    @property
    def min_rx_ms(self) -> int:
        """What this end can receive."""
        return self.interval if self.min_rx is None else self.min_rx


class Bfd(Watcher):
    """One session on one port."""

    name = "bfd"
    Config = BfdConfig
    summary = "Runs a BFD session with the switch on the port itself (RFC 7130); the port is up while the session is."
    frees_kernel_link: ClassVar[bool] = True
    gates_service: ClassVar[bool] = True

    @classmethod
    def may_turn(cls, before: Any, after: Any) -> bool:
        """A session with other settings is another one."""
        return bool(before != after)

    def __init__(self, config: BfdConfig, hosts: Mapping[str, str], up: bool) -> None:
        super().__init__(config, hosts, up)
        self.config: BfdConfig = config
        self._own, self._peer = ip_address(config.local_host), ip_address(config.peer_host)
        self._taps = (Tap(bfd.frames(self._own.version), address=bfd.GROUP, udp_port=bfd.UDP_PORT),)
        self.session: BfdSession | None = None
        """None before the start."""
        self._due: float | None = None
        """The session's deadline; kept, because it is asked for more often than it changes."""
        self.was_up = False
        """The session was up once, since the start."""
        self.peer_mac = b""
        """Where frames go; b"" for the group."""
        self.drops: Counter[str] = Counter()
        """Frames that were none of the peer's, by reason."""

    # -- what happens --------------------------------------------------------------------------------------------------

    def start(self, port: PortNow, now: float) -> None:
        config = self.config
        if len(port.mac) != MAC_LENGTH:
            words = f"{port.name}: bfd cannot speak: the port's address is not an Ethernet address."
            self.note(Level.WARNING, words, port.name)
        terms = Terms(
            discriminator(port.ifindex, config),
            1000 * config.interval,
            1000 * config.min_rx_ms,
            config.multiplier,
            config.admin_down,
        )
        self.session = BfdSession(terms, now, resume=self.up)
        self._proceed(port, now)

    def carrier(self, port: PortNow, now: float) -> None:
        if self.session is not None:
            if not port.running:
                self.session.lose_path(now)
            self._proceed(port, now)

    def frame(self, port: PortNow, frame: FrameSeen, now: float) -> None:
        if self.session is None or frame.ethertype not in ETHERTYPES or frame.vlan:
            return
        try:
            self._hear(self.session, port, frame, now)
        except PeerError as error:
            self.drops[error.reason.value] += 1
            return
        self._proceed(port, now)

    def _hear(self, session: BfdSession, port: PortNow, frame: FrameSeen, now: float) -> None:
        datagram = bfd.parse(frame.payload)
        if frame.source in port.own_macs:
            raise PeerError(DropReason.OWN_ADDRESS, f"from {frame.source.hex(':')}")
        if (datagram.source, datagram.destination) != (self._peer, self._own):
            raise PeerError(DropReason.WRONG_HOST, f"from {datagram.source} to {datagram.destination}")
        session.hear(datagram.packet, now)
        if not frame.source[0] & 1:
            self.peer_mac = frame.source

    def tick(self, port: PortNow, now: float) -> None:
        self._proceed(port, now)

    def deadline(self) -> float | None:
        return self._due

    def taps(self) -> tuple[Tap, ...]:
        return self._taps

    def proven(self) -> bool:
        return self.session is not None and self.session.state is State.UP

    # -- what follows --------------------------------------------------------------------------------------------------

    def _proceed(self, port: PortNow, now: float) -> None:
        """Let time pass for the session, send what is due, and say what that means for the port."""
        session = self.session
        assert session is not None
        session.tick(now)
        if session.state is State.UP:
            self.was_up = True
        elif session.state is State.DOWN:
            self.peer_mac = self.peer_mac if session.heard is not None else b""
        while (packet := session.due(now)) is not None:
            if port.running and len(port.mac) == MAC_LENGTH:
                self._say(port, packet)
        self.set_up(port.running and self._usable(session))
        at = session.deadline()
        self._due = None if at == float("inf") else at

    def _say(self, port: PortNow, packet: bfd.Packet) -> None:
        room = bfd.LAST_SOURCE_PORT - bfd.FIRST_SOURCE_PORT + 1
        datagram = bfd.Datagram(self._own, self._peer, packet, bfd.FIRST_SOURCE_PORT + packet.my_discriminator % room)
        self.send(port.ifindex, datagram.frame(port.mac, self.peer_mac or bfd.GROUP))

    def _usable(self, session: BfdSession) -> bool:
        """What the session means for a port that has a carrier."""
        if session.state is State.UP or self._admin_down(session):
            return True
        if session.resuming is not None:
            return self.up
        return not self.was_up and not self.config.required

    @staticmethod
    def _admin_down(session: BfdSession) -> bool:
        """One end has the session administratively down: this one, or the peer as it says."""
        heard = session.peer if session.heard is not None else None
        return session.state is State.ADMIN_DOWN or (heard is not None and heard.state is State.ADMIN_DOWN)

    # -- what is told --------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        session = self.session
        if session is None:
            return Verdict(self.up, "bfd: not started")
        clause, rest = self._words(session)
        return Verdict(self.up, f"bfd: {clause}", rest)

    def _words(self, session: BfdSession) -> tuple[str, str]:
        """The first clause, and the rest with its punctuation."""
        peer, config = session.peer, self.config
        if session.state is State.ADMIN_DOWN:
            return "administratively down at this end", ", the port follows its carrier"
        if session.state is State.UP:
            return f"session with {config.peer_host} is up", ""
        if session.resuming is not None:
            return f"waits whether {config.peer_host} still counts the session as up", ""
        if peer is not None and session.heard is not None:
            if peer.state is State.ADMIN_DOWN:
                return f"peer {config.peer_host} says: administratively down", ""
            if peer.diagnostic:
                words = bfd.diagnostic_in_words(peer.diagnostic)
                return f"session with {config.peer_host} is {session.state}", f"; peer's diagnostic: {words}"
            return f"session with {config.peer_host} is {session.state}", f", the peer says {peer.state}"
        if session.diagnostic == Diagnostic.PATH_DOWN:
            return "no carrier", ""
        if peer is not None and session.diagnostic == Diagnostic.TIME_EXPIRED:
            silence_ms = round(1000 * session.detection_s())
            each_ms = max(1000 * config.min_rx_ms, peer.desired_min_tx_us) // 1000
            return f"peer {config.peer_host} silent", f", more than {silence_ms} ms ({peer.multiplier} × {each_ms} ms)"
        used = "" if config.required else "; the port is used without a session"
        return f"nothing heard of {config.peer_host}", used

    def gauges(self, now: float) -> Iterable[tuple[str, str, float]]:
        if self.session is None:
            return
        yield "bfd_up", "The BFD session is up.", self.session.state is State.UP
        yield "bfd_admin_down", "One end has the BFD session administratively down.", self._admin_down(self.session)
        if (detection_s := self.session.detection_s()) < float("inf"):
            yield "bfd_detection_seconds", "Silence of the peer that ends the BFD session.", detection_s

    def state(self) -> dict[str, Any]:
        config, session = self.config, self.session
        shown: dict[str, Any] = {
            "local_host": config.local_host,
            "peer_host": config.peer_host,
            "interval": config.interval,
            "min_rx": config.min_rx_ms,
            "multiplier": config.multiplier,
        }
        if session is not None:
            shown["state"] = str(session.state)
            shown["diagnostic"] = bfd.diagnostic_in_words(session.diagnostic)
            shown["discriminator"] = session.terms.discriminator
            if (peer := session.peer) is not None:
                shown["peer"] = {
                    "state": str(peer.state),
                    "diagnostic": bfd.diagnostic_in_words(peer.diagnostic),
                    "discriminator": peer.my_discriminator,
                    "interval_us": peer.desired_min_tx_us,
                    "min_rx_us": peer.required_min_rx_us,
                    "multiplier": peer.multiplier,
                    "mac": self.peer_mac.hex(":"),
                }
                shown["detection_time_us"] = round(1e6 * session.detection_s())
        if self.drops:
            shown["drops"] = dict(sorted(self.drops.items()))
        return shown


def discriminator(ifindex: int, config: BfdConfig) -> int:
    """A number, never 0, that is the same for this port and pair of hosts after each start, so that the peer knows a successor."""
    return crc32(f"{ifindex} {config.local_host} {config.peer_host}".encode()) or 1
