"""The verbs of pyteamdctl: one table, one short function each.

A verb is called by its words, each shortened to any prefix; where several fit, the first row of the table wins. The
configuration and the state are those fetched at connecting, as in teamdctl; the other verbs call the daemon. A new
verb is a row at the end of VERBS and a function that imports what it needs when it is called.
"""

from __future__ import annotations

import errno

from pyteamd.client.client import Client
from pyteamd.client.connection import to_bytes
from pyteamd.model.limits import NAME_MAX
from pyteamd.model.printable import printable, printable_tree, shown, spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO


class VerbError(Exception):
    """A verb could not do its work: `errno` names the cause, the text (may be empty) comes before it."""

    def __init__(self, errno_: int, text: str = "") -> None:
        super().__init__(text)
        self.errno = errno_


class Session:
    """What a verb gets: the connected client, its parameters, the options, and where to write."""

    __slots__ = ("args", "client", "in_words", "json", "oneline", "out", "remarks", "verbosity")

    def __init__(
        self,
        client: Client,
        args: Sequence[str],
        oneline: bool,
        verbosity: int,
        out: TextIO,
        in_words: bool,
        json: bool = False,
    ) -> None:
        self.client = client
        self.args = args
        self.oneline = oneline
        self.verbosity = verbosity
        self.out = out
        self.in_words = in_words
        """Say in words what teamdctl shows as a number; not under its name."""
        self.json = json
        """Answer with a document; see document.py."""
        self.remarks: list[str] = []
        """Tell a person more than teamdctl does; not under its name."""

    def print(self, line: str) -> None:
        self.out.write(f"{line}\n")

    def print_document(self, **body: object) -> None:
        """The answer for programs, with `--json`."""
        from pyteamd.cli.pyteamdctl.document import document, text

        self.print(text(document(self.client.team, body), self.oneline))

    def print_json(self, value: object) -> None:
        from pyteamd.schema import json_text

        self.print(shown(json_text.dumps_oneline(value) if self.oneline else json_text.dumps(value), self.out))


class Verb:
    """One thing the program can do: the words that call it, the names of its parameters, the function."""

    __slots__ = ("extra", "params", "run", "tail", "words")

    def __init__(
        self, words: str, params: str, run: Callable[[Session], None], extra: bool = False, tail: str = ""
    ) -> None:
        self.words = tuple(words.split())
        self.params = tuple(params.split())
        self.run = run
        self.extra = extra
        """teamdctl does not have it."""
        self.tail = tail
        """If not empty, all that stands behind the word is the verb's, options too; this is what the help says of it."""


def load_json(text: str) -> object:
    """Read what the daemon sent. Raises VerbError."""
    from pyteamd.schema import json_text

    try:
        return json_text.loads(text)
    except json_text.JanssonError:
        raise VerbError(errno.EINVAL, "Failed to parse JSON dump.") from None


def _config(session: Session, config: object) -> None:
    if session.json:
        session.print_document(config=config)
    else:
        session.print_json(config)


def _config_dump(session: Session) -> None:
    _config(session, load_json(session.client.config_text))


def _config_dump_noports(session: Session) -> None:
    config = load_json(session.client.config_text)
    if isinstance(config, dict):
        config.pop("ports", None)
    _config(session, config)


def _config_dump_actual(session: Session) -> None:
    _config(session, load_json(session.client.config_actual_text))


def _state_view(session: Session) -> None:
    if session.json:
        _state_dump(session)
        return
    from pyteamd.cli.pyteamdctl import state_text

    state = load_json(session.client.state_text)
    if session.in_words or session.out.isatty():
        state = printable_tree(state)
    try:
        for line in state_text.view(state, session.verbosity, session.in_words):
            session.print(line)
    except state_text.ViewError as error:
        raise VerbError(errno.EINVAL, str(error)) from None


def _state_dump(session: Session) -> None:
    state = load_json(session.client.state_text)
    if session.json:
        session.print_document(state=state)
    else:
        session.print_json(state)


def _state_item_get(session: Session) -> None:
    value = session.client.get(*session.args)
    if session.json:
        session.print_document(path=session.args[0], value=value)
    else:
        session.print(shown(value, session.out))


def _state_item_set(session: Session) -> None:
    session.client.set(*session.args)


def _port_add(session: Session) -> None:
    from pyteamd.client.transport import DaemonError

    try:
        session.client.add_port(*session.args)
    except DaemonError as error:
        if session.in_words:
            error.hint = _explanation(session, session.args[0])
        raise


def _explanation(session: Session, port: str) -> str:
    """What the daemon has to say of a link that is no port, "" when nothing; teamd has nothing."""
    from pyteamd.client.transport import ClientError

    try:
        rows = session.client.explain()
    except ClientError:
        return ""
    return next((printable(row["text"]) for row in rows if spelled(port) in (row["port"], *row.get("names", ()))), "")


def _port_remove(session: Session) -> None:
    session.client.remove_port(*session.args)


def _port_present(session: Session) -> None:
    state = load_json(session.client.state_text)
    ports = state.get("ports") if isinstance(state, dict) else None
    present = isinstance(ports, dict) and is_among(ports, session.args[0])
    if session.json:
        session.print_document(port=session.args[0], present=present)
    if not present:
        raise VerbError(errno.ENODEV, f"{session.args[0]} is no port of this team" if session.in_words else "")


