"""The JSON Schema, judged by a validator that is not ours: it is a schema, it takes every example and every output of `example`, and it
says of every key what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pyteamd.config.config import TeamConfig
from pyteamd.config.document import example, json_schema
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema.option import options_of

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*"))
SCHEMA = json_schema(RUNNERS, WATCHERS)
JUDGE = Draft202012Validator(SCHEMA)


def wrong(text: str) -> list[str]:
    """What an editor would underline: YAML and JSON alike."""
    return [f"{error.json_path}: {error.message}" for error in JUDGE.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema_that_says_which() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"].startswith("https://")
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_it_takes_every_example(path: Path) -> None:
    assert wrong(path.read_text()) == []


@pytest.mark.parametrize("watcher", list(WATCHERS))
@pytest.mark.parametrize("runner", list(RUNNERS))
def test_it_takes_what_example_prints(runner: str, watcher: str) -> None:
    assert wrong(example(RUNNERS[runner], WATCHERS[watcher])) == []


@pytest.mark.parametrize("runner", list(RUNNERS))
def test_it_takes_what_example_prints_with_every_key_in_use(runner: str) -> None:
    text = example(RUNNERS[runner], WATCHERS["ethtool"])
    used = "\n".join(
        line.replace("#", "", 1) if line.lstrip().startswith("#") and line.lstrip()[1:2] != " " else line
        for line in text.splitlines()
    )
    assert wrong(used) == []


@pytest.mark.parametrize(
    "text",
    [
        "runner: {name: nope}",
        "ports: {eth0: {prio: high}}",
        "ports: {eth0: 5}",
        "runner: {name: lacp, fast_rat: true}",
        "link_watch: {name: arp_pong}",
    ],
)
def test_it_refuses(text: str) -> None:
    assert wrong(text)


def properties(tree: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property that the schema declares."""
    if isinstance(tree, dict):
        for name, value in tree.get("properties", {}).items():
            yield f"{path}/{name}", value
        for key, value in tree.items():
            if key not in ("if", "then"):  # they say again what is declared elsewhere
                yield from properties(value, f"{path}/{key}")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from properties(value, f"{path}[{number}]")


def test_every_key_is_described_and_has_its_default() -> None:
    told = list(properties(SCHEMA))
    assert told
    fixed = ("const", "$ref")
    assert [path for path, value in told if "description" not in value and not any(key in value for key in fixed)] == []
    declared = [cls for one in RUNNERS.values() for cls in (one.Config, one.PortConfig)]
    declared += [TeamConfig, *(one.Config for one in WATCHERS.values())]
    known = {
        spec.path.rpartition(".")[2]
        for cls in declared
        for spec in options_of(cls).values()
        if spec.default is not None and not spec.required
    }
    both = {path.rpartition("/")[2] for path, value in told if "default" in value}
    assert known <= both
