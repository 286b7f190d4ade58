"""The lab launcher, seen from outside: what goes in and out of a job on a real kernel.

Every test that boots something is marked `lab`; it takes the world that `auto` finds, mostly user-mode Linux.
"""

from __future__ import annotations

import json
import lzma
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from lab_kit import runs

sys.path.insert(0, str(Path(__file__).parent))
import lab
import trial
import worlds

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
LAB = [sys.executable, str(HERE / "lab.py")]


def call(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Call the launcher; skip the test when this machine has no such world."""
    whole_env = {**os.environ, **(env or {})}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=whole_env)
    if ended.returncode == 77 and env is None:
        pytest.skip(ended.stderr.strip())
    return ended


def job(script: str, *options: str) -> list[str]:
    return [*LAB, "run", "--timeout", "400", *options, "--", "sh", "-c", script]


def in_guest(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return call(job(script, *options))


def processes_mentioning(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in words and "pytest" not in words:
            found.append(words)
    return found


@pytest.mark.lab
def test_streams_and_exit_status_are_the_jobs_own() -> None:
    ended = in_guest("echo to out; echo to err >&2; printf 'no newline'; exit 42")
    assert (ended.returncode, ended.stdout, ended.stderr) == (42, "to out\nno newline", "to err\n")


@pytest.mark.lab
def test_output_arrives_complete() -> None:
    ended = in_guest("seq 1 20000 >/tmp/many; cat /tmp/many; tail -n 1 /tmp/many >&2")
    assert ended.stdout == "".join(f"{number}\n" for number in range(1, 20001))
    assert ended.stderr == "20000\n"


@pytest.mark.lab
def test_output_is_live() -> None:
    command = job("echo first; sleep 5; echo second")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seen_s = time.monotonic()
        rest = process.stdout.read()
        if process.wait() == 77:
            pytest.skip("no world here")
        assert (line, rest) == ("first\n", "second\n")
        assert time.monotonic() - seen_s > 4.0


@pytest.mark.lab
def test_surroundings_of_a_job(tmp_path: Path) -> None:
    """Where it starts, what it sees, where it may write, what is in its environment."""
    odd = "a b'c\"$(id)\\"
    script = """
        pwd; echo "$ODD"; [ -e .venv ] && command -v python
        echo kept >"$LAB_OUT/file"; touch /tmp/a /run/b /dev/shm/c
        cat /sys/class/net/lo/operstate /proc/sys/net/ipv6/conf/lo/disable_ipv6
        ping -c 1 -q ::1 >/dev/null && echo pings"""
    ended = in_guest(script, "--out", str(tmp_path / "out"), "--env", f"ODD={odd}")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[:2] == [str(REPO), odd]
    assert lines[-3:] == ["unknown", "0", "pings"]
    if (REPO / ".venv").exists():
        assert lines[2] == f"{REPO}/.venv/bin/python"
    assert (tmp_path / "out/file").read_text() == "kept\n"
    assert (tmp_path / "out/console.log").exists()


@pytest.mark.lab
def test_a_guest_cannot_write_to_the_machines_files() -> None:
    ended = in_guest("[ $LAB_WORLD = host ] && exit 9; touch /etc/lab-was-here || touch ./lab-was-here")
    if ended.returncode == 9:
        pytest.skip("the host's own kernel is no guest")
    assert ended.returncode == 1
    assert "Read-only file system" in ended.stderr
    assert not (REPO / "lab-was-here").exists()


@pytest.mark.lab
def test_a_repository_below_tmp_is_still_seen(tmp_path: Path) -> None:
    """The guest has its own /tmp, which would hide a clone made there."""
    copy = tmp_path / "clone"
    (copy / "tests").mkdir(parents=True)
    subprocess.run(["cp", "-r", str(HERE), str(copy / "tests/lab")], check=True)
    ended = call([sys.executable, str(copy / "tests/lab/lab.py"), "run", "--", "sh", "-c", "pwd; ls tests"])
    assert (ended.returncode, ended.stdout.splitlines()) == (0, [str(copy), "lab"])


@pytest.mark.lab
def test_the_hosts_own_kernel_is_used_when_it_has_the_driver() -> None:
    """A guest is a host with the driver: the launcher, run inside it, takes namespaces and nothing else."""
    inner = """
        [ $LAB_WORLD = host ] || exit 9
        ip link add team0 type team || exit 8
        teamd -d -c '{"device":"inner","runner":{"name":"activebackup"}}' || exit 7
        echo kept >"$LAB_OUT/file"; ls /sys/class/net; exit 5"""
    outer = f"""
        ip link add outer type dummy
        python tests/lab/lab.py run --out "$LAB_OUT/inner" -- sh -c {shlex.quote(inner)}
        echo "status $?"; cat "$LAB_OUT/inner/file"; ls -1 /sys/class/net /run/teamd; ps -C teamd"""
    ended = in_guest(outer)
    assert ended.stdout.splitlines()[:6] == ["inner", "lo", "team0", "status 5", "kept", "/sys/class/net:"]
    rest = ended.stdout.splitlines()[6:]
    assert "outer" in rest
    assert "inner" not in rest
    assert not any("teamd" in line for line in rest), "the inner job's daemon must end with it"


@pytest.mark.lab
def test_time_is_up(tmp_path: Path) -> None:
    started_s = time.monotonic()
    ended = in_guest("echo begun; sleep 3017; echo no", "--timeout", "30", "--out", str(tmp_path))
    assert ended.returncode == 124
    assert ended.stdout == "begun\n"
    assert "not finished after 30 s, killed: sh -c" in ended.stderr
    assert time.monotonic() - started_s < 300.0
    assert processes_mentioning("sleep 3017") == []


@pytest.mark.lab
def test_a_guest_that_dies_is_not_taken_for_a_job_that_ends() -> None:
    ended = in_guest("echo begun; [ $LAB_WORLD = host ] && kill -9 $PPID; exec busybox poweroff -f")
    assert ended.returncode == 125
    assert ended.stdout == "begun\n"
    assert "lab: " in ended.stderr
    assert "ended before its job did" in ended.stderr


@pytest.mark.lab
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_launcher_ends_the_guest(number: signal.Signals, tmp_path: Path) -> None:
    command = job("echo begun; sleep 3018", "--out", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "begun\n":
            pytest.skip("no world here")
        guests = children_of(process.pid)
        process.send_signal(number)
        process.send_signal(number)  # as it comes where a whole group is told
        killed = number is signal.SIGKILL
        assert process.wait(timeout=60) == (-number if killed else 128 + number)
    assert guests
    until_s = time.monotonic() + (60.0 if killed else 0.0)  # nobody is left to wait for them
    while any(map(runs, guests)) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not any(map(runs, guests))


def children_of(pid: int) -> list[int]:
    """Every process whose ancestor is `pid`."""
    answer: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        answer += [int(child), *children_of(int(child))]
    return answer


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("PYTEAMD_LONG"), reason="PYTEAMD_LONG=1: QEMU with a counted clock, twice")
def test_a_counted_clock_does_not_see_the_machine() -> None:
    """The same work takes the same time in two boots, to a few percent, however busy the machine is."""
    work = "python3 -c 'import time; a = time.monotonic(); sum(range(10**6)); print(time.monotonic() - a)'"
    took_s = [float(in_guest(work, "--world", "qemu", "--counted").stdout) for _ in range(2)]
    assert took_s[0] > 0.01
    assert took_s[1] == pytest.approx(took_s[0], rel=0.05)


def test_a_world_that_is_not_here_is_named(tmp_path: Path) -> None:
    ended = call(job("true", "--world", "qemu"), env={"LAB_CACHE": str(tmp_path), "PATH": "/nowhere"})
    assert ended.returncode == 77
    assert ended.stderr.startswith("lab: no kernel with the team driver: qemu: not found: ")
    assert f"a kernel in {tmp_path}/kernel" in ended.stderr


@pytest.mark.parametrize("world", worlds.WORLDS)
def test_a_whole_debian_runs_what_is_installed_in_it(world: str, tmp_path: Path) -> None:
    """The repository is seen there, and its commands would go before those of the packages under test."""
    lab._write_control(lab.Job(["true"]), world, tmp_path, tmp_path / "out")
    assert (f"PATH={REPO}/.venv/bin:" in (tmp_path / "job").read_text()) == (world not in worlds.WHOLE)


@pytest.fixture
def sham(tmp_path: Path) -> dict[str, str]:
    """An environment where linux.uml is a program that dies as the real one does with AMX, and counts its starts."""
    panic = "userspace - ptrace set fp regs failed, errno = 14\\nKernel panic - not syncing: Attempted to kill init!"
    program = tmp_path / "bin/linux.uml"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho started >>{tmp_path}/starts\nprintf '{panic}\\n'\nexit 1\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "LAB_CACHE": str(tmp_path / "cache")}


@pytest.mark.slow
@pytest.mark.skipif(bool(worlds.missing("uml")), reason="the rest of what user-mode Linux needs is not installed")
def test_a_world_that_does_not_boot_is_not_ready(sham: dict[str, str], tmp_path: Path) -> None:
    """It is told with cause, remedy and the place of the call trace, and not tried again while the kernel is the same."""
    for _ in range(2):
        ended = call(job("true", "--world", "uml"), env=sham)
        assert (ended.returncode, ended.stdout) == (77, "")
        assert "more registers (AMX)" in ended.stderr
        assert "tests/lab/setup.sh lab" in ended.stderr
        assert "ptrace set fp regs" in Path(ended.stderr.partition("messages are in ")[2].split(";")[0]).read_text()
    assert (tmp_path / "starts").read_text() == "started\n"
    (tmp_path / "bin/linux.uml").write_text((tmp_path / "bin/linux.uml").read_text() + "# another kernel\n")
    call(job("true", "--world", "uml"), env=sham)
    assert (tmp_path / "starts").read_text() == "started\n" * 2


def test_auto_names_every_world_that_it_tried(sham: dict[str, str]) -> None:
    if not worlds.missing("host"):
        pytest.skip("this host has the driver itself")
    ended = call(job("true"), env={**sham, "PATH": sham["PATH"].partition(":")[0]})
    assert ended.returncode == 77
    for world in worlds.AUTO:
        assert f"{world}: " in ended.stderr


@pytest.mark.lab
@pytest.mark.skipif(bool(worlds.missing("qemu")), reason="no QEMU: tests/lab/setup.sh bench")
def test_the_kinds_fall_back_to_what_boots(sham: dict[str, str], tmp_path: Path) -> None:
    """Where Debian's user-mode Linux panics: the newest one stays what it is, the other kind is QEMU's; without either, both are named."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kernel").symlink_to(worlds.kernel_dir())
    newest = not worlds.missing("uml-new")
    if newest:
        (cache / "uml-new").symlink_to(worlds.uml_new_dir())
    asked_before("kvm", cache)
    kinds = [line.split("\t") for line in call([*LAB, "kinds"], env=sham).stdout.splitlines()]
    assert [kind for kind, *_ in kinds] == ["coupled", "independent"]
    (_, coupled, release), (_, independent, _) = kinds
    if worlds.missing("host"):
        assert coupled in ("kvm", "qemu")
        assert independent == ("uml-new" if newest else "")
    assert release[0].isdigit()
    assert "AMX" in (cache / "booted.json").read_text()
    (cache / "kernel").unlink()
    (_, coupled, why), _ = [line.split("\t") for line in call([*LAB, "kinds"], env=sham).stdout.splitlines()]
    if worlds.missing("host"):
        assert coupled == ""
        assert "uml: does not boot here: this processor has more registers (AMX)" in why
        assert "qemu: not found: a kernel in" in why


