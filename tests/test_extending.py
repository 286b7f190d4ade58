"""docs/extending.md: the watcher and the runner it shows are complete, and do what its scenarios say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pyteamd.cli.pyteamdctl import state_text
from pyteamd.config.config import Config
from pyteamd.config.document import example, json_schema, reference
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.errors import UserError
from pyteamd.runners import RUNNERS
from pyteamd.runners.base import SETTABLE
from pyteamd.scenario import script as scenario
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.schema.option import options_of
from pyteamd.schema.problems import ConfigError
from pyteamd.views.explain import explain, sentence
from pyteamd.views.state import set_request, state

DOCUMENT = Path(__file__).parents[1] / "docs/extending.md"
REGISTRIES = (WATCHERS, RUNNERS)
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


def test_no_transcript_changes_with_another_plug_in() -> None:
    """A transcript that lists all watchers or runners, as an error does, would be a fifth file to touch."""
    listed = [
        ", ".join(name for name in registry.places if name not in ("steady", "lowest")) for registry in REGISTRIES
    ]
    scripts = (DOCUMENT.parents[1] / "tests/scenarios").glob("*.txt")
    assert [path.name for path in scripts if any(names in path.read_text() for names in listed)] == []


def played(watcher: str, runner: str) -> SimulatedWorld:
    """A world in which a team with these two has run for a while and lost a port."""
    world = SimulatedWorld()
    for name in ("TEAM1", "eth2"):
        world.make_port(name, 1000, 1)
    config = {"runner": {"name": runner}, "link_watch": {"name": watcher}, "ports": {"TEAM1": {}, "eth2": {}}}
    world.start(json.dumps(config), adopt=False, enslave=True, keep=False)
    world.set_admin("team0", True)
    world.pass_time(2.0)
    world.set_peer("TEAM1", False)
    return world


def test_the_client_shows_plug_ins_it_never_heard_of() -> None:
    """Below -v what the watcher says of itself, and what the runner says in any case; under teamdctl's name as teamdctl does."""
    tree = state(played("steady", "lowest").running().team)
    text = "\n".join(state_text.view(tree, 1, in_words=True))
    assert "instance[link_watch_0]:\n        name: steady\n        link: down\n        down count: 1\n" in text
    assert "down count: 1\n        quiet: 1000\n        breaks: 1\n" in text
    assert text.endswith("runner:\n  active_port: eth2")
    assert "quiet" not in "\n".join(state_text.view(tree, 0, in_words=True))
    with pytest.raises(state_text.ViewError, match="unknown link watch info dump"):
        list(state_text.view(tree, 1))


def test_members_of_any_shape_are_shown() -> None:
    tree = state(played("steady", "lowest").running().team)
    tree["ports"]["eth2"]["runner"] = {"deep": {"er": [1, "two", True]}, "nothing": None, "off": False}
    text = "\n".join(state_text.view(tree, 0, in_words=True))
    assert "    runner:\n      deep:\n        er: 1, two, yes\n      nothing: none\n      off: no\n" in text


def test_explain_speaks_for_plug_ins() -> None:
    """No sentence is searched for words: neither a delay's, nor the name of the team in a port's name."""
    world = played("steady", "lowest")
    team, now = world.running().team, world.now()
    told = {name: sentence(name, reason, now) for name, reason in explain(team, now).items()}
    assert told["eth2"] == "eth2: carries all traffic, the first port that is up"
    assert told["TEAM1"].startswith("TEAM1: no carrier for 0.0 s (")
    world.set_peer("TEAM1", True)
    world.pass_time(0.4)
    reason = explain(team, world.now())["TEAM1"]
    assert sentence("TEAM1", reason, world.now()) == "TEAM1: carrier not steady for 0.4 s, 1 breaks so far, 0.6 s left"


