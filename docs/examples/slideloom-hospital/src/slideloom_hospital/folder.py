"""A slide that is a folder of PNG tiles."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from attrs import frozen
from slideloom import Point, Reader, Resolution, Rgb, Size, Slide, SlideError, SlideInfo, levels_from_sizes

from slideloom_hospital.settings import Hospital

FACTS = "scans.json"
_TILES_KEPT = 64  # decoded, so that neighbouring reads do not decode them again


@frozen
class Scan:
    """The facts of one scan that a reader needs; there are others, and they stay in the file."""

    mpp: float
    size: Size
    tile_px: int


def facts_of(folder: Path) -> Scan | None:
    """The facts of a slide's folder; None if the folder is not in `scans.json`.

    Raises:
        SlideError: `scans.json` cannot be understood. Its content is not repeated: it names patients.
    """
    try:
        scans = json.loads((folder.parent / FACTS).read_text(encoding="utf-8"))
        if folder.name not in scans:
            return None
        scan = scans[folder.name]
        size = Size(int(scan["width"]), int(scan["height"]))
        facts = Scan(mpp=float(scan["mpp"]), size=size, tile_px=int(scan["tile_px"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SlideError(f"{folder.parent / FACTS}: {folder.name}: {type(error).__name__}; export it again") from None
    if min(size.width, size.height, facts.tile_px) < 1 or not facts.mpp > 0:
        raise SlideError(f"{folder.parent / FACTS}: {folder.name}: sizes and mpp must be above 0; export it again")
    return facts


class FolderReader(Reader):
    """Opens folders that `scans.json` lists."""

    def __init__(self, settings: Hospital) -> None:
        """There are no options."""

    def recognises(self, path: Path) -> bool:
        """True for a folder that `scans.json` beside it knows."""
        try:
            return path.is_dir() and facts_of(path) is not None
        except SlideError:
            return False

    def open(self, path: Path) -> Slide:
        """The slide."""
        facts = facts_of(path) if path.is_dir() else None
        if facts is None:
            raise SlideError(f"{path}: not a folder that {FACTS} lists; export it again")
        return FolderSlide(path, facts)


class FolderSlide(Slide):
    """One level, put together from tiles."""

    def __init__(self, path: Path, facts: Scan) -> None:
        self.info = SlideInfo(
            path=path,
            name=path.name,
            reader="hospital",
            levels=levels_from_sizes([facts.size]),
            mpp=Resolution(facts.mpp, facts.mpp, FACTS),
        )
        self._side = facts.tile_px
        self._tile = lru_cache(_TILES_KEPT)(self._decoded)

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`: what no tile covers is background."""
        rgb: Rgb = np.empty((size.height, size.width, 3), np.uint8)
        rgb[:] = self.info.background
        whole, side = self.info.size, self._side
        left, top = max(origin.x, 0), max(origin.y, 0)
        right, bottom = min(origin.x + size.width, whole.width), min(origin.y + size.height, whole.height)
        for row in range(top // side, -(-bottom // side)):
            for column in range(left // side, -(-right // side)):
                tile = self._tile(row, column)
                if tile is None:
                    continue
                x0, x1 = max(left, column * side), min(right, (column + 1) * side)
                y0, y1 = max(top, row * side), min(bottom, (row + 1) * side)
                part = tile[y0 - row * side : y1 - row * side, x0 - column * side : x1 - column * side]
                rgb[y0 - origin.y : y1 - origin.y, x0 - origin.x : x1 - origin.x] = part
        return rgb

    def _decoded(self, row: int, column: int) -> Rgb | None:
        """A tile's pixels, or None if it was not scanned."""
        path = self.info.path / f"r{row:03d}_c{column:03d}.png"
        try:
            content = np.fromfile(path, np.uint8)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SlideError(f"{self.info.name}: {path.name}: {error.strerror}; copy it again") from error
        bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        whole = self.info.size
        wanted = (min(self._side, whole.height - row * self._side), min(self._side, whole.width - column * self._side))
        if bgr is None or bgr.shape[0] < wanted[0] or bgr.shape[1] < wanted[1]:
            raise SlideError(f"{self.info.name}: {path.name} is damaged or too small; copy it again")
        tile: Rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return tile