def asked_before(world: str, cache: Path) -> None:
    """Let this cache know what the usual one does: where a processor that cannot help is asked, it takes all the time it gets."""
    usual = worlds.cache_dir()
    if answer := trial.remembered(world):
        moved = replace(answer, key=answer.key.replace(str(usual), str(cache)))
        (cache / "booted.json").write_text(json.dumps({world: asdict(moved)}))


@pytest.mark.parametrize(
    ("console", "status", "told"),
    [
        ("x\n[ 1.0] Kernel panic - not syncing: Oh dear\n", 0, "panicked: Oh dear"),
        ("./linux.uml: version `GLIBC_2.38' not found", 127, "C library"),
        ("", -9, "signal 9"),
        ("", 0, "nothing of the reason"),
    ],
)
def test_why_a_guest_died(console: str, status: int, told: str) -> None:
    assert told in trial.cause(console, status)


@pytest.mark.parametrize("small", [False, True])
def test_without_dev_shm_the_guests_memory_is_elsewhere(
    small: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Containers have none, or one of 64 MB."""
    ask = os.statvfs

    def state_of(name: str) -> os.statvfs_result:
        if name != "/dev/shm":
            return ask(name)
        if small:
            return os.statvfs_result((4096, 4096, *[64 * 256] * 6, 0, 255))
        raise FileNotFoundError(name)

    monkeypatch.setattr(os, "statvfs", state_of)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    boot = worlds.Boot(tmp_path, tmp_path, 1, 65, counted=False, out_fd=1, err_fd=2)
    assert worlds.launch("uml", boot).env["TMPDIR"] == str(tmp_path)


def test_modules_of_newer_debian_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.ko").write_bytes(b"plain")
    (tmp_path / "b.ko.xz").write_bytes(lzma.compress(b"small"))
    files = [tmp_path / "a.ko", tmp_path / "b.ko.xz"]
    assert [(worlds.plain_name(file), worlds.plain_module(file)) for file in files] == [
        ("a.ko", b"plain"),
        ("b.ko", b"small"),
    ]


def test_setup_refuses_a_word_it_does_not_know() -> None:
    command = [str(HERE / "setup.sh"), "everything"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("setup: 'everything': allowed are venv, lab, bench")


IN_QEMU = pytest.mark.skipif(not os.environ.get("PYTEAMD_LONG"), reason="PYTEAMD_LONG=1: C teamd in QEMU, too")
TEAMD = """
set -e
ip link add eth1 type veth peer name peer1
ip link add eth2 type veth peer name peer2
ip link set peer1 up
ip link set peer2 up
teamd -d -c '{"device":"team0","runner":{"name":"activebackup"},"ports":{"eth1":{},"eth2":{}}}'
for try in 1 2 3 4 5 6 7 8 9 10; do
    teamdctl team0 state dump >"$LAB_OUT/state.json"
    grep -q '"active_port": "eth' "$LAB_OUT/state.json" && break
    sleep 0.2
done
teamdctl team0 state
teamnl team0 getoption mode
teamd -k -t team0
"""


@pytest.mark.lab
@pytest.mark.parametrize("world", ["auto", pytest.param("qemu", marks=(pytest.mark.slow, IN_QEMU))])
def test_the_original_daemon_runs(world: str, tmp_path: Path) -> None:
    """The reason for it all: a team device on the real driver, brought up by teamd and read by teamdctl."""
    ended = in_guest(TEAMD, "--world", world, "--out", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "runner: activebackup" in ended.stdout
    assert ended.stdout.endswith("activebackup\n")
    state = json.loads((tmp_path / "state.json").read_text())
    assert sorted(state["ports"]) == ["eth1", "eth2"]
    assert state["runner"]["active_port"] in {"eth1", "eth2"}
    assert all(port["link"]["up"] for port in state["ports"].values())
