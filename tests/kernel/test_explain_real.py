"""Sentences of `explain` on the real driver, each by causing its cause."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from lab_kit import PYTEAMD, RUN_DIR, Bench, bench, daemon, wait_for

pytestmark = pytest.mark.kernel


def says(on: Bench, port: str, words: str, timeout_s: float = 8.0) -> None:
    """The sentence of a port contains these words, soon."""
    last = ""

    def look() -> bool:
        nonlocal last
        last = on.on_host(f"TERM=dumb pyteamdctl team0 explain {port}").out
        return words in last

    try:
        wait_for(look, timeout_s)
    except AssertionError:
        raise AssertionError(f"{words!r} is not in {last!r}") from None


def backup(ports: dict[str, Any], **more: Any) -> str:
    return json.dumps({"runner": {"name": "activebackup"}, "ports": ports, **more})


def test_links_and_priorities() -> None:
    ports: dict[str, Any] = {"em1": {"prio": 100}, "em2": {"sticky": True}, "em9": {}, "ifb1": {}}
    with bench() as on:
        on.on_host("ip link add ifb1 address 02:00:00:00:01:99 type ifb")  # whose address nobody can change
        with daemon(PYTEAMD, on, backup(ports, hwaddr="02:00:00:00:01:99")):
            _links_and_priorities(on)


def _links_and_priorities(on: Bench) -> None:
    says(on, "em1", "team0 is administratively down (ip link set team0 up)")
    on.on_host("ip link set team0 up")
    says(on, "em1", "carries traffic as the active port")
    says(on, "em2", "standby")
    says(on, "em2", "em1 is active with prio 100 over 0")
    says(on, "em9", "there is no such interface (it joins when it appears)")
    on.cut(1)
    says(on, "em1", "no carrier for")
    on.mend(1)
    says(on, "em1", "em2 is sticky and stays while it is up")
    on.on_host("ip link set em1 down")
    says(on, "em1", "is administratively down")
    on.on_host("ip link set em2 nomaster")
    says(on, "em2", "is no port: another program took it out")
    says(on, "ifb1", "carries traffic as the active port")
    on.on_host("ip link set team0 address 02:00:00:00:01:98")
    says(on, "ifb1", "the kernel refuses to set address of ifb1 to 02:00:00:00:01:98: operation not supported (tried")


def test_delays_and_silent_targets() -> None:
    with bench() as on:
        with daemon(
            PYTEAMD, on, backup({"em1": {}}, link_watch={"name": "ethtool", "delay_up": 4000, "delay_down": 4000})
        ):
            on.on_host("ip link set team0 up")
            says(on, "em1", "delay_up still running")
            says(on, "em1", "carries traffic", 10.0)
            on.cut(1)
            says(on, "em1", "delay_down still running")
        ping = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100, "missed_max": 3}
        on.on_switch("ip link set p1 up")
        on.on_host("ip link set em1 down")
        with daemon(PYTEAMD, on, backup({"em1": {}}, link_watch=ping)):
            on.on_host("ip link set team0 up")
            says(on, "em1", "link watch down")
            says(on, "em1", "no answer from 192.0.2.1")


def test_hands_and_refusals() -> None:
    roundrobin = '{"runner": {"name": "roundrobin"}, "ports": {"em1": {}}}'
    with bench() as on, daemon(PYTEAMD, on, roundrobin):
        on.on_host("ip link set team0 up")
        says(on, "em1", "carries traffic")
        on.on_host("teamnl team0 setoption -p em1 enabled false")
        says(on, "em1", "disabled by hand: the option enabled is false (teamnl team0 setoption -p em1 enabled true)")
        on.on_host("ip link set em2 up")
        assert on.on_host("pyteamdctl team0 port add em2").status != 0
        says(on, "em2", "Device is up. Set it down before adding it as a team port")
        on.on_host("pyteamdctl team0 port config update em1 '{\"queue_id\": 4000}'")
        on.on_host("ip link set em1 nomaster; ip link set em1 down; pyteamdctl team0 port add em1")
        says(on, "em1", "cannot be a port with its settings: queue_id: 4000 is none of the 16 transmit queues")
        on.on_host("pyteamdctl team0 port config update em1 '{}'")
        says(on, "em1", "is no port: another program took it out (pyteamdctl team0 port add em1)")


def lacp(ports: dict[str, Any], **runner: Any) -> str:
    return json.dumps({"runner": {"name": "lacp", "fast_rate": True, **runner}, "ports": ports})


def test_lacp_without_a_partner_and_in_a_loop() -> None:
    with bench() as on, daemon(PYTEAMD, on, lacp({"em1": {}, "em2": {}})):
        on.on_host("ip link set team0 up")
        says(on, "em1", "waiting for the first LACPDU")
        says(on, "em1", "no LACPDU was ever heard", 12.0)
        on.on_switch("ip link add br0 type bridge group_fwd_mask 0 && ip link set br0 up")
        on.on_switch("tc qdisc add dev p1 clsact && tc qdisc add dev p2 clsact")
        looped = on.on_switch(
            "tc filter add dev p1 ingress matchall action mirred egress mirror dev p2 && echo ok || echo no"
        )
        if looped.strip() != "ok":
            pytest.skip("this kernel has no mirred action")
        says(on, "em2", "loopback: LACPDUs we send through em1 come back here", 12.0)


def test_lacp_partners() -> None:
    with bench() as on:
        on.on_switch("ip link set p1 down; ip link set p2 down")
        on.on_switch(f"{PYTEAMD} -d -t team9 -c '{lacp({'p1': {}, 'p2': {}}, max_ports=1)}' && ip link set team9 up")
        partner = int((RUN_DIR / "team9.pid").read_text())
        try:
            with daemon(PYTEAMD, on, lacp({"em1": {}, "em2": {}})):
                on.on_host("ip link set team0 up")
                wait_for(lambda: on.on_host("pyteamdctl team0 explain").out.count(": in service for") == 1, 20.0)
                says(on, "", "has not set SYNC (active, short timeout, aggregatable, out of sync)")
                says(on, "", "in sync, collecting, distributing)")
                os.kill(partner, signal.SIGSTOP)
                says(on, "em1", "LACPDUs of partner")
                says(on, "em1", "no LACPDU comes any more", 12.0)
                os.kill(partner, signal.SIGCONT)
                wait_for(lambda: on.on_host("pyteamdctl team0 explain").out.count(": in service for") == 1, 20.0)
            with daemon(PYTEAMD, on, lacp({"em1": {}, "em2": {"lacp_key": 5}})):
                on.on_host("ip link set team0 up")
                says(on, "", "and this port belongs to another", 20.0)
            with daemon(PYTEAMD, on, lacp({"em1": {}, "em2": {}}, min_ports=2)):
                on.on_host("ip link set team0 up")
                says(on, "", "team0 has no carrier: 1 in service, min_ports is 2", 20.0)
        finally:
            on.on_switch(f"{PYTEAMD} -k -t team9")
