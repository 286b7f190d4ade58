"""How configuration classes declare their keys: one `option()` per key says all there is to say about it.

A configuration class is a frozen dataclass whose fields are made by `option()`. The annotation is the JSON
type: `bool`, `int`, `str`, `int | None`, `str | None`, `tuple[str, ...]`, or, with `convert`, whatever that
function makes of a string. The loader, `check`, the JSON schema, the man page and the example configurations
all read the same declarations.

A rule that concerns several keys is a method `contradictions(self)` of the configuration class: it yields
pairs of a key's path and what is wrong, one for each broken rule, with the consequence of that key's `on_bad`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from enum import Enum
from types import GenericAlias
from typing import Any

from pyteamd.values import dataclass

INT_MIN = -(2**31)
INT_MAX = 2**31 - 1


class OnBad(Enum):
    """What the daemon does with a value of the right type that is out of range, as teamd does."""

    REFUSE_START = "the daemon does not start"
    REFUSE_PORT = "the port is not added"
    USE_DEFAULT = "the default is used"


class ValueKind(Enum):
    """JSON type of a value, as people call it."""

    BOOL = "a boolean"
    INT = "an integer"
    STRING = "a string"
    LIST = "a list of strings"


KINDS: Mapping[str, ValueKind] = {
    "bool": ValueKind.BOOL,
    "bool | None": ValueKind.BOOL,
    "int": ValueKind.INT,
    "int | None": ValueKind.INT,
    "str": ValueKind.STRING,
    "str | None": ValueKind.STRING,
    "tuple[str, ...]": ValueKind.LIST,
    "tuple[str, ...] | None": ValueKind.LIST,
}
"""Annotation → JSON type."""


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One key. `path` is relative to the object the class describes ("prio" or "tx_balancer.name")."""

    path: str
    help: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    on_bad: OnBad = OnBad.REFUSE_START
    required: bool = False
    convert: Callable[[str], Any] | None = None
    """Makes the field's value of a string; raises ValueError saying what is wrong with it ("is not a …")."""
    pattern: str = ""
    """What a string must match, for editors only (JSON schema): nothing the loader knows."""
    skip_unknown: str = ""
    """For a list that is read as leniently as teamd reads `tx_hash`: an element outside `choices` is skipped
    with this warning ({} stands for the element), one that is no string is skipped, and what is no list at
    all counts as an empty one."""
    if_empty: str = ""
    """Warning when such a list ends up empty."""
    strict_type: bool = False
    """A value of the wrong JSON type has the consequence of `on_bad` too, because teamd must write this key."""
    sample: Any = None
    """What examples show when there is no default to show."""
    kind: ValueKind = ValueKind.STRING
    default: Any = None

    @property
    def lowest(self) -> int:
        """Least allowed integer; teamd's integers have 32 bits."""
        return INT_MIN if self.minimum is None else self.minimum

    @property
    def highest(self) -> int:
        return INT_MAX if self.maximum is None else self.maximum

    def allowed(self) -> str:
        """What a value may be, in words; "" where the type says it all."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind is not ValueKind.INT:
            return ""
        text = f"{self.lowest} to {self.highest}"
        return f"{text} {self.unit}" if self.unit else text


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
    convert: Callable[[str], Any] | None = None,
    pattern: str = "",
    skip_unknown: str = "",
    if_empty: str = "",
    strict_type: bool = False,
    sample: Any = None,
) -> Any:
    """A dataclass field for one configuration key; `path` defaults to the field's name.

    `minimum` and `maximum` are inclusive. For `tuple[str, ...]` the `choices` are those of each element. The
    other arguments are described at OptionSpec.
    """
    spec = OptionSpec(
        path,
        help,
        minimum,
        maximum,
        choices,
        unit,
        on_bad,
        required,
        convert,
        pattern,
        skip_unknown,
        if_empty,
        strict_type,
        sample,
        default=default,
    )
    return field(default=default, metadata={"option": spec})


_OPTIONS: dict[type, Mapping[str, OptionSpec]] = {}


def options_of(cls: type) -> Mapping[str, OptionSpec]:
    """Field name → specification, in order of declaration. TypeError: an annotation that is no JSON type."""
    known = _OPTIONS.get(cls)
    if known is not None:
        return known
    found: dict[str, OptionSpec] = {}
    for item in fields(cls):
        spec = item.metadata.get("option")
        if spec is not None:
            kind = _kind(cls, item.name, item.type, spec)
            found[item.name] = replace(spec, path=spec.path or item.name, kind=kind)
    _OPTIONS[cls] = found
    return found


def _kind(cls: type, name: str, annotation: Any, spec: OptionSpec) -> ValueKind:
    # Text where annotations are postponed, else an object: a class, or a thing whose str is as it is written.
    plain = isinstance(annotation, type) and not isinstance(annotation, GenericAlias)
    text = annotation.__name__ if plain else str(annotation)
    if text not in KINDS and spec.convert is not None:
        return ValueKind.STRING
    if text not in KINDS:
        raise TypeError(f"{cls.__name__}.{name}: no JSON type for {text} (known: {', '.join(KINDS)})")
    return KINDS[text]
