"""The commands of scenario scripts that make something happen, one function each.

A command's docstring is its help text; it begins with how the command is written. Their output is what the world reports afterwards:
notes, writes, refusals.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.scenario.session import ScenarioSession
from pyteamd.scenario.world import CommandError
from pyteamd.wire.bfd import State

WHOLE = re.compile("-?[0-9]{1,20}")


def words(rest: str, least: int, most: int, usage: str) -> list[str]:
    """Split arguments, with their number checked."""
    found = rest.split()
    if not least <= len(found) <= most:
        raise CommandError(f"write: {usage}")
    return found


def on_off(word: str, yes: str, no: str) -> bool:
    """One of two words."""
    if word not in (yes, no):
        raise CommandError(f"{word!r} is neither {yes!r} nor {no!r}")
    return word == yes


def number(text: str, unit: str = "") -> float:
    """A number from 0 on, with or without its unit."""
    with suppress(ValueError):
        value = float(text.removesuffix(unit))
        if 0 <= value < math.inf:
            return value
    raise CommandError(f"{text!r} is not a number from 0 on")


def integer(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a whole number") from None


def hardware_address(text: str) -> bytes:
    """An address as it is written."""
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        raise CommandError(f"{text!r} is not a hardware address") from None


# What happens to the links


def port(session: ScenarioSession, rest: str) -> None:
    """port NAME [speed MBPS] [half]

    A link with a peer: down itself, its peer up.
    """
    usage = "port NAME [speed MBPS] [half]"
    name, *more = words(rest, 1, 4, usage)
    duplex = 0 if more[-1:] == ["half"] else 1
    more = more[: len(more) - (not duplex)]
    if more and (len(more) != 2 or more[0] != "speed"):
        raise CommandError(f"write: {usage}")
    session.world.make_port(name, integer(more[1]) if more else 10000, duplex)


BESIDE = ("bridge", "bond", "team", "tun")
UPON = ("vlan", "loose vlan", "macvlan", "macsec", "ipvlan")


def device(session: ScenarioSession, rest: str) -> None:
    """device NAME bridge|bond|team|tun, or device NAME vlan|loose vlan|macvlan|macsec|ipvlan on LINK: a link of another kind."""
    usage = "device NAME KIND [on LINK]"
    name, *more = words(rest, 2, 5, usage)
    kind, _, lower = " ".join(more).partition(" on ")
    if kind not in (UPON if lower else BESIDE):
        raise CommandError(f"write: {usage}")
    if lower:
        session.world.make_upper(name, lower, kind)
    else:
        session.world.make_other(name, kind)


def link(session: ScenarioSession, rest: str) -> None:
    """link NAME up|down: the far end, so the carrier."""
    name, word = words(rest, 2, 2, "link NAME up|down")
    session.world.set_peer(name, on_off(word, "up", "down"))


def admin(session: ScenarioSession, rest: str) -> None:
    """admin NAME up|down: ip link set."""
    name, word = words(rest, 2, 2, "admin NAME up|down")
    session.world.set_admin(name, on_off(word, "up", "down"))


def mtu(session: ScenarioSession, rest: str) -> None:
    """mtu NAME OCTETS: ip link set; a team's is that of its ports too."""
    name, text = words(rest, 2, 2, "mtu NAME OCTETS")
    session.world.set_mtu(name, integer(text))


def mac(session: ScenarioSession, rest: str) -> None:
    """mac NAME ADDRESS: the link gets another hardware address, not from the daemon."""
    name, text = words(rest, 2, 2, "mac NAME ADDRESS")
    session.world.set_mac(name, hardware_address(text))


def rename(session: ScenarioSession, rest: str) -> None:
    """rename NAME NEW: ip link set NAME name NEW, the link down meanwhile."""
    name, new = words(rest, 2, 2, "rename NAME NEW")
    session.world.rename(name, new)


def delete(session: ScenarioSession, rest: str) -> None:
    """delete NAME: the link ceases to exist, its peer too."""
    session.world.delete(*words(rest, 1, 1, "delete NAME"))


def remake(session: ScenarioSession, rest: str) -> None:
    """remake NAME TIMES: the link is deleted and made again, so many times before the daemon reads of it."""
    name, times = words(rest, 2, 2, "remake NAME TIMES")
    session.world.remake(name, integer(times))


