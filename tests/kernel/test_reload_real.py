"""Another configuration on the real driver, under a stream of pings: nothing is lost; a bad file changes nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from lab_kit import RUN_DIR, Bench, Stream, bench, taken_out_of_sight, wait_for
from test_stories import with_addresses

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the reload's answers")]

BASE: dict[str, Any] = {"runner": {"name": "activebackup"}, "ports": {"em1": {}, "em2": {}}}
CTL = "pyteamdctl"


def apply(on: Bench, file: Path, config: Any, flags: str = "") -> str:
    """Write the file and apply it; returns what is said, or the complaint."""
    file.write_text(config if isinstance(config, str) else json.dumps(config))
    result = on.on_host(f"{CTL} team0 config apply {file} {flags}")
    return result.out if result.status == 0 else f"failed: {result.out}{result.err}"


def start(on: Bench, file: Path, config: Any) -> None:
    """A daemon with its configuration in a file."""
    file.write_text(json.dumps(config))
    result = on.pyteamd(f"-d -t team0 -f {file}")
    assert result.status == 0, result


def stop(on: Bench) -> None:
    """End it."""
    on.pyteamd("-k -t team0")


def test_changes_under_traffic_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    with bench(3) as on:
        start(on, file, BASE)
        with_addresses(on)
        on.on_switch("ip link set p3 master br0")
        wait_for(lambda: on.active() == "em1")
        with Stream(on, "192.0.2.1") as stream:
            prio = {**BASE, "ports": {"em1": {}, "em2": {"prio": 100}}}
            assert "ports.em2.prio: 0 -> 100 (the team is interrupted)" in apply(on, file, prio, "--dry-run")
            assert on.active() == "em1"
            assert apply(on, file, prio).endswith("1 change in force\n")
            wait_for(lambda: on.active() == "em2")
            three = {**prio, "ports": {**prio["ports"], "em3": {"prio": 50}}}
            assert "ports.em3: added" in apply(on, file, three)
            wait_for(lambda: on.on_host("teamdctl team0 port present em3").status == 0)
            slow = {**three, "link_watch": {"name": "ethtool", "delay_up": 300}}
            assert "delay_up 300 (no interruption)" in apply(on, file, slow)
            assert on.active() == "em2"
            sighup = {**slow, "notify_peers": {"count": 3}}
            file.write_text(json.dumps(sighup))
            os.kill(int((RUN_DIR / "team0.pid").read_text()), signal.SIGHUP)
            wait_for(lambda: on.options()["notify_peers_count"] == "3")
        assert stream.received > 20
        assert stream.lost == 0, f"{stream.lost} of {stream.sent} lost"
        on.cut(2)
        wait_for(lambda: on.active() == "em3")
        stop(on)


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    with bench() as on:
        start(on, file, BASE)
        with_addresses(on)
        wait_for(lambda: on.active() == "em1")
        before, dump = on.options(), on.on_host("teamdctl team0 config dump").out
        with Stream(on, "192.0.2.1") as stream, on.option_events() as events:
            bad = '{"runner": {"name": "activebackup"},\n "ports": {"em1": {"prio": "x"}, "em2": {"stiky": true}}}'
            said = apply(on, file, bad)
            assert f"{file}:2:" in said
            assert "ports.em1.prio" in said
            assert "ports.em2.stiky" in said
            assert f"pyteamd check {file}" in said
            assert "cannot change from activebackup to lacp" in apply(on, file, {**BASE, "runner": {"name": "lacp"}})
            assert "failed" in apply(on, file, "{")
            os.kill(int((RUN_DIR / "team0.pid").read_text()), signal.SIGHUP)
            assert on.on_host("teamdctl team0 config dump").out == dump
        assert events == []
        assert on.options() == before
        assert stream.lost == 0
        stop(on)


def test_a_queue_the_driver_does_not_have_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    with bench() as on:
        start(on, file, BASE)
        with_addresses(on)
        wait_for(lambda: on.active() == "em1")
        before = on.options()
        with on.option_events() as events:
            said = apply(on, file, {**BASE, "ports": {"em1": {}, "em2": {"prio": 7, "queue_id": 4000}}})
        assert "ports.em2.queue_id: 4000 is none of the 16 transmit queues" in said
        assert events == []
        assert on.options() == before
        stop(on)


def test_a_port_the_kernel_does_not_take_takes_all_back(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    with bench() as on:
        taken_out_of_sight(on, "veth9")
        start(on, file, BASE)
        with_addresses(on)
        wait_for(lambda: on.active() == "em1")
        before, dump = on.options(), on.on_host("teamdctl team0 config dump").out
        with on.option_events() as events:
            said = apply(on, file, {**BASE, "ports": {"em1": {}, "em2": {"prio": 7}, "veth9": {}}})
            wait_for(lambda: on.options() == before)
        assert "the kernel refuses: add port veth9: " in said, said
        assert any("priority" in event for event in events), events
        assert on.on_host("teamdctl team0 config dump").out == dump
        wait_for(lambda: on.active() == "em1")
        stop(on)


def test_after_lacp_the_carrier_is_the_drivers_again(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    spread = {"runner": {"name": "loadbalance"}, "ports": {"em1": {}, "em2": {}}}

    def carrier() -> str:
        return on.on_host("cat /sys/class/net/team0/carrier").out.strip()

    with bench() as on:
        start(on, file, {**spread, "runner": {"name": "lacp"}})
        on.on_host("ip link set team0 up")
        wait_for(lambda: carrier() == "0")
        for name in ("em1", "em2"):
            assert on.on_host(f"teamdctl team0 port remove {name}").status == 0
        assert "in force" in apply(on, file, spread)
        on.on_host("ip link add br7 type bridge")
        assert on.on_host("ip link set em1 master br7").status == 0
        assert on.on_host("teamdctl team0 port add em1").status != 0, "a port of another device is left there"
        assert "master br7" in on.on_host("ip link show em1").out
        assert on.on_host("ip link set em1 nomaster && teamdctl team0 port add em1").status == 0
        wait_for(lambda: carrier() == "1")
        assert on.options()["bpf_hash_func"]
        on.cut(1)
        wait_for(lambda: carrier() == "0")
        stop(on)
        on.on_host("ip link del br7")
