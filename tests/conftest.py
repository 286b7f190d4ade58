"""For all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """What is there now stays: no collection in a test needs to look at it."""
    gc.collect()
    gc.freeze()
