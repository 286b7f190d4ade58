"""Ports whose far ends are somewhere else: veth pairs, one end of each in the namespace PEERS."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence

PEERS = "peers"


class BenchError(Exception):
    """Something did not happen that must: a daemon that does not start, a cut that changes nothing."""


def peer_of(name: str) -> str:
    return name.replace("eth", "peer")


def ip(command: str) -> None:
    """Run ip(8), which must succeed."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"ip {command}: {done.stderr.strip()}")


def make_cables(names: Sequence[str]) -> None:
    """veth pairs ethN/peerN, the peers in their namespace and up. What is there already stays, unless a failed scenario left it half."""
    if not os.path.exists(f"/run/netns/{PEERS}"):
        ip(f"netns add {PEERS}")
    for name in names:
        looked = subprocess.run(["ip", "-n", PEERS, "link", "show", peer_of(name)], capture_output=True, check=False)
        whole = os.path.exists(f"/sys/class/net/{name}") and looked.returncode == 0
        if os.path.exists(f"/sys/class/net/{name}") and not whole:
            ip(f"link del {name}")
        if not whole:
            ip(f"link add {name} type veth peer name {peer_of(name)} netns {PEERS}")
        ip(f"-n {PEERS} link set {peer_of(name)} up")


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Be in a network namespace; sockets made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns back")
