"""Names without dots: in a shard, everything after the first dot of a name is the field."""

from __future__ import annotations

import hashlib
import re

_MAX_BYTES = 60  # with coordinates and extension, a name must fit into the 100 bytes of a tar header


def safe_name(slide: str) -> str:
    """The slide's name in letters, digits, `_` and `-`.

    A name that has to be changed or truncated gets `-` and 8 hexadecimal digits of its SHA-256 at the end, so that
    different slides keep different names. Names that begin with `__` would be metadata to a reader, so they are changed
    as well.
    """
    safe = re.sub(r"[^\w-]", "_", slide)
    if safe.startswith("__"):
        safe = "x" + safe
    safe = safe.encode()[:_MAX_BYTES].decode(errors="ignore")
    if safe == slide:
        return safe
    return f"{safe}-{hashlib.sha256(slide.encode(errors='surrogateescape')).hexdigest()[:8]}"
