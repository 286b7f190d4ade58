"""Every cause that keeps a port from carrying traffic, caused in the simulated world, and the port to look at."""

from __future__ import annotations

from collections.abc import Callable

from explain_kit import INDIVIDUAL, Told, backup, begin, lacp, told, two_partners
from lldp_kit import lldpdu

from pyteamd.model.desired import OptionKey

ARP_PING = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100, "missed_max": 3}
Cause = Callable[[], Told]
CAUSES: dict[str, tuple[Cause, str]] = {}
"""Name → what to do, and the port to look at."""


def at(port: str) -> Callable[[Cause], Cause]:
    """A row of CAUSES."""

    def row(cause: Cause) -> Cause:
        CAUSES[cause.__name__] = (cause, port)
        return cause

    return row


@at("eth1")
def active() -> Told:
    return told(backup())


@at("eth2")
def active_by_hand() -> Told:
    made = told(backup())
    made.world.set_item("runner.active_port", "eth2")
    return made


@at("eth1")
def standby_by_a_users_choice() -> Told:
    made = told(backup())
    made.world.set_item("runner.active_port", "eth2")
    return made


@at("eth2")
def standby_by_prio() -> Told:
    return told(backup(eth1={"prio": 100}, eth2={}))


@at("eth1")
def standby_by_sticky() -> Told:
    made = told(backup(eth1={"prio": 100}, eth2={"sticky": True}))
    made.world.set_peer("eth1", False)
    made.world.set_peer("eth1", True)
    return made


@at("eth2")
def standby_by_speed() -> Told:
    made = told(backup(), start=False)
    made.world.kernel.links[made.world.ifindex_of("eth1")].speed_mbps = 10_000
    begin(made, backup())
    return made


@at("eth2")
def standby_by_duplex() -> Told:
    made = Told()
    made.world.make_port("eth1", 1000, 1)
    made.world.make_port("eth2", 1000, 0)
    begin(made, backup())
    return made


@at("eth2")
def standby_by_order() -> Told:
    return told(backup())


@at("eth2")
def no_carrier() -> Told:
    made = told(backup())
    made.world.set_peer("eth2", False)
    made.world.pass_time(3.0)
    return made


@at("eth2")
def set_down() -> Told:
    made = told(backup())
    made.world.set_admin("eth2", False)
    made.world.pass_time(41.0)
    return made


@at("eth1")
def delay_up() -> Told:
    made = told({**backup(), "link_watch": {"name": "ethtool", "delay_up": 2000}})
    made.world.pass_time(0.8)
    return made


@at("eth1")
def delay_down() -> Told:
    made = told({**backup(), "link_watch": {"name": "ethtool", "delay_down": 2000}})
    made.world.set_peer("eth1", False)
    made.world.pass_time(0.5)
    return made


@at("eth1")
def arp_target_silent() -> Told:
    made = told({**backup(), "link_watch": ARP_PING})
    made.world.answer("eth1", "192.0.2.1", True, None)
    made.world.pass_time(2.0)
    made.world.answer("eth1", "192.0.2.1", False, None)
    made.world.pass_time(5.05)
    return made


@at("eth2")
def arp_target_never_answered() -> Told:
    made = told({**backup(), "link_watch": ARP_PING})
    made.world.pass_time(0.55)
    return made


@at("eth1")
def one_of_all_watchers() -> Told:
    made = told({**backup(), "link_watch_policy": "all", "link_watch": [{"name": "ethtool"}, ARP_PING]})
    made.world.pass_time(0.55)
    return made


@at("eth1")
def team_down() -> Told:
    return told(backup(), up=False)


@at("eth9")
def missing() -> Told:
    return told(backup(eth1={}, eth9={}))


@at("eth3")
def taken_by_another() -> Told:
    made = told(backup(eth1={}, eth3={}))
    kernel = made.world.kernel
    link, other = kernel.add_pair("eth3", "far"), kernel.create_team("team7")
    kernel.set_master(link.ifindex, other)
    made.world.overrun()
    return made


