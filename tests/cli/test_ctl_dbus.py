"""pyteamdctl over D-Bus answers as teamdctl 1.31 does, and makes the same calls: a private bus, a mock daemon on it.

The cases are in ctl_bus_cases, the answers in golden/teamdctl-1.31-dbus.json, written by the C program (ctl_record).
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ctl_bus import BUS_DIES, BusDaemon, PrivateBus
from ctl_bus_cases import BUS_WORLDS, NO_BUS, bus_cases, calls_as_json
from ctl_cases import TEAM, Case
from ctl_record import BUS_ANSWERS, NO_BUS_ADDRESS, load

from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.client import connection as client
from pyteamd.client import dbus as client_dbus
from pyteamd.client.client import Client
from pyteamd.client.transport import DaemonError

CASES = {case.name: case for case in bus_cases()}
GOLDEN = load(BUS_ANSWERS)

pytestmark = pytest.mark.skipif(not shutil.which("dbus-daemon"), reason="no dbus-daemon (Debian: dbus-daemon)")


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBus]:
    """One bus for all cases but those that end it."""
    with PrivateBus(tmp_path_factory.mktemp("bus")) as shared:
        yield shared


def answer(case: Case, bus: PrivateBus, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What our program does with the case; the run directory's name as it would be on a real system."""
    monkeypatch.delenv("TEAMDCTL_LOG", raising=False)
    monkeypatch.delenv("POSIXLY_CORRECT", raising=False)
    if case.world.startswith("silent"):
        monkeypatch.setattr(client, "REPLY_TIMEOUT_S", 0.5)
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        if BUS_DIES in BUS_WORLDS.get(case.world, {}).values():
            bus = stack.enter_context(PrivateBus(run_dir))
        address = NO_BUS_ADDRESS if case.world == NO_BUS else bus.address
        for name, value in {"PYTEAMD_RUN_DIR": str(run_dir), "DBUS_SYSTEM_BUS_ADDRESS": address, **case.env}.items():
            monkeypatch.setenv(name, value)
        calls: list[tuple[str, tuple[str, ...]]] = []
        if case.world in BUS_WORLDS:
            calls = stack.enter_context(BusDaemon(bus, TEAM, BUS_WORLDS[case.world])).calls
        code = ctl.run("teamdctl", case.argv, out, err)
    errors = err.getvalue().replace(str(run_dir), client.RUN_DIR)
    return {"code": code, "out": out.getvalue(), "err": errors, "calls": calls_as_json(calls)}


def test_every_case_has_an_answer_and_every_answer_its_case() -> None:
    assert set(CASES) == set(GOLDEN)


@pytest.mark.parametrize("name", list(CASES))
def test_as_teamdctl(name: str, bus: PrivateBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(CASES[name], bus, tmp_path, monkeypatch) == GOLDEN[name]


@pytest.mark.parametrize("team", ["0team", "team0.10", "té", "a" * 240])
def test_a_team_that_cannot_be_a_bus_name(team: str) -> None:
    with pytest.raises(client.NoDaemon) as refused:
        Client.connect(team, "dbus")
    name = f"org.libteam.teamd.{team}"
    text = (
        f"dbus: Could not validate bus name: org.freedesktop.DBus.Error.InvalidArgs - Bus name was not valid: '{name}'"
    )
    assert refused.value.failures["dbus"].trail == (("cli_dbus_init", text),)


@pytest.mark.parametrize("address", ["unix:foo=1", "tcp:host=127.0.0.1,port=1", "unix:path"])
def test_an_address_that_cannot_be_used(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    with pytest.raises(client.NoDaemon, match=r"dbus: Could not acquire the system bus: .*BadAddress - .*" + address):
        Client.connect(TEAM, "dbus")


def test_an_argument_that_is_no_text(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    with BusDaemon(bus, TEAM, BUS_WORLDS["ab"]), Client.connect(TEAM, "dbus") as daemon:
        with pytest.raises(client.CallFailed, match="Failed to construct message"):
            daemon.call("PortAdd", "\udcff")
        assert daemon.call("PortAdd", "eth1") == ""


@pytest.mark.parametrize(
    ("option", "why"), [("-D", "jeepney is not installed"), ("-v", "{path}/team0.sock: No such file or directory")]
)
def test_without_jeepney_one_line_says_so(
    option: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jeepney", None)
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    out, err = io.StringIO(), io.StringIO()
    assert ctl.run("pyteamdctl", [option, TEAM, "state"], out, err) == 1
    said = "libteamdctl: cli_dbus_init: dbus: the Python package jeepney is not installed."
    *told, hint = err.getvalue().splitlines()
    assert told == [said, f"no daemon answers for {TEAM} ({why.format(path=tmp_path)})"]
    assert "pyteamdctl list" in hint


def test_the_bus_name_is_checked_as_the_bus_does(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    for team in ("a-b_c", "_", "-", "team0.x", "A" * (255 - len(client_dbus.NAME) - 1)):
        with pytest.raises(client.NoDaemon) as refused:
            Client.connect(team, "dbus")
        assert isinstance(refused.value.failures["dbus"], DaemonError), "the bus took the name for valid"
        assert refused.value.failures["dbus"].code == "org.freedesktop.DBus.Error.ServiceUnknown"