def move(session: ScenarioSession, rest: str) -> None:
    """move NAME: the link goes to another network namespace."""
    session.world.move_away(*words(rest, 1, 1, "move NAME"))


def master(session: ScenarioSession, rest: str) -> None:
    """master NAME [TEAM]: ip link set NAME master TEAM, or nomaster; not through the daemon."""
    name, team = [*words(rest, 1, 2, "master NAME [TEAM]"), ""][:2]
    session.world.set_master(name, team)


def option(session: ScenarioSession, rest: str) -> None:
    """option NAME [of PORT] [at INDEX] VALUE: another program sets an option; activeport takes a name."""
    usage = "option NAME [of PORT] [at INDEX] VALUE"
    found = words(rest, 2, 6, usage)
    name, value, place = found[0], found[-1], dict(zip(found[1:-1:2], found[2:-1:2], strict=False))
    if len(found) % 2 or not place.keys() <= {"of", "at"}:
        raise CommandError(f"write: {usage}")
    ifindex = session.world.ifindex_of(place["of"]) if "of" in place else 0
    parsed: OptionValue = value
    if name in ("activeport", "lb_tx_hash_to_port_mapping"):
        parsed = session.world.ifindex_of(value)
    elif value in ("true", "false"):
        parsed = value == "true"
    elif WHOLE.fullmatch(value):
        parsed = int(value)
    session.world.set_option(OptionKey(name, ifindex, integer(place.get("at", "0"))), parsed)


# What happens on the wire


def say(session: ScenarioSession, rest: str) -> None:
    """say PORT OCTETS: the far end sends this frame, in hexadecimal, from its addresses on."""
    name, *parts = words(rest, 2, 64, "say PORT OCTETS")
    try:
        octets = bytes.fromhex("".join(parts))
    except ValueError:
        raise CommandError(f"{' '.join(parts)!r} is not hexadecimal") from None
    session.world.say(name, octets)


def answers(session: ScenarioSession, rest: str) -> None:
    """arp PORT ADDRESS on|off [vlan ID]: a host behind the port answers for an IPv4 or IPv6 address."""
    usage = "arp PORT ADDRESS on|off [vlan ID]"
    name, address, word, *more = words(rest, 3, 5, usage)
    if more and (more[0] != "vlan" or len(more) != 2):
        raise CommandError(f"write: {usage}")
    session.world.answer(name, address, on_off(word, "on", "off"), integer(more[1]) if more else None)


BFD_STATES = {str(state).replace(" ", "-"): state for state in State}


def switch(session: ScenarioSession, rest: str) -> None:
    """switch PORT PORT…: their wires lead to one switch, and hosts that `arp` makes later are behind it."""
    session.world.switch(words(rest, 2, 64, "switch PORT PORT…"))


def partner(session: ScenarioSession, rest: str) -> None:
    """partner PORT lacp|bfd [WORD=VALUE…]

    The far end of the port speaks LACP, or what it says changes: number, key, state=0x3f, system=MAC, silent=yes|no, every=SECONDS;
    our.key, our.port, our.system=MAC, our.state for what it says of us in place of what it heard; our=right ends that.
    bfd: silent=yes|no, interval=SECONDS, multiplier, state=admin-down|down|init|up|true, diag=NUMBER|true.
    """
    name, kind, *more = words(rest, 2, 12, "partner PORT lacp|bfd [WORD=VALUE…]")
    read = {"lacp": partner_word, "bfd": bfd_word}.get(kind)
    if read is None:
        raise CommandError(f"a partner speaks lacp or bfd, not {kind!r}")
    session.world.partner(name, kind, dict(read(word) for word in more))


def partner_word(word: str) -> tuple[str, Any]:
    """One setting of a partner."""
    key, _, value = word.partition("=")
    match key:
        case "number" | "key" | "state" | "our.key" | "our.port" | "our.state":
            try:
                return key, int(value, 0)
            except ValueError:
                raise CommandError(f"{word!r}: not a whole number") from None
        case "system" | "our.system":
            return key, hardware_address(value)
        case "every":
            return key, number(value, "s")
        case "silent":
            return key, on_off(value, "yes", "no")
        case "our" if value == "right":
            return key, value
    raise CommandError(f"a partner has no {word!r}")


