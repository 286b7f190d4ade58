#!/usr/bin/env python3
"""How long from starting the program until its D-Bus name is owned: what NetworkManager waits for, natively, on a private bus.

    .venv/bin/python tests/bench/start.py [--count 11]

Everything is as NetworkManager has it (its arguments, its one-variable environment, one process per start) but for the kernel, which is
simulated inside the daemon, because few machines have the team driver: two ports and their cables. The real driver's part of a start is a
dozen system calls. The processor time is also told as a multiple of what `import trio` takes, in turn with the starts, because machines
differ. Prints one line; exit status 1 when the median is above the limit of half a second, and nobody else is to blame: on a
machine with more to do than it has processors the time says nothing, the processor time still does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 0.5
CONFIG = '{"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}}'
LINES = ["-o", "-U", "-D", "-N", "-t", "team0", "-c", CONFIG]
DAEMON = """
import sys
import pyteamd.cli.pyteamd.run
from pyteamd.sim.waiting import WaitingSimKernel
def kernel(buffer_bytes):
    made = WaitingSimKernel()
    for number in (1, 2):
        made.add_pair(f"eth{number}", f"peer{number}")
    return made
pyteamd.cli.pyteamd.run.NetlinkKernel = kernel
from pyteamd.cli.pyteamd.main import main
sys.exit(main(sys.argv, sys.argv.pop(1)))
"""


def one_start(run_dir: Path, address: str) -> tuple[float, float]:
    """Seconds from the start of the process to the name's owner; seconds of processor time that the process used, its end included."""
    from jeepney import DBusAddress, MatchRule, new_method_call
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    name = "org.libteam.teamd.team0"
    bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    with open_dbus_connection(address) as connection:
        rule = MatchRule(type="signal", member="NameOwnerChanged")
        rule.add_arg_condition(0, name)
        connection.send_and_get_reply(message_bus.AddMatch(rule))
        with connection.filter(rule) as changes:
            began = time.monotonic()
            daemon = subprocess.Popen(
                [sys.executable, "-I", "-Xutf8", "-c", DAEMON, f"{run_dir}/", *LINES],
                env={"TEAM_LOG_OUTPUT": "stderr", "DBUS_SYSTEM_BUS_ADDRESS": address},
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
            try:
                connection.recv_until_filtered(changes, timeout=20)
                took_s = time.monotonic() - began
                reply = connection.send_and_get_reply(new_method_call(bus, "GetConnectionUnixProcessID", "s", (name,)))
                assert reply.body[0] == daemon.pid, "another process has the name"
            finally:
                daemon.terminate()
                _, _, used = os.wait4(daemon.pid, 0)
                daemon.returncode = 0
    return took_s, used.ru_utime + used.ru_stime


def import_of_trio() -> float:
    """Seconds of processor time that a Python takes which does nothing but import trio."""
    program = subprocess.Popen([sys.executable, "-I", "-Xutf8", "-c", "import trio"], cwd="/")
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    assert program.returncode == 0, "trio cannot be imported"
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="Time from the start of the daemon until its D-Bus name is owned.")
    parser.add_argument("--count", type=int, default=11, help="how many starts (default 11, the first is not counted)")
    count = parser.parse_args().count
    sys.path.insert(0, str(ROOT / "tests/kit"))
    from bus_kit import private_bus

    with tempfile.TemporaryDirectory(prefix="pyteamd-start-") as run_dir, private_bus() as bus:
        measured = [(*one_start(Path(run_dir), bus.address), import_of_trio()) for _ in range(count + 1)][1:]
    times, used, trio_alone = zip(*measured, strict=True)
    median, work = statistics.median(times), statistics.median(used)
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    print(
        f"start until the D-Bus name is owned: median {median:.3f} s, {min(times):.3f} to {max(times):.3f} s, "
        f"{count} starts, limit {LIMIT_S} s; processor time {work:.3f} s, "
        f"{work / statistics.median(trio_alone):.1f} times that of an import of trio; load {load:.1f} on {processors} processors"
    )
    return 1 if (work if load > processors else median) > LIMIT_S else 0


if __name__ == "__main__":
    sys.exit(main())
