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

PIECES: tuple[str, ...] = (
    "pyteamd.wire.slow",
    "pyteamd.wire.marker",
    "pyteamd.wire.lacpdu",
    "pyteamd.runners.spread.hash_keys",
    "pyteamd.runners.spread.balancer",
    "pyteamd.runners.spread.hash_program",
    "pyteamd.runners.spread.loadbalance",
    "pyteamd.runners.lacp.keys",
    "pyteamd.runners.lacp.selection",
    "pyteamd.runners.lacp.machines",
    "pyteamd.runners.lacp.churn",
    "pyteamd.runners.lacp.system",
    "pyteamd.runners.lacp.port",
    "pyteamd.runners.lacp.habits",
    "pyteamd.runners.lacp.blocked",
    "pyteamd.runners.lacp.fallback",
    "pyteamd.runners.lacp.frames",
    "pyteamd.runners.lacp.choice",
    "pyteamd.runners.lacp.group",
    "pyteamd.runners.lacp.snapshot",
    "pyteamd.runners.lacp.membership",
    "pyteamd.runners.lacp.log_lines",
    "pyteamd.runners.lacp.reload",
    "pyteamd.runners.lacp.words",
)
"""Modules that runners import, each before the one that imports it: late_imports.py loads them one by one."""
