"""The scripted LACP partner at the end of a real wire: one thread with a packet socket in another network namespace."""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyteamd.sim.lacp_partner import LacpPartner, instruct
from pyteamd.wire.ethernet import ETHERTYPE_SLOW

CLONE_NEWNET = 0x40000000
LONGEST_SLEEP_S = 0.05


class WirePartner:
    """Speaks from `interface` in `namespace` until it is closed."""

    def __init__(self, namespace: str, interface: str, number: int) -> None:
        self._partner = LacpPartner(number)
        self._place = namespace, interface
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def instruct(self, changes: Mapping[str, Any]) -> None:
        with self._lock:
            instruct(self._partner, changes)

    def close(self) -> None:
        """Fall silent for good."""
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        namespace, interface = self._place
        with Path(f"/run/netns/{namespace}").open() as file:
            assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind((interface, ETHERTYPE_SLOW))
            wire.settimeout(LONGEST_SLEEP_S)
            while not self._ended:
                with suppress(OSError):  # nothing came, or the link is down
                    self._serve(wire)

    def _serve(self, wire: socket.socket) -> None:
        try:
            octets, address = wire.recvfrom(2048)
        except TimeoutError:
            octets, address = b"", (None, None, socket.PACKET_OUTGOING)
        now = time.monotonic()
        with self._lock:
            if address[2] != socket.PACKET_OUTGOING:
                self._partner.receive(octets, now)
            if (due := self._partner.deadline()) is not None and due <= now:
                self._partner.tick(now)
            frames, self._partner.outbox = self._partner.outbox, []
        for frame in frames:
            wire.send(frame)
