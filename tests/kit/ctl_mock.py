"""A daemon for the control client to talk to: a unix socket that answers as a table says and keeps what it was sent.

One thread serves one connection at a time, which is all a client makes. The table maps a method to its reply packet,
to SILENT (never answer) or to HANG_UP (close the connection instead).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

SILENT = "silent"
HANG_UP = "hang up"
NO_METHOD = b"REPLY_ERROR\nNoMethod\nThe mock has no such method.\n"

Reply = bytes | str


class MockDaemon:
    """Serves `replies` at `path` while the with block runs; `packets` has every request received."""

    def __init__(self, path: str, replies: Mapping[str, Reply]) -> None:
        self.packets: list[bytes] = []
        self.replies = replies
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(5)
        self._thread = threading.Thread(target=self._serve, name=f"mock daemon at {path}")

    def __enter__(self) -> MockDaemon:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown wakes the thread out of accept; it finishes the connection it has, if any, first.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):  # a client may go at any moment
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        while packet := connection.recv(1 << 20):
            self.packets.append(packet)
            reply = self.replies.get(packet.split(b"\n")[1].decode(), NO_METHOD)
            if reply == HANG_UP:
                return
            if isinstance(reply, bytes):
                connection.send(reply)
