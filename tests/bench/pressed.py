"""Memory pressure, and what protects a daemon from it: each in a memory cgroup of its own, from which the kernel takes what it can.

    pressed.py HOW COMMAND…    runs the command in that group: as it is, or unlocked (it may not lock its memory), or that with memory.min
                               there (unit), or that with memory.min there and above (slice)

The group's pages, the program's own and the files' that it was the first to use, are taken just before each cut (`squeeze`). Where they
go to is zram: this needs its module, which the kernels of user-mode Linux have, and the measuring kernel of QEMU has not.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

from cables import BenchError

ROOT = Path("/sys/fs/cgroup")
ABOVE = ROOT / "bench"
"""Stands for the whole machine, SLICE for system.slice, GROUP for a unit in it."""
SLICE = ABOVE / "slice"
GROUP = SLICE / "daemon"
PROTECTED = "32M"
"""What both units say (MemoryMin)."""
TAKEN = "128M"
UNLOCKED = ["setpriv", "--bounding-set", "-sys_resource,-ipc_lock"]
BOUND = 1 << 23
CANDIDATES = {
    name: ["python3", "tests/bench/pressed.py", how, *command]
    for name, how, command in (
        ("teamd", "as it is", ["teamd"]),
        ("pyteamd", "as it is", [".venv/bin/pyteamd"]),
        ("not locked", "unlocked", [".venv/bin/pyteamd"]),
        ("MemoryMin", "unit", [".venv/bin/pyteamd"]),
        ("MemoryMin of slice, too", "slice", [".venv/bin/pyteamd"]),
    )
}


def prepare() -> None:
    """The groups, and somewhere to swap to. BenchError."""
    if ABOVE.exists():
        return
    for command in ("mount -t cgroup2 none /sys/fs/cgroup", "modprobe zram num_devices=1", "mdev -s"):
        subprocess.run(["busybox" if command.startswith("mdev") else "env", *command.split()], check=False)
    try:
        Path("/sys/block/zram0/disksize").write_text("256M")
        for command in ("mkswap /dev/zram0", "swapon /dev/zram0"):
            subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
        for above, below in ((ROOT, ABOVE), (ABOVE, SLICE), (SLICE, GROUP)):
            (above / "cgroup.subtree_control").write_text("+memory")
            below.mkdir()
    except (OSError, subprocess.CalledProcessError) as problem:
        raise BenchError(f"no memory pressure here: {problem}") from None


def squeeze() -> None:
    """Take from the daemon what is not protected."""
    with contextlib.suppress(OSError):  # there is not that much
        (ABOVE / "memory.reclaim").write_text(TAKEN)


def main(how: str, command: list[str]) -> None:
    """Become the command, in the group."""
    (GROUP / "memory.min").write_text(PROTECTED if how in ("unit", "slice") else "0")
    (SLICE / "memory.min").write_text(PROTECTED if how == "slice" else "0")
    (GROUP / "cgroup.procs").write_text(str(os.getpid()))
    if how != "as it is":
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (BOUND, BOUND))
        command = [*UNLOCKED, *command]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
