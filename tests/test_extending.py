"""docs/extending.md: the watcher and the runner it shows are complete, and do what its scenarios say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.scenario import script as scenario
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.schema.option import options_of
from pyteamd.schema.problems import ConfigError

DOCUMENT = Path(__file__).parents[1] / "docs/extending.md"
BLOCK = re.compile(r"^```(python|scenario)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind, in order."""
    return [text for found, text in BLOCK.findall(DOCUMENT.read_text()) if found == kind]


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two classes, in the registries as the document says."""
    watcher, runner = blocks("python")
    for number, (source, registry, name) in enumerate(((watcher, WATCHERS, "steady"), (runner, RUNNERS, "lowest"))):
        module = ModuleType(f"extending_{number}")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
        exec(compile(source, str(DOCUMENT), "exec"), vars(module))
        monkeypatch.setitem(registry.places, name, f"{module.__name__}:{name.capitalize()}")


@pytest.mark.parametrize("number", [0, 1])
def test_the_scenarios_of_the_document(number: int) -> None:
    differences = scenario.check(blocks("scenario")[number], SimulatedWorld)
    assert not differences, "\n".join(differences)


def test_a_plug_in_gets_its_configuration_checked_like_any_other() -> None:
    text = '{"device": "team0", "runner": {"name": "lowest"}, "link_watch": {"name": "steady", "quiet": -1}, "ports": {"eth1": {}}}'
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    (problem,) = config.port("eth1").problems
    assert "quiet" in str(problem)
    assert options_of(WATCHERS["steady"].Config)["quiet"].help
    with pytest.raises(ConfigError, match="lowest"):
        Config.load('{"device": "team0", "runner": {"name": "lowets"}}', runners=RUNNERS, watchers=WATCHERS)
