"""The contract of the Kernel interface: links, membership, addresses, carrier, events. Both kernels must pass it.

`world` is the simulator, and with `-m kernel`, inside the lab, the real team driver. Options: test_contract_options.py.
"""

from __future__ import annotations

import errno
import random

import pytest
import trio
from contract_world import ContractWorld
from facts import Facts

from pyteamd.model.desired import OptionKey, SetCarrier, SetMac, SetMember, SetOption, Tap
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import (
    UNTOLD_VLAN,
    CarrierSeen,
    LinkGone,
    LinkSeen,
    OptionGone,
    OptionSeen,
    Overrun,
    PortGone,
    PortSeen,
    Refused,
)
from pyteamd.wire import slow

pytestmark = pytest.mark.both_kernels
MAC = bytes.fromhex("025e00000042")


def team_of(world: ContractWorld, mode: str = "activebackup", name: str = "team0", *ports: str) -> Facts:
    """A watched team of `mode` with these links as ports."""
    team = world.kernel.create_team(name)
    world.kernel.watch_team(team)
    assert world.kernel.apply(team, [SetOption(OptionKey("mode"), mode)]) == ()
    for port in ports:
        assert world.kernel.apply(team, [SetMember(world.make_link(port), True)]) == ()
    return Facts(world.kernel, team)


async def pair_of(world: ContractWorld, mode: str = "activebackup") -> tuple[Facts, int, int]:
    """A settled team with two ports, eth1 and eth2, whose links are up."""
    facts = team_of(world, mode, "team0", "eth1", "eth2")
    first, second = (world.kernel.find_link(name) for name in ("eth1", "eth2"))
    assert first
    assert second
    pair = first.ifindex, second.ifindex
    await facts.settle(lambda: all(port in facts.ports and facts.ports[port].linkup for port in pair))
    await facts.catch_up(world)
    return facts, *pair


# Links


@pytest.mark.parametrize("name", ["nosuch", "", "a-name-of-more-than-15"])
def test_no_such_link(world: ContractWorld, name: str) -> None:
    assert world.kernel.find_link(name) is None


def test_find_link(world: ContractWorld) -> None:
    ifindex = world.make_link("eth1")
    link = world.kernel.find_link("eth1")
    assert link
    assert (link.ifindex, link.name, link.master, link.up, link.running) == (ifindex, "eth1", 0, False, False)
    assert len(link.mac) == 6
    loopback = world.kernel.find_link("lo")
    assert loopback
    assert loopback.mac == bytes(6)


def test_create_and_delete(world: ContractWorld) -> None:
    team = world.kernel.create_team("team0")
    link = world.kernel.find_link("team0")
    assert link
    assert (link.ifindex, link.kind, link.up) == (team, "team", False)
    world.kernel.delete_link(team)
    assert world.kernel.find_link("team0") is None
    with pytest.raises(KernelGone):
        world.kernel.delete_link(team)


@pytest.mark.parametrize("name", ["team0", "eth1"])
def test_create_what_exists(world: ContractWorld, name: str) -> None:
    world.kernel.create_team("team0")
    world.make_link("eth1")
    with pytest.raises(KernelRefused) as refused:
        world.kernel.create_team(name)
    assert refused.value.errno == errno.EEXIST


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a-name-of-more-than-15"])
def test_create_with_a_bad_name(world: ContractWorld, name: str) -> None:
    with pytest.raises(KernelRefused) as refused:
        world.kernel.create_team(name)
    assert refused.value.errno == errno.EINVAL


def test_delete_loopback(world: ContractWorld) -> None:
    loopback = world.kernel.find_link("lo")
    assert loopback
    with pytest.raises(KernelRefused) as refused:
        world.kernel.delete_link(loopback.ifindex)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_no_team_device(world: ContractWorld) -> None:
    link = world.make_link("eth1")
    with pytest.raises(KernelRefused) as refused:
        world.kernel.watch_team(link)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises((KernelGone, KernelRefused)):
        world.kernel.watch_team(999)
    for number in (link, 999):
        with pytest.raises(KernelGone):
            world.kernel.dump(number)
        with pytest.raises(KernelGone):
            world.kernel.apply(number, [SetCarrier(True)])


