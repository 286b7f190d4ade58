"""When a team has something to do though nothing happens."""

from __future__ import annotations

from collections.abc import Iterable


class Alarm:
    """The next moment at which anything is due, and the next for anything but the watchers: these say themselves what they changed."""

    __slots__ = ("_stirs_at", "at")

    def __init__(self) -> None:
        self.at: float | None = None
        """None for never."""
        self._stirs_at: float | None = None

    def set(self, watchers: float | None, others: Iterable[float | None]) -> None:
        """What is due next of the watchers, and of all others."""
        stirs = None
        for at in others:  # written out: asked after each event
            if at is not None and (stirs is None or at < stirs):
                stirs = at
        self._stirs_at = stirs
        self.at = watchers if stirs is None or (watchers is not None and watchers < stirs) else stirs

    def sooner(self, at: float | None) -> None:
        """A watcher has something to do, perhaps before everybody else."""
        if at is not None and (self.at is None or at < self.at):
            self.at = at

    def due(self, now: float) -> bool:
        """Whether the moment has come."""
        return self.at is not None and now >= self.at

    def stirs(self, now: float) -> bool:
        """Whether anything but the watchers is due."""
        return self._stirs_at is not None and now >= self._stirs_at
