"""`session_leader.py SLAVE TELL COMMAND…`: leads the session of a terminal as a shell does, with the command as its foreground job.

A program of its own: a test has threads, and they forbid to fork. It writes the job's number, and each of its statuses, to TELL.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from collections.abc import Sequence


def main(slave: int, tell: int, command: Sequence[str]) -> None:
    """Lead, until the job has ended."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    job = os.fork()
    if not job:
        begin(slave, command)
    os.close(slave)
    os.write(tell, job.to_bytes(4, "little"))
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        os.write(tell, status.to_bytes(4, "little"))
        if not os.WIFSTOPPED(status):
            return


def begin(slave: int, command: Sequence[str]) -> None:
    """The job: a process group of its own, in the foreground."""
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(slave, os.getpid())
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)
        for fd in range(3):
            os.dup2(slave, fd)
        os.set_inheritable(slave, False)
        os.execvp(command[0], command)
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
