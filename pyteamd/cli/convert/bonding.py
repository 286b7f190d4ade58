"""Bonding options ↔ team configuration, and in words what has no counterpart. Pure.

Both sides know the same few ideas under other names: a mode is a runner, MII monitoring is the ethtool watcher, ARP monitoring the arp_ping
watcher, the primary port is a priority. What one side knows and the other does not is never dropped in silence: every function
returns notes, one sentence each. Options of the bonding driver as in Documentation/networking/bonding.rst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import gcd
from typing import Any

from pyteamd.values import dataclass

PRIMARY_PRIO = 100
"""Priority of the port that was the bond's primary."""

RUNNER_OF = {
    "balance-rr": "roundrobin",
    "active-backup": "activebackup",
    "balance-xor": "loadbalance",
    "broadcast": "broadcast",
    "802.3ad": "lacp",
    "balance-tlb": "loadbalance",
    "balance-alb": "",
}
"""Mode ↔ runner, in the order of the modes' numbers; "": none. A team with a runner becomes a bond with the runner's first mode."""
MODES = tuple(RUNNER_OF)


def back(table: Mapping[Any, Any]) -> dict[Any, Any]:
    """A table read from right to left; where two rows have the same right side, the first counts."""
    return {value: key for key, value in reversed([*table.items()])}


MODE_OF = {runner: mode for runner, mode in back(RUNNER_OF).items() if runner}
NUMBERED = {
    "mode": MODES,
    "ad_select": ("stable", "bandwidth", "count"),
    "fail_over_mac": ("none", "active", "follow"),
    "lacp_rate": ("slow", "fast"),
    "lacp_active": ("off", "on"),
    "primary_reselect": ("always", "better", "failure"),
    "arp_validate": ("none", "active", "backup", "all", "filter", "filter_active", "filter_backup"),
    "arp_all_targets": ("any", "all"),
    "xmit_hash_policy": ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"),
}
"""Options whose values may be given as numbers."""
AGG_SELECT = {"bandwidth": "bandwidth", "count": "count", "stable": "bandwidth"}
HWADDR_POLICY = {"none": "same_all", "active": "by_active", "follow": "only_active"}
TX_HASH = {
    "layer2": ("eth",),
    "layer2+3": ("eth", "l3"),
    "layer3+4": ("l3", "l4"),
    "vlan+srcmac": ("eth", "vlan"),
    "encap2+3": ("eth", "l3"),
    "encap3+4": ("l3", "l4"),
}
POLICY_OF = back(TX_HASH)
LACP_WORDS = {
    "lacp_rate": ("fast_rate", {"fast": True, "slow": False}),
    "lacp_active": ("active", {"on": True, "off": False}),
}
"""Option ↔ key of the lacp runner, and word ↔ value."""
LACP_NUMBERS = {"min_links": "min_ports", "ad_actor_sys_prio": "sys_prio"}
"""Option ↔ key of the lacp runner."""
NOTIFICATIONS = {
    "num_grat_arp": ("notify_peers", "count"),
    "peer_notif_delay": ("notify_peers", "interval"),
    "resend_igmp": ("mcast_rejoin", "count"),
}
"""Option ↔ group and key of the team."""
DELAYS = {"updelay": "delay_up", "downdelay": "delay_down"}
REQUESTS = {"arp_interval": "interval", "arp_missed_max": "missed_max"}
"""Option ↔ key of a watcher that sends requests."""
TARGETS = {"arp_ip_target": "arp_ping", "ns_ip6_target": "nsna_ping"}
"""Option ↔ watcher."""
REQUEST_DEFAULTS = {"interval": 1000, "missed_max": 3}
LACP_DEFAULTS = {"fast_rate": False, "active": True}
VALIDATES = ("validate_active", "validate_inactive")
CONVERTED = frozenset(
    {"device", "hwaddr", "runner", "ports", "link_watch", "link_watch_policy", "notify_peers", "mcast_rejoin"}
)
"""Keys of a team that bonding knows too, if only in part."""
VALIDATED = {"none": (False, False), "active": (True, False), "backup": (False, True), "all": (True, True)}
"""arp_validate ↔ whether answers are validated on the active port, and on the others."""
FORMER_NAMES = {
    "lacp_rate": ("ad_lacp_rate",),
    "num_grat_arp": ("num_unsol_na", "num_peer_notif"),
    "arp_missed_max": ("missed_max",),
}
DEFAULTS = {
    **{"fail_over_mac": "none", "xmit_hash_policy": "layer2", "tlb_dynamic_lb": "1", "primary_reselect": "always"},
    **{"arp_validate": "none", "arp_all_targets": "any", "use_carrier": "1"},
}
"""Values that need no note where the option has no effect."""
PINGS = ("arp_ping", "nsna_ping")
WITHOUT_ARP = ("802.3ad", "balance-tlb", "balance-alb")
"""Modes in which the driver refuses arp_interval (drivers/net/bonding/bond_options.c)."""
MOST = {"num_grat_arp": 255, "resend_igmp": 255, "arp_missed_max": 255}
SHORTEST_MIIMON_MS = 10


