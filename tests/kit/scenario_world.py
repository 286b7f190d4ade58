"""The World of scenario scripts on the real kernel: veth pairs, a daemon that is a process, its control socket and its log.

Links and outsiders are those of the contract suite. Time is real: `pass_time` sleeps, and after every command the world waits until
neither the log nor the daemon's list of missing writes changes any more. What happened is what the daemon logged; what it wrote is not
seen, so transcripts are compared without writes and times.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacp_wire import WirePartner
from real_world import RealWorld, run

from pyteamd.client.client import Client
from pyteamd.client.transport import ClientError, DaemonError
from pyteamd.model.words import shorten
from pyteamd.scenario.simulated import MAC, UNINTERESTING
from pyteamd.scenario.world import CommandError, Happened, World

PREFIXED = re.compile(r"<(\d)>(.*)")
LEVELS = {"2": "critical", "3": "error", "4": "warning", "6": "info", "7": "debug"}
FRAMEWORK = re.compile(
    r".* successfully started\.|\S+ serves .*|"
    r"Exiting\.\.\.|Got SIGINT, SIGQUIT or SIGTERM\.|(\S+: )?A configuration that a user gave is in force\.|"
    r"configuration:\d+:\d+: error: .*|configuration: \d+ errors?: start leaves the refused ports out, reload is refused"
)
"""Lines of the process, not of the team."""
UNFINISHED = "unfinished"
CALM_S = 0.08
PATIENCE_S = 30.0
QUIET_S = 3.0
STUCK_S = 1.5
ANSWERED_BY_A_NOTE = ("PortAddFail",)


class RealScenarioWorld(RealWorld, World):
    """One network namespace, empty but for "lo", and the directory /run/teamd."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._directory = tempfile.TemporaryDirectory(prefix="pyteamd-scenario-")
        self._log = Path(self._directory.name, "log")
        self._log.touch()
        self._told = 0
        self._denied: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._teams: list[str] = []
        """Devices of all teams that were to be served, in the life of this world."""
        self._macs: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._partners: dict[str, WirePartner] = {}

    # Time

    def now(self) -> float:
        return time.monotonic() - self._began

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def until_quiet(self) -> None:
        size, since = self._log.stat().st_size, time.monotonic()
        while time.monotonic() < since + QUIET_S:
            time.sleep(CALM_S)
            before, size = size, self._log.stat().st_size
            if size != before:
                since = time.monotonic()

    def happened(self) -> list[Happened]:
        """See World: the lines of the log since the last call, once all is calm."""
        self._calm_down()
        lines = self._log.read_text().splitlines()
        fresh, self._told = lines[self._told :], len(lines)
        denied, self._denied = self._denied, []
        found = []
        for line in fresh:
            found_level = PREFIXED.fullmatch(line)
            # A line without a level is Python's own, of a crash.
            level, text = (LEVELS[found_level[1]], found_level[2]) if found_level else ("broken", line)
            if not FRAMEWORK.fullmatch(text) and level != "debug":
                found.append(Happened(self.now(), level, self._named(text)))
        return found + [Happened(self.now(), "denied", text) for text in denied]

    def _calm_down(self) -> None:
        """Wait until two looks in a row see the same, and nothing is left to write; or what is left does not change any more."""
        seen, since = None, time.monotonic()
        deadline = since + PATIENCE_S
        while time.monotonic() < min(deadline, since + STUCK_S):
            time.sleep(CALM_S)
            try:
                missing = self._missing() if self._alive() else []
            except CommandError:
                missing = []  # it ended in this moment
            before, seen = seen, (self._said(), missing)
            if seen != before:
                since = time.monotonic()
            elif not missing:
                return

    def _missing(self) -> list[str]:
        """What is left to write, of all teams."""
        missing: list[str] = []
        for name in self._teams:
            if Path(f"/run/teamd/{name}.sock").exists():
                missing += json.loads(self._fetch("Diff", team=name))["missing"]
        return missing

    def _said(self) -> int:
        """Lines of the log, but for those on our own questions."""
        return sum(not line.startswith("<7>") for line in self._log.read_text().splitlines())

    # Links

    def make_port(self, name: str, speed_mbps: int, duplex: int) -> None:
        """See World; veth pairs have one speed."""
        if (speed_mbps, duplex) != (10000, 1):
            raise CommandError("a veth has 10000 Mbit/s")
        if self._outsider.find_link(name):
            raise CommandError(f"{name} exists")
        # For up to a second after it was made the kernel takes a veth for running whether it is or not.
        ifindex = self.make_link(UNFINISHED)
        state = Path(f"/sys/class/net/{UNFINISHED}/operstate")
        while state.read_text().strip() == "unknown":
            time.sleep(0.02)
        super().rename(UNFINISHED, name)
        self._names[ifindex] = name
        self._macs.setdefault(self._address(name), name)

    def rename(self, name: str, new: str) -> None:
        self._names[self.ifindex_of(name)] = new
        super().rename(name, new)

    def ifindex_of(self, name: str) -> int:
        link = self._outsider.find_link(name)
        if link is None:
            raise CommandError(f"there is no interface {name!r}")
        return link.ifindex

    def carrier(self) -> bool:
        link = self._outsider.find_link(self.team_name)
        return link is not None and link.carrier is True

    def _address(self, name: str) -> str:
        return Path(f"/sys/class/net/{name}/address").read_text().strip()

    # The wire

    def partner(self, name: str, kind: str, changes: Mapping[str, Any]) -> None:
        if kind != "lacp":
            raise CommandError("only partners of LACP are played on a real wire")
        if name not in self._partners:
            number = int(changes.get("number", self.ifindex_of(name)))
            self._partners[name] = WirePartner(self.others, self.peer(name), number)
        self._partners[name].instruct(changes)

    # The daemon

    def start(self, config: str, *, adopt: bool, enslave: bool, keep: bool) -> None:
        flags = ["-o"] * adopt + ["-n"] * (not enslave) + ["-N"] * keep
        self._launch(["-t", self.team_name, "-c", config, *flags], {self.team_name: config}, " successfully started.")

    def serve(self, configs: Mapping[str, str], *, adopt: bool, enslave: bool, keep: bool) -> None:
        place = Path(self._directory.name, "teams")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, config in configs.items():
            (place / f"{name}.conf").write_text(config)
        flags = ["-o"] * adopt + ["-n"] * (not enslave) + ["-N"] * keep
        self._launch(["serve", *flags, "."], configs, " serves ", place)

    def _launch(self, words: list[str], configs: Mapping[str, str], ready: str, place: Path | None = None) -> None:
        """Start the program. Its log goes to a file as to the journal, with the level before each line."""
        status = self._log.stat()
        size = status.st_size
        surroundings = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-m", "pyteamd", *words],
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=surroundings,
                cwd=place,
            )
        self._teams = [*configs, *(name for name in self._teams if name not in configs)]
        deadline = time.monotonic() + PATIENCE_S
        while ready not in self._log.read_text()[size:] and self._alive():
            if time.monotonic() > deadline:
                raise CommandError(f"the daemon is not ready after {PATIENCE_S:.0f} s: {self._log.read_text()[size:]}")
            time.sleep(0.02)
        for name, config in configs.items():
            link = self._outsider.find_link(name)
            if link is not None:
                self._names[link.ifindex] = name
                if link.mac.hex(":") not in config:
                    self._macs.setdefault(link.mac.hex(":"), name)

    def kill(self) -> None:
        process = self._running()
        process.kill()
        process.wait()
        for leftover in self._leftovers():
            if leftover.suffix != ".json":  # what the next one goes on from
                leftover.unlink()

    def _leftovers(self) -> list[Path]:
        """What the teams have in the run directory."""
        return [file for name in self._teams for file in Path("/run/teamd").glob(f"{name}.*")]

    def stop(self) -> None:
        process = self._running()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)

    def set_item(self, path: str, value: str) -> None:
        self._request("StateItemValueSet", path, value)

    def add_port(self, name: str) -> None:
        self._request("PortAdd", name)

    def remove_port(self, name: str) -> None:
        self._request("PortRemove", name)

    def port_config(self, name: str, tree: Mapping[str, Any]) -> None:
        self._request("PortConfigUpdate", name, json.dumps(tree))

    def apply_config(self, config: str) -> None:
        report = json.loads(self._fetch("ConfigApply", config, "apply"))
        if not report["applied"]:
            self._denied.append(f"ConfigApplyFail: {'; '.join(report['problems'])}")

    def _request(self, method: str, *arguments: str) -> None:
        try:
            with Client.connect(self.team_name, "usock") as daemon:
                daemon.call(method, *arguments)
        except DaemonError as problem:
            if problem.code not in ANSWERED_BY_A_NOTE:
                self._denied.append(f"{problem.code}: {problem.message}")

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self._alive():
            raise CommandError("the daemon does not run")
        return self._process

    # What can be seen

    def state(self) -> dict[str, Any]:
        tree: dict[str, Any] = self._shown(json.loads(self._fetch("StateDump")))
        return tree

    def explain(self) -> list[str]:
        rows = json.loads(self._fetch("Explain"))
        return [f"{row['port']}: {row['reason']}" + (f" ({row['hint']})" if row["hint"] else "") for row in rows]

    def options(self) -> Mapping[tuple[str, str, int], str]:
        dump = self._outsider.dump(self.ifindex_of(self.team_name))
        names = {link.ifindex: link.name for link in dump.links} | {0: "none"}
        found = {}
        for seen in dump.options:
            name, port, index = seen.key
            if index and seen.value in UNINTERESTING:
                continue
            value = seen.value
            shown = names[value] if name == "activeport" and isinstance(value, int) else shorten(value)
            found[name, names[port] if port else "", index] = shown
        return found

    def diff(self) -> list[str]:
        missing: list[str] = json.loads(self._fetch("Diff"))["missing"]
        return missing

    def _fetch(self, method: str, *arguments: str, team: str = "") -> str:
        process = self._running()
        try:
            with Client.connect(team or self.team_name, "usock") as daemon:
                return daemon.fetch(method, *arguments)
        except ClientError as problem:
            if len(self._teams) > 1 and not Path(f"/run/teamd/{team or self.team_name}.sock").exists():
                raise CommandError("the team is not served any more") from None
            try:
                process.wait(PATIENCE_S)  # the socket goes a moment before the process
            except subprocess.TimeoutExpired:
                raise CommandError(f"no answer from a running daemon: {problem}") from None
            raise CommandError("the daemon does not run") from None

    def _named(self, text: str) -> str:
        return MAC.sub(lambda found: f"mac({self._macs[found[0]]})" if found[0] in self._macs else found[0], text)

    def _shown(self, tree: Any) -> Any:
        match tree:
            case dict():
                names = {**self._names, 0: "none"}
                return {
                    key: names.get(item, item) if key == "ifindex" else self._shown(item) for key, item in tree.items()
                }
            case str():
                return self._named(tree)
        return tree

    def close(self) -> None:
        if self._process is not None and self._alive():
            self._process.kill()
            self._process.wait()
        for leftover in self._leftovers():
            leftover.unlink()
        for name in self._teams:
            if self._outsider.find_link(name):
                run("ip", "link", "delete", name)
        for partner in self._partners.values():
            partner.close()
        super().close()
        self._directory.cleanup()
