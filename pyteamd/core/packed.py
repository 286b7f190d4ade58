"""Older steps of a trace as octets: a step is some fifteen objects, and steps are much alike."""

from __future__ import annotations

import zlib
from _pickle import dumps, loads  # without what is written in Python, which takes 100 kB and more
from collections.abc import Iterable
from typing import Any, Final

PROTOCOL: Final = 5


def pack(rows: Iterable[Any]) -> bytes:
    """Values of ours and plain ones, in a twentieth of the memory where they are much alike."""
    return zlib.compress(dumps(tuple(rows), PROTOCOL), 1)


def unpack(octets: bytes) -> tuple[Any, ...]:
    """What `pack` was given. Only for octets of this very process."""
    rows: tuple[Any, ...] = loads(zlib.decompress(octets))
    return rows
