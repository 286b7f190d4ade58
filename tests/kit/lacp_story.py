"""Beginnings that the conformance tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lacp_pair import Box, World
from lacp_peer import Peer

from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import LacpInfo

A_PORTS = {3: LacpPortConfig(), 4: LacpPortConfig()}


def meet(
    ports: Mapping[int, LacpPortConfig] | None = None,
    *,
    speak: bool = True,
    every: float = 1.0,
    seed: int = 1,
    **config: Any,
) -> tuple[World, Box, Peer]:
    """A with its ports, each joined to the port of P with the same number plus 100. P is well-behaved and in sync."""
    world = World(seed)
    box = Box(world, "a", ports or A_PORTS, **config)
    peer = Peer(world)
    for ifindex in box.ports:
        peer.port(ifindex + 100, every=every)
    box.start()
    for ifindex in box.ports:
        world.connect((box, ifindex), (peer, ifindex + 100))
    if speak:
        peer.begin()
    return world, box, peer


def together(**config: Any) -> tuple[World, Box, Peer]:
    """A and P, and five seconds later."""
    world, box, peer = meet(**config)
    world.run(5.0)
    assert box.serving() == set(box.ports)
    return world, box, peer


def mistaken(box: Box, ifindex: int, **changes: Any) -> LacpInfo:
    """What P would say of A's port if it meant another system."""
    actor = box.state(ifindex)["actor_lacpdu_info"]
    truth = LacpInfo(**(actor | {"system": bytes.fromhex(actor["system"].replace(":", ""))}))
    return replace(truth, **changes)


def without(state: int, *bits: int) -> int:
    """A state octet with these bits cleared."""
    for bit in bits:
        state &= ~bit
    return state


SYNC, COLLECTING, DISTRIBUTING = lacpdu.SYNCHRONIZATION, lacpdu.COLLECTING, lacpdu.DISTRIBUTING


def worst_burst(moments: list[float], span_s: float = 1.0) -> int:
    """Most frames within any such span."""
    worst = 0
    for index, start in enumerate(moments):
        worst = max(worst, sum(1 for at in moments[index:] if at < start + span_s - 1e-9))
    return worst
