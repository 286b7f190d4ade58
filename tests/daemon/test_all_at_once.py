"""Everything at once: users who ask for everything, reloads, links that come and go, and an end in the middle of it.

PYTEAMD_LONG=1 in the environment runs 150 of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, Running

from pyteamd.daemon.control.methods import METHODS

LACP = {"runner": {"name": "lacp"}, "ports": {"eth1": {}, "eth3": {"lacp_prio": 9}}}
CONFIGS = (
    ACTIVE_BACKUP,
    {**ACTIVE_BACKUP, "ports": {"eth2": {"prio": 9}, "eth3": {}}},
    {**ACTIVE_BACKUP, "link_watch": {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 200}},
    {"runner": {"name": "activebackup"}},
    LACP,
    {"runner": {"name": "lacp", "sys_prio": 7}, "ports": {"eth1": {}}},
    {"runner": {"name": "nothing"}},
)
LINKS = ("eth1", "eth2", "eth3", "team0", "gone")
ITEMS = ("runner.active_port", "ports.eth1.link.up", "ports.eth1.runner.aggregator.selected", "setup.debug_level", "x")
WORDS = {
    "port_devname": LINKS,
    "port_config": ("{}", '{"prio": 3}', '{"sticky": true}', "["),
    "state_item_path": ITEMS,
    "value": ("", "eth1", "eth2", "true", "0"),
    "flow": ("{}", '{"src_mac": "02:00:00:00:00:01"}'),
    "from_step": ("0", "now", "7"),
    "config": tuple(map(json.dumps, CONFIGS)),
    "how": ("apply", "dry-run", "confirm 1", "confirm 60", "keep", "revert"),
    "method": ("PortAdd",),
    "subject": ("gone",),
}
ASKERS, SECONDS = 8, 20.0


async def ask(daemon: Running, dice: random.Random) -> None:
    """One user, without a pause, until the daemon has ended; that its socket has no name, or nobody listens, is no end."""
    while not daemon.ended.is_set():
        method = dice.choice(METHODS)
        words = [dice.choice(WORDS[argument]) for argument in method.arguments]
        try:
            with trio.fail_after(60):
                reply = await daemon.call(method.name, *words)
        except OSError:
            await trio.sleep(0.1)
            continue
        assert "InternalFailure" not in reply, (method.name, words, reply, daemon.lines[-20:])
        await trio.sleep(dice.choice((0, 0, 0.01, 0.3)))


def write(file: Path, text: str) -> None:
    """The next reload reads it."""
    file.write_text(text)


async def upset(lab: Lab, file: Path, dice: random.Random) -> None:
    """Links and files."""
    while True:
        await trio.sleep(dice.uniform(0, 0.7))
        there = [name for name in LINKS[:3] if lab.has(name)]
        match dice.randrange(6):
            case 0:
                write(file, json.dumps(dice.choice(CONFIGS)) * dice.choice((1, 1, 2)))
                signal.raise_signal(signal.SIGHUP)
            case 1 if len(there) < 3:
                name = next(name for name in LINKS if name not in there)
                lab.kernel.add_pair(name, f"p{dice.randrange(10**9)}")
            case 2 if there:
                lab.kernel.delete_link(lab.link(dice.choice(there)).ifindex)
            case 3 if there:
                lab.cut(dice.choice(there), dice.random() < 0.5)
            case 4:
                for path in lab.directory.glob("team0.*"):
                    if path != file and dice.random() < 0.5:
                        os.unlink(path)
            case 5 if there:
                lab.kernel.set_up(lab.link(dice.choice(there)).ifindex, dice.random() < 0.5)


@pytest.fixture
def _signals_of_daemons_only() -> Iterator[None]:
    """A reload that is asked for while the daemon ends is told to the process when it has ended, and would end the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.usefixtures("_signals_of_daemons_only")
@pytest.mark.parametrize("seed", range(150 if os.environ.get("PYTEAMD_LONG") else 2))
async def test_everything_at_once(lab: Lab, seed: int) -> None:
    dice, file = random.Random(seed), lab.directory / "team0.conf"
    lab.kernel.add_pair("eth3", "peer3")
    config: Any = dice.choice(CONFIGS[:-1])
    daemon = await lab.start(
        lab.plan(config, config_file=str(file), snapshot_stem=f"{lab.directory}/team0", exclusive=True)
    )
    async with trio.open_nursery() as nursery:
        for _ in range(ASKERS):
            nursery.start_soon(ask, daemon, random.Random(dice.random()))
        nursery.start_soon(upset, lab, file, dice)
        await trio.sleep(dice.uniform(0, SECONDS))
        with trio.fail_after(600):
            assert await daemon.stop() == 0
        nursery.cancel_scope.cancel()
    assert [line for line in daemon.lines if "is a bug" in line] == []
    assert not lab.has("team0")
    assert set(os.listdir(lab.directory)) <= {"team0.conf", "team0.unconfirmed.json"}, "a trial outlives its daemon"
