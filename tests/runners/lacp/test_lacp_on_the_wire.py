"""Every option that LACPDUs tell of, changed while the team runs, is on the wire within a second, whatever the mux machine does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lacp_bench import Bench, FakePort
from lacp_story import worst_burst

from pyteamd.model.desired import OptionKey
from pyteamd.model.events import Resync
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.machines import Mux
from pyteamd.wire.lacpdu import LacpInfo

STEP_S = 0.05
IDENTIFIER = b"\x02\0\0\0\0\x77"
OUT_OF_SYNC, IN_SYNC, COLLECTING = 0x07, 0x0F, 0x3F

TOLD: dict[str, tuple[Any, Any, Callable[[LacpInfo], Any]]] = {
    "active": (True, False, lambda actor: bool(actor.state & 0x01)),
    "fast_rate": (True, False, lambda actor: bool(actor.state & 0x02)),
    "sys_prio": (65535, 7, lambda actor: actor.system_priority),
    "system_id": (None, IDENTIFIER, lambda actor: actor.system if actor.system == IDENTIFIER else None),
    "key_policy": ("teamd", "speed", lambda actor: "speed" if actor.key & 1 else "teamd"),
    "lacp_prio": (255, 7, lambda actor: actor.port_priority),
    "lacp_key": (0, 6, lambda actor: actor.key >> 6 if actor.key & 1 else actor.key),
}
"""Value before, value after, and where an LACPDU has it."""
NOT_TOLD = {"min_ports", "max_ports", "agg_select_policy", "fallback", "fallback_delay", "sticky", "wait_to_restore"}
PORT_OPTIONS = {"lacp_prio", "lacp_key"}
WAYS_IN: dict[Mux, tuple[bool, int | None, float]] = {
    Mux.DETACHED: (False, None, 0.0),
    Mux.WAITING: (False, COLLECTING, 1.0),
    Mux.ATTACHED: (False, OUT_OF_SYNC, 4.0),
    Mux.COLLECTING_DISTRIBUTING: (False, COLLECTING, 4.0),
    Mux.COLLECTING: (True, IN_SYNC, 4.0),
    Mux.DISTRIBUTING: (True, COLLECTING, 4.0),
}
"""Whether the kernel switches both directions apart, what the partner says, and for how long."""


def arrived_in(mux: Mux, **config: Any) -> tuple[Bench, int | None]:
    """A team whose port is in this state."""
    independent, partner, seconds = WAYS_IN[mux]
    bench = Bench(FakePort(3), start=False, **config)
    if independent:
        bench.observed.options |= {OptionKey("rx_enabled", 3): False, OptionKey("tx_enabled", 3): False}
    bench.handle(Resync((), (), ()))
    bench.wait(0.5)
    for _ in range(int(seconds)):
        if partner is not None:
            bench.hear(3, state=partner)
        bench.wait(1.0)
    assert bench.runner._group.ports[3].mux is mux
    bench.said(3)
    return bench, partner


def change(bench: Bench, name: str, value: Any) -> None:
    """`config apply`."""
    config = bench.runner.config
    if name in PORT_OPTIONS:
        bench.ports[3].config = replace(bench.ports[3].config, **{name: value})
    else:
        config = replace(config, **{name: value})
    bench.runner.reconfigure(config, bench.view, bench.now)
    bench.changed(3)


def sent_in(bench: Bench, seconds: float) -> list[tuple[float, LacpInfo]]:
    """What is said meanwhile, and when."""
    found, until = [], bench.now + seconds
    while True:
        found += [(bench.now, pdu.actor) for pdu in bench.said(3)]
        if bench.now >= until:
            return found
        bench.wait(STEP_S)


def test_every_option_is_told_or_known_not_to_be() -> None:
    assert {*LacpConfig.__annotations__, *LacpPortConfig.__annotations__} == set(TOLD) | NOT_TOLD


@pytest.mark.parametrize("mux", list(WAYS_IN))
@pytest.mark.parametrize("name", list(TOLD))
def test_a_change_is_on_the_wire_within_a_second(name: str, mux: Mux) -> None:
    one, other, told = TOLD[name]
    bench, partner = arrived_in(mux)
    sent = sent_in(bench, 0.0)
    for value in (other, one, other):  # the third comes when the limit of three a second is reached
        change(bench, name, value)
        last = sent_in(bench, 0.2)
        sent += last
    sent += (late := sent_in(bench, 0.8))
    assert told((last + late)[-1][1]) == other
    assert told(bench.actor(3)) == other
    if partner is not None:
        bench.hear(3, state=partner)
    assert worst_burst([at for at, _ in sent]) <= 3


@pytest.mark.parametrize(("name", "other"), list(itertools.combinations(TOLD, 2)))
def test_so_are_two_changes_at_once(name: str, other: str) -> None:
    bench, _ = arrived_in(Mux.COLLECTING_DISTRIBUTING)
    for one in (name, other):
        change(bench, one, TOLD[one][1])
    said = [actor for _, actor in sent_in(bench, 1.0)][-1]
    assert [TOLD[one][2](said) for one in (name, other)] == [TOLD[one][1] for one in (name, other)]
