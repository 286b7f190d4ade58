"""The pyroute2 shim: same classes as a plain import, and nothing else of pyroute2; what the kernel layer imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

DESCRIBE = """
from pyroute2.netlink import ctrlmsg, genlmsg, nla, nlmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
import hashlib, inspect
for cls in (nlmsg, nla, genlmsg, ctrlmsg, ifinfmsg):
    print(cls.__module__, cls.__qualname__, [base.__qualname__ for base in cls.__mro__],
          hashlib.sha256(inspect.getsource(cls).encode()).hexdigest())
message = ifinfmsg()
message["index"] = 7
message["attrs"] = [("IFLA_IFNAME", "eth1"), ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "team")]})]
message.encode()
print(bytes(message.data).hex())
"""


def python(code: str) -> str:
    """Run code in a fresh interpreter; what it printed."""
    command = [sys.executable, "-B", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_same_classes_as_a_plain_import() -> None:
    plain = python("import pyroute2\n" + DESCRIBE)
    assert python("import pyteamd.kernel.pyroute2_codec\n" + DESCRIBE) == plain
    assert plain.count("\n") == 6


@pytest.mark.slow
def test_order_of_imports_does_not_matter() -> None:
    code = (
        "import pyroute2; from pyteamd.kernel import pyroute2_codec; "
        "assert pyroute2_codec.install() is pyroute2; print(pyroute2.IPRoute.__name__)"
    )
    assert python(code) == "IPRoute\n"


@pytest.mark.slow
def test_the_rest_of_pyroute2_is_still_there() -> None:
    code = "import pyteamd.kernel.pyroute2_codec, pyroute2; print(pyroute2.IPRoute.__name__, pyroute2.config.__name__)"
    assert python(code) == "IPRoute pyroute2.config\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "pyteamd.kernel.netlink",
            ["asyncio", "multiprocessing", "pyroute2.iproute", "pyroute2.ndb", "json"],
        ),
        ("pyteamd.kernel.requests", ["trio", "asyncio", "pyroute2.netlink.rtnl.ifinfmsg", "ctypes"]),
        ("pyteamd.kernel.option_table", ["pyroute2", "trio", "socket"]),
    ],
)
def test_what_an_import_does_not_bring(module: str, absent: list[str]) -> None:
    loaded = python(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert not set(absent) & set(loaded)


def test_no_pyroute2_no_daemon(tmp_path: Path) -> None:
    """One clear line, not a traceback of importlib."""
    code = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\nimport pyteamd.kernel.pyroute2_codec"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ImportError: pyteamd needs the Python package pyroute2"
