"""What may befall a daemon, on the real driver: each time the ports are served afterwards, and nobody else is harmed.

The quick ones run in `make test`, the others with PYTEAMD_LONG=1. SIGKILL under traffic is in test_lacp_crashes.py, more of what a peer
may send in test_hostile_frames.py, a long time in test_soak.py.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from daemon_process import (
    ACTIVE_BACKUP,
    PID_FILE,
    SOCKET,
    TEXT,
    Foreground,
    ip,
    item,
    links,
    pyteamd,
    start,
    teamdctl,
)
from lab_kit import RUN_DIR, runs, settled_kib, wait_for

from pyteamd.client import Client, ClientError
from pyteamd.daemon.late_imports import AFTER_S, PAUSE_S, late
from pyteamd.daemon.privileges import KEPT
from pyteamd.daemon.team_server import NAMES_INTERVAL_S
from pyteamd.wire import slow
from pyteamd.wire.ethernet import ETHERTYPE_SLOW, EthernetFrame
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="faults of the process")]
autouse = pytest.fixture(autouse=True)(links)
LONG = bool(os.environ.get("PYTEAMD_LONG"))
STORM = 5_000 if LONG else 300
FLOOD = 40_000 if LONG else 4_000
not_quick = pytest.mark.skipif(not LONG, reason="PYTEAMD_LONG=1")
LACP = json.dumps({**ACTIVE_BACKUP, "runner": {"name": "lacp"}})


def fails_over() -> None:
    """A cut of the active port is followed by the other one; then all is as before."""
    wait_for(lambda: item("runner.active_port") == "eth1")
    ip("link set p1 down")
    wait_for(lambda: item("runner.active_port") == "eth2")
    ip("link set p1 up")
    ip("link set p2 down")
    wait_for(lambda: item("runner.active_port") == "eth1")
    ip("link set p2 up")


@contextmanager
def mounted(*options: str) -> Iterator[None]:
    """Another file system at the run directory."""
    RUN_DIR.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(RUN_DIR)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(RUN_DIR)], check=True)


# -- identity ----------------------------------------------------------------------------------------------------------


def test_a_second_daemon_under_another_pid_file_is_refused(tmp_path: Path) -> None:
    pid = start("-t", "team0", "-c", TEXT)
    for how in ("-o", "-r"):
        done = pyteamd(how, "-u", "-p", f"{tmp_path}/pid", "-t", "team0", "-c", TEXT)
        assert done.returncode == 1
        assert f"team0: the daemon with PID {pid} serves it." in done.stderr
        assert not (tmp_path / "pid").exists()
    assert runs(pid)
    fails_over()


@not_quick
def test_kill_leaves_strangers_alone_and_their_number_hinders_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "teamd", "team0"]) as stranger:
        RUN_DIR.mkdir(exist_ok=True)
        PID_FILE.write_text(f"{stranger.pid}\n")
        assert pyteamd("-k", "-t", "team0").returncode == 1
        PID_FILE.write_text(f"{stranger.pid}\n")
        done = pyteamd("-d", "-t", "team0", "-c", TEXT)
        assert done.returncode == 0
        assert f"Process {stranger.pid} died: its number belongs to another process" in done.stderr
        assert stranger.poll() is None
        stranger.kill()
    assert pyteamd("-k", "-t", "team0").returncode == 0


def test_names_that_are_removed_are_made_again() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    PID_FILE.unlink()
    SOCKET.unlink()
    wait_for(lambda: PID_FILE.exists() and SOCKET.exists())
    assert PID_FILE.read_text() == f"{pid}\n"
    fails_over()
    assert pyteamd("-k", "-t", "team0").returncode == 0
    assert not runs(pid)


# -- privileges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [pytest.param(TEXT, marks=not_quick), LACP], ids=["activebackup", "lacp"])
def test_no_thread_keeps_more_of_roots_power_than_a_team_needs(text: str) -> None:
    pid = start("-t", "team0", "-c", text)
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    for thread in threads:
        status = dict(line.split(":\t") for line in (thread / "status").read_text().splitlines() if ":\t" in line)
        assert int(status["CapPrm"], 16) & ~KEPT == int(status["CapEff"], 16) & ~KEPT == 0
        assert status["NoNewPrivs"] == "1"


# -- time --------------------------------------------------------------------------------------------------------------


def test_stopped_for_a_while() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    os.kill(pid, signal.SIGSTOP)
    ip("link set p1 down")
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: item("runner.active_port") == "eth2")
    ip("link set p1 up")
    ip("link set p2 down")
    wait_for(lambda: item("runner.active_port") == "eth1")


@pytest.mark.parametrize("days", [30, pytest.param(-30, marks=not_quick)])
def test_the_clock_is_set(days: int) -> None:
    start("-t", "team0", "-c", TEXT)
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + days * 86400)
    except PermissionError:
        pytest.skip("the clock cannot be set here")
    try:
        fails_over()
        assert pyteamd("-e", "-t", "team0").returncode == 0
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - days * 86400)


@not_quick
def test_messages_that_are_lost_while_it_is_stopped(tmp_path: Path) -> None:
    """More links come and go than the socket's buffer holds, and the active port is cut in the middle of it."""
    pid = start("-t", "team0", "-c", TEXT)
    wait_for(lambda: item("runner.active_port") == "eth1")
    os.kill(pid, signal.SIGSTOP)
    names = [f"storm{number}" for number in range(STORM)]
    batch = tmp_path / "batch"
    batch.write_text("".join(f"link add {name} type dummy\nlink set {name} up\nlink del {name}\n" for name in names))
    subprocess.run(["ip", "-batch", str(batch)], check=True)
    ip("link set p1 down")
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: item("runner.active_port") == "eth2")
    assert runs(pid)
    assert links_that_are_known() == {"eth1", "eth2"}


