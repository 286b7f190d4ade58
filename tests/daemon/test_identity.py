"""Who is a daemon, and whose: by what the kernel keeps for its life, never by a number or a word alone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import Lab, quiet
from trio import sleep

from pyteamd.daemon import pid_file
from pyteamd.daemon.control.usock import Usock
from pyteamd.daemon.device_lock import NAME, DeviceLock, Served, holder, listening_at
from pyteamd.daemon.pid_file import PidFile, holds, running
from pyteamd.daemon.privileges import lock_memory
from pyteamd.daemon.process import check, kill
from pyteamd.daemon.team_server import NAMES_INTERVAL_S
from pyteamd.kernel.framing import Message
from pyteamd.kernel.sockets import RequestSocket
from pyteamd.kernel.unix_sockets import listening

LOG = logging.getLogger("test_identity")
IFINDEX = 0x7FFF0000 + os.getpid() % 0xFFFF
"""No device has it."""
SLEEP = "import sys, time; print('there', flush=True); time.sleep(60)"


@contextmanager
def process(*command: str, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that says when it is there."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "there\n"
        try:
            yield started
        finally:
            started.kill()


def teamd(directory: Path, *words: str) -> tuple[str, ...]:
    """What the kernel takes for a program called teamd."""
    program = directory / "teamd"
    program.unlink(missing_ok=True)
    shutil.copy("/bin/sh", program)  # a script would have its interpreter's command line
    return (str(program), "-c", "echo there; read line", *words)


STRANGERS = {
    "an editor": ("vi", "/etc/teamd.conf"),
    "journalctl": ("journalctl", "-fu", "teamd@team0"),
    "another Python": ("pyteamd", "-t", "team0"),
}


@pytest.mark.parametrize("words", STRANGERS.values(), ids=STRANGERS)
def test_a_process_that_speaks_of_teamd_is_no_daemon(
    tmp_path: Path, words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "team0.pid"
    with process(sys.executable, "-c", SLEEP, *words) as stranger:
        path.write_text(f"{stranger.pid}\n")
        assert check(str(path), LOG) == 1
        path.write_text(f"{stranger.pid}\n")
        assert kill(str(path), LOG, timeout_s=0.1) == 1
        assert stranger.poll() is None, "it lives"
    assert not path.exists()


@pytest.mark.parametrize("kind", ["fifo", "endless", "directory", "itself", "device", "null", "socket", "another's"])
def test_what_is_no_pid_file_holds_nobody_up_and_stays(tmp_path: Path, kind: str) -> None:
    """`-p /dev/null` once removed the device, and `-k -p team0.conf` the configuration."""
    path = tmp_path / "team0.pid"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "itself":
            path.symlink_to(path)
        case "device" | "null":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7 if kind == "device" else 3))
            except PermissionError:
                pytest.skip("may not make devices")
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case _:
            path.write_text('{"device": "team0", "runner": {"name": "activebackup"}, "ports": {"eth1": {}}}\n')
    before = path.lstat()
    assert check(str(path), LOG) == 1
    assert kill(str(path), LOG, timeout_s=0.1) == 1
    ours = PidFile(str(path))
    with pytest.raises(FileExistsError):
        ours.create()
    with suppress(OSError):
        ours.restore()
    ours.remove()
    assert os.path.samestat(path.lstat(), before)
    assert os.listdir(tmp_path) == [path.name]


def test_our_own_number_is_stale(tmp_path: Path) -> None:
    """PID 1 of a container is so again after a crash."""
    path = tmp_path / "team0.pid"
    path.write_text(f"{os.getpid()}\n")
    assert running(str(path), LOG) == 0
    ours = PidFile(str(path))
    ours.create()
    assert path.read_text() == f"{os.getpid()}\n"
    ours.remove()


def test_a_lock_that_anybody_may_take_makes_no_daemon(tmp_path: Path) -> None:
    """Every user who may read the file may lock it; that neither keeps us from starting nor has a stranger ended."""
    path = tmp_path / "team0.pid"
    with process(sys.executable, "-c", SLEEP) as stranger, path.open("w+") as file:
        path.write_text(f"{stranger.pid}\n")
        with path.open() as reader:
            fcntl.flock(reader, fcntl.LOCK_EX)
            assert running(str(path), LOG) == 0
        assert stranger.poll() is None
        file.close()


def test_teamd_itself_is_believed_but_not_another_teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pid_file, "RUN_DIR", (str(tmp_path),))
    path = tmp_path / "team0.pid"
    for team, believed in (("team0", True), ("team1", False)):
        with process(*teamd(tmp_path, "-t", team)) as daemon:
            path.write_text(f"{daemon.pid}\n")
            assert running(str(path), LOG) == (daemon.pid if believed else 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_a_process_of_a_user_that_calls_itself_teamd_is_none(tmp_path: Path) -> None:
    """The number of a daemon that crashed is anybody's after a while."""
    words = ("teamd", "-c", "printf teamd >/proc/self/comm; echo there; read line")
    for user, believed in ((65534, 0), (0, 1)):
        with process(*words, executable="/bin/sh", user=user) as other:
            (tmp_path / "pid").write_text(f"{other.pid}\n")
            assert running(f"{tmp_path}/pid", LOG) == believed * other.pid
            assert (tmp_path / "pid").exists() == bool(believed)


