"""Coverage-guided fuzzing of everything that reads what others wrote.

    python tests/fuzz/fuzz.py --minutes 10 [TARGET…]       each target in turn, an equal share of the time
    python tests/fuzz/fuzz.py --executions 1000000 [TARGET…]
                                                           each target so often, whatever time that takes
    python tests/fuzz/fuzz.py --coverage --minutes 1        share of the branches that the corpus and mutants of it reach

How it works: each target runs in a process of its own. With atheris (libFuzzer for Python) the octets follow the branches that were not
taken yet; without it they are mutants of the corpus, chosen blindly. An input that a target lets something escape from is kept in
build/fuzz/, and the status is 1: `fuzz.py --input FILE TARGET` runs it again. What libFuzzer learns is kept in build/fuzz/corpus and
used again; the small corpus beside this file is what a new machine begins with.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import gc
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build/fuzz"
LONGEST = 8192
MEMORY_MB = 2048
INPUT_S = 20
"""No input may take longer."""
START_S = 600.0
"""To instrument the modules takes 10 s of processor, and a fuzzer is given what others leave."""
A_DAY_S = 86400.0


def main() -> int:
    """From the command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--minutes", type=float, default=1.0, help="for all of them together")
    parser.add_argument("--executions", type=int, default=0, help="of each target, instead of a time")
    parser.add_argument("--coverage", action="store_true", help="count branches; needs coverage.py")
    parser.add_argument("--input", type=Path, help="run this one input")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--seed", type=int, default=1, help="of the mutants without atheris")
    options = parser.parse_args()
    if options.child is not None:
        child(options.targets[0], Amount(options.child, options.executions), options.plain, options.seed)
        return 0
    sys.path[:0] = [str(HERE), str(HERE.parent / "kit")]
    import targets

    names = options.targets or list(targets.TARGETS)
    if options.input is not None:
        print(dict(Counter(targets.TARGETS[names[0]](options.input.read_bytes()))))
        return 0
    seconds = A_DAY_S if options.executions else options.minutes * 60 / len(names)
    words = [*(["--plain"] if options.plain else []), "--seed", str(options.seed)]
    amount = Amount(seconds, options.executions)
    if options.coverage:
        if find_spec("coverage") is None:
            parser.error("--coverage counts by coverage.py: pip install coverage")
        return max([cover(name, amount, targets.SOURCES[name]) for name in names])
    return max([fuzz(name, amount, words) for name in names])


@dataclass(frozen=True, slots=True)
class Amount:
    """How long: for so many seconds, and for so many executions at most where that is not 0."""

    seconds: float
    executions: int = 0


def fuzz(name: str, amount: Amount, words: Sequence[str] = (), program: Sequence[str] = ()) -> int:
    """One target in a process of its own, and a line about it. Returns 1 when something escaped."""
    place = BUILD / name
    place.mkdir(parents=True, exist_ok=True)
    (BUILD / "corpus" / name).mkdir(parents=True, exist_ok=True)
    how_long = ["--child", str(amount.seconds), "--executions", str(amount.executions)]
    command = [sys.executable, *program, __file__, name, *how_long, *words]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=amount.seconds * 3 + START_S
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: does not end: an input without an end, or a machine that gives it no time", flush=True)
        return 1
    (place / "log").write_text(done.stdout + done.stderr)
    counted = Counter(json.loads((place / "counted").read_text())) if (place / "counted").exists() else Counter()
    states = "".join(f", {count} {state}" for state, count in sorted(counted.items()) if state)
    print(f"{name}: {counted.total()} executions in {time.monotonic() - began:.0f} s{states}", flush=True)
    if done.returncode:
        what = f"ended by signal {-done.returncode}" if done.returncode < 0 else "something escaped"
        print(f"{name}: {what}, see {place}/log\n" + "\n".join(done.stderr.splitlines()[-12:]), flush=True)
    return int(done.returncode != 0)


def cover(name: str, amount: Amount, sources: Sequence[str]) -> int:
    """The target without atheris, under coverage.py, and a line for each file. Returns 1 when something escaped."""
    place = BUILD / name
    root = HERE.parents[1]
    file = f"--data-file={place}/branches"
    status = fuzz(name, amount, ["--plain"], ["-m", "coverage", "run", "--branch", file])
    include = ",".join(f"*/{source}" for source in sources)
    report = ["-m", "coverage", "json", "-q", file, f"--include={include}", "-o", f"{place}/covered.json"]
    subprocess.run([sys.executable, *report], check=True, cwd=root)
    found = json.loads((place / "covered.json").read_text())
    print(f"{name}: {share(found['totals'])}", flush=True)
    for path, counts in sorted(found["files"].items()):
        print(f"    {path}: {share(counts['summary'])}", flush=True)
    return status


def share(counts: dict[str, int]) -> str:
    """In words."""
    taken, all_ = counts["covered_branches"], counts["num_branches"]
    return f"{taken} of {all_} branches, {100 * taken // max(1, all_)} %"


