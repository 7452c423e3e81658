"""Opens the file at an address: chooses how its bytes are asked for."""

from __future__ import annotations

import logging
from typing import Any

import fsspec
from fsspec.implementations.http import HTTPFileSystem
from slideloom import Address, PluginError, SlideError, pip_install

from slideloom_remote.faults import Final
from slideloom_remote.objects import Objects, S3Objects, StoreObjects, WebObjects
from slideloom_remote.remote_file import FetchedFile
from slideloom_remote.remote_folder import FetchedFolder
from slideloom_remote.transports import S3Transport, StoreTransport, Transport, WebTransport, refuse_version

TIMEOUT_S = 60.0
"""How long to wait for one answer, or for the next bytes of one, before asking again."""
# Their lowest messages hold headers and signed addresses.
_TALKATIVE = ("aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "s3fs", "urllib3")
_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "azure", "abfs": "azure", "abfss": "azure",
}  # fmt: skip


def open_remote_file(address: Address, *, timeout_s: float = TIMEOUT_S) -> FetchedFile:
    """The file at an address, open.

    Raises:
        PluginError: the package of its file system is not installed.
        SlideError: it cannot be read.
    """
    files, path = file_system(address)
    return FetchedFile(address, transport_of(files, path, timeout_s=timeout_s))


def open_remote_folder(address: Address, *, timeout_s: float = TIMEOUT_S) -> FetchedFolder:
    """The folder at an address, of which nothing is asked yet.

    Raises:
        PluginError: the package of its file system is not installed.
        SlideError: the address cannot be used.
    """
    files, path = file_system(address)
    return FetchedFolder(address, objects_of(files, path, timeout_s=timeout_s))


def file_system(address: Address) -> tuple[Any, str]:
    """The file system of an address, and its path there."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
    if address.is_redacted:
        raise SlideError(f"{address}: the secrets of this address are not kept; give the whole address")
    try:
        files, path = fsspec.core.url_to_fs(address.url)
    except ImportError as error:
        extra = _EXTRAS.get(address.scheme)
        wanted = pip_install(f"slideloom-remote[{extra}]" if extra else error.name or "PACKAGE")
        raise PluginError(f"{address}: reading {address.scheme}:// is not installed: {wanted}") from None
    except ValueError as error:
        if "rotocol not known" in str(error):
            raise SlideError(f"{address}: fsspec knows no file system {address.scheme}; correct the address") from None
        raise SlideError(f"{address}: is no address that fsspec reads; correct it") from None
    if hasattr(files, "_call_s3") and "@" in str(path).partition("/")[0]:
        raise SlideError(
            f"{address}: an address of S3 holds no user name or password; keep them where the cloud's own tools do "
            "(aws configure)"
        )
    try:
        refuse_version(files, str(path))
    except Final as error:
        raise SlideError(f"{address}: {error.strerror}") from None
    return files, str(path)


def transport_of(files: Any, path: str, *, timeout_s: float) -> Transport:
    """How to ask a file system for ranges of bytes."""
    if isinstance(files, HTTPFileSystem):
        return WebTransport(files, path, timeout_s=timeout_s)
    if hasattr(files, "_call_s3"):
        return S3Transport(files, path, timeout_s=timeout_s)
    return StoreTransport(files, path, timeout_s=timeout_s)


def objects_of(files: Any, path: str, *, timeout_s: float) -> Objects:
    """How to ask a file system for the files of a folder."""
    if isinstance(files, HTTPFileSystem):
        return WebObjects(files, path, timeout_s=timeout_s)
    kind = S3Objects if hasattr(files, "_call_s3") else StoreObjects
    return kind(files, path, timeout_s=timeout_s)
