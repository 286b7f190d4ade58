"""Links of others, people and commands by chance: what is not ours stays so, what is told is true, and each advice works."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, RecordingKernel, Running, quiet

from pyteamd.core.team import Team
from pyteamd.model.desired import OptionKey, SetMember, Write
from pyteamd.model.events import Refused
from pyteamd.sim.link import SimLink, link_seen
from pyteamd.sim.team import Refusal

NAMES = [f"eth{number}" for number in range(1, 5)]
OTHER_NAMES = ["wan", "lan"]
OWNERS = ["br0", "bond7", "team1"]
ODD = ["mv3", "v4", "lo", "br0", "team1", "nx"]
"""A macvlan, a VLAN, and what can never be a port, or is none."""
STEPS = 30
SETTLED_S = 75.0
"""Longer than the longest back-off."""


class Guard(RecordingKernel):
    """Notes each link that is taken from its owner without leave."""

    def __init__(self) -> None:
        super().__init__()
        self.team: Team | None = None
        self.stolen: list[str] = []

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        for write in writes:
            link = self.links.get(write.ifindex) if isinstance(write, SetMember) and write.steal else None
            allowed = link is None or self.team is None or self.team.joining.settings(link_seen(link)).config.steal
            self.stolen += [] if allowed or link is None else [link.name]
        return super().apply(team, writes)


class World:
    """A host with owners of links, and what happens on it."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.dice = lab, random.Random(seed)
        self.kernel = lab.kernel = Guard()
        for name in NAMES:
            self.kernel.add_pair(name, f"far-{name}")
        self.kernel.add_other("br0", "bridge")
        self.kernel.add_other("bond7", "bond")
        self.kernel.create_team("team1")
        self.kernel.add_other("mv3", "macvlan", self.link("eth3").ifindex)
        self.kernel.add_other("v4", "vlan", self.link("eth4").ifindex)
        for _ in range(6):
            self.people()
        self.daemon: Running

    def called(self, name: str) -> SimLink | None:
        """The link of this name."""
        links = [link for link in self.kernel.links.values() if link.here and name in (link.name, *link.altnames)]
        return links[0] if links else None

    def link(self, name: str) -> SimLink:
        """One that is there."""
        found = self.called(name)
        assert found is not None
        return found

    def config(self) -> dict[str, Any]:
        """Any ports, with any leave."""
        names = self.dice.sample([*NAMES, *OTHER_NAMES, *ODD], self.dice.randint(0, 5))
        leave = [{}, {}, {"steal": True}, {"set_down": True}, {"prio": 5}, {"queue_id": 99}]
        return {"runner": {"name": "activebackup"}, "ports": {name: self.dice.choice(leave) for name in names}}

    async def start(self, take_over: bool) -> None:
        """A daemon, the first one or the next."""
        self.kernel.team = None
        self.kernel.take_events()
        self.daemon = await self.lab.start(self.lab.plan(self.config(), take_over=take_over, keep=True))
        assert self.daemon.failure is None, self.daemon.failure
        (pump,) = self.daemon.reader.pumps.values()
        self.kernel.team = pump.team

    def people(self) -> None:
        """A person types `ip link`."""
        link = self.called(self.dice.choice([*NAMES, "mv3", "v4"]))
        if link is None:
            self.kernel.add_pair(
                self.dice.choice([name for name in NAMES if not self.called(name)]), f"far{len(self.kernel.links)}"
            )
            return
        owner = self.called(self.dice.choice([*OWNERS, "team0"]))
        try:
            match self.dice.randint(0, 7):
                case 0 | 1 if owner is not None and link.lower == 0:
                    self.kernel.set_master(link.ifindex, owner.ifindex)
                case 2:
                    self.kernel.set_master(link.ifindex, 0)
                case 3 | 4:
                    self.kernel.set_up(link.ifindex, self.dice.random() < 0.5)
                case 5 if all(self.called(name) in (None, link) for name in OTHER_NAMES):
                    self.kernel.set_altnames(link.ifindex, *self.dice.sample(OTHER_NAMES, self.dice.randint(0, 2)))
                case 6:
                    self.kernel.set_mtu(link.ifindex, self.dice.choice([1400, 1500, 9000]))
                case 7 if link.name in NAMES[:2]:
                    self.kernel.delete_link(link.ifindex)
        except Refusal:
            pass

    async def command(self) -> None:
        """A person asks the daemon for something."""
        name = self.dice.choice(NAMES)
        match self.dice.randint(0, 4):
            case 0:
                await self.daemon.call("PortAdd", name)
            case 1:
                await self.daemon.call("PortRemove", name)
            case 2:
                settings = self.dice.choice(["{}", '{"steal": true}', '{"set_down": true}'])
                await self.daemon.call("PortConfigUpdate", name, settings)
            case _:
                how = self.dice.choice(["apply", "apply", "confirm 20"])
                await self.daemon.call("ConfigApply", json.dumps(self.config()), how)

    async def rows(self) -> list[dict[str, Any]]:
        """What explain says."""
        found: list[dict[str, Any]] = json.loads(await self.daemon.call("Explain"))
        return found

    async def look(self) -> None:
        """All has settled; what is told is so."""
        await trio.sleep(SETTLED_S)
        team, rows = self.link("team0").ifindex, await self.rows()
        members = {link.name for link in self.kernel.links.values() if link.here and link.master == team}
        assert set((await self.daemon.state()).get("ports", {})) == members
        assert self.kernel.team is not None
        told = {name for row in rows for name in (row["port"], *row["names"])}
        assert [name for name in self.kernel.team.config.written if name not in told] == []
        for row in rows:
            text, link = row["text"], self.called(row["port"])
            assert not re.search("about to be|is joining", text)
            assert (": there is no such interface" in text) is (link is None)
            owner = self.kernel.links.get(link.master) if link is not None and link.master != team else None
            assert owner is None or owner.name in text
            named = re.search(r": belongs to (\w+)", text)
            assert named is None or (owner is not None and named[1] == owner.name)
            assert ": is up" not in text or (link is not None and link.up)

    async def follow_advice(self) -> None:
        """Each is typed; then something else is told."""
        for name in [row["port"] for row in await self.rows()]:
            row = next((row for row in await self.rows() if row["port"] == name), None)
            if row is None or "; " in row["hint"] or not re.match("ip link|pyteamdctl team0 port add", row["hint"]):
                continue
            *_, device, what = shlex.split(row["hint"].replace(" mtu ", " mtu="))
            if what.startswith("mtu="):
                self.kernel.set_mtu(self.link(device).ifindex, int(what[4:]))
            elif row["hint"].startswith("ip"):
                self.kernel.set_up(self.link(device).ifindex, what == "up")
            else:
                assert await self.daemon.call("PortAdd", name) == "", row["text"]
            await trio.sleep(12)
            assert row not in await self.rows()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 150))])
async def test_what_is_not_ours_and_what_is_told(tmp_path: Path, nursery: trio.Nursery, seed: int) -> None:
    world = World(Lab(tmp_path, nursery), seed)
    nursery.start_soon(world.lab.run_net)
    if taken := world.dice.random() < 0.3:
        world.kernel.teams[world.kernel.create_team("team0")].set_option(OptionKey("mode"), "activebackup")
    await world.start(taken)
    for _ in range(STEPS):
        match world.dice.randint(0, 9):
            case 0:
                await world.daemon.stop()
                await world.start(True)
            case 1:
                await world.look()
            case 2 | 3 | 4 | 5:
                world.people()
            case _:
                await world.command()
        await quiet()
    await world.look()
    await world.follow_advice()
    assert world.kernel.stolen == []
    assert [line for daemon in world.lab.daemons for line in daemon.lines if "This is a bug" in line] == []
    nursery.cancel_scope.cancel()
