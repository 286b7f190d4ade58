"""What an operator meets on real links: a black hole behind a carrier, and a configuration that cuts the connection it was typed over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_kit import PYTEAMD, RUN_DIR, Bench, Daemon, bench, dump, must, state, wait_for
from wire_kit import IFF_TUN, IFF_VNET_HDR, Tap, inside

from pyteamd.daemon import link_counters

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="counters of links, and control")]

BACKUP = {"device": "team0", "runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 100}, "em2": {}}}
BROKEN = b"\x00\x7f" + bytes(8) + bytes(60)
"""A packet behind a header whose kind nobody knows: tun counts it as one with a framing error, and nowhere else."""
WITHOUT_CHECKSUM = b"\x00\x00\x65\x58" + bytes(60)
"""A frame in GRE for a link that wants checksums, which counts it as an error, once in all and once by its kind."""
HERE, THERE = "127.0.0.1", "127.0.0.2"
SILENT_FOR_S = 40.0
"""Ten seconds of silence are told, and looked for every five."""


def with_a_bridge(on: Bench, more: str = "") -> None:
    """The switch, with an address, and the team beside it."""
    on.on_switch(f"ip link add br0 type bridge {more} && ip link set br0 up && ip addr add 192.0.2.1/24 dev br0")
    for number in (1, 2):
        on.on_switch(f"ip link set p{number} master br0")
    on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
    wait_for(lambda: pings(on), 20.0, "the way is there")


def pings(on: Bench) -> bool:
    """Whether the host answers the switch."""
    return on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0


@contextmanager
def logged(on: Bench, place: Path) -> Iterator[Path]:
    """A daemon in the foreground, and the file of its log."""
    log = place / "log"
    words = ["ip", "netns", "exec", on.host, sys.executable, "-m", "pyteamd", "-t", "team0", "-c", json.dumps(BACKUP)]
    with log.open("wb") as output, subprocess.Popen(words, stderr=output, stdout=output) as process:
        try:
            wait_for(lambda: "successfully started" in log.read_text(), 20.0, "the daemon")
            yield log
        finally:
            process.terminate()


def test_what_the_drivers_count_is_told_and_nothing_is_done(tmp_path: Path) -> None:
    """A switch port out of its VLAN: nothing is received. A port whose driver counts errors."""
    with bench() as on, Tap(on.host, "tun9", 1000, IFF_TUN | IFF_VNET_HDR) as tun, logged(on, tmp_path) as log:
        told = lambda text: log.read_text().count(text)  # noqa: E731
        with_a_bridge(on, "vlan_filtering 1")
        tunnel = f"ip link add em3 type gretap local {HERE} remote {THERE} icsum"
        must(f"ip link set lo up && ip link set tun9 up && {tunnel}", namespace=on.host)
        added = on.pyteamdctl("team0 port add em3")
        assert added.status == 0, added
        wait_for(
            lambda: 'pyteamd_port_errors_total{team="team0",port="em3"} 0' in dump("Metrics"), SILENT_FOR_S, "a look"
        )
        with inside(on.host), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE) as sender:
            sender.bind((THERE, 0))
            sender.sendto(WITHOUT_CHECKSUM, (HERE, 0))
            with pytest.raises(OSError, match="Invalid argument"):
                tun.say(BROKEN)
            counted = link_counters.read({"tun9"}, "/proc/thread-self/net/dev") or {}
            assert counted["tun9"].errors == 1
        bad = lambda: next(row for row in json.loads(dump("Explain")) if row["port"] == "em3")  # noqa: E731
        wait_for(lambda: "and its driver counted 1 error lately" in bad()["text"], SILENT_FOR_S, "errors")
        assert "ethtool -S em3" in bad()["hint"]
        assert 'pyteamd_port_errors_total{team="team0",port="em3"} 1' in dump("Metrics")
        wait_for(lambda: told("em3: its driver counted 1 error (check cable") == 1)
        on.on_switch("bridge vlan del dev p1 vid 1")
        on.on_switch("ping -q -i 0.5 -c 200 192.0.2.77 >/dev/null 2>&1 &")  # whose ARP every other port hears
        explained = lambda: next(row for row in json.loads(dump("Explain")) if row["port"] == "em1")  # noqa: E731
        wait_for(lambda: explained()["doubt"] == "silent", SILENT_FOR_S, "silence")
        assert "but has received nothing for" in explained()["text"]
        assert "in the right VLAN" in explained()["hint"]
        assert explained()["carrying"]
        wait_for(lambda: told("em1: carries traffic and has received nothing for") == 1)
        assert 'pyteamd_port_silent{team="team0",port="em1"} 1' in dump("Metrics")
        assert "received nothing" in on.pyteamdctl("team0 watch").out
        assert state()["runner"]["active_port"] == "em1"
        on.on_switch("bridge vlan add dev p1 vid 1 pvid untagged")
        wait_for(lambda: told("em1: receives again."), SILENT_FOR_S, "the end of it")
        assert told("has received nothing for") == 1
        assert told("its driver counted") == 1
        assert explained()["doubt"] == ""


def start(on: Bench, file: Path) -> None:
    """As a service manager does, also after a crash."""
    result = on.pyteamd(f"-d -t team0 -o -f {file}")
    assert result.status == 0, result


def test_a_configuration_that_cuts_its_own_connection_is_taken_back_by_the_next_daemon(tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    file.write_text(json.dumps(BACKUP))
    with bench() as on:
        start(on, file)
        running = Daemon(PYTEAMD, on)
        before = json.loads(dump("ConfigDump"))["ports"]
        with_a_bridge(on)
        on.on_switch("ip link set p2 nomaster")  # em2 leads nowhere
        file.write_text(json.dumps({**BACKUP, "ports": {"em2": {}}}))
        told = on.pyteamdctl(f"team0 config apply {file} --confirm 12")
        assert "in force for 12 s; keep with: pyteamdctl team0 config confirm" in told.out, told
        assert not pings(on)
        pid = running.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        start(on, file)
        assert sorted(state()["ports"]) == ["em2"]
        wait_for(lambda: sorted(state()["ports"]) == ["em1", "em2"], 30.0, "it is taken back")
        wait_for(lambda: pings(on), 20.0, "the connection")
        assert json.loads(dump("ConfigDump"))["ports"] == before
        assert not list(RUN_DIR.glob("*unconfirmed*"))
        running.end()
