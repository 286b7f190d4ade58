"""The kernel's reasons in words are those of strerror, which the pure part of the program may not ask."""

from __future__ import annotations

import errno
import os

import pytest

from pyteamd.model.errors import WORDS, reason_for

OURS = (errno.ENOENT,)
"""What the team driver does not find is an option."""


@pytest.mark.parametrize("code", sorted(set(WORDS) - set(OURS)), ids=lambda code: errno.errorcode[code])
def test_as_strerror(code: int) -> None:
    assert reason_for(code) == os.strerror(code)[0].lower() + os.strerror(code)[1:] or reason_for(code) == os.strerror(
        code
    )


def test_each_has_some_word() -> None:
    assert [code for code in range(1, 134) if not reason_for(code)] == []
    assert reason_for(errno.EXFULL) == "EXFULL"
    assert reason_for(100_000) == "error 100000"
