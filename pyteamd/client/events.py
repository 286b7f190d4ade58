"""What happens in a team, one event after the other, for threads and for asyncio.

How it works: the daemon answers a question for events when there are some, or after a while with none; then we ask again from where we
were. The daemon keeps nothing for us: a reader that is too slow is told how many steps it missed, as an event of cause "Missed".
In asyncio a thread waits for each answer; when the task is cancelled, the connection is shut down and the thread ends at once.
"""

from __future__ import annotations

from pyteamd.client.connection import Connection
from pyteamd.client.transport import CallFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from pyteamd.client.answers import Event

MISSED = "Missed"


class Events:
    """An iterator of events, from when it was made until it is closed or the daemon ends (CallFailed); asynchronous too.

    It owns a connection: use it as a context manager, or call `close`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[Event] = []
        self._next = int(self._ask("now")["next"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._waiting:
            self._more()
        return self._waiting.pop(0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        import asyncio

        while not self._waiting:
            work = asyncio.ensure_future(asyncio.to_thread(self._more))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._connection.interrupt()
                await asyncio.wait([work])
                work.exception()
                raise
        return self._waiting.pop(0)

    def _more(self) -> None:
        """Ask once."""
        found = self._ask(str(self._next))
        self._next = int(found["next"])
        self._waiting += found["events"]
        if found["missed"]:
            text = f"{found['missed']} steps were missed."
            self._waiting.append({"age_s": 0.0, "level": "warning", "port": "", "text": text, "cause": MISSED})

    def _ask(self, start: str) -> dict[str, Any]:
        import json

        try:
            answer: dict[str, Any] = json.loads(self._connection.fetch("Events", start))
        except ValueError:
            raise CallFailed("Events: what came is no JSON") from None
        return answer
