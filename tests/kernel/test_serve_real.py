"""`pyteamd serve` on the real driver: two teams in one process, C teamdctl as the eye, and a failure of one of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from lab_kit import PYTEAMD, bench, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="many teams in a process")]


def test_two_teams_in_one_process(tmp_path: Path) -> None:
    def write(team: str, *ports: str) -> None:
        config = {"runner": {"name": "activebackup"}, "ports": {port: {} for port in ports}}
        (tmp_path / f"{team}.conf").write_text(json.dumps(config))

    with bench(4) as on:
        write("team0", "em1", "em2")
        write("team1", "em3")
        words = ["ip", "netns", "exec", on.host, *shlex.split(PYTEAMD), "serve", str(tmp_path)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: on.on_host("teamdctl team1 port present em3").status == 0, 20.0)
            wait_for(lambda: on.active() == "em1")
            assert on.on_host("pyteamdctl list").out == (
                "team0: activebackup; em1 up, em2 up; active port em1\nteam1: activebackup; em3 up; active port em3\n"
            )
            both = on.on_host("pyteamdctl --all state item get runner.active_port")
            assert both.out == "== team0\nem1\n== team1\nem3\n"
            on.on_host("ip link del team1")
            wait_for(lambda: on.on_host("teamdctl team1 state").status != 0)
            on.cut(1)
            wait_for(lambda: on.active() == "em2")
            write("team1", "em4")
            os.kill(process.pid, signal.SIGHUP)
            wait_for(lambda: on.active(team="team1") == "em4")
            (tmp_path / "team1.conf").unlink()
            os.kill(process.pid, signal.SIGHUP)
            wait_for(lambda: on.on_host("ip link show team1").status != 0)
            assert on.active() == "em2"
        finally:
            process.terminate()
            _, told = process.communicate(timeout=20)
        assert process.returncode == 0, told
        assert on.on_host("ip link show team0").status != 0
