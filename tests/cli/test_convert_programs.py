"""What `pyteamd convert` writes, given to the programs it is for: netplan's generator, ifupdown with ifenslave, nmstate's own checks.

NetworkManager, networkd and ifup make such bonds in tests/lab/systemd, the bonding driver in tests/kernel/test_convert_real.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_convert_files import FIXTURES, read_fixture

from pyteamd.cli.convert import ifupdown
from pyteamd.cli.convert.bonding import Bond, team_to_bond
from pyteamd.cli.convert.formats import FORMATS
from pyteamd.cli.convert.netplan import OPTIONS
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))
import worlds  # noqa: E402

EXAMPLES = sorted((ROOT / "examples").glob("*.conf"))
TREE = worlds.tree_dir()
"""A Debian with ifupdown in it; a developer's machine needs none."""
IFQUERY = shutil.which("ifquery", path=f"{os.environ['PATH']}:/usr/sbin:/sbin:{TREE}/usr/sbin")
SCRIPT = next((path for path in (Path("/"), TREE) if (path / "etc/network/if-pre-up.d/ifenslave").exists()), None)
NMSTATE = worlds.cache_dir() / "nmstate"
with_ifupdown = pytest.mark.skipif(not IFQUERY or not SCRIPT, reason="no ifupdown and ifenslave: tests/lab/setup.sh nm")


def bonds() -> list[Bond]:
    """The examples that bonding has a counterpart of."""
    found = []
    for path in EXAMPLES:
        tree = Config.load(path.read_text(), runners=RUNNERS, watchers=WATCHERS).dump()
        if tree["runner"]["name"] != "random":
            found.append(team_to_bond(tree, "bond0")[0])
    assert len(found) > 10
    return found


def only_file(kind: str, bond: Bond) -> tuple[str, str]:
    """Name and text of what is written in a format of one file."""
    write = FORMATS[kind].write
    assert write
    ((name, text),) = write(bond).items()
    return name, text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("netplan"), reason="no netplan: tests/lab/setup.sh package")
def test_netplans_generator_takes_it_and_networkd_is_told_the_same(tmp_path: Path) -> None:
    (tmp_path / "etc/netplan").mkdir(parents=True)
    there = {f"bond{number}": renamed(bond, number) for number, bond in enumerate(bonds())}
    for bond in there.values():
        name, text = only_file("netplan", bond)
        (tmp_path / "etc/netplan" / name).write_text(text)
        (tmp_path / "etc/netplan" / name).chmod(0o600)
    words = ["netplan", "generate", "--root-dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_text() for path in (tmp_path / "run/systemd/network").iterdir()}
    found = {device.name: device for device in FORMATS["networkd"].read(files).devices()}
    assert found.keys() == there.keys()
    for name, bond in there.items():
        again = found[name]
        assert isinstance(again, Bond)
        assert sorted(again.ports) == sorted(bond.ports), json.dumps(files, indent=1)
        wanted = {option: value for option, value in bond.options.items() if option in OPTIONS}
        assert {option: again.options.get(option) for option in wanted} == wanted, only_file("netplan", bond)[1]


def renamed(bond: Bond, number: int) -> Bond:
    """The same bond of other links: netplan reads all files as one."""
    options = {key: f"n{number}{value}" if key == "primary" else value for key, value in bond.options.items()}
    return Bond(f"bond{number}", options, [f"n{number}{port}" for port in bond.ports], bond.extra)


def asked(interfaces: Path, name: str) -> dict[str, str]:
    """What ifupdown makes of an interface in a file."""
    assert IFQUERY
    words = [IFQUERY, "--state-dir", str(interfaces.parent), "-i", str(interfaces), name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stderr}\n{interfaces.read_text()}"
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@with_ifupdown
def test_ifupdown_reads_what_was_written(tmp_path: Path) -> None:
    for number, bond in enumerate(bonds()):
        (tmp_path / str(number)).write_text(only_file("ifupdown", bond)[1])
        said = asked(tmp_path / str(number), "bond0")
        assert said.pop("bond-slaves") == (" ".join(bond.ports) or "none")
        wanted = {
            option: value.replace(",", " ") for option, value in bond.options.items() if option in ifupdown.OPTIONS
        }
        assert {key.removeprefix("bond-").replace("-", "_"): value for key, value in said.items()} == wanted


@with_ifupdown
def test_ifenslave_does_something_without_endy_word_that_is_written() -> None:
    assert SCRIPT
    script = (SCRIPT / "etc/network/if-pre-up.d/ifenslave").read_text()
    assert {option.upper() for option in ifupdown.OPTIONS} == set(
        re.findall(r"\bsysfs\w* \w+ \"\$IF_BOND_(\w+)\"", script)
    ) - {"ACTIVE_SLAVE"} | {"PRIMARY"}


@with_ifupdown
@pytest.mark.parametrize(
    "path", [path for path in FIXTURES if path.parent.name == "ifupdown"], ids=lambda path: path.stem
)
def test_ifupdown_and_the_reader_see_the_same_bonds(path: Path, tmp_path: Path) -> None:
    expected, files = read_fixture(path)
    if len(files) > 1 or expected[0].startswith("refused"):
        return
    (text,) = files.values()
    (tmp_path / "interfaces").write_text(re.sub(r"(?m)^source .*\n", "", text))
    for device in FORMATS["ifupdown"].read(files).devices():
        assert isinstance(device, Bond)
        said = {key.replace("_", "-"): value for key, value in asked(tmp_path / "interfaces", device.name).items()}
        assert said.get("bond-mode") == device.options.get("mode")
        named = said.get("bond-slaves", said.get("slaves", "")).removeprefix("none").split()
        assert set(named) <= set(device.ports)


@pytest.fixture(scope="module")
def nmstate() -> Any:
    """nmstate's classes of interfaces, without what its package imports to apply them."""
    if not NMSTATE.exists():
        pytest.skip("no nmstate: tests/lab/setup.sh package")
    spec = PathFinder.find_spec("libnmstate", [str(NMSTATE)])
    assert spec
    sys.modules["libnmstate"] = importlib.util.module_from_spec(spec)
    import libnmstate.ifaces  # type: ignore[import-not-found]

    yield libnmstate.ifaces
    for name in [name for name in sys.modules if name.startswith("libnmstate")]:
        del sys.modules[name]


def test_nmstate_takes_what_was_written(nmstate: Any) -> None:
    import jsonschema

    schema = yaml.safe_load((NMSTATE / "libnmstate/schemas/operational-state.yaml").read_text())
    for bond in bonds():
        text = only_file("nmstate", bond)[1]
        state = yaml.safe_load(text)
        jsonschema.validate(state, schema)
        there = [{"name": port, "type": "ethernet", "state": "up"} for port in bond.ports]
        taken = nmstate.Ifaces(state["interfaces"], there)
        (found,) = [iface.to_dict() for iface in taken.all_ifaces() if iface.name == "bond0"]
        assert sorted(found["link-aggregation"]["port"]) == sorted(bond.ports), text
        assert found["link-aggregation"]["mode"] == bond.options["mode"]
