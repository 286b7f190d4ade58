"""The fuzz targets for some seconds in each test run, and the proof that they find what is planted."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import fuzz
import pytest
import targets

from pyteamd.kernel import rtnl
from pyteamd.model.events import FrameSeen, LinkSeen
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.views import state as statetree

SECONDS = 5.0
"""For each target; with the start, less than a minute for all."""
PATIENCE = 2_000


def inputs(name: str, seed: int) -> Iterator[bytes]:
    """The corpus, then mutants of it."""
    corpus = [*targets.seeds(name), *(path.read_bytes() for path in sorted((fuzz.HERE / "corpus" / name).glob("*")))]
    yield from corpus
    dice = random.Random(seed)
    while True:
        yield fuzz.mutant(corpus, dice)


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.TARGETS)
def test_nothing_escapes(name: str) -> None:
    counted: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    for octets in inputs(name, seed=7):
        counted.update(targets.TARGETS[name](octets))
        if time.monotonic() > end:
            break
    assert counted.total() > 50
    if name == "team":
        served = sum(count for state, count in counted.items() if state.endswith("in service"))
        assert served > counted.total() / 3, counted


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_corpus(name: str) -> None:
    for path in sorted((Path(__file__).parent / "corpus" / name).glob("*")):
        list(targets.TARGETS[name](path.read_bytes()))
    for octets in targets.seeds(name):
        assert list(targets.TARGETS[name](octets))


def planted_in_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's message with a number of which one bit is set."""
    link = rtnl._link

    def wrong(hardware: int, ifindex: int, *rest: Any) -> LinkSeen:
        return link(hardware, b""[ifindex] if ifindex & 0x40 else ifindex, *rest)

    monkeypatch.setattr(rtnl, "_link", wrong)


def planted_in_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that the LACP machines are not ready for: of a version in the far future, in service."""
    handle = Lacp.handle

    def wrong(self: Lacp, event: Any, *rest: Any) -> None:
        if isinstance(event, FrameSeen) and len(event.payload) > 1 and event.payload[1] > 0xB7:
            raise KeyError(event.payload[1])
        handle(self, event, *rest)

    monkeypatch.setattr(Lacp, "handle", wrong)


def planted_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item below a port that has another name than the one in the corpus."""
    split_path = statetree.split_path

    def wrong(team: Any, path: str, malformed: tuple[str, str]) -> list[str]:
        keys = path.split(".")
        assert keys[0] != "ports" or len(keys) < 3 or keys[1] == "eth7", "planted"
        return split_path(team, path, malformed)

    monkeypatch.setattr(statetree, "split_path", wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plant"),
    [("netlink", planted_in_a_length), ("team", planted_in_a_machine), ("items", planted_in_a_path)],
)
def test_a_planted_fault_is_found(
    name: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for octets in targets.seeds(name):
        list(targets.TARGETS[name](octets))
    plant(monkeypatch)
    with pytest.raises((IndexError, KeyError, AssertionError)):
        run_all(name, PATIENCE)


def run_all(name: str, count: int) -> None:
    """This many inputs."""
    for octets in islice(inputs(name, seed=3), count):
        list(targets.TARGETS[name](octets))
