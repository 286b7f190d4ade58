"""For LACP tests inside the lab: a scripted partner whose frames scapy makes and reads, and the real partners.

    host: em1 ──── p1 :switch      P is what speaks on p1, p2, …: a Peer, kernel bonding, C teamd, pyteamd, Open vSwitch
          em2 ──── p2

Scapy knows the frames from another source than the package, so a mistake in one is no mistake in both.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import select
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_kit import PYTEAMD, Bench, Daemon, daemon, dump, wait_for
from lab_kit import state as state
from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.l2 import Ether
from wire_kit import Ear, Heard, Links, Tap

GROUP = "01:80:c2:00:00:02"
ETH_P_SLOW = 0x8809
ACTIVE, SHORT, AGGREGATION, SYNC, COLLECTING, DISTRIBUTING, DEFAULTED, EXPIRED = (1 << bit for bit in range(8))
IN_SERVICE = ACTIVE | SHORT | AGGREGATION | SYNC | COLLECTING | DISTRIBUTING
LIMIT = 3
LOOK_S = 0.02
LONG = bool(os.environ.get("PYTEAMD_LONG"))
"""Run the minutes and the hundreds too."""
_systems = itertools.count(1)


def config(ports: int | Sequence[dict[str, Any]] = 2, **runner: Any) -> str:
    """The usual configuration (active, fast, a hash of addresses), with other runner keys. `ports`: how many, or what each has."""
    keys = {"name": "lacp", "active": True, "fast_rate": True, "tx_hash": ["eth", "ipv4", "ipv6"], **runner}
    settings = [{}] * ports if isinstance(ports, int) else ports
    names = {f"em{number}": setting for number, setting in enumerate(settings, 1)}
    return json.dumps({"runner": keys, "link_watch": {"name": "ethtool"}, "ports": names})


def explained(number: int) -> str:
    """What `explain` says of port number N."""
    (row,) = [row for row in json.loads(dump("Explain")) if row["port"] == f"em{number}"]
    text: str = row["text"]
    return text


def apply(text: str) -> None:
    """The running daemon goes over to another configuration."""
    report = json.loads(dump("ConfigApply", "team0", text, "apply"))
    assert report["applied"], report


def port_state(number: int) -> dict[str, Any]:
    """What the runner tells of port number N."""
    found: dict[str, Any] = state()["ports"][f"em{number}"]["runner"]
    return found


def serving() -> set[int]:
    """Numbers of the ports that are in service."""
    found = state()["ports"].items()
    return {int(name.removeprefix("em")) for name, port in found if not port["runner"]["details"]["blocked_by"]}


def enabled(on: Bench, number: int, team: str = "team0", port: str = "em") -> bool:
    """What the driver says."""
    ask = on.on_host if port == "em" else on.on_switch
    answer = ask(f"teamnl {team} getoption -p {port}{number} enabled")
    return (answer if isinstance(answer, str) else answer.out).strip() == "true"


@dataclass
class Peer:
    """One port of P. What it says is in the fields, and can be changed at any time."""

    on: Bench
    number: int
    system: str
    ear: Ear | Tap
    """Its end of the cable."""
    key: int = 7
    port: int = 0
    state: int = IN_SERVICE
    every_s: float | None = 1.0
    """How often it speaks by itself; None for never."""
    answers: bool = True
    """It also speaks, three times a second at most, when it hears something new."""
    mistakes: dict[str, Any] = field(default_factory=dict)
    """Fields of the LACPDU that are other than they should be."""
    heard: list[tuple[float, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    said_at: float = 0.0

    def __post_init__(self) -> None:
        self.port = self.port or 100 + self.number
        self.source = f"02:00:00:00:02:{self.number:02x}"

    def pdu(self, **changes: Any) -> Any:
        """A right LACPDU, answer to the last one heard, with these fields changed."""
        fields: dict[str, Any] = {
            "actor_system_priority": 100,
            "actor_system": self.system,
            "actor_key": self.key,
            "actor_port_priority": 255,
            "actor_port_number": self.port,
            "actor_state": self.state,
        }
        if self.heard:
            last = self.heard[-1][1]
            for name in ("system_priority", "system", "key", "port_priority", "state"):
                fields[f"partner_{name}"] = getattr(last, f"actor_{name}")
            fields["partner_port_number"] = last.actor_port_number
        return LACP(**{**fields, **self.mistakes, **changes})

    def frame(self, pdu: Any, **ether: Any) -> bytes:
        """The whole frame."""
        outer = Ether(**{"dst": GROUP, "src": self.source, "type": ETH_P_SLOW, **ether})
        return bytes(outer / SlowProtocol(subtype=2 if isinstance(pdu, MarkerProtocol) else 1) / pdu)

    def say(self, **changes: Any) -> None:
        """Speak now. A port whose link is down says nothing, when its time comes."""
        try:
            self.ear.say(self.frame(self.pdu(**changes)))
        except OSError as problem:
            if problem.errno != errno.ENETDOWN:
                raise
        self.said_at = time.monotonic()

    def listen(self) -> None:
        """Take in what came, and speak if it is time."""
        news = False
        for heard in self.ear.hear():
            self.frames.append(heard.octets)
            frame = Ether(heard.octets)
            if LACP in frame:
                before = bytes(self.heard[-1][1]) if self.heard else b""
                self.heard.append((heard.at_s, frame[LACP]))
                news = news or bytes(frame[LACP]) != before
        now = time.monotonic()
        due = self.every_s is not None and now >= self.said_at + self.every_s
        if due or (news and self.answers and self.every_s is not None and now >= self.said_at + 0.34):
            self.say()

    def since(self, moment_s: float) -> list[tuple[float, Any]]:
        """LACPDUs heard since then."""
        return [(at, pdu) for at, pdu in self.heard if at >= moment_s]

    def pauses(self, moment_s: float) -> list[float]:
        """Times between LACPDUs heard since then."""
        moments = [at for at, _ in self.since(moment_s)]
        return [later - earlier for earlier, later in itertools.pairwise(moments)]

    def first(self, bits: int, moment_s: float = 0.0) -> float:
        """When the first LACPDU since then came that has all these bits in its state; 0 for none yet."""
        return next((at for at, pdu in self.since(moment_s) if pdu.actor_state & bits == bits), 0.0)

    def markers(self) -> list[Any]:
        """Marker PDUs heard."""
        return [Ether(octets)[MarkerProtocol] for octets in self.frames if MarkerProtocol in Ether(octets)]


@dataclass
class Wire:
    """A team and its scripted partner."""

    on: Bench
    peers: dict[int, Peer]
    links: Links

    def run(self, seconds: float, until: Callable[[], object] | None = None) -> float:
        """Let the partner live for so long, or until the condition holds. Returns how long it was."""
        ears = [peer.ear.socket for peer in self.peers.values()]
        began = looked = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            select.select(ears, [], [], LOOK_S / 2)
            for peer in self.peers.values():
                peer.listen()
            if until is not None and now - looked > LOOK_S:
                looked = now
                if until():
                    break
        return time.monotonic() - began

    def await_service(self, *numbers: int, timeout_s: float = 20.0) -> float:
        """Until exactly these ports are in service."""
        took = self.run(timeout_s, lambda: serving() == set(numbers))
        assert serving() == set(numbers), state()["ports"]
        return took

    def fresh(self, *cut: int) -> None:
        """Cut all cables; P is another system from now on and has forgotten everything; mend the cables but those of these ports."""
        system = f"02:bb:00:00:00:{next(_systems):02x}"
        for peer in self.peers.values():
            self.links.up(f"p{peer.number}", False)
        wait_for(lambda: all(port["runner"]["state"] == "disabled" for port in state()["ports"].values()))
        for peer in self.peers.values():
            peer.ear.hear()
            peer.heard.clear()
            peer.frames.clear()
            peer.mistakes.clear()
            peer.system, peer.key, peer.state, peer.port = system, 7, IN_SERVICE, 100 + peer.number
            peer.every_s, peer.answers, peer.said_at = 1.0, True, 0.0
        for peer in self.peers.values():
            if peer.number not in cut:
                self.links.up(f"p{peer.number}", True)

    def close(self) -> None:
        """No more."""
        for peer in self.peers.values():
            peer.ear.close()
        self.links.close()


@contextmanager
def wire(on: Bench, ports: int = 2) -> Iterator[Wire]:
    """A scripted partner on the first ports of the bench, silent until it hears something or runs."""
    system = f"02:bb:00:00:00:{next(_systems):02x}"
    ears = {number: Ear(on.switch, f"p{number}", ETH_P_SLOW, outgoing=False) for number in range(1, ports + 1)}
    peers = {number: Peer(on, number, system, ear) for number, ear in ears.items()}
    made = Wire(on, peers, Links(on.switch))
    try:
        yield made
    finally:
        made.close()


@contextmanager
def team(on: Bench, text: str, program: str = PYTEAMD, flags: str = "") -> Iterator[Daemon]:
    """A lacp team that is up."""
    with daemon(program, on, text, flags=flags) as started:
        on.on_host("ip link set team0 up")
        yield started


def worst_second(moments: Sequence[float]) -> int:
    """Most moments within any one second."""
    return max((sum(start <= at < start + 1.0 for at in moments) for start in moments), default=0)


def write_pcap(path: Path, frames: Sequence[Heard | bytes]) -> None:
    """A capture file (the classic format, microseconds, Ethernet)."""
    octets = [frame.octets if isinstance(frame, Heard) else frame for frame in frames]
    records = [struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame for frame in octets]
    path.write_bytes(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))


def has(*commands: str) -> bool:
    """Whether all these programs are installed."""
    return all(shutil.which(command) for command in commands)