def links_that_are_known() -> set[str]:
    """Ports in the state."""
    return set(json.loads(teamdctl("state", "dump").stdout).get("ports", ()))


# -- links ---------------------------------------------------------------------------------------------------------------


def test_ports_moved_renamed_and_made_again() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
    for _ in range(3):
        ip("link del eth2")
        ip("link add eth2 type veth peer name p2")
        ip("link set p2 up")
    wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
    fails_over()
    ip("netns add elsewhere")
    try:
        ip("link set eth2 netns elsewhere")
        wait_for(lambda: links_that_are_known() == {"eth1"})
        ip("-n elsewhere link set eth2 netns 1")
        wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
    finally:
        ip("netns del elsewhere")
    fails_over()
    ip("link set eth2 down")
    ip("link set eth2 name other")
    wait_for(lambda: "eth2" not in links_that_are_known())
    ip("link set other name eth2")
    ip("link set eth2 up")
    wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
    fails_over()
    assert runs(pid)


@not_quick
def test_a_partner_that_floods() -> None:
    """Thousands of LACPDUs of ever new systems: the daemon answers and does not grow."""
    pid = start("-t", "team0", "-c", LACP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("p1", 0))
        before = settled_kib(pid)
        for number in range(FLOOD):
            info = LacpInfo(number % 65536, b"\2\xbb" + number.to_bytes(4, "big"), number % 7, 1, number % 9 + 1, 0x3F)
            octets = EthernetFrame(slow.GROUP, b"\2\xbb\0\0\0\1", ETHERTYPE_SLOW, Lacpdu(info, info).build()).build()
            with suppress(OSError):  # no room just now
                wire.send(octets)
            if number % (FLOOD // 4) == 0:
                assert links_that_are_known() == {"eth1", "eth2"}
    wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
    assert runs(pid)
    assert settled_kib(pid) - before < 4096


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [pytest.param(("-o", "ro"), marks=not_quick), ("-o", "nr_inodes=1")], ids=["read-only", "full"]
)
def test_a_run_directory_that_takes_nothing(options: tuple[str, ...]) -> None:
    """teamd does not start; nor do we, unless a service manager knows us without a pid file."""
    with mounted(*options):
        done = pyteamd("-t", "team0", "-c", TEXT)
        assert done.returncode == 1
        assert "Could not create PID file." in done.stderr
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0pyteamd-test-manager")
            manager.settimeout(20)
            known = Foreground("-u", "-t", "team0", "-c", TEXT, env={"NOTIFY_SOCKET": "@pyteamd-test-manager"})
            while b"READY=1" not in manager.recv(1000):
                pass
        code, _, err = known.end()
        assert code == 0
        assert "the service manager knows us without it" in err