def test_a_daemon_holds_its_file_though_its_clients_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that is closed between two looks proves nothing about the others."""
    ours = PidFile(f"{tmp_path}/team0.pid")
    ours.create()
    there = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: ["1023", *there(path)])
    assert holds(os.getpid(), ours.path)
    ours.remove()


def test_nobody_else_can_lock_our_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can read a file can lock it; so nobody can until it is ours."""
    modes = []
    flock = fcntl.flock

    def looks(descriptor: int, how: int) -> None:
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", looks)
    ours = PidFile(f"{tmp_path}/team0.pid")
    ours.create()
    assert modes == [0o600]
    assert os.stat(ours.path).st_mode & 0o777 == 0o644
    ours.remove()


def test_kill_ends_the_process_that_holds_the_file(tmp_path: Path) -> None:
    body = "import sys, time; from pyteamd.daemon.pid_file import PidFile; PidFile(sys.argv[1]).create(); "
    with process(sys.executable, "-c", body + SLEEP, f"{tmp_path}/pid") as daemon:
        assert check(f"{tmp_path}/pid", LOG) == 0
        assert kill(f"{tmp_path}/pid", LOG, timeout_s=10) == 0
        assert daemon.wait(60) == -signal.SIGTERM
    assert check(f"{tmp_path}/pid", LOG) == 1


# -- the device --------------------------------------------------------------------------------------------------------


def test_one_daemon_for_a_device() -> None:
    lock = DeviceLock(IFINDEX)
    with pytest.raises(Served, match=f"the daemon with PID {os.getpid()} serves it"):
        DeviceLock(IFINDEX)
    DeviceLock(IFINDEX + 1).close()
    lock.close()
    DeviceLock(IFINDEX).close()


def test_the_lock_goes_with_its_process() -> None:
    body = f"from pyteamd.daemon.device_lock import DeviceLock; lock = DeviceLock({IFINDEX}); "
    with process(sys.executable, "-c", body + SLEEP) as other:
        assert holder(IFINDEX) == other.pid
        with pytest.raises(Served):
            DeviceLock(IFINDEX)
    DeviceLock(IFINDEX).close()


def test_who_connects_without_end_does_not_hide_who_holds_the_lock() -> None:
    """Everybody may connect to an abstract name; the next daemon has to be told all the same whose it is."""
    lock, crowd = DeviceLock(IFINDEX), []
    try:
        for _ in range(10):
            crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            with suppress(BlockingIOError):
                crowd[-1].connect(NAME.format(IFINDEX))
        assert holder(IFINDEX) == os.getpid()
        with pytest.raises(Served, match=str(os.getpid())):
            DeviceLock(IFINDEX)
    finally:
        lock.close()
        for one in crowd:
            one.close()


@pytest.mark.parametrize("own", [b"\xff\xfe", b"short\nx", b"a row\n0: 00000002 00000000 00010000 0001 01 {inode}"])
def test_what_others_call_their_sockets_is_not_believed(own: bytes) -> None:
    """Anybody may use any octets for an abstract name, those of another row of /proc/net/unix too."""
    ours = NAME.format(IFINDEX).encode()
    with DeviceLock(IFINDEX)._socket as lock, socket.socket(socket.AF_UNIX) as odd:
        inode = os.fstat(lock.fileno()).st_ino
        forged = own.replace(b"{inode}", str(os.fstat(odd.fileno()).st_ino).encode())
        odd.bind(b"\0" + forged + b" @" + ours[1:])
        odd.listen(1)
        assert listening(ours, (0, os.geteuid())) == {inode}
        assert listening_at(NAME.format(IFINDEX)) == os.getpid()


@pytest.mark.parametrize("octets", [bytes(16), bytes(32) + b"\xff\xff\0\0", bytes(32) + b"\2\0\0\0"])
def test_a_kernel_that_answers_nonsense_tells_of_nobody(octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestSocket, "dump", lambda asked, request: [Message(20, 0, 1, octets)])
    with pytest.raises(OSError, match="attribute"):
        listening(b"any", (0,))
    assert listening_at("any") is None


