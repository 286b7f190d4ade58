"""Fixtures of the daemon lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, jumping
from serve_kit import many

from pyteamd.daemon import fleet, read_file, service, write_thread

__all__ = ["many"]

REAL_CLOCK = (
    "test_daemon_hosts.py",
    "test_dbus.py",
    "test_control_fuzz.py",
    "test_ctl_trial.py",
    "test_off_loop.py",
    "test_client_library.py",
    "test_ctl_ssh.py",
)
"""Threads and other processes do not wait for a clock that jumps."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this directory runs on the jumping clock, but for those with threads."""
    for item in items:
        here = item.path.parent == Path(__file__).parent and item.path.name not in REAL_CLOCK
        if here and item.get_closest_marker("trio"):
            item.add_marker(pytest.mark.trio(run=jumping), append=False)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jumping clock does not wait for threads: the loop waits for writes until they are done, but for those that stall."""
    monkeypatch.setattr(write_thread, "PATIENCE_S", 0.5)


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon settles its memory at its start; here that is the memory of all tests."""
    for module in (service, fleet):
        monkeypatch.setattr(module, "settle_memory", lambda: None)


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the jumping clock files are read in the event loop, or hours would pass in the meantime."""

    async def at_once(work: Callable[[], Any]) -> Any:
        return work()

    if request.path.name not in REAL_CLOCK:
        monkeypatch.setattr(read_file, "off_loop", at_once)


@pytest.fixture
async def lab(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Lab]:
    """A kernel with eth1 and eth2, both down, their other ends up."""
    world = Lab(tmp_path, nursery)
    world.kernel.add_pair("eth1", "peer1")
    world.kernel.add_pair("eth2", "peer2")
    nursery.start_soon(world.run_net)
    yield world
    assert [daemon.crash for daemon in world.daemons if daemon.crash and not daemon.crash_expected] == []
    well = [daemon for daemon in world.daemons if not daemon.fault_expected]
    assert [line for daemon in well for line in daemon.lines if "this is a bug" in line.lower()] == []
    nursery.cancel_scope.cancel()
