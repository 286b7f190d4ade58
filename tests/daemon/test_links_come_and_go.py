"""Links that come and go within one batch of events: what a team knows of links is what the kernel has."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from test_pump_alone import Alone

from pyteamd.core.trace import Trace
from pyteamd.model.events import LinkGone, LinkSeen

SHORT_LIVED = 6000
OCTETS_EACH = 1


def replace(alone: Alone, name: str, times: int) -> None:
    """Delete a link and make it again, with nobody reading in between."""
    for _ in range(times):
        (link,) = [link for link in alone.kernel.links.values() if link.name == name]
        alone.kernel.delete_link(link.ifindex)
        alone.kernel.add_pair(name, f"{name}-peer")


def known(alone: Alone) -> set[int]:
    """Every interface number that the team remembers anything of."""
    facts, members = alone.pump.team.facts, alone.pump.team.members
    return {*facts.links, *facts.observed.members, *facts.observed.macs, *members.out, *members.released} - {
        alone.pump.ifindex
    }


def there(alone: Alone) -> set[int]:
    """Those that the configuration names."""
    return {link.ifindex for link in alone.kernel.links.values() if link.here and link.name in ("eth1", "eth2")}


@pytest.mark.parametrize("times", [1, 2, 5, 40])
def test_a_port_that_is_made_again_within_one_batch_joins(times: int) -> None:
    alone = Alone()
    replace(alone, "eth1", times)
    alone.deliver()
    assert [port.name for port in alone.pump.team.ports.values()] == ["eth2", "eth1"]
    assert known(alone) == there(alone)


def test_a_link_that_appeared_and_went_within_one_batch_is_forgotten() -> None:
    alone = Alone()
    for _ in range(20):
        alone.kernel.delete_link(alone.kernel.add_pair("veth0", "veth0-peer").ifindex)
    alone.deliver()
    assert known(alone) == there(alone)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_in_batches_of_any_size(seed: int) -> None:
    alone, dice = Alone(), random.Random(seed)
    for _ in range(60):
        name = dice.choice(["eth1", "eth2", "eth3"])
        there_is = [link for link in alone.kernel.links.values() if link.name == name]
        match dice.randrange(4):
            case 0 if there_is:
                alone.kernel.delete_link(there_is[0].ifindex)
            case 1 if not there_is:
                alone.kernel.add_pair(name, f"{name}-peer")
            case 2 if there_is and not there_is[0].master:
                alone.kernel.set_up(there_is[0].ifindex, dice.random() < 0.3)
            case 3:
                alone.deliver()
    alone.deliver()
    assert known(alone) == there(alone)
    free = {link.name for link in alone.kernel.links.values() if link.name in ("eth1", "eth2") and not link.up}
    assert not free & {link.name for link in alone.pump.team.facts.links.values() if not link.master}


@pytest.mark.slow
def test_links_of_a_moment_cost_no_memory_and_no_time() -> None:
    alone = Alone()
    alone.pump.trace = Trace({})  # which has room for more of them than a megabyte would have

    def pass_by(first: int, number: int) -> None:
        for ifindex in range(first, first + number):
            seen = LinkSeen(ifindex, f"veth{ifindex}", bytes(6))
            alone.reader.deliver([(0, seen)], alone.now)
            alone.reader.deliver([(0, LinkGone(ifindex))], alone.now)

    tracemalloc.start()
    try:
        pass_by(1000, 500)
        before = tracemalloc.get_traced_memory()[0]
        pass_by(2000, SHORT_LIVED)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < SHORT_LIVED * OCTETS_EACH
    assert not list(alone.pump.trace), "the team was told of none of them"
    assert known(alone) == there(alone)
