"""The process around the teams: signals, readiness, the watchdog. One team as teamd runs it, or many of them.

With many teams each has its own control socket, so that every client works as with one daemon for each team. They share the kernel's
sockets and the event loop, nothing else: a team that cannot start, or whose device goes away, ends alone.

SIGHUP reads the configuration files again. A team goes over to its new configuration as a whole or not at all (reload.py); with many
teams, a file that appeared starts a team and one that disappeared ends it.
"""

from __future__ import annotations

import gc
import logging
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

import trio

from pyteamd.daemon import link_counters, read_file
from pyteamd.daemon.control.desk import guarded
from pyteamd.daemon.control.reconfigure import change
from pyteamd.daemon.late_imports import import_late
from pyteamd.daemon.log import fields_of
from pyteamd.daemon.process import EXIT_RUNTIME
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.sd_notify import Notifier
from pyteamd.daemon.team_server import StartFailed, TeamPlan, TeamServer
from pyteamd.model.errors import UserError
from pyteamd.model.incidents import Incident
from pyteamd.views.explain import in_short

STATUS_PAUSE_S = 0.2
COLLECT_INTERVAL_S, BUSY_INTERVAL_S = 10.0, 1.0
WORTH, WHOLE_EVERY = 700, 100
"""New objects, less those that went, that are worth a collection; of these one in so many looks at all that is there."""
THAW_SHARE = 8
LONG_S = 0.005
"""A collection of all that takes longer begins to be felt by what waits in the event loop."""
QUIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class Serving(Protocol):
    """What signals act upon."""

    def stop(self) -> bool:
        """Begin the orderly end. False when it has begun already."""

    async def reload(self) -> None:
        """Read the configuration files again."""


class One:
    """A process with one team."""

    def __init__(self, server: TeamServer, log: logging.Logger) -> None:
        self.server = server
        self._log = log

    def stop(self) -> bool:
        return self.server.stop()

    async def reload(self) -> None:
        if self.server.pump is not None:
            await read_again(self.server.pump, self.server.plan.config_file, self._log)


async def serve(
    plan: TeamPlan, reader: Reader, log: logging.Logger, notifier: Notifier, ready: Callable[[], None]
) -> int:
    """Run one team until it ends. `ready` is called once when it works. Returns the exit code. StartFailed."""
    one = One(TeamServer(plan, reader, log), log)
    code = EXIT_RUNTIME
    failure: StartFailed | None = None

    def started() -> None:
        ready()
        notifier.send(READY="1")
        nursery.start_soon(watchdog, notifier)
        nursery.start_soon(import_late, log)
        nursery.start_soon(collect_now_and_then)
        nursery.start_soon(tell_status, one.server, notifier, log)
        if plan.config.team.metrics_listen is not None:
            nursery.start_soon(serve_metrics, plan.config.team.metrics_listen, one.server, log)
        settle_memory()

    with receive_signals() as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read)
            nursery.start_soon(reader.read_frames)
            nursery.start_soon(link_counters.watch, reader.pumps.values, log)
            nursery.start_soon(signals, received, one, nursery.cancel_scope, notifier, log)
            try:
                code = await one.server.run(started)
            except StartFailed as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return code


async def serve_metrics(address: str, server: TeamServer, log: logging.Logger) -> None:
    """The metrics of one team over HTTP."""
    from pyteamd.daemon.control.http import listen
    from pyteamd.daemon.control.inspection import metrics_text

    await listen(address, lambda: metrics_text(server.pump) if server.pump is not None else "# EOF\n", log)


