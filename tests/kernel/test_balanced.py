"""The runners that spread frames, on the real driver: what leaves through which port is counted on the wire, on the switch's side.

Frames are put into team0 by a packet socket, as whole frames, so that the driver sees exactly what the test made. Each carries a number
behind the headers; the ears on p1, p2, … say where each one came out. Two things of the kernel take their time, most of all when the
machine is busy, and are waited for: a change of a carrier reaches the driver from a work queue, after /sys tells it, and until then the
driver sends as before and a link that came up drops what it is given; and sent frames may be left for a kernel thread to deliver.
"""

from __future__ import annotations

import itertools
import json
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, daemon, wait_for
from wire_kit import Ear

from pyteamd.runners.spread.hash_program import fold, reference_hash

pytestmark = pytest.mark.kernel

MARK = b"pyteamd:"
ETHERTYPE_TEST = 0x88B5
GATEWAY = bytes.fromhex("0200000000fe")
BURST = 200
"""Frames sent before the ears are emptied; a socket buffer holds more."""
PATIENCE_S = 2.0
"""A frame that has not come out by then is lost."""


@dataclass
class Wires:
    """A bench with a daemon on it, ears on the far ends, and a mouth on team0."""

    on: Bench
    ears: dict[int, Ear]
    mouth: Ear
    round: int = 0

    def sent(self, frames: Sequence[bytes], copies: int = 1, patience_s: float = PATIENCE_S) -> list[list[int]]:
        """Send each frame, its number written behind it; the ports it came out of, by frame.

        Waits until each has come out so many times, then looks once more: one copy too many is not overlooked.
        """
        self.round += 1  # a straggler of an earlier one is not counted
        out: list[list[int]] = [[] for _ in frames]
        for first in range(0, len(frames), BURST):
            numbers = range(first, min(first + BURST, len(frames)))
            for number in numbers:
                self.mouth.say(frames[number] + MARK + struct.pack("!II", self.round, number))
            give_up_s = time.monotonic() + patience_s
            while any(len(out[number]) < copies for number in numbers) and time.monotonic() < give_up_s:
                self._collect(out)
        self._collect(out)
        return out

    def _collect(self, out: list[list[int]]) -> None:
        """Add what the ears have heard; 1 ms later, so that the kernel gets on with its work."""
        time.sleep(0.001)
        for port, ear in self.ears.items():
            for heard in ear.hear():
                _, found, rest = heard.octets.partition(MARK)
                sent_in, number = struct.unpack_from("!II", rest) if found else (0, 0)
                if sent_in == self.round:
                    out[number].append(port)

    def cut(self, number: int) -> None:
        """The cable is cut and the driver knows."""
        self.on.cut(number)
        self.on.await_driver(number, False)

    def mend(self, number: int) -> None:
        """The cable is back and the driver knows."""
        self.on.mend(number)
        self.on.await_driver(number, True)

    def counts(self, frames: int = 200) -> Counter[int]:
        """How many of so many equal frames came out of each port; each exactly once."""
        ports = self.sent([plain()] * frames)
        assert all(len(through) == 1 for through in ports), "a frame was lost, or came twice"
        return Counter(through[0] for through in ports)


def plain(source: bytes = b"\x02\0\0\0\x01\x01") -> bytes:
    """A frame of a protocol nobody speaks."""
    return GATEWAY + source + struct.pack("!H", ETHERTYPE_TEST) + bytes(50)


@contextmanager
def quiet(ports: int = 2) -> Iterator[Bench]:
    """A bench whose host does not speak by itself: the messages of IPv6 take turns too."""
    with bench(ports) as on:
        on.on_host("for scope in all default; do echo 1 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6; done")
        yield on


@contextmanager
def wires(config: str, ports: int = 2, prepare: Callable[[Bench], None] | None = None) -> Iterator[Wires]:
    """Everything up, team0 too; nobody but the test speaks."""
    with quiet(ports) as on, ExitStack() as stack:
        if prepare is not None:
            prepare(on)
        stack.enter_context(daemon(PYTEAMD, on, config))
        on.on_host("ip link set team0 up")
        for number in range(1, ports + 1):
            on.await_driver(number, True)
        wait_for(lambda: on.on_host("teamdctl team0 state").out.count("link summary: up") == ports)
        ears = {number: Ear(on.switch, f"p{number}", outgoing=False) for number in range(1, ports + 1)}
        mouth = Ear(on.host, "team0", protocol=0)
        at = Wires(on, ears, mouth)
        try:
            wait_for(lambda: at.sent([plain()], patience_s=0.02)[0], what="team0 sends")
            yield at
        finally:
            for ear in (*ears.values(), mouth):
                ear.close()


