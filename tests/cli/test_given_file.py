"""Files of every kind where a user names one: read whole, or one line; what has no end takes no memory, and holds up no start."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pyteamd.cli import given_file
from pyteamd.cli.given_file import octets_of, text_of
from pyteamd.cli.pyteamd import main as pyteamd


def test_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    """As `-f <(command)` gives them, in pieces; and a FIFO whose writer comes later."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(b"x" * 200_000), daemon=True)
    writer.start()
    assert octets_of(str(fifo), 60.0) == b"x" * 200_000
    writer.join()
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)
    assert octets_of(f"/dev/fd/{read}", 60.0) == b"abc"
    os.close(read)


def test_lines_end_as_in_any_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\r\nb\n\xff")
    assert text_of(f"{tmp_path}/x", "surrogateescape") == "a\nb\n\udcff"


def test_no_more_than_anybody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_file, "MOST_OCTETS", 1000)
    with pytest.raises(OSError, match="longer than 1000 octets"):
        octets_of("/dev/zero")


@pytest.mark.parametrize("path", ["/", "/nonexistent"])
def test_an_error_names_the_file(path: str) -> None:
    """Where a file cannot even be opened, and where reading it fails."""
    with pytest.raises(OSError, match=f": '{path}'$"):
        octets_of(path)


def test_a_start_waits_for_no_writer_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pyteamd, "CONFIG_PATIENCE_S", 0.01)
    os.mkfifo(tmp_path / "fifo")
    assert pyteamd.main(["teamd", "-t", "team0", "-f", f"{tmp_path}/fifo"], f"{tmp_path}/") == 1
    assert "/fifo: nothing came from it for 0 s\n" in capfd.readouterr().err


def test_a_writer_that_never_ends_is_not_waited_for_piece_by_piece() -> None:
    done, (read, write) = threading.Event(), os.pipe()

    def dribble() -> None:
        for _ in range(3000):
            if done.wait(0.01):
                break
            os.write(write, b"x")
        os.close(write)

    os.write(write, b"x")
    writer = threading.Thread(target=dribble)
    writer.start()
    try:
        with pytest.raises(OSError, match="its end did not come within 0 s"):
            octets_of(f"/dev/fd/{read}", 0.1)
    finally:
        done.set()
        writer.join()
        os.close(read)


ENDLESS = {
    "start": ("pyteamd", "-t", "team0", "-f"),
    "check": ("pyteamd", "check"),
    "convert": ("pyteamd", "convert", "--from", "netplan"),
    "simulate": ("pyteamd", "simulate"),
    "random": ("pyteamd", "simulate", "--random", "1"),
    "timeline": ("pyteamd", "timeline", "-o", "/dev/null"),
    "replay": ("pyteamd", "replay"),
}


@pytest.mark.parametrize("words", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(given_file, "MOST_OCTETS", 1000)
    try:
        status: object = pyteamd.main([*words, "/dev/zero"], f"{tmp_path}/")
    except SystemExit as end:
        status = end.code
    told = capfd.readouterr()
    assert status != 0
    assert "longer than 1000 octets" in f"{status}{told.out}{told.err}"