def is_among(ports: dict[str, object], name: str) -> bool:
    """Whether a link is one of these, under whichever of its names."""
    return spelled(name) in ports or _index_of(name) in [_number_in(port) for port in ports.values()]


def _index_of(name: str) -> int:
    """Number of the link that has this name now, an alternative one perhaps; -1 without one."""
    import socket

    try:
        if len(to_bytes(name)) <= NAME_MAX:
            return socket.if_nametoindex(name)
    except OSError:
        return -1
    from pyteamd.kernel.requests import Requests  # only for long names: importing it takes long
    from pyteamd.model.errors import KernelRefused

    kernel = Requests()
    try:
        link = kernel.find_link(name)
    except KernelRefused:
        return -1
    finally:
        kernel.close()
    return link.ifindex if link is not None else -1


def kernels_name_of(device: str) -> str:
    """The name that the kernel has for a device, and its daemon: what was typed may be an alternative one."""
    import socket

    index = _index_of(device)
    try:
        return socket.if_indextoname(index) if index > 0 else device
    except OSError:
        return device


def _number_in(port: object) -> int:
    """The number of a port's link in the state; 0 when it is not told."""
    about = port.get("ifinfo") if isinstance(port, dict) else None
    number = about.get("ifindex") if isinstance(about, dict) else None
    return number if isinstance(number, int) else 0


def _port_config_update(session: Session) -> None:
    from pyteamd.client.transport import ClientError

    remarks = _remarks(session) if session.in_words else []
    try:
        session.client.call("PortConfigUpdate", *session.args)
    except ClientError as error:
        error.hint = "; ".join(remarks)
        raise
    session.remarks += remarks


def _remarks(session: Session) -> list[str]:
    """What is wrong with new settings of a port, and which of them wait until it joins again; teamd does not say."""
    from pyteamd.client.transport import ClientError

    try:
        found = session.client.check_port(*session.args)
    except ClientError:
        return []
    return [*found["problems"], *found["waiting"]]


def _port_config_dump(session: Session) -> None:
    if len(to_bytes(session.args[0])) > NAME_MAX + 1:
        raise VerbError(errno.EINVAL)
    config = load_json(session.client.fetch("PortConfigDump", *session.args))
    if session.json:
        session.print_document(port=session.args[0], config=config)
    else:
        session.print_json(config)


def _lazy(name: str, module: str = "cli.pyteamdctl.inspect") -> Callable[[Session], None]:
    """A verb of another module, imported when it is called."""

    def run(session: Session) -> None:
        from importlib import import_module

        getattr(import_module(f"pyteamd.{module}"), name)(session)

    return run


VERBS = (
    Verb("config dump", "", _config_dump),
    Verb("config dump noports", "", _config_dump_noports),
    Verb("config dump actual", "", _config_dump_actual),
    Verb("state", "", _state_view),
    Verb("state dump", "", _state_dump),
    Verb("state view", "", _state_view),
    Verb("state item get", "ITEMPATH", _state_item_get),
    Verb("state item set", "ITEMPATH VALUE", _state_item_set),
    Verb("port add", "PORTDEV", _port_add),
    Verb("port remove", "PORTDEV", _port_remove),
    Verb("port present", "PORTDEV", _port_present),
    Verb("port config update", "PORTDEV PORTCONFIG", _port_config_update),
    Verb("port config dump", "PORTDEV", _port_config_dump),
    Verb("explain", "", _lazy("explain"), extra=True),
    Verb("explain", "[PORTDEV]", _lazy("explain"), extra=True),
    Verb("diff", "", _lazy("diff"), extra=True),
    Verb("history", "", _lazy("history"), extra=True),
    Verb("damping clear", "PORTDEV", _lazy("damping_clear"), extra=True),
    Verb("trace save", "", _lazy("trace_save"), extra=True),
    Verb("trace save", "[FILE]", _lazy("trace_save"), extra=True),
    Verb(
        "hash",
        "",
        _lazy("hash_flow", "cli.pyteamdctl.balance"),
        extra=True,
        tail="FRAME|[--src A --dst A --sport N --dport N …]",
    ),
    Verb("balance", "", _lazy("balance", "cli.pyteamdctl.balance"), extra=True),
    Verb("neighbours", "", _lazy("neighbours", "cli.pyteamdctl.neighbours"), extra=True),
    Verb("metrics", "", _lazy("metrics", "cli.pyteamdctl.stream"), extra=True),
    Verb("monitor", "", _lazy("monitor", "cli.pyteamdctl.stream"), extra=True, tail="[--json]"),
    Verb("watch", "", _lazy("watch", "cli.pyteamdctl.watch"), extra=True, tail="[SECONDS]"),
    Verb(
        "config apply",
        "",
        _lazy("config_apply", "cli.pyteamdctl.config"),
        extra=True,
        tail="FILE [--dry-run | --confirm SECONDS]",
    ),
    Verb("config confirm", "", _lazy("config_confirm", "cli.pyteamdctl.config"), extra=True),
    Verb("config revert", "", _lazy("config_revert", "cli.pyteamdctl.config"), extra=True),
)
"""The order decides what a prefix means, so extra verbs come last."""
