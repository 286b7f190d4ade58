"""LACP on the real driver, continued: tests T04, T22, T23 and T28 to T30, which need a team of their own. See test_lacp.py."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from lab_kit import PYTEAMD, bench, dump, run
from lacp_kit import (
    COLLECTING,
    DISTRIBUTING,
    IN_SERVICE,
    LIMIT,
    LONG,
    SYNC,
    Peer,
    apply,
    config,
    enabled,
    port_state,
    serving,
    team,
    wire,
    worst_second,
)
from wire_kit import Tap

from pyteamd.core.trace import entry
from pyteamd.model.desired import SetCarrier, SetOption

pytestmark = pytest.mark.kernel

SERVES = ("enabled", "tx_enabled")
"""The option that switches sending, without and with the other."""


def test_t04_two_passive_ends_are_silent_until_one_speaks() -> None:
    with bench(1) as on, team(on, config(1, active=False)), wire(on, 1) as a:
        a.peers[1].every_s = None
        a.run(3.5 if not LONG else 60.0)
        spoken = time.monotonic()
        a.run(2.0)
        assert a.peers[1].since(spoken) == []
        a.peers[1].every_s = 1.0
        a.await_service(1)
        a.run(1.5)
        assert a.peers[1].heard[-1][1].actor_state == IN_SERVICE & ~1


def test_t22_unlike_speeds_are_kept_apart_where_keys_follow_speed_and_the_policy_chooses() -> None:
    """em1 is a veth, which has 10 Gb/s; em2 is a tap, which has what one gives it, and whose cable ends in this process."""
    run("modprobe tun")
    with bench(1) as on, Tap(on.host, "em2", 1000) as tap, wire(on, 1) as a:
        a.peers[2] = Peer(on, 2, a.peers[1].system, tap)
        with team(on, config(2, key_policy="speed", agg_select_policy="bandwidth")):
            a.await_service(1)
            a.run(0.5)
            assert serving() == {1}
            assert port_state(2)["details"]["blocked_by"] == "other_aggregate"
            keys = [peer.heard[-1][1].actor_key for peer in a.peers.values()]
            assert keys[0] != keys[1]
            apply(config(2))
            a.await_service(1, 2)


def test_t23_port_numbers_are_unique_and_not_zero_whatever_the_ifindex() -> None:
    with bench(0) as on:
        for number, ifindex in ((1, 65536), (2, 65537), (3, 131073)):
            on.on_host(f"ip link add em{number} index {ifindex} type veth peer name p{number}")
            on.on_host(f"ip link set p{number} netns {on.switch}")
            on.on_switch(f"ip link set p{number} up")
        with team(on, config(3)), wire(on, 3) as a:
            a.await_service(1, 2, 3)
            numbers = {peer.heard[-1][1].actor_port_number for peer in a.peers.values()}
            assert len(numbers) == 3
            assert 0 not in numbers


def carrier_steps() -> list[tuple[bool, dict[int, bool]]]:
    """Each step in which the daemon set the carrier: to what, and what it wrote about ports in the same step, by ifindex."""
    lines: list[str] = []
    start: int | None = 0
    while start is not None:
        piece = json.loads(dump("Trace", "team0", str(start)))
        lines += piece["lines"]
        start = piece["next"]
    found = []
    for line in lines[1:]:
        writes = entry(json.loads(line), 0.0).writes
        ports = {one.key.port: one.value for one in writes if isinstance(one, SetOption) and one.key.name in SERVES}
        found += [(one.up, ports) for one in writes if isinstance(one, SetCarrier)]
    return found


def test_t28_carrier_follows_min_ports_in_the_same_step() -> None:
    """No time passes in a step of the daemon; how soon the kernel does what it is told is the machine's affair."""
    with bench(3) as on, team(on, config(3, min_ports=2)), wire(on, 3) as a:

        def carrier() -> str:
            return on.on_host("cat /sys/class/net/team0/carrier").out.strip()

        ports = {number: int(on.on_host(f"cat /sys/class/net/em{number}/ifindex").out) for number in (1, 2, 3)}
        assert carrier() == "0"
        a.await_service(1, 2, 3, timeout_s=20.0)
        a.run(10.0, lambda: carrier() == "1")
        up, served = carrier_steps()[-1]
        assert (carrier(), up, sum(served.values()) >= 1) == ("1", True, True), carrier_steps()
        before = len(carrier_steps())
        a.links.up("p1", False)
        a.await_service(2, 3, timeout_s=20.0)
        assert (carrier(), len(carrier_steps())) == ("1", before), "two are enough"
        a.links.up("p2", False)
        a.await_service(3, timeout_s=20.0)
        a.run(10.0, lambda: carrier() == "0")
        assert carrier_steps()[before:] == [(False, {ports[2]: False})]
        a.links.up("p2", True)
        a.await_service(2, 3, timeout_s=20.0)
        a.run(10.0, lambda: carrier() == "1")
        assert carrier_steps()[before + 1 :] == [(True, {ports[2]: True})]


@pytest.mark.parametrize("flags", ["", "-N"], ids=["with -k", "with -N"])
def test_t29_leaving_is_told_and_keeping_is_not(flags: str) -> None:
    with bench(1) as on, team(on, config(1), flags=flags) as started, wire(on, 1) as a:
        a.await_service(1)
        a.run(1.0)
        peer = a.peers[1]
        count = len(peer.heard)
        assert started.stop().status == 0
        a.run(2.5)
        after = [pdu for _, pdu in peer.heard[count:]]
        if flags:
            assert all(pdu.actor_state == IN_SERVICE for pdu in after)
            assert enabled(on, 1)
        else:
            assert after, "a last word"
            assert not after[-1].actor_state & (SYNC | COLLECTING | DISTRIBUTING)
            assert worst_second([at for at, _ in peer.heard[count:]]) <= LIMIT


def test_t30_a_restart_after_sigkill_is_seen_by_nobody() -> None:
    with bench() as on, team(on, config()) as started, wire(on) as a:
        a.await_service(1, 2)
        a.run(1.0)
        began = time.monotonic()
        os.kill(started.pid, 9)
        words = ["ip", "netns", "exec", on.host, *PYTEAMD.split(), "-d", "-o", "-t", "team0", "-c", config()]
        successor = subprocess.Popen(words)
        a.run(15.0, lambda: successor.poll() is not None)
        assert successor.wait() == 0
        a.run(2.0)
        for peer in a.peers.values():
            assert [hex(pdu.actor_state) for _, pdu in peer.since(began) if pdu.actor_state != IN_SERVICE] == []
            echoes = {(pdu.partner_system, pdu.partner_port_number, pdu.partner_state) for _, pdu in peer.since(began)}
            assert echoes == {(peer.system, peer.port, IN_SERVICE)}
            assert len(peer.since(began)) >= 2
        assert serving() == {1, 2}