def runner(name: str, more: str = "", ports: int = 2, port: str = "{}") -> str:
    """A configuration."""
    names = ", ".join(f'"em{number}": {port}' for number in range(1, ports + 1))
    return f'{{"runner": {{"name": "{name}"{more}}}, "ports": {{{names}}}}}'


def test_broadcast_sends_every_frame_everywhere() -> None:
    with wires(runner("broadcast", ports=3), 3) as at:
        assert all(sorted(through) == [1, 2, 3] for through in at.sent([plain()] * 100, copies=3))
        at.cut(2)
        assert all(sorted(through) == [1, 3] for through in at.sent([plain()] * 100, copies=2))
        at.mend(2)
        assert all(sorted(through) == [1, 2, 3] for through in at.sent([plain()] * 100, copies=3))


def test_roundrobin_takes_turns() -> None:
    with wires(runner("roundrobin")) as at:
        turns = [through[0] for through in at.sent([plain()] * 200)]
        assert all(before != after for before, after in itertools.pairwise(turns))
        at.cut(1)
        assert at.counts() == {2: 200}
        at.mend(1)
        assert at.counts() == {1: 100, 2: 100}


def test_random_spreads() -> None:
    with wires(runner("random")) as at:
        counts = at.counts(1000)
        assert sum(counts.values()) == 1000
        assert 400 < counts[1] < 600, "less likely than one in 10**9"
        at.cut(2)
        assert at.counts() == {1: 200}
        at.mend(2)
        assert len(at.counts()) == 2


