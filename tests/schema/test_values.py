"""Interface names, hardware addresses, hosts: what is taken and in which words the rest is refused."""

from __future__ import annotations

import re

import pytest

from pyteamd.schema.values import MAC_PATTERN, hardware_address, host4, host6, interface_name


@pytest.mark.parametrize("name", ["em1", "eth0.100", "a" * 15, "ä" * 7, "-x", "tést"])
def test_interface_names(name: str) -> None:
    assert interface_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:1", "a\t", "a" * 16, "ä" * 8])
def test_what_is_no_interface_name(name: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        interface_name(name)


MAC = bytes.fromhex("020304050607")


# Each of these was given to teamd 1.31 as hwaddr, which took it.
@pytest.mark.parametrize(
    "text",
    [
        "02:03:04:05:06:07",
        "2:3:4:5:6:7",
        " 2: 3:4:5:6:7",
        "2 :3:4:5:6:7",
        "2:3:4:5:6:7 ",
        "0x2:3:4:5:6:7",
        "002:3:4:5:6:7",
    ],
)
def test_hardware_addresses(text: str) -> None:
    assert hardware_address(text) == MAC
    assert re.search(MAC_PATTERN, text) or text.startswith("002")


def test_a_sign_is_taken_as_teamd_takes_it() -> None:
    assert hardware_address("+2:3:4:5:6:7") == MAC


def test_hexadecimal_digits_of_both_cases() -> None:
    assert hardware_address("AE:bf:0C:0d:eE:Ff") == bytes.fromhex("aebf0c0deeff")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no hardware address"),
        ("1:2:3", "is no hardware address"),
        ("02:03:04:05:06:07:", "is no hardware address"),
        (":3:4:5:6:7", "is no hardware address"),
        ("zz:3:4:5:6:7", "is no hardware address"),
        ("-2:3:4:5:6:7", "is no hardware address"),
        ("100:3:4:5:6:7", "is no hardware address"),
        ("10000000000000002:3:4:5:6:7", "is no hardware address"),
        ("020304050607", "is no hardware address"),
        ("٢:3:4:5:6:7", "is no hardware address"),
        ("01:00:5e:00:00:01", "is a multicast address, the team cannot have it"),
        ("ff:ff:ff:ff:ff:ff", "is a multicast address, the team cannot have it"),
        ("0:0:0:0:0:0", "is the zero address, the team cannot have it"),
    ],
)
def test_what_is_no_address_of_a_team(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hardware_address(text)


@pytest.mark.parametrize(
    "text",
    ["192.0.2.1", "10.1", "0", "192.000.002.01", "gateway", "a.example.org", "a.example.org.", "_x-1", "0.0.0.0"],
)
def test_ipv4_hosts(text: str) -> None:
    assert host4(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fe80::1", "is an IPv6 address, but an IPv4 address or a host name is needed"),
        ("::ffff:192.0.2.1", "is an IPv6 address"),
        ("192.0.2.256", "is no IPv4 address"),
        ("192.0.2.1.", "is no IPv4 address"),
        ("192.0.2.1.1", "is no IPv4 address"),
        ("", "is no host name"),
        ("a b", "is no host name"),
        ("a\n", "is no host name"),
        ("-a", "is no host name"),
        ("a" * 254, "is no host name"),
    ],
)
def test_what_is_no_ipv4_host(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        host4(text)


@pytest.mark.parametrize("text", ["fe80::1", "fe80::1%eth0", "2001:db8::", "::", "::ffff:192.0.2.1", "gateway"])
def test_ipv6_hosts(text: str) -> None:
    assert host6(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1", "is an IPv4 address, but an IPv6 address or a host name is needed"),
        ("10.1", "is an IPv4 address"),
        ("fe80:::1", "is no IPv6 address"),
        ("fe80::12345", "is no IPv6 address"),
        ("fe80::1%", "is no IPv6 address"),
        ("", "is no host name"),
        ("a b", "is no host name"),
    ],
)
def test_what_is_no_ipv6_host(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        host6(text)
