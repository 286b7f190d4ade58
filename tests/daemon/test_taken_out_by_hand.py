"""A port that another program takes out stays out, whichever of the kernel's two messages is read first, and whatever it waited for."""

from __future__ import annotations

import errno
import json

import pytest
from test_pump_alone import TWO_PORTS, Alone

from pyteamd.core.wanted import TAKEN
from pyteamd.model.desired import SetMember
from pyteamd.model.errors import UserError
from pyteamd.model.events import ConfigApply, HostsResolved, LinkSeen, PortConfigUpdate, PortRemove
from pyteamd.sim.kernel import LINKS, TEAMS

UNRESOLVED = {"link_watch": {"name": "arp_ping", "target_host": "gw.site.example"}}
SETTINGS = {"serving": {}, "host is looked up": UNRESOLVED}


def taken_out(alone: Alone, late: str, owner: int) -> None:
    """eth1 is taken out; messages of one family are late."""
    alone.performed.clear()
    if late:
        alone.kernel.hold(late)
    alone.kernel.set_master(alone.links[0], owner)
    alone.deliver()
    if late:
        alone.kernel.hold(late, False)
        alone.deliver()


def link(alone: Alone) -> LinkSeen:
    """The link that is taken out."""
    found = alone.kernel.find_link("eth1")
    assert found is not None
    return found


def added(alone: Alone) -> list[SetMember]:
    """What was asked of the kernel about members."""
    return [write for batch in alone.performed for write in batch if isinstance(write, SetMember)]


@pytest.mark.parametrize("late", [LINKS, TEAMS, ""])
@pytest.mark.parametrize("taker", ["", "br0"])
@pytest.mark.parametrize("port", SETTINGS)
def test_the_order_of_the_messages_does_not_matter(late: str, taker: str, port: str) -> None:
    alone = Alone({**TWO_PORTS, "eth1": SETTINGS[port]})
    bridge = alone.kernel.add_other(taker).ifindex if taker else 0
    taken_out(alone, late, bridge)
    assert link(alone).master == bridge
    assert alone.pump.team.members.out == {alone.links[0]: TAKEN}
    assert added(alone) == []
    told = [note.text for entry in alone.pump.trace for note in entry.outputs.notes]
    assert told.count("eth1: is no port of the team any more") == 1


@pytest.mark.parametrize("late", [LINKS, TEAMS, ""])
def test_it_comes_back_when_it_is_put_back_or_made_again(late: str) -> None:
    alone = Alone()
    taken_out(alone, late, 0)
    alone.kernel.set_master(alone.links[0], alone.pump.ifindex)
    alone.deliver()
    assert [port.name for port in alone.pump.team.ports.values()] == ["eth1", "eth2"]
    taken_out(alone, late, 0)
    alone.kernel.delete_link(alone.links[0])
    alone.kernel.add_pair("eth1", "eth1-peer")
    alone.deliver()
    assert [port.name for port in alone.pump.team.ports.values()] == ["eth2", "eth1"]


@pytest.mark.parametrize("late", [LINKS, TEAMS, ""])
def test_out_and_in_again_with_nobody_reading_in_between(late: str) -> None:
    alone = Alone()
    if late:
        alone.kernel.hold(late)
    for owner in (0, alone.pump.ifindex):
        alone.kernel.set_master(alone.links[0], owner)
    alone.deliver()
    if late:
        alone.kernel.hold(late, False)
        alone.deliver()
    assert [port.name for port in alone.pump.team.ports.values()] == ["eth1", "eth2"]
    assert alone.pump.team.members.out == {}


def test_a_link_that_the_kernel_lets_go_again_while_it_adds_it_stays_wanted() -> None:
    """It says that the link has a master and then that it has none, and refuses."""
    alone = Alone()
    number, team = alone.kernel.add_pair("eth3", "eth3-peer").ifindex, alone.pump.team
    alone.deliver()
    team.members.wanted["eth3"] = None
    alone.kernel.refuse(lambda write: write == SetMember(number, True), errno.ENOMEM, None)
    free = alone.kernel.get_link(number)
    assert free is not None
    seen = [LinkSeen(number, "eth3", free.mac, master, mtu=1500) for master in (alone.pump.ifindex, 0)]
    alone.pump.feed((free,), alone.now)
    alone.pump.feed((LinkSeen(number, "eth3", free.mac, 0, mtu=1501),), alone.now)
    assert number in team.joining.refusals
    alone.pump.feed(seen, alone.now)
    assert "eth3" in team.members.wanted
    assert number not in team.members.out


# -- a member that is no port yet: its host is looked up ---------------------------------------------------------------


def ports(alone: Alone) -> list[str]:
    """Names of the ports."""
    return [port.name for port in alone.pump.team.ports.values()]


def test_a_member_whose_host_is_looked_up_can_be_removed() -> None:
    alone = Alone({**TWO_PORTS, "eth1": UNRESOLVED})
    assert (ports(alone), link(alone).master) == (["eth2"], alone.pump.ifindex)
    alone.pump.feed((PortRemove(alone.links[0]),), alone.now)
    alone.deliver()
    assert link(alone).master == 0
    alone.pump.feed((HostsResolved({("gw.site.example", "inet"): "192.0.2.1"}),), alone.now)
    assert ports(alone) == ["eth2"]
    with pytest.raises(UserError):
        alone.pump.feed((PortRemove(alone.links[0]),), alone.now)


def test_other_settings_without_a_host_do_not_wait_for_its_look_up() -> None:
    for event in (
        PortConfigUpdate("eth1", {"prio": 3}),
        ConfigApply(json.dumps({"runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": 3}, "eth2": {}}})),
    ):
        alone = Alone({**TWO_PORTS, "eth1": UNRESOLVED})
        alone.pump.feed((event,), alone.now)
        alone.deliver()
        assert ports(alone) == ["eth1", "eth2"], event
        assert alone.kernel.teams[alone.pump.ifindex].ports[alone.links[0]].priority == 3
