"""`explain`: one golden sentence (explain_golden.txt) per cause (explain_causes.py)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from explain_causes import CAUSES
from explain_kit import Told, backup, begin, told

from pyteamd.model.desired import OptionKey
from pyteamd.model.events import PortRemove
from pyteamd.runners.base import Reason
from pyteamd.runners.lacp.blocked import Obstacle
from pyteamd.runners.lacp.words import SENTENCES
from pyteamd.views.explain import duration, sentence

GOLDEN = dict(
    line.split(maxsplit=1) for line in (Path(__file__).parents[1] / "kit/explain_golden.txt").read_text().splitlines()
)


@cache
def made_by(name: str) -> Told:
    """The world in which something has its cause; looked at, not changed."""
    return CAUSES[name][0]()


@pytest.mark.parametrize("name", list(CAUSES))
def test_every_cause_has_its_sentence(name: str) -> None:
    assert made_by(name).line(CAUSES[name][1]) == GOLDEN[name]


def test_no_sentence_without_its_cause() -> None:
    assert set(GOLDEN) == set(CAUSES)


@pytest.mark.parametrize("name", list(CAUSES))
def test_carrying_is_what_the_kernel_does(name: str) -> None:
    """A port that is said to carry traffic is enabled and has a link; one that is not, lacks one of these or is not the active one."""
    made, port = made_by(name), CAUSES[name][1]
    carrying = made.reasons()[port].carrying
    link = made.world.kernel.find_link(port)
    view = made.team.ports.named(port)
    usable = view is not None and link is not None and link.running and made.world.carrier() and team_up(made)
    if usable and view is not None:
        options = {seen.key: seen.value for seen in made.world.device().options()}
        usable = options[OptionKey("enabled", view.ifindex)] is True
        usable = usable and options.get(OptionKey("activeport"), view.ifindex) == view.ifindex
        if options[OptionKey("user_linkup_enabled", view.ifindex)]:
            usable = usable and options[OptionKey("user_linkup", view.ifindex)] is True
    assert carrying is usable


def team_up(made: Told) -> bool:
    """Administratively up."""
    return made.world.device().link.up


def test_a_link_that_was_to_be_taken_and_was_refused_says_so() -> None:
    config = backup(eth1={}, eth2={"steal": True})
    made = told(config, start=False)
    made.world.make_other("br0", "bridge")
    made.world.set_master("eth2", "br0")
    made.world.refuse("enslave", "eth2", None, "EBUSY")
    begin(made, config)
    made.world.set_master("eth2", "br0")  # which the refused try took from it
    line = made.line("eth2")
    assert line.startswith("eth2: belongs to br0, and was refused: add port eth2: device or resource busy"), line
    assert line.endswith("; it is tried again with other settings (pyteamdctl team0 port add eth2)"), line


def test_a_port_that_is_just_leaving_is_not_said_to_belong_to_the_team() -> None:
    made = told(backup())
    made.team.handle(PortRemove(made.world.ifindex_of("eth2")), made.world.clock)
    assert made.line("eth2").startswith("eth2: is no port: it was removed by command"), made.line("eth2")
    assert "belongs" not in made.line("eth2"), made.line("eth2")


def test_every_block_of_lacp_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Obstacle)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (41.2, "41 s"),
        (119.0, "119 s"),
        (121.0, "2 min"),
        (7300.0, "2 h"),
        (180000.0, "2 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        ("", "x: standby: (b), c for 5.0 s (h)"),
        (": y is active", "x: standby: (b), c for 5.0 s: y is active (h)"),
        (" (partner z), well", "x: standby: (b), c for 5.0 s (partner z), well (h)"),
    ],
)
def test_the_time_stands_behind_the_first_clause_whatever_is_in_it(rest: str, line: str) -> None:
    assert sentence("x", Reason(True, "standby: (b), c", "h", 2.0, rest), 7.0) == line
