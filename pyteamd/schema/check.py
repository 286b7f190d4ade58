"""Turns a JSON object into an instance of a configuration class, and says what is wrong with it.

The rules are teamd's. A value of the wrong JSON type counts as absent, and so do unknown keys; both are told, and neither
stops the daemon. A value of the right type that is not allowed has the consequence its declaration names (`on_bad`); so
has one of the wrong type where the key is required or `strict_type`.
Integers are checked against 32 bits, where teamd cuts the upper half off and goes on with what is left.

Every function appends to a list of problems instead of raising, so that one run finds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from pyteamd.schema.option import INT_MIN, OnBad, OptionSpec, ValueKind, options_of
from pyteamd.schema.problems import Path, Problem, Severity, described, near_miss, quoted

T = TypeVar("T")
Problems: TypeAlias = list[Problem]
Keys: TypeAlias = Mapping[str, "Keys | None"]
"""The known keys of an object. A key whose value is an object has that object's known keys as its value."""

ABSENT = object()
_BOOLEANS = dict.fromkeys(("1", "true", "yes", "on"), "true") | dict.fromkeys(("0", "false", "no", "off"), "false")
_SEVERITY = {
    OnBad.REFUSE_START: Severity.START,
    OnBad.REFUSE_PORT: Severity.PORT,
    OnBad.USE_DEFAULT: Severity.TOLERATED,
}


def read_options(cls: type[T], tree: Any, at: Path, problems: Problems, worst: Severity = Severity.START) -> T:
    """An instance of `cls` from the object `tree`, which stands at the path `at`. Bad values become defaults.

    `worst` limits the severity: where only a port is concerned, the daemon starts.
    """
    values: dict[str, Any] = {}
    for name, spec in options_of(cls).items():
        written = lookup(tree, spec.path)
        if written is ABSENT and not spec.required:
            continue
        value = _Reader(spec, (*at, *spec.path.split(".")), problems, worst).read(written)
        if value is not ABSENT:
            values[name] = value
    instance = cls(**values)
    _contradictions(instance, at, problems, worst)
    return instance


def lookup(tree: Any, path: str) -> Any:
    """The value at a dotted path below an object, ABSENT where there is none."""
    for part in path.split("."):
        if type(tree) is not dict or part not in tree:
            return ABSENT
        tree = tree[part]
    return tree


def keys_of(cls: type, *more: str) -> Keys:
    """The keys a configuration class knows, and others that are read elsewhere."""
    keys: dict[str, Any] = dict.fromkeys(more)
    for spec in options_of(cls).values():
        level = keys
        *parents, last = spec.path.split(".")
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = None
    return keys


def check_keys(
    tree: Mapping[str, Any], keys: Keys, at: Path, problems: Problems, explain: Callable[[str], str] | None = None
) -> None:
    """Tell of keys nobody reads. `explain` says of a key why it is unknown here, "" for no better reason."""
    for key, value in tree.items():
        if key not in keys:
            message = explain(key) if explain else ""
            hint = "" if message else near_miss(key, keys)
            problems.append(Problem(Severity.UNREAD, (*at, key), message or "unknown key", hint=hint))
            continue
        nested = keys[key]
        if nested is None:
            continue
        if type(value) is dict:
            check_keys(value, nested, (*at, key), problems)
        else:
            message = f"must be an object, not {described(value)}; ignored"
            problems.append(Problem(Severity.TOLERATED, (*at, key), message))


def used_elsewhere(
    name: str, kind: str, others: Mapping[str, type[T]], config_of: Callable[[type[T]], type]
) -> Callable[[str], str]:
    """For `check_keys`: tells of a key that only other runners, or watchers (`kind`), use. Looks at these only when asked."""

    def explain(key: str) -> str:
        users = [other for other, cls in others.items() if key in keys_of(config_of(cls))]
        return f"not used by the {name} {kind}, only by {', '.join(users)}" if users else ""

    return explain


def _contradictions(instance: Any, at: Path, problems: Problems, worst: Severity) -> None:
    find: Callable[[], Iterable[tuple[str, str]]] | None = getattr(instance, "contradictions", None)
    if find is None:
        return
    on_bad = {spec.path: spec.on_bad for spec in options_of(type(instance)).values()}
    refused = {problem.path for problem in problems if problem.severity in (Severity.PORT, Severity.START)}
    for path, message in find():
        severity = _lighter(_SEVERITY[on_bad.get(path, OnBad.REFUSE_START)], worst)
        place = (*at, *path.split("."))
        # A bad value has become the default by now; what is wrong with that is only a consequence.
        if place not in refused:
            problems.append(Problem(severity, place, message))


def _lighter(severity: Severity, worst: Severity) -> Severity:
    return worst if severity is Severity.START else severity


