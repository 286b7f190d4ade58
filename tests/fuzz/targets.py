"""What is fuzzed: functions that take octets and let nothing escape but what they declare.

Each is a generator of samples, one for each execution: what state the thing under test was in (an empty text where it has none). A
fault is any exception that comes out. SEEDS are octets to begin with; the corpus beside this file holds what fuzzers found worth keeping.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import trio
import trio.testing

from pyteamd.config.config import Config
from pyteamd.core import invariants
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.daemon import read_file
from pyteamd.daemon.control import usock
from pyteamd.daemon.control.desk import Desk
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.snapshot_file import SnapshotFile, Useless
from pyteamd.kernel import framing, rtnl, team_family
from pyteamd.kernel.framing import Malformed
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import OptionKey, SetOption
from pyteamd.model.errors import UserError
from pyteamd.model.events import Applied, Event, FrameSeen, HostsResolved, LinkSeen, OptionSeen, PortSeen, Resync, Tick
from pyteamd.runners import RUNNERS
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.runners.lacp.snapshot import load
from pyteamd.scenario.replay import replay
from pyteamd.schema.problems import ConfigError
from pyteamd.sim.waiting import WaitingSimKernel
from pyteamd.views import state as statetree
from pyteamd.views.explain import explain
from pyteamd.wire import PeerError, arp, bfd, ethernet, lacpdu, lldp, marker, ndisc, slow
from pyteamd.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SLOW
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

KIT = Path(__file__).parents[1] / "kit"
LOG = logging.getLogger("fuzz")
LOG.propagate = False
Target = Callable[[bytes], Iterator[str]]

# -- octets ------------------------------------------------------------------------------------------------------------

PARSERS: tuple[Callable[[bytes], Any], ...] = (
    ethernet.parse,
    arp.parse,
    ndisc.parse,
    ndisc.parse_solicit,
    lambda octets: lacpdu.parse(octets, slow.GROUP),
    lambda octets: marker.parse(octets, slow.GROUP),
    bfd.parse,
    bfd.parse_packet,
    lldp.parse,
)


def wire(octets: bytes) -> Iterator[str]:
    """A parser of frames: a value that builds again, where we build such frames, or PeerError."""
    parse = PARSERS[octets[0] % len(PARSERS)] if octets else ethernet.parse
    try:
        value = parse(octets[1:])
    except PeerError:
        pass
    else:
        assert parse is lldp.parse or parse(value.build()) == value
    yield ""


def netlink(octets: bytes) -> Iterator[str]:
    """A datagram of the kernel, in both families."""
    decoder = team_family.Decoder()
    try:
        for message in framing.messages(octets):
            framing.explanation_of(message)
            framing.error_of(message)
            link_of(message)
            decoder.decode(message.octets)
    except Malformed:
        pass
    yield ""


def link_of(message: framing.Message) -> None:
    """A link of rtnetlink; ValueError is what the callers of decode are ready for."""
    with suppress(Malformed, ValueError):
        rtnl.decode(message.octets)


# -- texts -------------------------------------------------------------------------------------------------------------


def configuration(octets: bytes) -> Iterator[str]:
    """A configuration: loaded, used and written, or ConfigError."""
    try:
        config = Config.load(octets, runners=RUNNERS, watchers=WATCHERS, device="team0")
        for name in (*config.port_names(), "eth9"):
            config.port(name)
        json.dumps(config.dump_actual(["eth1"]))
    except ConfigError as error:
        str(error)
    yield ""


def items(octets: bytes) -> Iterator[str]:
    """A path of the state and a value for it, NUL between them."""
    path, _, value = octets.decode("utf-8", "surrogateescape").partition("\0")
    team = asked().team
    for act in (lambda: statetree.get_item(team, path), lambda: statetree.set_request(team, path, value)):
        try:
            event = act()
            if not isinstance(event, str):
                team.handle(event, 1000.0)
        except UserError:
            pass
        yield ""


ASKED = 500
"""How many inputs go to one team; a fault that took several is repeated with those before it."""
_asked: list[Made] = []
_asks = 0


def asked() -> Made:
    """A team for questions."""
    global _asks
    if _asks % ASKED == 0:
        _asked[:] = [in_service("lacp")]
    _asks += 1
    return _asked[0]


def snapshot(octets: bytes) -> Iterator[str]:
    """What a daemon left to the next one."""
    with suppress(OSError, Useless):
        kept_file(octets).load()
    found = as_tree(octets)
    yield ""
    if not found:
        return
    if len(octets) % LOOK_WHOLE == 0:
        made = begun("lacp")
        made.team.runner.resume(found, 1.0, 100.0)
        made.join()
        made.look()
        return
    runner = Lacp(config_of("lacp").runner)
    runner.resume(found, 1.0, 100.0)
    if load(found):  # else it begins as after any start
        runner.handle(BEGINNING, joined().team.view, 100.0)
        runner.outbox.take()
        json.dumps(runner.snapshot(100.0))


@cache
def joined() -> Made:
    """A team that has its ports; only looked at."""
    made = begun("lacp")
    made.join()
    return made


_memory: list[int] = []


def kept_file(octets: bytes) -> SnapshotFile:
    """A file with this in it, which no disk has to take."""
    if not _memory:
        _memory.append(os.memfd_create("snapshot"))
    os.ftruncate(_memory[0], 0)
    os.pwrite(_memory[0], octets, 0)
    return SnapshotFile(f"/proc/self/fd/{_memory[0]}", 5, LOG, boot="boot", clock=lambda: 1e10)


def as_tree(octets: bytes) -> dict[str, Any]:
    """The runner's part alone, past the checks of the file."""
    try:
        tree = json.loads(octets)
    except (ValueError, RecursionError):
        return {}
    found = tree.get("snapshot") if isinstance(tree, dict) else None
    return found if isinstance(found, dict) else {}


