"""Links that are nobody's port: the last word about each, and nothing more often than need be.

Any of them may become a port, so what it is has to be known; but a host that makes and deletes links all day must not delay the messages
of our own ports. So their messages come through a socket of their own that is not looked at for a moment after it was read, and of each
link only the last message is decoded. A link that came and went in between was never there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class ForeignLinks:
    """What was heard and has not been told, by link, in the order of the last word about each."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        """Links whose existence was told."""
        self._words: dict[int, tuple[bool, bytes | None]] = {}
        """Whether the link that was told is gone (there may be a new one of that number), and the last message."""

    def hear(self, ifindex: int, message: bytes | None) -> None:
        """Keep a message; None: the link is gone."""
        was_gone, _ = self._words.pop(ifindex, (False, None))
        if message is not None or ifindex in self._told:
            self._words[ifindex] = (was_gone or message is None, message)

    def known(self, links: Iterable[int]) -> None:
        """The Teams know these links, and no others: they were told here, by a dump or by the other socket."""
        self._told = set(links)

    def forget(self) -> None:
        """All is read again."""
        self._told.clear()
        self._words.clear()

    def tell(self) -> Iterator[tuple[int, bytes | None]]:
        """Everything kept, as (link, message); None for the end of a link."""
        words, self._words = self._words, {}
        for ifindex, (gone, message) in words.items():
            if gone:
                self._told.discard(ifindex)
                yield ifindex, None
            if message is not None:
                self._told.add(ifindex)
                yield ifindex, message
