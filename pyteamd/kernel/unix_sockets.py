"""Unix sockets by name, asked of the kernel (unix_diag): in /proc/net/unix their owners may write what looks like another row."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Collection
from typing import Final

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ENDS: Final = (2, 3)  # NLMSG_ERROR, NLMSG_DONE
_LISTENING: Final = 1 << 10  # of TCP_LISTEN
_SHOW_NAME, _SHOW_USER = 0x01, 0x40
_ANY: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_MESSAGE: Final = struct.Struct("=BBBBI8s")  # struct unix_diag_msg
_ATTRIBUTE: Final = struct.Struct("=HH")
_NAME, _USER = 0, 7  # UNIX_DIAG_NAME, UNIX_DIAG_UID
_PATIENCE_S: Final = 1.0


def listening(name: bytes, users: Collection[int]) -> set[int]:
    """Inodes of the sockets of this network name space that listen under this name and were made by one of these users.

    OSError; where the kernel cannot tell, none. Before Linux 4.20 it does not tell whose they are.
    """
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _LISTENING, 0, _SHOW_NAME | _SHOW_USER, _ANY, _ANY)
    found: set[int] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asked:
        asked.settimeout(_PATIENCE_S)
        asked.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
        while True:
            octets, at = asked.recv(1 << 16), 0
            while at + _HEADER.size <= len(octets):
                size, kind, *_ = _HEADER.unpack_from(octets, at)
                if kind in _ENDS or size < _HEADER.size + _MESSAGE.size:
                    return found
                body = octets[at + _HEADER.size : at + size]
                told = _attributes(body[_MESSAGE.size :])
                if told.get(_NAME) == name and (
                    _USER not in told or int.from_bytes(told[_USER], sys.byteorder) in users
                ):
                    found.add(_MESSAGE.unpack_from(body)[4])
                at += -(-size // 4) * 4


def _attributes(octets: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        found[kind] = octets[at + _ATTRIBUTE.size : at + length]
        at += max(_ATTRIBUTE.size, -(-length // 4) * 4)
    return found
