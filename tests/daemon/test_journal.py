"""What the journal gets: fields of their own for each incident, by the native protocol; and what systemctl status shows."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from daemon_kit import Lab, quiet

from pyteamd.cli.pyteamd import main as cli
from pyteamd.daemon import log as daemon_log
from pyteamd.daemon.log import FIELDS, JournalHandler, StreamHandler, fields_of, open_log
from pyteamd.model.incidents import Incident

ROOT = Path(__file__).parents[2]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A journal's socket; stderr is its stream."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)
        monkeypatch.setattr(daemon_log, "JOURNAL_SOCKET", path)
        yield listener
    logging.getLogger("pyteamd").handlers.clear()


def read(packet: bytes) -> dict[str, str]:
    """An entry, as systemd's JOURNAL_NATIVE_PROTOCOL says."""
    found = {}
    while packet:
        line, _, packet = packet.partition(b"\n")
        name, sign, value = line.partition(b"=")
        if not sign:
            length = int.from_bytes(packet[:8], "little")
            value, packet = packet[8 : 8 + length], packet[8 + length + 1 :]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
        found[name.decode()] = value.decode()
    return found


def stream() -> dict[str, str]:
    """$JOURNAL_STREAM for our stderr."""
    status = os.fstat(2)
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_fields(journal: socket.socket) -> None:
    log = open_log("stderr", "pyteamd_team0", stream())
    log.setLevel(logging.INFO)
    log.warning("two\nlines", extra=fields_of(Incident.LINK_LOST, TEAM="team0", PORT="em1", REASON="", RUNNER="lacp"))
    entry = read(journal.recv(1 << 16))
    assert entry["MESSAGE"] == "two\nlines"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "pyteamd_team0"
    assert entry["MESSAGE_ID"] == Incident.LINK_LOST.value
    assert (entry["TEAM"], entry["PORT"], entry["RUNNER"], entry["INCIDENT"]) == ("team0", "em1", "lacp", "link_lost")
    assert "REASON" not in entry
    log.info("plain")
    assert set(read(journal.recv(1 << 16))) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID"}


