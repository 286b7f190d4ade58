"""`pyteamdctl -H HOST` through a real sshd: Debian's openssh-server with a configuration and keys of its own, in namespaces of its own.

The hosts of this test are addresses of the loopback device: `one` has the daemon (on the simulated kernel), `two` has none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from daemon_kit import Lab, quiet

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / "build/openssh"
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:{UNPACKED}/usr/sbin")
# 127: a library that it needs is not there.
RUNS = SSHD and subprocess.run([SSHD, "-?"], capture_output=True, check=False).returncode != 127
ALLOWED = (
    os.geteuid() == 0 and subprocess.run(["unshare", "-mn", "true"], capture_output=True, check=False).returncode == 0
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh (openssh-client): tests/lab/setup.sh lab"),
    pytest.mark.skipif(not RUNS, reason="no sshd that runs (openssh-server, libwrap0): tests/lab/setup.sh lab"),
    pytest.mark.skipif(not ALLOWED, reason="no root, or no namespaces"),
]

SERVER = """\
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
HostKey {here}/host
AuthorizedKeysFile {here}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Match LocalAddress 127.0.0.1
    SetEnv PATH={here}/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTEAMD_RUN_DIR={here}
Match LocalAddress 127.0.0.2
    SetEnv PATH={here}/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTEAMD_RUN_DIR={here}/none
"""
CLIENT = """\
Host closed
    User nobody
Host *
    IdentityFile {here}/user
    IdentitiesOnly yes
    UserKnownHostsFile {here}/known
    User root
Host one stranger closed
    HostName 127.0.0.1
Host two
    HostName 127.0.0.2
Host off
    HostName 127.0.0.3
Host one two closed
    HostKeyAlias here
"""
THERE = """\
#!/bin/sh
PYTHONPATH={root} exec {python} -B -c 'import sys; from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())' "$@"
"""
LATE = ("timed out", "no reply", "does not answer")
WORLD = """\
set -e
ip link set lo up
mount -t tmpfs tmpfs /run && mkdir /run/sshd && chmod 755 /run/sshd
[ ! -d ~/.ssh ] || mount -t tmpfs tmpfs ~/.ssh
mount --bind {here}/client /etc/ssh/ssh_config
mount --bind {here}/passwd /etc/passwd
mount --bind {here}/shadow /etc/shadow
exec {sshd} -D -e -f {here}/server
"""
"""What the machine has of its own (keys, known hosts, a locked root) neither helps nor hinders."""


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[list[str]]:
    """The words to run a command in the world of the sshd, which listens."""
    here = {"here": str(tmp_path), "sshd": SSHD, "root": ROOT, "python": sys.executable}
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "none").mkdir()
    server = SERVER
    for word, part in (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")):  # since OpenSSH 9.8 and 10
        if (path := UNPACKED / "usr/lib/openssh" / part).exists() and str(UNPACKED) in str(SSHD):
            server = f"{word} {path}\n{server}"
    passwd = Path("/etc/passwd").read_text()
    texts = {
        "server": server,
        "client": CLIENT,
        "bin/pyteamdctl": THERE,
        "known": f"here {(tmp_path / 'host.pub').read_text()}",
        "passwd": passwd if "\nsshd:" in passwd else f"{passwd}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n",
        "shadow": "root:*:19000::::::\nnobody:*:19000::::::\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text.format(**here) if name in ("server", "client", "bin/pyteamdctl") else text)
    (tmp_path / "bin/pyteamdctl").chmod(0o755)
    words = ["unshare", "-mn", "sh", "-c", WORLD.format(**here)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = []
            while not (said and "127.0.0.1" in "".join(said) and "127.0.0.2" in "".join(said)):
                line = process.stderr.readline()
                assert line, f"sshd ended: {said}"
                said.append(line)
            yield ["nsenter", "-m", "-n", "-t", str(process.pid), f"{tmp_path}/bin/pyteamdctl"]
        finally:
            process.terminate()


async def test_hosts_are_asked_through_ssh(lab: Lab, inside: list[str], tmp_path: Path) -> None:
    await lab.start()
    await quiet()

    async def said(*words: str) -> subprocess.CompletedProcess[str]:
        """Once more where a busy machine was later than ssh's ten seconds, or our five."""
        work = lambda: subprocess.run([*inside, *words], capture_output=True, text=True, check=False, timeout=100)  # noqa: E731
        for _ in range(5):
            done = await trio.to_thread.run_sync(work)
            if not any(late in done.stdout + done.stderr for late in LATE):
                break
        return done

    state = await said("-H", "root@one", "team0", "state")
    assert (state.returncode, state.stderr) == (0, ""), state
    assert state.stdout.startswith("setup:\n  runner: activebackup\nports:\n  eth1\n"), state
    hostile = f"$(touch {tmp_path}/hacked); it's"
    item = await said("-H", "one", "team0", "state", "item", "get", hostile)
    assert item.returncode == 1, item
    assert hostile in item.stderr, item
    assert not (tmp_path / "hacked").exists()
    hosts = [word for host in ("one", "two", "off", "stranger", "closed") for word in ("-H", host)]
    every = await said(*hosts, "list", "--json")
    told = json.loads(every.stdout)
    assert every.returncode == 255, every
    assert [[*told["hosts"][host]["teams"]] for host in ("one", "two")] == [["team0"], []], told
    why = {"off": "Connection refused", "stranger": "Host key verification failed", "closed": "Permission denied"}
    assert told["errors"].keys() == why.keys(), told
    assert [host for host, text in why.items() if text not in told["errors"][host]] == [], told
    words = await said("-H", "two", "-H", "one", "team0", "explain")
    assert words.stdout.startswith("== two\n== one\neth1: "), words
    assert words.stderr.startswith("two: "), words
    assert "no daemon answers for team0" in words.stderr, words
    assert words.returncode == 1, words
