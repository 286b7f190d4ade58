"""Links that become ours and cease to be while they come, go and change: what was told is in the end what there is."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from pyteamd.kernel.netlink import NetlinkKernel
from pyteamd.model.events import KernelEvent, LinkGone, LinkSeen

TEAM = 999_999
"""No link has this number; which links are ours is said as a dump says it."""
STEPS = 120
MOST = 8
ROOM = Path("/proc/sys/net/core/optmem_max")
FOR_FEW, FOR_NONE = 300, 1


class Links:
    """veth pairs of the namespace, changed at random, and what was heard of them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.kernel = NetlinkKernel()
        self.heard: dict[int, LinkSeen] = {}
        self.ours: set[int] = set()
        self.made: dict[int, str] = {}
        for link in self.kernel.all_links():
            self.heard[link.ifindex] = link
        self.kernel._foreign.known(self.heard)

    def change(self, number: int) -> None:
        """One thing that happens."""
        what = self.dice.choice(("add", "add", "del", "up", "up", "down", "ours", "ours", "theirs"))
        ifindex = self.dice.choice([*self.made, 0])
        if what == "add" and len(self.made) < MOST:
            name = f"f{number}"
            ip(f"link add {name} type veth peer name g{number}")
            self.made[socket.if_nametoindex(name)] = name
        elif what == "ours" and ifindex:
            self.ours.add(ifindex)
            self.kernel._list_ports(TEAM, sorted(self.ours))
        elif what == "theirs" and self.ours:
            self.ours.discard(self.dice.choice(sorted(self.ours)))
            self.kernel._list_ports(TEAM, sorted(self.ours))
        elif what == "del" and ifindex:
            ip(f"link del {self.made.pop(ifindex)}")
        elif what in ("up", "down") and ifindex:
            ip(f"link set {self.made[ifindex]} {what}")

    async def listen(self, seconds: float) -> None:
        """Take what is said."""
        with trio.move_on_after(seconds):
            while True:
                for _, event in await self.kernel.events():
                    self.hear(event)

    def hear(self, event: KernelEvent) -> None:
        """One event."""
        match event:
            case LinkSeen(ifindex=ifindex):
                self.heard[ifindex] = event
            case LinkGone(ifindex=ifindex):
                self.heard.pop(ifindex, None)

    def there(self) -> dict[int, tuple[str, bool, bool]]:
        """What there is now."""
        return shown({link.ifindex: link for link in self.kernel.all_links()})


def shown(links: dict[int, LinkSeen]) -> dict[int, tuple[str, bool, bool]]:
    """Name, administrative state and carrier, by link."""
    return {ifindex: (link.name, link.up, link.running) for ifindex, link in links.items()}


def ip(line: str) -> None:
    """`ip LINE`."""
    subprocess.run(["ip", *line.split()], check=True)


@pytest.fixture(params=[(0, 0), (1, 0), (2, 0), (0, FOR_FEW), (13, FOR_FEW), (1, FOR_NONE)])
def links(request: pytest.FixtureRequest) -> Iterator[Links]:
    """Links that are gone afterwards. The second of the parameters: how much room there is for filters, 0 for as much as usual."""
    seed, room = request.param
    usual = ROOM.read_text()
    ROOM.write_text(str(room or usual))
    made = Links(seed)
    yield made
    ROOM.write_text(usual)
    made.kernel.close()
    for name in made.made.values():
        ip(f"link del {name}")


@pytest.mark.kernel
async def test_in_the_end_what_was_told_is_what_there_is(links: Links) -> None:
    for number in range(STEPS):
        links.change(number)
        if links.dice.random() < 0.3:
            await links.listen(links.dice.choice((0.001, 0.02, 0.07)))
    give_up = trio.current_time() + 20
    while shown(links.heard) != links.there() and trio.current_time() < give_up:
        await links.listen(0.2)
    assert shown(links.heard) == links.there()