@not_quick
def test_a_log_that_nobody_reads() -> None:
    log = Path("/dev/log")
    if log.exists():
        pytest.skip("there is a log daemon")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stopped:
        stopped.bind(str(log))
        try:
            assert pyteamd("-d", "-g", "-t", "team0", "-c", TEXT).returncode == 0
            for _ in range(3):
                fails_over()
        finally:
            log.unlink()


# -- resources ---------------------------------------------------------------------------------------------------------


def test_little_memory_for_a_big_request() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + (3 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    big = "ports:\n" + "".join(f"  e{number}: {{prio: {number}}}\n" for number in range(3000))
    with Client.connect("team0", "usock") as client:
        for how in ("dry-run", "apply", "dry-run"):
            with suppress(ClientError):  # an error reply, or one that comes too late
                client.fetch("ConfigApply", big, how)
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert runs(pid)
    fails_over()


@not_quick
def test_no_file_can_be_opened() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    wait_for(lambda: item("runner.active_port") == "eth1")
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (fds(pid), limit[1]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(SOCKET))  # nobody can accept it
        ip("link set p1 down")
        wait_for(lambda: active_port() == "eth2")
        time.sleep(2 * NAMES_INTERVAL_S if LONG else 1)
        ip("link set p1 up")
        ip("link set p2 down")
        wait_for(lambda: active_port() == "eth1")
        ip("link set p2 up")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    fails_over()


def active_port() -> str:
    """As the kernel has it."""
    done = subprocess.run(["teamnl", "team0", "getoption", "activeport"], capture_output=True, text=True, check=False)
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    names = {str(link["ifindex"]): str(link["ifname"]) for link in links}
    return names.get(done.stdout.strip(), "")


@not_quick
def test_many_links_that_come_and_go() -> None:
    pid = start("-t", "team0", "-c", TEXT)
    before = fds(pid)
    for number in range(200):
        ip(f"link add storm{number} type dummy")
        ip(f"link del storm{number}")
    fails_over()
    assert fds(pid) == before


def fds(pid: int) -> int:
    """Open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@not_quick
def test_tiny_buffers() -> None:
    """teamd does not start here."""
    sizes = {
        name: Path(f"/proc/sys/net/core/{name}") for name in ("rmem_default", "rmem_max", "wmem_default", "wmem_max")
    }
    before = {name: path.read_text() for name, path in sizes.items()}
    try:
        for path in sizes.values():
            path.write_text("4608")
        start("-t", "team0", "-c", TEXT)
        fails_over()
    finally:
        for name, path in sizes.items():
            path.write_text(before[name])


def test_killed_for_its_memory() -> None:
    """The kernel's own choice, as if memory had run out; the next one goes on from there."""
    trigger = Path("/proc/sysrq-trigger")
    if not trigger.exists():
        pytest.skip("a kernel without SysRq")
    pid = start("-t", "team0", "-c", TEXT)
    wait_for(lambda: item("runner.active_port") == "eth1")
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    trigger.write_text("f")
    wait_for(lambda: not runs(pid))
    assert links_in_the_team() == {"eth1", "eth2"}
    assert pyteamd("-d", "-o", "-t", "team0", "-c", TEXT).returncode == 0
    fails_over()


def links_in_the_team() -> set[str]:
    """As the kernel has them."""
    shown = subprocess.run(["ip", "-j", "link", "show", "master", "team0"], capture_output=True, text=True, check=True)
    return {each["ifname"] for each in json.loads(shown.stdout)}


def ends_in_time() -> None:
    """`pyteamd -k`."""
    began = time.monotonic()
    assert pyteamd("-k", "-t", "team0").returncode == 0
    assert time.monotonic() - began < 10


@not_quick
def test_a_name_server_that_does_not_answer(tmp_path: Path) -> None:
    """A configuration with a host of it is not taken over; a start with it answers and ends in time."""
    servers = tmp_path / "resolv.conf"
    servers.write_text("nameserver 198.51.100.53\noptions timeout:30 attempts:2\n")
    watch = {"name": "arp_ping", "target_host": "router.example", "interval": 100}
    text = json.dumps({**ACTIVE_BACKUP, "link_watch": watch})
    ip("link add hole type dummy")
    ip("link set hole up")
    ip("route add 198.51.100.0/24 dev hole")
    try:
        with over("/etc/resolv.conf", servers):
            start("-t", "team0", "-c", TEXT)
            wait_for(lambda: item("runner.active_port") == "eth1")
            with Client.connect("team0", "usock") as client, suppress(ClientError):
                client.fetch("ConfigApply", text, "apply")
            fails_over()
            ends_in_time()
            start("-t", "team0", "-c", text)
            assert json.loads(teamdctl("state", "dump").stdout)["runner"]["active_port"] == ""
            ends_in_time()
    finally:
        ip("link del hole")


@contextmanager
def over(path: str, other: Path) -> Iterator[None]:
    """A file in the place of another."""
    subprocess.run(["mount", "--bind", str(other), path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@not_quick
def test_what_a_newer_version_left() -> None:
    """A snapshot with keys and words that nobody here knows: it is used or passed over, and the ports are served."""
    pid = start("-t", "team0", "-c", LACP)
    snapshot = RUN_DIR / "team0.lacp.json"
    wait_for(snapshot.exists)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(pid))
    left = json.loads(snapshot.read_text())
    for newer in (
        {**left, "version": 99, "new": [1]},
        {**left, "snapshot": {"ports": "elsewhere"}},
        newer_inside(left),
    ):
        snapshot.write_text(json.dumps(newer))
        assert pyteamd("-d", "-o", "-t", "team0", "-c", LACP).returncode == 0
        pid = int(PID_FILE.read_text())
        wait_for(lambda: links_that_are_known() == {"eth1", "eth2"})
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not runs(pid))


def newer_inside(tree: Any) -> Any:
    """One more key in every mapping, and every number a text."""
    if isinstance(tree, dict):
        return {**{key: newer_inside(value) for key, value in tree.items()}, "new": {"kind": "?"}}
    return str(tree) if isinstance(tree, float) else tree


# -- names -------------------------------------------------------------------------------------------------------------


@not_quick
def test_a_link_whose_name_is_for_the_terminal() -> None:
    name = "\x1b]0;own\x07"
    shown = r"\x1b]0;own\x07"
    ip(f"link add {name} type dummy")
    try:
        daemon = Foreground("-g", "-t", "team0", "-c", json.dumps({**ACTIVE_BACKUP, "ports": {"eth1": {}, name: {}}}))
        daemon.wait_until_ready()
        wait_for(lambda: name in json.loads(teamdctl("state", "dump").stdout)["ports"])
        command = [sys.executable, "-m", "pyteamd.cli.pyteamdctl.main", "team0"]
        for verb in ("explain", "state", "history"):
            done = subprocess.run([*command, verb], capture_output=True, text=True, check=True, timeout=30)
            assert shown in done.stdout
            assert "\x1b" not in done.stdout
        _, out, err = daemon.end()
        assert shown in out + err
        assert "\x1b" not in out + err
    finally:
        subprocess.run(["ip", "link", "del", name], check=False)


def test_an_upgrade_of_the_files_under_a_running_daemon(tmp_path: Path) -> None:
    """The modules that are not loaded yet are gone: a request that needs one is an error, and the daemon goes on."""
    root = Path(__file__).parents[2]
    for name in ("pyteamd", "runners", "linkwatch"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pyteamd", "-d", "-t", "team0", "-c", TEXT]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=60)
    pid = int(PID_FILE.read_text())
    for name in ("pyteamd", "runners", "linkwatch"):
        shutil.rmtree(tmp_path / name) if not (tmp_path / name).is_symlink() else (tmp_path / name).unlink()
    with Client.connect("team0", "usock") as client:
        for method, *words in (("FlowHash", "{}"), ("ConfigApply", "ports: {eth1: {}}", "dry-run"), ("Metrics",)):
            with suppress(ClientError):
                client.fetch(method, *words)
    time.sleep(AFTER_S + 1 + len(late()) * PAUSE_S)  # what may be needed one day is imported then
    assert runs(pid)
    fails_over()