def trace(octets: bytes) -> Iterator[str]:
    """A saved trace: replayed, or ValueError."""
    try:
        replay(octets.decode("utf-8", "replace").splitlines())
    except ValueError as error:
        str(error)
    yield ""


# -- a team ------------------------------------------------------------------------------------------------------------

LOOK = 8
"""After one input in so many everything is shown, which takes longer than the rest."""
LOOK_WHOLE = 32
"""After one snapshot in so many a whole team begins with it, which takes ten times as long as its runner alone."""
TEAM, PORTS = 5, (7, 8)
DEVICE = LinkSeen(TEAM, "team0", b"\2\0\0\0\0\1", up=True, running=True, kind="team")
BEGINNING = Resync(
    (DEVICE, *(LinkSeen(n, f"eth{n}", bytes((2, 0, 0, 0, 1, n)), TEAM, True, True) for n in PORTS)),
    tuple(PortSeen(n, True, 1000, 1) for n in PORTS),
    tuple(OptionSeen(OptionKey("priority", n), 0) for n in PORTS),
)
KINDS = {
    "lacp": {"runner": {"name": "lacp", "fast_rate": True}},
    "arp": {
        "runner": {"name": "activebackup"},
        "link_watch": {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100},
    },
    "nsna": {
        "runner": {"name": "activebackup"},
        "link_watch": {"name": "nsna_ping", "target_host": "fe80::9", "interval": 100},
    },
    "bfd": {
        "runner": {"name": "activebackup"},
        "link_watch": {"name": "bfd", "local_host": "192.0.2.2", "peer_host": "192.0.2.1", "required": True},
        "neighbours": True,
    },
}
PARTNER = b"\2\xbb\0\0\0\1"
ETHERTYPES = (ETHERTYPE_SLOW, ETHERTYPE_SLOW, ETHERTYPE_ARP, ETHERTYPE_IPV6, ETHERTYPE_IPV4, lldp.ETHERTYPE_LLDP)
BFD_REPLIES = {bfd.State.DOWN: bfd.State.INIT}
"""What the partner is when we are in this state, if not up."""


