"""A program for Debian's own Python: the daemon of a package on a simulated kernel, for longer than late imports take.

    /usr/bin/python3 -I on_debians_libraries.py [DIRECTORY-OF-THE-MODULES]

It watches a host by name, so a look-up in a thread is done too. Says "well, on trio VERSION", or what is not.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [*sys.argv[1:], str(Path(__file__).parent)]

import trio  # noqa: E402
from daemon_kit import Lab  # noqa: E402

from pyteamd.daemon.late_imports import late  # noqa: E402

WATCH = {"name": "arp_ping", "target_host": "localhost", "source_host": "192.0.2.2"}
LONG_S, MOST_LOOKS = 2.5, 200


async def main() -> None:
    """Start it, wait, look."""
    async with trio.open_nursery() as nursery:
        lab = Lab(Path(tempfile.mkdtemp()), nursery)
        lab.kernel.add_pair("eth1", "peer1")
        nursery.start_soon(lab.run_net)
        daemon = await lab.start(lab.plan({"link_watch": WATCH, "ports": {"eth1": {}}}))
        await trio.sleep(LONG_S)
        for _ in range(MOST_LOOKS):
            missing = [name for name in late() if name not in sys.modules]
            if missing:
                await trio.sleep(0.1)
        wrong = [line for line in daemon.lines if re.search("bug|resolve|localhost|cannot", line)]
        wrong += [f"not imported: {name}" for name in missing]
        wrong += [repr(end) for end in (daemon.code, daemon.failure, daemon.crash) if end is not None]
        print("\n".join(wrong) or f"well, on trio {trio.__version__}")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
