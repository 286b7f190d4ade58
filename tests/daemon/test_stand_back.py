"""On one processor: who waits for a switch of ports runs before our book-keeping, and many links that go at once do not wait for that."""

from __future__ import annotations

import traceback

import trio
from daemon_kit import Lab, Running, quiet

from pyteamd.daemon.reader import STAND_BACK_INTERVAL_S, STAND_BACK_S
from pyteamd.model.desired import OptionKey, SetOption


async def at_rest(lab: Lab, processors: int) -> Running:
    """A daemon that has thought ahead."""
    daemon = await lab.start()
    daemon.reader._one_processor = processors == 1
    await trio.sleep(1)
    lab.kernel.performed.clear()
    daemon.lines.clear()
    return daemon


async def lose(lab: Lab, name: str) -> None:
    """A link goes, and everything happens that is due at that moment."""
    lab.cut(name)
    await quiet()
    other = lab.link("eth2" if name == "eth1" else "eth1").ifindex
    assert SetOption(OptionKey("activeport"), other) in lab.kernel.performed


async def test_the_loop_waits_between_the_switch_and_the_book_keeping(lab: Lab) -> None:
    daemon = await at_rest(lab, 1)
    await lose(lab, "eth1")
    assert daemon.lines == []
    await trio.sleep(2 * STAND_BACK_S)
    assert 'Changed active port to "eth2".' in daemon.lines


async def test_once_in_a_while_only(lab: Lab) -> None:
    daemon = await at_rest(lab, 1)
    await lose(lab, "eth1")
    await trio.sleep(2 * STAND_BACK_S)
    lab.cut("eth1", up=True)
    await trio.sleep(STAND_BACK_INTERVAL_S / 2)
    daemon.lines.clear()
    await lose(lab, "eth2")
    assert 'Changed active port to "eth1".' in daemon.lines


async def test_with_another_processor_nobody_waits(lab: Lab) -> None:
    daemon = await at_rest(lab, 2)
    await lose(lab, "eth1")
    assert 'Changed active port to "eth2".' in daemon.lines


async def test_a_fault_at_the_first_look_ends_the_daemon(lab: Lab) -> None:
    daemon = await at_rest(lab, 2)
    daemon.crash_expected = True

    looks = iter([True])

    def broken(events: object) -> bool:
        if next(looks, False):
            raise ZeroDivisionError
        return False

    (pump,) = daemon.reader.pumps.values()
    pump.write_ahead = broken  # type: ignore[method-assign]
    lab.cut("eth1")
    await daemon.ended.wait()
    assert daemon.crash is not None
    assert daemon.crash.split(ZeroDivisionError)[0] is not None
    assert "in write_ahead" in "".join(traceback.format_exception(daemon.crash))
