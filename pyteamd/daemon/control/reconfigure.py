"""Going over to another configuration on a user's request: the part of it that waits. What changes is decided in reload.py.

The steps: compare; look up the hosts that are new; hand the text to the Team as one event; and if the kernel refuses something of it, hand
the old text back, so that it is all or nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, suppress
from typing import Any

from pyteamd.core import reload
from pyteamd.core.backoff import port_of
from pyteamd.core.team import Team
from pyteamd.daemon import read_file
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.unconfirmed import Unconfirmed
from pyteamd.model.desired import Level, Note
from pyteamd.model.errors import INVALID_ARGUMENTS, UserError
from pyteamd.model.events import ConfigApply, Refused
from pyteamd.model.incidents import Incident
from pyteamd.model.limits import LONGEST_TRIAL_S
from pyteamd.model.words import BELONGS, VANISHED, describe
from pyteamd.schema import json_text
from pyteamd.values import replace

RESOLVE_TIMEOUT_S = 4.0
"""Clients wait 5 s."""
APPLY, DRY_RUN, CONFIRM = "apply", "dry-run", "confirm "
KEEP, REVERT = "keep", "revert"
RETRY_S = 10.0
"""Ports may keep the driver from changing the runner just now."""
TAKEN_BACK = "The configuration was not confirmed in time and is taken back; the file it came from is as it was."


class Unreadable(UserError):
    """The configuration that was kept is damaged and can never come back."""


async def config_apply(pump: Pump, text: str, how: str) -> str:
    """The control method. `how`: "apply", "dry-run", or "confirm N": to be taken back unless confirmed within N seconds."""
    confirm_s = seconds_of(how) if how.startswith(CONFIRM) else None
    if how not in (APPLY, DRY_RUN) and confirm_s is None:
        raise UserError(*INVALID_ARGUMENTS)
    report = await change(pump, text, "", dry_run=how == DRY_RUN, confirm_s=confirm_s)
    if report["applied"] and report["changes"]:
        within = f"; it is taken back unless confirmed within {confirm_s:.0f} s" if confirm_s else ""
        text = f"A configuration that a user gave is in force{within}."
        pump.log([Note(Level.INFO, text, incident=Incident.CONFIG_APPLIED)])
    return json.dumps(report)


def seconds_of(how: str) -> float | None:
    """The N of "confirm N"; None when it is no time that can be waited for."""
    with suppress(ValueError):
        seconds = float(how.removeprefix(CONFIRM))
        if 0 < seconds <= LONGEST_TRIAL_S:
            return seconds
    return None


async def config_confirm(pump: Pump, how: str) -> str:
    """The control method. `how`: "keep" what is on trial, or "revert" to what was before."""
    trial = pump.unconfirmed
    if how not in (KEEP, REVERT):
        raise UserError(*INVALID_ARGUMENTS)
    if trial.before is None or (how == REVERT and not await take_back(pump, trial.before)):
        raise UserError("NothingToConfirm", "No configuration waits to be confirmed.")
    if how == KEEP:
        trial.end()
        pump.log([Note(Level.INFO, "The configuration is confirmed.")])
    else:
        pump.log([Note(Level.INFO, "The configuration is taken back, as a user wants it.")])
    return json.dumps({"confirmed": how == KEEP})


async def take_back_unconfirmed(pump: Pump, guard: Callable[[], AbstractContextManager[None]]) -> None:
    """Whenever a configuration was not confirmed in time, go back to the one before. Until cancelled.

    `guard`: makes a UserError of whatever is raised in it: a fault here must not end the team.
    """
    told = ""
    while True:
        before = await pump.unconfirmed.due()
        try:
            with guard():
                done = await take_back(pump, before)
        except UserError as error:
            if isinstance(error, Unreadable):
                pump.unconfirmed.end()
            pump.unconfirmed.postpone(RETRY_S)
            if error.text != told:
                when = "and stays" if isinstance(error, Unreadable) else "yet"
                pump.log([Note(Level.ERROR, f"The configuration cannot be taken back {when}: {error.text}")])
            told = error.text
        else:
            if done:
                pump.log([Note(Level.WARNING, TAKEN_BACK, incident=Incident.CONFIG_TAKEN_BACK)])
            told = ""


async def take_back(pump: Pump, before: ConfigApply) -> bool:
    """Go back to this configuration, unless a user decides while hosts are looked up. Returns whether that was done.

    UserError when it is refused. The trial goes on then: what is in the way may pass, such as ports while the runner is another one.
    """
    plan = reload.plan(pump.team, before.text, lenient=True)
    if plan.config is None:
        kind = Unreadable if plan.unreadable else UserError
        raise kind(reload.REFUSED, "; ".join(plan.refusals))
    await _look_up(pump, plan)
    if pump.unconfirmed.before is not before:
        return False
    refused = meant(await pump.request(before))
    pump.unconfirmed.end()
    facts = pump.team.facts
    words = [describe(each, facts.name_of, facts.links.get) for each in refused]
    pump.log(Note(Level.ERROR, f"the kernel refuses: {reason}") for reason in words)
    return True


async def change(
    pump: Pump, text: str, file: str, dry_run: bool = False, confirm_s: float | None = None
) -> dict[str, Any]:
    """Go over to the configuration in this text, for good or until `confirm_s` have passed without a confirmation.

    Returns what was changed, or what is wrong with it, in words.
    """
    try:
        await read_file.off_loop(lambda: pump.team.config.read_ahead(text, file))
    except OSError as error:
        return {"applied": False, "changes": [], "problems": [f"reading it {error.strerror}"], "warnings": []}
    pump.learn(ConfigApply(text))
    plan = reload.plan(pump.team, text, file, links=pump.kernel)
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
    trial = pump.unconfirmed
    if confirm_s is None and trial.before is not None:  # perhaps only since hosts are looked up
        report["problems"] = [f"another configuration waits for `config confirm`, for {trial.left_s():.0f} s yet"]
        return report
    before = in_force(pump.team)
    begins = confirm_s is not None and trial.before is None and bool(plan.changes)
    report["problems"] = (
        _begin(trial, replace(before, tried=plan.config.written), confirm_s)
        if confirm_s is not None and plan.changes
        else []
    )
    if not report["problems"]:
        report["problems"] = await _hand_over(pump, text, before)
    if report["problems"] and begins:
        trial.end()
    report["applied"] = not report["problems"]
    return report


def in_force(team: Team) -> ConfigApply:
    """What brings all back that is in force now."""
    text, joining = json_text.dumps_oneline(team.config.dump()), team.joining
    kept, out, former = joining.to_keep(), tuple(team.members.out.items()), tuple(joining.former.items())
    return ConfigApply(text, team.config.written, team.runner.choice(), kept, team.view.mac.hex(), out, former)


def _begin(trial: Unconfirmed, before: ConfigApply, seconds: float) -> list[str]:
    """Make sure that it can be taken back. Returns what is in the way."""
    try:
        trial.begin(before, seconds)
    except OSError as error:
        return [f"what is in force cannot be kept for taking it back: {os.strerror(error.errno or 0)}"]
    return []


async def _hand_over(pump: Pump, text: str, before: ConfigApply) -> list[str]:
    """All or nothing. Returns what is in the way."""
    try:
        outside = pump.team.joining.settings_of_refused()
        refused = meant(await pump.request(ConfigApply(text)), outside)
    except UserError as error:
        return [error.text]
    if refused:
        await pump.request(before)
    facts = pump.team.facts
    return [f"the kernel refuses: {describe(each, facts.name_of, facts.links.get)}" for each in refused]


async def _look_up(pump: Pump, plan: reload.Changes) -> None:
    """Find the addresses of hosts that are not known yet; those that cannot be found refuse the configuration later."""
    assert plan.config is not None
    new = plan.config
    if hosts := reload.unknown_hosts(pump.team, new):
        pump.resolve(hosts)
        await pump.until(lambda: not reload.unknown_hosts(pump.team, new), RESOLVE_TIMEOUT_S)


def meant(refused: tuple[Refused, ...], outside: Container[int] = ()) -> list[Refused]:
    """Refusals that say something against the configuration.

    A link that vanished, or was taken by another device, just now does not, nor does one that could not be had before either (`outside`).
    """
    against = [each for each in refused if each.errno not in VANISHED and BELONGS not in each.explanation]
    return [each for each in against if port_of(each.write) not in outside]
