"""Which port a flow takes, and how evenly the ports are used: answers of the runners that spread frames by a hash.

A flow is described by a JSON object: `frame` (octets in hex, from the destination address on), or any of `src`, `dst`, `sport`,
`dport`, `proto`, `vlan`, `smac`, `dmac`, of which a frame is made that hashes as the real ones do. The rest is what the driver does
(team_mode_loadbalance.c, team_core.c): the hash is folded to eight bits; the map, or that number modulo the enabled ports, names a
port; where it has no link the next one in the driver's list that has one is taken.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyteamd.core.team import Team
from pyteamd.model.desired import OptionKey
from pyteamd.model.errors import UserError
from pyteamd.runners.spread.hash_program import fold, reference_hash, tx_hash
from pyteamd.runners.spread.loadbalance import MAPPING, Spreader
from pyteamd.views.state import Tree
from pyteamd.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAC_LENGTH, EthernetFrame, parse_mac

KEYS = ("frame", "src", "dst", "sport", "dport", "proto", "vlan", "smac", "dmac")
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
NUMBER = re.compile("0*([0-9]{1,9})")
EXPERIMENTAL = 0x88B5
"""EtherType of a frame that is neither IPv4 nor IPv6; the hash does not care which."""
LEAST_OCTETS = 60
INVALID = "InvalidArgs"


def predict(team: Team, text: str) -> Tree:
    """Bucket and port of a flow. UserError: the description is wrong, the runner hashes nothing, or the driver has another hash program."""
    spreader = spreader_of(team)
    try:
        frame, tci = read_flow(text, team.view.mac, "eth" in spreader.config.tx_hash)
    except ValueError as problem:
        raise UserError(INVALID, str(problem)) from None
    if team.facts.observed.options.get(OptionKey("bpf_hash_func")) != tx_hash(spreader.config.tx_hash):
        raise UserError("OpNotSupp", "The hash program in the driver is not the one of tx_hash.")
    hashed = reference_hash(spreader.config.tx_hash, frame, tci)
    bucket = fold(hashed)
    mapped = mapping_of(team).get(bucket)
    port = mapped or by_number(team, spreader, bucket)
    return {
        "hash": hashed,
        "bucket": bucket,
        "method": method_of(team),
        "ports": len(spreader.numbering.order),
        "port": team.facts.name_of(port) if port else None,
        "certain": bool(mapped) or spreader.numbering.certain,
        "frame": frame.hex(),
    }


def spread(team: Team, octets: Mapping[int, int | None]) -> Tree:
    """How much each port has sent and what leads to it. `octets`: sent by each port since it exists, None where nobody knows."""
    spreader = getattr(team.runner, "spreader", None)
    ports: Tree = {}
    for ifindex, port in team.ports.items():
        ports[port.name] = {"octets": octets.get(ifindex), "weight": getattr(port.config, "weight", 1)}
    shown: Tree = {"runner": team.runner.name, "ports": ports}
    if isinstance(spreader, Spreader):
        shown["method"] = method_of(team)
        mapping = mapping_of(team)
        targets = [mapping.get(bucket) or by_number(team, spreader, bucket) for bucket in range(256)]
        loads = spreader.balancer.loads(dict.fromkeys(team.ports, 1.0))
        for ifindex, port in team.ports.items():
            ports[port.name]["buckets"] = targets.count(ifindex)
            if spreader.balancing:
                ports[port.name]["octets_per_interval"] = round(loads[ifindex])
    shown["evenness"] = evenness({name: (port["octets"], port["weight"]) for name, port in ports.items()})
    if isinstance(spreader, Spreader) and spreader.balancing:
        shown["interval"] = team.facts.observed.options.get(OptionKey("lb_stats_refresh_interval"))
        now = {name: (port["octets_per_interval"], port["weight"]) for name, port in ports.items()}
        shown["evenness_now"] = evenness(now)
    return shown


def evenness(loads: Mapping[str, tuple[int | None, int]]) -> float | None:
    """1 when every port carries its share (octets, weight), 1/n when one of n carries all; None when nothing is known or sent."""
    known = [(octets, weight) for octets, weight in loads.values() if octets is not None]
    total = sum(octets for octets, _ in known)
    if not total:
        return None
    mean = total / sum(weight for _, weight in known)
    return round(mean / max(octets / weight for octets, weight in known), 4)


def spreader_of(team: Team) -> Spreader:
    """What spreads this team's frames. UserError when its runner has none."""
    spreader = getattr(team.runner, "spreader", None)
    if not isinstance(spreader, Spreader):
        raise UserError("OpNotSupp", f"Runner {team.runner.name} does not choose ports by a hash.")
    return spreader


def method_of(team: Team) -> str:
    """How the driver finds the port: "hash" or "hash_to_port_mapping"."""
    return str(team.facts.observed.options.get(OptionKey("lb_tx_method"), "hash"))


def mapping_of(team: Team) -> dict[int, int]:
    """Bucket → ifindex, as the driver has it; empty when it does not use it."""
    if method_of(team) != "hash_to_port_mapping":
        return {}
    options = team.facts.observed.options
    return {key.index: int(port) for key, port in options.items() if key.name == MAPPING and port}


