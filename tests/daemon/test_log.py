"""Sinks of the log: choice, form of the lines, syslog that comes and goes, floods."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyteamd.daemon.log import (
    BURST_LINES,
    LightRecord,
    LineLimit,
    StreamHandler,
    SyslogHandler,
    choose_output,
    is_journal,
    open_log,
    set_debug_level,
)


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """The program's logger belongs to everybody."""
    yield
    logging.getLogger("pyteamd").handlers.clear()
    logging.raiseExceptions = True


@pytest.mark.parametrize(
    ("forced", "environment", "daemonized", "output"),
    [
        (None, None, False, "stderr"),
        (None, None, True, "syslog"),
        ("stdout", None, True, "stdout"),
        ("stdout", "syslog", False, "stdout"),
        (None, "stdout", True, "stdout"),
        (None, "syslog", False, "syslog"),
        ("bogus", "stderr", True, "stderr"),
        ("bogus", "bogus", True, "syslog"),
        (None, "", False, "stderr"),
    ],
)
def test_choice(forced: str | None, environment: str | None, daemonized: bool, output: str) -> None:
    environ = {} if environment is None else {"TEAM_LOG_OUTPUT": environment}
    assert choose_output(forced, environ, daemonized) == output


def test_lines_are_bare(capfd: pytest.CaptureFixture[str]) -> None:
    log = open_log("stdout", "teamd_team0", {})
    set_debug_level(log, 0)
    log.info("eth1: up")
    log.debug("not shown")
    set_debug_level(log, 1)
    log.debug("shown")
    open_log("stderr", "teamd_team0", {}).warning("two\nlines")
    assert capfd.readouterr() == ("eth1: up\nshown\n", "two\nlines\n")


def test_a_record_has_all_that_a_formatter_may_name() -> None:
    """It is the record of the whole process: with raiseExceptions off, a line of a plug-in's own log would be lost without a word."""
    fields = [*vars(logging.LogRecord("n", logging.INFO, "", 0, "m", (), None)), "asctime", "message"]
    told = LightRecord("n", logging.INFO, "", 0, "%d ports", (2,), None)
    text = logging.Formatter(" ".join(f"%({field})s" for field in fields)).format(told)
    assert text.endswith(" 2 ports")
    assert logging.Formatter("%(process)d %(thread)d %(lineno)d %(msecs)03d").format(told) == "0 0 0 000"


def test_the_journal_gets_the_weight(capfd: pytest.CaptureFixture[str]) -> None:
    status = os.fstat(2)
    journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    log = open_log("stderr", "teamd_team0", journal)
    set_debug_level(log, 1)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "line")
    log.error("two\nlines")
    assert capfd.readouterr().err == "<7>line\n<6>line\n<4>line\n<3>line\n<2>line\n<3>two\n<3>lines\n"


def test_another_stream_is_not_the_journal() -> None:
    assert not is_journal(2, {})
    assert not is_journal(2, {"JOURNAL_STREAM": "1:2"})
    assert not is_journal(2, {"JOURNAL_STREAM": "junk"})
    assert not is_journal(-1, {"JOURNAL_STREAM": "1:2"})


def receiver(path: Path) -> socket.socket:
    """The log daemon's end."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.setblocking(False)
    return made


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    """A record."""
    return logging.LogRecord("pyteamd", level, "", 0, text, None, None)


def test_syslog(tmp_path: Path) -> None:
    with receiver(tmp_path / "log") as daemon:
        handler = SyslogHandler("teamd_team0", f"{tmp_path}/log")
        handler.emit(record("eth1: up"))
        handler.emit(record("first\nsecond", logging.ERROR))
        lines = [daemon.recv(1000).decode() for _ in range(3)]
        handler.close()
    stamp = r"[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"<30>{stamp} teamd_team0\[{os.getpid()}\]: eth1: up", lines[0])
    assert lines[1].startswith("<27>")
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["first", "second"]


def test_syslog_survives_a_restart_of_the_log_daemon(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = SyslogHandler("teamd_team0", str(path))
    handler.emit(record("nobody there yet"))
    with receiver(path) as daemon:
        handler.emit(record("one"))
        assert daemon.recv(1000).endswith(b": one")
    path.unlink()
    handler.emit(record("lost"))
    with receiver(path) as daemon:
        handler.emit(record("two"))
        assert daemon.recv(1000).endswith(b": two")
    handler.close()


def test_syslog_never_waits(tmp_path: Path) -> None:
    with receiver(tmp_path / "log"):
        handler = SyslogHandler("teamd_team0", f"{tmp_path}/log")
        for _ in range(5000):  # far more than the receiver's buffer holds
            handler.emit(record("line"))
        handler.close()


class Clock:
    """A clock that stands still unless told."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_a_flood_is_cut_and_counted() -> None:
    clock = Clock()
    limit = LineLimit(clock)
    logging.getLogger("pyteamd").setLevel(logging.INFO)
    assert all(limit.filter(record("line")) for _ in range(BURST_LINES))
    assert not any(limit.filter(record("line")) for _ in range(500))
    assert limit.filter(record("last words", logging.CRITICAL)), "a crash is always told"
    assert not limit.filter(record("line"))
    clock.now += 1
    after = record("line")
    assert limit.filter(after)
    assert after.getMessage() == "line (1 lines before this one were dropped)"
    assert sum(limit.filter(record("line")) for _ in range(500)) == 49


def test_nothing_is_cut_while_debugging() -> None:
    limit = LineLimit(Clock())
    logging.getLogger("pyteamd").setLevel(logging.DEBUG)
    assert all(limit.filter(record("line")) for _ in range(3 * BURST_LINES))


def test_a_pipe_that_nobody_reads_stops_nobody() -> None:
    read_fd, write_fd = os.pipe()
    handler = StreamHandler(write_fd)
    for _ in range(5000):  # several times what a pipe holds
        handler.emit(record("a line of forty characters, more or less"))
    os.close(write_fd)
    with open(read_fd, "rb") as reader:
        lines = reader.read().splitlines()
    assert 100 < len(lines) < 5000
    assert set(lines[:-1]) == {b"a line of forty characters, more or less"}


def test_a_pipe_without_a_reader_is_no_error() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    StreamHandler(write_fd).emit(record("lost"))
    os.close(write_fd)