def bfd_word(word: str) -> tuple[str, Any]:
    """One setting of a partner that speaks BFD."""
    key, _, value = word.partition("=")
    match key:
        case "silent":
            return key, on_off(value, "yes", "no")
        case "interval":
            return key, number(value, "s")
        case "multiplier":
            return key, integer(value)
        case "state" | "diag" if value == "true":
            return key, None
        case "diag":
            return key, integer(value)
        case "state" if value in BFD_STATES:
            return key, BFD_STATES[value]
    raise CommandError(f"a partner has no {word!r}")


def loss(session: ScenarioSession, rest: str) -> None:
    """loss PORT PERCENT%: frames lost on the wire, in both directions."""
    name, text = words(rest, 2, 2, "loss PORT PERCENT%")
    session.world.wire(name, "loss", number(text, "%") / 100)


def duplicate(session: ScenarioSession, rest: str) -> None:
    """duplicate PORT PERCENT%: frames that arrive twice."""
    name, text = words(rest, 2, 2, "duplicate PORT PERCENT%")
    session.world.wire(name, "duplicate", number(text, "%") / 100)


def delay(session: ScenarioSession, rest: str) -> None:
    """delay PORT SECONDS: how long frames take."""
    name, text = words(rest, 2, 2, "delay PORT SECONDS")
    session.world.wire(name, "delay", number(text, "s"))


def jitter(session: ScenarioSession, rest: str) -> None:
    """jitter PORT SECONDS: frames take up to so much longer, and overtake each other."""
    name, text = words(rest, 2, 2, "jitter PORT SECONDS")
    session.world.wire(name, "jitter", number(text, "s"))


def host(session: ScenarioSession, rest: str) -> None:
    """host NAME ADDRESS: the resolver knows a host."""
    name, address = words(rest, 2, 2, "host NAME ADDRESS")
    session.world.host(name, address)


# What happens to the daemon


def config(session: ScenarioSession, rest: str) -> None:
    """config {…}: the configuration, JSON or YAML, for the next start."""
    session.configs[session.world.team_name] = rest


def team(session: ScenarioSession, rest: str) -> None:
    """team NAME: the commands that follow are about this team; before, they are about team0."""
    session.world.team_name = words(rest, 1, 1, "team NAME")[0]


def start(session: ScenarioSession, rest: str) -> None:
    """start [-o] [-n] [-N]

    Start the daemon; -o adopts an existing device, -n does not add the configured ports, -N leaves all as it is on the way out.
    """
    session.served = False
    begin(session, **start_options(rest, "start"))


def serve(session: ScenarioSession, rest: str) -> None:
    """serve [-o] [-n] [-N]: start one process for all teams that `config` has spoken of; options as for `start`."""
    session.served = True
    begin(session, **start_options(rest, "serve"))


def start_options(rest: str, command: str) -> dict[str, bool]:
    """How a daemon is to start."""
    usage = f"{command} [-o] [-n] [-N]"
    found = words(rest, 0, 3, usage)
    if not set(found) <= {"-o", "-n", "-N"}:
        raise CommandError(f"write: {usage}")
    return {"adopt": "-o" in found, "enslave": "-n" not in found, "keep": "-N" in found}


def begin(session: ScenarioSession, *, adopt: bool, enslave: bool, keep: bool) -> None:
    """Start the daemon, for one team or for many."""
    if session.served:
        session.world.serve(session.configs, adopt=adopt, enslave=enslave, keep=keep)
    else:
        session.world.start(session.config, adopt=adopt, enslave=enslave, keep=keep)


def kill(session: ScenarioSession, rest: str) -> None:
    """kill: the daemon is killed."""
    words(rest, 0, 0, "kill")
    session.world.kill()


def restart(session: ScenarioSession, rest: str) -> None:
    """restart: the daemon is killed and started again with -o."""
    words(rest, 0, 0, "restart")
    session.world.kill()
    begin(session, **start_options("-o", "restart"))


def stop(session: ScenarioSession, rest: str) -> None:
    """stop: stop the daemon in good order."""
    words(rest, 0, 0, "stop")
    session.world.stop()


def set_item(session: ScenarioSession, rest: str) -> None:
    """set PATH VALUE: a user sets a state item."""
    path, value = words(rest, 2, 2, "set PATH VALUE")
    session.world.set_item(path, value)