def test_a_ping_watcher_takes_a_port_out_of_service() -> None:
    """The kernel decides by the raw link, unless a watcher gives it its verdict instead (`user_linkup`)."""
    watch = '{"link_watch": {"name": "arp_ping", "interval": 100, "missed_max": 2, "target_host": "192.0.2.1"}}'

    def targets(on: Bench) -> None:
        on.on_switch("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        for number in (1, 2):
            on.on_switch(f"ip addr add 192.0.2.1/24 dev p{number}")

    with wires(runner("roundrobin", port=watch), prepare=targets) as at:
        assert at.counts() == {1: 100, 2: 100}
        at.on.on_switch("ip link set p1 arp off")
        wait_for(lambda: at.on.options()["user_linkup (port:em1)"] == "false")
        assert at.counts() == {2: 200}
        at.on.on_switch("ip link set p1 arp on")
        wait_for(lambda: at.on.options()["user_linkup (port:em1)"] == "true")
        assert at.counts() == {1: 100, 2: 100}


# Flows and hashes


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow, as a user would describe it, and its frames as the test makes them."""

    src: str
    dst: str
    proto: str
    sport: int
    dport: int

    def frame(self, mac: bytes) -> bytes:
        """Built by scapy."""
        from scapy.layers.inet import IP, TCP, UDP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.l2 import Ether

        network = IPv6 if ":" in self.src else IP
        transport = TCP if self.proto == "tcp" else UDP
        packet = Ether(src=mac, dst=GATEWAY) / network(src=self.src, dst=self.dst)
        return bytes(packet / transport(sport=self.sport, dport=self.dport) / bytes(20))

    def words(self) -> str:
        """For the command line."""
        ports = f"--proto {self.proto} --sport {self.sport} --dport {self.dport}"
        return f"--src {self.src} --dst {self.dst} {ports} --dmac {GATEWAY.hex(':')}"

    def described(self) -> dict[str, str]:
        """For the control method."""
        ports = {"proto": self.proto, "sport": str(self.sport), "dport": str(self.dport)}
        return {"src": self.src, "dst": self.dst, "dmac": GATEWAY.hex(":"), **ports}


def flows(count: int, seed: int) -> list[Flow]:
    """This many, IPv4 and IPv6, TCP and UDP."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        near, far = rng.randrange(1, 255), rng.randrange(1, 65535)
        if rng.random() < 0.5:
            ends = f"192.0.2.{near}", f"198.51.{far >> 8}.{far & 255}"
        else:
            ends = f"2001:db8::{near:x}", f"2001:db8:1::{far:x}"
        made.append(Flow(*ends, rng.choice(("tcp", "udp")), rng.randrange(1024, 65536), rng.randrange(1, 1024)))
    return made


FRAGMENTS = ("eth", "vlan", "ip", "l4")
TX_HASH = ', "tx_hash": ["eth", "vlan", "ip", "l4"]'


def order_of_ports(at: Wires) -> list[int]:
    """The driver's numbering, found out with frames of known hash: bucket modulo ports leads through them."""
    frames = [plain(bytes((2, 0, 0, 0, 1, byte))) for byte in range(64)]
    numbers = [fold(reference_hash(FRAGMENTS, frame)) % len(at.ears) for frame in frames]
    found = {number: through[0] for number, through in zip(numbers, at.sent(frames), strict=True)}
    return [found[number] for number in range(len(at.ears))]


def test_passive_hashing_keeps_each_flow_on_the_port_that_the_hash_says() -> None:
    """1,000 flows of three frames each; the prediction is that of `reference_hash`, which shares no code with the program in the kernel."""
    with wires(runner("loadbalance", TX_HASH, ports=3), 3) as at:
        order = order_of_ports(at)
        assert sorted(order) == [1, 2, 3]
        mac = bytes.fromhex(at.on.mac("team0").replace(":", ""))
        frames = [flow.frame(mac) for flow in flows(1000, seed=4)]
        came = at.sent(frames * 3)
        expected = [order[fold(reference_hash(FRAGMENTS, frame)) % 3] for frame in frames]
        assert came == [[port] for port in expected * 3]
        shares = Counter(expected)
        assert all(250 < shares[port] < 420 for port in (1, 2, 3)), shares
        at.cut(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "false")
        assert {through[0] for through in at.sent(frames)} == {1, 3}
        at.mend(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "true")
        assert {through[0] for through in at.sent(frames)} == {1, 2, 3}


@pytest.mark.parametrize("balancer", ["", ', "tx_balancer": {"name": "basic", "balancing_interval": 600}'])
def test_hash_predicts_the_port_of_a_thousand_flows(balancer: str) -> None:
    """Asked of the daemon by the client library, one connection for all; also after ports were gone and came back.

    Ports that come in one moment of a busy machine have numbers that a daemon can only guess: two leave, so that one guess is left.
    """
    from pyteamd.client.client import Client
    from pyteamd.schema import json_text

    with wires(runner("loadbalance", TX_HASH + balancer, ports=3), 3) as at:
        for number in (1, 3):
            at.cut(number)
            wait_for(lambda port=f"em{number}": at.on.options()[f"enabled (port:{port})"] == "false")
            at.mend(number)
            wait_for(lambda port=f"em{number}": at.on.options()[f"enabled (port:{port})"] == "true")
        mac = bytes.fromhex(at.on.mac("team0").replace(":", ""))
        asked = flows(1000, seed=7)
        with Client.connect("team0") as client:

            def answer(flow: Flow) -> dict[str, Any]:
                return json_text.loads(client.fetch("FlowHash", json.dumps(flow.described())))

            wait_for(
                lambda: answer(asked[0])["certain"] and answer(asked[0])["ports"] == 3,
                what="the daemon knows the numbers",
            )
            for first in range(0, len(asked), 100):
                some = asked[first : first + 100]
                answers = [answer(flow) for flow in some]
                came = at.sent([flow.frame(mac) for flow in some])
                assert [[f"em{port}" for port in through] for through in came] == [[a["port"]] for a in answers], (
                    answers[0]
                )
                assert all(a["certain"] for a in answers)
        said = at.on.pyteamdctl(f"team0 hash {asked[0].words()}")
        assert (said.status, said.err) == (0, "")
        assert f"bucket: {fold(reference_hash(FRAGMENTS, asked[0].frame(mac)))}\n" in said.out
        raw = at.on.pyteamdctl(f"team0 hash {asked[0].frame(mac).hex()}")
        assert raw.out == said.out
        shown = at.on.pyteamdctl("team0 balance").out
        assert shown.count(" of 256 buckets") == 3
        assert "evenness: 0." in shown or "evenness: 1." in shown


def test_by_hand_behind_our_back() -> None:
    """As teamd: loadbalance enables a port whose link is up at once; the runners of the kernel have no opinion."""
    with wires(runner("loadbalance")) as at:
        at.on.on_host("teamnl team0 setoption -p em2 enabled false")
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "true")
        at.cut(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "false")
        at.on.on_host("teamnl team0 setoption -p em2 enabled true")
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "false")
    with wires(runner("roundrobin")) as at:
        at.on.on_host("teamnl team0 setoption -p em2 enabled false")
        time.sleep(0.3)
        assert at.on.options()["enabled (port:em2)"] == "false"
        assert at.counts() == {1: 200}
