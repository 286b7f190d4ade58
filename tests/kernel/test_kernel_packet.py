"""Received frames → FrameSeen. The sockets themselves: tests/kernel/test_packet.py."""

from __future__ import annotations

import errno
import os
import resource
import socket

import pytest

from pyteamd.kernel.packet import Listening, PacketSocket, name_of, parse
from pyteamd.model.desired import Tap
from pyteamd.model.errors import KernelRefused
from pyteamd.model.events import FrameSeen
from pyteamd.wire import slow

TO, FROM = b"\xff" * 6, b"\x02\x5e\0\0\0\1"


@pytest.mark.parametrize(
    ("octets", "tag", "expected"),
    [
        (TO + FROM + b"\x08\x06body", None, (0x0806, None, b"body")),
        (TO + FROM + b"\x08\x06body", 0x6005, (0x0806, 5, b"body")),
        (TO + FROM + b"\x08\x06body", 0, (0x0806, 0, b"body")),
        (TO + FROM + b"\x08\x06", None, (0x0806, None, b"")),
        (TO + FROM + b"\x81\x00\x60\x05\x08\x06body", None, (0x0806, 5, b"body")),
        (TO + FROM + b"\x88\xa8\x0f\xff\x88\x09body", None, (0x8809, 4095, b"body")),
        (TO + FROM + b"\x81\x00\x00\x07\x08\x06body", 5, (0x8100, 5, b"\x00\x07\x08\x06body")),  # only the outer tag
    ],
)
def test_frames(octets: bytes, tag: int | None, expected: tuple[int, int | None, bytes]) -> None:
    assert parse(3, octets, tag) == FrameSeen(3, TO, FROM, *expected)


@pytest.mark.parametrize("octets", [b"", TO + FROM, TO + FROM + b"\x08", TO + FROM + b"\x81\x00\x00\x05\x08"])
def test_frames_without_room_for_their_headers(octets: bytes) -> None:
    assert parse(3, octets, None) is None


def test_a_lack_of_descriptors_is_a_refusal() -> None:
    limits, listening = resource.getrlimit(resource.RLIMIT_NOFILE), Listening()
    with open(os.devnull) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, limits[1]))
        try:
            with pytest.raises(KernelRefused) as refusal:
                PacketSocket(1, Tap(slow.FRAMES), listening)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert refusal.value.errno in (errno.EMFILE, errno.EPERM)  # the latter for a user without CAP_NET_RAW


def test_the_name_of_a_link_needs_no_descriptor() -> None:
    """Without one it seemed to be gone, and no other socket was opened on it ever."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, limits[1]))
        try:
            assert name_of(last, 1) == "lo"
            assert name_of(last, 2**31 - 1) == ""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_each_socket_has_its_turn() -> None:
    """However many can be read, and whatever is closed meanwhile."""
    listening = Listening()
    pairs = [socket.socketpair() for _ in range(80)]
    for near, far in pairs:
        listening.add(near.fileno(), near)  # type: ignore[arg-type]  # it is only handed back
        far.send(b"one")
        far.send(b"two")
    closed = pairs[0][0]
    listening.remove(closed.fileno())
    closed.close()
    heard: list[socket.socket] = []
    while len(set(heard)) < 79:
        turn: list[socket.socket] = await listening.readable()  # type: ignore[assignment]
        assert 0 < len(turn) <= 32
        for near in turn:
            near.recv(3)
        heard += turn
    assert len(heard) <= 3 * 32, "one that has more to say does not go before the others"
    listening.close()
    for sockets in pairs:
        for one in sockets:
            one.close()