FULL = f"""s.listen(0)
crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(9)]
assert any([one.connect_ex({NAME.format(IFINDEX)!r}) for one in crowd])
"""
"""Nobody can connect any more: whose it is has to be asked of the kernel."""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("then", ["s.listen(1)\n", "", FULL, f"{FULL}os.setresuid(0, 0, 0)\n"])
def test_a_name_that_a_user_took_proves_nothing(then: str) -> None:
    """Nor does the name of a process that looks like a line of its status, or that the user's socket is open in a process of root."""
    body = f"""import os, socket
open("/proc/self/comm", "w").write("\\fUid:\\t0\\t0\\t0")
os.setresuid(65534, 65534, {0 if "setresuid" in then else 65534})
s = socket.socket(socket.AF_UNIX)
s.bind({NAME.format(IFINDEX)!r})
"""
    with (
        process(sys.executable, "-c", body + then + SLEEP),
        pytest.raises(OSError, match="Address already in use"),
    ):
        DeviceLock(IFINDEX)


async def test_a_second_daemon_is_refused_and_touches_nothing(lab: Lab) -> None:
    first = await lab.start(lab.plan(exclusive=True))
    await quiet()
    lab.kernel.performed.clear()
    for settings in ({"take_over": True}, {"recreate": True}):
        second = await lab.start(lab.plan(exclusive=True, usock_path=None, **settings))
        assert second.failure is not None
        assert re.fullmatch(r"team0: the daemon with PID \d+ serves it\.", str(second.failure))
        assert lab.kernel.performed == []
        assert lab.has("team0")
    assert not first.ended.is_set()


async def test_the_device_is_free_when_its_daemon_has_ended(lab: Lab) -> None:
    assert await (await lab.start(lab.plan(exclusive=True))).stop() == 0
    assert (await lab.start(lab.plan(exclusive=True))).failure is None


# -- names that are removed -------------------------------------------------------------------------------------------


async def test_pid_file_and_socket_are_made_again(lab: Lab) -> None:
    directory = lab.directory / "run"
    directory.mkdir()
    ours = PidFile(f"{directory}/team0.pid")
    ours.create()
    daemon = await lab.start(lab.plan(usock_path=f"{directory}/team0.sock", pid_file=ours))
    with await daemon.connect() as client:
        shutil.rmtree(directory)
        await sleep(NAMES_INTERVAL_S + 0.1)
        assert sorted(os.listdir(directory)) == ["team0.pid", "team0.sock"]
        assert [line for line in daemon.lines if "was removed or replaced; it is there again" in line] != []
        assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1", "a new client"
        await client.send(b"REQUEST\nStateItemValueGet\nrunner.active_port\n")
        assert await client.recv(100) == b"REPLY_SUCCESS\neth1", "and an old one"
    assert await daemon.stop() == 0
    assert os.listdir(directory) == ["team0.pid"]
    ours.remove()


