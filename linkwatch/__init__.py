"""Link watchers: find out whether a port leads anywhere. A new watcher is one file and one line in WATCHERS."""

if __name__ != "pyteamd.linkwatch":
    raise ImportError("import pyteamd.linkwatch, not linkwatch")

from pyteamd.linkwatch.base import Watcher
from pyteamd.linkwatch.ethtool import Ethtool

WATCHERS: dict[str, type[Watcher]] = {
    "ethtool": Ethtool,
}