class ConvertError(Exception):
    """What was given cannot be converted; the text says why and what is allowed."""


@dataclass(slots=True)
class Bond:
    """A bond: the driver's options as text, and its ports."""

    name: str = "bond0"
    options: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    """Keys of a team for which the driver has no option: hwaddr."""
    port_trees: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By port, keys of a team's port for which it has none: prio, queue_id."""


def bond_to_team(bond: Bond, device: str = "") -> tuple[dict[str, Any], list[str]]:
    """The configuration of a team that does what the bond did, and notes. ConvertError."""
    options = {name: in_words(name, value) for name, value in bond.options.items()}
    mode = options.pop("mode", MODES[0])
    runner = RUNNER_OF.get(mode)
    if runner is None:
        raise ConvertError(f"mode {mode!r}: allowed are {', '.join(MODES)}, or their numbers 0 to 6")
    if not runner:
        raise ConvertError(
            f"mode {mode}: the team driver has no counterpart; balance-xor or balance-tlb is the nearest"
        )
    notes: list[str] = []
    tree: dict[str, Any] = {"device": device or bond.name, **bond.extra, "runner": {"name": runner}}
    ports: dict[str, dict[str, Any]] = {name: dict(bond.port_trees.get(name, {})) for name in bond.ports}
    take = _Taken(options, notes)
    _runner_keys(take, mode, tree["runner"], notes)
    _primary(take, runner, ports, notes)
    _notifications(take, tree)
    tree["link_watch"] = _watchers(take, tree, notes)
    if ports:
        tree["ports"] = ports
    notes += [f"{name}={value}: no counterpart, left out" for name, value in take.rest().items()]
    return tree, notes


class _Taken:
    """Options that are still to be converted; each is taken by the function that converts it."""

    def __init__(self, options: Mapping[str, str], notes: list[str]) -> None:
        self._options = dict(options)
        self._notes = notes

    def __call__(self, *names: str) -> str | None:
        given = {name: self._options.pop(name) for name in names if name in self._options}
        found = next(iter(given.values()), None)
        self._notes += [
            f"{name}={value}: {next(iter(given))}={found} is used" for name, value in given.items() if value != found
        ]
        return found

    def idle(self, why: str, *names: str) -> None:
        """Take options that have no effect here; a note for each that differs from its default."""
        for name in names:
            value = self(name, *FORMER_NAMES.get(name, ()))
            if value is not None and value != DEFAULTS.get(name):
                self._notes.append(f"{name}={value}: {why}, left out")

    def number(self, *names: str) -> int | None:
        """A number; a note when it is none."""
        text = self(*names)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            self._notes.append(f"{names[0]}={text}: not a number, left out")
            return None

    def rest(self) -> dict[str, str]:
        """What nobody took."""
        return self._options


def in_words(name: str, value: str) -> str:
    """The value of an option by name, where it was given as a number."""
    words = NUMBERED.get(name, ())
    return words[int(value)] if value.isascii() and value.isdigit() and int(value) < len(words) else value


def _choice(take: _Taken, name: str, table: Mapping[str, Any], notes: list[str]) -> Any:
    value = take(name, *FORMER_NAMES.get(name, ()))
    if value is not None and value not in table:
        notes.append(f"{name}={value}: unknown, left out; known are {', '.join(table)}")
    return table.get(value or "")


def _runner_keys(take: _Taken, mode: str, runner: dict[str, Any], notes: list[str]) -> None:
    if runner["name"] != "activebackup":
        take.idle("only with active-backup", "fail_over_mac")
    elif policy := _choice(take, "fail_over_mac", HWADDR_POLICY, notes):
        runner["hwaddr_policy"] = policy
    _hash_keys(take, mode, runner, notes)
    if runner["name"] != "lacp":
        return
    for option, (key, values) in LACP_WORDS.items():
        if (word := _choice(take, option, values, notes)) is not None:
            runner[key] = word
    for option, key in LACP_NUMBERS.items():
        if (number := take.number(option)) is not None:
            runner[key] = max(1, number) if key == "min_ports" else number
    if (selection := _choice(take, "ad_select", AGG_SELECT, notes)) is not None:
        runner["agg_select_policy"] = selection


