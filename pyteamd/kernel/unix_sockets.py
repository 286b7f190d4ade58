"""Unix sockets by name, asked of the kernel (unix_diag): in /proc/net/unix their owners may write what looks like another row."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Collection
from struct import Struct
from typing import Final

from pyteamd.kernel.framing import F_DUMP, F_REQUEST, Malformed, Message, attributes
from pyteamd.kernel.sockets import NetlinkError, RequestSocket

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_LISTENING: Final = 1 << 10  # of TCP_LISTEN
_SHOW_NAME, _SHOW_USER = 0x01, 0x40
_ANY: Final = 0xFFFFFFFF
_REQUEST: Final = Struct("=IHHII BBHIIIII")  # nlmsghdr, unix_diag_req
_MESSAGE: Final = Struct("=16x 4xI8x")  # the same, unix_diag_msg: the inode
_NAME, _USER = 0, 7  # UNIX_DIAG_NAME, UNIX_DIAG_UID


def listening(name: bytes, users: Collection[int]) -> set[int]:
    """Inodes of the sockets of this network namespace that listen under this name and were made by one of these users.

    OSError when the kernel does not say. Before Linux 5.3 it does not tell whose they are: then all count.
    """
    about = (socket.AF_UNIX, 0, 0, _LISTENING, 0, _SHOW_NAME | _SHOW_USER, _ANY, _ANY)
    asked = RequestSocket(_SOCK_DIAG)
    try:
        answers = asked.dump(_REQUEST.pack(_REQUEST.size, _BY_FAMILY, F_REQUEST | F_DUMP, 0, 0, *about))
        return {inode for inode, told, user in map(_read, answers) if told == name and user in (None, *users)}
    except NetlinkError as refusal:
        raise OSError(refusal.errno, str(refusal)) from refusal
    except Malformed as problem:
        raise OSError(errno.EBADMSG, str(problem)) from problem
    finally:
        asked.close()


def _read(message: Message) -> tuple[int, bytes | None, int | None]:
    """Inode, name and user; None for what is not told."""
    octets = message.octets
    told = {kind: octets[begin:end] for kind, begin, end in attributes(octets, _MESSAGE.size)}
    user = int.from_bytes(told[_USER], sys.byteorder) if _USER in told else None
    return _MESSAGE.unpack_from(octets)[0], told.get(_NAME), user
