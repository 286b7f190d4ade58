"""Rows for test_config_problems: a value for one place of the configuration, and what is told of it.

`! ` in front of a line: the daemon does not start. At the end of a line: which ports are refused. Neither: it starts.
The rows follow the behaviour of teamd, seen on teamd 1.31 where it has the key.
"""

from __future__ import annotations

from typing import Any

ROOT: list[tuple[Any, list[str]]] = [
    ({}, []),
    ({"device": 5}, ['! f:1:2: device: must be a string, not the integer 5 (write "5")']),
    ({"device": None}, ["! f:1:2: device: must be a string, not null"]),
    ({"debug_level": -3}, []),
    ({"debug_level": "2"}, ['f:1:2: debug_level: must be an integer, not the string "2"; ignored (write 2)']),
    (
        {"debug_level": 2**31},
        ["f:1:2: debug_level: 2147483648 is out of range; 0 is used (allowed: -2147483648 to 2147483647)"],
    ),
    ({"hwaddr": "2:3:4:5:6:7"}, []),
    ({"hwaddr": 5}, ["f:1:2: hwaddr: must be a string, not the integer 5; ignored"]),
    ({"hwaddr": "zz"}, ['! f:1:2: hwaddr: "zz" is no hardware address (six bytes like 02:00:5e:00:53:01)']),
    ({"link_watch_policy": "all"}, []),
    (
        {"link_watch_policy": True},
        ["f:1:2: link_watch_policy: must be a string, not true; ignored (allowed: any, all)"],
    ),
    (
        {"link_watch_policy": "ALL"},
        ["! f:1:2: link_watch_policy: \"ALL\" is unknown (allowed: any, all; did you mean 'all'?)"],
    ),
    ({"notify_peers": {"count": 0, "interval": 5}}, []),
    ({"notify_peers": {"count": -1}}, ["! f:1:19: notify_peers.count: -1 is out of range (allowed: 0 to 2147483647)"]),
    (
        {"notify_peers": {"interval": -1}},
        ["! f:1:19: notify_peers.interval: -1 is out of range (allowed: 0 to 2147483647 ms)"],
    ),
    (
        {"mcast_rejoin": {"count": 1.0}},
        ["f:1:19: mcast_rejoin.count: must be an integer, not the number 1.0; ignored (write 1)"],
    ),
    ({"mcast_rejoin": {"cuont": 1}}, ["f:1:19: mcast_rejoin.cuont: unknown key (did you mean 'count'?)"]),
    ({"mcast_rejoin": 5}, ["f:1:2: mcast_rejoin: must be an object, not the integer 5; ignored"]),
    ({"ports": 5}, ["f:1:2: ports: must be an object, not the integer 5; every port is refused"]),
    ({"ports": 5, "link_watch": {"name": "ethtool"}}, ["f:1:2: ports: must be an object, not the integer 5"]),
    (
        {"prots": {}, "x": 1},
        [
            "! f:1:1: no key of it is known; this is no configuration of a team",
            "f:1:2: prots: unknown key (did you mean 'ports'?)",
            "f:1:15: x: unknown key",
        ],
    ),
    (
        {"network": {}},
        [
            "! f:1:1: no key of it is known; this is a netplan file; see: pyteamd convert --from netplan FILE",
            "f:1:2: network: unknown key",
        ],
    ),
    ({"runner": {}, "x": 1}, ["f:1:16: x: unknown key"]),
]

