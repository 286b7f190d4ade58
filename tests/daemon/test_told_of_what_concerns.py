"""A team that is told of the links that concern it decides as one that is told of all there are."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from pyteamd.core.namespace_links import NamespaceLinks, Told
from pyteamd.core.team import Team
from pyteamd.model.events import Event, LinkGone, LinkSeen, Resync
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.scenario.world import CommandError

pytestmark = pytest.mark.slow

SEEDS = range(400 if os.environ.get("PYTEAMD_LONG") else 30)
PORTS = ("eth1", "eth2", "eth3", "eth4")
NAMES = (*PORTS, "up", "wan", "vlan1", "mac1")


class AllLinks(NamespaceLinks):
    """What the daemon did once: each team is told of everything."""

    def nearby(self, event: LinkSeen | LinkGone, told: Told) -> list[int]:
        """All teams."""
        return list(self._keys)

    def about(self, team: Team, event: LinkSeen | LinkGone, told: Told) -> list[LinkSeen | LinkGone]:
        """As it was said."""
        return [event]

    def before(self, team: Team, event: Event) -> list[LinkSeen]:
        """It is known."""
        return []

    def of(self, team: Team, dump: Resync) -> tuple[LinkSeen | Resync, ...]:
        """All of it."""
        return (dump,)


def some_config(chance: random.Random) -> str:
    """Some of the names as ports, and what may be done to have them."""
    names = [name for name in NAMES if chance.random() < 0.5]
    keys = {"set_down": 0.3, "steal": 0.2, "sticky": 0.2}
    ports = {name: {key: True for key, share in keys.items() if chance.random() < share} for name in names}
    return json.dumps({"runner": {"name": chance.choice(["activebackup", "broadcast"])}, "ports": ports})


def name_besides(world: SimulatedWorld, name: str, new: str) -> None:
    """Give a link an alternative name; one that is down, of which the kernel says nothing then, is set up before."""
    if world.kernel.find_link(new) is None:
        world.set_admin(name, True)
        ifindex = world.ifindex_of(name)
        world.kernel.set_altnames(ifindex, *world.kernel.links[ifindex].altnames, new)
        world.settle()


def join_other(world: SimulatedWorld, name: str, master: str) -> None:
    """Another device takes the link."""
    world.set_master(name, "")
    world.set_master(name, master)


def start_again(world: SimulatedWorld) -> None:
    """Killed, and a successor with the configuration there was."""
    config = json.dumps(world.running().team.config.dump())
    world.kill()
    world.start(config, adopt=True, enslave=True, keep=False)


def something(world: SimulatedWorld, chance: random.Random) -> None:
    """One thing that people or other programs may do to links or to the team."""
    links = world.kernel.links.values()
    names = sorted(link.name for link in links if link.here and link.name[:4] not in ("team", "lo", "peer"))
    name, new, config = chance.choice(names), chance.choice(NAMES), some_config(chance)
    free = world.kernel.find_link(new) is None
    mac = bytes([2, 0, 0, 0, 9, chance.randrange(200)])
    things: list[Callable[[], object]] = [
        lambda: free and world.make_port(new, 1000, 1),
        lambda: free and world.make_upper(new, name, chance.choice(["vlan", "macvlan"])),
        lambda: free and name not in ("br0", "bond0") and world.rename(name, new),
        lambda: name_besides(world, name, new),
        lambda: name != "br0" and world.delete(name),
        lambda: world.remake(name, chance.randrange(1, 4)),
        lambda: join_other(world, name, chance.choice(["br0", "bond0"])),
        lambda: world.set_master(name, chance.choice(["team0", ""])),
        lambda: world.set_master("team0", "br0"),
        lambda: world.set_admin(name, chance.random() < 0.5),
        lambda: world.set_peer(name, chance.random() < 0.5),
        lambda: world.set_mac(chance.choice([name, "team0"]), mac),
        lambda: world.set_mtu(name, chance.choice([1400, 1500, 9000])),
        lambda: world.add_port(name),
        lambda: world.remove_port(name),
        lambda: world.port_config(new, chance.choice([{}, {"queue_id": 99}, {"set_down": True}, {"steal": True}])),
        lambda: world.apply_config(config),
        lambda: world.refuse(chance.choice(["enslave", "address"]), name, chance.choice([1, None]), "EBUSY"),
        lambda: world.refuse("", "", None, "EBUSY"),
        lambda: world.pass_time(chance.choice([0.1, 1.0, 6.0, 100.0])),
        world.overrun,
        lambda: start_again(world),
    ]
    with suppress(CommandError):
        chance.choice(things)()


def story(seed: int) -> list[object]:
    """All that was written, said and explained while many things happened."""
    chance, world = random.Random(seed), SimulatedWorld()
    for name in PORTS:
        world.make_port(name, 1000, 1)
    world.make_other("br0", "bridge")
    world.make_other("bond0", "bond")
    world.start(some_config(chance), adopt=False, enslave=True, keep=False)
    told: list[object] = []
    for _ in range(chance.randrange(10, 50)):
        something(world, chance)
        told += [(happened.kind, happened.text) for happened in world.happened()]
        if not world.serves():
            break
        told += [*world.explain(), {link.name: link.master for link in world.kernel.links.values() if link.here}]
    world.close()
    return told


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_is_decided(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = story(seed)
    monkeypatch.setattr("pyteamd.daemon.reader.NamespaceLinks", AllLinks)
    of_all = story(seed)
    first = next((at for at, pair in enumerate(zip(told, of_all, strict=False)) if pair[0] != pair[1]), None)
    assert told == of_all, (first, told[: first or 0][-12:])
