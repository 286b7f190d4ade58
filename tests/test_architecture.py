"""The shape of the code, checked: who may import whom, how large things may be, and that every plug-in is complete.

wire, events, model, schema, config <- linkwatch, runners <- the core <- scenario
kernel, control, daemon, commands (trio, sockets, netlink, D-Bus) import the core, never the other way round
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema import options_of

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
IMPURE = {"trio", "socket", "time", "random", "os", "logging", "pyroute2", "jeepney", "asyncio", "threading", "select"}
DAEMON_ONLY = {"scapy"}

BASE = {"events", "model", "schema", "values", "jansson", "problems", "registry"}
PURE_KERNEL = {"kernel.api", "kernel.bpf", "kernel.tx_hash", "kernel.option_table"}
"""Pure modules of the kernel package: interface, packet filters, and the simulated kernel."""


def modules() -> dict[str, Path]:
    """Dotted name below pyteamd → file, symbolic links followed once."""
    found = {}
    for path in sorted((ROOT / "pyteamd").rglob("*.py")):
        found[".".join(path.relative_to(ROOT / "pyteamd").with_suffix("").parts)] = path
    for package in ("runners", "linkwatch"):
        for path in sorted((ROOT / package).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return {name.removesuffix(".__init__") or "__init__": path for name, path in found.items()}


MODULES = modules()


def layer(name: str) -> str:
    """Which part of the architecture a module belongs to."""
    head = name.split(".")[0]
    if head == "wire" or name in BASE or head.startswith("config"):
        return "ground"
    if head in ("runners", "linkwatch"):
        return "plugins"
    if name.startswith("kernel.sim") and name != "kernel.simasync":
        return "simulator"
    if name in PURE_KERNEL:
        return "ground"
    if head.startswith("scenario") or head in ("simulate", "replay", "shrink", "randomrun", "helptext"):
        return "scenario"
    if head in CORE:
        return "core"
    return "shell"


CORE = {
    "backoff", "explain", "facts", "invariants", "membership", "metrics", "once", "outcomes", "port", "ports", "reconcile",
    "refusals", "reload", "roster", "start", "statetree", "team", "trace", "drive", "inspect_team",
}  # fmt: skip
MAY_IMPORT = {
    "ground": {"ground"},
    "plugins": {"ground", "plugins"},
    "core": {"ground", "plugins", "core"},
    "simulator": {"ground", "simulator"},
    "scenario": {"ground", "plugins", "core", "simulator", "scenario"},
}


def imports(path: Path) -> list[tuple[str, int]]:
    """Every imported module of a file with its line, except those for type checkers only."""
    found = []
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.module or "", node.lineno)]
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) != "shell"])
def test_the_core_imports_nothing_impure(name: str) -> None:
    for imported, line in imports(MODULES[name]):
        assert imported.split(".")[0] not in IMPURE, f"{MODULES[name]}:{line}: a pure module imports {imported}"


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) in MAY_IMPORT])
def test_imports_point_one_way(name: str) -> None:
    allowed = MAY_IMPORT[layer(name)]
    for imported, line in imports(MODULES[name]):
        ours = imported.removeprefix("pyteamd.")
        if imported.startswith("pyteamd.") and ours in MODULES and MODULES[ours].name != "__init__.py":
            assert layer(ours) in allowed, (
                f"{MODULES[name]}:{line}: {layer(name)} may not import {layer(ours)} ({ours})"
            )


@pytest.mark.parametrize("name", list(MODULES))
def test_nothing_in_the_package_needs_scapy(name: str) -> None:
    for imported, line in imports(MODULES[name]):
        assert imported.split(".")[0] not in DAEMON_ONLY, f"{MODULES[name]}:{line}: imports {imported}"


@pytest.mark.parametrize("path", [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES, f"{path}: more than {MAX_FILE_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {lines} lines"


@pytest.mark.parametrize("name", list(MODULES))
def test_modules_say_what_they_are_for(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text())), f"{MODULES[name]}: no docstring"


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) != "shell"])
def test_the_core_catches_nothing_blindly(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("Exception", "BaseException", "everything"), (
                f"{MODULES[name]}:{node.lineno}: catches {caught}"
            )


@pytest.mark.parametrize("name", list(RUNNERS))
def test_runners_are_complete(name: str) -> None:
    runner = RUNNERS[name]
    assert runner.name == name
    assert runner.mode, f"runner {name} names no kernel mode"
    assert runner.summary, f"runner {name} has no help sentence"
    for config in (runner.Config, runner.PortConfig):
        for field, spec in options_of(config).items():
            assert spec.help, f"runner {name}: option {field} has no help"
    uses = [f'"name": "{name}"', f"name: {name}"]
    assert any(use in path.read_text() for path in (ROOT / "examples").glob("*") for use in uses), (
        f"no example of {name}"
    )
    assert any(name in path.read_text() for path in (ROOT / "tests/scenarios").glob("*.txt")), f"no scenario of {name}"


@pytest.mark.parametrize("name", list(WATCHERS))
def test_watchers_are_complete(name: str) -> None:
    watcher = WATCHERS[name]
    assert watcher.name == name
    assert watcher.summary, f"watcher {name} has no help sentence"
    for field, spec in options_of(watcher.Config).items():
        assert spec.help, f"watcher {name}: option {field} has no help"
    assert any(f'"{name}"' in path.read_text() for path in (ROOT / "examples").glob("*")), f"no example of {name}"
    assert any(name in path.read_text() for path in (ROOT / "tests/scenarios").glob("*.txt")), f"no scenario of {name}"


def test_python_is_recent_enough() -> None:
    assert sys.version_info >= (3, 11)
