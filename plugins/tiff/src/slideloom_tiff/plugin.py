"""The reader of tiled JPEG SVS and TIFF."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Reader, Settings, hookimpl

from slideloom_tiff.settings import TiffReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The one reader."""
    return [TiffReader]
