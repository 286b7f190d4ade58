"""`config apply --confirm` from the command line; threads do not wait for a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon_kit import ACTIVE_BACKUP, Lab, quiet
from test_ctl_extra import say, written


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


async def test_config_apply_on_trial(lab: Lab) -> None:
    await lab.start()
    await quiet()
    new = written(lab, "new.conf", {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 9}}})
    code, out, _ = await say("team0", "config", "apply", new, "--confirm", "60")
    assert (code, out.splitlines()[-1]) == (0, "1 change in force for 60 s; keep with: pyteamdctl team0 config confirm")
    code, _, err = await say("team0", "config", "apply", new)
    assert (code, f"{new}: error: another configuration waits for `config confirm`" in err) == (1, True)
    assert await say("team0", "config", "confirm") == (0, "confirmed: the configuration stays\n", "")
    assert lab.option("priority", "eth2") == 9
    code, _, err = await say("team0", "config", "revert")
    assert (code, "No configuration waits to be confirmed." in err) == (1, True)
    for words in (("--confirm",), ("--confirm", "x"), ("--confirm=0",), ("--confirm", "60", "--dry-run")):
        assert (await say("team0", "config", "apply", new, *words))[0] == 1
