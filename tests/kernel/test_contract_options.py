"""The contract of the Kernel interface: the team driver's options. Both kernels must pass it."""

from __future__ import annotations

import errno
import random
import struct

import pytest
from contract_world import ContractWorld
from facts import Facts

from pyteamd.kernel.option_table import OPTIONS, TeamOption
from pyteamd.model.desired import OptionKey, OptionValue, SetMember, SetOption, Write
from pyteamd.model.events import OptionGone, OptionSeen, Refused

pytestmark = pytest.mark.both_kernels
MODES = ("broadcast", "roundrobin", "random", "activebackup", "loadbalance")
RETURN_7 = struct.pack("=HBBI", 0x06, 0, 0, 7)
RETURN_9 = struct.pack("=HBBI", 0x06, 0, 0, 9)
PORT = -1
"""Stands for the ifindex of the first port."""

VALUES: dict[str, list[OptionValue]] = {
    "notify_peers_count": [3, 0],
    "notify_peers_interval": [250, 0],
    "mcast_rejoin_count": [4294967295, 0],
    "mcast_rejoin_interval": [100, 0],
    "enabled": [False, True],
    "rx_enabled": [False, True],
    "tx_enabled": [False, True],
    "user_linkup": [True, False],
    "user_linkup_enabled": [True, False],
    "priority": [-5, 2147483647, -2147483648, 0],
    "queue_id": [1, 15, 0],
    "activeport": [PORT],
    "bpf_hash_func": [RETURN_7, RETURN_9, b""],
    "lb_tx_method": ["hash_to_port_mapping", "hash"],
    "lb_tx_hash_to_port_mapping": [PORT],
    "lb_stats_refresh_interval": [50, 0],
}


def offered(option: TeamOption, mode: str) -> bool:
    """Whether a mode has the option."""
    return not option.modes or mode in option.modes


def instances(option: TeamOption, ports: list[int]) -> set[OptionKey]:
    """Every key the option has in a team with these ports."""
    places = ports if option.per_port else [0]
    return {OptionKey(option.name, port, index) for port in places for index in range(option.array_size or 1)}


def team_of(world: ContractWorld, mode: str, *ports: str) -> tuple[Facts, list[int]]:
    """A watched team, and the ifindexes of its ports."""
    team = world.kernel.create_team("team0")
    world.kernel.watch_team(team)
    indexes = [world.make_link(port) for port in ports]
    writes: list[Write] = [SetOption(OptionKey("mode"), mode)] if mode else []
    assert world.kernel.apply(team, writes + [SetMember(port, True) for port in indexes]) == ()
    return Facts(world.kernel, team), indexes


@pytest.mark.parametrize("mode", MODES)
async def test_every_option_of_a_mode(world: ContractWorld, mode: str) -> None:
    """The table against the kernel: every option is there, and can be written and read, by us and by others."""
    facts, ports = team_of(world, mode, "eth1", "eth2")
    await facts.settle()
    here = {key.name for key in facts.options}
    table = {name: option for name, option in OPTIONS.items() if not option.recent or name in here}
    expected = [instances(option, ports) for option in table.values() if offered(option, mode)]
    assert set(facts.options) == set().union(*expected)
    for option in table.values():
        if not offered(option, mode) or option.read_only or option.name == "mode":
            continue
        if not option.modes and mode != "activebackup":
            continue  # what all modes have is written in one of them
        for value in VALUES[option.name]:
            key = OptionKey(option.name, ports[0] if option.per_port else 0, 255 if option.array_size else 0)
            wanted = ports[0] if value == PORT else value
            assert world.kernel.apply(facts.team, [SetOption(key, wanted)]) == (), key
            await facts.until(lambda key=key, wanted=wanted: facts.options[key] == wanted)  # type: ignore[misc]
            assert world.get_option(key) == wanted
            assert (facts.team, OptionSeen(key, wanted)) in facts.heard
    await facts.settle()


@pytest.mark.parametrize("mode", MODES)
async def test_options_of_other_modes_are_missing(world: ContractWorld, mode: str) -> None:
    facts, _ = team_of(world, mode)
    foreign = [option for option in OPTIONS.values() if not offered(option, mode) and not option.read_only]
    for option in foreign:
        value = 0 if VALUES[option.name][0] == PORT else VALUES[option.name][0]
        write = SetOption(OptionKey(option.name), value)
        assert world.kernel.apply(facts.team, [write]) == (Refused(write, errno.ENOENT),)


