"""Scripts with words that are missing, odd or in the wrong place: a transcript, or one line that says what is wrong. Never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd.simulate import main

SCRIPTS = [path.read_text() for path in sorted((Path(__file__).parents[1] / "scenarios").glob("*.txt"))]
SHORT = [text for text in SCRIPTS if len(text) < 1500]
ODD = [
    *"{}[]%=+-",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "\x1b[2J",
    "eth9",
    "x=",
    "=x",
    "101%",
    "+-1s",
    "{}",
    "\0",
    "",
]
SCRIPTS_EACH = 20


def damaged(dice: random.Random) -> str:
    """One of them, changed in up to three lines."""
    lines = dice.choice(SHORT).splitlines()
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        words = lines[at].split(" ")
        word = dice.randrange(len(words))
        match dice.randrange(5):
            case 0:
                del words[word]
            case 1:
                words.insert(word, dice.choice(ODD))
            case 2:
                words[word] = dice.choice(ODD)
            case 3:
                words = dice.choice(dice.choice(SHORT).splitlines()).split(" ")
            case _:
                words[word] = words[word][: dice.randrange(len(words[word]) + 1)] + dice.choice(ODD)
        lines[at] = " ".join(words)
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_script_is_a_transcript_or_one_line(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(seed)
    file = tmp_path / "script.txt"
    for _ in range(SCRIPTS_EACH):
        file.write_text(damaged(dice))
        status = main([str(file)], "pyteamd simulate")
        told = capsys.readouterr()
        assert len(told.err.splitlines()) == status
