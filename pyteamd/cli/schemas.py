"""The JSON that programs get (`--json`), as JSON Schemas: `pyteamd schema NAME` prints one.

They are a promise: a member that is here stays, with its meaning and type; others may be added. The tests hold every answer against
them, with the validator of PyPI.
"""

from __future__ import annotations

from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def obj(description: str = "", /, **members: Schema) -> Schema:
    """An object with these members at least."""
    told = {"description": description} if description else {}
    return {"type": "object", **told, "required": list(members), "properties": members}


def of(kind: str, description: str = "", *, null: bool = False) -> Schema:
    """A plain value."""
    told = {"description": description} if description else {}
    return {"type": [kind, "null"] if null else kind, **told}


def array(items: Schema, description: str = "") -> Schema:
    """A list."""
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def named(values: Schema, description: str) -> Schema:
    """An object whose members have names of links or teams."""
    return {"type": "object", "additionalProperties": values, "description": description}


TIMES = {
    "time": {"type": "string", "format": "date-time", "description": "Wall clock, UTC, milliseconds."},
    "monotonic_s": of("number", "CLOCK_MONOTONIC, as in the kernel's log."),
}
TEAM = of("string", "The team's name.")
PORT = of("string", "The port's name.")
WORDS = array(of("string"))
PROBLEM = obj(
    weight={"enum": ["error", "warning"], "description": "error: a reload is refused; warning: nothing is lost."},
    path=of("string", 'Where in the tree, for instance ports["eth0.100"].prio.'),
    message=of("string"),
    allowed=of("string", "What may stand there, or empty."),
    hint=of("string", "What was probably meant, or empty."),
    line=of("integer", null=True),
    column=of("integer", null=True),
    text=of("string", "The whole line, as without --json."),
)
EVENT = obj(
    **TIMES,
    age_s=of("number", "Seconds since then."),
    level={"enum": ["debug", "info", "warning", "error"]},
    port=of("string", "The port's name, or empty."),
    text=of("string", "What happened, in words."),
    cause=of("string", "The kind of event it followed from."),
)


def answer(description: str, **members: Schema) -> Schema:
    """The document that a verb of pyteamdctl prints."""
    return {"$schema": DIALECT, **obj(description, team=TEAM, **TIMES, **members)}


SCHEMAS: dict[str, Schema] = {
    "explain": answer(
        "Why each port carries traffic or does not: pyteamdctl TEAM explain --json.",
        ports=array(
            obj(
                port=PORT,
                carrying=of("boolean", "It carries traffic."),
                text=of("string", "The sentence."),
                reason=of("string", "The sentence without name, time and hint."),
                hint=of("string", "What would help, or empty."),
                since_s=of("number", "Seconds since it is so, where that is known.", null=True),
                cause=of("string", "What keeps it from traffic, as one word; empty when it carries some."),
                doubt={
                    "enum": ["", "silent", "errors"],
                    "description": "What speaks against a port that carries traffic.",
                },
            )
        ),
    ),
    "history": answer(
        "What happened, oldest first: pyteamdctl TEAM history --json.", events=array(EVENT, "At most the last 200.")
    ),
    "monitor": {
        "$schema": DIALECT,
        "description": "Each line of pyteamdctl TEAM monitor --json.",
        "oneOf": [
            {**obj(team=TEAM, **EVENT["properties"]), "not": {"required": ["missed"]}},
            obj("Steps that were lost because nobody read.", team=TEAM, **TIMES, missed=of("integer")),
        ],
    },
    "diff": answer(
        "What the kernel has against what is wanted: pyteamdctl TEAM diff --json; status 1 when something is missing.",
        values=array(obj(what=of("string"), wanted={}, has={}, same=of("boolean"))),
        missing=array(of("string"), "Writes that are still to be done, in words."),
    ),
    "balance": answer(
        "What each port sent: pyteamdctl TEAM balance --json.",
        balance=obj(
            ports=named(obj(octets=of("integer", null=True), weight=of("number")), "By port."),
            evenness=of("number", "1 is perfect.", null=True),
        ),
    ),
    "hash": answer(
        "Where a flow leaves: pyteamdctl TEAM hash … --json.",
        flow=obj(
            hash=of("integer"),
            bucket=of("integer"),
            port=of("string", "Empty: the frame is dropped.", null=True),
            method=of("string"),
            certain=of("boolean", "Not so when the order of the ports is a guess."),
        ),
    ),
    "neighbours": answer(
        "The system at the other end of each cable: pyteamdctl TEAM neighbours --json.",
        ports=array(
            obj(
                port=PORT,
                neighbour={
                    "description": "null while nothing was heard.",
                    "oneOf": [{"type": "null"}, obj(chassis=of("string"), port=of("string"), system_name=of("string"))],
                },
            )
        ),
    ),
    "state": answer(
        "The state: pyteamdctl TEAM state --json. The tree is that of `state dump`, which is teamd's with members added.",
        state=obj(setup=obj(runner_name=of("string")), team_device=obj(ifinfo=obj(ifname=of("string")))),
    ),
    "config dump": answer("The configuration, in all three forms of config dump.", config=of("object")),
    "config apply": answer(
        "What another configuration changes: pyteamdctl TEAM config apply FILE --json; status 1 when it is refused.",
        applied=of("boolean"),
        changes=array(
            obj(path=of("string"), disruption={"enum": ["none", "port", "team"]}, text=of("string")), "In order."
        ),
        problems=array(of("string"), "Why it is refused, or empty."),
        warnings=WORDS,
    ),
    "config confirm": answer(
        "Of config confirm and config revert.", confirmed=of("boolean", "false: the one before is in force.")
    ),
    "port config dump": answer("The configuration of a port.", port=PORT, config=of("object")),
    "port present": answer("Whether it is a port; status 1 when not.", port=PORT, present=of("boolean")),
    "state item get": answer("One item.", path=of("string"), value=of("string")),
    "trace save": answer("What was written.", file=of("string"), steps=of("integer")),
    "list": {
        "$schema": DIALECT,
        **obj(
            "All teams whose daemon runs here: pyteamdctl list --json.",
            **TIMES,
            teams=named(
                obj(
                    runner=of("string"),
                    ports=named(of("boolean"), "By port: its watchers say up."),
                    active_port=of("string", null=True),
                ),
                "By team.",
            ),
            errors=named(of("string"), "Teams that could not be asked, and why."),
        ),
    },
    "all": {
        "$schema": DIALECT,
        **obj(
            "pyteamdctl --all VERB --json: the documents of all teams.",
            **TIMES,
            teams=named({}, "By team, the document of the verb."),
            errors=named(of("string"), "Teams without an answer, and why."),
        ),
    },
    "hosts": {
        "$schema": DIALECT,
        **obj(
            "pyteamdctl -H HOST -H HOST … --json: the documents of all hosts.",
            hosts=named({}, "By host, the document that came from there."),
            errors=named(of("string"), "Hosts without an answer, and why."),
        ),
    },
    "check": {
        "$schema": DIALECT,
        **obj(
            "pyteamd check --json FILE…; the exit status is that without --json.",
            files=array(
                obj(
                    file=of("string"),
                    verdict=of("string", "What a start and a reload do with it, in words."),
                    start={"enum": ["good", "partial", "fails"], "description": "partial: without ports or values."},
                    reload={"enum": ["good", "refused"]},
                    problems=array(PROBLEM),
                )
            ),
        ),
    },
}
"""By the verb of pyteamdctl, or the command of pyteamd, that prints it."""
