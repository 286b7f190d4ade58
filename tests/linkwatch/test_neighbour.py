"""Who is at the other end of a cable: what is heard, how long it counts, and what explain and `neighbours` make of it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from lldp_kit import lldpdu, tlv

from pyteamd.cli.pyteamdctl.neighbours import neighbours
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.neighbour import MOST_SYSTEMS, ListenConfig, Listener
from pyteamd.model.events import FrameSeen
from pyteamd.runners import RUNNERS
from pyteamd.wire import lldp

PORT = PortNow(3, "em1", bytes.fromhex("020000000001"), True, True, True, own_macs=frozenset({b"ours!!"}))


def said(**words: Any) -> FrameSeen:
    return FrameSeen(3, lldp.GROUP, b"theirs", lldp.ETHERTYPE_LLDP, None, lldpdu(**words))


def listener() -> Listener:
    return Listener(ListenConfig(), {}, False)


def test_what_was_heard_counts_until_its_time_is_over_or_its_sender_leaves() -> None:
    one = listener()
    assert one.state() == {}
    one.frame(PORT, said(), 0.0)
    assert one.state() == {"chassis": "02:00:00:00:00:1b", "port": "Ethernet3", "system_name": "sw1", "vlan": 42}
    assert one.deadline() == 120.0
    one.tick(PORT, 120.0)
    assert one.state() == {}
    one.frame(PORT, said(), 200.0)
    one.frame(PORT, said(ttl_s=0), 201.0)
    assert one.state() == {}
    one.frame(PORT, said(), 202.0)
    one.carrier(replace(PORT, running=False), 203.0)
    assert one.state() == {}


@pytest.mark.parametrize("waiting", [True, False])
def test_after_a_standstill_what_waits_in_the_socket_is_read_first(waiting: bool) -> None:
    one = listener()
    one.frame(PORT, said(), 0.0)
    one.tick(PORT, 300.0)
    assert one.state()
    if waiting:
        one.frame(PORT, said(), 300.0)
    one.tick(PORT, 300.006)
    assert bool(one.state()) is waiting


def test_a_flood_of_systems_and_nonsense_is_bounded_and_counted() -> None:
    one = listener()
    for number in range(1000):
        one.frame(PORT, said(port=f"p{number}"), 0.0)
    assert len(one.heard) == MOST_SYSTEMS
    one.frame(PORT, replace(said(), payload=b"\x02\x01x"), 0.0)
    assert one.state()["drops"] == {"tlv_type": 1}
    own = listener()
    own.frame(PORT, replace(said(), source=b"ours!!"), 0.0)
    assert own.state() == {}


END, TTL = tlv(0, b""), tlv(3, b"\0\x78")
CHASSIS, PORT_ID = tlv(1, b"\x04\x02\0\0\0\0\x01"), tlv(2, b"\x05Et3")
HOSTILE = {
    "nothing": b"",
    "one octet": b"\x02",
    "no chassis": PORT_ID + TTL,
    "wrong order": PORT_ID + CHASSIS + TTL,
    "twice": CHASSIS + PORT_ID + TTL + PORT_ID,
    "longer than the frame": CHASSIS + PORT_ID + TTL + b"\x0b\xffx",
    "empty chassis": tlv(1, b"") + PORT_ID + TTL,
    "chassis without identifier": tlv(1, b"\x04") + PORT_ID + TTL,
    "long chassis": tlv(1, b"\x07" + bytes(300)) + PORT_ID + TTL,
    "unknown subtype": tlv(1, b"\x09abc") + PORT_ID + TTL,
    "subtype 0": tlv(1, b"\x00abc") + PORT_ID + TTL,
    "short time to live": CHASSIS + PORT_ID + tlv(3, b"\x01"),
    "short organisation": CHASSIS + PORT_ID + TTL + tlv(127, b"\0\x80"),
    "nothing but organisations": tlv(127, b"\0\x80\xc2\x01") * 200,
}
HARMLESS = {
    "unknown address family": tlv(1, b"\x05\x07abc") + PORT_ID + TTL,
    "no system name": CHASSIS + PORT_ID + TTL + END + b"\xff" * 40,
    "VLAN 0": CHASSIS + PORT_ID + TTL + tlv(127, b"\x00\x80\xc2\x01\0\0"),
    "VLAN too short": CHASSIS + PORT_ID + TTL + tlv(127, b"\x00\x80\xc2\x01\0"),
    "empty aggregation": CHASSIS + PORT_ID + TTL + tlv(127, b"\x00\x80\xc2\x07"),
    "octets that are no text": CHASSIS + PORT_ID + TTL + tlv(5, b"\xff\xfe\0\0"),
    "more TLVs than anybody sends": CHASSIS + PORT_ID + TTL + tlv(4, b"") * 700,
    "an unknown TLV": CHASSIS + PORT_ID + TTL + tlv(99, bytes(511)),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_what_breaks_a_rule_is_counted_and_changes_nothing(payload: bytes) -> None:
    one = listener()
    one.frame(PORT, said(), 0.0)
    before = one.state()
    one.frame(PORT, replace(said(), payload=payload), 1.0)
    assert sum(one.drops.values()) == 1
    assert {name: value for name, value in one.state().items() if name != "drops"} == before
    assert one.deadline() == 120.0


@pytest.mark.parametrize("payload", HARMLESS.values(), ids=HARMLESS)
def test_what_is_odd_and_breaks_no_rule_is_read(payload: bytes) -> None:
    one = listener()
    one.frame(PORT, replace(said(), payload=payload), 1.0)
    assert not one.drops
    shown = one.state()
    assert "vlan" not in shown
    assert "aggregation" not in shown
    assert shown["port"] == "Et3"


def test_silence_costs_nothing() -> None:
    """No frame is sent, no moment is waited for, and the filter in the kernel passes LLDP to its group address alone."""
    one = listener()
    assert one.deadline() is None
    (tap,) = one.taps()
    assert (tap.frames, tap.address) == (lldp.FRAMES, lldp.GROUP)
    one.tick(PORT, 1.0)
    assert one.deadline() is None


@pytest.mark.parametrize(("written", "listens"), [("", True), ('"neighbours": false, ', False)])
def test_listening_can_be_turned_off(written: str, listens: bool) -> None:
    config = Config.load(
        f'{{"device": "team0", {written}"ports": {{"em1": {{}}}}}}', runners=RUNNERS, watchers=WATCHERS
    )
    assert [kind for kind, _ in config.port("em1").unnamed] == ([Listener] if listens else [])


class FakeSession:
    json = False

    def __init__(self, state: dict[str, Any], oneline: bool) -> None:
        self.client = type("Client", (), {"state_text": json.dumps(state)})()
        self.oneline, self.lines = oneline, io.StringIO()

    def print(self, line: str) -> None:
        self.lines.write(line + "\n")

    def print_json(self, value: object) -> None:
        self.print(json.dumps(value))


def test_the_verb_shows_a_line_for_each_port() -> None:
    one = listener()
    one.frame(PORT, said(aggregates=False), 0.0)
    state = {"ports": {"em1": {"neighbour": one.state()}, "em2": {}}}
    session = FakeSession(state, oneline=False)
    neighbours(session)  # type: ignore[arg-type]
    assert session.lines.getvalue().splitlines() == [
        "PORT  SYSTEM         ITS PORT   VLAN  AGGREGATION",
        "em1   sw1            Ethernet3  42    disabled",
        "em2   nothing heard",
    ]
    session = FakeSession(state, oneline=True)
    neighbours(session)  # type: ignore[arg-type]
    assert [row["port"] for row in json.loads(session.lines.getvalue())] == ["em1", "em2"]
