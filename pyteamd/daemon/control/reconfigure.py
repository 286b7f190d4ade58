"""Going over to another configuration on a user's request: the part of it that waits. What changes is decided in reload.py.

The steps: compare; look up the hosts that are new; hand the text to the Team as one event; and if the kernel refuses something of it, hand
the old text back, so that it is all or nothing.
"""

from __future__ import annotations

import json
from typing import Any

from pyteamd.core import reload
from pyteamd.daemon.pump import Pump
from pyteamd.model.errors import UserError
from pyteamd.model.events import ConfigApply, Refused
from pyteamd.model.words import VANISHED, describe
from pyteamd.schema import json_text

RESOLVE_TIMEOUT_S = 4.0
"""Clients wait 5 s."""
APPLY, DRY_RUN = "apply", "dry-run"


async def config_apply(pump: Pump, text: str, how: str) -> str:
    """The control method. `how`: "apply" or "dry-run"."""
    if how not in (APPLY, DRY_RUN):
        raise UserError("InvalidArgs", "Did not receive correct message arguments.")
    return json.dumps(await change(pump, text, "", dry_run=how == DRY_RUN))


async def change(pump: Pump, text: str, file: str, dry_run: bool = False) -> dict[str, Any]:
    """Go over to the configuration in this text. Returns what was changed, or what is wrong with it, in words."""
    plan = reload.plan(pump.team, text, file)
    report: dict[str, Any] = {
        "applied": False,
        "changes": [
            {"path": change.path, "disruption": change.disruption.value, "text": change.text()}
            for change in plan.changes
        ],
        "problems": list(plan.refusals),
        "warnings": list(plan.warnings) if plan.config is not None else [],
    }
    if plan.config is None or dry_run:
        return report
    await _look_up(pump, plan)
    before, written, choice = (
        json_text.dumps(pump.team.config.dump()),
        pump.team.config.written,
        pump.team.runner.choice(),
    )
    try:
        refused = meant(await pump.request(ConfigApply(text)))
    except UserError as error:
        report["problems"] = [error.text]
        return report
    if refused:
        await pump.request(ConfigApply(before, written, choice))
        name_of = pump.team.facts.name_of
        report["problems"] = [f"the kernel refuses: {describe(each.write, each.errno, name_of)}" for each in refused]
        return report
    report["applied"] = True
    return report


async def _look_up(pump: Pump, plan: reload.Changes) -> None:
    """Find the addresses of hosts that are not known yet; those that cannot be found refuse the configuration later."""
    assert plan.config is not None
    new = plan.config
    if hosts := reload.unknown_hosts(pump.team, new):
        pump.resolve(hosts)
        await pump.until(lambda: not reload.unknown_hosts(pump.team, new), RESOLVE_TIMEOUT_S)


def meant(refused: tuple[Refused, ...]) -> list[Refused]:
    """Refusals that say something against the configuration; a link that vanished just now does not."""
    return [refusal for refusal in refused if refusal.errno not in VANISHED]
