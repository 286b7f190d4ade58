"""Link watchers: find out whether a port leads anywhere. A new watcher is one file and one line in WATCHERS."""

if __name__ != "pyteamd.linkwatch":
    raise ImportError("import pyteamd.linkwatch, not linkwatch")

from pyteamd.linkwatch.arp_ping import ArpPing
from pyteamd.linkwatch.base import Watcher
from pyteamd.linkwatch.ethtool import Ethtool
from pyteamd.linkwatch.nsna_ping import NsnaPing

WATCHERS: dict[str, type[Watcher]] = {
    "ethtool": Ethtool,
    "arp_ping": ArpPing,
    "nsna_ping": NsnaPing,
}