@at("eth2")
def taken_out_by_somebody() -> Told:
    made = told(backup())
    made.world.set_master("eth2", "")
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


@at("eth2")
def removed_by_command() -> Told:
    made = told(backup())
    made.world.remove_port("eth2")
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
def refused_by_the_kernel() -> Told:
    made = told(backup(), start=False)
    made.world.kernel.add_pair("eth3", "far")
    made.world.refuse("enslave", "eth3", None, "EPERM")
    begin(made, backup(eth1={}, eth3={}))
    made.world.pass_time(1.0)
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


@at("eth3")
def asked_for_while_it_is_up() -> Told:
    made = told(backup())
    link = made.world.kernel.add_pair("eth3", "far")
    made.world.kernel.set_up(link.ifindex, True)
    made.world.settle()
    made.world.add_port("eth3")
    return made


@at("team0")
def the_team_itself() -> Told:
    return told(backup(eth1={}, team0={}))


@at("lo")
def loopback() -> Told:
    return told(backup(eth1={}, lo={}))


@at("eth2")
def host_without_an_address() -> Told:
    ping = {"name": "arp_ping", "target_host": "gw.example"}
    return told(backup(eth1={}, eth2={"link_watch": ping}))


@at("eth2")
def no_host_has_an_address_yet() -> Told:
    return told({**backup(), "link_watch": {"name": "arp_ping", "target_host": "gw.example"}})


@at("eth3")
def up_before_it_joins() -> Told:
    made = told(backup(eth1={}, eth3={}))
    link = made.world.kernel.add_pair("eth3", "far")
    made.world.kernel.set_up(link.ifindex, True)
    made.world.overrun()
    return made


@at("eth2")
def unusable_settings() -> Told:
    return told(backup(eth1={}, eth2={"link_watch": {"name": "arp_ping"}}))


@at("eth2")
def address_refused() -> Told:
    made = told(backup(), start=False)
    made.world.refuse("address", "eth2", None, "EOPNOTSUPP")
    begin(made, backup())
    return made


@at("eth2")
def kernel_refuses() -> Told:
    made = told(backup())
    made.world.refuse("enable", "eth2", None, "EPERM")
    made.world.set_peer("eth1", False)
    made.world.pass_time(0.05)
    return made


@at("eth2")
def kernel_refuses_the_active_port() -> Told:
    made = told(backup())
    made.world.refuse("activeport", "", None, "EPERM")
    made.world.set_peer("eth1", False)
    made.world.pass_time(0.05)
    return made


@at("eth1")
def undone_by_somebody() -> Told:
    made = told(backup())
    for _ in range(6):
        made.world.set_option(OptionKey("enabled", made.world.ifindex_of("eth1")), False)
    return made


@at("eth1")
def made_to_change_to_and_fro() -> Told:
    made = told(backup())
    for number in range(23):
        made.world.set_option(OptionKey("priority", made.world.ifindex_of("eth2")), 200 if number % 2 else -1)
    return made


@at("eth1")
def disabled_by_hand() -> Told:
    made = told({"runner": {"name": "roundrobin"}, "ports": {"eth1": {}, "eth2": {}}})
    made.world.set_option(OptionKey("enabled", made.world.ifindex_of("eth1")), False)
    return made


@at("eth1")
def roundrobin_goes_by_the_raw_link() -> Told:
    watch = {"name": "ethtool", "delay_up": 1000}
    return told({"runner": {"name": "roundrobin"}, "ports": {"eth1": {}, "eth2": {}}, "link_watch": watch})


@at("eth1")
def loadbalance_in_use() -> Told:
    return told({"runner": {"name": "loadbalance"}, "ports": {"eth1": {}, "eth2": {}}})


@at("eth1")
def lacp_in_service() -> Told:
    return two_partners(lacp())[0]