async def test_a_rivals_socket_stays(lab: Lab) -> None:
    daemon = await lab.start()
    os.unlink(daemon.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rival:
        rival.bind(daemon.path)
        rival.listen()
        await sleep(NAMES_INTERVAL_S + 0.1)
        assert [line for line in daemon.lines if "there again" in line] == []
        os.unlink(daemon.path)


@pytest.mark.parametrize("kind", ["copy", "file", "dangling", "nobody's socket"])
async def test_what_is_nobodys_gives_way(lab: Lab, kind: str) -> None:
    """A backup that was put back, an editor that replaced the file, a link to nowhere: `-k` and clients find us all the same."""
    directory = lab.directory / "run"
    directory.mkdir()
    ours = PidFile(f"{directory}/team0.pid")
    ours.create()
    daemon = await lab.start(lab.plan(usock_path=f"{directory}/team0.sock", pid_file=ours))
    for path, text in ((Path(ours.path), f"{os.getpid()}\n"), (Path(daemon.path), "")):
        path.unlink()
        match kind:
            case "copy":
                path.write_text(text)
            case "file":
                path.write_text("4194304\n")
            case "dangling":
                path.symlink_to("nowhere")
            case _:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
                    left.bind(str(path))
    await sleep(NAMES_INTERVAL_S + 0.1)
    assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1"
    if kind in ("copy", "file"):
        assert holds(os.getpid(), ours.path)
        assert pid_file.read(ours.path) == f"{os.getpid()}\n".encode()
    assert await daemon.stop() == 0
    assert "team0.sock" not in os.listdir(directory)
    ours.remove()


async def test_a_run_directory_that_is_gone_for_good_costs_no_port(lab: Lab) -> None:
    """Nothing can be written any more: no pid file, no socket, no snapshot, no unconfirmed configuration."""
    directory = lab.directory / "run"
    directory.mkdir()
    ours = PidFile(f"{directory}/team0.pid")
    ours.create()
    lacp = {"runner": {"name": "lacp"}, "ports": {"eth1": {}, "eth2": {}}}
    names = {"usock_path": f"{directory}/team0.sock", "pid_file": ours, "snapshot_stem": f"{directory}/team0"}
    daemon = await lab.start(lab.plan(lacp, **names))
    with await daemon.connect() as client:
        shutil.rmtree(directory)
        directory.write_text("")
        await sleep(2 * NAMES_INTERVAL_S)
        lab.cut("eth1")
        await sleep(1)
        text = json.dumps({**lacp, "ports": {"eth1": {}, "eth2": {"lacp_prio": 9}}})
        await client.send(f"REQUEST\nConfigApply\n{text}\nconfirm 60\n".encode())
        reply = await client.recv(10000)
        assert b"what is in force cannot be kept for taking it back: Not a directory" in reply
        await client.send(f"REQUEST\nConfigApply\n{text}\napply\n".encode())
        assert b'"applied": true' in await client.recv(10000)
    assert len([line for line in daemon.lines if "a restart will interrupt traffic" in line]) == 1
    assert not daemon.ended.is_set()
    directory.unlink()
    directory.mkdir()
    await sleep(NAMES_INTERVAL_S + 0.1)
    assert {"team0.pid", "team0.sock"} <= set(os.listdir(directory))
    assert await daemon.stop() == 0
    ours.remove()


def test_what_a_process_with_our_number_left_half_made(tmp_path: Path) -> None:
    """PID 1 of a container, killed between two steps of its start."""
    (tmp_path / f"team0.sock.{os.getpid()}").touch()
    Usock(f"{tmp_path}/team0.sock", LOG).close()
    assert os.listdir(tmp_path) == []


# -- privileges --------------------------------------------------------------------------------------------------------

DROPPED = """
import logging, os, sys, threading
from pyteamd.daemon import privileges
privileges.drop(logging.getLogger())
privileges.drop(logging.getLogger())
def show():
    status = dict(line.split(":\\t") for line in open("/proc/thread-self/status").read().splitlines() if ":\\t" in line)
    print(status["CapPrm"], status["CapEff"], status["CapBnd"], status["CapInh"], status["NoNewPrivs"], flush=True)
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
os.system("grep Cap[PE] /proc/self/status | cut -f2 | tr '\\n' ' '")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_root_keeps_three_capabilities_and_nothing_it_executes_gets_more() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True, timeout=20)
    kept = int(re.search(r"CapEff:\t(\w+)", Path("/proc/self/status").read_text())[1], 16) & 0x803000  # type: ignore[index]
    word = f"{kept:016x}"
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"{word} {word} {word} {0:016x} 1"] * 2
    assert lines[2].split() == [word, word]
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_who_has_no_privileges_has_none_to_drop() -> None:
    nobody = "import ctypes, os; from pyteamd.daemon import privileges; os.setuid(65534)\n"
    done = subprocess.run(
        [sys.executable, "-c", nobody + DROPPED], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split()[0] == f"{0:016x}"
    assert done.stderr == ""


LOCKED = """
import mmap, resource
from pathlib import Path
def kib(name):
    return int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0])
before = kib("VmRSS")
mapped = mmap.mmap(-1, 64 << 20)
print(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY, kib("VmLck") > 0, kib("VmRSS") - before)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize(
    "bounded", ["", "resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 23,) * 2); os.setuid(65534)\n"]
)
def test_memory_is_locked_where_nothing_bounds_it_and_what_is_not_used_takes_none(bounded: str) -> None:
    """A bound that cannot be lifted stays one: behind it every further allocation would be refused."""
    imports = "import ctypes, mmap, os, pathlib, resource\nfrom pyteamd.daemon import privileges\n"
    script = f"{imports}{bounded}{DROPPED}{LOCKED}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    free, locked, grown_kib = done.stdout.split()[-3:]
    assert locked == free, done.stdout
    assert not bounded or locked == "False", done.stdout
    assert int(grown_kib) < 4096, done.stdout


@pytest.mark.parametrize(
    ("limit", "answer", "locked", "asked"),
    [
        (resource.RLIM_INFINITY, 0, True, ["0x7"]),
        (resource.RLIM_INFINITY, -1, False, ["0x7"]),
        (1 << 23, 0, False, []),
    ],
)
def test_memory_is_locked_only_where_there_is_no_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, answer: int, locked: bool, asked: list[str]
) -> None:
    calls: list[str] = []

    class Library:
        def mlockall(self, flags: int) -> int:
            calls.append(hex(flags))
            return answer

    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert lock_memory(Library(), "x86_64") is locked
    assert calls == asked
    lock_memory(Library(), "ppc64le")
    assert calls == asked + (["0xe000"] if asked else [])
