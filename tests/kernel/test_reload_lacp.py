"""fast_rate and min_ports changed under traffic between two LACP systems on the real driver: nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lab_kit import PYTEAMD, RUN_DIR, Bench, Stream, bench, taken_out_of_sight, wait_for

pytestmark = pytest.mark.kernel


def lacp(*ports: str, **runner: Any) -> str:
    return json.dumps({"runner": {"name": "lacp", "fast_rate": True, **runner}, "ports": {port: {} for port in ports}})


def a_chosen_aggregate_survives_a_refusal(on: Bench, file: Path) -> None:
    """Two aggregates by their keys; a user chose the second, and a new key comes together with a port that the kernel refuses."""
    config: dict[str, Any] = {
        "runner": {"name": "lacp", "fast_rate": True},
        "ports": {"em1": {}, "em2": {"lacp_key": 5}},
    }
    file.write_text(json.dumps(config))
    assert "in force" in on.on_host(f"pyteamdctl team0 config apply {file}").out
    selected = "ports.em2.runner.aggregator.selected"
    wait_for(lambda: on.on_host(f"pyteamdctl team0 state item set {selected} true").status == 0)
    taken_out_of_sight(on, "veth9")
    config["ports"] = {"em1": {}, "em2": {"lacp_key": 6}, "veth9": {}}
    file.write_text(json.dumps(config))
    result = on.on_host(f"pyteamdctl team0 config apply {file}")
    assert "the kernel refuses: add port veth9: " in result.out + result.err, result
    assert '"lacp_key": 5' in on.on_host("pyteamdctl team0 port config dump em2").out
    assert on.on_host(f"pyteamdctl team0 state item get {selected}").out.strip() == "true"


def test_lacp_settings_change_under_traffic(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    with bench() as on:
        on.on_switch("ip link set p1 down; ip link set p2 down")
        on.on_switch(f"{PYTEAMD} -d -t team9 -c '{lacp('p1', 'p2')}'")
        on.on_switch("ip link set team9 up && ip addr add 192.0.2.1/24 dev team9")
        file.write_text(lacp("em1", "em2"))
        assert on.on_host(f"{PYTEAMD} -d -t team0 -f {file}").status == 0
        on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
        wait_for(lambda: on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0, 20.0)
        wait_for(lambda: on.on_host("pyteamdctl team0 explain").out.count("in service for") == 2, 20.0)
        with Stream(on, "192.0.2.1") as stream:
            for runner in ({"fast_rate": False}, {"fast_rate": False, "min_ports": 2}, {"min_ports": 1}):
                file.write_text(lacp("em1", "em2", **runner))
                result = on.on_host(f"pyteamdctl team0 config apply {file}")
                assert result.status == 0, result
                assert "interrupted" not in result.out
        assert stream.received > 20
        assert stream.lost == 0, f"{stream.lost} of {stream.sent} lost"
        file.write_text(lacp("em1", "em2", min_ports=3))
        assert "the team is interrupted" in on.on_host(f"pyteamdctl team0 config apply {file}").out
        wait_for(lambda: "min_ports is 3" in on.on_host("pyteamdctl team0 explain em1").out)
        a_chosen_aggregate_survives_a_refusal(on, file)
        for team, run in (("team0", on.on_host), ("team9", on.on_switch)):
            run(f"{PYTEAMD} -k -t {team}")
        assert not (RUN_DIR / "team9.pid").exists()
