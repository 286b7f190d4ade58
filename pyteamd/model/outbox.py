"""What a runner or a watcher has to send and to say, until the Team fetches it."""

from __future__ import annotations

from pyteamd.model.desired import Frame, Note


class Outbox:
    """Frames and notes, in order."""

    __slots__ = ("frames", "notes")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.notes: list[Note] = []

    def take(self) -> tuple[list[Frame], list[Note]]:
        """Hand over what was gathered since the last call."""
        frames, notes = self.frames, self.notes
        if frames:
            self.frames = []
        if notes:
            self.notes = []
        return frames, notes
