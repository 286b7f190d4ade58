"""Netlink framing: datagrams, attributes, refusals; good ones and broken ones."""

from __future__ import annotations

import errno
import random
import struct

import pytest

from pyteamd.kernel.framing import (
    ACK,
    DONE,
    F_ACK_TLVS,
    F_CAPPED,
    F_DUMP_INTR,
    F_MULTI,
    Malformed,
    Message,
    attributes,
    by_type,
    error_of,
    explanation_of,
    messages,
    number,
    text,
)
from pyteamd.kernel.sockets import Answer, NetlinkError


def message(kind: int, payload: bytes = b"", flags: int = 0, sequence: int = 7) -> bytes:
    """A message, padded."""
    octets = struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload
    return octets + bytes(-len(octets) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded."""
    octets = struct.pack("=HH", 4 + len(value), kind) + value
    return octets + bytes(-len(octets) % 4)


def test_messages_of_a_datagram() -> None:
    datagram = message(16, b"abcde", F_MULTI) + message(DONE)
    first, second = messages(datagram)
    assert (first.type, first.flags, first.sequence, first.octets[16:]) == (16, F_MULTI, 7, b"abcde")
    assert (second.type, second.octets) == (DONE, message(DONE))
    assert list(messages(b"")) == []


@pytest.mark.parametrize("broken", [b"\x10", bytes(16), struct.pack("=IHHII", 15, 16, 0, 0, 0), message(16)[:-1]])
def test_broken_datagrams(broken: bytes) -> None:
    found = messages(message(16, b"good") + broken)
    assert next(found).octets[16:] == b"good"
    with pytest.raises(Malformed):
        next(found)


def test_last_message_may_lack_its_padding() -> None:
    (only,) = messages(struct.pack("=IHHII", 17, 16, 0, 0, 0) + b"x")
    assert only.octets[16:] == b"x"


def test_attributes() -> None:
    octets = b"head" + attribute(0x8003, b"abc") + attribute(1, b"") + b"\0\0"
    assert [(kind, octets[begin:end]) for kind, begin, end in attributes(octets, 4)] == [(3, b"abc"), (1, b"")]
    assert list(attributes(octets, 4, 4)) == []
    assert {kind: octets[begin:end] for kind, (begin, end) in by_type(octets, 4).items()} == {3: b"abc", 1: b""}
    assert by_type(octets, 4, 4) == {}


@pytest.mark.parametrize("broken", [bytes(4), struct.pack("=HH", 3, 1), struct.pack("=HH", 9, 1) + bytes(4)])
def test_broken_attributes(broken: bytes) -> None:
    for read in (lambda octets: list(attributes(octets, 0)), lambda octets: by_type(octets, 0)):
        with pytest.raises(Malformed):
            read(attribute(1, b"x") + broken)


def test_attributes_behind_the_end() -> None:
    with pytest.raises(Malformed):
        list(attributes(b"1234", 8))
    with pytest.raises(Malformed):
        by_type(b"1234", 8)


def test_values() -> None:
    assert text(b"eth1\0junk", 0, 9) == "eth1"
    assert text(b"\xff", 0, 1) == "\\xff"
    assert number(struct.pack("=I", 77), 0, 4) == 77
    for size in (0, 3, 5):
        with pytest.raises(Malformed):
            number(bytes(8), 0, size)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (message(ACK, struct.pack("=i", 0)), 0),
        (message(ACK, struct.pack("=i", -errno.EBUSY) + bytes(16)), errno.EBUSY),
        (message(ACK, struct.pack("=i", 5)), 0),
        (message(DONE), 0),  # generic netlink
        (message(DONE, struct.pack("=i", 0)), 0),  # rtnetlink
        (message(DONE, struct.pack("=i", -errno.EMSGSIZE)), errno.EMSGSIZE),
    ],
)
def test_error_of(octets: bytes, code: int) -> None:
    (found,) = messages(octets)
    assert error_of(found) == code


def test_error_without_a_number() -> None:
    with pytest.raises(Malformed):
        error_of(Message(ACK, 0, 0, message(ACK)))


WORDS = attribute(1, b"Too late\0")
ECHO = message(19, b"what was asked")


@pytest.mark.parametrize(
    ("flags", "payload", "words"),
    [
        (F_ACK_TLVS | F_CAPPED, ECHO[:16] + WORDS, "Too late"),
        (F_ACK_TLVS, ECHO + WORDS, "Too late"),
        (F_ACK_TLVS | F_CAPPED, ECHO[:16] + attribute(2, bytes(4)) + WORDS, "Too late"),
        (F_ACK_TLVS | F_CAPPED, ECHO[:16] + attribute(2, bytes(4)), ""),
        (F_CAPPED, ECHO[:16], ""),
        (0, ECHO, ""),
        (F_ACK_TLVS | F_CAPPED, ECHO[:16] + b"\xff\xff\1\0", ""),
        (F_ACK_TLVS, b"", ""),
    ],
)
def test_explanation(flags: int, payload: bytes, words: str) -> None:
    (found,) = messages(message(ACK, struct.pack("=i", -errno.EINVAL) + payload, flags))
    assert explanation_of(found) == words


def test_noise_is_malformed_or_nothing_else() -> None:
    """Any octets: only Malformed comes out, and what comes through lies inside the octets."""
    dice = random.Random(1)
    good = message(ACK, struct.pack("=i", -1) + ECHO[:16] + WORDS, F_ACK_TLVS | F_CAPPED) + message(16, WORDS)
    for _ in range(2000):
        octets = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            octets[dice.randrange(len(octets))] = dice.randrange(256)
        try:
            for found in messages(bytes(octets)):
                explanation_of(found)
                error_of(found)
                for _, begin, end in attributes(found.octets, 16):
                    assert 16 < begin <= end <= len(found.octets)
        except Malformed:
            pass


# Answers to requests


def test_acknowledged_request() -> None:
    answer = Answer(7, acknowledged=True)
    answer.feed(message(ACK, struct.pack("=i", -errno.EPERM), sequence=6))  # of a request given up
    assert not answer.complete
    answer.feed(message(16, b"echo"))
    assert not answer.complete
    answer.feed(message(ACK, struct.pack("=i", 0)))
    assert answer.complete
    assert [found.octets[16:] for found in answer.messages] == [b"echo"]


def test_single_answer() -> None:
    answer = Answer(7, acknowledged=False)
    answer.feed(message(16, b"this") + message(16, b"that"))
    assert answer.complete
    assert [found.octets[16:] for found in answer.messages] == [b"this"]


def test_answer_in_parts() -> None:
    answer = Answer(7, acknowledged=False)
    answer.feed(message(16, b"one.", F_MULTI) + message(16, b"two.", F_MULTI))
    answer.feed(message(16, b"3...", F_MULTI | F_DUMP_INTR))
    assert not answer.complete
    answer.feed(message(DONE))
    assert answer.complete
    assert answer.interrupted
    assert len(answer.messages) == 3


@pytest.mark.parametrize("kind", [ACK, DONE])
def test_refused_request(kind: int) -> None:
    answer = Answer(7, acknowledged=False)
    with pytest.raises(NetlinkError, match="Device or resource busy: Too late") as refusal:
        answer.feed(message(ACK, struct.pack("=i", -errno.EBUSY) + ECHO[:16] + WORDS, F_ACK_TLVS | F_CAPPED))
    assert (refusal.value.errno, refusal.value.explanation) == (errno.EBUSY, "Too late")
    with pytest.raises(NetlinkError):
        Answer(7, acknowledged=True).feed(message(kind, struct.pack("=i", -errno.EBUSY)))
