"""Coverage-guided fuzzing of everything that reads what others wrote.

    python tests/fuzz/fuzz.py --minutes 10 [TARGET…]       each target in turn, an equal share of the time
    python tests/fuzz/fuzz.py --coverage                    which branches the corpus reaches, per target

How it works: each target runs in a process of its own. With atheris (libFuzzer for Python) the octets follow the branches that were not
taken yet; without it they are mutants of the corpus, chosen blindly. An input that a target lets something escape from is kept in
build/fuzz/, and the status is 1: `fuzz.py --input FILE TARGET` runs it again. What libFuzzer learns is kept in build/fuzz/corpus and
used again; the small corpus beside this file is what a new machine begins with.
"""

from __future__ import annotations

import argparse
import atexit
import json
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build/fuzz"
LONGEST = 8192
MEMORY_MB = 2048
INPUT_S = 20
"""No input may take longer."""


def main() -> int:
    """From the command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--minutes", type=float, default=1.0, help="for all of them together")
    parser.add_argument("--input", type=Path, help="run this one input")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    if options.child is not None:
        child(options.targets[0], options.child, options.plain)
        return 0
    sys.path[:0] = [str(HERE), str(HERE.parent / "kit")]
    import targets

    names = options.targets or list(targets.TARGETS)
    if options.input is not None:
        print(dict(Counter(targets.TARGETS[names[0]](options.input.read_bytes()))))
        return 0
    return max([fuzz(name, options.minutes * 60 / len(names), options.plain) for name in names])


def fuzz(name: str, seconds: float, plain: bool = False) -> int:
    """One target in a process of its own, and a line about it. Returns 1 when something escaped."""
    place = BUILD / name
    place.mkdir(parents=True, exist_ok=True)
    (BUILD / "corpus" / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, name, "--child", str(seconds), *(["--plain"] if plain else [])]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds * 3 + 120)
    (place / "log").write_text(done.stdout + done.stderr)
    counted = Counter(json.loads((place / "counted").read_text())) if (place / "counted").exists() else Counter()
    states = "".join(f", {count} {state}" for state, count in sorted(counted.items()) if state)
    print(f"{name}: {counted.total()} executions in {time.monotonic() - began:.0f} s{states}", flush=True)
    if done.returncode:
        print(f"{name}: something escaped, see {place}/log\n" + "\n".join(done.stderr.splitlines()[-12:]), flush=True)
    return int(done.returncode != 0)


def child(name: str, seconds: float, plain: bool) -> None:
    """The process of one target."""
    logging.disable(logging.CRITICAL)
    sys.path[:0] = [str(HERE), str(HERE.parent / "kit")]
    try:
        if plain:
            raise ImportError
        import atheris
    except ImportError:
        import targets

        blindly(name, counting(name, targets.TARGETS[name]), targets.seeds(name), seconds)
        return
    with atheris.instrument_imports(include=["pyteamd"]):
        import targets

    grown, kept = BUILD / "corpus" / name, HERE / "corpus" / name
    for number, octets in enumerate(targets.seeds(name)):
        (grown / f"seed{number}").write_bytes(octets)
    words = [
        f"-max_total_time={max(1, int(seconds))}",
        f"-max_len={LONGEST}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_S}",
        f"-artifact_prefix={BUILD / name}/",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *words, str(grown), *([str(kept)] if kept.exists() else [])],
        counting(name, targets.TARGETS[name]),
    )
    atheris.Fuzz()


def counting(name: str, target: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """The target as a function that counts its samples, and leaves the sum in a file."""
    counted: Counter[str] = Counter()
    file = BUILD / name / "counted"
    file.unlink(missing_ok=True)
    written = time.monotonic()

    def write() -> None:
        file.write_text(json.dumps(counted))

    def run(octets: bytes) -> None:
        nonlocal written
        counted.update(target(octets))  # type: ignore[call-overload]
        if time.monotonic() > written + 1:
            written = time.monotonic()
            write()

    atexit.register(write)
    return run


def blindly(name: str, run: Callable[[bytes], None], seeds: object, seconds: float, seed: int = 1) -> None:
    """Mutants of the corpus for so long; the one that something escapes from is kept."""
    dice = random.Random(seed)
    corpus = [*seeds, *(path.read_bytes() for path in sorted((HERE / "corpus" / name).glob("*")))]  # type: ignore[misc]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        octets = mutant(corpus, dice)
        try:
            run(octets)
        except BaseException:
            (BUILD / name / "escaped").write_bytes(octets)
            raise


def mutant(corpus: list[bytes], dice: random.Random) -> bytes:
    """One of them, changed in some places."""
    octets = dice.choice(corpus)
    for _ in range(dice.randint(0, 5)):
        at = dice.randrange(len(octets) + 1)
        match dice.randrange(6):
            case 0:
                octets = octets[:at]
            case 1:
                octets = octets[:at] + dice.randbytes(dice.randrange(9)) + octets[at:]
            case 2:
                octets = octets[:at] + octets[at + dice.randrange(9) :]
            case 3:
                other = dice.choice(corpus)
                octets = octets[:at] + other[dice.randrange(len(other) + 1) :]
            case _:
                octets = octets[:at] + dice.randbytes(1) + octets[at + 1 :]
    return octets[:LONGEST]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