@dataclass
class Made:
    """A team, its time, and partners that answer."""

    team: Team
    now: float = 100.0
    last: dict[int, LacpInfo] = field(default_factory=dict)

    def join(self) -> None:
        """The kernel says what there is."""
        self.team.handle(BEGINNING, self.now)
        self.settle()

    def settle(self) -> None:
        """Everything wanted is done."""
        for _ in range(20):
            writes = self.team.writes(self.now)
            if not writes:
                break
            self.team.handle(Applied(writes), self.now)
            for write in writes:
                if isinstance(write, SetOption):
                    self.team.handle(OptionSeen(write.key, write.value), self.now)
        else:
            raise AssertionError("still writing")
        self.frames = self.team.take().frames
        for frame in self.frames:
            if frame.octets[12:14] == b"\x88\x09":
                try:
                    self.last[frame.port] = lacpdu.parse(frame.octets[14:], slow.GROUP).actor
                except PeerError:
                    continue

    def pass_time(self, seconds: float) -> None:
        """Up to every deadline on the way."""
        until = self.now + seconds
        for _ in range(50):
            deadline = self.team.deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.team.handle(Tick(), self.now)
            self.settle()
            self.answer()
        self.now = until

    def answer(self) -> None:
        """The partners say what keeps the ports in service."""
        for port in PORTS:
            told = self.last.get(port)
            if told is not None:
                ours = LacpInfo(0x8000, PARTNER, 7, 0x80, port, 0x3F)
                octets = Lacpdu(ours, told).build()
                self.hear(FrameSeen(port, slow.GROUP, PARTNER, ETHERTYPE_SLOW, None, octets))
        for frame in list(self.frames):
            asker, kind, asked = frame.octets[6:12], int.from_bytes(frame.octets[12:14]), frame.octets[14:]
            if kind == ETHERTYPE_ARP:
                reply = arp.parse(asked).reply(PARTNER).build()
                self.hear(FrameSeen(frame.port, asker, PARTNER, kind, None, reply))
            elif kind == ETHERTYPE_IPV6:
                question = ndisc.parse_solicit(asked)
                advert = ndisc.NeighborAdvert(question.target, question.source, question.target, PARTNER).build()
                self.hear(FrameSeen(frame.port, asker, PARTNER, kind, None, advert))
            elif kind == ETHERTYPE_IPV4:
                said = bfd.parse(asked)
                state = BFD_REPLIES.get(said.packet.state, bfd.State.UP)
                packet = bfd.Packet(state, frame.port, said.packet.my_discriminator, 100_000, 100_000)
                reply = bfd.Datagram(said.destination, said.source, packet).build()
                self.hear(FrameSeen(frame.port, asker, PARTNER, kind, None, reply))

    def hear(self, frame: FrameSeen) -> None:
        """A frame, and what follows from it."""
        self.team.handle(frame, self.now)
        self.settle()

    def serves(self) -> bool:
        """Some port carries traffic."""
        return any(self.team.facts.observed.serves(port) or port_up(self.team, port) for port in PORTS)

    def look(self) -> None:
        """Everything that may be asked for."""
        json.dumps(statetree.state(self.team))
        explain(self.team, self.now)
        assert list(invariants.check(self.team, self.now)) == []


def port_up(team: Team, ifindex: int) -> bool:
    """The watchers of this port say that it works, and the runner uses it."""
    port = team.ports.get(ifindex)
    return port is not None and port.up and team.runner.name != "lacp"


@cache
def config_of(kind: str) -> Config:
    """Loaded once; nothing changes a configuration."""
    text = json.dumps({**KINDS[kind], "ports": {"eth7": {}, "eth8": {}}})
    return Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")


