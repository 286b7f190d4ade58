"""The shape of the code, checked: who may import whom, how large things may be, and that every plug-in is complete.

wire, events, model, schema, config <- linkwatch, runners <- the core <- scenario
kernel, control, daemon, commands (trio, sockets, netlink, D-Bus) import the core, never the other way round
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema import options_of

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
IMPURE = {"trio", "socket", "time", "random", "os", "logging", "pyroute2", "jeepney", "asyncio", "threading", "select"}
NOT_IN_THE_PACKAGE = {"scapy"}

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
    "backoff", "carrier", "explain", "facts", "invariants", "membership", "metrics", "once", "outcomes", "port", "ports",
    "reconcile", "refusals", "reload", "roster", "start", "statetree", "team", "trace", "drive", "inspect_team",
}  # fmt: skip
MAY_IMPORT = {
    "ground": {"ground"},
    "plugins": {"ground", "plugins"},
    "core": {"ground", "plugins", "core"},
    "simulator": {"ground", "simulator"},
    "scenario": {"ground", "plugins", "core", "simulator", "scenario"},
}


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every imported module of a file with its line, except those for type checkers only."""
    found = []
    nodes = list(ast.walk(tree(path)))
    typing_only = {
        id(child)
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.module or "", node.lineno)]
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def test_the_core_imports_nothing_impure() -> None:
    wrong = [
        f"{path}:{line}: a pure module imports {imported}"
        for name, path in MODULES.items()
        if layer(name) != "shell"
        for imported, line in imports(path)
        if imported.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_point_one_way() -> None:
    wrong = []
    for name, path in MODULES.items():
        allowed = MAY_IMPORT.get(layer(name))
        for imported, line in imports(path) if allowed else []:
            ours = imported.removeprefix("pyteamd.")
            module = imported.startswith("pyteamd.") and ours in MODULES and MODULES[ours].name != "__init__.py"
            if module and layer(ours) not in (allowed or ()):
                wrong.append(f"{path}:{line}: {layer(name)} may not import {layer(ours)} ({ours})")
    assert not wrong, "\n".join(wrong)


def test_nothing_in_the_package_needs_scapy() -> None:
    wrong = [
        f"{path}:{line}: imports {imported}"
        for path in MODULES.values()
        for imported, line in imports(path)
        if imported.split(".")[0] in NOT_IN_THE_PACKAGE
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_small() -> None:
    wrong = []
    for path in [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]:
        if path.read_text().count("\n") > MAX_FILE_LINES:
            wrong.append(f"{path}: more than {MAX_FILE_LINES} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    wrong.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_modules_say_what_they_are_for() -> None:
    assert [str(path) for path in MODULES.values() if not ast.get_docstring(tree(path))] == []


def test_the_core_catches_nothing_blindly() -> None:
    wrong = []
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)) if layer(name) != "shell" else ():
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                if caught in ("Exception", "BaseException", "everything"):
                    wrong.append(f"{path}:{node.lineno}: catches {caught}")
    assert not wrong, "\n".join(wrong)


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
