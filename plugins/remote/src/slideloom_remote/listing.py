"""Lists the files in a folder of a bucket, or those whose addresses match a pattern."""

from __future__ import annotations

from collections.abc import Sequence

from fsspec.implementations.http import HTTPFileSystem
from slideloom import Address, ConfigError

from slideloom_remote.faults import of_library
from slideloom_remote.opening import file_system


def listed(address: Address) -> Sequence[Address]:
    """The addresses of the files in a folder, or of those that match a pattern, sorted.

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
            found = files.glob(path, detail=True)
            entries = list(found.values())
        else:
            entries = files.ls(path.rstrip("/"), detail=True)
    except Exception as error:  # anything that a library of the network raises
        reason = of_library(error).strerror
        raise ConfigError(f"slides: {address} cannot be listed ({reason})") from None
    names = sorted(str(entry["name"]) for entry in entries if entry.get("type") == "file")
    shown = [name for name in names if not name.rsplit("/", 1)[-1].startswith(".")]
    if not shown:
        raise ConfigError(f"slides: {address} matches no file")
    return [_address_of(name, address, path) for name in shown]


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
