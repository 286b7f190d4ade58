"""A daemon imports trio without what it never uses, starts no process for that, and has it all the same when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
def forbid(event, arguments):
    assert event not in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"), arguments
sys.addaudithook(forbid)
from pyteamd.daemon.put_off import import_trio
import_trio()
import trio
assert not {"_ssl", "_hashlib", "idna.core", "ctypes.util", "bz2", "tempfile"} & sys.modules.keys(), "imported"
import ctypes, ctypes.util
assert ctypes.util.find_library.__module__ == "ctypes.util"
assert ctypes.util.find_library.__name__ == "find_library"
assert trio.run(trio.to_thread.run_sync, lambda: 1) == 1
import hmac, idna, ssl
from ssl import CERT_REQUIRED
assert ssl.create_default_context().verify_mode is CERT_REQUIRED
assert idna.encode("b\\u00fccher.example") == b"xn--bcher-kva.example"
assert len(hmac.new(b"key", b"text", "sha256").digest()) == 32
assert not hasattr(ssl, "nothing") and ssl.__name__ == "ssl" and ssl.__file__
"""


@pytest.mark.slow
def test_the_first_import_of_trio_is_lean_and_lacks_nothing() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
