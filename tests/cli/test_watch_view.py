"""What `watch` shows, without a terminal: looks and keys in, lines out."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import CARRIES, DAMPING, LACP, NEIGHBOUR, NO_CARRIER, broken, look, port, reason

from pyteamd.cli.pyteamdctl.watch_lines import Style, cut, width
from pyteamd.cli.pyteamdctl.watch_rates import BARS, SPAN_S, Rates, bars, bits, graph
from pyteamd.cli.pyteamdctl.watch_view import Leave, Page, Turn, View

STANDBY = reason("em4", False, "standby for 2.7 s: em1 is active", "standby")
MISSING = reason("em9", False, "there is no such interface (it joins when it appears)", "no_port")
SILENT = reason("em3", True, f"{CARRIES}, but has received nothing for 41 s while em2 received", doubt="silent")
WAITS = reason(
    "em6", False, "not in service for 1.0 s: failed before, waits to restore, 58.0 s left", "wait_to_restore"
)
MIXED = [STANDBY, reason("em2"), WAITS, SILENT, broken("em1"), MISSING]
FORTY = [broken(f"em{n}") if n % 5 == 0 else reason(f"em{n}") for n in range(1, 41)]
SIZES = [(80, 24), (200, 50)]


def view(rows: list[dict], looks: int = 1, **more: object) -> View:
    """A view that has looked so many times, once a second, up to second 100."""
    made = View("team0")
    for n in range(looks):
        made.saw(look(rows, 101.0 - looks + n, 1_000_000 * n, **more))
    texts(made)  # as the shell does before it reads a key
    return made


def texts(made: View, columns: int = 80, lines: int = 24, now_s: float = 100.0) -> list[str]:
    """The screen without styles."""
    return [line.text.rstrip() for line in made.lines(columns, lines, now_s)]


def order(made: View) -> list[str]:
    """Names of the ports as they are listed."""
    return [row["port"] for row in made.rows()]


def press(made: View, *keys: str) -> None:
    """Keys that ask nothing of the shell."""
    for key in keys:
        assert made.press(key) is None


def test_broken_ports_come_first_and_in_red_and_every_kind_has_its_own_look() -> None:
    made = view(MIXED)
    assert order(made) == ["em1", "em9", "em3", "em6", "em2", "em4"]
    styles = {
        line.pieces[0][0].split()[-1]: line.pieces[0][1]
        for line in made.lines(80, 24, 100.0)[4:16]
        if len(line.pieces) > 2
    }
    assert styles == {
        "em1": Style.BROKEN,
        "em9": Style.BROKEN,
        "em3": Style.DOUBTFUL,
        "em6": Style.WAITING,
        "em2": Style.CARRYING,
        "em4": Style.STANDBY,
    }
    assert "2 broken" in texts(made)[1]


@pytest.mark.parametrize(("columns", "lines"), SIZES)
@pytest.mark.parametrize("rows", [[reason("em1"), broken("em2")], FORTY], ids=["2", "40"])
def test_it_fills_the_screen_and_no_more(columns: int, lines: int, rows: list[dict]) -> None:
    made = view(rows, 5)
    for keys in ([], ["?"], ["?", "enter"], ["escape"]):
        press(made, *keys)
        shown = texts(made, columns, lines)
        assert len(shown) == lines
        assert max(map(width, shown)) <= columns
        assert shown[-1].startswith("q leave")
        assert shown[0].startswith("team0")


def test_two_ports_are_told_in_full_sentences() -> None:
    shown = texts(view([reason("em1"), broken("em2")]))
    assert f"    {NO_CARRIER}" in shown
    assert f"    {CARRIES}" in shown
    assert shown.index(f"    {NO_CARRIER}") < shown.index(f"    {CARRIES}")
    assert any(line.endswith("em1: event 3 of 3.") for line in shown)


def test_of_forty_ports_it_says_how_many_are_not_shown_and_how_many_of_those_are_broken() -> None:
    made = view([broken(f"em{n}") if n > 20 else reason(f"em{n}") for n in range(1, 41)])
    (line,) = [line for line in texts(made) if "not shown" in line]
    names = [
        text.split()[0]
        for text in (line[2:] for line in texts(made))
        if text.startswith("em") and ("full" in text or "no link" in text)
    ]
    count = len(names)
    assert line == f"  {40 - count} ports not shown (↓ {40 - count}), {20 - count} of them broken"
    press(made, "end")
    (line,) = [line for line in texts(made) if "not shown" in line]
    assert line == f"  {40 - count} ports not shown (↑ {40 - count}), 20 of them broken"
    assert any(text.startswith("▸ em20") for text in texts(made))
    assert not any("not shown" in text for text in texts(made, 200, 60))


def test_the_chosen_port_stays_on_the_screen_wherever_the_cursor_goes() -> None:
    made = view(FORTY)
    for key in ["down"] * 20 + ["pagedown", "pagedown", "down", "pageup", "up", "home", "end"]:
        press(made, key)
        assert sum(text.startswith("▸ ") for text in texts(made)) == 1
        assert made.chosen in order(made)
    press(made, "home")
    assert made.chosen == order(made)[0]


def test_a_port_that_goes_leaves_the_cursor_on_another() -> None:
    made = view(FORTY)
    press(made, "end")
    made.saw(look(FORTY[:3], 101.0))
    assert any(text.startswith("▸ em1") for text in texts(made))
    made.saw(look([], 102.0))
    assert "  no ports" in texts(made)
    press(made, "down", "enter")
    assert made.page is Page.PORTS


def test_a_filter_looks_at_names_and_sentences() -> None:
    made = view(FORTY)
    press(made, "/", *"EM7")
    assert texts(made)[-1].startswith("/EM7_")
    assert order(made) == ["em7"]
    press(made, "backspace", "backspace", "backspace", *"no car", "enter")
    assert len(order(made)) == 8
    assert "only those with 'no car'" in texts(made)[1]
    press(made, "/", *"rrr")
    assert any("no port has 'no carrrr'" in text for text in texts(made))
    press(made, "escape")
    assert len(order(made)) == 40
    press(made, "/", "q", "escape")  # a letter, while a text is typed


def test_it_sorts_by_state_name_and_rates() -> None:
    made = View("team0")
    for at_s in (99.0, 100.0):
        seen = look(MIXED, at_s)
        seen.counters.update({"em2": (int(at_s) * 10, int(at_s) * 1), "em4": (int(at_s), int(at_s) * 100)})
        made.saw(seen)
    press(made, "s")
    assert order(made) == ["em1", "em2", "em3", "em4", "em6", "em9"]
    press(made, "s")
    assert order(made)[:2] == ["em2", "em4"]
    press(made, "s")
    assert order(made)[:2] == ["em4", "em2"]
    press(made, "s")
    assert order(made)[0] == "em1"


def test_the_page_of_a_port_has_everything_there_is_to_know() -> None:
    full = port("em2", runner=LACP, neighbour=NEIGHBOUR, damping=DAMPING)
    made = view([broken("em1"), reason("em2", text="in service for 12 s")], 5, ports={"em2": full})
    press(made, "down", "enter")
    shown = texts(made, 100, 80)
    for line in (
        "em2  carries",
        "  in service for 12 s",
        "  link     10G full",
        "  ethtool  up, down count 1",
        "  receive     current",
        "  mux         distributing, independent",
        "  aggregate   led by interface 3, in use",
        "  partner     65535,02:bb:00:00:00:01  key 7  port 255,1",
        "              active, long timeout, aggregatable, in sync, collecting, distributing",
        "  lacpdus received  41",
        "  drops version     2",
        "  system name  sw1",
        "  aggregation  capable yes, enabled yes",
        "  penalty     800",
        "last 3 minutes, full height: 8.0Mbit/s",
    ):
        assert line in shown, "\n".join(shown)
    assert "churns" not in "\n".join(shown)
    made.saw(look([broken("em1")], 101.0))
    assert any("em2 is neither a port nor to be one" in text for text in texts(made))
    assert made.press("escape") is None
    assert made.page is Page.PORTS


def test_a_bfd_watcher_and_the_events_of_the_port_stand_there_too() -> None:
    full = port("em1", up=False)
    full["link_watches"]["list"]["link_watch_0"] |= {
        "name": "bfd",
        "state": "Down",
        "peer": {"state": "AdminDown", "discriminator": 7},
        "drops": {"auth": 3},
    }
    made = view([broken("em1")], ports={"em1": full})
    press(made, "enter")
    shown = texts(made, 80, 60)
    assert "  bfd  down, down count 1" in shown
    assert "    state       Down" in shown
    assert "    peer        state AdminDown, discriminator 7" in shown
    assert "    drops       auth 3" in shown
    assert [text.split("  ")[-1] for text in shown if "event" in text and "of 3" in text] == [
        f"em1: event {n} of 3." for n in (1, 2, 3)
    ]


def test_a_long_page_is_moved_with_the_arrows_and_says_what_is_not_shown() -> None:
    made = view([reason("em1")], ports={"em1": port("em1", runner=LACP, neighbour=NEIGHBOUR, damping=DAMPING)})
    press(made, "enter")
    first = texts(made, 80, 10)
    assert first[-2].endswith("not shown (↓ " + first[-2].split()[0] + ")")
    press(made, "end")
    assert texts(made, 80, 10)[-3].endswith("event 3 of 3.")
    assert "↑" in texts(made, 80, 10)[-2]
    press(made, "up", "home")
    assert texts(made, 80, 10) == first


def test_where_the_cable_leads_stands_in_the_list() -> None:
    made = view([broken("em1")], ports={"em1": port("em1", False, neighbour=NEIGHBOUR)})
    assert "leads to sw1 Ethernet3" in " ".join(texts(made))


def test_all_teams_are_a_page_and_one_of_them_can_be_chosen() -> None:
    made = view([reason("em1")])
    assert made.press("t") == Turn(None)
    made.saw_teams([("team0", "team0: lacp; em1 up"), ("team1", "team1: random; no ports")])
    shown = texts(made)
    assert shown[0] == "2 teams"
    assert "▸ team0: lacp; em1 up" in shown
    press(made, "down")
    assert made.press("enter") == Turn("team1")
    assert "asking its daemon" in texts(made)[0]
    made.saw(look([reason("em1")], 101.0))  # still of the team before
    assert made.look is None
    made.saw(look([reason("em7")], 102.0, team="team1"))
    assert texts(made)[0].startswith("team1")
    assert made.press("t") == Turn(None)
    assert made.press("escape") == Turn("team1")


def test_without_a_daemon_it_says_so_and_says_when_there_is_one_again() -> None:
    made = view([reason("em1")])
    made.lose("connection refused", 100.0)
    made.lose("no such file", 101.0)
    shown = " ".join(texts(made, now_s=104.2))
    assert "no daemon for 4 s: no such file; trying again. What stands below is old." in shown
    assert "em1" in shown
    made.saw(look([reason("em1")], 107.0))
    assert texts(made, now_s=107.5)[1] == "connected again after 7 s without a daemon"
    assert "connected" not in " ".join(texts(made, now_s=130.0))


def test_the_carrier_of_the_team_and_the_sum_stand_at_the_top() -> None:
    made = View("team0")
    for at_s in (99.0, 100.0):
        seen = look([reason("em1")], at_s, carrier=False)
        seen.counters["team0"] = (int(at_s) * 125_000, int(at_s) * 1_250_000)
        made.saw(seen)
    title = made.lines(100, 24, 100.0)[0]
    assert title.text.endswith("activebackup, active port em2, carrier down, in 1.0M, out 10.0M bit/s")
    assert (", carrier down", Style.BROKEN) in title.pieces


def test_q_leaves_from_every_page() -> None:
    for keys in ([], ["?"], ["enter"], ["t"]):
        made = view([reason("em1")])
        texts(made)
        for key in keys:
            made.press(key)
        assert made.press("q") == Leave()


def test_a_daemon_that_tells_no_causes_is_shown_too() -> None:
    rows = [{name: row[name] for name in ("port", "carrying", "text")} for row in (reason("em1"), broken("em2"))]
    shown = "\n".join(texts(view(rows)))
    assert "carries nothing" in shown.replace("carries noth…", "carries nothing")


def test_rates_follow_the_counters_and_forget_a_link_that_began_again() -> None:
    rates = Rates()
    rates.add(0.0, {"em1": (1000, 0)})
    assert rates.now("em1") is None
    rates.add(2.0, {"em1": (2000, 500)})
    assert rates.now("em1") == (4000.0, 2000.0)
    rates.add(3.0, {"em1": (10, 0)})  # another link of this name
    assert rates.peak(["em1", "em2"]) == 4000.0
    rates.add(4.0, {})
    assert rates.now("em1") is None
    rates.add(4.0 + SPAN_S, {"em1": (0, 0)})
    assert rates.peak(["em1"]) == 0.0


def test_bars_show_the_highest_rate_of_each_stretch_the_newest_last() -> None:
    rates = Rates()
    for second in range(181):
        rates.add(float(second), {"em1": (second * 10 + 5000 * (second >= 100) + 800 * (second >= 40), 0)})
    cells = rates.cells("em1", sent=False, count=18, now_s=180.0)
    shown = bars(cells, rates.peak(["em1"]))
    assert len(shown) == 18
    assert shown[9] == BARS[-1] or shown[10] == BARS[-1]
    assert shown[3] == BARS[1] or shown[4] == BARS[1]
    assert bars(rates.cells("em1", sent=True, count=18, now_s=180.0), 1.0).strip("· ") == ""
    assert bars(rates.cells("nobody", sent=True, count=3, now_s=0.0), 1.0) == "   "


def test_slow_looks_leave_no_holes() -> None:
    rates = Rates()
    for second in range(0, 100, 10):
        rates.add(float(second), {"em1": (second * 100, 0)})
    shown = bars(rates.cells("em1", sent=False, count=90, now_s=95.0), 800.0)
    assert " " not in shown.lstrip()


def test_a_graph_of_several_lines_has_the_same_height() -> None:
    assert graph([0.0, 50.0, 100.0, None], 100.0, 2) == ["  █ ", "·██ "]
    assert graph([1.0], 100.0, 4) == [" ", " ", " ", "▁"]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.6, "1.0k"),
        (28_100, "28.1k"),
        (99_960, "100k"),
        (950e6, "950M"),
        (9.4e9, "9.4G"),
        (2e15, "2000T"),
    ],
)
def test_rates_in_five_characters(rate: float, text: str) -> None:
    assert bits(rate) == text
    assert len(text) <= 5


@settings(max_examples=25, deadline=None)
@given(st.text("ab ▁名́x"), st.integers(0, 12))
def test_cut_is_never_longer(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns or columns == 0


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 210), st.integers(1, 60))
def test_no_size_and_no_keys_break_it(seed: int, columns: int, lines: int) -> None:
    chance = random.Random(seed)
    made = view(chance.choice([MIXED, FORTY, [reason("名前名前"), broken("em2")], []]), 2)
    keys = ["up", "down", "enter", "escape", "backspace", "left", "pageup", "end", "t", "/", "s", "?", "x", ""]
    for key in itertools.chain([""], chance.choices(keys, k=12)):
        made.press(key)
        shown = made.lines(columns, lines, 100.0)
        assert len(shown) <= lines
        assert all(width(line.text) <= columns for line in shown)
