"""How the kernel spreads frames over ports: the keys that loadbalance and lacp have in common, and the driver's numbers of the ports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyteamd.model.desired import Observed, OptionKey, SetOption
from pyteamd.model.events import Applied, Event, FrameSeen, Tick
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass

FRAGMENTS = {
    **{name: frozenset({name}) for name in ("eth", "vlan", "ipv4", "ipv6")},
    **dict.fromkeys(("ip", "l3"), frozenset({"ipv4", "ipv6"})),
    **{name: frozenset({name}) for name in ("tcp", "udp", "sctp")},
    "l4": frozenset({"tcp", "udp", "sctp"}),
}
"""What the configuration may say, and the fields of a frame that it selects."""
TX_HASH_DEFAULT = ("eth", "ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class HashConfig:
    """Keys below `runner`."""

    tx_hash: tuple[str, ...] = option(
        TX_HASH_DEFAULT,
        help="Parts of a frame that are hashed to choose the port it is sent through.",
        choices=tuple(FRAGMENTS),
        on_bad=OnBad.USE_DEFAULT,
        skip_unknown='Hash frag named "{}" not found.',
        if_empty="nothing is hashed, all frames leave through one port",
    )
    tx_balancer_name: str | None = option(
        None,
        path="tx_balancer.name",
        help="Name of the balancer that moves hash values between ports by their load; without one nothing moves.",
        choices=("basic",),
        on_bad=OnBad.USE_DEFAULT,
    )
    tx_balancer_interval: int = option(
        50,
        path="tx_balancer.balancing_interval",
        help="Time between two looks at the load; 0 switches the kernel's statistics off.",
        minimum=0,
        unit="tenths of a second",
        on_bad=OnBad.USE_DEFAULT,
    )


def insert_tx_hash(tree: dict[str, Any]) -> None:
    """Write the default `tx_hash` into the stored configuration where there is none, as teamd does."""
    section = tree.setdefault("runner", {})
    if isinstance(section, dict):
        section.setdefault("tx_hash", list(TX_HASH_DEFAULT))


class Numbering:
    """The driver's numbers of the enabled ports, which decide where `hash modulo ports` leads (team_port_enable, team_core.c).

    A port gets the next number when it is enabled, and the numbers behind a port that is disabled move up. The driver does not tell
    them, so they are learnt by watching. Ports that were all enabled before we looked are taken to have been in the driver's order.
    """

    def __init__(self) -> None:
        self.order: list[int] = []
        """Ifindex by number."""
        self._guessed: set[int] = set()

    @property
    def certain(self) -> bool:
        """The order is not a guess: at most one port was enabled before we looked."""
        return len(self._guessed) < 2

    def learn(self, event: Event, ports: Iterable[int], observed: Observed) -> None:
        """Follow an event that has been digested. `ports`: those of the team."""
        if isinstance(event, FrameSeen | Tick):  # there are many, and they change nothing in the driver
            return
        if isinstance(event, Applied):
            for write in event.writes:
                match write:
                    case SetOption(key=OptionKey(name="enabled" | "tx_enabled", port=port), value=value):
                        self._enabled(port, value is True)
        enabled = [port for port in ports if observed.transmits(port)]
        for port in set(self.order).difference(enabled):
            self._enabled(port, False)
        new = [port for port in enabled if port not in self.order]
        if len(new) > 1:  # a dump names the ports in the driver's order
            new = [key.port for key in observed.options if key.name == "enabled" and key.port in new]
            self._guessed.update(new)
        self.order += new

    def _enabled(self, port: int, enabled: bool) -> None:
        if enabled and port not in self.order:
            self.order.append(port)
        elif not enabled and port in self.order:
            self.order.remove(port)
            self._guessed.discard(port)