@at("eth2")
def lacp_partner_never_spoke() -> Told:
    return two_partners(lacp(), second={"silent": True})[0]


@at("eth2")
def lacp_just_come_up() -> Told:
    made = told(lacp())
    made.world.pass_time(1.0)
    return made


@at("eth1")
def lacp_partner_stops() -> Told:
    made, one, _ = two_partners(lacp())
    one.silent = True
    made.world.pass_time(4.0)
    return made


@at("eth1")
def lacp_partner_is_gone() -> Told:
    made, one, _ = two_partners(lacp())
    one.silent = True
    made.world.pass_time(14.0)
    return made


@at("eth2")
def lacp_no_sync() -> Told:
    made, _, _ = two_partners(lacp(), second={"state": 0x07})
    made.world.pass_time(36.0)
    return made


@at("eth2")
def lacp_partner_means_another() -> Told:
    return two_partners(lacp(), second={"mistakes": {"key": 9}})[0]


@at("eth2")
def lacp_partner_means_another_system() -> Told:
    return two_partners(lacp(), second={"mistakes": {"system": bytes(6)}})[0]


@at("eth2")
def lacp_partner_key_differs() -> Told:
    return two_partners(lacp(), second={"key": 9})[0]


@at("eth2")
def lacp_our_key_differs() -> Told:
    return two_partners(lacp({"eth1": {}, "eth2": {"lacp_key": 5}}))[0]


@at("eth2")
def lacp_not_aggregatable() -> Told:
    return two_partners(lacp(), second={"state": INDIVIDUAL})[0]


@at("eth1")
def lacp_min_ports() -> Told:
    return two_partners(lacp(min_ports=2), second={"silent": True})[0]


@at("eth2")
def lacp_hot_standby() -> Told:
    return two_partners(lacp(max_ports=1))[0]


@at("eth1")
def lacp_loop() -> Told:
    made = told(lacp(), start=False)
    made.world.switch(["eth1", "eth2"])
    begin(made, lacp())
    made.world.pass_time(5.0)
    return made


@at("eth2")
def lacp_our_identifier_elsewhere() -> Told:
    ours = bytes.fromhex("020000000777")
    return two_partners(lacp(system_id="02:00:00:00:07:77"), second={"system": ours})[0]


@at("eth2")
def lacp_no_carrier() -> Told:
    made, _, _ = two_partners(lacp())
    made.world.set_peer("eth2", False)
    made.world.pass_time(1.0)
    return made


@at("eth2")
def lacp_half_duplex() -> Told:
    made = Told()
    made.world.make_port("eth1", 1000, 1)
    made.world.make_port("eth2", 1000, 0)
    begin(made, lacp())
    made.world.pass_time(1.0)
    return made


@at("eth1")
def lacp_both_passive() -> Told:
    made = told(lacp(active=False))
    made.world.pass_time(10.0)
    return made


@at("eth2")
def lacp_waits_to_restore() -> Told:
    made, _, two = two_partners(lacp({"eth1": {}, "eth2": {"wait_to_restore": 60}}))
    two.silent = True
    made.world.pass_time(8.0)
    two.silent = False
    made.world.pass_time(2.0)
    return made


@at("eth1")
def lacp_leaving() -> Told:
    made = two_partners(lacp())[0]
    made.world.refuse("release", "", None, "EPERM")
    made.world.stop()
    return made


@at("eth1")
def lacp_fallback() -> Told:
    made = told(lacp(fallback="individual"))
    made.world.pass_time(9.0)
    return made


@at("eth1")
def lacp_fallback_soon() -> Told:
    made = told(lacp(fallback="individual", fallback_delay=9000))
    made.world.pass_time(9.0)
    return made


@at("eth1")
def lacp_other_ports_may_come_up_too() -> Told:
    made = told(lacp(), start=False)
    made.station("eth1", 1)
    made.station("eth2", 2)
    begin(made, lacp())
    made.world.pass_time(1.0)
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
