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
