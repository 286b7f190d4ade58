"""LACP where both ends could disagree, on the real driver: partners that prefer another aggregate, share an identity, are strangers.

PYTEAMD_LONG=1 runs every pair; without, one of each kind.
"""

from __future__ import annotations

import itertools
import json
import time

import pytest
from lab_kit import PYTEAMD, Bench, Stream, bench, chosen, wait_for
from lacp_kit import ACTIVE, AGGREGATION, config, team, wire
from lacp_peers import bond
from wire_kit import Announcements, Links

from pyteamd.runners.lacp.keys import POLICY_NAMES

pytestmark = pytest.mark.kernel

TWO_AGGREGATES = [{"lacp_key": 1, "lacp_prio": 10, "prio": 1}, {"lacp_key": 2, "lacp_prio": 20, "prio": 9}]
BOND_LIMIT_S, TEAMS_LIMIT_S = 10.0, 15.0
SLACK_S = 3.0
"""Programs start slowly in a guest; the time is measured from the last of them to the first answer."""
EDGES_S = tuple(round(2.02 + 0.035 * n, 3) for n in range(40))
FEW_EDGES_S = EDGES_S[1:40:7]
"""When the second link goes: after the first would have been ready, before the second is."""


def reaches(on: Bench) -> bool:
    """Traffic passes."""
    return on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0


