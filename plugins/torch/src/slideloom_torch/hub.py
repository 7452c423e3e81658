"""Files of the Hugging Face hub: from its cache where they are there, and told at once where it cannot be reached."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_PATIENCE_S = 5.0


def hub_file(repository: str, name: str, *, cache: Path | None = None, endpoint: str | None = None) -> Path:
    """A file of a repository, downloaded at first use.

    The hub's own client tries for half a minute where there is no connection, also for files that it has.

    Args:
        repository: owner and name.
        name: of the file.
        cache: folder for the files; None is the hub's own.
        endpoint: another server with the hub's layout.

    Raises:
        ImportError: huggingface_hub is not installed.
        OSError: the server cannot be reached within 5 seconds.
        Exception: what the hub's client raises; the base class of its errors has changed between versions.
    """
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, cache_dir=cache, endpoint=endpoint, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    if not constants.HF_HUB_OFFLINE:
        _reach(hf_hub_url(repository, name, endpoint=endpoint))
    return Path(hf_hub_download(repository, name, cache_dir=cache, endpoint=endpoint))


def _reach(url: str) -> None:
    """Raise `OSError` unless the server takes a connection; where a proxy stands between, only the proxy can tell."""
    parts = urlsplit(url)
    if parts.scheme in getproxies() or parts.hostname is None:
        return
    try:
        socket.create_connection(
            (parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)), _PATIENCE_S
        ).close()
    except OSError as error:
        raise OSError(f"{parts.hostname} cannot be reached: {error}") from error