async def test_mode(world: ContractWorld) -> None:
    facts, _ = team_of(world, "")
    mode = OptionKey("mode")
    assert facts.options[mode] == "*NOMODE*"
    for value, code in (("loadbalance", 0), ("loadbalance", errno.EINVAL), ("nosuchmode", errno.EINVAL)):
        write = SetOption(mode, value)
        assert world.kernel.apply(facts.team, [write]) == ((Refused(write, code),) if code else ())
    await facts.settle(lambda: facts.options[mode] == "loadbalance")
    assert OptionKey("bpf_hash_func") in facts.options
    assert world.kernel.apply(facts.team, [SetOption(mode, "activebackup")]) == ()
    await facts.settle(lambda: facts.options[mode] == "activebackup")
    assert OptionKey("bpf_hash_func") not in facts.options
    assert OptionGone(OptionKey("bpf_hash_func")) in facts.heard_of(OptionGone)
    port = world.make_link("eth1")
    busy = SetOption(mode, "broadcast")
    assert world.kernel.apply(facts.team, [SetMember(port, True), busy]) == (Refused(busy, errno.EBUSY),)


@pytest.mark.parametrize(
    ("mode", "name", "value", "code"),
    [
        ("activebackup", "nosuchoption", 1, errno.ENOENT),
        ("activebackup", "activeport", 999, errno.ENOENT),
        ("activebackup", "enabled", True, errno.ENOENT),  # a port option without its port
        ("loadbalance", "lb_tx_method", "nosuchmethod", errno.EINVAL),
        ("loadbalance", "lb_tx_hash_to_port_mapping", 999, errno.ENODEV),
        ("loadbalance", "lb_hash_stats", bytes(8), errno.EOPNOTSUPP),
        ("loadbalance", "bpf_hash_func", b"123", errno.EINVAL),
    ],
)
async def test_refusals(world: ContractWorld, mode: str, name: str, value: OptionValue, code: int) -> None:
    facts, _ = team_of(world, mode, "eth1")
    write = SetOption(OptionKey(name), value)
    assert world.kernel.apply(facts.team, [write]) == (Refused(write, code),)
    await facts.settle()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("queue_id", 16, errno.EINVAL), ("lb_port_stats", bytes(8), errno.EOPNOTSUPP), ("activeport", 1, errno.ENOENT)],
)
async def test_refusals_of_port_options(world: ContractWorld, name: str, value: OptionValue, code: int) -> None:
    facts, (port,) = team_of(world, "loadbalance", "eth1")
    write = SetOption(OptionKey(name, port), value)
    assert world.kernel.apply(facts.team, [write]) == (Refused(write, code),)
    await facts.settle()


async def test_one_of_several_is_refused(world: ContractWorld) -> None:
    """The others are applied, before and behind it, and exactly the bad ones are named."""
    facts, (first, second) = team_of(world, "activebackup", "eth1", "eth2")
    bad = SetOption(OptionKey("activeport"), 999)
    vanished = SetOption(OptionKey("enabled", 998), False)
    writes = [
        SetOption(OptionKey("enabled", first), False),
        bad,
        SetOption(OptionKey("priority", second), 8),
        vanished,
        SetOption(OptionKey("activeport"), second),
    ]
    refused = world.kernel.apply(facts.team, writes)
    assert refused == (Refused(bad, errno.ENOENT), Refused(vanished, errno.ENOENT))
    await facts.settle(lambda: facts.options[OptionKey("activeport")] == second)
    assert facts.options[OptionKey("enabled", first)] is False
    assert facts.options[OptionKey("priority", second)] == 8


async def test_mode_with_other_options_around_it(world: ContractWorld) -> None:
    facts, _ = team_of(world, "")
    bad = SetOption(OptionKey("nosuchoption"), 1)
    writes = [
        SetOption(OptionKey("notify_peers_count"), 1),
        SetOption(OptionKey("mode"), "loadbalance"),
        SetOption(OptionKey("lb_tx_method"), "hash_to_port_mapping"),
        bad,
        SetOption(OptionKey("lb_stats_refresh_interval"), 7),
    ]
    assert world.kernel.apply(facts.team, writes) == (Refused(bad, errno.ENOENT),)
    await facts.settle(lambda: facts.options.get(OptionKey("lb_stats_refresh_interval")) == 7)
    assert facts.options[OptionKey("lb_tx_method")] == "hash_to_port_mapping"


