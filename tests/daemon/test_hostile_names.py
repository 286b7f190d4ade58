"""Links with names that are meant for the terminal of the reader: every verb, the log, the metrics."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, Running, quiet

from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl import watch as ctl_watch
from pyteamd.cli.pyteamdctl import watch_source
from pyteamd.cli.pyteamdctl.verbs import VERBS
from pyteamd.client.client import Client
from pyteamd.daemon.log import LevelFormatter, StreamHandler, SyslogHandler
from pyteamd.model.desired import SetMember
from pyteamd.model.events import FrameSeen
from pyteamd.model.printable import printable, spelled
from pyteamd.wire import lldp

TITLE, TURNED, OCTETS = "\x1b]0;pwn\x07", "a\u202eb\x1c<0>x", "\udcff\x9b31m"
HOSTILE = (TITLE, TURNED, OCTETS)
RUNNERS = (
    {"name": "activebackup"},
    {"name": "lacp"},
    {"name": "loadbalance", "tx_hash": ["eth"], "tx_balancer": {"name": "basic"}},
)
LLDPDU = b"".join(
    bytes((kind << 1, len(value))) + value
    for kind, value in (
        (1, b"\7" + OCTETS.encode("utf-8", "surrogateescape")),
        (2, b"\7" + TURNED.encode()),
        (3, b"\0\x78"),
        (4, TURNED.encode()),
        (5, TITLE.encode()),
        (0, b""),
    )
)
EXACT = {"config dump", "config dump noports", "config dump actual", "state dump", "state item get", "port config dump"}
"""For programs, unless they are shown on a terminal."""
WORDS: dict[str, tuple[str, ...]] = {
    "state item get": ("runner.active_port",),
    "state item set": ("runner.active_port", TITLE),
    "port config dump": (TITLE,),
    "hash": ("--src", "192.0.2.1", "--dst", "192.0.2.2"),
}
CHANGING = {"port add", "port remove", "port present", "port config update"}
"""Say nothing, whatever the names."""


class Terminal(io.StringIO):
    """A place where people read."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def join(lab: Lab, name: str) -> None:
    """`ip link set NAME master team0`: no text of ours can hold this name."""
    lab.kernel.apply(lab.link("team0").ifindex, [SetMember(lab.link(name).ifindex, True)])


def hear_of(daemon: Running, ifindex: int) -> None:
    """The switch at that port has such a name too."""
    (pump,) = daemon.reader.pumps.values()
    pump.feed((FrameSeen(ifindex, lldp.GROUP, b"theirs", lldp.ETHERTYPE_LLDP, None, LLDPDU),), trio.current_time())


async def say(*words: str, out: io.StringIO) -> str:
    """Everything that one command prints."""
    err = io.StringIO()
    argv = [os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in words]
    await trio.to_thread.run_sync(ctl.run, "pyteamdctl", argv, out, err)
    return out.getvalue() + err.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: str(runner["name"]))
async def test_no_verb_shows_a_name_as_it_is(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: dict[str, Any]
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(ctl_watch, "events", lambda session: [json.loads(session.client.fetch("Events", "0"))])
    for number, name in enumerate(HOSTILE):
        lab.kernel.add_pair(name, f"far{number}")
    daemon = await lab.start(lab.plan({"runner": runner, "neighbours": True, "ports": {TITLE: {}, TURNED: {}}}))
    join(lab, OCTETS)
    await quiet()
    lab.cut(TITLE)
    lab.cut(TURNED)
    await quiet()
    hear_of(daemon, lab.link(OCTETS).ifindex)
    config = tmp_path / "new.json"
    config.write_text(json.dumps({"runner": runner, "ports": {TITLE: {"queue_id": 1, "prio": 9}, "\x1b[2J": {}}}))
    named = 0
    for verb in VERBS:
        words = " ".join(verb.words)
        if words in CHANGING:
            continue
        given = WORDS.get(words, (str(config), "--dry-run") if words == "config apply" else ())
        if verb.params == ("[PORTDEV]",):
            given = (TITLE,)
        if words == "trace save":
            given = (f"{tmp_path}/trace",)
        kinds = (Terminal,) if words in EXACT else (Terminal, io.StringIO)
        for kind in kinds:
            text = await say("team0", *verb.words, *given, out=kind())
            assert [line for line in text.splitlines() if not line.isprintable()] == [], words
            named += r"\x1b]0;pwn\x07" in text.replace("\\u001b", r"\x1b").replace("\\u0007", r"\x07")
    assert named > len(VERBS) // 2, "they do speak of it"
    assert r"\x1b]0;pwn\x07" in await say("team0", "neighbours", out=Terminal())
    assert all(line.isprintable() for line in (await say("list", out=io.StringIO())).splitlines())


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_complaint_shows_the_name_of_a_team_as_it_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(lab.directory))
    await lab.start()
    nobody = await say(name, "state", out=Terminal())
    (lab.directory / f"{name}.sock").symlink_to("team0.sock")
    others = await say(name, "state", out=Terminal())
    assert "no daemon answers" in nobody
    assert "it controls team0" in others
    assert [line for line in (nobody + others).splitlines() if not line.isprintable()] == []


async def test_programs_get_the_name_that_is_there(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    lab.kernel.add_pair(OCTETS, "far")
    await lab.start(lab.plan({"runner": {"name": "activebackup"}}))
    join(lab, OCTETS)
    await quiet()
    assert await say("team0", "state", "item", "get", "runner.active_port", out=io.StringIO()) == f"{OCTETS}\n"


async def test_who_names_such_a_link_is_told_of_it(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs read the exact name, people a printable one; the kernel's files go by its octets."""
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(watch_source, "SYSFS", tmp_path)
    for number, name in enumerate(HOSTILE):
        lab.kernel.add_pair(spelled(name), f"far{number}")
        place = tmp_path / name / "statistics"
        place.mkdir(parents=True)
        for file in ("rx_bytes", "tx_bytes"):
            (place / file).write_text(f"{1000 + number}\n")
    await lab.start(lab.plan({"runner": {"name": "activebackup"}}))
    for name in HOSTILE:
        join(lab, spelled(name))
    await quiet()
    with await trio.to_thread.run_sync(Client.connect, "team0", "usock") as client:
        look = await trio.to_thread.run_sync(watch_source.look, client)
    assert look.counters == {printable(name): (1000 + at, 1000 + at) for at, name in enumerate(HOSTILE)}
    for name in HOSTILE:
        assert printable(name) in await say("team0", "explain", name, out=io.StringIO())
        (row,) = json.loads(await say("--json", "team0", "explain", name, out=io.StringIO()))["ports"]
        assert row["port"] == spelled(name)


def test_a_name_makes_no_line_of_the_log_and_tells_no_terminal_anything(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    handler = StreamHandler(writer)
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s: %s up\nsecond line", (TITLE, TURNED), None)
    handler.emit(record)
    handler.setFormatter(LevelFormatter())
    handler.emit(record)
    plain = [r"\x1b]0;pwn\x07: a\u202eb\x1c<0>x up", "second line"]
    assert os.read(reader, 4096).decode().split("\n") == [*plain, *(f"<6>{line}" for line in plain), ""]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(f"{tmp_path}/log")
        syslogger = SyslogHandler("teamd_x", f"{tmp_path}/log")
        syslogger.emit(record)
        assert [syslog.recv(4096).decode().partition("]: ")[2] for _ in plain] == plain
        syslogger.close()
    os.close(reader)
    os.close(writer)