def _hash_keys(take: _Taken, mode: str, runner: dict[str, Any], notes: list[str]) -> None:
    if runner["name"] not in ("loadbalance", "lacp"):
        take.idle("only with balance-xor, balance-tlb and 802.3ad", "xmit_hash_policy")
    else:
        hash_policy = take("xmit_hash_policy")
        if hash_policy in ("encap2+3", "encap3+4"):
            notes.append(f"xmit_hash_policy={hash_policy}: the hash does not look into tunnels")
        runner["tx_hash"] = list(TX_HASH.get(hash_policy or "layer2", TX_HASH["layer2"]))
        if hash_policy is not None and hash_policy not in TX_HASH:
            notes.append(f"xmit_hash_policy={hash_policy}: unknown, layer2 is used; known are {', '.join(TX_HASH)}")
    if mode != "balance-tlb":
        take.idle("only with balance-tlb", "tlb_dynamic_lb")
    elif (dynamic := take("tlb_dynamic_lb") or "1") != "0":
        runner["tx_balancer"] = {"name": "basic"}
        notes.append("mode=balance-tlb: by hash and a balancer that moves hash values; bonding moves flows")
        if dynamic != "1":
            notes.append(f"tlb_dynamic_lb={dynamic}: unknown, 1 is used")


def _primary(take: _Taken, runner: str, ports: dict[str, dict[str, Any]], notes: list[str]) -> None:
    primary = take("primary")
    if primary is None or runner != "activebackup":
        take.idle("there is no primary", "primary_reselect")
    if primary is None:
        return
    if runner != "activebackup":
        notes.append(f"primary={primary}: only with active-backup, left out")
        return
    if ports and primary not in ports:
        notes.append(f"primary={primary}: is no port, left out")
        take.idle("the primary is no port", "primary_reselect")
        return
    prios = [port.get("prio") for name, port in ports.items() if name != primary]
    above = [prio + 1 for prio in prios if isinstance(prio, int)]
    if (own := ports.setdefault(primary, {}).get("prio")) is not None:
        notes.append(f"prio={own} of {primary}: it is the primary, which goes before all priorities")
    ports[primary]["prio"] = max([PRIMARY_PRIO, *above])
    reselect = take("primary_reselect") or "always"
    if reselect not in NUMBERED["primary_reselect"]:
        notes.append(f"primary_reselect={reselect}: unknown, always is used")
    if reselect == "failure":
        for port in ports.values():
            port["sticky"] = True
    elif reselect == "better":
        notes.append("primary_reselect=better: the primary comes back always, not only when it is faster")


def _notifications(take: _Taken, tree: dict[str, Any]) -> None:
    for option, (group, key) in NOTIFICATIONS.items():
        if (value := take.number(option, *FORMER_NAMES.get(option, ()))) is not None:
            tree.setdefault(group, {})[key] = value


def _watchers(take: _Taken, tree: dict[str, Any], notes: list[str]) -> Any:
    targets = [
        (kind, name)
        for option, kind in TARGETS.items()
        for target in (take(option) or "").split(",")
        if (name := target.lstrip("+"))
    ]
    interval, miimon = take.number("arp_interval"), take.number("miimon")
    take.idle("a team's watcher takes the carrier from the driver", "use_carrier")
    delays = {key: value for option, key in DELAYS.items() if (value := take.number(option))}
    if not interval or not targets:
        if targets or interval:
            notes.append("ARP monitoring needs arp_interval and arp_ip_target; only the carrier is watched")
        take.idle("there is no ARP monitoring", "arp_missed_max", "arp_validate", "arp_all_targets")
        return {"name": "ethtool", **delays}
    if miimon:
        notes.append("miimon and arp_interval: the driver allows one of them; ARP monitoring is used")
    named = back(DELAYS)
    notes += [f"{named[key]}={value}: only where the carrier is watched, left out" for key, value in delays.items()]
    return _requests(take, targets, interval, tree, notes)


