"""`pyteamdctl -H [USER@]HOST …`: the same command there, through ssh, on one host or on several at once.

What the command reads and writes (a configuration, a trace) is there too; `config apply -` reads it from here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.cli.pyteamdctl.words import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

SSH = "ssh"
HOST = re.compile(r"(?:[\w.][\w.+-]*@)?[\w.:\[][\w.:%\[\]-]*", re.ASCII)
"""[USER@]HOST: a name, an address or one of ssh's aliases. ssh hands it to a shell where a ProxyCommand says so."""
AT_ONCE = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
"""Options for ssh with several hosts: no questions, which would mix on one terminal, and no long wait for a dead host."""
ENDLESS = ("monitor", "watch")


def run(hosts: Sequence[str], words: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Run it. Returns the exit code: with one host that of the command there, or 255 of ssh; with several the worst."""
    for host in hosts:
        if not HOST.fullmatch(host):
            err.write(f"{host!r} is no host; allowed is [USER@]HOST, as ssh takes it\n")
            return FAILED
    try:
        if len(hosts) == 1:
            out.flush()
            terminal = "-t" if sys.stdout.isatty() and "watch" in words else "-T"
            return subprocess.call(command(hosts[0], words, terminal))
        if any(word in ENDLESS for word in words):
            err.write(f"{' and '.join(ENDLESS)} look at one host at a time\n")
            return FAILED
        return several(hosts, words, out, err)
    except FileNotFoundError:
        err.write(f"{SSH} is not installed\n")
        return FAILED


def command(host: str, words: Sequence[str], *options: str) -> list[str]:
    """What is executed here."""
    return [SSH, *options, "--", host, shlex.join(["pyteamdctl", *words])]


def several(hosts: Sequence[str], words: Sequence[str], out: TextIO, err: TextIO) -> int:
    """All at once, without questions; the answers in the order of the hosts."""
    running = {
        host: subprocess.Popen(
            command(host, words, "-T", *AT_ONCE),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        for host in dict.fromkeys(hosts)
    }
    worst = OK
    told: dict[str, object] = {}
    errors: dict[str, str] = {}
    for host, process in running.items():
        answer, complaint = process.communicate()
        worst = max(worst, abs(process.returncode))  # less than 0: a signal ended it
        if JSON in words or "-J" in words:
            try:
                told[host] = json.loads(answer)
            except ValueError:
                errors[host] = complaint.strip() or "no JSON came"
                worst = max(worst, FAILED)
            continue
        out.write(f"== {host}\n{answer}")
        out.flush()
        err.write("".join(f"{host}: {line}\n" for line in complaint.splitlines()))
    if JSON in words or "-J" in words:
        out.write(json.dumps({"hosts": told, "errors": errors}, indent=2) + "\n")
    return worst