async def test_adopt_a_team_with_ports(world: ContractWorld) -> None:
    facts, first, second = await pair_of(world)
    dump = world.kernel.dump(facts.team)
    assert {port.ifindex for port in dump.ports} == {first, second}
    assert {link.ifindex for link in dump.links if link.master == facts.team} == {first, second}
    assert {option.key.port for option in dump.options} == {0, first, second}


# WantedPorts


async def test_enslave_and_release(world: ContractWorld) -> None:
    facts = team_of(world)
    port = world.make_link("eth1")
    assert world.kernel.apply(facts.team, [SetMember(port, True)]) == ()
    await facts.settle(lambda: port in facts.ports and facts.ports[port].linkup)
    assert facts.links[port].master == facts.team
    assert facts.links[port].up
    assert facts.options[OptionKey("enabled", port)] is True
    assert facts.options[OptionKey("priority", port)] == 0

    assert world.kernel.apply(facts.team, [SetMember(port, False)]) == ()
    await facts.settle(lambda: port not in facts.ports and facts.links[port].master == 0)
    assert not facts.links[port].up
    assert not [key for key in facts.options if key.port]
    assert PortGone(port) in facts.heard_of(PortGone)
    assert OptionGone(OptionKey("enabled", port)) in facts.heard_of(OptionGone)


async def test_enslave_refusals(world: ContractWorld) -> None:
    facts = team_of(world)
    up = world.make_link("eth1")
    world.set_admin("eth1", True)
    loopback = world.kernel.find_link("lo")
    assert loopback
    cases = [(up, errno.EBUSY), (loopback.ifindex, errno.EINVAL), (facts.team, errno.EINVAL), (999, errno.ENODEV)]
    for ifindex, code in cases:
        write = SetMember(ifindex, True)
        assert world.kernel.apply(facts.team, [write]) == (Refused(write, code),)
    assert world.kernel.apply(facts.team, [SetMember(999, False)]) == (Refused(SetMember(999, False), errno.ENODEV),)
    await facts.settle()
    assert not facts.ports


async def test_enslave_again_and_release_again_change_nothing(world: ContractWorld) -> None:
    facts, first, _ = await pair_of(world)
    assert world.kernel.apply(facts.team, [SetOption(OptionKey("priority", first), 7)]) == ()
    assert world.kernel.apply(facts.team, [SetMember(first, True)]) == ()
    await facts.settle(lambda: facts.options[OptionKey("priority", first)] == 7)
    assert not facts.heard_of(PortGone)
    assert world.kernel.apply(facts.team, [SetMember(first, False), SetMember(first, False)]) == ()


async def test_move_between_teams(world: ContractWorld) -> None:
    facts = team_of(world, "activebackup", "team0", "eth1")
    other = team_of(world, "broadcast", "team1")
    (port,) = facts.ports
    assert world.kernel.apply(other.team, [SetMember(port, True, steal=True)]) == ()
    await facts.settle(lambda: not facts.ports)
    dump = world.kernel.dump(other.team)
    assert [seen.ifindex for seen in dump.ports] == [port]
    # Releasing it from the team that lost it must not take it out of the other one.
    assert world.kernel.apply(facts.team, [SetMember(port, False)]) == ()
    assert [seen.ifindex for seen in world.kernel.dump(other.team).ports] == [port]


async def test_outsider_enslaves_and_releases(world: ContractWorld) -> None:
    facts = team_of(world)
    port = world.make_link("eth1")
    world.set_master("eth1", "team0")
    await facts.settle(lambda: port in facts.ports and facts.links[port].master == facts.team)
    world.set_master("eth1", "")
    await facts.settle(lambda: port not in facts.ports and not facts.links[port].master)


# Addresses and carrier


async def test_addresses(world: ContractWorld) -> None:
    facts, first, second = await pair_of(world)
    before = facts.links[second].mac
    assert world.kernel.apply(facts.team, [SetMac(first, MAC), SetMac(facts.team, MAC)]) == ()
    await facts.settle(lambda: facts.links[first].mac == facts.links[facts.team].mac == MAC)
    assert facts.links[second].mac == before
    multicast, gone = SetMac(first, b"\x01" + MAC[1:]), SetMac(999, MAC)
    codes = {refused.write: refused.errno for refused in world.kernel.apply(facts.team, [multicast, gone])}
    assert codes == {multicast: errno.EADDRNOTAVAIL, gone: errno.ENODEV}
    world.set_mac("eth2", MAC)
    await facts.settle(lambda: facts.links[second].mac == MAC)


