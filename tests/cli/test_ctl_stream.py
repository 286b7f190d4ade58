"""`--all monitor`: one stream of all teams, and it ends with their daemons."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import jsonschema
import pytest
from ctl_mock import MockDaemon

from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl import watch
from pyteamd.cli.pyteamdctl.verbs import Session
from pyteamd.cli.schemas import SCHEMAS

EVENT = {"age_s": 0.5, "level": "info", "port": "", "text": "something", "cause": "Tick"}


@pytest.fixture(autouse=True)
def _two_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))

    def events(session: Session) -> Iterator[object]:
        yield {"events": [{**EVENT, "text": f"{session.client.team} says so"}], "missed": 0}
        yield {"events": [], "missed": 7}

    monkeypatch.setattr(watch, "events", events)
    with ExitStack() as stack:
        for team in ("team0", "team1"):
            config = b"REPLY_SUCCESS\n" + json.dumps({"device": team}).encode()
            answers = {"ConfigDump": config, "ConfigDumpActual": config, "StateDump": b"REPLY_SUCCESS\n{}"}
            stack.enter_context(MockDaemon(str(tmp_path / f"{team}.sock"), answers))
        yield


def said(*words: str) -> list[str]:
    """The lines, in order of their text: which team is first is open."""
    out = io.StringIO()
    assert ctl.run("pyteamdctl", words, out, io.StringIO()) == 0
    return sorted(out.getvalue().splitlines())


def test_json() -> None:
    rows = [json.loads(line) for line in said("--all", "monitor", "--json")]
    for row in rows:
        jsonschema.Draft202012Validator(SCHEMAS["monitor"]).validate(row)
    assert sorted(row["team"] for row in rows) == ["team0", "team0", "team1", "team1"]
    assert [row["missed"] for row in rows if "missed" in row] == [7, 7]


def test_words() -> None:
    lines = said("--all", "monitor")
    assert [line.split(" ")[0] for line in lines] == ["team0:", "team0:", "team1:", "team1:"]
    assert "team0: 7 steps missed" in lines
