"""What users do, step by step, on the real driver with C teamdctl as the eye."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from lab_kit import PYTEAMD, Bench, Daemon, Stream, bench, daemon, runs, wait_for, wait_to_be

pytestmark = pytest.mark.kernel

STATE = """\
setup:
  runner: activebackup
ports:
  em1
    link watches:
      link summary: {em1}
      instance[link_watch_0]:
        name: ethtool
        link: {em1}
        down count: {em1_downs}
  em2
    link watches:
      link summary: {em2}
      instance[link_watch_0]:
        name: ethtool
        link: {em2}
        down count: {em2_downs}
runner:
  active port: {active}
"""
BY_ACTIVE = '{"runner": {"name": "activebackup", "hwaddr_policy": "by_active"}, "ports": {"em1": {}, "em2": {}}}'
PLAIN = '{"runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 10, "queue_id": 2}, "em2": {"prio": 10}}}'
MACS = {"em1": "02:00:00:00:01:01", "em2": "02:00:00:00:01:02"}


def with_addresses(on: Bench) -> None:
    """The switch is a bridge with an address, the team has one beside it, and the way is known to work."""
    on.on_switch("ip link add br0 type bridge && ip link set br0 up && ip addr add 192.0.2.1/24 dev br0")
    for number in (1, 2):
        on.on_switch(f"ip link set p{number} master br0")
    on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
    wait_for(lambda: on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0, 10.0)


def shows(on: Bench, active: str, em1: str = "up", em2: str = "up", em1_downs: int = 0, em2_downs: int = 0) -> None:
    """The state becomes exactly this."""
    wanted = STATE.format(active=active, em1=em1, em2=em2, em1_downs=em1_downs, em2_downs=em2_downs)
    wait_to_be(lambda: on.on_host("teamdctl team0 state").out, wanted)


def test_fail_over_and_stay() -> None:
    with bench() as on, daemon(PYTEAMD, on, BY_ACTIVE):
        with_addresses(on)
        shows(on, "em1")
        assert on.mac("team0") == MACS["em1"]
        with Stream(on, "192.0.2.1") as stream:
            on.cut(1)
            shows(on, "em2", em1="down", em1_downs=1)
            assert on.mac("team0") == MACS["em2"]
            on.mend(1)
            shows(on, "em2", em1_downs=1)
            assert on.mac("team0") == MACS["em2"]
        assert stream.received > 0
        assert stream.lost <= 25, f"{stream.lost} of {stream.sent} lost in one fail-over"


def kill(started: Daemon) -> None:
    """End it as a crash does."""
    pid = started.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(pid))


def restart(on: Bench, config: str) -> None:
    result = on.pyteamd(f"-d -o -t team0 -c '{config}'")
    assert result.status == 0, result


def test_a_restart_after_a_crash_writes_nothing_and_loses_nothing() -> None:
    with bench() as on, daemon(PYTEAMD, on, PLAIN) as started:
        with_addresses(on)
        on.on_host("teamdctl team0 state item set runner.active_port em2")
        before = on.options()
        with Stream(on, "192.0.2.1") as stream, on.option_events() as events:
            kill(started)
            time.sleep(0.2)
            restart(on, PLAIN)
            shows(on, "em2")
            time.sleep(0.3)
        assert on.options() == before
        assert events == []
        assert stream.lost == 0
        on.cut(2)
        shows(on, "em1", em2="down", em2_downs=1)


def test_leaving_with_n_keeps_everything() -> None:
    with bench() as on, daemon(PYTEAMD, on, PLAIN, flags="-N") as started:
        with_addresses(on)
        before = on.options()
        with Stream(on, "192.0.2.1") as stream, on.option_events() as events:
            assert started.stop().status == 0
            time.sleep(0.2)
        assert events == []
        assert on.options() == before
        assert stream.lost == 0
        restart(on, PLAIN)
        shows(on, "em1")


def moved_and_replaced(on: Bench) -> None:
    """em1 goes to another namespace and returns with the number it had; then it is replaced, in one go, by one of the same number."""
    number = on.on_host("cat /sys/class/net/em1/ifindex").out.strip()
    on.on_host(f"ip link set em1 netns {on.switch}")
    wait_for(lambda: on.on_host("teamdctl team0 port present em1").status == 1)
    on.on_switch(f"ip link set em1 netns {on.host}")
    wait_for(lambda: on.on_host("teamdctl team0 port present em1").status == 0)
    assert on.on_host("cat /sys/class/net/em1/ifindex").out.strip() == number
    lines = f"link del em1\\nlink add em1 index {number} type veth peer name p1 netns {on.switch}\\n"
    assert on.on_host(f"printf '{lines}' | ip -batch -").status == 0
    wait_for(lambda: on.on_host("ip -o link show em1").out.count("master team0") == 1)
    on.on_switch("ip link set p1 up")
    wait_for(lambda: on.on_host("teamdctl team0 state item get ports.em1.link_watches.up").out.strip() == "true")


def test_a_link_that_is_deleted_and_made_again_comes_back() -> None:
    with bench() as on, daemon(PYTEAMD, on, PLAIN):
        with_addresses(on)
        on.on_host("ip link del em1")
        wait_for(lambda: on.active() == "em2")
        on.ports.remove("em1")
        on.cable(1)
        on.on_switch("ip link set p1 master br0")
        wait_for(lambda: on.on_host("teamdctl team0 port present em1").status == 0)
        moved_and_replaced(on)
        on.on_host("ip link set em2 down; ip link set em2 name lan2; ip link set lan2 up")
        wait_for(lambda: on.on_host("teamdctl team0 port present lan2").status == 0)
        assert on.on_host("teamdctl team0 port present em2").status == 1
        on.on_host("ip link set team0 down; ip link set team0 name lag0; ip link set lag0 up")
        on.on_host("ip link set lan2 down")  # C teamdctl wants a device of the name it was given
        number = on.on_host("cat /sys/class/net/em1/ifindex").out
        wait_for(lambda: on.on_host("teamnl lag0 getoption activeport").out == number)


def test_the_device_deleted_by_another_program_is_a_clean_end() -> None:
    with bench() as on, daemon(PYTEAMD, on, PLAIN) as started:
        pid = started.pid
        number = on.on_host("cat /sys/class/net/team0/ifindex").out.strip()
        lines = f"link del team0\\nlink add team0 index {number} type team\\n"
        assert on.on_host(f"printf '{lines}' | ip -batch -").status == 0, "another one of that name and number at once"
        wait_for(lambda: not started.alive())
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        assert not Path("/run/teamd/team0.sock").exists()
        assert not Path("/run/teamd/team0.pid").exists()
        assert "team" in on.on_host("ip -d link show team0").out, "the other device is not ours"


def test_options_changed_by_hand_are_put_back() -> None:
    with bench() as on, daemon(PYTEAMD, on, PLAIN):
        with_addresses(on)
        on.on_host("teamnl team0 setoption -p em2 enabled true")
        wait_for(lambda: on.options()["enabled (port:em2)"] == "false")
        on.on_host("teamnl team0 setoption -p em2 priority 50")
        wait_for(lambda: on.active() == "em2")
        assert on.options()["priority (port:em2)"] == "50"


def test_netlink_overrun_is_survived() -> None:
    with bench() as on:
        result = on.on_host(f"TEAM_EVENT_BUFSIZE=0 {PYTEAMD} -d -t team0 -c '{PLAIN}'")
        assert result.status == 0, result
        with_addresses(on)
        on.on_host(
            "for n in $(seq 60); do ip link add x$n type dummy; done; for n in $(seq 60); do ip link del x$n; done"
        )
        on.cut(1)
        shows(on, "em2", em1="down", em1_downs=1)
        assert on.pyteamd("-k -t team0").status == 0
