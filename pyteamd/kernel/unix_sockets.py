"""Unix sockets by name, asked of the kernel (unix_diag): in /proc/net/unix their owners may write what looks like another row."""

from __future__ import annotations

import socket
import struct
from typing import Final

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ENDS: Final = (2, 3)  # NLMSG_ERROR, NLMSG_DONE
_LISTENING: Final = 1 << 10  # of TCP_LISTEN
_SHOW_NAME: Final = 1
_ANY: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_MESSAGE: Final = struct.Struct("=BBBBI8s")  # struct unix_diag_msg
_ATTRIBUTE: Final = struct.Struct("=HH")
_NAME: Final = 0  # UNIX_DIAG_NAME
_PATIENCE_S: Final = 1.0


def listening(name: bytes) -> set[int]:
    """Inodes of the sockets of this network name space that listen under this name. OSError; where the kernel cannot tell, none."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _LISTENING, 0, _SHOW_NAME, _ANY, _ANY)
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
                if _name_in(body[_MESSAGE.size :]) == name:
                    found.add(_MESSAGE.unpack_from(body)[4])
                at += -(-size // 4) * 4


def _name_in(attributes: bytes) -> bytes | None:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _NAME:
            return attributes[at + _ATTRIBUTE.size : at + length]
        at += max(_ATTRIBUTE.size, -(-length // 4) * 4)
    return None
