"""The C library jansson itself, to compare with: reads and writes as teamd does, through ctypes."""

from __future__ import annotations

import ctypes

LIBRARY = "libjansson.so.4"
REJECT_DUPLICATES = 0x1
ENSURE_ASCII = 0x40
SORT_KEYS = 0x80


class _Error(ctypes.Structure):
    _fields_ = (
        ("line", ctypes.c_int),
        ("column", ctypes.c_int),
        ("position", ctypes.c_int),
        ("source", ctypes.c_char * 80),
        ("text", ctypes.c_char * 160),
    )


class Oracle:
    """Raises OSError where the library is not installed."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(LIBRARY)
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]
        self._lib.json_loadb.restype = ctypes.c_void_p
        self._lib.json_loadb.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_size_t,
            ctypes.POINTER(_Error),
        ]
        self._lib.json_dumps.restype = ctypes.c_void_p
        self._lib.json_dumps.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self._lib.json_delete.argtypes = [ctypes.c_void_p]

    def answer(self, text: bytes) -> tuple[str, ...]:
        """What jansson makes of a text: the JSON on several lines and on one, or the message that teamd logs."""
        error = _Error()
        value = self._lib.json_loadb(text, len(text), REJECT_DUPLICATES, ctypes.byref(error))
        if not value:
            return (f"{error.text.decode('utf-8', 'surrogateescape')} on line {error.line}, column {error.column}",)
        written = tuple(self._dump(value, indent) for indent in (4, 0))
        self._lib.json_delete(value)
        return written

    def _dump(self, value: int, indent: int) -> str:
        pointer = self._lib.json_dumps(value, indent | ENSURE_ASCII | SORT_KEYS)
        text = ctypes.string_at(pointer).decode()
        self._free(pointer)
        return text