class _Reader:
    """Reads one value as one option declares it."""

    def __init__(self, spec: OptionSpec, at: Path, problems: Problems, worst: Severity) -> None:
        self._spec = spec
        self._at = at
        self._problems = problems
        self._on_bad = _lighter(_SEVERITY[spec.on_bad], worst)

    def read(self, value: Any) -> Any:
        """The field's value; ABSENT where the default counts."""
        spec = self._spec
        match spec.kind:
            case _ if value is ABSENT:
                return self._bad("missing")
            case ValueKind.BOOL if type(value) is bool:
                return value
            case ValueKind.INT if type(value) is int:
                return value if spec.lowest <= value <= spec.highest else self._bad(f"{value} is out of range")
            case ValueKind.STRING if type(value) is str:
                return self._string(value)
            case ValueKind.LIST if type(value) is list:
                return self._list(value)
        return self._wrong_type(value)

    def _wrong_type(self, value: Any) -> Any:
        spec = self._spec
        message = f"must be {spec.kind.value}, not {described(value)}"
        hint = advice(spec, value)
        if spec.required or spec.strict_type:
            return self._bad(message, hint)
        effect = "counts as an empty list" if spec.skip_unknown else "ignored"
        self._say(Severity.TOLERATED, self._at, f"{message}; {effect}", hint)
        return () if spec.skip_unknown else ABSENT

    def _string(self, value: str) -> Any:
        spec = self._spec
        if spec.choices and value not in spec.choices:
            return self._bad(f"{quoted(value)} is unknown", near_miss(value, spec.choices))
        try:
            return spec.convert(value) if spec.convert else value
        except ValueError as error:
            return self._bad(f"{quoted(value)} {error}")

    def _list(self, elements: list[Any]) -> Any:
        spec = self._spec
        severity = Severity.TOLERATED if spec.skip_unknown else self._on_bad
        good = []
        for index, element in enumerate(elements):
            try:
                good.append(self._element(element))
            except ValueError as error:
                hint = near_miss(element, spec.choices) if type(element) is str else ""
                self._say(severity, (*self._at, index), str(error), hint, spec.allowed())
        if len(good) < len(elements) and not spec.skip_unknown:
            return ABSENT
        if spec.if_empty and not good:
            self._say(Severity.TOLERATED, self._at, spec.if_empty, "", spec.allowed())
        return tuple(good)

    def _element(self, element: Any) -> Any:
        """One element of a list; ValueError says what is wrong with it."""
        spec = self._spec
        if type(element) is not str:
            skipped = "; skipped" if spec.skip_unknown else ""
            raise ValueError(f"must be a string, not {described(element)}{skipped}")
        if spec.choices and element not in spec.choices:
            named = quoted(element)
            raise ValueError(spec.skip_unknown.format(named[1:-1]) or f"{named} is unknown")
        try:
            return spec.convert(element) if spec.convert else element
        except ValueError as error:
            raise ValueError(f"{quoted(element)} {error}") from None

    def _bad(self, message: str, hint: str = "") -> Any:
        """A value that is not allowed."""
        if self._on_bad is Severity.TOLERATED:
            default = self._spec.default
            message += f"; {'none' if default is None else default} is used"
        self._say(self._on_bad, self._at, message, hint, self._spec.allowed())
        return ABSENT

    def _say(self, severity: Severity, at: Path, message: str, hint: str = "", allowed: str = "") -> None:
        self._problems.append(Problem(severity, at, message, allowed, hint))


def advice(spec: OptionSpec, value: Any) -> str:
    """What to write instead of a value of the wrong type: its correction if that is allowed, else all that is allowed."""
    hint = meant(spec.kind, value)
    match spec.kind:
        case ValueKind.STRING:
            good = type(value) is not bool and taken(spec, str(value))
        case ValueKind.INT:
            good = bool(hint) and spec.lowest <= int(hint.removeprefix("write ")) <= spec.highest
        case ValueKind.LIST:
            good = type(value) is str and all(taken(spec, word) for word in value.replace(",", " ").split())
        case _:
            good = True
    told = hint or spec.kind is not ValueKind.INT or spec.lowest > INT_MIN  # that 32 bits are the limit helps nobody
    allowed = spec.allowed() if told else ""
    return hint if good else f"allowed: {allowed}" if allowed else ""


def taken(spec: OptionSpec, text: str) -> bool:
    """Whether a string is a good value."""
    if spec.choices:
        return text in spec.choices
    try:
        if spec.convert is not None:
            spec.convert(text)
    except ValueError:
        return False
    return True


def meant(kind: ValueKind, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that can be guessed."""
    match kind, value:
        case ValueKind.BOOL, int() | float() | str() if str(value).lower() in _BOOLEANS:
            return f"write {_BOOLEANS[str(value).lower()]}"
        case ValueKind.INT, float() if value.is_integer():
            return f"write {int(value)}"
        case ValueKind.INT, str() if value.removeprefix("-").isdecimal() and len(value) < 20:
            return f"write {int(value)}"
        case ValueKind.STRING, int() | float() if type(value) is not bool:
            return f'write "{value}"'
        case ValueKind.LIST, str():
            return f"write [{', '.join(map(quoted, value.replace(',', ' ').split()))}]"
    return ""
