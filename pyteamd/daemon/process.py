"""What makes a process a daemon: run directory, going to the background, stopping another instance, the last words of a crash.

Going to the background is two forks with a new session between them, so that the daemon has no terminal and cannot get one, and is
nobody's child to wait for. The process that the user started stays until the daemon has told it, through a pipe, how its start ended: one
number, 0 or an errno. Nothing is executed again, so the command line in /proc stays as it was typed, which scripts look for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import TracebackType

from pyteamd.daemon import pid_file as pidfile
from pyteamd.model.printable import printable_lines

RUN_DIR = "/var/run/teamd/"
READY_TIMEOUT_S = 20.0
TOLD_OCTETS = 32768
"""How much of its log a start passes on; a pipe holds twice as much."""
KILL_TIMEOUT_S = 30.0

EXIT_OK = 0
EXIT_START = 1
"""The start failed. Under the name teamd this may be the configuration's fault; else it may pass, and a unit tries again."""
EXIT_RUNTIME = 2
"""Something failed after a good start; a unit starts us again."""
EXIT_CONFIG = 78
"""The configuration is wrong, which no other start mends (EX_CONFIG of sysexits.h); not under the name teamd, unless asked for."""


def make_run_dir(path: str) -> None:
    """Create the directory of pid files and sockets; FileNotFoundError, PermissionError and the like when that fails."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return


def open_standard() -> None:
    """Put /dev/null where input, output or errors were closed, or the next file opened would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


class Background(logging.Handler):
    """The daemon's side of the pipe: what is wrong while it starts, as lines "level text", and how the start ended, a number."""

    def __init__(self, pipe_fd: int) -> None:
        super().__init__(logging.WARNING)
        self.pipe_fd = pipe_fd
        self._room = TOLD_OCTETS
        self._told: logging.Logger | None = None

    def tell(self, log: logging.Logger) -> None:
        """From now on, until the report, pass on what this log says at warning and above."""
        self._told = log
        log.addHandler(self)

    def stop_telling(self) -> None:
        """The rest is for the log only."""
        if self._told is not None:
            self._told.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on. The pipe has room for all that is passed on, so this does not wait for a reader."""
        for line in printable_lines(record.getMessage()).splitlines():
            octets = f"{record.levelno} {line}\n".encode("utf-8", "backslashreplace")
            self._room -= len(octets)
            if self._room >= 0:
                with contextlib.suppress(BrokenPipeError):
                    os.write(self.pipe_fd, octets)

    def report(self, code: int) -> None:
        """Tell how the start ended, once: 0 for success, else an errno."""
        self.stop_telling()
        with contextlib.suppress(BrokenPipeError):  # it waited its 20 s and left
            os.write(self.pipe_fd, b"%d\n" % code)
        os.close(self.pipe_fd)


class Foreground:
    """The waiting process's side."""

    def __init__(self, pipe_fd: int, log: logging.Logger) -> None:
        self._pipe_fd = pipe_fd
        self._log = log

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Wait for the daemon's word, and pass on what it says until then; returns the exit code."""
        end, waiting = time.monotonic() + timeout_s, b""
        poll = select.poll()
        poll.register(self._pipe_fd, select.POLLIN)
        while poll.poll(max(0.0, end - time.monotonic()) * 1000):
            heard = os.read(self._pipe_fd, TOLD_OCTETS)
            if not heard:
                return self._nothing(errno.EIO)
            *lines, waiting = (waiting + heard).split(b"\n")
            for line in lines:
                number, told, text = line.decode("utf-8", "replace").partition(" ")
                if not told:
                    return self._end(int(number))
                self._log.log(int(number), "%s", text)
        return self._nothing(errno.ETIMEDOUT)

    def _nothing(self, code: int) -> int:
        self._log.error("Could not receive return value from daemon process.")
        self._log.error("Failed: %s", os.strerror(code))
        return EXIT_START

    def _end(self, code: int) -> int:
        if not code:
            return EXIT_OK
        self._log.error("Daemon process failed.")
        self._log.error("Failed: %s", os.strerror(code))
        return EXIT_START


def go_to_background(log: logging.Logger) -> Background | Foreground:
    """Fork. Returns a Foreground in the process that waits and exits, a Background in the daemon. OSError."""
    read_fd, write_fd = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        os.close(write_fd)
        os.waitpid(child, 0)
        return Foreground(read_fd, log)
    os.close(read_fd)
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)
    return Background(write_fd)


def reset_signals() -> None:
    """Forget what the starting program left: handlers back to the default, nothing blocked but SIGPIPE."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGPIPE})


def close_inherited(keep_fd: int | None) -> None:
    """Close every descriptor from 3 on but one."""
    limit = os.sysconf("SC_OPEN_MAX")
    if keep_fd is None:
        os.closerange(3, limit)
    else:
        os.closerange(3, keep_fd)
        os.closerange(keep_fd + 1, limit)


def check(pid_path: str, log: logging.Logger) -> int:
    """`-e`: exit code 0 when the daemon of this pid file runs, else 1."""
    return EXIT_OK if pidfile.running(pid_path, log) else EXIT_START


def kill(pid_path: str, log: logging.Logger, timeout_s: float = KILL_TIMEOUT_S) -> int:
    """`-k`: ask the daemon of this pid file to end and wait until it has. Returns the exit code."""
    pid = pidfile.running(pid_path, log)
    if not pid:
        log.warning("Daemon not running")
        return EXIT_START
    try:
        with open(os.pidfd_open(pid), "rb", buffering=0) as process:
            # The number may have got another owner since it was looked at; this process cannot.
            if pidfile.running(pid_path, log) != pid:
                return EXIT_OK
            signal.pidfd_send_signal(process.fileno(), signal.SIGTERM)
            if select.select([process], [], [], timeout_s)[0]:
                return EXIT_OK
    except ProcessLookupError:
        return EXIT_OK
    except OSError as error:
        log.warning("Failed to kill daemon: %s", os.strerror(error.errno or 0))
        return EXIT_START
    log.warning("Failed to kill daemon: %s", os.strerror(errno.ETIME))
    return EXIT_START


def on_crash(last_words: Callable[[], int], log: logging.Logger) -> None:
    """From now on an uncaught exception is a crash: log it, call `last_words`, end with the exit code that it returns.

    The interpreter itself would write to stderr, which a daemon does not have, and end with 1, as after a start that failed.
    """

    def crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("Crashed; this is a bug.", exc_info=(kind, error, trace))
        try:
            code = last_words()
        except Exception as fault:
            log.critical("%r", fault)
            code = EXIT_RUNTIME
        logging.shutdown()
        os._exit(code)

    sys.excepthook = crash
