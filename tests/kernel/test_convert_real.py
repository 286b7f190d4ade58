"""What `pyteamd convert` writes for the bonding driver, given to the driver: every option is accepted and reads back as written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from lab_kit import must

from pyteamd.cli.convert.bonding import Bond, bond_to_team, team_to_bond
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the bonding driver's options")]

ROOT = Path(__file__).resolve().parents[2]
SYSFS = Path("/sys/class/net")
BOND = "bond7"
LINKS = "eth1 eth2 em1 em2"
ARP = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 500, "missed_max": 2}
NS = {"name": "nsna_ping", "target_host": "2001:db8::1"}
LACP = {"name": "lacp", "active": False, "fast_rate": True, "sys_prio": 7, "min_ports": 2, "tx_hash": ["l3", "l4"]}
PORTS: dict[str, dict[str, Any]] = {"eth1": {"prio": 9}, "eth2": {}}
TEAMS: list[dict[str, Any]] = [
    *({"runner": {"name": name}} for name in ("broadcast", "roundrobin", "activebackup", "loadbalance")),
    {"runner": {"name": "activebackup", "hwaddr_policy": "only_active"}, "ports": PORTS},
    {"runner": {"name": "activebackup"}, "ports": {"eth1": {"sticky": True}, "eth2": {"prio": 1, "sticky": True}}},
    {"runner": {"name": "activebackup"}, "link_watch": {**ARP, "validate_active": True}},
    {"runner": {"name": "activebackup"}, "link_watch": [ARP, {**ARP, "target_host": "192.0.2.2"}, NS]},
    {"runner": {"name": "roundrobin"}, "link_watch": ARP, "notify_peers": {"count": 3, "interval": 200}},
    {"runner": LACP, "ports": PORTS},
    *({"runner": {"name": "lacp", "agg_select_policy": policy}} for policy in ("bandwidth", "count", "port_config")),
    {"runner": {"name": "lacp"}, "link_watch": ARP},
    {"runner": {"name": "loadbalance", "tx_balancer": {"name": "basic"}}, "link_watch": ARP},
    {"runner": {"name": "loadbalance", "tx_hash": ["eth", "vlan"]}},
    {"link_watch": {"name": "ethtool", "delay_up": 250, "delay_down": 50}},
    {"link_watch": {"name": "ethtool", "delay_up": 7}},
    {"notify_peers": {"count": 300, "interval": 50}, "mcast_rejoin": {"count": 1000, "interval": 5}},
]
EXAMPLES = [json.loads(file.read_text()) for file in sorted((ROOT / "examples").glob("*.conf"))]


@pytest.fixture(autouse=True)
def links() -> Iterator[None]:
    must(f"modprobe bonding max_bonds=0; for n in {LINKS}; do ip link add $n type dummy; done")
    yield
    must(f"echo -{BOND} >{SYSFS}/bonding_masters; for n in {LINKS}; do ip link del $n; done")


def give(options: Mapping[str, str], ports: Sequence[str]) -> dict[str, str]:
    """A bond gets the options one after the other, as network scripts do it, and its ports; what it did not take or shows otherwise."""
    must(f"[ ! -e {SYSFS}/{BOND} ] || echo -{BOND} >{SYSFS}/bonding_masters; echo +{BOND} >{SYSFS}/bonding_masters")
    here = SYSFS / BOND / "bonding"
    wrong = {}
    options = dict(options)
    if six := options.pop("ns_ip6_target", ""):  # has no file
        must(f"ip link set {BOND} type bond ns_ip6_target {six}")
        (bond,) = json.loads(must(f"ip -d -j link show {BOND}"))
        assert bond["linkinfo"]["info_data"]["ns_ip6_target"] == six.split(","), bond
    for name, value in options.items():
        try:
            for part in value.split(",") if name.endswith("_target") else [value]:
                (here / name).write_text(f"+{part}" if name.endswith("_target") else part)
        except OSError as error:
            wrong[name] = f"{value}: {error.strerror}"
    for port in ports:
        (here / "slaves").write_text(f"+{port}")
    for name, value in options.items():
        shown = (here / name).read_text().split()
        if name not in wrong and ",".join(shown) != value and shown[:1] != [value]:
            wrong[name] = f"{value}: reads back as {' '.join(shown)}"
    return wrong


def test_the_driver_takes_every_option() -> None:
    wrong = {}
    for tree in [*TEAMS, *EXAMPLES]:
        config = Config.load(json.dumps(tree), runners=RUNNERS, watchers=WATCHERS).dump()
        if config["runner"]["name"] == "random":
            continue
        bond, _ = team_to_bond(config)
        if refused := give(bond.options, bond.ports):
            wrong[json.dumps(tree)] = refused
    assert wrong == {}, "\n".join(f"{team}: {what}" for team, what in wrong.items())


def test_what_the_driver_shows_is_understood() -> None:
    """A running bond's options, all of them, into a team and back: the driver takes the result."""
    must(f"echo +{BOND} >{SYSFS}/bonding_masters; echo 802.3ad >{SYSFS}/{BOND}/bonding/mode")
    shown = {file.name: file.read_text().split()[:1] for file in (SYSFS / BOND / "bonding").iterdir()}
    tree, _ = bond_to_team(Bond(BOND, {name: value[0] for name, value in shown.items() if value}))
    config = Config.load(json.dumps(tree), runners=RUNNERS, watchers=WATCHERS).dump()
    assert config["runner"]["name"] == "lacp"
    assert give(team_to_bond(config)[0].options, []) == {}
