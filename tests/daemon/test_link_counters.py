"""The drivers' counters, from the kernel's table to the log and to explain."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

import pytest
import trio
from daemon_kit import Lab, quiet

from pyteamd.core.silence import LinkCounters
from pyteamd.daemon import link_counters
from pyteamd.daemon.control import spread
from pyteamd.kernel.framing import text

TABLE = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth1: 1000      10    1    9    9     1          0         0     2000      20    2    9    9     9       0          0
  tap1: 1000      10    0    9    9     4          0         0     2000      20    0    9    9     9       3          0
"""


def test_the_kernels_table(tmp_path: Path) -> None:
    path = tmp_path / "dev"
    path.write_text(TABLE)
    assert link_counters.read({"eth1", "tap1", "eth2"}, str(path)) == {
        "eth1": LinkCounters(10, 20, 3),
        "tap1": LinkCounters(10, 20, 7),
    }, "of links of others nothing is kept"
    path.write_bytes(b"\xff\x1b[31m: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nshort: 1 2\nno colon\n")
    called = text(b"\xff\x1b[31m", 0, 6)
    names = {called, "short", "no colon"}
    assert link_counters.read(names, str(path)) == {called: LinkCounters(2, 10, 6 + 15)}, "as the port is called"
    assert link_counters.read(names, str(tmp_path / "none")) is None


@pytest.mark.parametrize("name", ["a\x1ceth1", "a\u2028eth1", "\u3000eth1", "a\x0beth1"])
def test_a_name_that_looks_like_another_row_is_its_own(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dev"
    path.write_text(f"{TABLE}{name}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
    found = link_counters.read({"eth1", name}, str(path)) or {}
    assert found["eth1"] == LinkCounters(10, 20, 3)
    assert found[name] == LinkCounters(2, 10, 21)


def test_what_a_link_sent_whose_name_is_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "COUNTER", str(tmp_path / "{}"))
    (tmp_path / os.fsdecode(b"e\xe4")).write_text("42\n")
    assert (spread.sent_by("e\\xe4"), spread.sent_by("none")) == (42, None)


def test_the_real_table() -> None:
    assert "lo" in (link_counters.read({"lo"}) or {})


async def test_a_black_hole_is_told_once_and_nothing_is_written(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    received = {"eth1": 100, "eth2": 100}

    def read(names: Container[str]) -> dict[str, LinkCounters]:
        received["eth2"] += 50
        return {name: LinkCounters(count, 0, 0) for name, count in received.items()}

    monkeypatch.setattr(link_counters, "read", read)
    daemon = await lab.start()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await quiet()
    lab.kernel.performed.clear()
    await trio.sleep(60)
    told = [line for line in daemon.lines if "has received nothing" in line]
    assert len(told) == 1
    assert told[0].startswith("eth1: carries traffic and has received nothing for 1")
    assert "but has received nothing" in await daemon.call("Explain")
    assert 'pyteamd_port_silent{team="team0",port="eth1"} 1' in await daemon.call("Metrics")
    assert lab.kernel.performed == []
    received["eth1"] += 1
    await trio.sleep(10)
    assert daemon.lines[-1] == "eth1: receives again."
