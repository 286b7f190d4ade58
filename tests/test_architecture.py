"""The shape of the code, checked: the folders and who may import whom, how large things may be, and that every plug-in is complete.

The tree is the architecture: ORDER lists the folders, and imports point down the list. docs/architecture.md says what each is for.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema.option import options_of

ROOT = Path(__file__).parent.parent
MAX_FUNCTION_LINES = 46
MAX_ATTRIBUTES = 12
MOST_ATTRIBUTES = {"Team": 16, "Pump": 16, "LacpPort": 16}
"""The three largest classes."""
BEGINS = re.compile(r"( *)(?:async def |def |class |@)")
IMPURE = {"trio", "socket", "time", "random", "os", "logging", "pyroute2", "jeepney", "asyncio", "threading", "select"}
NOT_IN_THE_PACKAGE = {"scapy"}

ORDER = {
    "wire": "",
    "model": "",
    "schema": "",
    "linkwatch": "",
    "runners": "",
    "config": "",
    "core": "",
    "views": "",
    "kernel": "shell",
    "sim": "",
    "client": "shell",
    "daemon": "shell",
    "scenario": "",
    "cli": "shell",
}
"""The folders, bottom to top; each imports only itself and what stands before it. "shell": may import what is impure.

Below them all is `values`, which imports nothing of ours.
"""
ALLOWED = {
    "sim.waiting": {"trio", "threading"},
    "scenario.shell": {"logging"},
}
"""Modules of pure folders that may import something impure all the same, and what."""


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


def folder(name: str) -> str:
    """The folder a module stands in, "" for those directly in pyteamd/."""
    head = name.split(".")[0]
    return head if head in ORDER else ""


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every imported module of a file with its line; those for type checkers too, for they are dependencies of the reader."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.module or "", node.lineno)]
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def own_imports(name: str) -> set[str]:
    """The modules of ours that a module imports."""
    found = {
        imported.removeprefix("pyteamd.") for imported, _ in imports(MODULES[name]) if imported.startswith("pyteamd.")
    }
    return (found & MODULES.keys()) - {name}


def test_the_folders_are_those_of_the_list() -> None:
    there = {
        path.name for place in ("pyteamd", ".") for path in (ROOT / place).iterdir() if (path / "__init__.py").exists()
    }
    assert there - {"pyteamd"} == set(ORDER)
    assert len(list((ROOT / "pyteamd").glob("*.py"))) <= 5, "a new file belongs into a folder"


def test_the_document_names_every_folder_in_this_order() -> None:
    rows = re.findall(
        r"^\| `(?:pyteamd/)?(\w+)/` \|.*\| (pure)? *\|$", (ROOT / "docs/architecture.md").read_text(), re.M
    )
    assert rows == [(name, "" if kind else "pure") for name, kind in ORDER.items()]


def test_the_wheel_takes_every_folder() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    places = [path.parent.relative_to(ROOT) for path in (ROOT / "pyteamd").rglob("__init__.py")]
    for package in ("runners", "linkwatch"):
        places += [Path("pyteamd", path.parent.relative_to(ROOT)) for path in (ROOT / package).rglob("__init__.py")]
    assert sorted(listed) == sorted({".".join(place.parts) for place in places})


def test_pure_folders_import_nothing_impure() -> None:
    wrong = [
        f"{path}:{line}: {folder(name)} is pure and imports {imported}"
        for name, path in MODULES.items()
        if ORDER.get(folder(name)) == ""
        for imported, line in imports(path)
        if (head := imported.split(".")[0]) in IMPURE and head not in ALLOWED.get(name, ())
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_point_down_the_list() -> None:
    order = list(ORDER)
    wrong = [
        f"{MODULES[name]}: {folder(name)} may not import {folder(other)} ({other})"
        for name in MODULES
        for other in own_imports(name) - {"values"}
        if folder(name) in ORDER and order.index(folder(other) or order[-1]) > order.index(folder(name))
    ]
    assert not wrong, "\n".join(wrong)


def reached(name: str) -> set[str]:
    """All modules of ours that come with an import of this one."""
    found: set[str] = set()
    waiting = own_imports(name)
    while waiting:
        found |= waiting
        waiting = set().union(*map(own_imports, waiting)) - found
    return found


def test_what_all_may_import_imports_nothing_of_ours() -> None:
    assert own_imports("values") == set()


def test_no_circle_between_files() -> None:
    assert [name for name in MODULES if name in reached(name)] == []


def test_nothing_in_the_package_needs_scapy() -> None:
    wrong = [
        f"{path}:{line}: imports {imported}"
        for path in MODULES.values()
        for imported, line in imports(path)
        if imported.split(".")[0] in NOT_IN_THE_PACKAGE
    ]
    assert not wrong, "\n".join(wrong)


def may_have_a_large_function(path: Path) -> bool:
    """Whether something is far from the next that begins at its depth or above it; to parse every test takes seconds."""
    begun: list[tuple[int, int]] = []
    lines = path.read_text().splitlines()
    found = ((number, BEGINS.match(line)) for number, line in enumerate(lines))
    for number, match in [*found, (len(lines), BEGINS.match("def "))]:
        while match and begun and begun[-1][0] >= len(match[1]):
            if number - begun.pop()[1] > MAX_FUNCTION_LINES:
                return True
        if match:
            begun.append((len(match[1]), number))
    return False


def test_functions_are_small() -> None:
    wrong = []
    for path in filter(may_have_a_large_function, [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    wrong.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def stored(cls: ast.ClassDef) -> set[str]:
    """What an object of this class holds: fields, slots, and whatever a method of it assigns to self."""
    found: set[str] = set()
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            found.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found |= set(ast.literal_eval(node.value))
    for node in ast.walk(cls):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return found


def remembering() -> dict[str, ast.ClassDef]:
    """The classes of the core, of the plug-ins, and the pump, but for frozen dataclasses: those are values and remember nothing."""
    return {
        node.name: node
        for name, path in MODULES.items()
        if folder(name) in ("core", "runners", "linkwatch") or name == "daemon.pump"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and not any("frozen" in ast.unparse(one) for one in node.decorator_list)
    }


def stored_with_bases(cls: ast.ClassDef, known: dict[str, ast.ClassDef]) -> set[str]:
    """What an object of this class holds, what it inherits from our classes included."""
    bases = (known[name] for base in cls.bases if (name := ast.unparse(base).split("[")[0]) in known)
    return stored(cls).union(*(stored_with_bases(base, known) for base in bases))


def test_what_can_be_computed_is_not_stored() -> None:
    """A limit of attributes, inherited ones too, not of lines."""
    known = remembering()
    wrong = [
        f"{name} stores {count} attributes (at most {most})"
        for name, node in known.items()
        if (count := len(stored_with_bases(node, known))) > (most := MOST_ATTRIBUTES.get(name, MAX_ATTRIBUTES))
    ]
    assert not wrong, "\n".join(wrong)


def test_attributes_are_not_moved_into_objects_that_only_hold_them() -> None:
    """A class that holds one object of another class without methods of its own has the attributes of that, too."""
    known = remembering()
    mute = {name for name, node in known.items() if not any(isinstance(one, ast.FunctionDef) for one in node.body)}
    wrong = []
    for name, node in known.items():
        held = {
            made
            for assigned in ast.walk(node)
            if isinstance(assigned, ast.Assign | ast.AnnAssign) and isinstance(call := assigned.value, ast.Call)
            for made in re.findall(r"^\w+(?=\()|(?<=\bdefault_factory=)\w+", ast.unparse(call))
            if made in mute and holds(node, assigned)
        }
        count = len(stored_with_bases(node, known)) + sum(len(stored_with_bases(known[one], known)) - 1 for one in held)
        if count > MOST_ATTRIBUTES.get(name, MAX_ATTRIBUTES):
            wrong.append(f"{name} stores {count} attributes, with those of {', '.join(sorted(held))}")
    assert not wrong, "\n".join(wrong)


def holds(cls: ast.ClassDef, assigned: ast.Assign | ast.AnnAssign) -> bool:
    """Whether an object of this class keeps what is assigned: `self.NAME = …`, or a field of the class."""
    target = assigned.targets[0] if isinstance(assigned, ast.Assign) else assigned.target
    return ast.unparse(target).startswith("self.") or assigned in cls.body


AT_BOTH_ENDS = {"Reason", "Change", "Event"}
"""The client's types of answers have the names of what the daemon answers with: one thing, seen from both ends of the control socket."""


