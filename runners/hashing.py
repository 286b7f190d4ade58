"""How the kernel spreads frames over ports, as configured: the keys that loadbalance and lacp have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyteamd.schema import OnBad, option

FRAGMENTS = ("eth", "vlan", "ipv4", "ipv6", "ip", "l3", "tcp", "udp", "sctp", "l4")
TX_HASH_DEFAULT = ("eth", "ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class HashConfig:
    """Keys below `runner`."""

    tx_hash: tuple[str, ...] = option(
        TX_HASH_DEFAULT,
        help="Parts of a frame that are hashed to choose the port it is sent through.",
        choices=FRAGMENTS,
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
