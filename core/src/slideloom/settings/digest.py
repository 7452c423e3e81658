"""A digest of settings, which tells whether they give the same output."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import attrs

from slideloom.base.addresses import Address
from slideloom.base.files import FileState
from slideloom.settings.given import Given
from slideloom.settings.options import Settings, options_of

_TICK_NS = 10_000_000  # tick of the file system's clock; a second write within one tick is not visible


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of everything in `value` that affects the output.

    Options with `affects_output=False` are left out. For the path of a file, the digest includes its content; for the
    path of a folder, and for an address, only its name, because what is read from it is digested where it is read.
    """
    text = json.dumps(_digestible(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content; a process reads the file only once until it changes.

    Raises:
        OSError: the file cannot be read.
    """
    state = FileState.of(path)
    if time.time_ns() - state.changed_ns < _TICK_NS:
        return _digest_now(state)
    return _digest_kept(state)


def _digest_now(state: FileState) -> str:
    with state.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_digest_kept = cache(_digest_now)  # shared by all slides, because weights are large and disks may be slow


def _as_number(value: Any, wanted: Any) -> Any:
    """A whole number as a float if the option is a float: 2 and 2.0 are the same setting."""
    if isinstance(value, int) and not isinstance(value, bool) and float in (wanted, *get_args(wanted)):
        return float(value)
    return value


def _digestible(value: Any) -> Any:
    if isinstance(value, Path):
        if value.is_file():
            return {"file": file_digest(value)}
        return {"path": value.name}
    if isinstance(value, Address):
        return {"path": value.name}
    if isinstance(value, Given):
        return {"given": value.digest or Given.of(value.value).digest}
    if attrs.has(type(value)):
        infos = options_of(type(value))
        items = {
            name: _digestible(_as_number(getattr(value, name), info.type))
            for name, info in infos.items()
            if info.affects_output and info.is_told(getattr(value, name))
        }
        label = getattr(type(value), "name", None)
        if isinstance(value, Settings):
            items["use"] = f"{type(value).__module__.split('.')[0]}/{label}"
            if value.revision > 1:  # the first is left out, so that digests made before there were revisions stay valid
                items["revision"] = value.revision
        return items
    if isinstance(value, tuple | list):
        return [_digestible(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _digestible(item) for key, item in value.items()}
    return value
