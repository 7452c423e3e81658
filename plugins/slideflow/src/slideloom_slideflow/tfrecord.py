"""One TFRecord file by Slideflow's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slideloom import ConfigError
from slideloom_tfrecord import TFRecordFile

from slideloom_slideflow.adapting import adapted, refuse
from slideloom_slideflow.norm import decoded
from slideloom_slideflow.table import rows


class TFRecord:
    """The tiles of one file: `len`, `[number]`, and `get_record_by_xy`."""

    @adapted("tfrecord.TFRecord")
    def __init__(
        self, path: str | Path, index: Any = None, *, create_index: bool = True, decode_images: bool = False
    ) -> None:
        self.path = str(path)
        self.decode_images = decode_images
        self._file = TFRecordFile(path)

    def __len__(self) -> int:
        return len(self._file)

    @property
    def length(self) -> int:
        """Number of tiles."""
        return len(self._file)

    @property
    def locations(self) -> list[tuple[int, int]] | None:
        """Centre of each tile in stored order; None if the file holds none."""
        found = self._file.locations
        return None if found is None else [(int(x), int(y)) for x, y in found.tolist()]

    @property
    def fields(self) -> list[str] | None:
        """What each record holds; None of an empty file."""
        return None if not len(self) else [key for key, value in self._parsed(0).items() if value is not None]

    @property
    def img_format(self) -> str | None:
        """The format of its images, "jpeg" or "png", by the first tile; None of an empty file."""
        if not len(self):
            return None
        return "png" if self._file[0].image_raw.startswith(b"\x89PNG") else "jpeg"

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """Tile `idx` in stored order: "image_raw", "slide", "loc_x", "loc_y"."""
        record = self._parsed(idx)
        if self.decode_images:
            record["image_raw"] = decoded(record["image_raw"])
        return record

    def _parsed(self, idx: int) -> dict[str, Any]:
        record = self._file[idx]
        return {
            "image_raw": record.image_raw, "slide": record.slide, "loc_x": record.loc_x, "loc_y": record.loc_y
        }  # fmt: skip

    @adapted("tfrecord.TFRecord.get_record_by_xy")
    def get_record_by_xy(self, x: int, y: int, decode: bool | None = None) -> tuple[str, Any]:
        """Slide name and image of the tile whose centre this is.

        Raises:
            ConfigError: there is none.
        """
        places = self.locations or []
        if (x, y) not in places:
            raise ConfigError(f"{self.path}: no tile at {x}, {y}")
        record = self._file[places.index((x, y))]
        wanted = self.decode_images if decode is None else decode
        return record.slide, decoded(record.image_raw) if wanted else record.image_raw


def __getattr__(name: str) -> object:
    if f"tfrecord.{name}" in rows():
        refuse(f"tfrecord.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