def test_without_a_journal_the_lines_have_their_level(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    instead = StreamHandler(2)
    instead.setFormatter(daemon_log.LevelFormatter())
    handler = JournalHandler("pyteamd_team0", instead, str(tmp_path / "none"))
    handler.emit(logging.LogRecord("pyteamd", logging.ERROR, "", 0, "text", None, None))
    assert capfd.readouterr().err == "<3>text\n"


def test_a_journal_that_does_not_read_costs_no_time(journal: socket.socket) -> None:
    log = open_log("stderr", "pyteamd_team0", stream())
    log.setLevel(logging.INFO)
    for _ in range(900):
        log.info("x" * 1000)
    assert len(journal.recv(1 << 16)) > 1000


def test_early_errors_are_under_the_name_of_later_ones(journal: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """NetworkManager gives the configuration on the command line; its own name stood at the line, and no source in it."""
    monkeypatch.setenv("JOURNAL_STREAM", stream()["JOURNAL_STREAM"])
    assert cli.main(["teamd", "-t", "team0", "-c", '{"runner": {"name": "activbackup"}}']) == 1
    entry = read(journal.recv(1 << 16))
    assert entry["SYSLOG_IDENTIFIER"] == "teamd_team0"
    assert entry["MESSAGE"].startswith('configuration:1:13: error: runner.name: "activbackup" is unknown')


def test_early_errors_go_to_syslog_too_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "syslog")
    monkeypatch.setenv("TEAM_LOG_OUTPUT", "syslog")
    monkeypatch.setattr(daemon_log.SyslogHandler.__init__, "__defaults__", (path,))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        assert cli.main(["pyteamd", "-t", "team0", "-c", '{"runner": {"name": "x"}}']) == 78
        assert b"pyteamd_team0[" in (line := listener.recv(1 << 16))
        assert b"configuration:1:13: error: runner.name" in line
    assert "configuration:1:13: error: runner.name" in capfd.readouterr().err
    for handler in logging.getLogger("pyteamd").handlers:
        handler.close()
    logging.getLogger("pyteamd").handlers.clear()


class Told(logging.Handler):
    """Keeps what the journal would get."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[int, str, dict[str, str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append((record.levelno, record.getMessage(), getattr(record, daemon_log.FIELDS, {})))


async def test_levels_are_by_what_it_means_for_service(lab: Lab) -> None:
    daemon = await lab.start()
    told = Told()
    daemon.log.addHandler(told)
    await quiet()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    for port in ("eth1", "eth2"):
        lab.cut(port)
        await trio.sleep(1)
    lab.cut("eth1", up=True)
    await trio.sleep(1)
    await daemon.stop()
    found = {
        fields["INCIDENT"]: (level, fields.get("PORT"), fields.get("REASON"))
        for level, _, fields in told.entries
        if "INCIDENT" in fields
    }
    assert found["link_lost"][:2] == (logging.WARNING, "eth2")
    assert found["link_lost"][2]
    assert found["carrier_lost"][0] == logging.ERROR
    assert found["carrier_back"][0] == logging.INFO
    assert found["stopping"][0] == logging.INFO
    changes = [(level, text) for level, text, fields in told.entries if fields.get("INCIDENT") == "active_port"]
    assert changes == [
        (logging.WARNING, 'Changed active port to "eth2".'),
        (logging.INFO, 'Changed active port to "eth1".'),
    ]
    assert all(fields["TEAM"] == "team0" for _, _, fields in told.entries if fields.get("INCIDENT") == "active_port")


async def test_systemctl_status_tells_what_carries(lab: Lab) -> None:
    address = str(lab.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        plan = lab.plan({"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}, "eth9": {}}})
        await lab.start(plan, environ={"NOTIFY_SOCKET": address})
        lab.kernel.set_up(lab.link("team0").ifindex, True)
        lab.cut("eth1")
        await trio.sleep(1)
        lab.cut("eth2")
        await trio.sleep(1)
        told = []
        while True:
            try:
                told.append(listener.recv(4096).decode())
            except BlockingIOError:
                break
    statuses = [text.removeprefix("STATUS=") for text in told if text.startswith("STATUS=")]
    assert "eth1 no carrier, eth2 carries, eth9 missing" in statuses
    assert statuses[-1] == "eth1 no carrier, eth2 no carrier, eth9 missing"


def test_the_message_ids_are_documented_and_stay() -> None:
    text = (ROOT / "docs/log.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([0-9a-f]{32})` \|", text, re.MULTILINE))
    assert rows == {incident.name.lower(): incident.value for incident in Incident}


def test_no_incident_is_promised_that_nothing_in_the_program_tells() -> None:
    texts = [
        path.read_text() for folder in ("pyteamd", "runners", "linkwatch") for path in (ROOT / folder).rglob("*.py")
    ]
    told = {name for text in texts for name in re.findall(r"\bIncident\.([A-Z_]+)", text)}
    assert {incident.name for incident in Incident} == told


@pytest.mark.parametrize("way", ["by another program", "by a bridge", "its link is deleted"])
async def test_a_port_that_is_lost_is_an_incident(lab: Lab, journal: socket.socket, way: str) -> None:
    daemon = await lab.start()
    await quiet()
    found: list[str] = []
    daemon.log.addFilter(lambda record: found.append(getattr(record, FIELDS, {}).get("INCIDENT", "")) or True)
    link = lab.link("eth2").ifindex
    if way == "its link is deleted":
        lab.kernel.delete_link(link)
    else:
        lab.kernel.set_master(link, lab.kernel.add_other("br0", "bridge").ifindex if way == "by a bridge" else 0)
    await quiet()
    assert "port_lost" in found
    found.clear()
    await daemon.stop()
    assert "port_lost" not in found