def test_a_name_of_a_type_means_one_thing() -> None:
    """No two classes of one name, and no class and alias. What the type checker alone needs twice (TypeVar) is no name of a thing."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
        for name in aliases(tree(path)):
            places.setdefault(name, []).append(module)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert all("client.answers" in twice.pop(name, ["client.answers"]) for name in AT_BOTH_ENDS)
    assert twice == {}


def aliases(module: ast.Module) -> set[str]:
    """Types with a name of their own at the top of a file: `Batch = list[…]`, `Tree: TypeAlias = dict[…]`, a TypedDict or the like."""
    found = set()
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar" not in ast.unparse(node):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and re.fullmatch(r"_?(?:[A-Z][a-z]+)+", target.id):
                found.add(target.id)
    return found


def test_modules_say_what_they_are_for() -> None:
    assert [str(path) for path in MODULES.values() if not ast.get_docstring(tree(path))] == []


NAMED = re.compile(r"\b([\w/]+\.py)\b|\bSee ([A-Z]\w+)\.")


def test_what_a_text_refers_to_is_there() -> None:
    """Docstrings and comments name files and classes; these are moved and renamed, and the text stays behind."""
    files = {path.name for path in (*MODULES.values(), *(ROOT / "tests").rglob("*.py"))}
    classes = {
        node.name for path in MODULES.values() for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)
    }
    missing = [
        f"{name}: {file or owner}"
        for name, path in MODULES.items()
        for file, owner in NAMED.findall(path.read_text())
        if (file and Path(file).name not in files) or (owner and owner not in classes)
    ]
    assert missing == []


PUTS_PORTS_INTO_SAFETY = "runners.lacp.runner"
"""A fault of ours there costs a port, not the daemon; in tests it is raised."""


WORDS = re.compile(
    r'(?<![a-z])(whoever|somebody|anew|for[ _]ever|shall|to[ _]and[ _]fro)(?![a-z])|"""So (?:many|much|long|often)\b',
    re.IGNORECASE,
)
"""They hide who does something, or sound like a law; there is a plainer one. What is measured is "How long …"."""


