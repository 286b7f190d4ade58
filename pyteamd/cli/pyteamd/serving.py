"""`pyteamd serve`, from the options to the event loop."""

from __future__ import annotations

import argparse
import os

import pyteamd.kernel.pyroute2_codec  # noqa: F401 before anything that imports pyroute2
from pyteamd import __version__
from pyteamd.cli.pyteamd.run import open_kernel, run_loop
from pyteamd.daemon import privileges
from pyteamd.daemon.fleet import Fleet, FleetSettings, serve_many
from pyteamd.daemon.log import choose_output, open_log, set_debug_level
from pyteamd.daemon.open_files import ENOUGH_FOR_MANY
from pyteamd.daemon.process import EXIT_RUNTIME, EXIT_START, RUN_DIR, make_run_dir, on_crash, reset_signals
from pyteamd.daemon.realtime import ask_or_tell
from pyteamd.daemon.sd_notify import Notifier
from pyteamd.daemon.service import imported
from pyteamd.daemon.team_server import StartFailed


def run(options: argparse.Namespace) -> int:
    """Returns the exit code."""
    log = open_log(choose_output(options.log_output, os.environ, False), "pyteamd", os.environ)
    set_debug_level(log, 0)
    run_dir = os.environ.get("PYTEAMD_RUN_DIR", "") or RUN_DIR
    run_dir = f"{run_dir.rstrip('/')}/"
    try:
        make_run_dir(run_dir)
    except OSError as error:
        log.error('Failed to create directory "%s": %s', run_dir, os.strerror(error.errno or 0))
        return EXIT_START
    reset_signals()
    imported()
    ask_or_tell(log)
    privileges.drop(log)
    try:
        kernel = open_kernel(ENOUGH_FOR_MANY, log)
    except StartFailed as error:
        log.error("%s", error)
        return EXIT_START
    settings = FleetSettings(
        run_dir,
        options.take_over,
        options.no_quit_destroy,
        not options.no_ports,
        options.metrics_listen or "",
        exclusive=True,
    )
    fleet = Fleet(options.sources, settings, kernel, log)
    on_crash(lambda: EXIT_RUNTIME, log)

    def ready() -> None:
        log.info("%s serves %s.", __version__, ", ".join(fleet.members))

    try:
        code = run_loop(serve_many, fleet, log, Notifier(os.environ), ready)
    finally:
        kernel.close()
    log.info("Exiting...")
    return code