@pytest.mark.parametrize("mode", ["broadcast", "roundrobin", "random"])
async def test_the_driver_copies_the_team_address(world: ContractWorld, mode: str) -> None:
    facts, first, second = await pair_of(world, mode)
    assert facts.links[first].mac == facts.links[second].mac == facts.links[facts.team].mac
    assert world.kernel.apply(facts.team, [SetMac(facts.team, MAC)]) == ()
    await facts.settle(lambda: {facts.links[link].mac for link in (facts.team, first, second)} == {MAC})


async def test_port_gets_its_address_back(world: ContractWorld) -> None:
    port = world.make_link("eth1")
    before = world.kernel.find_link("eth1")
    assert before
    facts = team_of(world)
    assert world.kernel.apply(facts.team, [SetMember(port, True), SetMac(port, MAC), SetMember(port, False)]) == ()
    await facts.settle(lambda: not facts.ports and facts.links[port].mac == before.mac)


async def test_carrier(world: ContractWorld) -> None:
    facts, *_ = await pair_of(world)
    world.set_admin("team0", True)
    await facts.settle(lambda: facts.links[facts.team].running)
    assert world.kernel.apply(facts.team, [SetCarrier(False)]) == ()
    await facts.settle(lambda: not facts.links[facts.team].running)
    assert facts.links[facts.team].carrier is False
    assert world.kernel.apply(facts.team, [SetCarrier(True)]) == ()
    await facts.settle(lambda: facts.links[facts.team].running)


# Events


async def test_peer_goes_down_and_comes_back(world: ContractWorld) -> None:
    facts, first, second = await pair_of(world)
    world.set_peer("eth1", False)
    await facts.settle(lambda: not facts.ports[first].linkup and not facts.links[first].running)
    about = [event for event in facts.heard_of(CarrierSeen, LinkSeen) if event.ifindex == first]
    assert about[0] == CarrierSeen(first, False)
    assert about[1].running is False
    assert facts.ports[first].speed_mbps == 0
    assert facts.ports[second].linkup
    facts.heard.clear()
    world.set_peer("eth1", True)
    await facts.settle(lambda: facts.ports[first].linkup and facts.links[first].running)
    about = [event for event in facts.heard_of(CarrierSeen, LinkSeen) if event.ifindex == first]
    assert CarrierSeen(first, True) in about
    assert {event.running for event in about[about.index(CarrierSeen(first, True)) :]} == {True}


async def test_rename(world: ContractWorld) -> None:
    facts, first, _ = await pair_of(world)
    world.rename("eth1", "lan1")
    await facts.settle(lambda: facts.links[first].name == "lan1" and facts.links[first].running)
    assert facts.ports[first].linkup
    assert world.kernel.find_link("eth1") is None
    found = world.kernel.find_link("lan1")
    assert found == facts.links[first]


@pytest.mark.parametrize("how", ["delete", "move_away"])
async def test_port_goes(world: ContractWorld, how: str) -> None:
    facts, first, second = await pair_of(world)
    assert world.kernel.apply(facts.team, [SetOption(OptionKey("activeport"), first)]) == ()
    getattr(world, how)("eth1")
    await facts.settle(lambda: first not in facts.links and first not in facts.ports)
    assert LinkGone(first) in facts.heard_of(LinkGone)
    assert facts.options[OptionKey("activeport")] == 0
    assert {key.port for key in facts.options} == {0, second}
    for write in (SetOption(OptionKey("enabled", first), True), SetMember(first, True), SetMac(first, MAC)):
        (refused,) = world.kernel.apply(facts.team, [write])
        assert refused.write == write
        assert refused.errno in (errno.ENODEV, errno.ENOENT)
    again = world.make_link("eth1")
    assert again != first
    await facts.settle(lambda: again in facts.links)


async def test_team_goes(world: ContractWorld) -> None:
    facts, first, _ = await pair_of(world)
    world.delete("team0")
    await facts.until(lambda: facts.team not in facts.links and facts.links[first].master == 0)
    with pytest.raises(KernelGone):
        world.kernel.dump(facts.team)
    with pytest.raises(KernelGone):
        world.kernel.apply(facts.team, [SetOption(OptionKey("notify_peers_count"), 1)])


