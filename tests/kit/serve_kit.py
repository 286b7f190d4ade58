"""Many teams in one process, on a simulated kernel."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, Lines, Running, quiet

from pyteamd.daemon.fleet import Fleet, FleetSettings, serve_many
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.sd_notify import Notifier


@dataclass
class Many:
    """The process."""

    lab: Lab
    directory: Path
    lines: list[str]
    fleet: Fleet = field(init=False)
    codes: list[int] = field(default_factory=list)

    def write(self, name: str, config: Any) -> None:
        """A configuration file."""
        (self.directory / name).write_text(config if isinstance(config, str) else json.dumps(config))

    def client(self, team: str) -> Running:
        """A client that asks a team."""
        path = str(self.lab.directory / f"{team}.sock")
        return Running(Reader(self.lab.kernel), path, logging.getLogger("client"), [])

    async def hang_up(self) -> None:
        """SIGHUP."""
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.5)

    def teams(self) -> list[str]:
        """Those with a control socket."""
        return sorted(name.removesuffix(".sock") for name in os.listdir(self.lab.directory) if name.endswith(".sock"))


def team(port: str, **more: Any) -> dict[str, Any]:
    """activebackup with one port."""
    return {"runner": {"name": "activebackup"}, "ports": {port: {}}, **more}


async def break_team0(made: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours: team0 rests before its next life."""
    feed = Pump.feed
    faulty = made.fleet.members["team0"].server.pump

    def broken(pump: Pump, events: Any, now: float) -> None:
        if pump is faulty and list(events):
            raise ZeroDivisionError("a fault of ours")
        feed(pump, events, now)

    monkeypatch.setattr(Pump, "feed", broken)
    made.lab.cut("eth1")
    await quiet()
    monkeypatch.setattr(Pump, "feed", feed)
    assert made.teams() == ["team1"]


@pytest.fixture
async def many(lab: Lab) -> Callable[[], Any]:
    """Starts the process with what is in the directory."""
    directory = lab.directory / "teams"
    directory.mkdir()
    log, handler = logging.getLogger("many"), Lines()
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    made = Many(lab, directory, handler.lines)
    made.write("team0.conf", team("eth1"))
    made.write("team1.json", team("eth2"))

    async def run() -> None:
        made.codes.append(await serve_many(made.fleet, log, Notifier({}), ready.set))
        ready.set()

    ready = trio.Event()

    async def start() -> Many:
        made.fleet = Fleet([str(directory)], FleetSettings(f"{lab.directory}/"), lab.kernel, log)
        lab.nursery.start_soon(run)
        await ready.wait()
        await quiet()
        return made

    start.made = made  # type: ignore[attr-defined]
    return start