RUNNER: list[tuple[Any, list[str]]] = [
    ({}, []),
    ("lacp", ['! f:1:2: runner: must be an object, not the string "lacp" (write {"name": "lacp"})']),
    ([], ["! f:1:2: runner: must be an object, not a list"]),
    (None, ["! f:1:2: runner: must be an object, not null"]),
    (
        {"name": 5},
        [
            "! f:1:13: runner.name: must be a string, not the integer 5 "
            "(allowed: roundrobin, activebackup, loadbalance, lacp)"
        ],
    ),
    (
        {"name": "nope"},
        ['! f:1:13: runner.name: "nope" is unknown (allowed: roundrobin, activebackup, loadbalance, lacp)'],
    ),
    (
        {"name": "active-backup"},
        [
            '! f:1:13: runner.name: "active-backup" is unknown '
            "(allowed: roundrobin, activebackup, loadbalance, lacp; did you mean 'activebackup'?)"
        ],
    ),
    ({"name": "roundrobin", "addr": "tcp://x"}, []),
    (
        {"name": "roundrobin", "fast_rate": True},
        ["f:1:35: runner.fast_rate: not used by the roundrobin runner, only by lacp"],
    ),
    (
        {"name": "roundrobin", "tx_hash": []},
        ["f:1:35: runner.tx_hash: not used by the roundrobin runner, only by loadbalance, lacp"],
    ),
    ({"name": "activebackup", "hwaddr_policy": "only_active"}, []),
    (
        {"name": "activebackup", "hwaddr_policy": "x"},
        ['! f:1:37: runner.hwaddr_policy: "x" is unknown (allowed: same_all, by_active, only_active)'],
    ),
    ({"name": "loadbalance", "tx_hash": ["eth", "l3"]}, []),
    (
        {"name": "loadbalance", "tx_hash": "eth"},
        [
            'f:1:36: runner.tx_hash: must be a list of strings, not the string "eth"; '
            'counts as an empty list (write ["eth"])'
        ],
    ),
    (
        {"name": "loadbalance", "tx_hash": []},
        ["f:1:36: runner.tx_hash: nothing is hashed (allowed: eth, vlan, ipv4, ipv6, ip, l3, tcp, udp, sctp, l4)"],
    ),
    (
        {"name": "loadbalance", "tx_hash": ["eth", 5, "ipv5"]},
        [
            "f:1:55: runner.tx_hash[1]: must be a string, not the integer 5; skipped "
            "(allowed: eth, vlan, ipv4, ipv6, ip, l3, tcp, udp, sctp, l4)",
            'f:1:58: runner.tx_hash[2]: Hash frag named "ipv5" not found. '
            "(allowed: eth, vlan, ipv4, ipv6, ip, l3, tcp, udp, sctp, l4; did you mean 'ipv6'?)",
        ],
    ),
    ({"name": "loadbalance", "tx_balancer": {"name": "basic", "balancing_interval": 0}}, []),
    (
        {"name": "loadbalance", "tx_balancer": {"name": "advanced"}},
        ['f:1:52: runner.tx_balancer.name: "advanced" is unknown; none is used (allowed: basic)'],
    ),
    (
        {"name": "loadbalance", "tx_balancer": {"balancing_interval": -5}},
        ["f:1:52: runner.tx_balancer.balancing_interval: -5 is out of range; 50 is used (allowed: 0 to 2147483647)"],
    ),
    (
        {"name": "loadbalance", "tx_balancer": "basic"},
        ['f:1:36: runner.tx_balancer: must be an object, not the string "basic"; ignored'],
    ),
    (
        {"name": "loadbalance", "tx_balancer": {"nam": "basic"}},
        ["f:1:52: runner.tx_balancer.nam: unknown key (did you mean 'name'?)"],
    ),
    (
        {"name": "lacp", "fast_rate": 1},
        ["f:1:29: runner.fast_rate: must be a boolean, not the integer 1; ignored (write true)"],
    ),
    (
        {"name": "lacp", "active": "no"},
        ['f:1:29: runner.active: must be a boolean, not the string "no"; ignored (write false)'],
    ),
    ({"name": "lacp", "sys_prio": 65536}, ["! f:1:29: runner.sys_prio: 65536 is out of range (allowed: 0 to 65535)"]),
    (
        {"name": "lacp", "sys_prio": 2**32 + 1},
        ["! f:1:29: runner.sys_prio: 4294967297 is out of range (allowed: 0 to 65535)"],
    ),
    ({"name": "lacp", "min_ports": 0}, ["! f:1:29: runner.min_ports: 0 is out of range (allowed: 1 to 1024)"]),
    (
        {"name": "lacp", "agg_select_policy": "bandwith"},
        [
            '! f:1:29: runner.agg_select_policy: "bandwith" is unknown (allowed: lacp_prio, lacp_prio_stable, '
            "bandwidth, count, port_config; did you mean 'bandwidth'?)"
        ],
    ),
    ({"name": "lacp", "active": False, "fast_rate": True}, ["! f:1:46: runner.fast_rate: needs active"]),
]

PORT: list[tuple[Any, list[str]]] = [
    ({}, []),
    ({"prio": -5, "queue_id": 3, "sticky": True, "lacp_prio": 0, "lacp_key": 65535}, []),
    (5, ["f:1:40: ports.em1: must be an object, not the integer 5; the port is refused"]),
    ([], ["f:1:40: ports.em1: must be an object, not a list; the port is refused"]),
    ({"prio": "5"}, ['f:1:48: ports.em1.prio: must be an integer, not the string "5"; ignored (write 5)']),
    (
        {"prio": 2**31},
        [
            "f:1:48: ports.em1.prio: 2147483648 is out of range (allowed: -2147483648 to 2147483647); the port is refused"
        ],
    ),
    ({"sticky": "true"}, ['f:1:48: ports.em1.sticky: must be a boolean, not the string "true"; ignored (write true)']),
    (
        {"queue_id": -1},
        ["f:1:48: ports.em1.queue_id: -1 is out of range (allowed: 0 to 2147483647); the port is refused"],
    ),
    (
        {"queue_id": "x"},
        ['f:1:48: ports.em1.queue_id: must be an integer, not the string "x"; ignored (allowed: 0 to 2147483647)'],
    ),
    (
        {"lacp_prio": 65536},
        ["f:1:48: ports.em1.lacp_prio: 65536 is out of range (allowed: 0 to 65535); the port is refused"],
    ),
    ({"lacp_key": -1}, ["f:1:48: ports.em1.lacp_key: -1 is out of range (allowed: 0 to 65535); the port is refused"]),
    ({"lacp-key": 1}, ["f:1:48: ports.em1.lacp-key: unknown key (did you mean 'lacp_key'?)"]),
    (
        {"link_watch": []},
        [
            "f:1:48: ports.em1.link_watch: an empty list names no link watcher "
            "(leave the key out for ethtool); the port is refused"
        ],
    ),
    (
        {"link_watch": {}},
        ["f:1:48: ports.em1.link_watch.name: missing (allowed: ethtool, arp_ping, nsna_ping); the port is refused"],
    ),
    ({"link_watch": None}, ["f:1:48: ports.em1.link_watch: must be an object, not null; the port is refused"]),
]


