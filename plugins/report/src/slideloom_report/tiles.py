"""Tiles that sinks stored: their positions on the slide, and their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from slideloom import MASK, Rgb, SlideError, SlideloomError, SlideReport, TileStore, TileStores, registry


def tile_stores() -> list[TileStores]:
    """The formats of stored tiles that installed plugins read."""
    return [cls().build() for cls in registry().all("store")]


@contextmanager
def opened_store(path: Path) -> Iterator[TileStore]:
    """The tiles in a file.

    Raises:
        SlideError: no installed plugin knows the format, or the file is damaged.
    """
    stores = next((stores for stores in tile_stores() if path.name.endswith(stores.suffix)), None)
    if stores is None:
        raise SlideError(f"{path}: no installed plugin reads tiles from this format")
    store = stores.open(path)
    try:
        yield store
    finally:
        store.close()


def stored_locations(out: Path, report: SlideReport, notes: list[str]) -> NDArray[np.int64] | None:
    """(N, 2) centres of a slide's stored tiles, or None if no file has them; a damaged file adds to `notes`."""
    for path in _files(out, report):
        if path.is_file():
            with _noted(notes), opened_store(path) as store:
                return store.locations
    return None


def stored_tiles(
    out: Path, report: SlideReport, places: Sequence[tuple[int, int]], notes: list[str]
) -> list[Rgb | None]:
    """The stored tiles at these centres; None for one that is not stored or is damaged, which adds to `notes`."""
    found: dict[tuple[int, int], Rgb] = {}
    for path in _files(out, report):
        missing = [place for place in places if place not in found]
        found |= _from_folder(path, report, missing) if path.is_dir() else _from_store(path, missing, notes)
    return [found.get(place) for place in places]


def some_tiles(out: Path, report: SlideReport, count: int, notes: list[str]) -> list[Rgb]:
    """Up to `count` of a slide's stored tiles, spread over the first file that has any."""
    for path in _files(out, report):
        if path.is_file():
            with _noted(notes), opened_store(path) as store:
                numbers = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).astype(int)).tolist()
                return [store.read(number) for number in numbers]
    return []


def _files(out: Path, report: SlideReport) -> list[Path]:
    """A slide's outputs that contain tiles: folders of images, and files in formats that can be read."""
    suffixes = tuple(stores.suffix for stores in tile_stores())
    paths = [out / output for output in report.outputs if not _is_beside(output, report.outputs)]
    return [path for path in paths if path.is_dir() or (path.name.endswith(suffixes) and path.exists())]


def _is_beside(output: str, outputs: Sequence[str]) -> bool:
    """True for masks or context of the tiles in another folder: `tiles-mask/LABEL/SLIDE` of `tiles/LABEL/SLIDE`."""
    top, slash, within = output.partition("/")
    tiles, dash, companion = top.rpartition("-")
    is_companion = companion == MASK or companion.startswith("context_")
    return bool(dash) and is_companion and f"{tiles}{slash}{within}" in outputs


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Context in which an error of a store becomes a note."""
    try:
        yield
    except SlideloomError as error:
        notes.append(f"Stored tiles are missing: {error}")


def _from_store(path: Path, places: Sequence[tuple[int, int]], notes: list[str]) -> dict[tuple[int, int], Rgb]:
    found: dict[tuple[int, int], Rgb] = {}
    with _noted(notes), opened_store(path) as store:
        locations = store.locations
        numbers = {} if locations is None else {(x, y): number for number, (x, y) in enumerate(locations.tolist())}
        for place in places:
            if place in numbers:
                found[place] = store.read(numbers[place])
    return found


def _from_folder(folder: Path, report: SlideReport, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Rgb]:
    found: dict[tuple[int, int], Rgb] = {}
    for x, y in places:
        for extension in (".jpg", ".png"):
            try:
                with Image.open(folder / f"{report.slide}-{x}-{y}{extension}") as image:
                    found[x, y] = np.asarray(image.convert("RGB"))
            except OSError:  # another kind of file, or damaged
                continue
    return found
