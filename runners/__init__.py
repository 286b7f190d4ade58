"""Runners: decide which ports carry traffic. A new runner is one file and one line in RUNNERS (order: as in the usage text)."""

if __name__ != "pyteamd.runners":
    raise ImportError("import pyteamd.runners, not runners")

from pyteamd.runners.activebackup import ActiveBackup
from pyteamd.runners.base import Runner
from pyteamd.runners.basic import Broadcast, Random, RoundRobin
from pyteamd.runners.lacp import Lacp
from pyteamd.runners.loadbalance import LoadBalance

RUNNERS: dict[str, type[Runner]] = {
    "broadcast": Broadcast,
    "roundrobin": RoundRobin,
    "random": Random,
    "activebackup": ActiveBackup,
    "loadbalance": LoadBalance,
    "lacp": Lacp,
}