async def test_only_watched_teams_are_heard_of(world: ContractWorld) -> None:
    facts = team_of(world, "activebackup", "team0")
    other = team_of(world, "activebackup", "team1")
    key = OptionKey("notify_peers_count")
    for team, value in ((other.team, 1), (facts.team, 1)):
        assert world.kernel.apply(team, [SetOption(key, value)]) == ()
    await facts.until(lambda: facts.options[key] == 1)
    assert (other.team, OptionSeen(key, 1)) in facts.heard
    world.kernel.unwatch_team(other.team)
    facts.heard.clear()
    for team, value in ((other.team, 2), (facts.team, 2)):
        assert world.kernel.apply(team, [SetOption(key, value)]) == ()
    await facts.until(lambda: facts.options[key] == 2)
    assert [team for team, event in facts.heard if isinstance(event, OptionSeen) and event.value == 2] == [facts.team]


async def test_overrun(world: ContractWorld) -> None:
    facts, first, second = await pair_of(world)
    world.lose_events(facts.team)
    world.set_option(OptionKey("enabled", first), False)
    world.delete("eth2")
    world.set_peer("eth1", False)
    await facts.until(lambda: bool(facts.heard_of(Overrun)))
    await facts.settle(lambda: second not in facts.links and not facts.links[first].running)
    assert facts.options[OptionKey("enabled", first)] is False
    facts.heard.clear()
    world.set_peer("eth1", True)  # and life goes on
    await facts.settle(lambda: facts.ports[first].linkup)
    assert PortSeen in {type(event) for event in facts.heard_of(PortSeen)}
    assert not facts.heard_of(Overrun)


@pytest.mark.parametrize("seed", range(5))
async def test_events_and_dumps_tell_the_same(world: ContractWorld, seed: int) -> None:
    """Whatever happens in whatever order: who only listens knows what a fresh dump says."""
    facts = team_of(world, "activebackup", "team0", "eth0", "eth1", "eth2")
    dice = random.Random(seed)
    for _ in range(25):
        name = dice.choice(["eth0", "eth1", "eth2"])
        link = world.kernel.find_link(name)
        if link is None:
            world.make_link(name)
            continue
        match dice.randrange(8):
            case 0:
                world.set_peer(name, dice.random() < 0.5)
            case 1:
                world.kernel.apply(facts.team, [SetMember(link.ifindex, not link.master)])
            case 2:
                world.kernel.apply(facts.team, [SetOption(OptionKey("activeport"), link.ifindex)])
            case 3:
                switches = [key for key in facts.options if key.name.endswith("enabled") and key.port == link.ifindex]
                switch = dice.choice(switches or [OptionKey("enabled", link.ifindex)])
                world.kernel.apply(facts.team, [SetOption(switch, dice.random() < 0.5)])
            case 4:
                world.set_mac(name, b"\x02" + dice.randbytes(5))
            case 5 if dice.random() < 0.3:
                dice.choice([world.delete, world.move_away])(name)
            case 6:
                world.set_admin(name, dice.random() < 0.5)
            case 7:
                world.set_admin("team0", dice.random() < 0.5)
    await facts.settle()


# Frames

SLOW = bytes.fromhex("0180c2000002025e000000428809") + b"\x01\x01" + bytes(108)
TAGS = {
    "untagged": (b"", None),
    "priority only": (b"\x81\0\xe0\0", None),
    "VLAN 5": (b"\x81\0\0\5", UNTOLD_VLAN),
    "priority and VLAN 5": (b"\x81\0\xe0\5", UNTOLD_VLAN),
}


@pytest.mark.parametrize("kind", TAGS)
async def test_slow_frames_in_a_vlan_are_told_apart(world: ContractWorld, kind: str) -> None:
    """The kernel takes the tag off for a socket of one EtherType; who listens must learn that there was a VLAN."""
    facts, port, _ = await pair_of(world)
    socket = world.kernel.open_port(port, Tap(slow.FRAMES, address=slow.GROUP))
    tag, vlan = TAGS[kind]
    world.say("eth1", SLOW[:12] + tag + SLOW[12:])
    with trio.fail_after(60):
        assert list(await world.kernel.readable()) == [socket]
        (seen, *_) = [frame for frame in socket.read() if frame.source == MAC]
    socket.close()
    assert (seen.vlan, seen.ethertype, seen.payload[:2]) == (vlan, 0x8809, b"\x01\x01")
    assert facts.ports