@pytest.mark.parametrize(
    ("runner", "path", "value"),
    [
        ("lowest", "runner.active_port", "eth2"),
        ("lowest", "setup.pid", "1"),
        ("activebackup", "runner.active_port", ""),
    ],
)
def test_what_a_runner_does_not_name_cannot_be_set(runner: str, path: str, value: str) -> None:
    """It is not asked; what can be set is said by the classes."""
    team = played("steady", runner).running().team
    if value:
        with pytest.raises(UserError) as caught:
            set_request(team, path, value)
        assert caught.value.reason == f"{path} can only be read; what can be set: {'; '.join(SETTABLE)}"
    else:
        assert set_request(team, path, value).path == path


def test_a_hint_names_the_team_and_the_port_as_they_are() -> None:
    world = played("ethtool", "activebackup")
    world.set_peer("TEAM1", True)
    assert explain(world.running().team, world.now())["TEAM1"].hint.endswith(
        "pyteamdctl team0 state item set runner.active_port TEAM1"
    )


def test_documents_name_plug_ins() -> None:
    schema, manual = json.dumps(json_schema(RUNNERS, WATCHERS)), reference(RUNNERS, WATCHERS)
    for word in ("steady", "lowest", "quiet"):
        assert word in schema
        assert word in manual
    assert "quiet" in example(RUNNERS["lowest"], WATCHERS["steady"])


def test_a_plug_in_gets_its_configuration_checked_like_any_other() -> None:
    text = '{"device": "team0", "runner": {"name": "lowest"}, "link_watch": {"name": "steady", "quiet": -1}, "ports": {"eth1": {}}}'
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS)
    (problem,) = config.port("eth1").problems
    assert "quiet" in str(problem)
    assert options_of(WATCHERS["steady"].Config)["quiet"].help
    with pytest.raises(ConfigError, match="lowest"):
        Config.load('{"device": "team0", "runner": {"name": "lowets"}}', runners=RUNNERS, watchers=WATCHERS)


ROOT = DOCUMENT.parents[1]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "build", "*.egg-info", "golden")
FILES = {
    "steady": ("linkwatch/steady.py", "linkwatch/__init__.py", "tests/scenarios/steady.txt", "examples/steady.yaml"),
    "lowest": ("runners/lowest.py", "runners/__init__.py", "tests/scenarios/lowest.txt", "examples/lowest.yaml"),
}
"""What following the document touches: the class, its line, a scenario, an example."""
EXAMPLES = {"steady": ("activebackup", "steady"), "lowest": ("lowest",)}


def in_copy(copy: Path, *words: str) -> str:
    """A program of Python in the copy; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_document_to_the_letter(tmp_path: Path) -> None:
    copy, document = tmp_path / "tree", DOCUMENT.read_text()
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
    for name, source, story in zip(FILES, blocks("python"), blocks("scenario"), strict=True):
        module, registry, scenario_file, configuration = FILES[name]
        (line,) = re.findall(rf'"{name}": "pyteamd\.[\w.:]+",', document)
        for place in FILES[name]:
            assert place in document, place
        (copy / module).write_text(source)
        (copy / scenario_file).write_text(story)
        (copy / registry).write_text((copy / registry).read_text().replace("    {\n", f"    {{\n        {line}\n", 1))
        typed = ("example", *EXAMPLES[name])
        assert f"pyteamd {' '.join(typed)} > {configuration}" in document
        (copy / configuration).write_text(in_copy(copy, "-m", "pyteamd", *typed))
    in_copy(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_architecture.py")
    in_copy(copy, "-m", "pyteamd", "simulate", "--check", *(FILES[name][2] for name in FILES))
    examples = [FILES[name][3] for name in FILES]
    assert in_copy(copy, "-m", "pyteamd", "check", *examples).count(": good") == len(examples)
    in_copy(copy, "packaging/pages.py", "pages")
    told = in_copy(copy, "-m", "pyteamd", "--complete", "example", "")
    for text in (in_copy(copy, "-m", "pyteamd", "schema"), (copy / "pages/pyteamd.conf.5").read_text()):
        assert "steady" in text
        assert "lowest" in text
    assert "lowest\tSends everything through the first port, by interface index, that is up.\n" in told
