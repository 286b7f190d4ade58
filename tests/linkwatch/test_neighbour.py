"""Who is at the other end of a cable: what is heard, how long it counts, and what explain and `neighbours` make of it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from pyteamd.cli.pyteamdctl.neighbours import neighbours
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.linkwatch.base import PortNow
from pyteamd.linkwatch.neighbour import MOST_SYSTEMS, ListenConfig, Listener
from pyteamd.model.events import FrameSeen
from pyteamd.runners import RUNNERS
from pyteamd.wire import lldp

PORT = PortNow(3, "em1", bytes.fromhex("020000000001"), True, True, True, own_macs=frozenset({b"ours!!"}))


def tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2) + value


def said(port: str = "Ethernet3", system: str = "sw1", ttl_s: int = 120, aggregates: bool | None = None) -> FrameSeen:
    payload = tlv(1, b"\x04\x02\0\0\0\0" + bytes([len(system)])) + tlv(2, b"\x05" + port.encode())
    payload += tlv(3, ttl_s.to_bytes(2)) + tlv(5, system.encode()) + tlv(127, b"\x00\x80\xc2\x01\0\x2a")
    if aggregates is not None:
        payload += tlv(127, b"\x00\x80\xc2\x07" + bytes([1 | 2 * aggregates]) + bytes(4))
    return FrameSeen(3, lldp.GROUP, b"theirs", lldp.ETHERTYPE_LLDP, None, payload)


def listener() -> Listener:
    return Listener(ListenConfig(), {}, False)


def test_what_was_heard_counts_until_its_time_is_over_or_its_sender_leaves() -> None:
    one = listener()
    assert one.state() == {}
    one.frame(PORT, said(), 0.0)
    assert one.state() == {"chassis": "02:00:00:00:00:03", "port": "Ethernet3", "system_name": "sw1", "vlan": 42}
    assert one.deadline() == 120.0
    one.tick(PORT, 120.0)
    assert one.state() == {}
    one.frame(PORT, said(), 200.0)
    one.frame(PORT, said(ttl_s=0), 201.0)
    assert one.state() == {}
    one.frame(PORT, said(), 202.0)
    one.carrier(replace(PORT, running=False), 203.0)
    assert one.state() == {}


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
