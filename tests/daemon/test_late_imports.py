"""A daemon that has run for a while imports nothing of ours any more: after an upgrade it would be another version's."""

from __future__ import annotations

import ast
import gc
import importlib
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd.main import begin_daemon
from pyteamd.daemon import late_imports, realtime, service
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

LOG = logging.getLogger("late")
PACKAGE = Path(late_imports.__file__).parents[1]
INNER = re.compile(r"^ +from pyteamd", re.MULTILINE)
FOLDERS = ("wire", "model", "schema", "linkwatch", "runners", "config", "core", "views", "kernel", "daemon")


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    """After the imports of a daemon what is there is no garbage for good; of the tests' process it is."""
    yield
    gc.unfreeze()


def inner_imports(tree: ast.AST) -> Iterator[str]:
    """Our modules that functions import when they are called."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyteamd"):
                    for name in node.names:
                        inner = f"{node.module}.{name.name}"
                        found = (
                            importlib.util.find_spec(inner)
                            if (PACKAGE.parent / inner.replace(".", "/")).with_suffix(".py").exists()
                            else None
                        )
                        yield inner if found else node.module or ""


def test_what_functions_import_is_known_to_be_late() -> None:
    known = {*late_imports.late(), *late_imports.NEVER}
    for folder in FOLDERS:
        for file in sorted((PACKAGE / folder).rglob("*.py")):
            text = file.read_text()
            for name in inner_imports(ast.parse(text)) if INNER.search(text) else ():
                assert name in known, f"{file.name} imports {name} when it is needed: put it into late_imports.OTHERS"


@pytest.mark.slow
def test_each_piece_is_small() -> None:
    code = """
import sys
from pyteamd.cli.pyteamd.main import begin_daemon
begin_daemon()
import importlib, pyteamd.cli.pyteamd.run
from pyteamd.daemon.late_imports import late
for name in late():
    before = set(sys.modules)
    importlib.import_module(name)
    new = sorted(other for other in sys.modules.keys() - before if other.startswith("pyteamd.") and other != name)
    packages = [other for other in new if hasattr(sys.modules[other], "__path__")]
    if new != packages:
        print(name, "imports", new)
"""
    environ = {**os.environ, realtime.SETTING: "no"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), (
        f"put what it imports before it in PIECES of runners or linkwatch: {done.stdout}{done.stderr}"
    )


async def test_all_of_it_is_there_afterwards(autojump_clock: object) -> None:
    await late_imports.import_late(LOG)
    assert set(late_imports.late()) <= sys.modules.keys()
    for table in (RUNNERS, WATCHERS):
        assert {place.partition(":")[0] for place in table.places.values()} <= set(late_imports.late())


@pytest.mark.slow
def test_where_no_thread_can_be_had_nothing_is_missed() -> None:
    code = """
import logging, sys, threading, trio
from pyteamd.daemon import late_imports
late_imports.AFTER_S = late_imports.PAUSE_S = 0
threading.stack_size(1 << 47)
trio.run(late_imports.import_late, logging.getLogger("late"))
print(sorted(set(late_imports.late()) - sys.modules.keys()))
"""
    environ = {**os.environ, realtime.SETTING: "no"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_garbage_is_collected_from_the_end_of_the_imports_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(realtime.SETTING, "no")
    try:
        begin_daemon()
        assert not gc.isenabled()
        service.imported()
        assert gc.isenabled()
    finally:
        gc.enable()


async def test_no_collection_of_garbage_holds_up_the_loop_meanwhile_or_looks_at_it_later(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rich_late_module.py").write_text("kept = [[] for _ in range(20_000)]")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(late_imports, "late", lambda: ["rich_late_module"])
    collected_in = set()

    def look(phase: str, _: dict[str, int]) -> None:
        collected_in.add((phase, threading.current_thread()))

    gc.callbacks.append(look)
    try:
        before = gc.get_freeze_count()
        await late_imports.import_late(LOG)
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + 20_000
    finally:
        gc.callbacks.remove(look)
        sys.modules.pop("rich_late_module", None)
    assert {thread for _, thread in collected_in} <= {threading.current_thread()}, collected_in


async def test_what_an_upgrade_took_away_or_is_just_writing_costs_nobody_the_daemon(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "half_written.py").write_text("def f(:")
    (tmp_path / "of_another_version.py").write_text("from pyteamd.wire import what_is_not_there")
    (tmp_path / "odd.py").write_text("1 / 0")
    (tmp_path / "good_late_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["gone_for_good", "half_written", "of_another_version", "odd", "good_late_module"]
    monkeypatch.setattr(late_imports, "late", lambda: names)
    await late_imports.import_late(LOG)
    assert [record.getMessage().split()[0] for record in caplog.records] == names[:-1]
    assert "good_late_module" in sys.modules
    del sys.modules["good_late_module"]