def _requests(
    take: _Taken, targets: Sequence[tuple[str, str]], interval: int, tree: dict[str, Any], notes: list[str]
) -> Any:
    """Watchers that ask these targets, each with the watcher's name; `interval` in ms."""
    missed, validate = take.number("arp_missed_max", *FORMER_NAMES["arp_missed_max"]), take("arp_validate") or "none"
    every = take("arp_all_targets") or "any"
    for name, word in (("arp_validate", validate), ("arp_all_targets", every)):
        if word not in NUMBERED[name]:
            notes.append(f"{name}={word}: unknown, left out; known are {', '.join(NUMBERED[name])}")
    if "filter" in validate:
        notes.append(f"arp_validate={validate}: without the filter")
    if any(kind == "arp_ping" for kind, _ in targets):
        notes.append(
            "arp_ip_target: set source_host, the address that the requests come from; bonding takes the bond's own"
        )
    common = {"interval": interval, "missed_max": missed or 2}
    validated = VALIDATED.get(validate.removeprefix("filter_"), (False, False))
    arp = {key: True for key, there in zip(VALIDATES, validated, strict=True) if there}
    watchers = [
        {"name": kind, "target_host": target, **common, **(arp if kind == "arp_ping" else {})}
        for kind, target in targets
    ]
    if len(watchers) > 1 and every == "all":
        tree["link_watch_policy"] = "all"
    return watchers if len(watchers) > 1 else watchers[0]


# -- the way back ------------------------------------------------------------------------------------------------------


def team_to_bond(tree: Mapping[str, Any], name: str = "") -> tuple[Bond, list[str]]:
    """A bond that does what the team did, and notes. ConvertError. The tree is a valid configuration."""
    notes: list[str] = []
    runner = dict(tree.get("runner", {}))
    kind = runner.pop("name", "roundrobin")
    if kind not in MODE_OF:
        raise ConvertError(f"runner {kind}: bonding has no counterpart; there are {', '.join(MODE_OF)}")
    ports: Mapping[str, Mapping[str, Any]] = tree.get("ports", {})
    bond = Bond(name or str(tree.get("device", "bond0")), {"mode": MODE_OF[kind]}, list(ports))
    options = bond.options
    _runner_options(kind, runner, options, notes)
    _priority_options(kind, ports, options, notes)
    watch = tree.get("link_watch") or {"name": "ethtool"}
    watchers = list(watch) if isinstance(watch, list) else [watch]
    if options["mode"] in WITHOUT_ARP and any(watcher["name"] in PINGS for watcher in watchers):
        notes.append(f"link_watch: bonding sends no requests in mode {options['mode']}; the carrier is watched")
        watchers = [watcher for watcher in watchers if watcher["name"] not in PINGS] or [{"name": "ethtool"}]
    _watch_options(watchers, tree.get("link_watch_policy", "any"), options, notes)
    named = back(NOTIFICATIONS)
    for group in sorted({group for group, _ in named}, reverse=True):
        for key, value in tree.get(group, {}).items():
            if (group, key) in named:
                options[named[group, key]] = str(value)
            else:
                notes.append(f"{group}.{key}: no counterpart, left out")
    notes += [f"{key}: no counterpart, left out" for key in tree if key not in CONVERTED]
    _within_limits(options, notes)
    if "hwaddr" in tree:
        bond.extra["hwaddr"] = tree["hwaddr"]
    return bond, notes


def _runner_options(kind: str, runner: dict[str, Any], options: dict[str, str], notes: list[str]) -> None:
    match kind:
        case "activebackup":
            options["fail_over_mac"] = back(HWADDR_POLICY)[runner.pop("hwaddr_policy", "same_all")]
        case "loadbalance" | "lacp":
            wanted = tuple(sorted(runner.pop("tx_hash", ["eth", "ipv4", "ipv6"])))
            options["xmit_hash_policy"] = POLICY_OF.get(wanted, "layer2+3" if "eth" in wanted else "layer3+4")
            if wanted not in POLICY_OF:
                notes.append(f"runner.tx_hash {', '.join(wanted)}: {options['xmit_hash_policy']} is the nearest")
            if "name" in runner.pop("tx_balancer", {}):
                if kind == "loadbalance":
                    options["mode"] = "balance-tlb"
                notes.append("runner.tx_balancer: bonding moves flows in mode balance-tlb, and not at all with LACP")
    if kind == "lacp":
        for option, (key, values) in LACP_WORDS.items():
            options[option] = back(values)[runner.pop(key, LACP_DEFAULTS[key])]
        if options["lacp_active"] == "on":
            del options["lacp_active"]  # older kernels have only this
        for option, key in LACP_NUMBERS.items():
            if key in runner:
                options[option] = str(runner.pop(key))
        policy = runner.pop("agg_select_policy", "lacp_prio")
        options["ad_select"] = back(AGG_SELECT).get(policy, "stable")
        if options["ad_select"] == "stable":
            notes.append(f"runner.agg_select_policy {policy}: stable is the nearest")
    notes += [f"runner.{key}: no counterpart, left out" for key in runner]


