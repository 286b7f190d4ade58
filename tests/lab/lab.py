#!/usr/bin/env python3
"""Run a job on a kernel that has the team driver: this host's, user-mode Linux or QEMU.

    python3 tests/lab/lab.py run [--world auto|host|uml|qemu] [options] -- COMMAND…
    python3 tests/lab/lab.py check

The job runs as root with the repository (read-only in a guest) as its current directory, and with a network,
/run, /tmp and /dev/shm of its own. Its output arrives live on our stdout and stderr; its exit status becomes
ours. $LAB_OUT is the one directory whose files remain (`--out`).

How it works: a control directory carries the job in as a shell script and its exit status out (see guest-init).
The guest is a child in a process group of its own; both its output streams come through pipes that this process
copies. When the guest has ended, or its time is up, the whole group is killed and the status file is read: a
guest that died early has not written one.

Exit status, besides the job's own: 77 no such world here, 124 time is up, 125 the guest ended before its job.
Each of the three comes with one line on stderr that starts with "lab:".
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import worlds

EXIT_NO_WORLD = 77
EXIT_TIMEOUT = 124
EXIT_GUEST_DIED = 125

GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOG_LINES_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Job:
    """One command and where to run it. `env` is added to the job's environment, which is otherwise fixed."""

    command: Sequence[str]
    world: str = "auto"
    cpus: int = 1
    counted: bool = False
    mem_mb: int = 1024
    timeout_s: float = 900.0
    out_dir: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    verbose: bool = False


def run(job: Job) -> int:
    """Run the job, copying its output to ours; the answer is the exit status described at the top."""
    world, reason = choose(job.world)
    if not world:
        hint = "tests/lab/setup.sh installs them (lab: uml, bench: qemu)"
        return _fail(EXIT_NO_WORLD, f"no kernel with the team driver: {reason}; {hint}")
    with tempfile.TemporaryDirectory(prefix="lab.") as name:
        ctl = Path(name)
        out_dir = (job.out_dir or ctl / "out").resolve()
        out_dir.mkdir(parents=True, exist_ok=True)
        _write_control(job, world, ctl, out_dir)
        _compile()
        started_s = time.monotonic()
        timed_out = _boot(job, world, ctl, out_dir)
        if job.verbose:
            print(f"lab: {world}, {time.monotonic() - started_s:.2f} s in all", file=sys.stderr)
        return _outcome(job, world, ctl, timed_out=timed_out)


def choose(wanted: str) -> tuple[str, str]:
    """The world to use and "", or "" and why there is none. `auto` is the host, else UML."""
    candidates = ("host", "uml") if wanted == "auto" else (wanted,)
    reasons = []
    for world in candidates:
        reason = worlds.missing(world)
        if not reason:
            return world, ""
        reasons.append(f"{world}: {reason}")
    return "", "; ".join(reasons)


def _write_control(job: Job, world: str, ctl: Path, out_dir: Path) -> None:
    settings = {
        "LAB_REPO": worlds.REPO,
        "LAB_OUT_DIR": out_dir,
        "LAB_MODULES": worlds.modules_dir(world) or "",
    }
    env = {
        "PATH": f"{worlds.REPO}/.venv/bin:{GUEST_PATH}",
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        # The job's output is a terminal line in the guests; colour only when ours is a terminal too.
        "TERM": os.environ.get("TERM", "dumb") if sys.stdout.isatty() else "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "LAB_WORLD": world,
        "LAB_OUT": "/run/lab/out",
        **job.env,
    }
    if world == "host":
        env["PYTHONUNBUFFERED"] = "1"  # in a guest the job writes to a terminal line, here to a pipe
    else:
        env["MODPROBE_OPTIONS"] = "-d /run/lab"
    script = [
        f"cd {shlex.quote(str(worlds.REPO))}",
        shlex.join(["exec", "env", "-i", *(f"{name}={value}" for name, value in env.items()), *job.command]),
    ]
    (ctl / "run").mkdir()  # a place for guest-init to mount on
    (ctl / "job").write_text("\n".join(script) + "\n")
    (ctl / "settings").write_text("".join(f"{k}={shlex.quote(str(v))}\n" for k, v in settings.items()))


def _compile() -> None:
    """Refresh the repository's byte code: the guest cannot write any, and compiling there is slow."""
    python = worlds.REPO / ".venv/bin/python"
    sources = [name for name in ("pyteamd", "runners", "linkwatch", "tests") if (worlds.REPO / name).is_dir()]
    if python.exists() and sources:
        compile_all = [str(python), "-m", "compileall", "-q", *sources]
        # A file that does not compile is the job's to report.
        subprocess.run(compile_all, cwd=worlds.REPO, capture_output=True, check=False)


