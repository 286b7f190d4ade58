"""Runners: decide which ports carry traffic. A new runner is one file and one line in RUNNERS (order: as in the usage text)."""

if __name__ != "pyteamd.runners":
    raise ImportError("import pyteamd.runners, not runners")

from pyteamd.model.registry import Registry
from pyteamd.runners.base import Runner

RUNNERS: Registry[Runner] = Registry(
    {
        "broadcast": "pyteamd.runners.basic:Broadcast",
        "roundrobin": "pyteamd.runners.basic:RoundRobin",
        "random": "pyteamd.runners.basic:Random",
        "activebackup": "pyteamd.runners.activebackup:ActiveBackup",
        "loadbalance": "pyteamd.runners.spread.loadbalance:LoadBalance",
        "lacp": "pyteamd.runners.lacp.runner:Lacp",
    }
)
