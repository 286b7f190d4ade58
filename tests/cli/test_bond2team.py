"""bond2team, called as libteam's program is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pyteamd.cli.convert import bond2team
from pyteamd.cli.pyteamd import main as pyteamd_program
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

BOND = 'DEVICE=bond0\nTYPE=Bond\nIPADDR=192.0.2.1\nBONDING_OPTS="mode=1 miimon=100 primary=eth1 all_slaves_active=1"\nNAME="my bond"\n'


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "ifcfg-bond0").write_text(BOND)
    (tmp_path / "ifcfg-eth0").write_text("DEVICE=eth0\nMASTER=bond0\nSLAVE=yes\nONBOOT=yes\n")
    (tmp_path / "ifcfg-eth1").write_text("DEVICE=eth1\nMASTER='bond0'\nSLAVE=yes\nMTU=9000\n")
    (tmp_path / "ifcfg-eth2").write_text("DEVICE=eth2\nMASTER=bond1\nSLAVE=yes\n")
    return tmp_path


def test_ifcfg_files_keep_what_is_none_of_the_bonds(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = system / "out"
    assert bond2team.main(["--master", "bond0", "--configdir", str(system), "--outputdir", str(out)]) == 0
    assert "all_slaves_active=1: no counterpart" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["ifcfg-bond0", "ifcfg-eth0", "ifcfg-eth1"]
    bond = (out / "ifcfg-bond0").read_text()
    assert "BONDING" not in bond
    assert "IPADDR=192.0.2.1\nNAME='my bond'\n" in bond
    assert "DEVICETYPE=Team\n" in bond
    assert (out / "ifcfg-eth1").read_text().splitlines() == [
        "DEVICE=eth1",
        "MTU=9000",
        "DEVICETYPE=TeamPort",
        "TEAM_MASTER=bond0",
        "TEAM_PORT_CONFIG='{\"prio\": 100}'",
    ]


@pytest.mark.parametrize(
    "line", ["MASTER=bond0 # the uplink", "export MASTER=bond0", "MASTER=7c2b", 'MASTER_UUID="7c2b"']
)
def test_a_port_is_found_however_it_names_its_bond(line: str, system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one whose name no file says it is told, and nothing is written."""
    (system / "ifcfg-bond0").write_text(f"{BOND}UUID=7c2b\n")
    port, words = system / "ifcfg-port", ["--master", "bond0", "--configdir", str(system), "--json", "--stdout"]
    port.write_text(f"DEVICE=eth7\n{line}\nSLAVE=yes\n")
    assert bond2team.main(words) == 0
    assert '"eth7": {}' in capsys.readouterr().out
    port.write_text(f"HWADDR=02:00:00:00:00:07\n{line}\nSLAVE=yes\n")
    assert bond2team.main(words) == 1
    told = capsys.readouterr()
    assert (told.out, "told by its address" in told.err) == ("", True)


def test_renamed(system: Path) -> None:
    words = [
        "--master",
        str(system / "ifcfg-bond0"),
        "--rename",
        "team0",
        "--outputdir",
        str(system / "out"),
        "--quiet",
    ]
    assert bond2team.main(words) == 0
    assert "DEVICE=team0\n" in (system / "out/ifcfg-team0").read_text()
    assert "TEAM_MASTER=team0\n" in (system / "out/ifcfg-eth0").read_text()


def test_json_is_what_the_daemon_reads(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bond2team.main(["--master", "bond0", "--configdir", str(system), "--json", "--stdout", "--quiet"]) == 0
    (text,) = re.findall(r"^---8<--- bond0.conf ---8<---\n(.*?)^---8<---", capsys.readouterr().out, re.M | re.S)
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    assert list(json.loads(text)["ports"]) == ["eth0", "eth1"]
    assert config.problems == []


def test_options_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bonding_opts", "mode=4 lacp_rate=1", "--port", "eth1", "--port", "eth2", "--stdout"]
    assert bond2team.main(words) == 0
    out = capsys.readouterr().out
    assert "---8<--- ifcfg-<interface name> ---8<---" in out
    assert '"fast_rate": true' in out


@pytest.mark.parametrize(
    "words", [[], ["--bogus"], ["--master", "none", "--configdir", "/nonexistent"], ["--bonding_opts", "mode=6"]]
)
def test_what_cannot_be_done(words: list[str]) -> None:
    assert bond2team.main(words) == 1


def test_the_manual_page_has_every_option() -> None:
    page = (Path(__file__).parents[2] / "packaging/bond2team.1").read_text().replace("\\-", "-")
    options = [word for action in bond2team._parser()._actions for word in action.option_strings if word != "-h"]
    assert [word for word in options if word not in page] == []


def test_pyteamd_is_bond2team_under_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert pyteamd_program.main(["/usr/bin/bond2team", "--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\S*\n", capsys.readouterr().out)
