"""Truncated and malicious ARP and neighbour advertisements against the daemon on the real driver: no verdict changes, each is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

import pytest
from hostile_frames import (
    SOURCE,
    TARGET,
    TARGET6,
    Hostile,
    advert,
    arp_answer,
    hostile_arp,
    hostile_na,
)
from lab_kit import PYTEAMD, bench, daemon, state, wait_for
from wire_kit import Ear

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="parsers")]

ARP = (
    f'{{"name": "arp_ping", "interval": 100, "missed_max": 3, "source_host": "{SOURCE}", "target_host": "{TARGET}",'
    ' "validate_active": true, "validate_inactive": true, "send_always": true}'
)
NSNA = f'{{"name": "nsna_ping", "interval": 100, "missed_max": 3, "target_host": "{TARGET6}"}}'
CONFIG = f'{{"runner": {{"name": "roundrobin"}}, "ports": {{"em1": {{"link_watch": {ARP}}}, "em2": {{"link_watch": {NSNA}}}}}}}'
CHUNK = 20
"""Frames at once; then the daemon may read, so that the buffer of its socket does not overflow."""
CHUNK_S = 0.01


class Behind:
    """Who sits behind one port: answers each probe if it is told to, and throws hostile frames."""

    def __init__(self, ear: Ear, port: str, answer: Callable[[bytes], object], asks: Callable[[bytes], bool]) -> None:
        self.ear, self.port = ear, port
        self._answer, self._asks = answer, asks
        self.answers = False
        self.expected: Counter[str] = Counter()

    def listen(self) -> bytes:
        """The last probe since the last call, b"" for none."""
        probe = b""
        for heard in self.ear.hear():
            if self._asks(heard.octets):
                probe = heard.octets
        if probe and self.answers:
            self.ear.say(bytes(self._answer(probe)))  # type: ignore[call-overload]
        return probe

    def throw(self, frames: Sequence[Hostile]) -> None:
        """All of them."""
        for first in range(0, len(frames), CHUNK):
            for _, octets, reason in frames[first : first + CHUNK]:
                self.ear.say(octets)
                self.expected[reason] += 1
            time.sleep(CHUNK_S)
            self.listen()
        del self.expected[""]

    def watched(self) -> dict[str, object]:
        """The state of the watcher."""
        found: dict[str, object] = state()["ports"][self.port]["link_watches"]["list"]["link_watch_0"]
        return found


def test_nothing_but_an_answer_is_an_answer() -> None:
    with bench() as on:
        for name in ("p1", "p2"):
            on.on_switch(f"echo 1 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        with (
            daemon(PYTEAMD, on, CONFIG),
            Ear(on.switch, "p1", outgoing=False) as one,
            Ear(on.switch, "p2", outgoing=False) as two,
        ):
            sides = (
                Behind(one, "em1", arp_answer, lambda octets: octets[12:14] == b"\x08\x06"),
                Behind(
                    two,
                    "em2",
                    advert,
                    lambda octets: octets[54:55] == b"\x87" and octets[62:78] == IPv6Address(TARGET6).packed,
                ),
            )
            probes: dict[str, bytes] = {}

            def verdicts() -> list[object]:
                for side in sides:
                    probes[side.port] = side.listen() or probes.get(side.port, b"")
                return [side.watched()["up"] for side in sides]

            def counted() -> bool:
                verdicts()
                return all(side.watched().get("drops", {}) == side.expected for side in sides)

            wait_for(lambda: verdicts() == [False, False] and all(probes.values()) and len(probes) == 2)
            all_frames = [hostile_arp(probes["em1"]), hostile_na(probes["em2"])]
            missed = [side.watched()["missed"] for side in sides]
            for _ in range(2):  # nobody answers: nothing here brings a port up
                for side, frames in zip(sides, all_frames, strict=True):
                    side.throw(frames)
            wait_for(counted, what=str([side.expected for side in sides]))
            wait_for(lambda: all(side.watched()["missed"] > m + 3 for side, m in zip(sides, missed, strict=True)))
            assert verdicts() == [False, False]
            for side in sides:
                side.answers = True
            wait_for(lambda: verdicts() == [True, True], what="a genuine answer counts")
            for side, frames in zip(sides, all_frames, strict=True):  # nor takes it down
                side.throw(frames)
            wait_for(counted, what=str([side.expected for side in sides]))
            assert verdicts() == [True, True]
            assert [side.watched()["down_count"] for side in sides] == [0, 0]
