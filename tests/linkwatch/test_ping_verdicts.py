"""Ping watchers in a network that loses, delays, reorders and duplicates frames, with links that flap: the verdicts are exactly those of
the definition, which the oracle here spells out on plain lists of times. It knows when answers were heard, and nothing else.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pyteamd.model.events import Event, FrameSeen
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.sim.net import Dice

TINY_S = 1e-7
LEAST_S, ENOUGH_S, FADES = 0.02, 0.04, 0.8
PORTS = ("eth1", "eth2")
TARGETS = {"arp_ping": "192.0.2.1", "nsna_ping": "2001:db8::1"}


def oracle(
    heard: Sequence[float], first_s: float, interval_s: float, missed_max: int, end_s: float
) -> list[tuple[float, bool]]:
    """When the verdict changes, and to what.

    A target is dead when more than `missed_max` probes in a row were not answered before the next one was due; the last of them is given
    up as soon as answers as slow as the slowest of late would have come. It is alive at the end of an interval in which it answered.
    """
    changes: list[tuple[float, bool]] = []
    up, unanswered, slowest_s, begin_s = False, 0, 0.0, first_s
    while begin_s < end_s:
        # The first interval ends on the grid of all ports, half to one and a half intervals later.
        grid_s = interval_s * (math.floor(begin_s / interval_s + 0.5) + 1)
        next_s = grid_s if begin_s == first_s else begin_s + interval_s
        answers = [at_s for at_s in heard if begin_s - TINY_S <= at_s < next_s - TINY_S]
        if up and unanswered == missed_max:
            patience_s = max(LEAST_S, min(2 * slowest_s, ENOUGH_S), 1.5 * slowest_s)
            give_up_s = begin_s + min(patience_s, interval_s)
            if not any(at_s <= give_up_s for at_s in answers):
                changes.append((give_up_s, False))
                up = False
        if answers:
            slowest_s = max(min(answers[0] - begin_s, interval_s), slowest_s * FADES)
        unanswered = 0 if answers else unanswered + 1
        if answers and not up:
            changes.append((next_s, True))
            up = True
        begin_s = next_s
    return [change for change in changes if change[0] < end_s]


@dataclass
class Plan:
    """One run, made from a seed."""

    watcher: str
    interval_s: float
    init_wait_s: float
    missed_max: int

    @property
    def config(self) -> str:
        more = ', "source_host": "192.0.2.2", "validate_active": true, "validate_inactive": true, "send_always": true'
        return (
            f'{{"runner": {{"name": "activebackup"}}, "link_watch": {{"name": "{self.watcher}", "missed_max": {self.missed_max},'
            f' "interval": {self.interval_s * 1000:.0f}, "init_wait": {self.init_wait_s * 1000:.0f},'
            f' "target_host": "{TARGETS[self.watcher]}"{more if self.watcher == "arp_ping" else ""}}},'
            ' "ports": {"eth1": {}, "eth2": {}}}'
        )


def is_answer(event: Event) -> bool:
    """An ARP reply or an advertisement, told by raw octets; nobody but the target says any in these runs."""
    if not isinstance(event, FrameSeen):
        return False
    if event.ethertype == 0x0806:
        return event.payload[6:8] == b"\0\2"
    return event.ethertype == 0x86DD and event.payload[6] == 58 and event.payload[40] == 136


def disturb(world: SimulatedWorld, dice: Dice, plan: Plan) -> None:
    """Something happens to one of the cables."""
    port = dice.choice(PORTS)
    match dice.below(7):
        case 0 | 1:
            world.wire(port, "loss", dice.choice((0.0, 0.0, 0.2, 0.5, 1.0)))
        case 2:
            world.wire(port, "delay", dice.random() * dice.choice((0.01, 0.3, 2.5)) * plan.interval_s)
        case 3:
            world.wire(port, "jitter", dice.random() * dice.choice((0.0, 0.1, 3.0)) * plan.interval_s)
        case 4:
            world.wire(port, "duplicate", dice.choice((0.0, 0.3)))
        case 5:
            world.answer(port, TARGETS[plan.watcher], dice.below(3) > 0, None)
        case _:
            world.set_peer(port, dice.below(3) > 0)


def check(seed: int) -> int:
    """One run against the oracle; returns how often a verdict changed."""
    dice = Dice(seed)
    plan = Plan(
        dice.choice(tuple(TARGETS)),
        dice.choice((0.05, 0.1, 0.3)),
        dice.choice((0.01, 0.26)),
        dice.below(5),
    )
    world = SimulatedWorld(Dice(seed + 1))
    for port in PORTS:
        world.make_port(port, 1000, 1)
        world.answer(port, TARGETS[plan.watcher], dice.below(3) > 0, None)
    world.start(plan.config, adopt=False, enslave=True, keep=False)
    team = world.running().team
    heard: dict[str, list[float]] = defaultdict(list)
    handle = team.handle

    def listen(event: Event, now: float) -> bool:
        if is_answer(event):
            assert isinstance(event, FrameSeen)
            heard[world.name_of(event.ifindex)].append(now)
        return handle(event, now)

    team.handle = listen  # type: ignore[method-assign]
    for _ in range(25):
        world.pass_time(dice.random() * 6 * plan.interval_s)
        disturb(world, dice, plan)
    count = 0
    for port in PORTS:
        said = [
            (item.at, item.text.endswith("up."))
            for item in world.log
            if item.text.startswith(f"{port}: {plan.watcher}-link went")
        ]
        wanted = oracle(heard[port], plan.init_wait_s, plan.interval_s, plan.missed_max, world.now() - TINY_S)
        assert [up for _, up in said] == [up for _, up in wanted], (seed, port, plan, said, wanted)
        for (at_s, _), (wanted_s, _) in zip(said, wanted, strict=True):
            assert at_s == pytest.approx(wanted_s, abs=1e-6), (seed, port, plan, said, wanted)
        count += len(said)
    return count


def test_some_runs() -> None:
    assert sum(check(seed) for seed in range(4)) > 8, "nothing happens in these runs"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000 if os.environ.get("PYTEAMD_LONG") else 200, 100))
def test_many_runs(first: int) -> None:
    assert sum(check(seed) for seed in range(1000 + first, 1100 + first)) > 200
