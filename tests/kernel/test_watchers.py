"""Ping watchers on the real driver: a target that falls silent while the carrier stays, watched from the host and from the wire.

    host: em1 ──── p1 ─ b1 :switch        b1 and b2 both have the targets' addresses, and know nothing of each other
          em2 ──── p2 ─ b2

The way of a port is cut behind p1, so that em1 keeps its carrier. The definition that is checked: a target is dead when more than
`missed_max` probes in a row were not answered, so between `missed_max` and `missed_max` + 1 intervals after it fell silent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, daemon, state, wait_for
from wire_kit import ActivePort, Ear, Heard, Links

pytestmark = pytest.mark.kernel

INTERVAL_S = 0.1
LATE_S = 0.05
LONG = bool(os.environ.get("PYTEAMD_LONG"))
"""All ways to cut a way, and two minutes of loss (test_watcher_stories.py)."""
TRIES = 8
"""Measurements during which the machine stood still are repeated; so many times at most."""
MISSED_MAX = 3
ARP = (
    '{"name": "arp_ping", "interval": 100, "missed_max": 3, "source_host": "192.0.2.2", "target_host": "192.0.2.1",'
    ' "validate_active": true, "validate_inactive": true, "send_always": true%s}'
)
NSNA = '{"name": "nsna_ping", "interval": 100, "missed_max": 3, "target_host": "2001:db8::1"%s}'


def config(watch: str, more: str = "", runner: str = '{"name": "activebackup"}') -> str:
    """em1 is preferred, so that it is active again as soon as it is up again."""
    return f'{{"runner": {runner}, "link_watch": {watch}, "ports": {{"em1": {{"prio": 10}}, "em2": {{}}}}{more}}}'


@dataclass
class Ways:
    """The bench with a bridge behind each port, and what is needed to cut and to listen."""

    on: Bench
    links: Links
    active: ActivePort
    host_ports: dict[int, int] = field(default_factory=dict)

    def settle_on(self, number: int, timeout_s: float = 8.0) -> None:
        """Wait until this port is active and all watchers are up; then for an answer more."""
        wait_for(lambda: self.active_port() == f"em{number}" and self.watchers() == ["up", "up"], timeout_s)

    def active_port(self) -> str:
        """Asked in a few milliseconds, which C teamdctl cannot."""
        return str(state()["runner"]["active_port"])

    def watchers(self) -> list[str]:
        """The verdict of each port."""
        return ["up" if port["link_watches"]["up"] else "down" for port in state()["ports"].values()]

    def port_item(self, number: int, path: str) -> str:
        """A member of a port's first watcher."""
        return str(self._first(number)[path])

    def target(self, number: int, address: str) -> dict[str, Any]:
        """What a port's first watcher says of one of several targets."""
        found: dict[str, Any] = self._first(number)["targets"][address]
        return found

    def _first(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = state()["ports"][f"em{number}"]["link_watches"]["list"]["link_watch_0"]
        return found


@contextmanager
def ways(addresses: bool = True) -> Iterator[Ways]:
    """A new one for each test."""
    with bench() as on:
        # Else p1 would answer for an address of b1 as soon as it is no part of it.
        on.on_switch("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        for number in (1, 2):
            on.on_switch(
                f"ip link add b{number} type bridge mcast_snooping 0 && ip link set b{number} up &&"
                f" ip link set p{number} master b{number}"
            )
            if addresses:
                on.on_switch(f"ip addr add 192.0.2.1/24 dev b{number}; ip addr add 2001:db8::1/64 nodad dev b{number}")
        made = Ways(on, Links(on.switch), ActivePort(on.host))
        links = Links(on.host)
        made.host_ports = {number: links.index(f"em{number}") for number in (1, 2)}
        links.close()
        try:
            yield made
        finally:
            made.links.close()
            made.active.close()


def no_arp(at: Ways, cut: bool) -> None:
    at.links.answers_arp("b1", not cut)


def out_of_the_bridge(at: Ways, cut: bool) -> None:
    at.links.master("p1", "" if cut else "b1")


def all_lost(at: Ways, cut: bool) -> None:
    at.on.on_switch(f"tc qdisc {'add' if cut else 'del'} dev p1 root{' netem loss 100%' if cut else ''}")


def far_too_slow(at: Ways, cut: bool) -> None:
    at.on.on_switch(f"tc qdisc {'add' if cut else 'del'} dev p1 root{' netem delay 900ms' if cut else ''}")


def bridge_down(at: Ways, cut: bool) -> None:
    at.links.up("b1", not cut)


def no_address(at: Ways, cut: bool) -> None:
    at.on.on_switch(f"ip addr {'del' if cut else 'add'} 2001:db8::1/64 dev b1{'' if cut else ' nodad'}")


def check_cut(at: Ways, cut: Callable[[Ways, bool], None], missed_max: int = MISSED_MAX) -> None:
    """Cut the way of em1: em2 takes over in time, not too early; the way is mended: em1 is active again."""
    for _ in range(TRIES):
        at.settle_on(1)
        at.active.wait(0.5)  # answers were slow while the daemon was asked for its state; it forgets
        stood_still_s = at.active.stalled_s
        least_s, most_s = at.active.time_of(lambda: cut(at, True), at.host_ports[2], 5.0)
        stood_still_s += at.active.stalled_s
        carrier = at.on.on_host("cat /sys/class/net/em1/carrier").out.strip()
        at.active.forget()
        cut(at, False)
        assert at.active.wait(5.0, at.host_ports[1])[1], f"{cut.__name__}: em1 is not active again"
        assert carrier == "1", f"{cut.__name__}: the carrier went too"
        assert most_s >= missed_max * INTERVAL_S, f"{cut.__name__}: {most_s:.3f} s is too early"
        if least_s <= (missed_max + 1) * INTERVAL_S + LATE_S:
            return
        text = f"{cut.__name__}: {least_s:.3f} s is too late, though the machine stood still for {stood_still_s:.3f} s"
        # Where answers were slow of late, half as long again is waited for the one that decides.
        assert least_s - 1.5 * stood_still_s <= (missed_max + 1) * INTERVAL_S + LATE_S, text
    pytest.fail(f"{cut.__name__}: too late {TRIES} times, though the machine did stand still each time")


def test_arp_ping_moves_the_active_port_in_time() -> None:
    with ways() as at, daemon(PYTEAMD, at.on, config(ARP % "")):
        at.settle_on(1)
        with Ear(at.on.switch, "p1") as ear:
            check_probe_arp(ear, at.on.mac("em1"), vlan=None)
        for cut in (no_arp, out_of_the_bridge, all_lost, far_too_slow, *([bridge_down] if LONG else [])):
            check_cut(at, cut)


def test_nsna_ping_moves_the_active_port_in_time() -> None:
    with ways() as at, daemon(PYTEAMD, at.on, config(NSNA % "")):
        at.settle_on(1)
        with Ear(at.on.switch, "p1") as ear:
            check_probe_nsna(ear, at.on.mac("em1"))
        with Ear(at.on.switch, "p2") as ear:  # idle: not the team's address, which would lead the switch astray
            check_probe_nsna(ear, "02:00:00:00:01:02")
        for cut in (no_address, all_lost, *([out_of_the_bridge, far_too_slow] if LONG else [])):
            check_cut(at, cut)


def test_an_answer_that_takes_longer_than_the_interval_is_an_answer() -> None:
    with ways() as at, daemon(PYTEAMD, at.on, config(ARP % "")):
        at.settle_on(1)
        for number in (1, 2):
            at.on.on_switch(f"tc qdisc add dev p{number} root netem delay 150ms")
        at.active.forget()
        assert at.active.wait(3.0) == (0.0, 0)
        assert [at.port_item(number, "down_count") for number in (1, 2)] == ["0", "0"]


def test_tagged_probes() -> None:
    with ways(addresses=False) as at:
        for number in (1, 2):
            at.on.on_switch(
                f"ip link add link b{number} name v{number} type vlan id 7 && ip link set v{number} up"
                f" && ip addr add 192.0.2.1/24 dev v{number}"
            )
        with daemon(PYTEAMD, at.on, config(ARP % ', "vlanid": 7')), Ear(at.on.switch, "p1") as ear:
            at.settle_on(1)
            check_probe_arp(ear, at.on.mac("em1"), vlan=7)
            check_cut(at, lambda at, cut: at.links.answers_arp("v1", not cut))


def check_probe_arp(ear: Ear, mac: str, vlan: int | None) -> None:
    """Every probe on the wire, taken apart by scapy."""
    from scapy.layers.l2 import ARP as Arp
    from scapy.layers.l2 import Dot1Q, Ether

    probes = [heard for heard in frames_for(ear, 0.5) if not heard.outgoing and Ether(heard.octets).haslayer(Arp)]
    assert 3 <= len(probes) <= 7, len(probes)
    for probe in probes:
        packet = Ether(probe.octets)
        assert (packet.src, packet.dst) == (mac, "ff:ff:ff:ff:ff:ff")
        assert (packet[Dot1Q].vlan if Dot1Q in packet else None) == vlan
        asked = packet[Arp]
        assert (asked.op, asked.hwtype, asked.ptype, asked.hwlen, asked.plen) == (1, 1, 0x0800, 6, 4)
        assert (asked.hwsrc, asked.psrc) == (mac, "192.0.2.2")
        assert (asked.hwdst, asked.pdst) == ("ff:ff:ff:ff:ff:ff", "192.0.2.1")


def check_probe_nsna(ear: Ear, mac: str) -> None:
    """The same for neighbour solicitations."""
    from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
    from scapy.layers.l2 import Ether

    heard = [Ether(frame.octets) for frame in frames_for(ear, 0.5) if not frame.outgoing]
    probes = [packet for packet in heard if packet.haslayer(ICMPv6ND_NS) and packet[ICMPv6ND_NS].tgt == "2001:db8::1"]
    assert 3 <= len(probes) <= 7, len(probes)
    for packet in probes:
        assert (packet.src, packet.dst) == (mac, "33:33:ff:00:00:01")
        header, asked = packet[IPv6], packet[ICMPv6ND_NS]
        octets = bytes.fromhex(mac.replace(":", ""))
        identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
        source = str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))
        assert (header.src, header.dst, header.hlim, header.plen) == (source, "ff02::1:ff00:1", 255, 32)
        assert packet[ICMPv6NDOptSrcLLAddr].lladdr == mac
        checksum = asked.cksum
        del asked.cksum
        assert Ether(bytes(packet))[ICMPv6ND_NS].cksum == checksum


def frames_for(ear: Ear, seconds: float) -> list[Heard]:
    """What is on the wire in the time to come."""
    ear.hear()
    time.sleep(seconds)
    return ear.hear()
