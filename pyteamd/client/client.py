"""What a program asks a team daemon and tells it: the methods of the control interface, each under a name of its own.

    from pyteamd.client import Client

    with Client.connect("team0") as team:
        for port, state in team.ports().items():
            print(port, state["link"]["up"])
        team.set("runner.active_port", "eth1")

Everything raises ClientError: NoDaemon when nothing answers, DaemonError with the daemon's code (NoSuchDev, say) when it refuses,
CallFailed when no usable answer comes. libteam's teamd answers the methods that it has. To others it says nothing on the unix socket, so
CallFailed comes when the time-out is over; on D-Bus it says that they succeeded, without an answer: CallFailed only where one is needed. A
daemon that says that it has no such method raises DaemonError.
"""

from __future__ import annotations

from pyteamd.client.connection import Connection, teams
from pyteamd.client.transport import CallFailed, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

    from pyteamd.client.answers import Difference, Event, Reason, Report
    from pyteamd.client.events import Events


class ConfigRefused(ClientError):
    """A configuration was not taken over; `problems` has a line for everything that is wrong, with its place in the text."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Client(Connection):
    """The daemon of one team. Made by `connect`; a context manager that closes the connection at the end.

    One thread at a time may use it; `events` has a connection of its own.
    """

    @classmethod
    def each(cls, *, run_dir: str | None = None, timeout_s: float | None = None) -> Iterator[Self]:
        """A client for every team that has a control socket here, one after the other, each closed before the next.

        A team whose daemon ends meanwhile is left out.
        """
        for team in teams(run_dir):
            try:
                client = cls.connect(team, "usock", run_dir=run_dir, timeout_s=timeout_s)
            except ClientError:
                continue
            with client:
                yield client

    # -- state -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The whole state: `setup`, `team_device`, `runner`, and `ports` by name, as `teamdctl TEAM state dump` prints it."""
        return self._object("StateDump")

    def ports(self) -> dict[str, dict[str, Any]]:
        """The ports that there are: name → its part of the state."""
        ports: dict[str, dict[str, Any]] = self.state().get("ports", {})
        return ports

    def get(self, path: str) -> str:
        """One item of the state as text, `runner.active_port` for instance. DaemonError: no such item."""
        return self.fetch("StateItemValueGet", path)

    def set(self, path: str, value: str | int | bool) -> None:
        """Change an item of the state: `runner.active_port` to a port's name, `setup.debug_level` to a number. DaemonError: refused."""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        self.call("StateItemValueSet", path, text)

    # -- ports -----------------------------------------------------------------------------------------------------------

    def add_port(self, name: str) -> None:
        """Make a link a port. DaemonError NoSuchDev: no such link; PortAddFail: it cannot join."""
        self.call("PortAdd", name)

    def remove_port(self, name: str) -> None:
        """Release a port. DaemonError NoSuchDev, PortRemoveFail."""
        self.call("PortRemove", name)

    def port_config(self, name: str) -> dict[str, Any]:
        """The stored configuration of a port. DaemonError: it is none."""
        return self._object("PortConfigDump", name)

    def update_port(self, name: str, config: Mapping[str, Any]) -> None:
        """Replace the configuration of a port, or of a link that is to become one. DaemonError ConfigUpdateFail: it is wrong."""
        self.call("PortConfigUpdate", name, _text(config))

    def check_port(self, name: str, text: str) -> dict[str, Any]:
        """What this configuration of a port (JSON) would bring: `problems`, and what is `waiting` until it joins again. Only pyteamd."""
        return self._object("PortConfigCheck", name, text)

    # -- configuration ---------------------------------------------------------------------------------------------------

    def config(self, actual: bool = False) -> dict[str, Any]:
        """The configuration that the daemon holds; `actual`: with the ports that are there now."""
        return self._object("ConfigDumpActual" if actual else "ConfigDump")

    def apply(
        self, config: Mapping[str, Any] | str, *, dry_run: bool = False, confirm_s: float | None = None
    ) -> Report:
        """Go over to a configuration, a tree or its text (JSON or YAML), as a whole. ConfigRefused: nothing was changed.

        `dry_run`: only say what would change, and what is wrong (`problems` of the report). `confirm_s`: take it back by itself after
        so many seconds unless `confirm` is called. Only pyteamd.
        """
        how = "dry-run" if dry_run else "apply" if confirm_s is None else f"confirm {confirm_s:g}"
        text = config if isinstance(config, str) else _text(config)
        report: Report = self._json("ConfigApply", text, how)
        if report["problems"] and not dry_run:
            raise ConfigRefused(report["problems"])
        return report

    def confirm(self) -> None:
        """Keep what `apply` with `confirm_s` brought. DaemonError NothingToConfirm. Only pyteamd."""
        self.call("ConfigConfirm", "keep")

    def revert(self) -> None:
        """Take it back at once. DaemonError NothingToConfirm. Only pyteamd."""
        self.call("ConfigConfirm", "revert")

    # -- why, and what happened: only pyteamd ----------------------------------------------------------------------------

    def explain(self) -> list[Reason]:
        """For each port, and each that is to be one: whether it carries traffic, and why. Only pyteamd."""
        found: list[Reason] = self._json("Explain")
        return found

    def reason(self, method: str, subject: str) -> str:
        """Why the last call was refused, if it was this `method` about this `subject` (its first argument); else "". Only pyteamd."""
        return str(self._object("Reason", method, subject)["reason"])

    def diff(self) -> Difference:
        """What the kernel is to have, against what it has. Only pyteamd."""
        found: Difference = self._json("Diff")
        return found

    def history(self) -> list[Event]:
        """What happened lately, oldest first. Only pyteamd."""
        found: list[Event] = self._json("History")
        return found

    def events(self) -> Events:
        """What happens from now on, for `for` and for `async for` (asyncio), on a connection of its own. Only pyteamd."""
        from pyteamd.client.events import Events

        return Events(type(self).connect(self.team, self.transport, run_dir=self.run_dir, timeout_s=self.timeout_s))

    def predict(self, flow: Mapping[str, Any]) -> dict[str, Any]:
        """Bucket and port of a flow, with the runners that spread by a hash; the keys are those of `pyteamdctl hash`. Only pyteamd."""
        return self._object("FlowHash", _text(flow))

    def balance(self) -> dict[str, Any]:
        """What each port sent, and how even that is. Only pyteamd."""
        return self._object("Balance")

    def metrics(self) -> str:
        """OpenMetrics text. Only pyteamd."""
        return self.fetch("Metrics")

    def trace(self) -> Iterator[str]:
        """The recorded steps, a line each, as `pyteamd replay` reads them. Only pyteamd."""
        start: int | None = 0
        while start is not None:
            piece = self._object("Trace", str(start))
            yield from piece["lines"]
            start = piece["next"]

    def _json(self, method: str, *args: str) -> Any:
        import json

        try:
            return json.loads(self.fetch(method, *args))
        except ValueError:
            raise CallFailed(f"{method}: what came is no JSON") from None

    def _object(self, method: str, *args: str) -> dict[str, Any]:
        found = self._json(method, *args)
        if not isinstance(found, dict):
            raise CallFailed(f"{method}: what came is no JSON object")
        return found


def _text(tree: Mapping[str, Any]) -> str:
    import json

    return json.dumps(tree)
