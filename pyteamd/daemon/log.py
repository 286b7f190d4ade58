"""Where log lines go: stderr, stdout or syslog, as teamd chooses; the standard library's logging with handlers of our own.

A line on a stream is the message and nothing else. systemd connects stderr to its journal and says so in JOURNAL_STREAM; then
records go to the journal in its native protocol, and where that is not to be had each line begins with `<N>`, its level in syslog's
numbers, which the journal takes off again. Syslog is a datagram to /dev/log in the form of RFC 3164,
`<PRI>Mon dd hh:mm:ss ident[pid]: text`. No sink ever makes the daemon wait or fail: what cannot be delivered at once is lost.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from pyteamd.model.incidents import Incident
from pyteamd.model.printable import printable_lines

STREAMS = {"stdout": 1, "stderr": 2}
OUTPUTS = (*STREAMS, "syslog")
SYSLOG_SOCKET = "/dev/log"
JOURNAL_SOCKET = "/run/systemd/journal/socket"
FIELDS = "journal_fields"
"""Attribute of a record: names and texts of its own fields in the journal."""
FACILITY_DAEMON = 3 << 3

BURST_LINES = 1000
"""Lines that may come at once; a team with a hundred ports starts with a few hundred."""
STEADY_LINES_PER_S = 50.0


def choose_output(forced: str | None, environ: Mapping[str, str], daemonized: bool) -> str:
    """One of OUTPUTS: `-l`, else $TEAM_LOG_OUTPUT, else by the way the daemon was started. Unknown words are ignored."""
    for wanted in (forced, environ.get("TEAM_LOG_OUTPUT")):
        if wanted in OUTPUTS:
            return wanted
    return "syslog" if daemonized else "stderr"


def open_log(output: str, ident: str, environ: Mapping[str, str]) -> logging.Logger:
    """The program's logger, writing to `output` and nowhere else; the level stays as it is."""
    logging.raiseExceptions = False
    _ask_less_of_records()
    logger = logging.getLogger("pyteamd")
    logger.propagate = False
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    handler: logging.Handler
    if output == "syslog":
        handler = SyslogHandler(ident)
    else:
        handler = StreamHandler(descriptor := STREAMS[output])
        if is_journal(descriptor, environ):
            handler.setFormatter(LevelFormatter())
            handler = JournalHandler(ident, handler, JOURNAL_SOCKET)
    handler.addFilter(LineLimit())
    logger.addHandler(handler)
    return logger


def _ask_less_of_records() -> None:
    """Nobody reads where in the code a line was logged, nor in which thread; finding that out takes longer than the rest."""
    logging._srcfile = None
    logging.setLogRecordFactory(LightRecord)


def also_to_syslog(logger: logging.Logger, ident: str) -> None:
    """Send warnings and errors to syslog too until the log is opened there, under the name that later lines have."""
    handler = SyslogHandler(ident)
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def set_debug_level(logger: logging.Logger, debug_level: int) -> None:
    """0 shows INFO and above, anything more shows everything."""
    logger.setLevel(logging.DEBUG if debug_level > 0 else logging.INFO)


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether this descriptor is the stream to the journal that JOURNAL_STREAM ("device:inode") speaks of."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def syslog_level(levelno: int) -> int:
    """Syslog's number for a level of the logging module."""
    if levelno >= logging.CRITICAL:
        return 2
    if levelno >= logging.ERROR:
        return 3
    if levelno >= logging.WARNING:
        return 4
    return 6 if levelno >= logging.INFO else 7


EMPTY = {
    **dict.fromkeys(("pathname", "filename", "module", "funcName", "processName", "threadName", "taskName"), ""),
    **dict.fromkeys(("lineno", "process", "thread", "msecs", "relativeCreated"), 0),
}
"""What a LightRecord does not find out."""


class LightRecord(logging.LogRecord):
    """A record with what our handlers and formatters read; the rest, which those of a plug-in may name, is empty."""

    def __init__(
        self, name: str, level: int, pathname: str, lineno: int, msg: str, args: Any, exc_info: Any, *_: Any
    ) -> None:
        self.__dict__.update(EMPTY)  # formatters look nowhere else
        self.name, self.levelno, self.created = name, level, time.time()
        self.levelname = logging.getLevelName(level)
        self.msg, self.args = msg, args
        self.exc_info, self.exc_text, self.stack_info = exc_info, None, None


