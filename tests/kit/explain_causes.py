"""Every cause that keeps a port from carrying traffic, caused in the simulated world, and the port to look at.

Most are told in commands of scenarios: explain_causes.txt. Those below need what scenarios have no word for: links of other kinds, LLDP.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from explain_kit import Told, backup, begin, lacp, told, two_partners
from lldp_kit import lldpdu

from pyteamd.model.desired import OptionKey
from pyteamd.scenario.script import run

Cause = Callable[[], Told]
CAUSES: dict[str, tuple[Cause, str]] = {}
"""Name → what to do, and the port to look at."""


HEADING = re.compile(r"(= )?(\w+)(?: ([\w.]+))?(?:: (\w+))?")
"""The name of a beginning, or of a cause with its port; and what it begins with."""


def scripted() -> None:
    """Rows of CAUSES from the text."""
    beginnings: dict[str, list[str]] = {}
    _, *paragraphs = Path(__file__).with_suffix(".txt").read_text().split("\n\n")
    for paragraph in paragraphs:
        heading, *commands = paragraph.strip().splitlines()
        found = HEADING.fullmatch(heading)
        assert found, heading
        beginning, name, port, before = found.groups()
        lines = [*(beginnings[before] if before else ()), *commands]
        if beginning:
            beginnings[name] = lines
        else:
            CAUSES[name] = partial(performed, lines), port


def performed(lines: list[str]) -> Told:
    """The world after these commands."""
    made = Told()
    run("\n".join(lines), lambda: made.world)
    return made


def at(port: str) -> Callable[[Cause], Cause]:
    """A row of CAUSES."""

    def row(cause: Cause) -> Cause:
        CAUSES[cause.__name__] = (cause, port)
        return cause

    return row


@at("eth3")
def taken_by_another() -> Told:
    made = told(backup(eth1={}, eth3={}))
    kernel = made.world.kernel
    link, other = kernel.add_pair("eth3", "far"), kernel.create_team("team7")
    kernel.set_master(link.ifindex, other)
    made.world.overrun()
    return made


@at("eth3")
def taken_by_a_bridge() -> Told:
    made = told(backup(eth1={}, eth3={}))
    kernel = made.world.kernel
    kernel.set_master(kernel.add_pair("eth3", "far").ifindex, kernel.add_other("br0").ifindex)
    made.world.overrun()
    return made


@at("eth2")
def taken_out_by_a_bridge() -> Told:
    made = told(backup())
    kernel = made.world.kernel
    kernel.set_master(made.world.ifindex_of("eth2"), kernel.add_other("br0").ifindex)
    made.world.settle()
    return made


@at("eth3")
def asked_for_and_owned_by_another() -> Told:
    made = told(backup())
    kernel = made.world.kernel
    kernel.set_master(kernel.add_pair("eth3", "far").ifindex, kernel.add_other("bond7", "bond").ifindex)
    made.world.settle()
    made.world.add_port("eth3")
    return made


@at("eth3")
def of_another_type() -> Told:
    made = told(backup(tun0={}, eth3={}), "tun0", start=False)
    kernel = made.world.kernel
    kernel.delete_link(made.world.ifindex_of("tun0"))
    kernel.add_other("tun0", "tun")
    kernel.add_pair("eth3", "far")
    begin(made, backup(tun0={}, eth3={}))
    made.world.pass_time(1.0)
    return made


@at("eth3.5")
def on_a_link_that_is_down() -> Told:
    return stacked("eth3", "eth3.5", "vlan", "eth3.5")


@at("eth3")
def under_a_macvlan() -> Told:
    return stacked("eth3", "mv0", "macvlan", "eth3")


@at("eth3")
def under_macsec() -> Told:
    return stacked("eth3", "ms0", "macsec", "eth3")


@at("iv0")
def of_a_kind_for_no_team() -> Told:
    return stacked("eth3", "iv0", "ipvlan", "iv0")


@at("br0.5")
def on_the_owner_of_the_team() -> Told:
    made = told(backup(**{"eth1": {}, "br0.5": {}}))
    kernel = made.world.kernel
    bridge = kernel.add_other("br0", "bridge")
    kernel.set_master(made.team.view.ifindex, bridge.ifindex)
    kernel.add_other("br0.5", "vlan", bridge.ifindex)
    made.world.settle()
    return made


@at("team0.5")
def on_the_team_itself() -> Told:
    made = told(backup(**{"eth1": {}, "team0.5": {}}))
    made.world.kernel.add_other("team0.5", "vlan", made.team.view.ifindex)
    made.world.settle()
    return made


@at("eth3")
def mtu_of_the_team_too_large() -> Told:
    made = told(backup(eth1={}, eth3={}))
    kernel = made.world.kernel
    kernel.set_mtu(made.team.view.ifindex, 9000)
    link = kernel.add_pair("eth3", "far")
    link.max_mtu = 1500
    kernel.link_changed(link)
    made.world.settle()
    return made


def stacked(lower: str, upper: str, kind: str, port: str) -> Told:
    """A link on another one; `port` is configured."""
    made = told(backup(**{"eth1": {}, port: {}}), start=False)
    link = made.world.kernel.add_pair(lower, "far")
    made.world.kernel.add_other(upper, kind, link.ifindex)
    begin(made, backup(**{"eth1": {}, port: {}}))
    return made


@at("eth1")
def made_to_change_to_and_fro() -> Told:
    made = told(backup())
    for number in range(23):
        made.world.set_option(OptionKey("priority", made.world.ifindex_of("eth2")), 200 if number % 2 else -1)
    return made


@at("eth2")
def lacp_ports_lead_elsewhere() -> Told:
    made = two_partners(lacp(), second={"key": 9})[0]
    made.hears("eth1", lldpdu("Ethernet3", "sw1"))
    made.hears("eth2", lldpdu("Ethernet3", "sw2"))
    return made


@at("eth2")
def lacp_aggregation_disabled_there() -> Told:
    made = two_partners(lacp(), second={"state": 0x07})[0]
    made.hears("eth2", lldpdu("Ethernet3", "sw1", aggregates=False))
    return made


@at("eth2")
def lacp_hostile_neighbour() -> Told:
    made = two_partners(lacp(), second={"state": 0x07})[0]
    made.hears("eth2", lldpdu("Et\x1b[2J", "sw\u202e1"))
    return made


scripted()
