"""How configuration classes declare their keys: one `option()` per key says type, default, range, help and what a bad value does.

A configuration class is a frozen dataclass whose fields are made by `option()`. The annotation is the JSON type: `bool`, `int`,
`str`, `int | None`, `str | None`, `tuple[str, ...]`. The loader, `check`, the JSON schema, the man page and the example
configurations all read the same declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any


class OnBad(Enum):
    """What the daemon does with a value of the right type that is out of range, as teamd does."""

    REFUSE_START = "the daemon does not start"
    REFUSE_PORT = "the port is not added"
    USE_DEFAULT = "the default is used"


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One key. `path` is relative to the object the class describes ("count" or nested "tx_balancer.name")."""

    path: str
    help: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    on_bad: OnBad = OnBad.REFUSE_START
    required: bool = False


def option(
    default: Any,
    *,
    help: str,
    path: str = "",
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    on_bad: OnBad = OnBad.REFUSE_START,
    required: bool = False,
) -> Any:
    """A dataclass field for one configuration key; `path` defaults to the field's name.

    `minimum` and `maximum` are inclusive. For `tuple[str, ...]` the `choices` are those of each element.
    """
    spec = OptionSpec(path, help, minimum, maximum, choices, unit, on_bad, required)
    return field(default=default, metadata={"option": spec})


def options_of(cls: type) -> Mapping[str, OptionSpec]:
    """Field name → specification, in order of declaration."""
    found: dict[str, OptionSpec] = {}
    for item in fields(cls):
        spec = item.metadata.get("option")
        if spec is not None:
            found[item.name] = OptionSpec(
                spec.path or item.name,
                spec.help,
                spec.minimum,
                spec.maximum,
                spec.choices,
                spec.unit,
                spec.on_bad,
                spec.required,
            )
    return found
