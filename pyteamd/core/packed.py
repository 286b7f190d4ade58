"""Older steps of a trace as octets: a step is some fifteen objects, and steps are much alike."""

from __future__ import annotations

import zlib
from _pickle import PicklingError, dumps, loads  # without what is written in Python, which takes 100 kB and more
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pyteamd.model.events import Resync

PROTOCOL: Final = 5


class Packed(NamedTuple):
    """Numbered steps, in order."""

    last: int
    """Number of the last one."""
    octets: bytes
    apart: tuple[Any, ...]
    """Those that stay as they are."""

    def rows(self) -> list[Any]:
        """What `pack` was given. Only in this very process."""
        packed: tuple[Any, ...] = loads(zlib.decompress(self.octets)) if self.octets else ()
        return sorted((*packed, *self.apart), key=lambda row: row[0])


def pack(rows: Sequence[Any]) -> Packed:
    """(number, entry) in a tenth of the memory. What cannot be packed stays as it is."""
    # All links of the system take long, and all teams share them.
    apart = tuple(row for row in rows if type(row[1].event) is Resync)
    try:
        octets = zlib.compress(dumps(tuple(row for row in rows if type(row[1].event) is not Resync), PROTOCOL), 1)
    except (RecursionError, MemoryError, PicklingError, AttributeError, TypeError):
        octets, apart = b"", tuple(rows)
    return Packed(rows[-1][0], octets, apart)
