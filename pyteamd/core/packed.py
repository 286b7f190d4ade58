"""Older steps of a trace as octets: a step is some fifteen objects, and steps are much alike."""

from __future__ import annotations

import zlib
from _pickle import PicklingError, dumps, loads  # without what is written in Python, which takes 100 kB and more
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

PROTOCOL: Final = 5


class Packed(NamedTuple):
    """Numbered steps, in order."""

    last: int
    """None of them has a higher number."""
    number: int
    """How many they are."""
    octets: bytes
    apart: tuple[Any, ...]
    """Where they cannot be packed: they stay as they are."""

    def rows(self) -> list[Any]:
        """What `pack` was given. Only in this very process."""
        return list(loads(zlib.decompress(self.octets)) if self.octets else self.apart)


def compressed(octets: bytes) -> bytes:
    """With a small window: by default it takes a quarter of a megabyte while it works."""
    small = zlib.compressobj(1, wbits=13, memLevel=6)
    return small.compress(octets) + small.flush()


def pack(rows: Sequence[Any], last: int = -1) -> Packed:
    """(number, entry) in a tenth of the memory. What cannot be packed stays as it is. `last`: see Packed; -1 for the last number."""
    last = rows[-1][0] if last < 0 else last
    try:
        return Packed(last, len(rows), compressed(dumps(tuple(rows), PROTOCOL)) if rows else b"", ())
    except (RecursionError, MemoryError, PicklingError, AttributeError, TypeError):
        return Packed(last, len(rows), b"", tuple(rows))
