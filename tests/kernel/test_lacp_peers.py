"""LACP on the real driver against real partners: time to service, a muted partner, the pace of LACPDUs.

PYTEAMD_LONG=1 in the environment runs the minutes; without, seconds.
"""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from lab_kit import Bench, Stream, bench, wait_for
from lacp_kit import LONG, config, enabled, team
from lacp_peers import PARTNERS, bond, both_in_service, is_slow, missing
from wire_kit import Announcements, Ear, Links

pytestmark = pytest.mark.kernel

LIMIT_S = 3.0
TRIES = 4
"""Measurements on a machine that stood still meanwhile are repeated."""


@pytest.mark.parametrize("name", list(PARTNERS))
def test_both_ends_are_in_service_within_three_seconds_of_link(name: str) -> None:
    if why := missing(name):
        pytest.skip(why)
    took = []
    with bench() as on, PARTNERS[name](on) as partner, team(on, config()):
        wait_for(lambda: both_in_service(on, partner), 10.0)
        links = Links(on.host)
        for _ in range(TRIES):
            for port in ("em1", "em2"):
                links.up(port, False)
            time.sleep(3.5)
            began = time.monotonic()
            for port in ("em1", "em2"):
                links.up(port, True)
            wait_for(lambda: both_in_service(on, partner), 10.0)
            took.append(time.monotonic() - began)
            if took[-1] <= LIMIT_S:
                break
        links.close()
    print(f"{name}: in service after " + ", ".join(f"{seconds:.2f} s" for seconds in took))
    assert min(took) <= LIMIT_S


def test_a_muted_partner_is_out_of_service_after_three_seconds() -> None:
    """em1 ── p1 ─ bridge b1 ─ q1 ── r1 of the bond: the bridge passes LACPDUs as long as its port's group_fwd_mask says so."""
    with bench() as on:
        for n in (1, 2):
            on.on_switch(f"ip link add q{n} type veth peer name r{n} && ip link add b{n} type bridge")
            for port in (f"p{n}", f"q{n}"):
                on.on_switch(
                    f"ip link set {port} master b{n} up && ip link set {port} type bridge_slave group_fwd_mask 4"
                )
            on.on_switch(f"ip link set b{n} up")
        with bond(on, links=("r1", "r2")) as partner, team(on, config()):
            wait_for(lambda: both_in_service(on, partner), 10.0)
            em1 = int(on.on_host("cat /sys/class/net/em1/ifindex").out)
            found = []
            for _ in range(TRIES):
                found.append(muted(on, em1))
                if found[-1] == pytest.approx(3.0, abs=0.1):
                    break
                wait_for(lambda: both_in_service(on, partner), 10.0)
    print("muted partner: out of service after " + ", ".join(f"{seconds:.3f} s" for seconds in found))
    assert found[-1] == pytest.approx(3.0, abs=0.1)


def muted(on: Bench, em1: int) -> float:
    """Mute the partner on em1 and let it speak again; the time from its last LACPDU to the port's end of service."""
    with Announcements(on.host) as driver, Ear(on.switch, "p1") as ear:
        last = 0.0
        while not last:
            time.sleep(0.005)
            last = max((heard.at_s for heard in ear.hear() if heard.outgoing and is_slow(heard)), default=0.0)
        on.on_switch("ip link set q1 type bridge_slave group_fwd_mask 0")
        began = time.monotonic()
        out = 0.0
        while time.monotonic() < began + 5.0 and not out:
            time.sleep(0.005)
            out = next((at for at, port, on_ in driver.enabled() if port == em1 and not on_), 0.0)
            last = max([last, *(heard.at_s for heard in ear.hear() if heard.outgoing and is_slow(heard))])
    on.on_switch("ip link set q1 type bridge_slave group_fwd_mask 4")
    return out - last


@pytest.mark.parametrize("rate", ["fast", "slow"])
def test_the_pace_is_steady(rate: str) -> None:
    """What the partner asks for, a second or half a minute, plus or minus a tenth."""
    interval_s, lasts_s = (1.0, 60.0 if LONG else 6.0) if rate == "fast" else (30.0, 125.0 if LONG else 4.0)
    with bench() as on, bond(on, rate) as partner, team(on, config()):
        wait_for(lambda: both_in_service(on, partner), 10.0)
        time.sleep(1.5)
        moments = []
        with Ear(on.switch, "p1", outgoing=False) as ear:  # the bond takes what is for slow protocols only
            began = time.monotonic()
            while time.monotonic() < began + lasts_s:
                time.sleep(0.005)
                moments += [heard.at_s for heard in ear.hear() if is_slow(heard)]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    print(f"{rate}: pauses of " + ", ".join(f"{pause:.3f} s" for pause in pauses))
    assert lasts_s / interval_s - 1.5 <= len(moments) <= lasts_s / interval_s + 1.5
    assert pauses == pytest.approx([interval_s] * len(pauses), rel=0.1)


@pytest.mark.skipif(not LONG, reason="half a minute; PYTEAMD_LONG=1")
def test_a_better_port_takes_the_place_of_one_in_service_without_a_gap() -> None:
    """max_ports 1 against kernel bonding, which comes to be in sync later than we could attach."""
    text = config([{"lacp_prio": 20}, {"lacp_prio": 10}], max_ports=1, sys_prio=1)
    with bench() as on, bond(on), team(on, text):
        on.on_host("ip addr add 192.0.2.2/24 dev team0")
        links = Links(on.host)
        wait_for(lambda: enabled(on, 2), 15.0)
        for _ in range(TRIES):
            links.up("em2", False)
            wait_for(lambda: enabled(on, 1), 15.0)
            wait_for(lambda: on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0, 20.0)
            time.sleep(1.0)
            with Announcements(on.host) as said, Stream(on, "192.0.2.1") as stream:
                links.up("em2", True)
                wait_for(lambda: enabled(on, 2) and not enabled(on, 1), 15.0)
                time.sleep(1.0)
                changes = said.enabled()
            print(f"{stream.lost} of {stream.sent} lost", [(at - changes[0][0], value) for at, _, value in changes])
            assert [value for _, _, value in changes] == [True, False]
            assert stream.lost <= 50, "bonding looks every tenth of a second"
        links.close()
