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
NO_DEVICE = ("NoSuchDev", "No such device.")

WORDS = {
    codes.EPERM: "operation not permitted",
    codes.EACCES: "permission denied",
    codes.EEXIST: "file exists",
    codes.EBUSY: "device or resource busy",
    codes.EINVAL: "invalid argument",
    codes.EOPNOTSUPP: "operation not supported",
    codes.EADDRNOTAVAIL: "cannot assign requested address",
    codes.ENOENT: "no such option",
    codes.ENODEV: "no such device",
    codes.EMFILE: "too many open files",
    codes.ENOBUFS: "no buffer space available",
}


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
