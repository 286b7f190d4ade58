"""The page of `pyteamd timeline` in a real browser: it opens, complains of nothing, and shows lanes and marks."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd import simulate
from pyteamd.cli.pyteamd.timeline import page
from pyteamd.views.lanes import Value
from pyteamd.views.timeline import Mark, Span, Timeline

SCENARIOS = Path(__file__).parents[1] / "scenarios"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser (Debian: chromium)"),
]


def opened(path: Path) -> tuple[str, list[str]]:
    """What the page has become in the browser, and what it complained of."""
    command = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent}/profile"),
        *(
            "--enable-logging=stderr",
            "--window-size=1400,900",
            "--virtual-time-budget=2000",
            "--dump-dom",
            path.as_uri(),
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_scenario_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "page.html"
    assert simulate.main([str(SCENARIOS / "lacp-restart.txt"), "--timeline", str(made)], "pyteamd simulate") == 0
    assert "events and writes drawn" in capsys.readouterr().out
    tree, complaints = opened(made)
    assert complaints == []
    lanes = re.findall(r'class="lane" data-port="(\w+)" data-lane="([^"]+)"', tree)
    assert {("eth1", "carrier"), ("eth1", "LACP receive"), ("eth1", "LACP mux"), ("eth2", "enabled")} <= set(lanes)
    assert "collecting distributing" in tree
    assert len(re.findall(r'<path class="mark [^"]*" data-kind=', tree)) >= 5
    assert len(re.findall("<tr tabindex", tree)) >= 20


TRY = """
<script>
const tried = {}, rows = () => document.querySelectorAll("#list tr").length;
const type = key => document.dispatchEvent(new KeyboardEvent("keydown", {key: key}));
tried.all = rows();
search.value = "Activeport eth2"; search.oninput();
tried.found = [...document.querySelectorAll("#list tr")].map(row => row.textContent);
tried.dim = document.querySelectorAll(".mark.dim").length;
search.value = ""; search.oninput();
document.querySelector("#list tr:last-child").click();
tried.near = rows();
tried.pinned = document.querySelectorAll("#plot .cross").length;
type("0"); tried.again = rows();
type("+"); tried.closer = to - from;
type("ArrowRight"); tried.moved = from;
plot.dispatchEvent(new WheelEvent("wheel", {deltaY: 1, clientX: 700, clientY: 300}));
tried.wider = to - from;
type("0");
const box = plot.getBoundingClientRect();
const point = (kind, x) => plot.dispatchEvent(new PointerEvent(kind, {clientX: box.left + x, clientY: box.top + 60, pointerId: 1}));
plot.setPointerCapture = () => {};
point("pointerdown", 300); point("pointermove", 400); point("pointerup", 500);
tried.dragged = to - from;
document.title = JSON.stringify({...tried, length: length});
</script>
</body>"""


def test_zoom_and_search(tmp_path: Path) -> None:
    made = tmp_path / "page.html"
    assert simulate.main([str(SCENARIOS / "damping.txt"), "--timeline", str(made)], "pyteamd simulate") == 0
    made.write_text(made.read_text().replace("</body>", TRY))
    tree, complaints = opened(made)
    assert complaints == []
    title = re.search("<title>(.*?)</title>", tree)
    assert title
    tried = json.loads(html.unescape(title[1]))
    assert tried["found"]
    assert all("set activeport to eth2" in row for row in tried["found"])
    assert tried["dim"] > 0
    assert tried["near"] < tried["all"] == tried["again"]
    assert tried["pinned"] == 2, "the hair and the moment"
    assert tried["closer"] == pytest.approx(tried["length"] / 2)
    assert tried["moved"] > 0
    assert tried["closer"] < tried["wider"]
    assert 0 < tried["dragged"] < tried["length"] / 3


def test_the_story_that_the_documents_show_is_true() -> None:
    assert simulate.main(["--check", str(SCENARIOS.parents[1] / "docs/lacp-night.txt")], "pyteamd simulate") == 0


def test_a_hostile_name_is_a_word_in_the_browser_too(tmp_path: Path) -> None:
    name = '</script><img src=x onerror="console.error(1)"><b>'
    made = Timeline(name, name, 0.0, 1.0, {(name, name): [Span(0.0, 1.0, Value(name, "bad"))]})
    made.marks.append(Mark(0.5, name, "warning", name))
    (tmp_path / "page.html").write_text(page(made))
    tree, complaints = opened(tmp_path / "page.html")
    assert complaints == []
    assert "<img" not in tree
    assert "&lt;img src=x" in tree


def test_a_page_with_a_fault_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        page(Timeline("team0", "lacp", 0.0, 1.0)).replace("draw();\n</script>", "drew();\n</script>")
    )
    _, complaints = opened(tmp_path / "page.html")
    assert len(complaints) == 1
    assert "drew" in complaints[0]
