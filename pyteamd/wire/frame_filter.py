"""Which received frames a packet socket lets through, as a value.

A codec says with it what its frames look like. The kernel layer compiles it to a socket filter (`bpf.filter_of`), the simulator asks it
(`lets_through`): both go by the same words. What a filter does not test, the parser does.
"""

from __future__ import annotations

from typing import Final

from pyteamd.values import dataclass

ANY_VLAN: Final = -1


@dataclass(frozen=True, slots=True)
class Field:
    """A number of `size` octets (1, 2 or 4, big endian) in the payload, `at` octets behind the EtherType, must be one of `values`.

    `mask`: which bits of it count; 0 for all.
    """

    at: int
    size: int
    values: tuple[int, ...]
    mask: int = 0


@dataclass(frozen=True, slots=True)
class FrameFilter:
    """Frames of one EtherType in which all `fields` are as said. A frame that ends before a field does not pass.

    `vlan`: None wants frames without a tag or with VLAN 0 (priority only), 0 to 4095 wants a tag with that VLAN, ANY_VLAN takes all.
    """

    ethertype: int
    fields: tuple[Field, ...] = ()
    vlan: int | None = None

    def lets_through(self, ethertype: int, vlan: int | None, payload: bytes) -> bool:
        """Whether a received frame passes; `payload` is what follows the EtherType, `vlan` the VLAN of its tag."""
        if ethertype != self.ethertype or not self._of_vlan(vlan):
            return False
        for field in self.fields:
            octets = payload[field.at : field.at + field.size]
            number = int.from_bytes(octets)
            if len(octets) < field.size or (number & field.mask if field.mask else number) not in field.values:
                return False
        return True

    def _of_vlan(self, vlan: int | None) -> bool:
        return self.vlan == ANY_VLAN or vlan == self.vlan or (self.vlan is None and vlan == 0)
