"""Names of hosts in link watchers, looked up in a thread; on the real clock, because a thread knows no other."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab

from pyteamd.core import hosts
from pyteamd.daemon import team_server
from pyteamd.daemon.service import QUIT_SIGNALS

ARP_PING = {"name": "arp_ping", "interval": 100}


async def test_host_names_are_resolved_before_it_is_ready(lab: Lab) -> None:
    config = {**ACTIVE_BACKUP, "link_watch": {**ARP_PING, "target_host": "localhost"}}
    daemon = await lab.start(lab.plan(config))
    assert sorted((await daemon.state())["ports"]) == ["eth1", "eth2"]


# -- the end does not wait for a name server ---------------------------------------------------------------------------

SOON_S = 1.0
"""The waits that there were took 2 s at a start and 4 s in a reload."""
SLOW = {**ACTIVE_BACKUP, "link_watch": {**ARP_PING, "target_host": "slow.invalid"}}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server that does not answer; the event tells that it was asked."""
    asked, over = threading.Event(), threading.Event()

    def look_up(*_: object) -> None:
        asked.set()
        over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    over.set()


async def test_a_reload_that_looks_up_a_host_is_abandoned(lab: Lab, silent: threading.Event, tmp_path: Path) -> None:
    file = tmp_path / "team0.conf"
    daemon = await lab.start(lab.plan(config_file=str(file)))
    file.write_text(json.dumps(SLOW))
    signal.raise_signal(signal.SIGHUP)
    await trio.to_thread.run_sync(silent.wait, 10)
    began = trio.current_time()
    assert await daemon.stop() == 0
    assert trio.current_time() - began < SOON_S
    assert not lab.has("team0")


@pytest.mark.parametrize("number", QUIT_SIGNALS)
async def test_a_start_that_looks_up_a_host_is_abandoned(
    lab: Lab, silent: threading.Event, number: signal.Signals
) -> None:
    async def interrupt() -> None:
        await trio.to_thread.run_sync(silent.wait, 10)
        signal.raise_signal(number)

    lab.nursery.start_soon(interrupt)
    began = trio.current_time()
    daemon = await lab.start(lab.plan(SLOW))
    await daemon.ended.wait()
    assert trio.current_time() - began < SOON_S
    assert daemon.code == 0
    assert not lab.has("team0")
    assert lab.link("eth1").master == 0


async def test_ports_do_not_wait_for_a_name_server_that_is_silent(
    lab: Lab, silent: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They join, watched by nobody yet; a second look-up of the same host does not begin while the first goes on."""
    monkeypatch.setattr(team_server, "LOOK_UP_PATIENCE_S", 0.05)
    monkeypatch.setattr(hosts, "FIRST_RETRY_S", 0.05)
    calls, ask = [], socket.getaddrinfo

    def counted(*words: object) -> object:
        calls.append(words)
        return ask(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    daemon = await lab.start(lab.plan(SLOW))
    for _ in range(400):
        state = await daemon.state()
        if len(state["ports"]) == 2:
            break
        await trio.sleep(0.05)
    assert [port["link_watches"]["up"] for port in state["ports"].values()] == [False, False], daemon.lines
    await trio.sleep(0.3)
    line = "Failed to resolve slow.invalid: no answer within 0.05 s; asked again from time to time."
    assert [told for told in daemon.lines if "slow.invalid" in told] == [line]
    assert len(calls) == 1
    assert await daemon.stop() == 0


PROCESS = """
import json, signal, socket, sys, time, trio
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/../daemon"]
from daemon_kit import Lab
from test_daemon_hosts import SLOW

def look_up(*_):
    print("asked", flush=True)
    time.sleep(60)

async def main():
    socket.getaddrinfo = look_up
    async with trio.open_nursery() as nursery:
        lab = Lab(Path(sys.argv[2]), nursery)
        lab.kernel.add_pair("eth1", "peer1")
        lab.kernel.add_pair("eth2", "peer2")
        nursery.start_soon(lab.run_net)
        daemon = await lab.start(lab.plan(SLOW))
        await daemon.ended.wait()
        nursery.cancel_scope.cancel()
    sys.exit(daemon.code)

trio.run(main)
"""


@pytest.mark.slow
def test_the_process_does_not_wait_for_the_thread_that_looks_up(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        PROCESS,
        os.path.join(os.path.dirname(os.path.dirname(__file__)), "kit"),
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0
