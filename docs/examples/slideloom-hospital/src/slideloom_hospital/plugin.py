"""The entry module: what this package registers with slideloom. It imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Reader, Settings, hookimpl

from slideloom_hospital.settings import Hospital


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The readers of this package."""
    return [Hospital]
