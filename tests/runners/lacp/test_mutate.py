"""The faults that `make mutate` puts in: looked at apart from its lanes, which a rewritten line alone must not turn red."""

from __future__ import annotations

import mutate

FOLDER = mutate.ROOT / "runners/lacp"
READS_SOURCES = ("import mutate", "getsource", "*.py", '"runners/lacp')


def test_every_fault_to_be_put_in_has_its_line() -> None:
    """The count of faults takes half an hour; that a line was rewritten, or its file renamed, is seen at once."""
    texts = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}
    found = {fault.what: texts.get(fault.file, "").count(fault.right) for fault in mutate.FAULTS}
    assert {what: count for what, count in found.items() if count != 1} == {}


def test_no_lane_looks_at_the_lines() -> None:
    """A lane that reads the sources, or asks for the lines of the faults, would catch every fault whatever it does."""
    paths = [mutate.ROOT / path for lane in mutate.LANES.values() for path in lane.split()]
    found = [(path.name, word) for path in paths for word in READS_SOURCES if word in path.read_text()]
    assert found == []
