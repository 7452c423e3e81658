"""Lists the files in a folder of a bucket, or those whose addresses match a pattern."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from fsspec.implementations.http import HTTPFileSystem
from slideloom import Address, ConfigError

from slideloom_remote.faults import of_library
from slideloom_remote.opening import file_system

_ZARR = ".zarr"
_GROUPS = ("zarr.json", ".zgroup")  # files that make a folder one of Zarr


def listed(address: Address) -> Sequence[Address]:
    """The addresses of the files in a folder, or of those that match a pattern, sorted.

    Folders that are Zarr slides, by their names, stand for what is in them; so does the folder itself, if it is one.

    Raises:
        ConfigError: they cannot be listed, or there are none.
    """
    files, path = file_system(address)
    if isinstance(files, HTTPFileSystem):
        raise ConfigError(f"slides: {address}: a web server does not list its folders; name each slide")
    if "::" in address.url:
        raise ConfigError(f"slides: {address}: a chain of addresses is not listed; name each slide")
    files.invalidate_cache()
    try:
        if address.is_pattern:
            entries = list(files.glob(_as_meant(path, files), detail=True).values())
        else:
            entries = files.ls(path.rstrip("/"), detail=True)
    except Exception as error:  # anything that a library of the network raises
        reason = of_library(error).strerror
        raise ConfigError(f"slides: {address} cannot be listed ({reason})") from None
    if not address.is_pattern and any(str(entry["name"]).rsplit("/", 1)[-1] in _GROUPS for entry in entries):
        return [address.without_slash()]
    found = (_slide_of(str(entry["name"]), is_file=entry.get("type") == "file") for entry in entries)
    names = sorted({name for name in found if name is not None})
    shown = [name for name in names if not name.rsplit("/", 1)[-1].startswith(".")]
    if not shown:
        raise ConfigError(f"slides: {address} matches no file")
    return [_address_of(name, address, path) for name in shown]


def _as_meant(pattern: str, files: Any) -> str:  # Any: fsspec has no types
    """A pattern, with a folder that is there as it is written, such as `run[1]`, taken as it is written."""
    parts = list(takewhile(lambda part: "*" not in part, pattern.split("/")[:-1]))
    for count in range(len(parts), 0, -1):
        home = "/".join(parts[:count])
        if "[" in home and files.isdir(home):
            return glob.escape(home) + pattern.removeprefix(home)
    return pattern


def _slide_of(name: str, *, is_file: bool) -> str | None:
    """A file, or the Zarr folder that it is in or that an entry is; None for any other folder."""
    parts = name.rstrip("/").split("/")
    for count, part in enumerate(parts, 1):
        if part.lower().endswith(_ZARR) and (count < len(parts) or not is_file):
            return "/".join(parts[:count])
    return name if is_file else None


def _address_of(name: str, address: Address, path: str) -> Address:
    """The address of a file that was found, with all that the given one says besides the path, such as the account."""
    home, place = _plain_part(address.url, address), _plain_part(path, address)
    rest = name.removeprefix(place)
    return Address(home + rest if rest != name or not place else f"{address.scheme}://{name}")


def _plain_part(text: str, address: Address) -> str:
    """The part of an address or path up to the slash before what is listed."""
    if not address.is_pattern:
        return text.rstrip("/") + "/"
    return text[: text.rindex("/", 0, min(text.index(letter) for letter in "*[" if letter in text)) + 1]
