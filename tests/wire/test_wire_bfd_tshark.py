"""What Wireshark's decoder makes of the frames of the bfd watcher: nothing malformed, checksums right, the fields as meant."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import product
from pathlib import Path

import pytest

from pyteamd.wire.bfd import Datagram, Flag, Packet, State

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark (Debian: tshark)"),
]

MAC = bytes.fromhex("020000000001")
HOSTS = (("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1"))
FIELDS = (
    *("_ws.malformed", "_ws.expert.message", "ip.checksum.status", "udp.checksum.status", "udp.dstport"),
    *("bfd.version", "bfd.sta", "bfd.flags.p", "bfd.flags.f", "bfd.diag", "bfd.detect_time_multiplier"),
    *("bfd.my_discriminator", "bfd.your_discriminator", "bfd.desired_min_tx_interval", "bfd.required_min_rx_interval"),
)
GOOD = "1"


def read(frames: Sequence[bytes], place: Path) -> list[dict[str, str]]:
    """The fields tshark finds in each frame."""
    file = place / "frames.pcap"
    records = [struct.pack("<IIII", 0, 0, len(octets), len(octets)) + octets for octets in frames]
    file.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, 1) + b"".join(records))
    command = [
        "tshark",
        "-r",
        str(file),
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
    ]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]


def test_the_decoder_complains_of_nothing_and_reads_what_was_meant(tmp_path: Path) -> None:
    cases = [
        Datagram(
            ip_address(own), ip_address(peer), Packet(state, 0x11223344, 7, 50_000, 60_000, 0, 3, diagnostic, flag)
        )
        for (own, peer), state, flag, diagnostic in product(HOSTS, State, (Flag.NONE, Flag.POLL, Flag.FINAL), (0, 1, 7))
    ]
    found = read([case.frame(MAC) for case in cases], tmp_path)
    assert len(found) == len(cases) == 72
    for case, seen in zip(cases, found, strict=True):
        packet = case.packet
        assert not seen["_ws.malformed"]
        assert not seen["_ws.expert.message"]
        assert seen["udp.checksum.status"] == GOOD
        assert seen["ip.checksum.status"] == (GOOD if case.source.version == 4 else "")
        assert seen["udp.dstport"] == "6784"
        assert (seen["bfd.version"], int(seen["bfd.sta"], 16)) == ("1", packet.state)
        flags = [seen[f"bfd.flags.{name}"] in ("1", "True") for name in "pf"]
        assert flags == [Flag.POLL in packet.flags, Flag.FINAL in packet.flags]
        assert int(seen["bfd.diag"], 16) == packet.diagnostic
        assert seen["bfd.detect_time_multiplier"] in ("3", "0x03")
        assert [int(seen[f"bfd.{end}_discriminator"], 16) for end in ("my", "your")] == [0x11223344, 7]
        assert [int(seen[f"bfd.{name}_interval"]) for name in ("desired_min_tx", "required_min_rx")] == [50_000, 60_000]


def test_it_would_complain_of_a_wrong_checksum_and_a_wrong_length(tmp_path: Path) -> None:
    own, peer = map(ip_address, HOSTS[0])
    good = Datagram(own, peer, replace(Packet(State.UP, 1, 2), multiplier=3)).frame(MAC)
    wrong_sum = good[:40] + bytes((good[40] ^ 1,)) + good[41:]
    short = good[:-8]
    first, second = read([wrong_sum, short], tmp_path)
    assert first["udp.checksum.status"] == "0"
    assert second["_ws.malformed"] or second["_ws.expert.message"] or second["bfd.required_min_rx_interval"] == ""