@contextmanager
def receive_signals() -> Iterator[AsyncIterator[int]]:
    """The signals for `signals`. A SIGHUP that comes after the last of them is ignored: by default it would end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with trio.open_signal_receiver(*QUIT_SIGNALS, signal.SIGHUP) as received:
        yield received


async def signals(
    received: AsyncIterator[int],
    serving: Serving,
    everything: trio.CancelScope,
    notifier: Notifier,
    log: logging.Logger,
) -> None:
    """SIGHUP reads the configuration again. The first other signal ends the teams in good order, a second one at once.

    The end does not wait for a reload, which may be looking up a host: it is abandoned.
    """
    wanted, heard = trio.open_memory_channel[None](1)
    reloading = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reloads, heard, serving, reloading, notifier)
        async for number in received:
            if number == signal.SIGHUP:
                with suppress(trio.WouldBlock):  # one waits already, and reads what is there then
                    wanted.send_nowait(None)
                continue
            log.info("Got SIGINT, SIGQUIT or SIGTERM.", extra=fields_of(Incident.STOPPING))
            reloading.cancel()
            notifier.send(STOPPING="1")
            if not serving.stop():
                everything.cancel()


async def reloads(heard: AsyncIterator[None], serving: Serving, scope: trio.CancelScope, notifier: Notifier) -> None:
    """One reload after the other, until the end begins."""
    with scope:
        async for _ in heard:
            if was_ready := notifier.ready:  # before, READY would say that the start is over
                notifier.send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
            await serving.reload()
            if was_ready:
                notifier.send(READY="1")


async def watchdog(notifier: Notifier) -> None:
    """Tell the service manager that the event loop runs. Every task is in this loop, and one that fails ends it."""
    while notifier.watchdog_s is not None:
        notifier.send(WATCHDOG="1")
        await trio.sleep(notifier.watchdog_s)


async def tell_status(server: TeamServer, notifier: Notifier, log: logging.Logger) -> None:
    """What `systemctl status` shows: which ports carry traffic, and what keeps the others from it; when it has changed."""
    pump, told = server.pump, ""
    if pump is None or not notifier.wanted:
        return
    while True:
        noted = pump.trace.noted
        with suppress(UserError), guarded("Status for the service manager", log):
            if (status := in_short(pump.team, trio.current_time())) != told:
                notifier.send(STATUS=status)
                told = status
        await pump.until(partial(something_noted, pump, noted), math.inf)
        await trio.sleep(STATUS_PAUSE_S)  # what traffic needs comes first, and one incident has several notes


def something_noted(pump: Pump, before: int) -> bool:
    """Whether the team has said something since that step."""
    return pump.trace.noted != before


def imported() -> None:
    """The imports of the start are done: collect garbage again. They left some, so nothing is frozen yet."""
    gc.enable()


def settle_memory() -> None:
    """What is there now stays: later collections need not look at it. They come by the clock."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 1000, 1000)


async def collect_now_and_then() -> None:
    """A task of the process: collect garbage by the clock before the interpreter does it among a fail-over's events; mostly what is new."""
    number = 0
    while True:
        if worth := gc.get_count()[0] >= WORTH:
            number += 1
            collect(number % WHOLE_EVERY == 0, time.thread_time)
        await trio.sleep(BUSY_INTERVAL_S if worth else COLLECT_INTERVAL_S)


def collect(whole: bool, clock: Callable[[], float]) -> None:
    """Collect what is new, or all. Where all takes long, what stays is looked at again when an eighth of the teams has ended."""
    began = clock()
    gc.collect(2 if whole else 1)
    if whole and clock() - began > LONG_S:
        gc.freeze()


def worth_thawing(ended: int, there: int) -> bool:
    """Whether so many teams have ended of those that were there that what was settled is looked at once more."""
    return ended * THAW_SHARE >= there


async def read_again(pump: Pump, file: str, log: logging.Logger) -> None:
    """Go over to what the file says now. Everything that is wrong goes to the log, and then nothing changes."""
    try:
        with guarded("SIGHUP", log):
            await _read_again(pump, file, log)
    except UserError as error:
        log.error("%s: %s; nothing changes.", file, error.text)


async def _read_again(pump: Pump, file: str, log: logging.Logger) -> None:
    device = pump.team.facts.team.name
    if not file:
        log.warning(
            "SIGHUP: %s was started without a configuration file; use: pyteamdctl %s config apply FILE", device, device
        )
        return
    try:
        text = await read_file.off_loop(lambda: read_file.read_text(file))
    except OSError as error:
        log.error("%s: cannot be read: %s; nothing changes.", file, read_file.why_not(error))
        return
    report = await change(pump, text, file)
    for line in report["problems"]:
        log.error("%s", line)
    if not report["applied"]:
        log.error("%s: refused, nothing changes.", file, extra=fields_of(Incident.CONFIG_REFUSED, TEAM=device))
        return
    for line in report["warnings"]:
        log.warning("%s", line)
    for changed in report["changes"]:
        log.info("%s: %s", device, changed["text"])
    told = fields_of(Incident.CONFIG_APPLIED, TEAM=device)
    log.info("%s: configuration of %s in force, %d changes.", file, device, len(report["changes"]), extra=told)
