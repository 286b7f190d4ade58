"""A script being run: its world, and the output of the paragraph that is being performed."""

from __future__ import annotations

from collections.abc import Iterable

from pyteamd.scenario.world import Happened, Sent, World

ACTIVE_BACKUP = '{"runner": {"name": "activebackup"}}'


class ScenarioSession:
    """A script being run: the world, and what the paragraph has printed so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.configs: dict[str, str] = {}
        """Device of a team → the configuration of its next start."""
        self.served = False
        """The daemon was started with many teams."""
        self.notes: list[Happened] = []
        self.frames: list[Sent] = []
        self.acted = False
        """Something was done since the world was last asked what happened."""
        self._lines: list[str] = []
        self._began = 0.0
        self._sent: list[Sent] = []

    @property
    def config(self) -> str:
        """The configuration of the team that is meant."""
        return self.configs.get(self.world.team_name, ACTIVE_BACKUP)

    def begin(self) -> None:
        """A paragraph begins; its times count from here."""
        self._lines = []
        self._began = self.world.now()
        self._sent = []

    def answer(self, lines: Iterable[str]) -> None:
        """Lines that a question was answered with."""
        self._lines += lines

    def gather(self) -> None:
        """Add what happened to the output. After questions alone nothing is waited for."""
        if not self.acted:
            return
        self.acted = False
        for item in self.world.happened():
            self._lines.append(f"+{item.at - self._began:.3f} {item.kind:<7} {item.text}")
            if item.kind not in ("write", "refused"):
                self.notes.append(item)
        frames = self.world.sent()
        self._sent += frames
        self.frames += frames

    def end(self) -> list[str]:
        """The output of the paragraph; frames as one line for each kind and port, with their number."""
        self.gather()
        counts: dict[tuple[str, str], int] = {}
        for frame in self._sent:
            counts[frame.port, frame.text] = counts.get((frame.port, frame.text), 0) + 1
        return self._lines + [f"sent {number} on {port}: {text}" for (port, text), number in sorted(counts.items())]
