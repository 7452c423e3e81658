"""What goes wrong on the way to a file that is not local, in words that hold no secrets, and whether to try again."""

from __future__ import annotations

import errno
import re
from http import HTTPStatus

from slideloom import redacted

_LONGEST = 200  # characters of what a library says
_PASSWORD = re.compile(r"[^\s/'\"@]+:[^\s/'\"@]+@")  # with its user name, in part of an address
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_FINAL = {errno.ENOENT, errno.EACCES, errno.EPERM}
_REMEDIES = {
    401: "give fsspec the credentials",
    403: "give fsspec credentials that may read it",
    404: "correct the address",
    410: "correct the address",
}


class Passing(OSError):
    """Something that may go better the next time: a dropped connection, a timeout, a busy server."""


class Final(OSError):
    """Something that will not go better: no such file, no permission."""


class Changed(Final):
    """The file is no longer the one that was opened."""


class NoRanges(Final):
    """The server ignores what range of bytes is asked for."""


def of_status(status: int) -> OSError:
    """The error that a web server's status stands for."""
    try:
        said = HTTPStatus(status).phrase
    except ValueError:  # a status of the server's own
        said = "no standard status"
    if status in _AGAIN:
        return Passing(errno.EIO, f"the server says {status} {said}")
    return Final(errno.EIO, f"the server says {status} {said}; {_REMEDIES.get(status, 'look at the server')}")


def of_library(error: BaseException) -> OSError:
    """The error that anything raised by a library of the network stands for."""
    if isinstance(error, (Passing, Final)):
        return error
    if isinstance(error, TimeoutError):
        return Passing(errno.ETIMEDOUT, "no answer in time")
    if isinstance(error, OSError) and error.errno in _FINAL:
        remedy = _REMEDIES[404 if error.errno == errno.ENOENT else 403]
        said = "there is no such file" if error.errno == errno.ENOENT else "access is denied"
        return Final(error.errno, f"{said}; {remedy}")
    if isinstance(error, FileNotFoundError):  # of fsspec, without a number
        return Final(errno.ENOENT, f"there is no such file; {_REMEDIES[404]}")
    if isinstance(error, PermissionError) or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return Final(errno.EACCES, f"access is denied; {_REMEDIES[403]}")
    said = _PASSWORD.sub("...@", re.sub(r"\s+", " ", redacted(str(error))))[:_LONGEST]
    return Passing(errno.EIO, f"{type(error).__name__}: {said}" if said else type(error).__name__)
