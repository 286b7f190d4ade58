"""Teams that are told what no sane kernel says: no exception, no endless writing, and a state that can be shown."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pyteamd.config.config import Config
from pyteamd.core import invariants
from pyteamd.core.team import Team
from pyteamd.daemon import forecast
from pyteamd.kernel.option_table import OPTIONS
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.model.events import (
    Applied,
    CarrierSeen,
    KernelEvent,
    LinkGone,
    LinkSeen,
    OptionGone,
    OptionSeen,
    PortGone,
    PortSeen,
    Refused,
    Resync,
    Tick,
)
from pyteamd.runners import RUNNERS
from pyteamd.views import explain, history
from pyteamd.views import state as statetree

TEAM = 5
DEVICE = LinkSeen(TEAM, "team0", b"\2\0\0\0\0\1", up=True, kind="team")
INDEXES = (*(7, 8) * 8, TEAM, 9, 0, 1, -1, 2**31 - 1, 2**32 - 1)
NAMES = (*("eth1", "eth2") * 4, "eth3", "team0", "", "x" * 300, "a.b", "é\n", "lo")
VALUES: tuple[OptionValue, ...] = (
    *(True, False, 0, 1, -1, 2**32 - 1, 7, 8),
    *("", "*NOMODE*", "x" * 500, b"", bytes(8), bytes(range(256))),
)
BEGINNING = Resync(
    (DEVICE, *(LinkSeen(n, f"eth{n - 6}", bytes((2, 0, 0, 0, 1, n)), TEAM, True, True) for n in (7, 8))),
    (PortSeen(7, True, 1000, 1), PortSeen(8, True, 1000, 1)),
    tuple(OptionSeen(OptionKey("priority", n), 0) for n in (7, 8)),
)
RUNNER_KEYS: tuple[dict[str, Any], ...] = (
    *({"name": name} for name in RUNNERS),
    *({"name": "activebackup", "hwaddr_policy": policy} for policy in ("by_active", "only_active")),
    {"name": "loadbalance", "tx_balancer": {"name": "basic"}},
)
WATCHES = (
    {"name": "ethtool"},
    {"name": "ethtool", "delay_up": 50},
    {"name": "arp_ping", "target_host": "192.0.2.1"},
    {"name": "nsna_ping", "target_host": "fe80::1"},
)


def absurd(dice: random.Random) -> KernelEvent:
    """Some event."""
    ifindex = dice.choice(INDEXES)
    key = OptionKey(
        dice.choice([*OPTIONS, "priority", "enabled", "?", ""]), dice.choice(INDEXES), dice.choice([0, 0, 3, 2**32 - 1])
    )
    match dice.randrange(10):
        case 0 | 1 | 2:
            mac = dice.randbytes(dice.choice([0, 1, 5, 6, 6, 6, 6, 8, 20, 32]))
            master = dice.choice([0, *[TEAM] * 40, *INDEXES])
            kind, carrier = dice.choice(["", "team", "veth", "\0"]), dice.choice([None, True, False])
            up, running = dice.random() < 0.7, dice.random() < 0.7
            return LinkSeen(
                ifindex, dice.choice(NAMES), mac, master, up, running, dice.choice([b"", mac]), kind, carrier
            )
        case 3:
            return CarrierSeen(ifindex, dice.random() < 0.5)
        case 4:
            return dice.choice(
                [
                    LinkGone(ifindex) if ifindex != TEAM else OptionGone(key),
                    *[CarrierSeen(ifindex, False)] * 3,
                    PortGone(ifindex),
                ]
            )
        case 5 | 6:
            return PortSeen(
                ifindex, dice.random() < 0.5, dice.choice([0, 10, 1000, 2**31, 2**32 - 1]), dice.choice([0, 1, 255, 77])
            )
        case 7:
            return dice.choice(
                [OptionGone(key), *[OptionSeen(OptionKey("priority", ifindex), dice.choice(VALUES))] * 4]
            )
        case 8 if dice.random() < 0.2:
            return dump(dice)
    return OptionSeen(key, dice.choice(VALUES))


def dump(dice: random.Random) -> Resync:
    """A dump whose parts contradict each other."""
    events = [absurd(dice) for _ in range(dice.randrange(30))]
    return Resync(
        (*(event for event in events if isinstance(event, LinkSeen)), DEVICE),
        tuple(event for event in events if isinstance(event, PortSeen)),
        tuple(event for event in events if isinstance(event, OptionSeen)),
    )


def write_all(team: Team, dice: random.Random, now: float, refusals: float = 0.2) -> int:
    """Perform what the team wants; some is refused. How many rounds it took."""
    for rounds in range(30):
        writes = team.writes(now)
        if not writes:
            team.rest(now)
            return rounds
        refused = dice.random() < refusals
        team.handle(Refused(writes[0], dice.choice([1, 2, 16, 19, 22, 95])) if refused else Applied(writes), now)
    raise AssertionError(f"still writing: {writes}")


def look(team: Team, now: float) -> None:
    """Everything a user, the pump, or a fail-over may ask for."""
    team.take(), team.taps(), team.prepared(), team.unresolved(now)
    json.dumps(statetree.state(team))
    json.dumps(history.difference(team))
    explain.explain(team, now)
    invariants.check(team, now)


@pytest.mark.parametrize("runner", RUNNER_KEYS, ids=lambda runner: "-".join(str(value) for value in runner.values()))
def test_nothing_breaks_the_team(runner: dict[str, Any]) -> None:
    rounds = most_ports = 0
    for seed in range(8):
        dice = random.Random(seed)
        text = json.dumps(
            {"runner": runner, "ports": {"eth1": {"prio": 3}, "eth2": {}}, "link_watch": WATCHES[seed % 4]}
        )
        config = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
        team = Team(config, DEVICE, adopted=seed % 3 == 0)
        now = 0.0
        team.handle(BEGINNING, now)
        write_all(team, dice, now, refusals=0)
        for _ in range(60):
            now += dice.choice([0, 0, 0.001, 0.1])
            team.handle(absurd(dice), now)
            rounds += write_all(team, dice, now)
            most_ports = max(most_ports, len(team.ports))
            look(team, now)
            if (deadline := team.deadline()) is not None and deadline <= now:
                team.handle(Tick(), now)
        forecast.foresee(team, now)
    assert rounds > 25
    assert most_ports > 1
