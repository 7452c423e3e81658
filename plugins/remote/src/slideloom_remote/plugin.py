"""What opens addresses: fsspec, and one request for many ranges of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slideloom import Address, Library, RemoteEntry, RemoteFile, RemoteFiles, RemoteFolder, RemoteOutput, hookimpl


@hookimpl
def slideloom_remote_files() -> Sequence[RemoteFiles]:
    """Every address that fsspec knows."""
    return [RemoteFiles("fsspec", _open, _list, _open_folder, _open_output, _entries)]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on, and those of clouds."""
    return [
        Library("fsspec", "fsspec", "slides that are not local"),
        Library("aiohttp", "aiohttp", "slides on web servers"),
        Library("s3fs", "slideloom-remote[s3]", "slides at s3://", needed=False),
        Library("gcsfs", "slideloom-remote[gs]", "slides at gs://", needed=False),
        Library("adlfs", "slideloom-remote[azure]", "slides at abfs:// and az://", needed=False),
    ]


def _open(address: Address) -> RemoteFile:
    from slideloom_remote.opening import open_remote_file  # imports fsspec, so only when there is an address

    return open_remote_file(address)


def _list(address: Address) -> Sequence[Address]:
    from slideloom_remote.listing import listed

    return listed(address)


def _open_folder(address: Address) -> RemoteFolder:
    from slideloom_remote.opening import open_remote_folder

    return open_remote_folder(address)


def _open_output(address: Address, folder: Path) -> RemoteOutput:
    from slideloom_remote.putting import open_remote_output

    return open_remote_output(address, folder)


def _entries(address: Address, below: bool) -> Sequence[RemoteEntry]:
    from slideloom_remote.folders import entries_of

    return entries_of(address, below=below)
