"""A process that has imported what a daemon needs and waits: each daemon a test asks for is a fork of it.

In user-mode Linux the imports of `python -m pyteamd` take seconds, more than what most tests do afterwards. From the first look at the
arguments on it is the program itself, in the namespaces of the shell of the bench; that the real command starts, and what it imports,
is the matter of test_daemon_starts.py and test_daemon_real.py.

    python nursery.py pyteamd      one request and one answer a line, JSON
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0
NAMESPACES = ("net", "mnt")
PROGRAMS = {
    "pyteamd": "pyteamd.cli.pyteamd.main",
    "teamd": "pyteamd.cli.pyteamd.main",
    "pyteamdctl": "pyteamd.cli.pyteamdctl.main",
}
MODULES = (
    *("cli.pyteamd.run", "schema.text", "schema.problems", "schema.json_text"),
    *("daemon.control", "daemon.pid_file", "client.connection"),
)
PACKAGES = ("linkwatch", "runners")


class Nursery:
    """The tests' side."""

    def __init__(self) -> None:
        # The word pyteamd is in its command line, and so in its children's: those who look for daemons look there.
        words = [sys.executable, "-B", "-W", "error", __file__, "pyteamd"]
        self._process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, shell_pid: int, program: str, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Run `pyteamd ARGUMENTS`, or another of PROGRAMS, beside a shell; exit status and what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([shell_pid, program, *arguments]), file=self._process.stdin, flush=True)
        status, out, err = json.loads(self._process.stdout.readline())
        return status, out, err

    def close(self) -> None:
        """End it; its daemons live on."""
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def serve() -> None:
    """Fork for each line, until there are no more."""
    for name in (*PROGRAMS.values(), *(f"pyteamd.{module}" for module in MODULES)):
        importlib.import_module(name)
    for package in PACKAGES:
        for found in pkgutil.walk_packages(
            importlib.import_module(f"pyteamd.{package}").__path__, f"pyteamd.{package}."
        ):
            importlib.import_module(found.name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        shell_pid, *words = json.loads(line)
        print(json.dumps(delivered(shell_pid, words)), flush=True)


def delivered(shell_pid: int, words: list[str]) -> tuple[int, str, str]:
    """One child, waited for."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            become(shell_pid, words, out.fileno(), err.fileno())
        _, status = os.waitpid(child, 0)
        texts: list[Any] = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
        return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def become(shell_pid: int, words: list[str], out: int, err: int) -> None:
    """In the child: the program, its standard streams, its place. Does not return, nor does the daemon it forks."""
    code = 70
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        for kind in NAMESPACES:
            there = os.open(f"/proc/{shell_pid}/ns/{kind}", os.O_RDONLY)
            if libc.setns(there, 0):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(there)
        os.chdir(ROOT)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, source in enumerate((null, out, err)):
            os.dup2(source, descriptor)
        sys.argv = words
        code = sys.modules[PROGRAMS[words[0]]].main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
