"""The LACP machines, every state × every event, written out once more by hand."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from lacp_bench import FakePort

from pyteamd.runners.lacp.churn import drift
from pyteamd.runners.lacp.machines import (
    BECOMES_COUPLED,
    BECOMES_INDEPENDENT,
    COUPLED,
    INDEPENDENT,
    RECEIVE,
    Attached,
    Churn,
    Churned,
    Current,
    Defaulted,
    Disabled,
    Expired,
    Happening,
    Monitor,
    Mux,
    MuxInput,
    MuxTable,
    NoChurn,
    Pace,
    Receive,
    Selection,
    next_mux,
    periodic,
)
from pyteamd.runners.lacp.port import DEFAULT_PARTNER, NO_PARTNER, LacpPort
from pyteamd.runners.lacp.system import LocalSystem
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

LOCAL = LocalSystem(65535, b"\x02\0\0\0\0\x01", active=True, fast=True)
PARTNER = LacpInfo(100, b"\x02\xbb\0\0\0\x01", 7, 255, 103, 0x3F)
OTHER = LacpInfo(100, b"\x02\xcc\0\0\0\x01", 7, 255, 1, 0x3F)
US = LacpInfo(65535, b"\x02\0\0\0\0\x01", 0, 255, 3, 0x3F)
NOW = 1000.0

STATES: dict[str, Receive] = {
    "disabled": Disabled(),
    "current": Current(NOW + 2.0),
    "expired": Expired(NOW + 1.0),
    "defaulted": Defaulted(),
}

#          link up     link down   LACPDU     timeout      moved
RECEIVE_EXPECTED = {
    "disabled": ("expired", None, None, None, "disabled"),
    "current": (None, "disabled", "current", "expired", None),
    "expired": (None, "disabled", "current", "defaulted", None),
    "defaulted": (None, "disabled", "current", None, None),
}
EVENTS = (Happening.LINK_UP, Happening.LINK_DOWN, Happening.PDU, Happening.TIMEOUT, Happening.MOVED)
CELLS = [
    (state, event, expected)
    for state, row in RECEIVE_EXPECTED.items()
    for event, expected in zip(EVENTS, row, strict=True)
]


def port_in(state: str, mux: Mux = Mux.COLLECTING_DISTRIBUTING) -> LacpPort:
    """A port that was in service and has got into this receive state."""
    port = LacpPort(FakePort(3), 3, b"\x02\0\0\0\0\x03", receive=STATES[state], partner=PARTNER, told=US)
    port.standing = Attached(port.lag_id(LOCAL), mux)
    return port


def test_every_cell_is_written_out() -> None:
    assert {(state, event) for state, event, _ in CELLS} == set(itertools.product(STATES, Happening))
    kinds = {"disabled": Disabled, "current": Current, "expired": Expired, "defaulted": Defaulted}
    table = {(kinds[state], event): kinds[target] for state, event, target in CELLS if target}
    assert table == RECEIVE


@pytest.mark.parametrize(("state", "event", "expected"), CELLS)
def test_receive_machine(state: str, event: Happening, expected: str | None) -> None:
    port = port_in(state)
    before = port.receive
    assert port.happen(event, LOCAL, NOW) is (expected is not None)
    assert port.receive.name == (expected or state)
    if expected is None:
        assert port.receive == before
        assert (port.partner, port.told, port.mux) == (PARTNER, US, Mux.COLLECTING_DISTRIBUTING)


@pytest.mark.parametrize(
    ("state", "event", "partner", "attached", "until"),
    [
        # link loss and silence keep the partner and the place; giving it up and its moving away do not
        ("disabled", Happening.LINK_UP, PARTNER, True, NOW + 3.0),
        ("disabled", Happening.MOVED, NO_PARTNER, False, None),
        ("current", Happening.LINK_DOWN, PARTNER, True, None),
        ("current", Happening.TIMEOUT, PARTNER, True, NOW + 3.0),
        ("current", Happening.PDU, PARTNER, True, NOW + 3.03),
        ("expired", Happening.LINK_DOWN, PARTNER, True, None),
        ("expired", Happening.TIMEOUT, DEFAULT_PARTNER, False, None),
        ("expired", Happening.PDU, PARTNER, True, NOW + 3.03),
        ("defaulted", Happening.LINK_DOWN, PARTNER, True, None),
        ("defaulted", Happening.PDU, PARTNER, True, NOW + 3.03),
    ],
)
def test_what_entering_a_state_does(
    state: str, event: Happening, partner: LacpInfo, attached: bool, until: float | None
) -> None:
    port = port_in(state)
    port.happen(event, LOCAL, NOW)
    assert port.partner == partner
    assert (port.told is None) is (partner is not PARTNER)
    assert port.mux.in_sync is attached
    assert (port.lag is not None) is attached
    assert getattr(port.receive, "until", None) == until


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("state", ["current", "expired", "defaulted"])
def test_an_lacpdu_is_recorded_in_every_state_with_a_link(state: str, fast: bool) -> None:
    local = LocalSystem(65535, LOCAL.mac, active=True, fast=fast)
    port = port_in(state)
    assert port.hear(Lacpdu(PARTNER, US), b"\x02\xbb\0\0\0\x07", local, NOW)
    assert port.receive == Current(NOW + (3.03 if fast else 90.03))
    assert (port.partner, port.told, port.heard_from) == (PARTNER, US, b"\x02\xbb\0\0\0\x07")
    assert port.mux is Mux.COLLECTING_DISTRIBUTING


@pytest.mark.parametrize("state", ["current", "expired", "defaulted"])
def test_an_lacpdu_of_another_system_takes_the_port_out_of_its_aggregate(state: str) -> None:
    port = port_in(state)
    assert port.hear(Lacpdu(OTHER, US), b"", LOCAL, NOW)
    assert (port.partner, port.mux, port.lag) == (OTHER, Mux.DETACHED, None)


def test_an_lacpdu_without_a_link_is_ignored() -> None:
    port = port_in("disabled")
    assert not port.hear(Lacpdu(OTHER, US), b"", LOCAL, NOW)
    assert (port.receive, port.partner, port.heard_from) == (Disabled(), PARTNER, b"")


# Columns: unselected, standby, selected; within each: not ready, ready; within each: partner out of sync, in sync; within each:
# partner not collecting, collecting. A dot: the machine rests.
LETTERS = {
    "D": Mux.DETACHED,
    "W": Mux.WAITING,
    "A": Mux.ATTACHED,
    "C": Mux.COLLECTING,
    "T": Mux.DISTRIBUTING,
    "X": Mux.COLLECTING_DISTRIBUTING,
    ".": None,
}
COUPLED_EXPECTED = {
    #                            unselected  standby     selected
    Mux.DETACHED: "........ WWWWWWWW WWWWWWWW",
    Mux.WAITING: "DDDDDDDD ........ ....AAAA",
    Mux.ATTACHED: "DDDDDDDD DDDDDDDD ..XX..XX",
    Mux.COLLECTING_DISTRIBUTING: "AAAAAAAA AAAAAAAA AA..AA..",
}
INDEPENDENT_EXPECTED = {
    Mux.DETACHED: "........ WWWWWWWW WWWWWWWW",
    Mux.WAITING: "DDDDDDDD ........ ....AAAA",
    Mux.ATTACHED: "DDDDDDDD DDDDDDDD ..CC..CC",
    Mux.COLLECTING: "AAAAAAAA AAAAAAAA AA.TAA.T",
    Mux.DISTRIBUTING: "CCCCCCCC CCCCCCCC CCC.CCC.",
}


@pytest.mark.parametrize(("table", "expected"), [(COUPLED, COUPLED_EXPECTED), (INDEPENDENT, INDEPENDENT_EXPECTED)])
def test_mux_machine(table: MuxTable, expected: dict[Mux, str]) -> None:
    assert table.keys() == expected.keys()
    inputs = [MuxInput(*values) for values in itertools.product(Selection, (False, True), (False, True), (False, True))]
    for state, row in expected.items():
        letters = row.replace(" ", "")
        assert len(letters) == len(inputs) == 24
        for now, letter in zip(inputs, letters, strict=True):
            assert next_mux(table, state, now) == LETTERS[letter], f"{state} on {now}"


@pytest.mark.parametrize(
    ("mux", "in_sync", "collecting", "distributing"),
    [
        (Mux.DETACHED, False, False, False),
        (Mux.WAITING, False, False, False),
        (Mux.ATTACHED, True, False, False),
        (Mux.COLLECTING, True, True, False),
        (Mux.DISTRIBUTING, True, True, True),
        (Mux.COLLECTING_DISTRIBUTING, True, True, True),
    ],
)
def test_what_a_mux_state_means(mux: Mux, in_sync: bool, collecting: bool, distributing: bool) -> None:
    assert (mux.in_sync, mux.collecting, mux.distributing) == (in_sync, collecting, distributing)


def test_a_change_of_what_the_kernel_can_do_keeps_every_state_inside_its_table() -> None:
    for mux in Mux:
        assert BECOMES_COUPLED.get(mux, mux) in COUPLED or mux not in INDEPENDENT
        assert BECOMES_INDEPENDENT.get(mux, mux) in INDEPENDENT or mux not in COUPLED
    port = port_in("current")
    port.set_mode(True)
    assert port.mux is Mux.DISTRIBUTING
    port.set_mode(False)
    assert port.mux is Mux.COLLECTING_DISTRIBUTING


@pytest.mark.parametrize(
    ("churn", "in_sync", "now", "expected"),
    [
        (NoChurn(), True, NOW, NoChurn()),
        (NoChurn(), False, NOW, Monitor(NOW + 60.0)),
        (Monitor(NOW), True, NOW, NoChurn()),
        (Monitor(NOW + 1), False, NOW, Monitor(NOW + 1)),
        (Monitor(NOW), False, NOW, Churned()),
        (Churned(), False, NOW, Churned()),
        (Churned(), True, NOW, NoChurn()),
    ],
)
def test_churn_machine(churn: Churn, in_sync: bool, now: float, expected: Churn) -> None:
    assert drift(churn, in_sync, now) == expected


@pytest.mark.parametrize(
    ("enabled", "active", "partner_active", "partner_short", "expected"),
    [
        (False, True, True, True, Pace.NONE),
        (False, True, True, False, Pace.NONE),
        (True, False, False, True, Pace.NONE),
        (True, False, False, False, Pace.NONE),
        (True, True, False, True, Pace.FAST),
        (True, True, False, False, Pace.SLOW),
        (True, False, True, True, Pace.FAST),
        (True, False, True, False, Pace.SLOW),
        (True, True, True, True, Pace.FAST),
        (True, True, True, False, Pace.SLOW),
    ],
)
def test_periodic_machine(
    enabled: bool, active: bool, partner_active: bool, partner_short: bool, expected: Pace
) -> None:
    assert periodic(enabled, active, partner_active, partner_short) is expected
    assert (Pace.NONE.value, Pace.FAST.value, Pace.SLOW.value) == (None, 1.0, 30.0)


def test_the_diagrams_show_these_tables() -> None:
    root = Path(__file__).resolve().parents[3]
    outcome = subprocess.run(
        [sys.executable, "-B", str(root / "docs/diagrams.py"), "--check"], capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
