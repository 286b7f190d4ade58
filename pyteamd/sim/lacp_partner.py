"""A scripted LACP partner: a station at the far end of a wire that says of itself, and of us, what it is told to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from pyteamd.values import dataclass
from pyteamd.wire import ethernet, lacpdu, slow
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

SYSTEM = b"\x02\xbb\0\0\0\x01"
IN_SERVICE = 0x3F
"""The state octet of a link that works."""


@dataclass(slots=True)
class LacpPartner:
    """One port of the other system: answers each LACPDU at once, and speaks every `every` seconds once it has heard us."""

    number: int
    key: int = 7
    state: int = IN_SERVICE
    system: bytes = SYSTEM
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of LacpInfo that it sends of us instead of what it heard."""
    silent: bool = False
    every: float | None = 1.0
    """None: it only answers."""
    heard: list[tuple[float, Lacpdu]] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    _next: float = 0.0

    @property
    def actor(self) -> LacpInfo:
        """What it says of itself."""
        return LacpInfo(100, self.system, self.key, 255, self.number, self.state)

    def receive(self, octets: bytes, now: float) -> None:
        frame = ethernet.parse(octets)
        if frame.ethertype == ethernet.ETHERTYPE_SLOW and frame.payload[0] == slow.SUBTYPE_LACP:
            self.heard.append((now, lacpdu.parse(frame.payload, frame.destination)))
            self._say()

    def deadline(self) -> float | None:
        return None if self.every is None else self._next

    def tick(self, now: float) -> None:
        self._next = now + (self.every or 0.0)
        self._say()

    def _say(self) -> None:
        if self.heard and not self.silent:
            ours = replace(self.heard[-1][1].actor, **self.mistakes)
            self.outbox.append(Lacpdu(self.actor, ours).frame(self.system[:5] + bytes((self.number,))))


def instruct(partner: LacpPartner, changes: Mapping[str, Any]) -> None:
    """Tell a partner what to say from now on: its own fields, `our.FIELD` for its mistakes, `our` for none."""
    for name, value in changes.items():
        if name == "our":
            partner.mistakes = {}
        elif name.startswith("our."):
            partner.mistakes = {**partner.mistakes, name.removeprefix("our."): value}
        else:
            setattr(partner, name, value)