def _within_limits(options: dict[str, str], notes: list[str]) -> None:
    """Change what the driver would refuse, or cut down to a multiple of miimon, and note each change."""
    for name, most in MOST.items():
        if int(options.get(name, 0)) > most:
            notes.append(f"{name}={options[name]}: bonding has at most {most}")
            options[name] = str(most)
    if "miimon" not in options:
        if int(options.pop("peer_notif_delay", 0)):
            notes.append("notify_peers.interval: bonding has it only where it watches the carrier, left out")
        return
    delays = {name: int(options[name]) for name in ("updelay", "downdelay", "peer_notif_delay") if name in options}
    miimon = max(SHORTEST_MIIMON_MS, gcd(int(options["miimon"]), *delays.values()))
    options["miimon"] = str(miimon)
    for name, delay_ms in delays.items():
        options[name] = str(-(-delay_ms // miimon) * miimon)
        if int(options[name]) != delay_ms:
            notes.append(f"{name}={delay_ms}: {options[name]}, a multiple of miimon")


def _priority_options(
    kind: str, ports: Mapping[str, Mapping[str, Any]], options: dict[str, str], notes: list[str]
) -> None:
    ranks = {name: port.get("prio", 0) for name, port in ports.items()}
    if kind == "activebackup" and len(set(ranks.values())) > 1:
        options["primary"] = max(ranks, key=lambda name: ranks[name])
        sticky = any(port.get("sticky") for port in ports.values())
        options["primary_reselect"] = "failure" if sticky else "always"
        if len(set(ranks.values())) > 2:
            notes.append("ports.*.prio: bonding knows one primary; the order of the others is lost")
    for name, port in ports.items():
        for key in port:
            if key not in ("prio", "sticky"):
                notes.append(f"ports.{name}.{key}: no counterpart, left out")


def _watch_options(
    watchers: Sequence[Mapping[str, Any]], policy: str, options: dict[str, str], notes: list[str]
) -> None:
    pings = [watcher for watcher in watchers if watcher["name"] in PINGS]
    for watcher in watchers:
        if watcher["name"] == "ethtool" and not pings:
            options["miimon"] = "100"
            for option, key in DELAYS.items():
                if watcher.get(key):
                    options[option] = str(watcher[key])
        elif watcher["name"] == "ethtool":
            notes.append("link_watch: bonding watches the carrier or sends requests, not both; it sends requests")
        elif watcher not in pings:
            notes.append(f"link_watch {watcher['name']}: no counterpart, left out")
    if not pings:
        options.setdefault("miimon", "100")
        return
    _request_options(pings, policy, options, notes)


def _request_options(
    pings: Sequence[Mapping[str, Any]], policy: str, options: dict[str, str], notes: list[str]
) -> None:
    for option, key in REQUESTS.items():
        values = [watcher.get(key, REQUEST_DEFAULTS[key]) for watcher in pings]
        options[option] = str(values[0])
        if len({*values}) > 1:
            notes.append(
                f"link_watch.{key} {', '.join(map(str, values))}: bonding has one for all targets, {values[0]}"
            )
    for option, kind in TARGETS.items():
        if targets := [host for watcher in pings if watcher["name"] == kind for host in _hosts(watcher)]:
            options[option] = ",".join(targets)
    validated = tuple(any(watcher.get(key) for watcher in pings) for key in VALIDATES)
    options["arp_validate"] = back(VALIDATED)[validated]
    if len(pings) > 1:
        options["arp_all_targets"] = "all" if policy == "all" else "any"
    for key in ("source_host", "init_wait", "send_always", "vlanid"):
        if any(key in watcher for watcher in pings):
            notes.append(f"link_watch.{key}: no counterpart, left out")


def _hosts(watcher: Mapping[str, Any]) -> list[str]:
    """Whom a watcher asks."""
    one = [str(watcher["target_host"])] if watcher.get("target_host") else []
    return one + [str(host) for host in watcher.get("target_hosts", ()) if host not in one]