WATCH: list[tuple[Any, list[str]]] = [
    ({"name": "ethtool", "delay_up": 5}, []),
    ([], []),
    ([{"name": "ethtool"}, {"name": "arp_ping", "target_host": "a"}], []),
    (
        "ethtool",
        [
            'f:1:2: link_watch: must be an object, not the string "ethtool" (write {"name": "ethtool"}); '
            "every port is refused"
        ],
    ),
    (None, ["f:1:2: link_watch: must be an object, not null; every port is refused"]),
    ({}, ["f:1:2: link_watch.name: missing (allowed: ethtool, arp_ping, nsna_ping); every port is refused"]),
    (["x"], ['f:1:17: link_watch[0]: must be an object, not the string "x"; every port is refused']),
    (
        {"name": 5},
        [
            "f:1:17: link_watch.name: must be a string, not the integer 5 (allowed: ethtool, arp_ping, nsna_ping); "
            "every port is refused"
        ],
    ),
    (
        {"name": "tipc", "tipc_bearer": "x"},
        [
            'f:1:17: link_watch.name: "tipc" is known to teamd, but not supported here '
            "(allowed: ethtool, arp_ping, nsna_ping); every port is refused"
        ],
    ),
    (
        {"name": "arpping"},
        [
            'f:1:17: link_watch.name: "arpping" is unknown '
            "(allowed: ethtool, arp_ping, nsna_ping; did you mean 'arp_ping'?); every port is refused"
        ],
    ),
    (
        {"name": "ethtool", "delay_up": -1},
        ["f:1:36: link_watch.delay_up: -1 is out of range (allowed: 0 to 2147483647 ms); every port is refused"],
    ),
    (
        {"name": "ethtool", "delay_up": 2**32},
        [
            "f:1:36: link_watch.delay_up: 4294967296 is out of range (allowed: 0 to 2147483647 ms); "
            "every port is refused"
        ],
    ),
    (
        {"name": "ethtool", "delay_up": "5"},
        ['f:1:36: link_watch.delay_up: must be an integer, not the string "5"; ignored (write 5)'],
    ),
    (
        {"name": "ethtool", "interval": 5},
        ["f:1:36: link_watch.interval: not used by the ethtool link watcher, only by arp_ping, nsna_ping"],
    ),
    ({"name": "arp_ping"}, ["f:1:2: link_watch.target_host: missing; every port is refused"]),
    (
        {"name": "arp_ping", "target_host": 5},
        ['f:1:37: link_watch.target_host: must be a string, not the integer 5 (write "5"); every port is refused'],
    ),
    (
        {"name": "arp_ping", "target_host": "fe80::1"},
        [
            'f:1:37: link_watch.target_host: "fe80::1" is an IPv6 address, but an IPv4 address or a host name is needed; '
            "every port is refused"
        ],
    ),
    (
        {"name": "nsna_ping", "target_host": "192.0.2.1"},
        [
            'f:1:38: link_watch.target_host: "192.0.2.1" is an IPv4 address, but an IPv6 address or a host name is needed; '
            "every port is refused"
        ],
    ),
    (
        {"name": "arp_ping", "target_host": "a", "vlanid": 4096, "interval": -1},
        [
            "f:1:57: link_watch.vlanid: 4096 is out of range (allowed: 0 to 4095); every port is refused",
            "f:1:73: link_watch.interval: -1 is out of range (allowed: 0 to 2147483647 ms); every port is refused",
        ],
    ),
    (
        {"name": "arp_ping", "target_host": "a", "also": ["b", "c d", 5]},
        [
            'f:1:71: link_watch.also[1]: "c d" is no host name; every port is refused',
            "f:1:78: link_watch.also[2]: must be a string, not the integer 5; every port is refused",
        ],
    ),
    (
        {"name": "arp_ping", "target_host": "a", "also": "b"},
        ['f:1:57: link_watch.also: must be a list of strings, not the string "b"; ignored (write ["b"])'],
    ),
    (
        [{"name": "ethtool"}, {"name": "arp_ping", "target_hots": "a"}],
        [
            "f:1:38: link_watch[1].target_host: missing; every port is refused",
            "f:1:59: link_watch[1].target_hots: unknown key (did you mean 'target_host'?)",
        ],
    ),
]
