"""Settings that are written one time: the mode, counts of announcements, a port's priority and queue, the team's address.

They are wanted until the kernel has them. After that anybody may change them, as with teamd; what the runner and the link
watchers say is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyteamd.config.config import TeamConfig
from pyteamd.core.port import Port
from pyteamd.model.desired import Observed, OptionKey, OptionValue, SetOption
from pyteamd.runners.base import Runner

MODE = OptionKey("mode")
COUNTS = ("notify_peers_count", "notify_peers_interval", "mcast_rejoin_count", "mcast_rejoin_interval")
DETOURS = ("broadcast", "roundrobin")
"""Modes to go through where the mode is right and has to be left all the same; at least one of them is not it."""


class SetOnce:
    """What is still to be written one time."""

    def __init__(self, runner: Runner, config: TeamConfig) -> None:
        self.options: dict[OptionKey, OptionValue] = {}
        self.leave_mode = False
        """The mode is to be left and entered again: nothing else gives the carrier, once set by hand, back to the driver."""
        self.set_up(runner)
        self.mac: bytes | None = config.hwaddr
        """Address for the team device."""
        self.mac_stays = False
        """The team has its address back: the next port to join gives it none, though it is the first."""
        self.reconfigure({name: count for name in COUNTS if (count := getattr(config, name)) is not None})

    def reconfigure(self, changed: Mapping[str, Any]) -> None:
        """Keys of the team that are configured now, or differently, or no more: then a count is what it is for a new device."""
        self.options |= {OptionKey(name): changed[name] or 0 for name in COUNTS if name in changed}
        self.mac = changed.get("hwaddr") or self.mac

    def set_up(self, runner: Runner) -> None:
        """The team is to have this runner's mode and settings."""
        self._settings = runner.settings()
        self.options |= {MODE: runner.mode, **self._settings}

    def add_port(self, port: Port, watched: bool) -> None:
        """A port joined. `watched`: the kernel goes by our verdict instead of the raw link."""
        self.options[OptionKey("priority", port.ifindex)] = port.config.prio
        if port.config.queue_id is not None:
            self.options[OptionKey("queue_id", port.ifindex)] = port.config.queue_id
        if watched:
            self.watch_port(port, True)

    def watch_port(self, port: Port, watched: bool) -> None:
        """Whether the kernel goes by our verdict (`watched`) or by the raw link."""
        self.options[OptionKey("user_linkup_enabled", port.ifindex)] = watched

    def forget_port(self, ifindex: int) -> None:
        """The port left."""
        for key in [key for key in self.options if key.port == ifindex]:
            del self.options[key]

    def mode_first(self, observed: Observed) -> SetOption | None:
        """The mode if that is to be written: nothing else on a device that runs in another one."""
        wanted = self.options.get(MODE)
        if wanted is None or observed.options.get(MODE) != wanted:
            return None if wanted is None else SetOption(MODE, wanted)
        return SetOption(MODE, next(mode for mode in DETOURS if mode != wanted)) if self.leave_mode else None

    def forget_done(self, observed: Observed, team: int) -> None:
        """What has arrived is wanted no more."""
        if self.leave_mode and (wanted := self.options.get(MODE)) is not None:
            if observed.options.get(MODE) == wanted:
                return
            self.leave_mode = False
            for key in self._settings:  # the driver has forgotten what belongs to the mode, and will say so
                observed.options.pop(key, None)
        for key in [key for key, value in self.options.items() if observed.options.get(key) == value]:
            del self.options[key]
        if self.mac is not None and observed.macs.get(team) == self.mac:
            self.mac = None