def apply(session: ScenarioSession, rest: str) -> None:
    """apply {…}: a user goes over to another configuration while the daemon runs."""
    session.world.apply_config(rest)


def add(session: ScenarioSession, rest: str) -> None:
    """add NAME: a user adds a port through the daemon."""
    session.world.add_port(*words(rest, 1, 1, "add NAME"))


def remove(session: ScenarioSession, rest: str) -> None:
    """remove NAME: a user removes a port through the daemon."""
    session.world.remove_port(*words(rest, 1, 1, "remove NAME"))


def portconfig(session: ScenarioSession, rest: str) -> None:
    """portconfig NAME {…}: a user updates the configuration of a port."""
    name, _, text = rest.partition(" ")
    try:
        tree = json.loads(text)
    except ValueError as problem:
        raise CommandError(f"not JSON: {problem}") from None
    session.world.port_config(name, tree)


# What happens in the kernel


def overrun(session: ScenarioSession, rest: str) -> None:
    """overrun: the kernel loses the messages that wait for the daemon."""
    words(rest, 0, 0, "overrun")
    session.world.overrun()


def hold(session: ScenarioSession, rest: str) -> None:
    """hold link|team: messages of that netlink family come late, from now until `release`."""
    family = rest.strip()
    on_off(family, "link", "team")
    session.world.hold(family, True)


def release(session: ScenarioSession, rest: str) -> None:
    """release link|team: what was held comes now."""
    family = rest.strip()
    on_off(family, "link", "team")
    session.world.hold(family, False)


def batches(session: ScenarioSession, rest: str) -> None:
    """batches SEED: messages that wait are read in batches of random sizes, decided by the seed, by the next daemon; else all at once."""
    session.world.read_in_batches(integer(*words(rest, 1, 1, "batches SEED")))


def refuse(session: ScenarioSession, rest: str) -> None:
    """kernel-refuses WHAT [PORT] once|always [ERRNO]

    WHAT: enable, disable, enslave, release, address, carrier, or the name of an option.
    """
    usage = "kernel-refuses WHAT [PORT] once|always [ERRNO]"
    found = words(rest, 2, 4, usage)
    at = next((i for i, word in enumerate(found) if word in ("once", "always")), 0)
    if at not in (1, 2):
        raise CommandError(f"write: {usage}")
    times = 1 if found[at] == "once" else None
    session.world.refuse(found[0], found[1] if at == 2 else "", times, [*found[at + 1 :], "EBUSY"][0])


def accept(session: ScenarioSession, rest: str) -> None:
    """kernel-accepts: no more refusals."""
    words(rest, 0, 0, "kernel-accepts")
    session.world.refuse("", "", None, "EBUSY")


def at(session: ScenarioSession, rest: str) -> None:
    """at +SECONDS: let time pass."""
    text = words(rest, 1, 1, "at +SECONDS")[0]
    if not text.startswith("+"):
        raise CommandError("write: at +SECONDS")
    session.world.pass_time(number(text[1:], "s"))


def until(session: ScenarioSession, rest: str) -> None:
    """until quiet: let time pass until nothing happens any more."""
    if rest != "quiet":
        raise CommandError("write: until quiet")
    session.world.until_quiet()


ACTIONS: dict[str, Callable[[ScenarioSession, str], None]] = {
    "port": port,
    "device": device,
    "link": link,
    "admin": admin,
    "mtu": mtu,
    "mac": mac,
    "rename": rename,
    "delete": delete,
    "remake": remake,
    "move": move,
    "master": master,
    "option": option,
    "say": say,
    "arp": answers,
    "switch": switch,
    "partner": partner,
    "loss": loss,
    "duplicate": duplicate,
    "delay": delay,
    "jitter": jitter,
    "host": host,
    "config": config,
    "team": team,
    "start": start,
    "serve": serve,
    "kill": kill,
    "restart": restart,
    "stop": stop,
    "set": set_item,
    "apply": apply,
    "add": add,
    "remove": remove,
    "portconfig": portconfig,
    "overrun": overrun,
    "hold": hold,
    "release": release,
    "batches": batches,
    "kernel-refuses": refuse,
    "kernel-accepts": accept,
    "at": at,
    "until": until,
}