def by_number(team: Team, spreader: Spreader, bucket: int) -> int | None:
    """The port by its number, or the next one behind it in the driver's list that can send."""
    order = spreader.numbering.order
    if not order:
        return None
    chosen = order[bucket % len(order)]
    listed = [ifindex for ifindex in team.facts.port_list if ifindex in team.ports]
    at = listed.index(chosen) if chosen in listed else 0
    candidates = [chosen, *listed[at + 1 :], *listed[:at]]
    return next((ifindex for ifindex in candidates if ifindex in order and has_link(team, ifindex)), None)


def has_link(team: Team, ifindex: int) -> bool:
    """The link as the driver sees it: raw, or by the watchers' verdict."""
    options = team.facts.observed.options
    if options.get(OptionKey("user_linkup_enabled", ifindex)) is True:
        return options.get(OptionKey("user_linkup", ifindex)) is True
    return ifindex in team.ports and team.ports[ifindex].running


# The description of a flow


def read_flow(text: str, team_mac: bytes, hashes_addresses: bool) -> tuple[bytes, int | None]:
    """A frame, and the VLAN tag beside it as the kernel has it. ValueError says what is wrong."""
    try:
        flow = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"the flow is not JSON: {problem}") from None
    if not isinstance(flow, dict) or not all(isinstance(value, str) for value in flow.values()):
        raise ValueError("a flow is an object of strings")
    if unknown := [key for key in flow if key not in KEYS]:
        raise ValueError(f"{unknown[0]!r} does not describe a flow (allowed: {', '.join(KEYS)})")
    tci = number(flow, "vlan", 0, 4094)
    if "frame" in flow:
        if others := [key for key in flow if key not in ("frame", "vlan")]:
            raise ValueError(f"give a frame, or {others[0]}, not both")
        return frame_in(flow["frame"]), tci
    ethertype, packet, group = packet_of(flow)
    if hashes_addresses and "dmac" not in flow and group is None:
        raise ValueError("dmac is missing: tx_hash has eth, so the address the frames are sent to decides")
    destination = parse_mac(flow["dmac"]) if "dmac" in flow else group or bytes(MAC_LENGTH)
    source = parse_mac(flow["smac"]) if "smac" in flow else team_mac
    return EthernetFrame(destination, source, ethertype, packet).build().ljust(LEAST_OCTETS, b"\0"), tci


def frame_in(text: str) -> bytes:
    """Octets written in hex, with or without blanks, colons, line ends. ValueError."""
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        raise ValueError("a frame is written in hex, two digits an octet, from the destination address on") from None


def number(flow: Mapping[str, str], key: str, least: int, most: int) -> int | None:
    """A number of the flow, None when it has none. ValueError."""
    if key not in flow:
        return None
    found = NUMBER.fullmatch(flow[key])
    if found is None or not least <= int(found[1]) <= most:
        raise ValueError(f"{key}: {flow[key]!r} is not a number from {least} to {most}")
    return int(found[1])


def packet_of(flow: Mapping[str, str]) -> tuple[int, bytes, bytes | None]:
    """EtherType and payload of the flow's frames, and the hardware address of an IP multicast group. ValueError."""
    ports = [number(flow, key, 0, 65535) for key in ("sport", "dport")]
    protocol = protocol_of(flow, with_ports=any(port is not None for port in ports))
    if "src" not in flow and "dst" not in flow:
        if given := [key for key in ("sport", "dport", "proto") if key in flow]:
            raise ValueError(f"{given[0]} needs src and dst")
        return EXPERIMENTAL, b"", None
    if "src" not in flow or "dst" not in flow:
        raise ValueError("give both src and dst")
    source, destination = address(flow, "src"), address(flow, "dst")
    segment = struct.pack("!HH", ports[0] or 0, ports[1] or 0) + bytes(16)
    match source, destination:
        case IPv4Address(), IPv4Address():
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, protocol, 0)
            low = int(destination) & 0x7FFFFF
            group = bytes.fromhex("01005e") + low.to_bytes(3) if destination.is_multicast else None
            return ETHERTYPE_IPV4, head + source.packed + destination.packed + segment, group
        case IPv6Address(), IPv6Address():
            head = struct.pack("!IHBB", 0x60000000, len(segment), protocol, 64)
            group = b"\x33\x33" + destination.packed[-4:] if destination.is_multicast else None
            return ETHERTYPE_IPV6, head + source.packed + destination.packed + segment, group
    raise ValueError("src and dst are not of the same kind, IPv4 or IPv6")


def address(flow: Mapping[str, str], key: str) -> IPv4Address | IPv6Address:
    """An IP address of the flow. ValueError."""
    try:
        return ip_address(flow[key])
    except ValueError:
        raise ValueError(f"{key}: {flow[key]!r} is not an IPv4 or IPv6 address") from None


def protocol_of(flow: Mapping[str, str], with_ports: bool) -> int:
    """Number of the protocol; ports without one are TCP's. ValueError."""
    if "proto" not in flow:
        return PROTOCOLS["tcp"] if with_ports else 0
    if flow["proto"] in PROTOCOLS:
        return PROTOCOLS[flow["proto"]]
    try:
        return number(flow, "proto", 0, 255) or 0
    except ValueError:
        known = ", ".join(PROTOCOLS)
        raise ValueError(f"proto: {flow['proto']!r} is unknown (allowed: {known}, or a number from 0 to 255)") from None
