"""Ping watchers on the real driver, continued: loss by chance, flooded broadcasts, absent targets, combinations, bad configurations."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from lab_kit import PYTEAMD, bench, daemon, wait_for
from test_watchers import (
    ARP,
    INTERVAL_S,
    LONG,
    MISSED_MAX,
    NSNA,
    check_cut,
    config,
    no_arp,
    ways,
)
from wire_kit import Ear, Heard

pytestmark = pytest.mark.kernel

LOSS = 0.3
LOSS_S = float(os.environ.get("PYTEAMD_LOSS_S") or ("120" if LONG else "5"))
"""How long frames are lost."""
UNLIKELY = 1e-6
PLAIN = '{"name": "arp_ping", "interval": 100, "missed_max": 3, "target_host": "192.0.2.1"}'


def is_probe(octets: bytes) -> bool:
    """An ARP request for the target."""
    return octets[12:14] == b"\x08\x06" and octets[20:22] == b"\0\1" and octets[38:42] == bytes((192, 0, 2, 1))


def is_answer(octets: bytes) -> bool:
    """An ARP reply of the target."""
    return octets[12:14] == b"\x08\x06" and octets[20:22] == b"\0\2" and octets[28:32] == bytes((192, 0, 2, 1))


def deaths(frames: list[Heard]) -> tuple[int, int, int]:
    """From the wire alone: how often more than MISSED_MAX probes in a row got no answer, of how many, and how many got none."""
    answered: list[bool] = []
    for frame in frames:
        if not frame.outgoing and is_probe(frame.octets):
            answered.append(False)
        elif frame.outgoing and is_answer(frame.octets) and answered:
            answered[-1] = True
    died, in_a_row = 0, 0
    for got in answered:
        in_a_row = 0 if got else in_a_row + 1
        died += in_a_row == MISSED_MAX + 1
    return died, len(answered), answered.count(False)


def at_least(count: int, expected: float) -> float:
    """Probability of `count` or more events when `expected` are expected (Poisson)."""
    return 1.0 - sum(math.exp(-expected) * expected**n / math.factorial(n) for n in range(count))


def test_thirty_percent_loss_kills_no_target_but_by_chance() -> None:
    """A target dies when MISSED_MAX + 1 probes in a row are lost.

    With loss p a given probe is the one that completes such a run with probability (1 - p) p**4 = 0.7 * 0.0081 = 0.0057, so n probes see
    0.0057 n deaths on average: 14 in two minutes on two ports. The wire says how many there really were, and the daemon has to have
    counted exactly those; that many must not be unlikelier than one in a million.
    """
    with ways() as at, daemon(PYTEAMD, at.on, config(ARP % "")):
        at.settle_on(1)
        frames: dict[int, list[Heard]] = {1: [], 2: []}
        before = {number: int(at.port_item(number, "down_count")) for number in frames}
        with Ear(at.on.switch, "p1") as first, Ear(at.on.switch, "p2") as second:
            for number in (1, 2):
                at.on.on_switch(f"tc qdisc add dev p{number} root netem loss {LOSS:.0%}")
            end_s = time.monotonic() + LOSS_S
            while time.monotonic() < end_s:
                time.sleep(0.1)
                frames[1] += first.hear()
                frames[2] += second.hear()
            for number in (1, 2):
                at.on.on_switch(f"tc qdisc del dev p{number} root")
            time.sleep(3 * INTERVAL_S)
            frames[1] += first.hear()
            frames[2] += second.hear()
        total = probes = unanswered = 0
        for number, heard in frames.items():
            died, sent, lost = deaths(heard)
            assert sent > 0.8 * LOSS_S / INTERVAL_S
            assert int(at.port_item(number, "down_count")) - before[number] == died
            total += died
            probes += sent
            unanswered += lost
        five_sigma = 5 * math.sqrt(LOSS * (1 - LOSS) / probes) + 8 / probes  # a few probes before and after the loss
        assert abs(unanswered / probes - LOSS) < five_sigma, "netem did not lose what it was told to"
        expected = probes * (1 - LOSS) * LOSS ** (MISSED_MAX + 1)
        print(f"{LOSS_S:g} s: {probes} probes, {unanswered} unanswered, {total} deaths, {expected:.1f} expected")
        assert at_least(total, expected) > UNLIKELY, f"{total} deaths, {expected:.1f} expected"
        at.settle_on(1)


def test_own_broadcasts_do_not_keep_a_dead_link_up() -> None:
    with ways(addresses=False) as at:
        at.on.on_switch(
            "ip addr add 192.0.2.1/24 dev b1 && ip link add c1 type veth peer name c2 && ip link set c1 master b1 up"
            " && ip link set c2 master b2 up"
        )
        with daemon(PYTEAMD, at.on, config(PLAIN)):
            # em2 is silent, and alive because it hears what em1 broadcasts, and em1 is answered.
            at.settle_on(1)
            no_arp(at, True)
            wait_for(lambda: at.watchers() == ["down", "down"])
            with Ear(at.on.switch, "p2", outgoing=True) as ear:
                time.sleep(1.0)
                flooded = [heard for heard in ear.hear() if heard.outgoing and is_probe(heard.octets)]
            assert len(flooded) >= 5, "the switch floods no broadcasts"
            assert at.watchers() == ["down", "down"]
            no_arp(at, False)
            wait_for(lambda: at.watchers() == ["up", "up"])


def test_targets_absent_at_the_start_and_several_of_them() -> None:
    watch = '{"link_watch": {"name": "arp_ping", "interval": 100, "missed_max": 3, "source_host": "192.0.2.2",'
    watch += ' "target_hosts": ["192.0.2.1", "192.0.2.9"], "target_policy": "%s", "send_always": true}}'
    text = f'{{"runner": {{"name": "activebackup"}}, "ports": {{"em1": {watch % "any"}, "em2": {watch % "all"}}}}}'
    with ways(addresses=False) as at, daemon(PYTEAMD, at.on, text):
        wait_for(lambda: int(at.port_item(1, "missed")) > 3 * MISSED_MAX)
        assert at.watchers() == ["down", "down"]
        for number in (1, 2):
            at.on.on_switch(f"ip addr add 192.0.2.9/24 dev b{number}")
        wait_for(lambda: at.watchers() == ["up", "down"] and at.target(2, "192.0.2.9")["up"])
        assert at.target(2, "192.0.2.9")["missed"] <= MISSED_MAX
        assert at.target(2, "192.0.2.1")["up"] is False
        assert at.target(2, "192.0.2.1")["missed"] > 3 * MISSED_MAX
        for number in (1, 2):
            at.on.on_switch(f"ip addr add 192.0.2.1/24 dev b{number}")
        wait_for(lambda: at.watchers() == ["up", "up"])


@pytest.mark.parametrize("policy", ["all", "any"])
def test_together_with_ethtool(policy: str) -> None:
    text = config(f'[{{"name": "ethtool"}}, {ARP % ""}]', f', "link_watch_policy": "{policy}"')
    with ways() as at, daemon(PYTEAMD, at.on, text):
        at.settle_on(1)
        if policy == "all":
            check_cut(at, no_arp)
            at.settle_on(1)
            _, most_s = at.active.time_of(lambda: at.links.up("p1", False), at.host_ports[2], 3.0)
            assert most_s < MISSED_MAX * INTERVAL_S, "a lost carrier need not wait for probes"
        else:
            at.active.forget()
            no_arp(at, True)
            wait_for(lambda: at.on.on_host("teamdctl team0 state").out.count("link: down") == 1)
            assert at.active.wait(0.5) == (0.0, 0)
            assert at.watchers() == ["up", "up"]


def test_an_idle_nsna_port_comes_back() -> None:
    with ways() as at, daemon(PYTEAMD, at.on, config(NSNA % "")):
        at.settle_on(1)
        at.active.forget()
        at.links.master("p2", "")
        wait_for(lambda: at.watchers() == ["up", "down"])
        at.links.master("p2", "b2")
        wait_for(lambda: at.watchers() == ["up", "up"])
        assert at.active.wait(0.1) == (0.0, 0)


BAD = {
    "em2": ('{"name": "arp_ping"}', "target_host: missing"),
    "em3": ('{"name": "arp_ping", "target_host": "2001:db8::1"}', "2001:db8::1"),
    "em4": ('{"name": "arp_ping", "target_host": "192.0.2.1", "interval": 0}', "interval"),
    "em5": ('{"name": "arp_ping", "target_host": "192.0.2.1", "vlanid": 4096}', "vlanid"),
    "em6": ('{"name": "tipc", "tipc_bearer": "x"}', "tipc"),
    "em8": ('{"name": "arp_ping", "target_host": "192.0.2.1", "interval": -5}', "interval"),
    "em9": ('{"name": "heartbeat"}', "heartbeat"),
}


def test_bad_watchers_cost_their_port_and_nothing_else() -> None:
    log = Path("/tmp/bad-watchers.log")
    ports = ", ".join(f'"{name}": {{"link_watch": {text}}}' for name, (text, _) in BAD.items())
    ports += ', "em7": {"link_watch": {"name": "nsna_ping", "target_host": "no-such-host.invalid"}}'
    whole = f'{{"runner": {{"name": "activebackup"}}, "ports": {{"em1": {{}}, {ports}}}}}'
    with bench(9) as on:
        on.on_host(f"{PYTEAMD} -t team0 -c '{whole}' 2>{log} &")
        try:
            wait_for(lambda: log.exists() and log.read_text().count("port refused") >= len(BAD), 15.0, str(BAD))
            wait_for(lambda: on.active() == "em1")
            lines = log.read_text().splitlines()
            for name, (_, why) in BAD.items():
                about = [line for line in lines if f"{name}: port refused" in line]
                assert len(about) == 1, (name, about)
                assert why in about[0]
                assert on.on_host(f"teamdctl team0 port present {name}").status == 1
            # A name may be found later: its port joins, and its watcher says down.
            assert on.on_host("teamdctl team0 port present em7").status == 0
            assert any("no-such-host.invalid" in line for line in lines)
            on.cut(1)
            wait_for(lambda: "link summary: down" in on.on_host("teamdctl team0 state").out)
        finally:
            on.pyteamd("-k -t team0")
