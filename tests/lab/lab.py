#!/usr/bin/env python3
"""Run a job on a kernel that has the team driver: this host's, user-mode Linux or QEMU.

    python3 tests/lab/lab.py run [--world auto|coupled|independent|host|uml|uml-new|kvm|qemu] [options] -- COMMAND…
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

import trial
import worlds

EXIT_NO_WORLD = 77
EXIT_TIMEOUT = 124
EXIT_GUEST_DIED = 125

GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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


@dataclass(frozen=True, slots=True)
class Ended:
    """How a guest ended: `status` is the job's, None when it did not come to report one."""

    status: int | None
    timed_out: bool
    console: str
    guest_status: int
    took_s: float


def run(job: Job) -> int:
    """Run the job, copying its output to ours; the answer is the exit status described at the top."""
    world, reason = choose(job.world)
    if not world:
        return _fail(EXIT_NO_WORLD, f"no kernel with the team driver: {reason}; tests/lab/lab.py check tells more")
    ended = _guest(job, world, (1, 2))
    if job.verbose:
        print(f"lab: {world}, {ended.took_s:.2f} s in all", file=sys.stderr)
    if ended.status is not None:
        return ended.status
    if ended.timed_out:
        command = shlex.join(job.command)
        return _fail(EXIT_TIMEOUT, f"{world}: not finished after {job.timeout_s:g} s, killed: {command}")
    why = trial.cause(ended.console, ended.guest_status)
    return _fail(
        EXIT_GUEST_DIED,
        f"{world}: the guest ended before its job did: {why}; its messages are in {_keep_console(ended, world, job.out_dir)}",
    )


def choose(wanted: str) -> tuple[str, str]:
    """The world to use and "", or "" and why there is none. `auto` is the first that works, "coupled" the first of that kind."""
    reasons = []
    for world in worlds.AUTO if wanted in ("auto", *trial.KINDS) else (wanted,):
        reason = worlds.missing(world)
        if not reason:
            answer = trial.remembered(world) or try_boot(world)
            other = wanted in trial.KINDS and answer.kind != wanted
            reason = answer.why or (f"its kernel is {answer.kind}" if other else "")
        if not reason:
            return world, ""
        reasons.append((world, reason))
    return "", trial.listed(reasons)


def try_boot(world: str) -> trial.Answer:
    """Boot the world once, with nothing but a team device to make, and remember the answer."""
    key = trial.key_of(world)
    job = Job(trial.JOB, timeout_s=trial.LIMIT_S[world])
    with tempfile.TemporaryFile() as said:
        ended = _guest(job, world, (said.fileno(), said.fileno()))
        said.seek(0)
        words = said.read().decode(errors="replace").split("\n")
    if ended.status == 0:
        answer = trial.Answer(key, kernel=words[0], kind=words[1])
    elif ended.timed_out:
        answer = trial.Answer(key, f"does not boot here within {job.timeout_s:g} s")
    elif ended.status is not None:
        answer = trial.Answer(key, f"has no team driver ({' '.join(words).strip()})")
    else:
        why = trial.cause(ended.console, ended.guest_status)
        answer = trial.Answer(
            key, f"does not boot here: {why}; its messages are in {_keep_console(ended, world, None)}"
        )
    trial.remember(world, answer)
    return answer


def _guest(job: Job, world: str, streams: tuple[int, int]) -> Ended:
    """Boot, run the job with its output copied to these two descriptors, end the guest."""
    with tempfile.TemporaryDirectory(prefix="lab.") as name:
        ctl = Path(name)
        out_dir = (job.out_dir or ctl / "out").resolve()
        out_dir.mkdir(parents=True, exist_ok=True)
        _write_control(job, world, ctl, out_dir)
        _compile()
        started_s = time.monotonic()
        timed_out, guest_status = _boot(job, world, ctl, out_dir, streams)
        took_s = time.monotonic() - started_s
        if job.out_dir:
            shutil.copyfile(ctl / "console", job.out_dir / "console.log")
        status, text = ctl / "status", ""
        if status.exists():
            text = status.read_text().strip()
        console = (ctl / "console").read_text(errors="replace")
        return Ended(int(text) if text.isdigit() else None, timed_out, console, guest_status, took_s)


def _keep_console(ended: Ended, world: str, out_dir: Path | None) -> Path:
    """Keep the guest's console output. Returns where it can be read."""
    if out_dir:
        return out_dir / "console.log"
    for directory in (worlds.REPO / "build", Path(tempfile.gettempdir())):
        try:
            directory.mkdir(exist_ok=True)
            file = directory / f"console-{world}.log"
            file.write_text(ended.console)
        except OSError:
            continue
        return file
    return Path("nowhere: no directory can be written")


