"""pyteamnl without a kernel: what the words of a command line mean as values."""

from __future__ import annotations

import errno

import pytest

from pyteamd.cli.pyteamd.run import MAXIMUM_BUFFER, event_buffer
from pyteamd.cli.pyteamnl.device import Failed, index_of, value_of
from pyteamd.kernel.option_table import OptionKind
from pyteamd.model.desired import OptionValue

MANY = "9" * 5000
"""Python itself turns no number of so many digits into an integer."""


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (OptionKind.U32, "4294967295", 2**32 - 1),
        (OptionKind.U32, " +07", 7),
        (OptionKind.U32, "", 0),
        (OptionKind.U32, "-0", 0),
        (OptionKind.U32, "0" * 5000 + "5", 5),
        (OptionKind.S32, "-2147483648", -(2**31)),
        (OptionKind.FLAG, "true", True),
        (OptionKind.STRING, MANY, MANY),
        (OptionKind.BINARY, "\\06\\00", b"\x06\0"),
    ],
)
def test_values(kind: OptionKind, text: str, value: OptionValue) -> None:
    assert value_of(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (OptionKind.U32, "4294967296", errno.ERANGE),
        (OptionKind.U32, "-1", errno.ERANGE),
        (OptionKind.U32, "18446744073709551616", errno.ERANGE),
        (OptionKind.U32, MANY, errno.ERANGE),
        (OptionKind.S32, f"-{MANY}", errno.ERANGE),
        (OptionKind.S32, "2147483648", errno.ERANGE),
        (OptionKind.U32, "inf", errno.EINVAL),
        (OptionKind.U32, "nan", errno.EINVAL),
        (OptionKind.U32, "1e3", errno.EINVAL),
        (OptionKind.U32, "\u00b2", errno.EINVAL),
        (OptionKind.FLAG, MANY, errno.EINVAL),
        (OptionKind.BINARY, MANY, errno.EINVAL),
    ],
)
def test_what_is_no_value(kind: OptionKind, text: str, reason: int) -> None:
    with pytest.raises(Failed) as failed:
        value_of(kind, text)
    assert failed.value.errno == reason


def test_elements_of_an_array() -> None:
    assert [index_of(text) for text in ("0", "300", "0" * 5000 + "5")] == [0, 300, 5]
    assert index_of(MANY) > 2**32, "which no option has"
    for text in ("-1", "inf", "\u00b2", ""):
        with pytest.raises(Failed):
            index_of(text)


@pytest.mark.parametrize(
    ("text", "octets"), [("65536", 65536), ("-5", -5), (str(2**64), MAXIMUM_BUFFER), ("inf", event_buffer(""))]
)
def test_event_buffer_of_the_environment(text: str, octets: int) -> None:
    assert event_buffer(text) == octets