def begun(kind: str) -> Made:
    """A team without ports."""
    return Made(Team(config_of(kind), DEVICE))


def served(kind: str) -> Made:
    """A team whose ports came into service by what its partners said."""
    made = begun(kind)
    made.join()
    hosts = made.team.unresolved(made.now)
    if hosts:
        made.team.handle(HostsResolved({host: host[0] for host in hosts}), made.now)
    made.answer()
    for _ in range(2 if kind != "lacp" else 12):
        made.pass_time(0.5 if kind == "lacp" else 0.1)
        made.answer()
    return made


_snapshot: dict[str, Any] = {}


def in_service(kind: str) -> Made:
    """A team with ports in service, quickly: lacp goes on from what an earlier one left."""
    if kind != "lacp":
        return served(kind)
    if not _snapshot:
        made = served(kind)
        assert made.serves()
        _snapshot.update(made.team.runner.snapshot(made.now) or {})
    made = begun(kind)
    made.team.runner.resume(_snapshot, 0.1, made.now)
    made.join()
    return made


def frames(octets: bytes) -> Iterator[str]:
    """Frames through a team in service: pieces of kind, length and payload; time and the partner's own words between them."""
    kind = tuple(KINDS)[octets[0] % 4] if octets else "lacp"
    made, at = in_service(kind), 1
    while at + 2 <= len(octets):
        what, length = octets[at], octets[at + 1]
        payload = octets[at + 2 : at + 2 + length]
        at += 2 + length
        state = f"{kind} {'in service' if made.serves() else 'out of service'}"
        port = PORTS[what & 1]
        group = slow.GROUP if what & 2 else made.team.facts.team.mac
        vlan = 5 if what & 0x80 else None
        made.hear(FrameSeen(port, group, PARTNER, ETHERTYPES[(what >> 2) % len(ETHERTYPES)], vlan, payload))
        if what & 0x40:
            made.pass_time(0.3)
        made.answer()
        yield state
    if len(octets) % LOOK == 0:
        made.look()


# -- the control socket ------------------------------------------------------------------------------------------------


class Quiet:
    """Surroundings in which nothing goes out."""

    def __getattr__(self, name: str) -> Callable[..., float]:
        return lambda *arguments, **settings: float("inf")


