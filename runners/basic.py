"""The runners that leave all decisions to the kernel: broadcast, roundrobin, random.

The kernel enables every port and spreads frames over those that have a link; link watchers have a say through the
`user_linkup` option, which the Team writes for every runner.
"""

from __future__ import annotations

from pyteamd.runners.base import Runner


class Broadcast(Runner):
    """Every frame on every port."""

    name = "broadcast"
    mode = "broadcast"
    heeds_watchers = False
    summary = "Sends every frame through all ports."


class RoundRobin(Runner):
    """One port after the other."""

    name = "roundrobin"
    mode = "roundrobin"
    heeds_watchers = False
    summary = "Sends each frame through the next port in turn."


class Random(Runner):
    """A port by chance."""

    name = "random"
    mode = "random"
    heeds_watchers = False
    summary = "Sends each frame through a port chosen at random."
