"""Link watchers: find out whether a port leads anywhere. A new watcher is one file and one line in WATCHERS."""

if __name__ != "pyteamd.linkwatch":
    raise ImportError("import pyteamd.linkwatch, not linkwatch")

from pyteamd.linkwatch.base import Watcher
from pyteamd.model.registry import Registry

WATCHERS: Registry[Watcher] = Registry(
    {
        "ethtool": "pyteamd.linkwatch.ethtool:Ethtool",
        "arp_ping": "pyteamd.linkwatch.arp_ping:ArpPing",
        "nsna_ping": "pyteamd.linkwatch.nsna_ping:NsnaPing",
        "bfd": "pyteamd.linkwatch.bfd:Bfd",
    }
)

PIECES: tuple[str, ...] = (
    "pyteamd.wire.arp",
    "pyteamd.wire.bfd",
    "pyteamd.wire.ndisc",
    "pyteamd.linkwatch.bfd_session",
)
"""Modules that watchers import, each before the one that imports it: late_imports.py loads them one by one."""
