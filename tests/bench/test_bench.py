"""The bench itself, small: it measures on a real kernel, and a program against itself comes out even."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent / "bench.py"
LIMIT_S = 300


def measure(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the bench. What it measures beside other guests is no judgement of anything: only that it is measured and told."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S + 30, check=False)
    if ended.returncode == 77:
        pytest.skip(ended.stderr.strip())
    return ended


@pytest.mark.lab
@pytest.mark.slow
def test_the_bench_measures_and_writes_what_it_found(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    command = [sys.executable, str(BENCH), "--world", "uml", "--out", str(file), "--timeout", str(LIMIT_S)]
    command += ["--cuts", "16", "--blocks", "2", "--idle", "1", "--scenario", "failover"]
    command += ["--candidate", "teamd=teamd", "--candidate", "bare loop=python3 tests/bench/floor.py"]
    ended = measure(command)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    assert "out by the other port, median (ms)" in ended.stdout
    found = json.loads(file.read_text())
    for name in ("teamd", "bare loop"):
        samples = found["samples"]["failover"][name]
        assert len(samples["out_ms"]) == len(samples["in_ms"]) == 16
        assert len(samples["event_ms"]) == len(samples["switch_ms"]) == 8
        for quantity in ("out_ms", "in_ms", "event_ms", "switch_ms"):
            assert all(took_ms > 0.05 for took_ms in samples[quantity]), samples[quantity]
        assert len(samples["start_ms"]) == 2
        assert 1 < samples["rss_mb"][0] < 100
    median = {name: statistics.median(found["samples"]["failover"][name]["out_ms"]) for name in ("teamd", "bare loop")}
    ratio = found["summary"]["failover"]["out_ms.median"]["bare loop"]["ratio"]
    assert ratio == pytest.approx(median["bare loop"] / median["teamd"])


@pytest.mark.lab
@pytest.mark.slow
def test_a_scenario_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    """Cuts are few: what the other scenario measures is kept, whatever it is."""
    file = tmp_path / "bench.json"
    once = "test -e /tmp/ran || { touch /tmp/ran; echo no such luck; exit 3; }; exec teamd"
    command = [
        sys.executable,
        str(BENCH),
        "--world",
        "uml",
        "--out",
        str(file),
        "--cuts",
        "2",
        "--blocks",
        "1",
        "--idle",
        "0.1",
    ]
    command += ["--scenario", "lacp", "--scenario", "failover", "--candidate", f"teamd=sh -c '{once} \"$@\"' sh"]
    ended = measure(command)
    assert ended.returncode == 1, f"{ended.stdout}{ended.stderr}"
    assert "bench: lacp failed: teamd: did not start, exit status 3: no such luck" in ended.stdout, ended.stdout
    found = json.loads(file.read_text())
    assert list(found["failed"]) == ["lacp"], found["failed"]
    assert len(found["samples"]["failover"]["teamd"]["out_ms"]) == 4
