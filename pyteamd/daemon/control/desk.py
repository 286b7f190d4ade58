"""Where every request to one team is answered, whichever way it came.

A client never shares fate with the ports. What can go wrong with a request, declared or not, becomes an error reply here and nowhere
else; what nobody declared is a fault of ours, and its trace goes to the log.

Nor does a client take the ports' time. Only one request begins in a round of the event loop, so the kernel's events come between any
two of them, however many clients ask at once. An answer that many want is made once for all who ask within KEPT_S, as long as nothing
has happened in between. A client that waits for events is woken at each of them; no more than MAXIMUM_FOLLOWERS do that at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import trio

from pyteamd.daemon.control.inspection import something_to_say
from pyteamd.daemon.control.methods import EXPLAINED, Method, reason
from pyteamd.daemon.pump import Pump
from pyteamd.model.errors import INVALID_ARGUMENTS, NO_DEVICE, KernelGone, KernelRefused, UserError
from pyteamd.model.printable import printable, spelled
from pyteamd.schema import json_text

MAXIMUM_REQUEST_OCTETS: Final = 1 << 16
"""The longest request that is looked at; a configuration of a thousand ports fits."""
TOO_LONG: Final = ("RequestTooLong", f"A request has at most {MAXIMUM_REQUEST_OCTETS} octets.")
KEPT_S: Final = 0.05
NAMES: Final = ("port_devname", "state_item_path", "subject", "value")
"""Arguments that are, or may have in them, the name of a link."""
MAXIMUM_FOLLOWERS: Final = 16
FOLLOW_TIMEOUT_S: Final = 3.0
"""How long a follower waits for a place and for something to happen; clients wait 5 s for a reply."""

_turn = trio.Lock()
"""Of all requests of the process, for it has one event loop."""


class Desk:
    """The clients' side of one team."""

    def __init__(self, pump: Pump, log: logging.Logger) -> None:
        self._pump = pump
        self._log = log
        self._kept: dict[str, tuple[int, float, str]] = {}
        """Answers to methods without arguments: after how many steps of the team, when, and what."""
        self._refusal = ("", "", "")
        """The last call that was refused: method, what it was about, reason."""
        self._followers = trio.CapacityLimiter(MAXIMUM_FOLLOWERS)

    async def call(self, method: Method, arguments: Sequence[str]) -> str:
        """Run a method with at least as many arguments as it takes. UserError, and nothing else but cancellation."""
        with guarded(method.name, self._log):
            if len(arguments) < len(method.arguments):
                raise UserError(*INVALID_ARGUMENTS)
            if method.follows:
                await self._wait(arguments[0])
            await take_turn()
            if method.handler is reason:
                return self._reason(*named(method, arguments[:2]))
            if method.arguments:
                return await self._about(method, named(method, arguments[: len(method.arguments)]))
            return await self._shared(method)

    async def _about(self, method: Method, given: Sequence[str]) -> str:
        """Run it, and keep why it was refused for who asks (the method Reason)."""
        try:
            return await method.handler(self._pump, *given)
        except UserError as error:
            if method.name in EXPLAINED:
                self._refusal = (method.name, given[0], error.reason)
            raise

    def _reason(self, name: str, subject: str) -> str:
        """Why the last such call was refused, in our own words; "" when there is no more to say than the error said."""
        *refused, why = self._refusal
        return json_text.dumps({"reason": why if refused == [name, subject] else ""})

    async def _wait(self, start: str) -> None:
        with trio.move_on_after(FOLLOW_TIMEOUT_S):
            async with self._followers:
                await something_to_say(self._pump, start)

    async def _shared(self, method: Method) -> str:
        """What was answered just now is still true while the team has digested nothing."""
        steps, now = self._pump.trace.dropped + len(self._pump.trace), trio.current_time()
        known = self._kept.get(method.name)
        if known is not None and known[0] == steps and now - known[1] < KEPT_S:
            return known[2]
        text = await method.handler(self._pump)
        self._kept[method.name] = (steps, now, text)
        return text


def named(method: Method, given: Sequence[str]) -> list[str]:
    """The arguments, names of links as they are spelled here."""
    kinds = zip(method.arguments, given, strict=True)
    return [spelled(text) if argument in NAMES else text for argument, text in kinds]


@contextmanager
def guarded(what: str, log: logging.Logger) -> Iterator[None]:
    """Whatever is raised inside leaves as UserError. `what` was asked for."""
    try:
        yield
    except UserError:
        raise
    except KernelGone:
        raise UserError(*NO_DEVICE) from None
    except KernelRefused as refusal:
        raise UserError("KernelRefused", printable(str(refusal))) from None
    except Exception as fault:
        with suppress(Exception):  # after a MemoryError even this may fail
            log.exception("%s: This is a bug, please report it.", what)
        reason = printable(f"{type(fault).__name__}: {fault}")
        raise UserError("InternalFailure", f"{reason}; the daemon's log has the trace.") from None


async def take_turn() -> None:
    """Wait until nothing else of a client's runs in this round of the event loop."""
    async with _turn:
        await trio.lowlevel.checkpoint()