def test_the_words_are_plain() -> None:
    places = [
        *modules().values(),
        ROOT / "packaging/pages.py",
        ROOT / "Makefile",
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(path for path in ROOT.glob("tests/**/*") if path.suffix in (".py", ".txt", ".sh") and path != Path(__file__)),
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in places
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := WORDS.search(line))
    ]
    assert found == []


POSSESSIVE_GROUP = re.compile(r"\)[*+?]\+|\(\?>")


def test_no_expression_has_a_possessive_group() -> None:
    """In Python 3.11.0 to 3.11.2, which Debian 12 has, one whose alternative fails in its middle goes on from there."""
    found = [name for name, path in MODULES.items() if POSSESSIVE_GROUP.search(path.read_text())]
    assert found == []


def test_the_core_catches_nothing_blindly() -> None:
    wrong = []
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)) if ORDER.get(folder(name)) == "" else ():
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                if caught in ("Exception", "BaseException", "everything") and name != PUTS_PORTS_INTO_SAFETY:
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
    uses = [f'"{name}"', f"name: {name}"]
    texts = [path.read_text() for path in (ROOT / "examples").glob("*")]
    assert any(use in text for text in texts for use in uses), f"no example of {name}"
    assert any(name in path.read_text() for path in (ROOT / "tests/scenarios").glob("*.txt")), f"no scenario of {name}"


def test_python_is_recent_enough() -> None:
    assert sys.version_info >= (3, 11)
