"""JSON schema, commented examples and manual: they agree with the loader. And the example files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from config_kit import RUNNERS, WATCHERS, told
from schema_kit import wrong

from pyteamd.config.config import Config, TeamConfig
from pyteamd.config.document import example, json_schema, needed_keys, reference
from pyteamd.linkwatch import WATCHERS as REAL_WATCHERS
from pyteamd.linkwatch.base import Watcher
from pyteamd.runners import RUNNERS as REAL_RUNNERS
from pyteamd.runners.base import Runner
from pyteamd.schema.option import options_of
from pyteamd.schema.text import read

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*"))
SCHEMA = json_schema(RUNNERS, WATCHERS)
HIDDEN = re.compile(r"^( *)#(?! )(.*)$", re.MULTILINE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_examples_load_without_a_word(path: Path) -> None:
    text = path.read_text()
    config = Config.load(text, runners={**RUNNERS, **REAL_RUNNERS}, watchers={**WATCHERS, **REAL_WATCHERS})
    assert config.problems == []
    assert config.team.device == "team0"
    schema = json_schema({**RUNNERS, **REAL_RUNNERS}, {**WATCHERS, **REAL_WATCHERS})
    assert wrong(read(text).tree, schema) == []


GOOD: list[Any] = [
    {},
    {"runner": {}},
    {"ports": {"em1": {"prio": 5}}},
    {"runner": {"name": "lacp", "min_ports": 1024}, "ports": {"em1": {"lacp_key": 5, "link_watch": []}}},
    {"link_watch": [{"name": "ethtool", "delay_up": 5}, {"name": "arp_ping", "target_host": "a"}]},
    {"runner": {"name": "loadbalance", "tx_balancer": {"name": "basic"}, "tx_hash": []}},
    {"hwaddr": "2:0:5e:0:53:1", "notify_peers": {"count": 0}},
]
BAD: list[Any] = [
    [],
    {"devise": "x"},
    {"device": 5},
    {"hwaddr": "x"},
    {"notify_peers": {"count": -1}},
    {"notify_peers": {"cuont": 1}},
    {"debug_level": 2**31},
    {"runner": {"name": "nope"}},
    {"runner": {"name": "roundrobin", "fast_rate": True}},
    {"runner": {"fast_rate": True}},
    {"runner": {"name": "lacp", "min_ports": 0}},
    {"runner": {"name": "lacp", "min_ports": True}},
    {"runner": {"name": "loadbalance", "tx_hash": ["x"]}},
    {"runner": {"name": "loadbalance", "tx_balancer": {"name": "x"}}},
    {"ports": []},
    {"ports": {"em1": 5}},
    {"ports": {"em1": {"lacp_key": 5}}},
    {"runner": {"name": "lacp"}, "ports": {"em1": {"lacp_key": 65536}}},
    {"link_watch": {}},
    {"link_watch": {"name": "tipc"}},
    {"link_watch": [{"name": "ethtool", "interval": 5}]},
    {"link_watch": {"name": "arp_ping"}},
    {"ports": {"em1": {"link_watch": {"name": "x"}}}},
]


@pytest.mark.parametrize("tree", GOOD, ids=json.dumps)
def test_the_schema_takes_what_the_loader_takes(tree: Any) -> None:
    assert wrong(tree, SCHEMA) == []


@pytest.mark.parametrize("tree", BAD, ids=json.dumps)
def test_the_schema_refuses_what_the_loader_complains_about(tree: Any) -> None:
    assert told(json.dumps(tree)) != []
    assert wrong(tree, SCHEMA) != []


def test_the_schema_can_be_written_as_json_and_helps_an_editor() -> None:
    schema = json.loads(json.dumps(SCHEMA))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$defs"]["runner_lacp"]["properties"]["min_ports"] == {
        "type": "integer",
        "description": "So many at least.",
        "minimum": 1,
        "maximum": 1024,
        "default": 1,
    }


PAIRS = [(runner, WATCHERS["ethtool"]) for runner in RUNNERS.values()]
PAIRS += [(RUNNERS["roundrobin"], watcher) for watcher in WATCHERS.values()]
REAL_PAIRS = [(runner, REAL_WATCHERS["ethtool"]) for runner in REAL_RUNNERS.values()]
REAL_WATCHER_PAIRS = [(REAL_RUNNERS["roundrobin"], watcher) for watcher in REAL_WATCHERS.values()]


@pytest.mark.parametrize(("runner", "watcher"), PAIRS + REAL_PAIRS + REAL_WATCHER_PAIRS)
def test_a_commented_example_can_be_used_as_it_is(runner: type[Runner], watcher: type[Watcher]) -> None:
    config = loaded(example(runner, watcher, device="team9", ports=["em1", "em2"]), runner, watcher)
    assert config.problems == []
    assert (config.team.device, config.port_names()) == ("team9", ["em1", "em2"])
    assert config.runner == runner.Config()
    assert [cls for cls, _ in config.port("em2").watchers] == [watcher]


@pytest.mark.parametrize(
    ("runner", "watcher"),
    [*PAIRS[:2], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS[2:] + REAL_PAIRS)],
)
def test_every_hidden_key_of_an_example_may_be_shown(runner: type[Runner], watcher: type[Watcher]) -> None:
    """One at a time, since some exclude each other. Give an option a `sample` if its key fails here."""
    text = example(runner, watcher)
    shown = list(each_shown(text.splitlines()))
    for line, changed in shown:
        assert loaded(changed, runner, watcher).problems == [], line
        assert read(changed).tree != read(text).tree, line
    specs = [
        spec
        for cls in (TeamConfig, runner.Config, runner.PortConfig, watcher.Config)
        for spec in options_of(cls).values()
    ]
    needed = needed_keys(watcher.Config) | {"device"}
    assert len(shown) == len([spec for spec in specs if spec.path not in needed])


def each_shown(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each hidden key, and the text with this one shown; with the line of its section, if it is in a hidden one."""
    section: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            section = None
        if not HIDDEN.match(line):
            continue
        if line.endswith(":"):
            section = number
            continue
        if section is not None and line.index("#") == lines[section].index("#"):
            section = None
        yield (
            line,
            "\n".join(HIDDEN.sub(r"\1\2", text) if at in (number, section) else text for at, text in enumerate(lines)),
        )


def loaded(text: str, runner: type[Runner], watcher: type[Watcher]) -> Config:
    return Config.load(text, runners={runner.name: runner}, watchers={watcher.name: watcher})


def test_the_manual_has_every_key() -> None:
    text = reference(RUNNERS, WATCHERS)
    for cls in (TeamConfig, *(watcher.Config for watcher in WATCHERS.values())):
        for spec in options_of(cls).values():
            assert f'.BR {spec.path} "' in text
    for runner in RUNNERS.values():
        for spec in options_of(runner.Config).values():
            assert f'.BR runner.{spec.path} "' in text
    assert text.count('.BR prio "') == 1
    assert text.count('.BR ports.NAME.lacp_key "') == 1
    assert text.count('.BR ports.NAME.sticky "') == 2
    assert "System priority. 0 to 65535. Default: 65535." in text


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff to check man macros with")
def test_the_manual_has_no_errors_in_its_macros() -> None:
    page = f".TH x 5\n.SH OPTIONS\n{reference(RUNNERS, WATCHERS)}"
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    # Lines are filled and words divided as the width of the page asks for.
    assert "Who has which" in " ".join(done.stdout.split())
