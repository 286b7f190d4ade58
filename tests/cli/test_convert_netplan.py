"""What `pyteamd convert` writes for netplan, given to netplan's own generator: it takes every file and says the same to networkd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pyteamd.cli.convert.bonding import Bond, team_to_bond
from pyteamd.cli.convert.formats import FORMATS
from pyteamd.cli.convert.netplan import OPTIONS
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.conf"))
WRITERS = ("netplan", "networkd")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("netplan"), reason="no netplan: tests/lab/setup.sh package"),
]


def bonds() -> list[Bond]:
    """The examples that bonding has a counterpart of."""
    found = []
    for path in EXAMPLES:
        tree = Config.load(path.read_text(), runners=RUNNERS, watchers=WATCHERS).dump()
        if tree["runner"]["name"] != "random":
            found.append(team_to_bond(tree, "bond0")[0])
    return found


def test_the_generator_takes_it_and_networkd_is_told_the_same(tmp_path: Path) -> None:
    assert len(bonds()) > 10
    for number, bond in enumerate(bonds()):
        write, place = FORMATS["netplan"].write, tmp_path / str(number)
        assert write
        (place / "etc/netplan").mkdir(parents=True)
        ((name, text),) = write(bond).items()
        (place / "etc/netplan" / name).write_text(text)
        (place / "etc/netplan" / name).chmod(0o600)
        done = subprocess.run(
            ["netplan", "generate", "--root-dir", str(place)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{text}"
        files = {path.name: path.read_text() for path in (place / "run/systemd/network").iterdir()}
        (again,) = FORMATS["networkd"].read(files).devices()
        assert isinstance(again, Bond)
        assert again.ports == sorted(bond.ports), json.dumps(files, indent=1)
        wanted = {option: value for option, value in bond.options.items() if option in OPTIONS}
        assert {option: again.options.get(option) for option in wanted} == wanted, text
