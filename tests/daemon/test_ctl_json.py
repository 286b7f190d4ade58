"""What `--json` prints, held against the schemas that are promised, with an independent validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from daemon_kit import ACTIVE_BACKUP, Lab, quiet
from test_ctl_extra import say, written

from pyteamd.cli.pyteamdctl.verbs import VERBS
from pyteamd.cli.schemas import SCHEMAS

LOADBALANCE = {"runner": {"name": "loadbalance", "tx_hash": ["ipv4"]}, "ports": {"eth1": {}, "eth2": {}}}
SILENT = {"port add", "port remove", "port config update", "state item set", "damping clear", "watch", "metrics"}
"""Verbs that answer nothing, or have a form of their own."""
ASKED = {
    "explain": ["explain"],
    "history": ["history"],
    "diff": ["diff"],
    "balance": ["balance"],
    "neighbours": ["neighbours"],
    "hash": ["hash", "--src", "192.0.2.1", "--dst", "192.0.2.2"],
    "state": ["state"],
    "config dump": ["config", "dump", "noports"],
    "config apply": ["config", "apply", "FILE", "--dry-run"],
    "port config dump": ["port", "config", "dump", "eth1"],
    "port present": ["port", "present", "eth1"],
    "state item get": ["state", "item", "get", "setup.pid"],
    "trace save": ["trace", "save", "TRACE"],
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


def good(text: str, name: str) -> Any:
    """The document, if it is as promised."""
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)
    return document


def test_schemas_are_schemas_and_every_verb_has_one() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    same = {"state dump": "state", "state view": "state", "config revert": "config confirm"}
    for verb in VERBS:
        name = " ".join(verb.words)
        name = "config dump" if name.startswith("config dump") else same.get(name, name)
        assert name in SCHEMAS or name in SILENT, name


@pytest.mark.slow
async def test_every_answer_is_as_promised(lab: Lab) -> None:
    await lab.start(lab.plan(LOADBALANCE))
    await quiet()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    lab.cut("eth1")
    file = written(lab, "new.conf", {**LOADBALANCE, "ports": {"eth1": {}}})
    places = {"FILE": file, "TRACE": str(lab.directory / "t.jsonl")}
    for name, words in ASKED.items():
        code, out, err = await say("team0", *(places.get(word, word) for word in words), "--json")
        assert (code, err) == (0, ""), (name, err)
        document = good(out, name)
        assert document["team"] == "team0"
        code, out, _ = await say("--all", *(places.get(word, word) for word in words), "--json")
        good(json.dumps(good(out, "all")["teams"]["team0"]), name)
    history = good((await say("team0", "history", "--json"))[1], "history")
    assert any("eth1" in event["text"] for event in history["events"])
    assert good((await say("list", "--json"))[1], "list")["teams"]["team0"]["ports"] == {"eth1": False, "eth2": True}
    code, _, err = await say("team0", "metrics", "--json")
    assert (code, "OpenMetrics" in err) == (1, True)


async def test_a_refused_configuration_and_a_missing_port_answer_too(lab: Lab) -> None:
    await lab.start()
    await quiet()
    bad = written(lab, "bad.conf", {**ACTIVE_BACKUP, "ports": {"eth1": {"prio": "high"}}})
    code, out, _ = await say("team0", "config", "apply", bad, "--json")
    assert code == 1
    assert good(out, "config apply")["problems"][0].startswith("1:")
    code, out, _ = await say("team0", "port", "present", "eth9", "--json")
    assert (code, good(out, "port present")["present"]) == (1, False)


REASONS = [
    (["state", "item", "set", "runner.active_port", "eth9"], "eth9 is no port of this team; its ports: eth1, eth2"),
    (["state", "item", "set", "setup.debug_level", "x"], "setup.debug_level must be an integer from 0 to 2147483647"),
    (["state", "item", "set", "setup.pid", "1"], "setup.pid can only be read; what can be set: setup.debug_level; "),
    (["state", "item", "get", "setup.pod"], "there is no pod in setup; there are: runner_name, "),
    (["state", "item", "get", "runner"], "runner is an object; below it there are: active_port"),
    (["state", "item", "get", "setup.pid.x"], "setup.pid is a value, and nothing is below it"),
    (["state", "item", "get", "ports.x"], "a path to an item of a port is ports.NAME.…, "),
    (["port", "config", "update", "eth1", '{"prio": "high"}'], "error: ports.eth1.prio: must be an integer"),
    (["port", "config", "update", "eth1", "{"], "1:1: error: "),
]


@pytest.mark.parametrize(("words", "reason"), REASONS, ids=[" ".join(row[0]) for row in REASONS])
async def test_what_is_refused_is_refused_with_the_reason(lab: Lab, words: list[str], reason: str) -> None:
    """Under our own name: teamdctl says what teamd says."""
    await lab.start()
    await quiet()
    code, out, err = await say("team0", *words)
    assert (code, out) == (1, "")
    assert err.startswith(reason)
    assert len(err.splitlines()) == 1
    theirs = (await say("team0", *words, program="teamdctl"))[2]
    assert theirs.endswith("command call failed (Invalid argument)\n")
    assert reason not in theirs
