"""What is said on one port costs no other: any LACPDUs, markers and nonsense on port 4, while port 3 and its partner are well.

A system that is in sync with us and means us is no stranger: by the policy lacp_prio the one with the better identifier is used, as
configured; the other policies stay with the one in use. So with lacp_prio nothing of that kind is said here.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from lacp_bench import PARTNER_MAC, TEAM_MAC, Bench, FakePort
from lacp_story import worst_burst

from pyteamd.runners.lacp.keys import POLICY_NAMES
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

SECONDS, STEPS = 12, 8
SEEDS = 30 if os.environ.get("PYTEAMD_LONG") else 8
SYSTEMS = (PARTNER_MAC, PARTNER_MAC, TEAM_MAC, bytes(6), b"\x02\0\0\0\0\x01", b"\xff" * 6)
STATES = (0x3F, 0x3D, 0x0F, 0x07, 0x05, 0x3B, 0x00, 0xFF, 0xC7)
SYNC, AGGREGATION = lacpdu.SYNCHRONIZATION, lacpdu.AGGREGATION


def said(random: Random, told: LacpInfo, tame: bool) -> bytes:
    """A random LACPDU for port 4. `tame`: only the partner's system is in sync and means us."""
    if random.random() < 0.2:
        return random.choice(
            (bytes(110), b"\x02\x01" + random.randbytes(108), b"\x01" + random.randbytes(random.randrange(130)))
        )
    state = random.choice((*STATES, random.randrange(256)))
    system = random.choice(SYSTEMS)
    actor = LacpInfo(
        random.choice((100, 100, 0)),
        system,
        random.choice((7, 7, 8)),
        random.choice((255, 0)),
        random.choice((104, 103, 1)),
        state,
    )
    partners = (system, actor.system_priority, actor.key, state & AGGREGATION) == (PARTNER_MAC, 100, 7, AGGREGATION)
    if tame and not partners:
        actor = LacpInfo(actor.system_priority, system, actor.key, actor.port_priority, actor.port, state & ~SYNC)
    elif random.random() < 0.5:
        told = LacpInfo(
            0,
            random.choice((bytes(6), told.system)),
            told.key + 1,
            told.port_priority,
            told.port,
            random.randrange(256),
        )
    return Lacpdu(actor, told).build()


@pytest.mark.parametrize("policy", POLICY_NAMES)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, SEEDS))])
def test_one_port_costs_no_other(seed: int, policy: str) -> None:
    random = Random(seed)
    bench = Bench(FakePort(3), FakePort(4), sys_prio=1000, agg_select_policy=policy)
    bench.serve()
    bench.frames.clear()
    sent: dict[int, list[float]] = {3: [], 4: []}
    for step in range(SECONDS * STEPS):
        if step % STEPS == 0:
            bench.hear(3)
            if random.random() < 0.5:
                bench.hear(4)
        for _ in range(random.randrange(4)):
            bench.frame(4, said(random, bench.actor(4), tame=policy == "lacp_prio"))
            assert 3 in bench.enabled(), f"{bench.notes[-3:]}"
        bench.wait(1.0 / STEPS)
        assert 3 in bench.enabled(), f"{bench.notes[-3:]}"
        for port, moments in sent.items():
            moments += [bench.now] * sum(octets[14] == 1 for who, octets in bench.frames if who == port)
        bench.frames.clear()
    assert not [line for line in bench.notes if "carrier changed to DOWN" in line]
    assert max(worst_burst(moments, 1.0 - 1.0 / STEPS) for moments in sent.values()) <= 3
    for _ in range(9):
        for port in (3, 4):
            bench.hear(port)
        bench.wait(1.0)
    assert bench.enabled() == {3, 4}, "and port 4 is well again when it is left alone"


@pytest.mark.parametrize(
    "kind", ["two partners on one link", "our own LACPDUs from several ports", "a key for every LACPDU"]
)
def test_what_comes_in_with_every_lacpdu_is_not_logged_with_every_lacpdu(kind: str) -> None:
    """A log that is full of one link has no room for the others."""
    bench = Bench(FakePort(3), FakePort(4))
    before = len(bench.notes)
    for n in range(300):
        match kind:
            case "two partners on one link":
                bench.hear(3, mac=bytes((2, 0xCC, 0, 0, 0, n % 2)))
            case "our own LACPDUs from several ports":
                bench.hear(3, mac=bench.view.mac, number=n % 3 + 5)
            case _:
                bench.hear(3, key=n)
        bench.wait(0.1)
    assert len(bench.notes) - before <= 20, bench.notes[-10:]
    bench.wait(61.0)
    for _ in range(4):
        bench.hear(3, key=77)
        bench.wait(1.0)
    assert any("Selected aggregator" in note and "key 77)" in note for note in bench.notes[-5:]), bench.notes[-5:]