class PrintableFormatter(logging.Formatter):
    """Names of links are what their users made them: none of them makes a line of the log, or tells a terminal anything."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's text; only newlines of ours separate lines."""
        return printable_lines(super().format(record) if record.exc_info else record.getMessage())


class LevelFormatter(PrintableFormatter):
    """`<N>` before each line."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{syslog_level(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).removesuffix("\n").split("\n"))


class StreamHandler(logging.Handler):
    """Lines to an open descriptor, in pieces that fit once it is ready: a reader of our pipe that stops does not stop the daemon."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or as much of it as goes."""
        octets = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        for at in range(0, len(octets), select.PIPE_BUF):
            if not self._poll.poll(0):
                return
            try:
                os.write(self._descriptor, octets[at : at + select.PIPE_BUF])
            except OSError:
                return  # closed, nobody at the other end, no space: there is nobody to tell


class JournalHandler(logging.Handler):
    """Entries to systemd's journal with fields of their own, in its native protocol; where that is not to be had, `<N>` lines."""

    def __init__(self, ident: str, instead: StreamHandler, path: str) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self._ident = ident
        self._instead = instead
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Send one datagram for the record."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(syslog_level(record.levelno)),
            "SYSLOG_IDENTIFIER": self._ident,
            "SYSLOG_PID": str(os.getpid()),
            **getattr(record, FIELDS, {}),
        }
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            ) as sender:
                sender.sendto(b"".join(journal_field(name, text) for name, text in fields.items()), self._path)
        except BlockingIOError:
            return
        except OSError:
            self._instead.emit(record)


def journal_field(name: str, text: str) -> bytes:
    """One field in the journal's native protocol: on a line, or with its length where it has several lines."""
    octets = printable_lines(text).encode("utf-8", "backslashreplace")
    if b"\n" not in octets:
        return name.encode() + b"=" + octets + b"\n"
    return name.encode() + b"\n" + len(octets).to_bytes(8, "little") + octets + b"\n"


def fields_of(incident: Incident | None, **fields: str) -> dict[str, object]:
    """The `extra` of a log call: what the journal gets beside the text."""
    told = {name: text for name, text in fields.items() if text}
    if incident is not None:
        told |= {"MESSAGE_ID": incident.value, "INCIDENT": incident.name.lower()}
    return {FIELDS: told}


class SyslogHandler(logging.Handler):
    """Datagrams to /dev/log. The connection is made when the first line comes, and again after it broke."""

    def __init__(self, ident: str, path: str = SYSLOG_SOCKET) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self._ident = ident
        self._path = path
        self._socket: socket.socket | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one datagram per line of the record."""
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(record.created))
        head = f"<{FACILITY_DAEMON | syslog_level(record.levelno)}>{stamp} {self._ident}[{os.getpid()}]: "
        for line in self.format(record).removesuffix("\n").split("\n"):
            self._send((head + line).encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the socket; a later record opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        super().close()

    def _send(self, packet: bytes) -> None:
        for again in (self._socket is not None, False):  # the log daemon was restarted: connect again, once
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                    self._socket.connect(self._path)
                self._socket.send(packet)
                return
            except BlockingIOError:
                return
            except OSError:
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None
                if not again:
                    return


class LineLimit(logging.Filter):
    """Bucket of lines: a burst passes, a flood does not, and the first line after one says how many are missing.

    Nothing is held back while debugging, nor the last words of a daemon that crashes (CRITICAL).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines = float(BURST_LINES)
        self._last_s = clock()
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written."""
        now = self._clock()
        self._lines = min(float(BURST_LINES), self._lines + (now - self._last_s) * STEADY_LINES_PER_S)
        self._last_s = now
        if self._lines < 1 and self._may_be_left_out(record):
            self._dropped += 1
            return False
        self._lines = max(0.0, self._lines - 1)
        if self._dropped:
            record.msg = f"{record.getMessage()} ({self._dropped} lines before this one were dropped)"
            record.args = None
            self._dropped = 0
        return True

    def _may_be_left_out(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.CRITICAL and not logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
