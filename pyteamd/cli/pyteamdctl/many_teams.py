"""`pyteamdctl list` and `pyteamdctl --all VERB…`: all teams whose daemon has a control socket here."""

from __future__ import annotations

from pyteamd.client.client import Client
from pyteamd.client.connection import default_run_dir, teams
from pyteamd.client.transport import ClientError
from pyteamd.model.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO


def found(err: TextIO) -> list[str]:
    """The same, and a line when there are none."""
    names = teams()
    if not names:
        err.write(f"no team daemon has a socket in {default_run_dir()}; start one with: pyteamd -d -t team0 -f FILE\n")
    return names


def list_teams(out: TextIO, err: TextIO) -> int:
    """One line for each team: runner, carrier of its ports, active port. Returns the exit code."""
    status = 0
    for team in found(err):
        try:
            with Client.connect(team, "usock") as client:
                out.write(f"{printable(line(team, client.state()))}\n")
        except ClientError as error:
            err.write(f"{team}: {error}\n")
            status = 1
        except (ValueError, KeyError, TypeError, AttributeError):
            err.write(f"{team}: its daemon answers with what is no state\n")
            status = 1
    return status


def line(team: str, state: dict[str, dict[str, dict[str, object]]]) -> str:
    """A team on one line."""
    ports = state.get("ports", {})
    words = [
        f"{name} {'up' if port['link_watches']['up'] else 'down'}"  # type: ignore[index]
        for name, port in ports.items()
    ]
    active = state.get("runner", {}).get("active_port")
    shown = f"; active port {active}" if active else ""
    return f"{team}: {state['setup']['runner_name']}; {', '.join(words) or 'no ports'}{shown}"


def each_team(run: Callable[[Sequence[str]], int], args: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do the same for every team, under a line with its name. Returns the worst exit code: 0 when there is no team."""
    worst = 0
    for team in found(err):
        out.write(f"== {printable(team)}\n")
        worst = max(worst, run([team, *args]))
    return worst
