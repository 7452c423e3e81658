"""What lies in folders at an address, by lists that are believed for some minutes: a request tells a thousand files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from slideloom_remote.stores import Stored

FRESH_S = 600.0


class Listings:
    """Lists of folders, each asked for when a file in it is first asked about, and again when it is old.

    Args:
        listed: gives all files below a folder, by name.
        now: seconds, of a clock that never goes back.
    """

    def __init__(
        self, listed: Callable[[str], Mapping[str, Stored]], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._listed = listed
        self._now = now
        self._known: dict[str, tuple[float, Mapping[str, Stored]]] = {}

    def stored(self, name: str) -> Stored | None:
        """What was there under a name when its folder was listed; None if nothing was."""
        folder = name.rpartition("/")[0]
        since, found = self._known.get(folder, (0.0, None))
        if found is None or self._now() - since > FRESH_S:
            since, found = self._now(), self._listed(folder)
            self._known[folder] = since, found
        return found.get(name)
