"""Manual pages and completions say what the programs know, all of it."""

from __future__ import annotations

import importlib.util
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pyteamd.cli.pyteamd import help as helptext
from pyteamd.cli.pyteamd import main as cli
from pyteamd.cli.pyteamd import options
from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl import verbs
from pyteamd.cli.pyteamnl import main as nl

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "packaging/pages.py"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manuals_mention_everything(pages: ModuleType) -> None:
    found = {name: text.replace("\\-", "-") for name, text in pages.manuals().items()}
    for option in options.COMMAND_OPTIONS:
        assert f"--{option.long}" in found["pyteamd.8"]
    for name in cli.SUBCOMMANDS:
        assert f".B {name}\n" in found["pyteamd.8"]
    for verb in verbs.VERBS:
        assert " ".join(verb.words) in found["pyteamdctl.8"]
    for words in re.findall(r"^    (\S+)", ctl.EXAMPLES.partition("Examples:")[0], re.MULTILINE):
        assert f".B {words}" in found["pyteamdctl.8"]
    for name, _, text in nl.COMMANDS:
        assert f".B {name}" in found["pyteamnl.8"]
        assert text in found["pyteamnl.8"]
    assert "runner.name" in found["pyteamd.conf.5"]


def test_every_page_has_examples_and_what_the_exit_status_means(pages: ModuleType) -> None:
    for name, text in pages.manuals().items():
        assert ".SH EXAMPLES\n" in text
        assert (".SH EXIT STATUS\n" in text) is name.endswith(".8")


def test_every_option_of_every_command_is_in_the_manual(pages: ModuleType) -> None:
    manual = pages.manuals()["pyteamd.8"].replace("\\-", "-")
    for name in cli.SUBCOMMANDS:
        section = manual.partition(f".SS pyteamd {name}\n")[2].partition("\n.S")[0]
        for action in helptext.parser_of(cli.command(name), name)._actions:
            assert all(option in section for option in action.option_strings), (name, action)
            assert (action.help or "") in section


@pytest.mark.skipif(not shutil.which("man"), reason="no man")
def test_manuals_are_good_roff(pages: ModuleType, tmp_path: Path) -> None:
    for name, text in pages.manuals().items():
        (tmp_path / name).write_text(text)
        command = ["man", "--warnings=all", "-E", "UTF-8", "-l", "-Tutf8", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "MANWIDTH": "80"})
        assert done.stderr == ""


def test_examples_of_the_manual_are_commands_that_exist(pages: ModuleType) -> None:
    for typed, _ in pages.EXAMPLES["pyteamdctl"]:
        words = typed.partition(" |")[0].replace("--all", "TEAM").split()[1:]
        while words[0] == "-H":
            del words[:2]
        assert any(words[1 : 1 + len(verb.words)] == [*verb.words] for verb in verbs.VERBS), typed


def test_every_verb_is_explained(pages: ModuleType) -> None:
    assert [" ".join(verb.words) for verb in verbs.VERBS if " ".join(verb.words) not in pages.VERB_HELP] == []


TYPED = [
    ("pyteamdctl team0 st", "state"),
    ("pyteamdctl team0 state item ", "get set"),
    ("pyteamdctl team0 port config ", "update dump"),
    ("pyteamdctl --one", "--oneline"),
    ("pyteamdctl -o team0 config dump ", "noports actual"),
    ("pyteamnl -p em1 team0 g", "getoption"),
    ("pyteamd --take", "--take-over"),
    ("pyteamd sim", "simulate"),
    ("teamdctl team0 st", "state"),
    ("teamdctl team0 e", ""),
    ("teamd --take", "--take-over"),
    ("teamd sim", ""),
    ("teamnl -p em1 team0 g", "getoption"),
]
ZSH = r"""
PS1=; fpath=({place} $fpath); autoload -Uz compinit; compinit -u -D; cd {place}/empty
_files() {{ :; }}
compadd() {{ local -a found; builtin compadd -O found "$@"; print -r -- "matches $found" >{place}/told; builtin compadd "$@"; }}
print ready >{place}/told
"""
"""In an interactive zsh whose own `compadd` tells which of the words offered fit what was typed."""
WAIT_S = 20