def _write_control(job: Job, world: str, ctl: Path, out_dir: Path) -> None:
    answer = trial.remembered(world)
    settings = {
        "LAB_REPO": worlds.REPO,
        "LAB_OUT_DIR": out_dir,
        "LAB_MODULES": worlds.modules_dir(world) or "",
    }
    # A whole Debian runs what is installed in it, on its own Python; the repository is only looked at.
    own = "" if world in worlds.WHOLE else f"{worlds.REPO}/.venv/bin:"
    env = {
        "PATH": f"{own}{GUEST_PATH}",
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        # The job's output is a terminal line in the guests; colour only when ours is a terminal too.
        "TERM": os.environ.get("TERM", "dumb") if sys.stdout.isatty() else "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "LAB_WORLD": world,
        "LAB_KIND": answer.kind if answer else "",
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


def _boot(job: Job, world: str, ctl: Path, out_dir: Path, streams: tuple[int, int]) -> tuple[bool, int]:
    """Start the guest and copy its output until it ends: whether its time was up, and its exit status. Leaves no process."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    _adopt_orphans()
    boot = worlds.Boot(ctl, out_dir, job.cpus, job.mem_mb, job.counted, out_write, err_write)
    launch = worlds.launch(world, boot)
    in_host = world == "host"
    with open(ctl / "console", "wb") as console, _signals_as_exceptions():
        guest = subprocess.Popen(
            launch.argv,
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out_write if in_host else console,
            stderr=err_write if in_host else console,
            env={"PATH": os.environ.get("PATH", "") + ":" + GUEST_PATH, "HOME": "/tmp", **launch.env},
            pass_fds=(out_write, err_write),
            start_new_session=True,
        )
        os.close(out_write)
        os.close(err_write)
        guard = _guard(guest.pid, ctl)
        try:
            routes = dict(zip((out_read, err_read), streams, strict=True))
            in_time = _copy(guest, routes, time.monotonic() + job.timeout_s)
        finally:
            guard.kill()
            guard.wait()
            _end(guest.pid)
            guest.wait()
            os.close(out_read)
            os.close(err_read)
        return not in_time, guest.returncode


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
        for each in numbers:  # a second one must not end what ends the guest
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(code: int, message: str) -> int:
    print(f"lab: {message}", file=sys.stderr)
    return code


def _check() -> int:
    """Boot every world, print for each whether it ran and else why not; 0 when tests can (`auto` finds one)."""
    ran = []
    for world in worlds.WORLDS:
        reason = worlds.missing(world)
        if reason:
            print(f"{world}: did not run: {reason}; type: {trial.what_to_type(world)}", flush=True)
            continue
        answer = try_boot(world)
        if answer.why:
            print(f"{world}: did not run: {answer.why}", flush=True)
            continue
        ran.append(world)
        print(f"{world}: ran, Linux {answer.kernel}, {answer.kind}", flush=True)
    first = {wanted: choose(wanted)[0] or "none" for wanted in ("auto", *trial.KINDS)}
    print(*(f"{wanted}: {world}" for wanted, world in first.items()), sep=", ")
    print(f"this processor has {'AMX' if trial.has_amx() else 'no AMX'}")
    return 0 if ran else EXIT_NO_WORLD


def _kinds() -> int:
    """For programs: which kernels jobs can run on. Boots only what never booted here."""
    for kind in trial.KINDS:
        world, reason = choose(kind)
        answer = trial.remembered(world) if world else None
        print("\t".join([kind, world, answer.kernel if answer else reason]))
    return 0


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="lab.py", description="Run a job on a kernel with the team driver.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="boot each world once; say which ran, and why not the others")
    verbs.add_parser(
        "kinds", help="one line for each kind of kernel: kind, world, release; or kind and why there is none"
    )
    runs = verbs.add_parser("run", help="run COMMAND in a world, with the repository as current directory")
    add = runs.add_argument
    kinds = "coupled, independent: the first whose driver has one switch for a port, or one for each direction (rx_enabled, tx_enabled)"
    choices = ("auto", *trial.KINDS, *worlds.WORLDS)
    add("--world", choices=choices, default="auto", help=f"auto (default): the first that boots here; {kinds}")
    add("--cpus", type=int, default=1, help="qemu only (default 1)")
    add("--counted", action="store_true", help="one CPU; where this is qemu, the clock counts instructions")
    add("--mem", type=int, default=1024, metavar="MIB", help="memory of a guest (default 1024)")
    add("--timeout", type=float, default=900.0, metavar="S", help="kill it after S seconds (default 900)")
    add("--out", type=Path, metavar="DIR", help="keep the job's $LAB_OUT and the console log here")
    add("--env", type=_assignment, action="append", default=[], metavar="NAME=VALUE")
    add("-v", "--verbose", action="store_true", help="say what ran and how long")
    add("command", nargs="+", metavar="COMMAND")
    args = parser.parse_args(argv)
    if args.verb == "check":
        return _check()
    if args.verb == "kinds":
        return _kinds()
    if args.counted and (args.world not in ("qemu", "auto", *trial.KINDS) or args.cpus != 1):
        parser.error("--counted needs --world qemu, or one that may be qemu, and one CPU")
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
