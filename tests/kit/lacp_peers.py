"""Real LACP partners on p1, p2 of a bench: kernel bonding, C teamd, pyteamd, Open vSwitch; and the driver's word on who is in service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lab_kit
from lab_kit import PYTEAMD, Bench, run
from lacp_kit import ETH_P_SLOW, config, enabled, has
from wire_kit import Heard

OVS = "/run/openvswitch"
OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class Partner:
    """What a test asks of a partner. `links`: the interfaces it has on its side."""

    def __init__(self, on: Bench, links: Sequence[str] = ("p1", "p2")) -> None:
        self.on = on
        self.links = links

    def in_service(self) -> bool:
        """Whether it uses both links."""
        raise NotImplementedError


class Bond(Partner):
    """Kernel bonding in mode 802.3ad."""

    def states(self) -> set[int]:
        """State octets of its own ports (not what it repeats of ours), read without starting a program."""
        pid = lab_kit._shells[self.on.switch]._process.pid
        text = Path(f"/proc/{pid}/net/bonding/bond0").read_text()
        return {int(found) for found in re.findall(r"details actor lacp pdu:.*?port state: (\d+)", text, re.DOTALL)}

    def in_service(self) -> bool:
        return all(state & 0xFC == 0x3C for state in self.states())


class Teamd(Partner):
    """Another team daemon."""

    def in_service(self) -> bool:
        answers = [self.on.on_switch(f"teamnl team1 getoption -p {link} enabled") for link in self.links]
        return all(answer.strip() == "true" for answer in answers)


class Ovs(Partner):
    """Open vSwitch."""

    def in_service(self) -> bool:
        return self.on.on_switch("ovs-appctl bond/show bond0").count("may_enable: true") == len(self.links)


@contextmanager
def bond(on: Bench, rate: str = "fast", links: Sequence[str] = ("p1", "p2")) -> Iterator[Partner]:
    """Kernel bonding; every test removes the namespace it is in."""
    on.on_switch(f"ip link add bond0 type bond mode 802.3ad lacp_rate {rate} miimon 50")
    for link in links:
        on.on_switch(f"ip link set {link} down; ip link set {link} master bond0")
    on.on_switch("ip link set bond0 up && ip addr add 192.0.2.1/24 dev bond0")
    yield Bond(on, links)


@contextmanager
def teamd(on: Bench, program: str = "teamd") -> Iterator[Partner]:
    """A team daemon for team1."""
    text = config().replace("em", "p")
    on.on_switch(f"for n in 1 2; do ip link set p$n down; done; {program} -d -t team1 -c '{text}'")
    on.on_switch("ip link set team1 up")
    try:
        yield Teamd(on)
    finally:
        on.on_switch(f"{program} -k -t team1")


@contextmanager
def ovs(on: Bench) -> Iterator[Partner]:
    """Open vSwitch with a data path of its own in user space: the kernel's loses its up-calls in user-mode Linux."""
    run("modprobe tun")
    on.on_switch(f"mkdir -p {OVS} && ovsdb-tool create {OVS}/conf.db {OVS_SCHEMA}")
    daemon = "--detach --no-chdir --pidfile"
    on.on_switch(f"ovsdb-server {OVS}/conf.db --remote=punix:{OVS}/db.sock {daemon} --log-file={OVS}/db.log")
    try:
        on.on_switch(f"ovs-vsctl --no-wait init && ovs-vswitchd {daemon} --log-file={OVS}/switch.log")
        on.on_switch("ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev")
        lacp = "bond_mode=balance-tcp lacp=active other_config:lacp-time=fast"
        on.on_switch(f"ovs-vsctl add-bond br0 bond0 p1 p2 {lacp}")
        yield Ovs(on)
    finally:
        run("ovs-appctl exit; ovs-appctl -t ovsdb-server exit", namespace=on.switch)


PARTNERS = {
    "bonding, fast": lambda on: bond(on, "fast"),
    "bonding, slow": lambda on: bond(on, "slow"),
    "C teamd": teamd,
    "pyteamd": lambda on: teamd(on, PYTEAMD),
    "Open vSwitch": ovs,
}


def missing(name: str) -> str:
    """Why this partner cannot be here; "" when it can."""
    if name == "Open vSwitch" and not (has("ovs-vswitchd", "ovsdb-server") and OVS_SCHEMA.exists()):
        return "openvswitch-switch is not installed (tests/lab/setup.sh lab)"
    return ""


def both_in_service(on: Bench, partner: Partner) -> bool:
    """Each end uses both links."""
    return enabled(on, 1) and enabled(on, 2) and partner.in_service()


def is_slow(heard: Heard) -> bool:
    """A frame of the slow protocols."""
    return int.from_bytes(heard.octets[12:14]) == ETH_P_SLOW
