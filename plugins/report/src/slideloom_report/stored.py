"""Tiles that sinks stored: where they are on the slide, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from slideloom import Rgb, SlideError, SlideloomError, SlideReport, TileStore, registry

_IMAGES = (".jpg", ".png")


def open_store(path: Path) -> TileStore:
    """The tiles in a file.

    Raises:
        SlideError: no installed plugin knows the format, or the file is damaged.
    """
    for cls in registry().all("store"):
        stores = cls().build()
        if path.name.endswith(stores.suffix):
            store: TileStore = stores.open(path)
            return store
    raise SlideError(f"{path}: no installed plugin reads tiles from this format")


def stored_locations(out: Path, report: SlideReport) -> NDArray[np.int64] | None:
    """(N, 2) centres of a slide's stored tiles, or None if no file tells."""
    for path in _files(out, report):
        try:
            store = open_store(path)
        except SlideloomError:
            continue
        try:
            return store.locations
        finally:
            store.close()
    return None


def stored_tiles(out: Path, report: SlideReport, places: Sequence[tuple[int, int]]) -> list[Rgb | None]:
    """The stored tiles at these centres, None for one that is not stored or cannot be read."""
    wanted: list[Rgb | None] = [None] * len(places)
    for path in _files(out, report):
        found = _from_folder(path, report, places) if path.is_dir() else _from_store(path, places)
        wanted = [one if one is not None else other for one, other in zip(wanted, found, strict=True)]
        if all(tile is not None for tile in wanted):
            break
    return wanted


def some_tiles(path: Path, count: int) -> list[Rgb]:
    """Up to `count` tiles of a file without locations, spread over it."""
    store = open_store(path)
    try:
        numbers = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).astype(int)).tolist()
        return [store.read(number) for number in numbers]
    finally:
        store.close()


def _files(out: Path, report: SlideReport) -> list[Path]:
    return [path for path in (out / output for output in report.outputs) if path.exists()]


def _from_store(path: Path, places: Sequence[tuple[int, int]]) -> list[Rgb | None]:
    try:
        store = open_store(path)
    except SlideloomError:
        return [None] * len(places)
    try:
        locations = store.locations
        if locations is None:
            return [None] * len(places)
        numbers = {(x, y): number for number, (x, y) in enumerate(locations.tolist())}
        return [store.read(numbers[place]) if place in numbers else None for place in places]
    except SlideloomError:
        return [None] * len(places)
    finally:
        store.close()


def _from_folder(folder: Path, report: SlideReport, places: Sequence[tuple[int, int]]) -> list[Rgb | None]:
    found: list[Rgb | None] = []
    for x, y in places:
        paths = [folder / f"{report.slide}-{x}-{y}{extension}" for extension in _IMAGES]
        there = next((path for path in paths if path.is_file()), None)
        found.append(None if there is None else _image(there))
    return found


def _image(path: Path) -> Rgb | None:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError:
        return None
