"""Scripts written for teamd, with pyteamd under its names as `make install-compat` does it: LNST, kernel selftests, initscripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_kit import RUN_DIR, Bench, bench, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the client's words in scripts")]

NAMES = {
    "teamd": "pyteamd.cli.pyteamd.main",
    "teamdctl": "pyteamd.cli.pyteamdctl.main",
    "teamnl": "pyteamd.cli.pyteamnl.main",
}
PLACE = Path("/run/compat")
AB = {"device": "team0", "runner": {"name": "activebackup"}, "link_watch": {"name": "ethtool"}}


@pytest.fixture
def host() -> Iterator[Bench]:
    """A host where pyteamd is teamd."""
    PLACE.mkdir(exist_ok=True)
    for name, module in NAMES.items():
        file = PLACE / name
        file.write_text(f"#!{sys.executable} -IXutf8\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n")
        file.chmod(0o755)
    with bench() as made:
        yield made
        made.on_host("[ ! -e /run/teamd/team0.pid ] || kill -9 $(cat /run/teamd/team0.pid)")
        made.on_host("ip link del team0; rm -f /run/teamd/team0.*")


def do(host: Bench, command: str) -> str:
    """A command of a script; it may not fail."""
    result = host.on_host(f"PATH={PLACE}:$PATH; {command}")
    assert result.status == 0, f"{command}: {result}"
    return result.out


def fails(host: Bench, command: str) -> None:
    """A command of a script that has to fail."""
    assert host.on_host(f"PATH={PLACE}:$PATH; {command}").status == 1, command


def ports(host: Bench) -> list[str]:
    """The daemon's ports."""
    return sorted(json.loads(do(host, "teamdctl team0 state dump"))["ports"])


def test_lnst(host: Bench) -> None:
    do(host, "ip link add team0 type dummy")  # -r replaces a device of any kind
    do(host, """teamd -r -d -c '{"runner": {"name": "roundrobin"}}' -t team0""")
    for port in ("em1", "em2"):
        do(host, f"""teamdctl team0 port config update {port} '{{"prio": 10}}'""")
        do(host, f"ip link set {port} down && ip link set {port} master team0")
    wait_for(lambda: ports(host) == ["em1", "em2"])
    assert json.loads(do(host, "teamdctl team0 port config dump em1"))["prio"] == 10
    do(host, "teamd -k -t team0")
    fails(host, "ip link show team0 2>/dev/null >&2 || exit 1")


def test_kernel_selftest_of_lacp(host: Bench) -> None:
    do(host, """teamd -t team0 -d -c '{"runner": {"name": "lacp"}}'""")
    do(host, "ip link set em1 down; ip link set dev em1 master team0; ip link set dev em2 down")
    do(host, "ip link set dev em2 master team0; ip link set dev team0 up")
    wait_for(lambda: ports(host) == ["em1", "em2"])
    do(host, "teamd -t team0 -k")
    fails(host, "[ -e /run/teamd/team0.pid ]")


def test_kernel_selftest_of_activebackup(host: Bench) -> None:
    file = Path("/run/compat/selftest.conf")
    file.write_text(json.dumps({**AB, "ports": {"em1": {}, "em2": {}}}))
    do(host, f"teamd -d -f {file}")
    pid = int(do(host, f'pgrep -f "teamd -d -f {file}" | grep -v $$ | head -n 1'))
    assert pid == int((RUN_DIR / "team0.pid").read_text())
    do(host, "ip link set team0 up")
    for port in ("em2", "em1"):
        do(host, f"teamdctl team0 state item set runner.active_port {port}")
        wait_for(lambda port=port: do(host, "teamdctl team0 state item get runner.active_port").strip() == port)  # type: ignore[misc]
        assert do(host, "teamnl --port=em1 team0 getoption enabled").strip() == ("true" if port == "em1" else "false")
    do(host, f"kill -9 {pid}")
    fails(host, "teamd -e -t team0")
    do(host, "rm -f /var/run/teamd/team0.pid /var/run/teamd/team0.sock; ip link del team0")
    do(host, f"teamd -d -f {file} && teamd -k -t team0")


def test_initscripts(host: Bench) -> None:
    file = Path("/run/teamd/team0.conf")
    file.write_text(json.dumps(AB))
    do(host, f"teamd -U -d -o -t team0 -f {file}")
    for port in ("em1", "em2"):
        fails(host, f"teamdctl team0 port present {port}")
        do(host, f"ip link set dev {port} down")
        do(host, f"""teamdctl team0 port config update {port} '{{ "prio" : 100 }}'""")
        do(host, f"teamdctl team0 port add {port}")
        do(host, f"teamdctl team0 port present {port}")
    assert ports(host) == ["em1", "em2"]
    do(host, "teamdctl team0 port remove em1")
    fails(host, "teamdctl team0 port present em1")
    do(host, "teamd -k -t team0")