async def test_a_whole_array_at_once(world: ContractWorld) -> None:
    """256 hash values in one call, and back: split over as many messages as the kernel likes."""
    facts, (first, second) = team_of(world, "loadbalance", "eth1", "eth2")
    keys = [OptionKey("lb_tx_hash_to_port_mapping", 0, index) for index in range(256)]
    values = {key: (first, second)[key.index % 2] for key in keys}
    assert world.kernel.apply(facts.team, [SetOption(key, value) for key, value in values.items()]) == ()
    await facts.settle(lambda: all(facts.options[key] == value for key, value in values.items()))
    assert world.kernel.apply(facts.team, [SetMember(second, False)]) == ()
    await facts.settle(lambda: second not in facts.ports)
    assert {facts.options[key] for key in keys} == {first, 0}


async def test_others_change_options(world: ContractWorld) -> None:
    facts, (port,) = team_of(world, "activebackup", "eth1")
    for name, value in (("enabled", False), ("priority", -3), ("user_linkup", True), ("queue_id", 2)):
        world.set_option(OptionKey(name, port), value)
        await facts.until(lambda name=name, value=value: facts.options[OptionKey(name, port)] == value)  # type: ignore[misc]
    world.set_option(OptionKey("activeport"), port)
    await facts.settle(lambda: facts.options[OptionKey("activeport")] == port)


SWITCHES = ("enabled", "rx_enabled", "tx_enabled")


@pytest.mark.parametrize("seed", range(3))
async def test_switches_of_a_port(world: ContractWorld, seed: int) -> None:
    """What each write does to the others, which of them is announced, and who may be given a hash afterwards.

    Where there is only `enabled` (before Linux 7.1) it is the only one written.
    """
    facts, (port, _) = team_of(world, "loadbalance", "eth1", "eth2")
    here = [name for name in SWITCHES if OptionKey(name, port) in facts.options]
    assert len(here) in (1, 3)
    await facts.catch_up(world)
    dice = random.Random(seed)
    receives = transmits = True
    for turn in range(12):
        name, value = dice.choice(here), dice.random() < 0.5
        receives = value if name in ("enabled", "rx_enabled") else receives
        transmits = value if name in ("enabled", "tx_enabled") else transmits
        heard = await announced_by(facts, SetOption(OptionKey(name, port), value), turn)
        assert [event.key.name for event in heard if event.key.name in SWITCHES] == [name]
        expected = dict(zip(SWITCHES, (receives and transmits, receives, transmits), strict=True))
        for switch in here:
            assert world.get_option(OptionKey(switch, port)) == expected[switch], (name, value, switch)
        slot = SetOption(OptionKey("lb_tx_hash_to_port_mapping", 0, 7), port)
        assert world.kernel.apply(facts.team, [slot]) == (() if transmits else (Refused(slot, errno.ENODEV),))


async def announced_by(facts: Facts, write: Write, turn: int) -> list[OptionSeen]:
    """What options are announced because of a write, and that all is known then."""
    mark = SetOption(OptionKey("mcast_rejoin_interval"), turn + 10)
    facts.heard.clear()
    for each in (write, mark):
        assert facts.kernel.apply(facts.team, [each]) == ()
    await facts.settle(lambda: facts.options[mark.key] == mark.value)
    return [event for event in facts.heard_of(OptionSeen) if isinstance(event, OptionSeen)]


def test_nobody_listens(world: ContractWorld) -> None:
    """The driver reports ESRCH for options it has set when no program listens: they count as set."""
    team = world.kernel.create_team("team0")
    writes = [
        SetOption(OptionKey("mode"), "activebackup"),
        SetOption(OptionKey("notify_peers_count"), 1),
        SetOption(OptionKey("notify_peers_interval"), 2),
        SetOption(OptionKey("mcast_rejoin_count"), 3),
    ]
    assert world.kernel.apply(team, writes) == ()
    dumped = {option.key: option.value for option in world.kernel.dump(team).options}
    assert dumped.items() >= {(write.key, write.value) for write in writes}


async def test_prepared_writes_are_only_prepared(world: ContractWorld) -> None:
    facts, (port,) = team_of(world, "activebackup", "eth1")
    await facts.settle(lambda: facts.ports[port].linkup and facts.links[port].running)
    writes: list[Write] = [SetOption(OptionKey("enabled", port), False), SetOption(OptionKey("nosuchoption"), 1)]
    world.kernel.prepare(facts.team, {port: writes})
    assert facts.agree()
    assert world.kernel.apply(facts.team, writes) == (Refused(writes[1], errno.ENOENT),)
    back = (SetOption(OptionKey("enabled", port), True), SetOption(OptionKey("priority", port), 7))
    world.kernel.prepare(facts.team, {port: back})
    assert world.kernel.apply(facts.team, back) == ()
    await facts.settle(lambda: all(facts.options[write.key] == write.value for write in back))
