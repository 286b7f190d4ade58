"""What `explain`, `diff` and `history` answer, as JSON values."""

from __future__ import annotations

import json

from explain_kit import Told, backup, told, two_partners
from explain_kit import lacp as lacp_config

from pyteamd.core.trace import Entry, Trace
from pyteamd.model.desired import Level, Note, Outputs
from pyteamd.model.events import CarrierSeen, Tick
from pyteamd.views.history import HISTORY_ENTRIES, difference, explained, history


def rows(made: Told) -> dict[str, tuple[object, object]]:
    """What differs: name → (wanted, has)."""
    found = difference(made.team)["values"]
    return {row["what"]: (row["wanted"], row["has"]) for row in found if not row["same"]}


def test_explained_is_plain_and_complete() -> None:
    made = told(backup(eth1={"prio": 100}, eth2={}, eth9={}))
    made.world.pass_time(2.5)
    found = json.loads(json.dumps(explained(made.team, made.world.clock)))
    assert [row["port"] for row in found] == ["eth1", "eth2", "eth9"]
    assert found[0] == {
        "port": "eth1",
        "names": ["eth1"],
        "carrying": True,
        "text": "eth1: carries traffic as the active port for 2.5 s",
        "reason": "carries traffic as the active port",
        "hint": "",
        "since_s": 2.5,
        "cause": "",
        "doubt": "",
    }
    assert [row["carrying"] for row in found] == [True, False, False]
    assert found[2]["since_s"] is None
    assert [row["cause"] for row in found] == ["", "standby", "no_port"]


def test_no_difference_names_every_opinion() -> None:
    made = told(backup())
    found = difference(made.team)
    assert found["missing"] == []
    assert rows(made) == {}
    names = {row["what"]: row["has"] for row in found["values"]}
    assert names["activeport"] == "eth1"
    assert names["enabled of eth2"] is False
    assert names["eth1 is a port"] is True


def test_a_refused_write_is_a_difference() -> None:
    made = told(backup())
    made.world.refuse("enable", "eth2", None, "EPERM")
    made.world.refuse("activeport", "", None, "EPERM")
    made.world.set_peer("eth1", False)
    assert rows(made) == {"enabled of eth2": (True, False), "activeport": ("eth2", "eth1")}
    assert difference(made.team)["missing"] == ["set activeport to eth2", "set enabled of eth2 to true"]


def test_a_link_that_cannot_be_released_is_a_difference() -> None:
    made = told(backup())
    made.world.refuse("release", "eth2", None, "EPERM")
    made.world.remove_port("eth2")
    assert rows(made)["eth2 is a port"] == (False, True)


def test_the_carrier_lacp_wants() -> None:
    made, one, two = two_partners(lacp_config())
    assert {row["what"]: row["has"] for row in difference(made.team)["values"]}["carrier"] is True
    one.silent = two.silent = True
    made.world.refuse("carrier", "", None, "EPERM")
    made.world.pass_time(10.0)
    assert rows(made)["carrier"] == (False, True)


def test_array_options_have_their_place() -> None:
    config = {"runner": {"name": "loadbalance", "tx_balancer": {"name": "basic"}}, "ports": {"eth1": {}}}
    made = told(config, "eth1")
    names = {row["what"]: row["has"] for row in difference(made.team)["values"]}
    assert names["lb_tx_hash_to_port_mapping[255]"] == "eth1"


def noted(at: float, *texts: str) -> Entry:
    """A step that said something."""
    return Entry(at, CarrierSeen(2, False), (), Outputs((), tuple(Note(Level.INFO, text, "eth1") for text in texts)))


def test_history_is_the_notes_with_their_cause() -> None:
    silent = Entry(2.0, Tick(), (), Outputs())
    told_rows = history([noted(1.0, "a", "b"), silent, noted(3.0, "c")], 10.0)
    assert told_rows[0] == {"age_s": 9.0, "level": "info", "port": "eth1", "text": "a", "cause": "CarrierSeen"}
    assert [row["text"] for row in told_rows] == ["a", "b", "c"]


def test_history_is_bounded() -> None:
    trace = Trace({})
    for number in range(HISTORY_ENTRIES + 50):
        entry = noted(float(number), str(number))
        trace.record(entry.at, entry.event, entry.writes, entry.outputs)
    found = history(trace, 1000.0)
    assert len(found) == HISTORY_ENTRIES
    assert found[-1]["text"] == str(HISTORY_ENTRIES + 49)
