"""The verbs `hash` and `balance` of pyteamdctl: read a flow from the command line, put the daemon's answers into words."""

from __future__ import annotations

import errno
import json

from pyteamd.cli.pyteamdctl.verbs import Session, VerbError, load_json
from pyteamd.model.printable import printable_tree

FLOW_KEYS = ("src", "dst", "sport", "dport", "proto", "vlan", "smac", "dmac")
USAGE = f"{{FRAME | {' '.join(f'[--{key} …]' for key in FLOW_KEYS)}}}"


def flow_of(words: list[str]) -> dict[str, str]:
    """The flow that the words of a command line describe. Raises VerbError."""
    flow: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            flow["frame"] = flow.get("frame", "") + word
            continue
        key, sign, value = word.removeprefix("--").partition("=")
        if key not in FLOW_KEYS:
            allowed = ", ".join(f"--{name}" for name in FLOW_KEYS)
            raise VerbError(errno.EINVAL, f"{word} does not describe a flow (allowed: {allowed}, or a frame in hex)")
        if not sign and not rest:
            raise VerbError(errno.EINVAL, f"{word} needs a value")
        if key in flow:
            raise VerbError(errno.EINVAL, f"--{key} is given twice")
        flow[key] = value if sign else rest.pop(0)
    if not flow:
        raise VerbError(errno.EINVAL, f"Which flow? {USAGE}")
    return flow


def hash_flow(session: Session) -> None:
    """Where a flow leaves."""
    answer = load_json(session.client.fetch("FlowHash", json.dumps(flow_of(list(session.args)))))
    if session.json:
        session.print_document(flow=answer)
        return
    if session.oneline or not isinstance(answer, dict):
        session.print_json(answer)
        return
    answer = printable_tree(answer)
    session.print(f"hash: 0x{answer['hash']:08x}")
    session.print(f"bucket: {answer['bucket']}")
    how = "by the map" if answer["method"] == "hash_to_port_mapping" else f"bucket modulo {answer['ports']} ports"
    session.print(f"port: {answer['port'] or 'none, the frame is dropped'} ({how})")
    if not answer["certain"]:
        session.print("The ports were enabled before this daemon looked; their order is a guess, and so is the port.")
    if session.verbosity:
        session.print(f"frame: {answer['frame']}")


def balance(session: Session) -> None:
    """How even the ports are used."""
    answer = load_json(session.client.fetch("Balance"))
    if session.json:
        session.print_document(balance=answer)
        return
    if session.oneline or not isinstance(answer, dict):
        session.print_json(answer)
        return
    answer = printable_tree(answer)
    if "method" in answer:
        session.print(f"method: {answer['method']}")
    total = sum(port["octets"] or 0 for port in answer["ports"].values())
    for name, port in answer["ports"].items():
        session.print(f"{name}: {', '.join(port_words(port, total))}")
    for key, words in (("evenness", "evenness"), ("evenness_now", "evenness of the last interval")):
        if key in answer:
            value = answer[key]
            session.print(f"{words}: {'nothing sent' if value is None else f'{value:.3f} (1 is perfect)'}")


def port_words(port: dict[str, int | None], total: int) -> list[str]:
    """What there is to say about one port."""
    octets = port["octets"]
    words = ["octets unknown" if octets is None else f"{octets} octets, {octets / total if total else 0.0:.1%}"]
    if "octets_per_interval" in port:
        words.append(f"{port['octets_per_interval']} octets in an interval")
    if "buckets" in port:
        words.append(f"{port['buckets']} of 256 buckets")
    if port["weight"] != 1:
        words.append(f"weight {port['weight']}")
    return words
