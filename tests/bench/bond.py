"""The kernel's own bonding in the place of a daemon: what there is without one.

    bond.py --miimon MS -d -c JSON

Takes teamd's `-d -c JSON` (activebackup) and writes a pid file, so that the bench drives it like a daemon; the process that stays only
waits for SIGTERM, which ends the bond.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def main(words: list[str]) -> None:
    config = json.loads(words[words.index("-c") + 1])
    name, miimon = config["device"], words[words.index("--miimon") + 1]
    pid_file = Path(f"/run/teamd/{name}.pid")
    pid_file.parent.mkdir(exist_ok=True)

    def ip(line: str) -> None:
        subprocess.run(["ip", *line.split()], check=True)

    subprocess.run(["modprobe", "bonding", "max_bonds=0"], check=False)
    ip(f"link add {name} type bond mode active-backup miimon {miimon}")
    for port in config["ports"]:
        ip(f"link set {port} down")
        ip(f"link set {port} master {name}")
    if pid := os.fork():
        pid_file.write_text(f"{pid}\n")
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.pause()
    ip(f"link delete {name}")
    for port in config["ports"]:
        ip(f"link set {port} up")
    pid_file.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