def control(octets: bytes) -> Iterator[str]:
    """Packets to the control socket of a daemon on a simulated kernel, 0xFF between them."""
    packets = octets.split(b"\xff")[:32]
    beside, read_file.off_loop = read_file.off_loop, at_once  # the clock that jumps would not wait for a thread
    try:
        trio.run(ask, packets, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        read_file.off_loop = beside
    for _ in packets:
        yield ""


async def at_once(work: Callable[[], Any]) -> Any:
    """In the event loop."""
    return work()


async def ask(packets: list[bytes]) -> None:
    """One after the other, as from one client."""
    kernel = WaitingSimKernel()
    for name in ("eth1", "eth2"):
        kernel.add_pair(name, f"{name}-peer")
    ifindex = kernel.create_team("team0")
    kernel.watch_team(ifindex)
    text = json.dumps({"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}})
    link = kernel.find_link("team0")
    assert link is not None
    team = Team(Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0"), link)
    around: Any = Quiet()
    pump = Pump(team, kernel, around, Trace({}), LOG)
    pump.feed((kernel.dump(ifindex),), trio.current_time())
    desk = Desk(pump, LOG)
    for packet in packets:
        reply = await usock.answer(desk, b"REQUEST\n" + packet, LOG)
        assert reply is None or b"InternalFailure" not in reply, (packet, reply)


TARGETS: dict[str, Target] = {
    "wire": wire,
    "netlink": netlink,
    "control": control,
    "configuration": configuration,
    "items": items,
    "snapshot": snapshot,
    "replay": trace,
    "team": frames,
}


# -- seeds -------------------------------------------------------------------------------------------------------------


def seeds(name: str) -> Iterator[bytes]:
    """Octets that are nearly right."""
    golden = json.loads((KIT / "golden/netlink-6.1.json").read_text())
    match name:
        case "wire":
            yield from seeds_of_wire()
        case "netlink":
            for key in ("links", "options", "ports", "failover_events"):
                yield from (bytes.fromhex(text) for text in golden[key][:2])
        case "control":
            yield b"\xff".join(
                f"{line}\n".encode()
                for line in (
                    "StateDump",
                    "PortAdd\neth1",
                    "PortRemove\neth2",
                    "Explain",
                    "Events\n0",
                    "ConfigApply\n{}\ndry-run",
                )
            )
            yield b"\xff".join(f"{line}\n".encode() for line in seeds_of_control())
        case "configuration":
            yield from (path.read_bytes() for path in sorted((KIT.parents[1] / "examples").glob("*")) if path.is_file())
        case "items":
            yield b"runner.active\0true"
            yield b"ports.eth7.link_watches.list.link_watch_0.name\0x"
            yield b"setup.debug_level\x001"
            yield from (f"{path}\0{value}".encode() for path, value in leaves(statetree.state(asked().team)))
        case "snapshot":
            in_service("lacp")
            yield json.dumps({"boot": "boot", "ifindex": 5, "snapshot": _snapshot}).encode()
        case "replay":
            yield from (recorded(kind, event) for kind, event in RECORDED)
        case "team":
            yield from seeds_of_team()


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every item of the state, by its path."""
    if not isinstance(tree, dict):
        yield path, tree
        return
    for key, below in tree.items():
        yield from leaves(below, f"{path}.{key}" if path else key)


_INFO = LacpInfo(65535, PARTNER, 1, 255, 1, 0x3D)
LACPDU = Lacpdu(_INFO, _INFO).build()
BFD_UP = bfd.Datagram(
    IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), bfd.Packet(bfd.State.UP, 1, 0x12345678, 100_000, 100_000)
)
LLDPDU = bytes.fromhex(
    "0207040200000000bb" "040403706f72" "06020078" "080470 6f7274" "0a03737731" "0e0400040004" "fe060080c2010005"
    "fe090080c2070300000001" "0000"
)  # fmt: skip
"""Chassis, port, time to live, description, name, capabilities, VLAN, aggregation, end."""


def seeds_of_control() -> tuple[str, ...]:
    """What changes something."""
    new = '{"runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": 9}, "eth2": {}}}'
    return (
        f"ConfigApply\n{new}\napply",
        f"ConfigApply\n{new.replace('9', '8')}\nconfirm 60",
        "ConfigConfirm\nkeep",
        f"ConfigApply\n{new.replace('9', '7')}\nconfirm 60",
        f"ConfigApply\n{new}\napply",
        "ConfigConfirm\nrevert",
        'PortConfigUpdate\neth1\n{"sticky": true}',
        'PortConfigCheck\neth1\n{"prio": "x"}',
        "PortConfigDump\neth1",
        "StateItemValueSet\nrunner.active_port\neth2",
        "StateItemValueGet\nrunner.active_port",
        "Reason\nPortAdd\neth9",
        "FlowHash\n{}",
        "Diff",
        "History",
        "Metrics",
        "Trace\n0",
        "ConfigDumpActual",
    )


def seeds_of_wire() -> Iterator[bytes]:
    """One frame for each parser, its number before it."""
    asked, target = IPv4Address("192.0.2.1"), IPv6Address("fe80::9")
    solicit = ndisc.NeighborSolicit(target, target, PARTNER)
    yield b"\0" + ethernet.EthernetFrame(slow.GROUP, PARTNER, ETHERTYPE_SLOW, LACPDU, 5).build()
    yield b"\0" + solicit.frame()
    yield b"\1" + arp.request(PARTNER, IPv4Address(0), asked).reply(PARTNER).build()
    yield b"\2" + ndisc.NeighborAdvert(target, target, target, PARTNER).build()
    yield b"\3" + solicit.build()
    yield b"\4" + LACPDU
    yield b"\5" + marker.Marker(marker.Kind.REQUEST, 1, PARTNER, 1).build()
    yield b"\6" + BFD_UP.build()
    yield b"\7" + BFD_UP.packet.build()
    yield b"\x08" + LLDPDU


def seeds_of_team() -> Iterator[bytes]:
    """For each kind of team, what its partners say."""
    piece = bytes((0x02, len(LACPDU))) + LACPDU
    yield b"\0" + piece * 30
    answer = arp.request(PARTNER, IPv4Address(0), IPv4Address("192.0.2.1")).reply(PARTNER).build()
    yield b"\1" + (bytes((0x08, len(answer))) + answer) * 30
    advert = ndisc.NeighborAdvert(*[IPv6Address("fe80::9")] * 3, PARTNER).build()
    yield b"\2" + (bytes((0x0C, len(advert))) + advert) * 30
    up = BFD_UP.build()
    yield b"\3" + (bytes((0x10, len(up))) + up + bytes((0x14, len(LLDPDU))) + LLDPDU) * 15


RECORDED: tuple[tuple[str, Event], ...] = (
    ("lacp", BEGINNING),
    ("lacp", Resync((DEVICE,), (), ())),
    ("lacp", FrameSeen(PORTS[0], slow.GROUP, PARTNER, ETHERTYPE_SLOW, None, LACPDU)),
    ("arp", LinkSeen(7, "eth7", PARTNER, TEAM, True, True)),
    ("arp", OptionSeen(OptionKey("enabled", 7), True)),
    ("arp", PortSeen(7, True, 1000, 1)),
    ("arp", HostsResolved({("192.0.2.1", "ipv4"): "192.0.2.1"})),
    ("bfd", Applied((SetOption(OptionKey("enabled", 7), True),))),
)
"""What happens in a trace; short ones, for each is told again in an execution."""


def recorded(kind: str = "lacp", event: Event = BEGINNING) -> bytes:
    """A short trace: what happened, and that what it led to was done."""
    made = begun(kind)
    kept = Trace(
        {"config": made.team.config.dump(), "link": _encoded(DEVICE), "adopted": False, "enslave": True},
    )
    for _ in range(2):
        made.team.handle(event, made.now)
        writes = made.team.writes(made.now)
        kept.record(made.now, event, writes, made.team.take())
        event = Applied(writes) if writes else Tick()
    return "\n".join(kept.lines()).encode()


def _encoded(value: object) -> Any:
    from pyteamd.core.trace import encode

    return encode(value)


SOURCES: dict[str, tuple[str, ...]] = {
    "wire": tuple(
        f"pyteamd/wire/{name}.py" for name in ["arp", "bfd", "ethernet", "lacpdu", "lldp", "marker", "ndisc", "slow"]
    ),
    "netlink": tuple(f"pyteamd/kernel/{name}.py" for name in ("framing", "rtnl", "team_family")),
    "control": tuple(
        f"pyteamd/daemon/control/{name}.py" for name in ("desk", "inspection", "methods", "reconfigure", "usock")
    ),
    "configuration": ("pyteamd/config/*.py", "pyteamd/schema/*.py"),
    "items": ("pyteamd/views/state.py",),
    "snapshot": ("pyteamd/daemon/snapshot_file.py", "runners/lacp/snapshot.py"),
    "replay": ("pyteamd/scenario/replay.py", "pyteamd/core/trace.py", "pyteamd/core/typed.py"),
    "team": ("runners/lacp/*.py", "linkwatch/*.py", "pyteamd/core/team.py", "pyteamd/core/ports.py"),
}
"""What each target is about; the branches of these files are counted."""
