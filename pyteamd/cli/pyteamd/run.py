"""From a decided command line to a running daemon: pid file, log, kernel, event loop; and how each of them can fail."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace

import trio

import pyteamd.kernel.pyroute2_codec  # noqa: F401 before anything that imports pyroute2
from pyteamd import __version__
from pyteamd.cli.pyteamd.options import AS_ROOT, Options
from pyteamd.config.config import Config
from pyteamd.daemon import privileges
from pyteamd.daemon.log import choose_output, fields_of, open_log
from pyteamd.daemon.open_files import ENOUGH_FOR_ONE, LEAST, raise_open_files
from pyteamd.daemon.pid_file import PidFile
from pyteamd.daemon.process import EXIT_RUNTIME, EXIT_START, Background, on_crash
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.realtime import ask_or_tell
from pyteamd.daemon.sd_notify import Notifier
from pyteamd.daemon.service import imported, serve
from pyteamd.daemon.team_server import StartFailed, TeamPlan
from pyteamd.kernel.netlink import DEFAULT_BUFFER, NetlinkKernel
from pyteamd.model.incidents import Incident
from pyteamd.model.setup import Setup

MAXIMUM_BUFFER = 2**31 - 1
"""The greatest number that a socket option takes; the kernel gives as much as its own limits allow."""


def launch(options: Options, config: Config, device: str, pid_path: str, background: Background | None) -> int:
    """Run the daemon in this process until its end. Returns the exit code."""
    output = choose_output(options.log_output, os.environ, options.daemonize)
    log = open_log(output, f"{options.program}_{device}", os.environ)
    if background is not None:
        background.tell(log)
    pid_file = PidFile(pid_path)
    try:
        pid_file.create()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        if isinstance(error, FileExistsError) or "NOTIFY_SOCKET" not in os.environ:
            log.error("open(%s): %s", pid_path, reason)
            log.error("Could not create PID file.")
            if isinstance(error, PermissionError) and options.program != "teamd":
                log.error("%s", AS_ROOT)
            return failed(error.errno or 0, log, background)
        log.warning("open(%s): %s; the service manager knows us without it.", pid_path, reason)
    with ExitStack() as stack:
        stack.callback(pid_file.remove)
        try:
            plan = plan_for(options, config, device, pid_path)
            return daemon(replace(plan, pid_file=pid_file, exclusive=True), log, background)
        except StartFailed as error:
            for line in str(error).splitlines():
                log.error("%s", line)
            log.error("teamd_init() failed.")
            return failed(error.errno, log, background)


def plan_for(options: Options, config: Config, device: str, pid_path: str) -> TeamPlan:
    """The command line as a plan for one team."""
    setup = Setup(
        pid=os.getpid(),
        pid_file=pid_path,
        daemonized=options.daemonize,
        dbus_enabled=options.dbus,
        debug_level=options.debug_level,
    )
    return TeamPlan(
        device,
        config,
        setup,
        take_over=options.take_over,
        recreate=options.force_recreate,
        keep=options.keep_device,
        config_file=options.config_file or "",
        enslave=options.enslave,
        strict=options.program == "teamd" and not options.take_over,
        usock_path=f"{options.run_dir}{device}.sock" if options.usock else None,
        dbus=options.dbus,
        snapshot_stem=f"{options.run_dir}{device}",
    )


def daemon(plan: TeamPlan, log: logging.Logger, background: Background | None) -> int:
    """Run the event loop. Returns the exit code. StartFailed."""
    imported()
    ask_or_tell(log)
    privileges.drop(log)
    kernel = open_kernel(ENOUGH_FOR_ONE, log)
    reader = Reader(kernel)

    def ready() -> None:
        log.info("%s successfully started.", __version__, extra=fields_of(Incident.STARTED, TEAM=plan.device))
        if background is not None:
            background.report(0)

    def last_words() -> int:
        for trace in reader.traces.values():
            for line in trace.lines():
                log.critical("%s", line)
        return EXIT_RUNTIME if reader.serving else EXIT_START

    on_crash(last_words, log)
    try:
        code = run_loop(serve, plan, reader, log, Notifier(os.environ), ready)
    finally:
        kernel.close()
    log.info("Exiting...")
    return code


def open_kernel(files: int, log: logging.Logger) -> NetlinkKernel:
    """The kernel's sockets, after the limit of open files was raised. `files`: with fewer a warning is logged. StartFailed."""
    if raise_open_files(files, log) < LEAST:
        raise StartFailed(errno.EMFILE, f"No team can start with less than {LEAST} open files.")
    try:
        return NetlinkKernel(event_buffer(os.environ.get("TEAM_EVENT_BUFSIZE", "")))
    except OSError as error:
        raise StartFailed(
            error.errno or errno.EIO, f"Failed to open netlink: {os.strerror(error.errno or 0)}"
        ) from None


def run_loop(serve_it: Callable[..., Awaitable[int]], *arguments: object) -> int:
    """The event loop to its end. What leaves it is a crash, also an OSError, which `main` takes for an output that cannot be written."""
    try:
        return trio.run(serve_it, *arguments)
    except OSError as error:
        raise RuntimeError("the event loop ended") from error


def event_buffer(wanted: str) -> int:
    """Octets for the receive buffers of events, as many as the kernel can be asked for; what is no number counts as not said."""
    try:
        return min(int(wanted), MAXIMUM_BUFFER)
    except ValueError:
        return DEFAULT_BUFFER


def failed(number: int, log: logging.Logger, background: Background | None) -> int:
    """The start failed: tell the log, and the process that waits for us. Returns the exit code."""
    if background is not None:
        background.stop_telling()
    log.error("Failed: %s", os.strerror(number))
    if background is not None:
        background.report(number)
    return EXIT_START
