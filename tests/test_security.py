"""Each line of the threat table in SECURITY.md is held by tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (`tests/.+?) \|$", (ROOT / "SECURITY.md").read_text(), re.M)


def test_the_table_is_read_whole() -> None:
    lines = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1][:40]}")
def test_a_threat_has_its_tests(row: tuple[str, str, str, str]) -> None:
    for place in re.findall(r"`([^`]+)`", row[3]):
        file, _, name = place.partition("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, place