def put(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """All of them when there is time, else the first and the last."""
    later = [f"{one}+{other}" for one, other in pairs[1:-1]]
    return [(one, other) for one, other in pairs if f"{one}+{other}" in chosen([f"{a}+{b}" for a, b in pairs], later)]


def test_a_bond_that_prefers_another_aggregate_is_met_within_ten_seconds() -> None:
    took = {}
    for ad_select, policy in put(list(itertools.product(("stable", "bandwidth", "count"), POLICY_NAMES))):
        with bench() as on, bond(on, links=("p2", "p1")):
            on.on_switch(
                f"ip link set bond0 down && ip link set bond0 type bond ad_select {ad_select} && ip link set bond0 up"
            )
            with team(on, config(TWO_AGGREGATES, agg_select_policy=policy)):
                began = time.monotonic()
                on.on_host("ip addr add 192.0.2.2/24 dev team0")
                wait_for(lambda: reaches(on), BOND_LIMIT_S + SLACK_S, f"{ad_select} and {policy}")
                took[ad_select, policy] = time.monotonic() - began
    print({"+".join(pair): f"{seconds:.1f} s" for pair, seconds in took.items()})
    assert max(took.values()) <= BOND_LIMIT_S + SLACK_S


def test_two_teams_of_different_minds_meet_within_fifteen_seconds() -> None:
    took = {}
    for ours, theirs in put(list(itertools.product(POLICY_NAMES, POLICY_NAMES))):
        mirrored = list(reversed(TWO_AGGREGATES))
        other = json.loads(config(mirrored, agg_select_policy=theirs))
        other["ports"] = {name.replace("em", "p"): port for name, port in other["ports"].items()}
        with bench() as on:
            on.on_switch("for n in 1 2; do ip link set p$n down; done")
            on.on_switch(f"{PYTEAMD} -d -t team1 -c '{json.dumps(other)}' && ip link set team1 up")
            on.on_switch("ip addr add 192.0.2.1/24 dev team1")
            try:
                with team(on, config(TWO_AGGREGATES, agg_select_policy=ours)):
                    began = time.monotonic()
                    on.on_host("ip addr add 192.0.2.2/24 dev team0")
                    wait_for(lambda: reaches(on), TEAMS_LIMIT_S + SLACK_S, f"{ours} and {theirs}")
                    took[ours, theirs] = time.monotonic() - began
            finally:
                on.on_switch(f"{PYTEAMD} -k -t team1")
    print({"+".join(pair): f"{seconds:.1f} s" for pair, seconds in took.items()})


def test_a_port_that_waited_for_another_attaches_when_that_one_goes() -> None:
    """Six moments at which the second link goes again, forty with PYTEAMD_LONG=1; a bond at the other end."""
    with bench() as on, bond(on), team(on, config()):
        on.on_host("ip addr add 192.0.2.2/24 dev team0")
        links = Links(on.switch)
        wait_for(lambda: reaches(on))
        edges = chosen([f"{at:.3f}" for at in EDGES_S], [f"{at:.3f}" for at in EDGES_S if at not in FEW_EDGES_S])
        for gone_at in edges:
            for port in ("p1", "p2"):
                links.up(port, False)
            time.sleep(0.5)
            began = time.monotonic()
            links.up("p1", True)
            time.sleep(1.5)
            links.up("p2", True)
            time.sleep(max(0.0, began + float(gone_at) - time.monotonic()))
            links.up("p2", False)
            wait_for(lambda: reaches(on), 15.0, f"link 2 gone after {gone_at} s")
        print(f"{len(edges)} moments, none stuck")
        links.close()


def test_two_leaf_switches_with_one_identity_lose_nothing_when_a_link_returns() -> None:
    """Two bonds with one ad_actor_system: the same system, key and port number on both links."""
    with bench() as on:
        for n in (1, 2):
            on.on_switch(
                f"ip link add leaf{n} type bond mode 802.3ad lacp_rate fast miimon 50 ad_actor_system 02:00:00:00:aa:01"
            )
            on.on_switch(f"ip link set p{n} down; ip link set p{n} master leaf{n}; ip link set leaf{n} up")
        with team(on, config()):
            links = Links(on.switch)
            wait_for(lambda: on.on_host("cat /sys/class/net/team0/carrier").out.strip() == "1")
            time.sleep(4.0)
            lost = on.on_host("cat /sys/class/net/team0/carrier_down_count").out
            for port in ("p1", "p2"):
                links.up(port, False)
                time.sleep(1.0)
                with Announcements(on.host) as said:
                    links.up(port, True)
                    time.sleep(6.0)
                    other = int(on.on_host(f"cat /sys/class/net/em{3 - int(port[1])}/ifindex").out)
                    changes = [value for _, ifindex, value in said.enabled() if ifindex == other]
                assert changes == [], "the link comes back, and no other goes"
            assert on.on_host("cat /sys/class/net/team0/carrier_down_count").out == lost
            links.close()


def test_a_stranger_on_one_port_costs_no_packet_on_the_other() -> None:
    """A system with the best of identifiers says once a second on p2 that it is active and means nobody; a bond is on p1."""
    with bench() as on, bond(on, links=("p1",)), wire(on, ports=2) as strangers, team(on, config(sys_prio=1)):
        on.on_host("ip addr add 192.0.2.2/24 dev team0")
        wait_for(lambda: reaches(on))
        stranger = strangers.peers[2]
        stranger.state = ACTIVE | AGGREGATION
        stranger.mistakes = {
            "actor_system_priority": 0,
            "actor_system": "02:00:00:00:00:01",
            "partner_system": "00:00:00:00:00:00",
        }
        strangers.peers[1].every_s = None
        with Stream(on, "192.0.2.1") as stream:
            strangers.run(4.0)
        print(f"{stream.lost} of {stream.sent} lost")
        assert stream.lost == 0
        assert stream.sent > 100


def carriers(on: Bench) -> tuple[str, str]:
    """Of the team and of the bond at the other end."""
    return on.on_host("cat /sys/class/net/team0/carrier").out.strip(), on.on_switch(
        "cat /sys/class/net/bond0/carrier"
    ).strip()


def test_with_the_same_limit_at_both_ends_both_carriers_go_and_come_with_the_same_link() -> None:
    """min_ports here, min_links at a bond; a bond without its limit goes on sending to a team without carrier."""
    with bench() as on, bond(on), team(on, config(min_ports=2)):
        links = Links(on.switch)
        on.on_switch("ip link set bond0 type bond min_links 2")
        wait_for(lambda: carriers(on) == ("1", "1"))
        links.up("p2", False)
        wait_for(lambda: carriers(on) == ("0", "0"))
        links.up("p2", True)
        wait_for(lambda: carriers(on) == ("1", "1"))
        on.on_switch("ip link set bond0 type bond min_links 0")
        links.up("p2", False)
        wait_for(lambda: carriers(on)[0] == "0")
        time.sleep(1.0)
        assert carriers(on) == ("0", "1"), "LACP has no word for min_ports"
        links.close()
