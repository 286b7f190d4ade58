"""The verbs for programs that look on: metrics as OpenMetrics text, and monitor, a stream of events.

`monitor` asks the daemon for events, and the daemon answers when there are some; nothing is kept for a client that is slow, it is told
what it missed.
"""

from __future__ import annotations

import errno
import json
import time

from pyteamd.cli.pyteamdctl import watch
from pyteamd.cli.pyteamdctl.document import moment
from pyteamd.cli.pyteamdctl.verbs import Session, VerbError
from pyteamd.model.printable import printable

USAGE = "usage: monitor [--json]   for instance: pyteamdctl team0 monitor --json | jq .text"


def metrics(session: Session) -> None:
    """OpenMetrics text."""
    if session.json:
        raise VerbError(errno.EINVAL, "metrics are OpenMetrics text already, for programs; leave --json out")
    session.out.write(session.client.fetch("Metrics"))


def monitor(session: Session) -> None:
    """Events as they happen, until interrupted."""
    if session.args:
        raise VerbError(errno.EINVAL, USAGE)
    team = session.client.team
    for found in watch.events(session):
        for event in found["events"]:
            if session.json:
                session.print(json.dumps({"team": team, **moment(event["age_s"]), **event}))
            else:
                clock = time.strftime("%H:%M:%S", time.localtime(time.time() - event["age_s"]))
                session.print(f"{clock}  {printable(event['text'])}  [{event['cause']}]")
        if missed := found["missed"]:
            told = json.dumps({"team": team, **moment(0.0), "missed": missed})
            session.print(told if session.json else f"{missed} steps missed")
        session.out.flush()