def child(name: str, amount: Amount, plain: bool, seed: int) -> None:
    """The process of one target."""
    logging.disable(logging.CRITICAL)
    sys.path[:0] = [str(HERE), str(HERE.parent / "kit")]
    try:
        if plain:
            raise ImportError
        import atheris
    except ImportError:
        import targets

        with suppress(Enough):
            blindly(name, counting(name, targets.TARGETS[name], amount), targets.seeds(name), seed)
        return
    with atheris.instrument_imports(include=["pyteamd"]):
        import targets

    grown, kept = BUILD / "corpus" / name, HERE / "corpus" / name
    for number, octets in enumerate(targets.seeds(name)):
        (grown / f"seed{number}").write_bytes(octets)
    words = [
        f"-max_total_time={max(1, int(amount.seconds))}",
        f"-max_len={LONGEST}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_S}",
        f"-artifact_prefix={BUILD / name}/",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *words, str(grown), *([str(kept)] if kept.exists() else [])],
        ending(counting(name, targets.TARGETS[name], amount)),
        custom_mutator=structured,
    )
    atheris.Fuzz()


def structured(octets: bytes, longest: int, seed: int) -> bytes:
    """libFuzzer's own changes, and those of JSON where it is some: octets alone hardly ever make another good file of one."""
    import atheris

    dice = random.Random(seed)
    changed = json_mutant(octets, dice) if octets[:1] == b"{" and seed % 4 else b""
    return changed[:longest] or atheris.Mutate(octets, longest)


class Enough(Exception):
    """This many executions were wanted."""


def ending(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The same for libFuzzer, which takes every exception for a find; it has written its corpus by then."""

    def ended(octets: bytes) -> None:
        try:
            run(octets)
        except Enough:
            os._exit(0)

    return ended


def counting(name: str, target: Callable[[bytes], object], amount: Amount) -> Callable[[bytes], None]:
    """The target as a function that counts its samples, leaves the sum in a file, and says when it is enough."""
    counted: Counter[str] = Counter()
    file = BUILD / name / "counted"
    file.unlink(missing_ok=True)
    end = time.monotonic() + amount.seconds
    written, inputs = time.monotonic(), 0

    def write() -> None:
        file.write_text(json.dumps(counted))

    gc.collect()
    gc.freeze()  # the modules stay; a tenth of the time goes into looking at them again

    def run(octets: bytes) -> None:
        nonlocal written, inputs
        for state in target(octets):  # type: ignore[attr-defined]
            counted[state] += 1
        inputs += 1
        enough = 0 < amount.executions <= counted.total() if inputs % 32 == 0 else False
        now = time.monotonic()
        if now > written + 1 or enough:
            written = now
            write()
        if enough or now > end:
            raise Enough

    atexit.register(write)
    return run


def blindly(name: str, run: Callable[[bytes], None], seeds: Iterable[bytes], seed: int) -> None:
    """The corpus and mutants of it until it is Enough; the input that something else escapes from is kept."""
    dice = random.Random(seed)
    corpus = [*seeds, *kept(name)]
    inputs = chain(corpus, (mutant(corpus, dice) for _ in count()))
    for octets in inputs:
        try:
            run(octets)
        except Enough:
            raise
        except BaseException:
            (BUILD / name / "escaped").write_bytes(octets)
            raise


def kept(name: str) -> list[bytes]:
    """What was found worth keeping: here, and on this machine."""
    places = (HERE / "corpus" / name, BUILD / "corpus" / name)
    return [path.read_bytes() for place in places for path in sorted(place.glob("*"))]


def mutant(corpus: list[bytes], dice: random.Random) -> bytes:
    """One of them, changed in some places: half of those that are JSON in their values, all others in their octets."""
    octets = dice.choice(corpus)
    if dice.random() < 0.5 and (changed := json_mutant(octets, dice)):
        return changed[:LONGEST]
    return octet_mutant(octets, corpus, dice)


ODD = (
    None,
    True,
    0,
    -1,
    1.5,
    1e400,
    255,
    65536,
    2**63,
    2**64,
    "",
    "x",
    "\ud800",
    "\x1b[",
    "0",
    "lacp",
    [],
    {},
    [[]],
    {"hex": "00"},
)
"""What a value may become."""


def json_mutant(octets: bytes, dice: random.Random) -> bytes:
    """The same with another value in some places of one of its lines; nothing when that line is no JSON of some size."""
    lines = octets.split(b"\n")
    at = dice.randrange(len(lines))
    try:
        tree = json.loads(lines[at])
        places = list(places_in(tree))
        for _ in range(min(len(places), dice.choice((1, 1, 1, 2, 5)))):
            change(*dice.choice(places), [value for _, _, value in places], dice)
        lines[at] = json.dumps(tree, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return b""
    return b"\n".join(lines) if places else b""


def places_in(tree: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Every container in it with each of its keys, and what is there."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key, value
        yield from places_in(value)


def change(container: Any, key: Any, value: Any, others: Sequence[Any], dice: random.Random) -> None:
    """One value: an odd one, one from elsewhere in the same text, a number near by, gone, or under another key."""
    there = key in container if isinstance(container, dict) else key < len(container)
    new = copy.deepcopy(dice.choice((dice.choice(ODD), dice.choice(others))))
    if type(value) in (int, float) and dice.random() < 0.5:
        new = value + dice.choice((-1, 1, 256, -value, 0.5))
    match dice.randrange(6):
        case 0 if there:
            del container[key]
        case 1 if isinstance(container, dict):
            container[dice.choice(("new", "version", str(dice.choice(ODD))))] = new
        case 2 if isinstance(container, list):
            container.append(new)
        case _ if there:
            container[key] = new


def octet_mutant(octets: bytes, corpus: list[bytes], dice: random.Random) -> bytes:
    """The same with other octets in some places."""
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