def _boot(job: Job, world: str, ctl: Path, out_dir: Path) -> bool:
    """Start the guest and copy its output until it ends; true when its time was up. Leaves no process."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    _adopt_orphans()
    boot = worlds.Boot(ctl, out_dir, job.cpus, job.mem_mb, job.counted, out_write, err_write)
    argv, env = worlds.command(world, boot)
    in_host = world == "host"
    with open(ctl / "console", "wb") as console, _signals_as_exceptions():
        guest = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out_write if in_host else console,
            stderr=err_write if in_host else console,
            env={"PATH": os.environ.get("PATH", "") + ":" + GUEST_PATH, "HOME": "/tmp", **env},
            pass_fds=(out_write, err_write),
            start_new_session=True,
        )
        os.close(out_write)
        os.close(err_write)
        guard = _guard(guest.pid, ctl)
        try:
            return not _copy(guest, {out_read: 1, err_read: 2}, time.monotonic() + job.timeout_s)
        finally:
            guard.kill()
            guard.wait()
            _end(guest.pid)
            guest.wait()
            os.close(out_read)
            os.close(err_read)


def _guard(group: int, ctl: Path) -> subprocess.Popen[bytes]:
    """A process that cleans up when we end without having done so: even our SIGKILL closes its stdin."""
    command = ["sh", "-c", f"read -r _ || {{ kill -s KILL -- -{group}; rm -rf {shlex.quote(str(ctl))}; }}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _end(group: int) -> None:
    """Kill every process of the group and wait for it, orphans included: they are ours, see _adopt_orphans."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs (prctl 36, PR_SET_CHILD_SUBREAPER): UML leaves some."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _copy(guest: subprocess.Popen[bytes], routes: Mapping[int, int], deadline_s: float) -> bool:
    """Copy the pipes' content to our own streams until the guest ends (true) or its time is up (false)."""
    guest_fd = os.pidfd_open(guest.pid)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, guest_fd)
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(guest_fd, selectors.EVENT_READ)
        for source in routes:
            os.set_blocking(source, False)
            selector.register(source, selectors.EVENT_READ)
        ended = False
        while not ended:
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline_s - time.monotonic()))}
            ended = guest_fd in ready
            for source in routes:
                if source in ready and not _forward(source, routes[source]):
                    selector.unregister(source)
            if not ended and time.monotonic() >= deadline_s:
                return False
        for source, target in routes.items():
            while _forward(source, target):
                pass
    return True


def _forward(source: int, target: int) -> bool:
    """Move what is there now; false when there was nothing (end of file, or nothing yet)."""
    try:
        piece = os.read(source, 1 << 16)
    except BlockingIOError:
        return False
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
    return bool(piece)


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """A signal that ends us must end the guest first: let it unwind the stack."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcome(job: Job, world: str, ctl: Path, *, timed_out: bool) -> int:
    log = (ctl / "console").read_text(errors="replace").splitlines()
    if job.out_dir:
        shutil.copyfile(ctl / "console", job.out_dir / "console.log")
    status = ctl / "status"
    if status.exists() and (text := status.read_text().strip()).isdigit():
        return int(text)
    if job.verbose or not timed_out:
        print(*log[-LOG_LINES_SHOWN:], sep="\n", file=sys.stderr)
    if timed_out:
        command = shlex.join(job.command)
        return _fail(EXIT_TIMEOUT, f"{world}: not finished after {job.timeout_s:g} s, killed: {command}")
    return _fail(EXIT_GUEST_DIED, f"{world}: the guest ended before its job did; its last messages are above")


def _fail(code: int, message: str) -> int:
    print(f"lab: {message}", file=sys.stderr)
    return code


def _check() -> int:
    """Print which worlds can run here; 0 when tests can (`auto` finds one)."""
    for world in worlds.WORLDS:
        print(f"{world}: {worlds.missing(world) or 'ready'}")
    return 0 if choose("auto")[0] else EXIT_NO_WORLD


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="lab.py", description="Run a job on a kernel with the team driver.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="say which worlds can run here and what the others miss")
    runs = verbs.add_parser("run", help="run COMMAND in a world, with the repository as current directory")
    add = runs.add_argument
    add("--world", choices=("auto", *worlds.WORLDS), default="auto", help="auto (default): host, else uml")
    add("--cpus", type=int, default=1, help="qemu only (default 1)")
    add("--counted", action="store_true", help="qemu with one CPU only: the clock counts instructions")
    add("--mem", type=int, default=1024, metavar="MIB", help="memory of a guest (default 1024)")
    add("--timeout", type=float, default=900.0, metavar="S", help="kill it after S seconds (default 900)")
    add("--out", type=Path, metavar="DIR", help="keep the job's $LAB_OUT and the console log here")
    add("--env", type=_assignment, action="append", default=[], metavar="NAME=VALUE")
    add("-v", "--verbose", action="store_true", help="say what ran and how long")
    add("command", nargs="+", metavar="COMMAND")
    args = parser.parse_args(argv)
    if args.verb == "check":
        return _check()
    if args.counted and (args.world != "qemu" or args.cpus != 1):
        parser.error("--counted needs --world qemu and one CPU")
    return run(
        Job(
            command=args.command,
            world=args.world,
            cpus=args.cpus,
            counted=args.counted,
            mem_mb=args.mem,
            timeout_s=args.timeout,
            out_dir=args.out,
            env=dict(args.env),
            verbose=args.verbose,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