def programs(directory: Path) -> Path:
    """A directory with our programs, as they are in this tree."""
    place = directory / "bin"
    place.mkdir()
    for name, module in (("pyteamd", "pyteamd"), ("pyteamdctl", "pyteamdctl"), ("pyteamnl", "pyteamnl")):
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pyteamd.cli.{module}.main import main; sys.exit(main())"
        (place / name).write_text(f"#!{sys.executable}\n{code}\n")
        (place / name).chmod(0o755)
    return place


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(("line", "expected"), TYPED, ids=[row[0] for row in TYPED])
def test_completion_in_bash(pages: ModuleType, tmp_path: Path, line: str, expected: str) -> None:
    words = line.split(" ")
    script = tmp_path / "completion"
    script.write_text(pages.completions()[f"{words[0]}.bash"])
    at = os.environ["PATH"]
    environment = {**os.environ, "PATH": f"{programs(tmp_path)}:{at}", "PYTEAMD_RUN_DIR": str(tmp_path)}
    ask = f'. {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _{words[0]}; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(
        ["bash", "-c", ask, "bash", *words], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == expected


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_obeys_no_name_that_is_completed(pages: ModuleType, tmp_path: Path) -> None:
    names = ["$(touch obeyed)", "a;touch obeyed", "`touch obeyed`", "eth1"]
    programs(tmp_path).joinpath("pyteamnl").write_text("#!/bin/sh\nprintf '%s\\tlink\\n' words \"$NAMES\"\n")
    script = tmp_path / "completion"
    script.write_text(pages.completions()["pyteamnl.bash"])
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NAMES": "\tlink\n".join(names)}
    typed = f'. {script}; COMP_WORDS=(pyteamnl ""); COMP_CWORD=1; _pyteamnl; eval "printf \'%s\\n\' ${{COMPREPLY[*]}}"'
    done = subprocess.run(
        ["bash", "-c", typed], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path, timeout=20
    )
    assert (done.stdout.splitlines(), done.stderr) == (names, "")
    assert not (tmp_path / "obeyed").exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
@pytest.mark.parametrize(("line", "expected"), TYPED, ids=[row[0] for row in TYPED])
def test_completion_in_fish(pages: ModuleType, tmp_path: Path, line: str, expected: str) -> None:
    script = tmp_path / "completion.fish"
    script.write_text(pages.completions()[f"{line.split(' ')[0]}.fish"])
    environment = {**os.environ, "PATH": f"{programs(tmp_path)}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ask = f"source {script}; complete --do-complete '{line}'"
    done = subprocess.run(["fish", "-c", ask], capture_output=True, text=True, check=True, env=environment)
    assert [told.partition("\t")[0] for told in done.stdout.splitlines()] == sorted(expected.split())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_completion_in_zsh(pages: ModuleType, tmp_path: Path) -> None:
    for name, text in pages.completions().items():
        command, _, shell = name.partition(".")
        if shell == "zsh":
            (tmp_path / f"_{command}").write_text(text)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "told")
    told = os.open(tmp_path / "told", os.O_RDWR | os.O_NONBLOCK)
    place = programs(tmp_path)
    process, terminal = pty.fork()
    if process == 0:
        at = f"{place}:{os.environ['PATH']}"
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PATH": at})

    def type_and_hear(keys: str) -> str:
        os.write(terminal, keys.encode())
        shown = b""
        while (ready := select.select([told, terminal], [], [], WAIT_S)[0]) and told not in ready:
            shown += os.read(terminal, 1 << 16)
        assert ready, f"zsh says nothing after {keys!r}, but: {shown.decode()}"
        return os.read(told, 1 << 16).decode()

    try:
        script = tmp_path / "start"
        script.write_text(ZSH.format(place=tmp_path))
        assert type_and_hear(f". {script}\n") == "ready\n"
        for line, expected in [row for row in TYPED if row[1]]:  # where nothing fits, nothing is told
            found = type_and_hear(f"\x15{line}\t").split()
            assert (found[0], sorted(found[1:])) == ("matches", sorted(expected.split())), line
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
        os.close(told)
