"""Downloads the released DeepFocus checkpoint and records its checksums.

The checkpoint (TensorFlow, `ver5`, 5.2 MB, AGPL-3.0) is a port of the authors' release on Hugging Face. It is
downloaded once; the SHA-256 of each file is written beside the cache at first use and compared at every later use.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from slideloom import ConfigError, hub_file, parse_json, write_whole

REPOSITORY = "jamesdolezal/deepfocus"
CHECKPOINT = "ver5"
FILES = (f"{CHECKPOINT}.index", f"{CHECKPOINT}.data-00000-of-00001")
CHECKSUMS = "slideloom-deepfocus.json"

_lock = threading.Lock()


def fetch(*, cache: Path | None = None, endpoint: str | None = None) -> Path:
    """The checkpoint's path without suffix.

    Args:
        cache: folder for the files; None is Hugging Face's own cache.
        endpoint: another server with Hugging Face's URL layout.

    Raises:
        ConfigError: it is not in the cache and cannot be downloaded, or it differs from the first use.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) if cache is None else cache
    with _lock:
        paths = [_file(name, folder, endpoint) for name in FILES]
        _verify(paths, folder / CHECKSUMS)
    return paths[0].with_suffix("")


def _file(name: str, folder: Path, endpoint: str | None) -> Path:
    try:
        return hub_file(REPOSITORY, name, cache=folder, endpoint=endpoint)
    except Exception as error:  # its HTTP library, and so the base class of its errors, has changed between versions
        first = error.__cause__ or error  # the library wraps "404" into "check your connection"
        reason = str(first).strip().split("\n")[0] or type(first).__name__
        raise ConfigError(
            f"{name} of {REPOSITORY} is not in {folder} and cannot be fetched ({reason}); connect once, or copy "
            f"{' and '.join(FILES)} here and set weights to the path of {CHECKPOINT}.index, or use weights = 'bundled'"
        ) from error


def _verify(paths: list[Path], record: Path) -> None:
    """Compare checksums with those of the first use, or record them."""
    found = {path.name: _sha256(path) for path in paths}
    known = _known(record)
    for path in paths:
        before = known.get(path.name)
        if before is not None and before != found[path.name]:
            raise ConfigError(
                f"{path}: SHA-256 is {found[path.name]}, at first use it was {before}; delete the file to fetch it "
                f"again, or {record} if the change is meant"
            )
    if any(name not in known for name in found):
        table = {"repository": REPOSITORY, "sha256": {**known, **found}}
        write_whole(record, (json.dumps(table, indent=1) + "\n").encode())


def _known(record: Path) -> dict[str, str]:
    try:
        table = dict(parse_json(record.read_text())["sha256"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{record}: not a table of checksums ({error}); delete it to start again") from error
    return {str(name): str(value) for name, value in table.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
