"""What can go wrong, as exceptions: a user's request that cannot be met, and a kernel that says no."""

from __future__ import annotations

import errno as codes


class UserError(Exception):
    """A request of a user that cannot be met. `code` and `text` are those of the control protocol, often teamd's.

    `reason` says more, "" where there is no more to say; pyteamdctl asks for it (the method Reason), teamdctl does not.
    """

    def __init__(self, code: str, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.reason = reason


NOT_SUPPORTED = ("OpNotSupp", "Operation not supported.")
SET_FAILED = ("ItemValueSetFail", "Failed to set item value.")
ADD_FAILED = ("PortAddFail", "Failed to add port.")
NO_DEVICE = ("NoSuchDev", "No such device.")
INVALID_ARGUMENTS = ("InvalidArgs", "Did not receive correct message arguments.")

WORDS = {
    codes.EPERM: "operation not permitted",
    codes.ENOENT: "no such option",
    codes.EIO: "input/output error",
    codes.ENXIO: "no such device or address",
    codes.E2BIG: "argument list too long",
    codes.EAGAIN: "resource temporarily unavailable",
    codes.ENOMEM: "cannot allocate memory",
    codes.EACCES: "permission denied",
    codes.EFAULT: "bad address",
    codes.EBUSY: "device or resource busy",
    codes.EEXIST: "file exists",
    codes.EXDEV: "invalid cross-device link",
    codes.ENODEV: "no such device",
    codes.EINVAL: "invalid argument",
    codes.ENFILE: "too many open files in system",
    codes.EMFILE: "too many open files",
    codes.EFBIG: "file too large",
    codes.ENOSPC: "no space left on device",
    codes.EROFS: "read-only file system",
    codes.EPIPE: "broken pipe",
    codes.ERANGE: "numerical result out of range",
    codes.EDEADLK: "resource deadlock avoided",
    codes.ENAMETOOLONG: "file name too long",
    codes.ENOSYS: "function not implemented",
    codes.ELOOP: "too many levels of symbolic links",
    codes.ENODATA: "no data available",
    codes.ETIME: "timer expired",
    codes.EPROTO: "protocol error",
    codes.EBADMSG: "bad message",
    codes.EOVERFLOW: "value too large for defined data type",
    codes.ENOTUNIQ: "name not unique on network",
    codes.EMSGSIZE: "message too long",
    codes.EPROTONOSUPPORT: "protocol not supported",
    codes.EOPNOTSUPP: "operation not supported",
    codes.EAFNOSUPPORT: "address family not supported by protocol",
    codes.EADDRINUSE: "address already in use",
    codes.EADDRNOTAVAIL: "cannot assign requested address",
    codes.ENETDOWN: "network is down",
    codes.ENETUNREACH: "network is unreachable",
    codes.ECONNREFUSED: "connection refused",
    codes.ENOBUFS: "no buffer space available",
    codes.EISCONN: "transport endpoint is already connected",
    codes.ENOTCONN: "transport endpoint is not connected",
    codes.ETIMEDOUT: "connection timed out",
    codes.EHOSTDOWN: "host is down",
    codes.EHOSTUNREACH: "no route to host",
    codes.EALREADY: "operation already in progress",
    codes.EINPROGRESS: "operation now in progress",
    codes.ECANCELED: "operation canceled",
}
"""As strerror has them, which the core may not ask; but what the team driver does not find is an option."""


def reason_for(code: int) -> str:
    """An errno of the kernel in words."""
    return WORDS.get(code) or codes.errorcode.get(code, f"error {code}")


class KernelGone(Exception):
    """The device or port named in the request does not exist (any more)."""


class KernelRefused(Exception):
    """The kernel said no. `errno` is its reason, `what` the request in words, `hint` what a person can check."""

    def __init__(self, errno: int, what: str, hint: str = "") -> None:
        super().__init__(f"{what}: {reason_for(errno)}" + (f" ({hint})" if hint else ""))
        self.errno = errno
        self.what = what
        self.hint = hint
