"""What a reader shows of a damaged slide, and whether another decoder shows the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Point, Rgb, Size, Slide, SlideError, Slides, open_slide

from stress.verdicts import Kind, Verdict

# Two decoders of the same damaged JPEG may round differently, but show the same picture.
ALIKE = 3.0  # grey levels, on average over a tile
_TILE = 64
# Of a level. A damaged number may make a slide of any size: of a larger level only the first rows of tiles are read.
_MOST_TILES = 400

Tiles = dict[tuple[int, int], Rgb]  # by (x, y)


@frozen
class Shown:
    """What one decoder makes of a file.

    Attributes:
        sizes: of its levels, the full one first.
        tiles: of each level, those that could be read.
        unreadable: how many could not.
    """

    sizes: tuple[Size, ...]
    tiles: tuple[Tiles, ...]
    unreadable: int

    def level_of(self, size: Size) -> Tiles:
        """The tiles of the level of this size; none if there is no such level."""
        return next((tiles for found, tiles in zip(self.sizes, self.tiles, strict=True) if found == size), {})


def by_reader(path: Path, reader: str) -> Shown:
    """What one of our readers shows.

    Raises:
        SlideloomError: it refuses the file; a `PluginError` if something else than our errors came up in the reader.
    """
    with open_slide(path, slides=Slides(reader=reader), mpp=1.0) as slide:
        levels = [_read(slide, number) for number in range(len(slide.info.levels))]
        sizes = tuple(level.size for level in slide.info.levels)
    return Shown(sizes, tuple(tiles for tiles, _ in levels), sum(unreadable for _, unreadable in levels))


def in_tiles(image: Rgb, known: NDArray[np.bool_]) -> Shown:
    """A whole image as one level; a tile of which something is not known counts as unreadable."""
    size = Size(image.shape[1], image.shape[0])
    places = list(_places(size))
    shown = {
        (x, y): image[y : y + _TILE, x : x + _TILE] for x, y in places if known[y : y + _TILE, x : x + _TILE].all()
    }
    return Shown((size,), (shown,), len(places) - len(shown))


def judge(ours: Shown, undamaged: Shown, witnesses: Iterator[Shown]) -> Verdict:
    """Wrong where no witness shows what we show, and at least one shows something else.

    Witnesses are asked one after the other, as long as there is something left that none of them has confirmed. Where
    one of two decoders of damaged data agrees with ours, it is the other whose campaign has to tell. A right verdict
    tells in words how many tiles are neither those of the undamaged file nor shown by anybody else.

    Args:
        ours: what the reader shows.
        undamaged: what it shows of the file as it was before.
        witnesses: what others show.
    """
    if ours.unreadable and not any(ours.tiles):
        return Verdict(Kind.REFUSED, "every tile is unreadable")
    places = [(level, *place) for level, tiles in enumerate(ours.tiles) for place in tiles]
    apart = dict.fromkeys(places, 0.0)
    open_to_doubt, disputed = set(places), set()
    for witness in witnesses:
        for place in sorted(open_to_doubt):
            found = _apart_at(ours, place, witness)
            if found is not None and found <= ALIKE:
                open_to_doubt.remove(place)
            elif found is not None:
                disputed.add(place)
                apart[place] = found
        if not open_to_doubt:
            return Verdict(Kind.RIGHT)
    disputed &= open_to_doubt
    if disputed:
        worst = max(sorted(disputed), key=lambda place: apart[place])
        words = f"{len(disputed)} tiles, of level {worst[0]} that at {worst[1:]}, differ from all others"
        return Verdict(Kind.WRONG, f"{words} by {apart[worst]:.0f}")
    alone = 0
    for place in open_to_doubt:
        found = _apart_at(ours, place, undamaged)
        alone += found is None or found > ALIKE
    return Verdict(Kind.RIGHT, f"{alone} of {len(places)} tiles are shown by no other decoder" if alone else "")


def _apart_at(ours: Shown, place: tuple[int, int, int], theirs: Shown) -> float | None:
    """Grey levels between two tiles, None if the other decoder has none there."""
    level, x, y = place
    other = theirs.level_of(ours.sizes[level]).get((x, y))
    return None if other is None else _apart(ours.tiles[level][x, y], other)


def _read(slide: Slide, level: int) -> tuple[Tiles, int]:
    """The tiles of a level, and how many of them are unreadable."""
    size = slide.info.levels[level].size
    places = list(_places(size))
    if size.area <= _MOST_TILES * _TILE**2:
        try:
            whole = slide.read(Point(0, 0), level, size)
            return {(x, y): whole[y : y + _TILE, x : x + _TILE] for x, y in places}, 0
        except SlideError:  # of one tile or another, which is asked for below
            pass
    tiles: Tiles = {}
    unreadable = 0
    by_size: dict[Size, list[Point]] = {}
    for x, y in places:
        by_size.setdefault(Size(min(_TILE, size.width - x), min(_TILE, size.height - y)), []).append(Point(x, y))
    for part, origins in by_size.items():
        for origin, tile in zip(origins, slide.read_many(origins, level, part), strict=True):
            if isinstance(tile, SlideError):
                unreadable += 1
            else:
                tiles[origin.x, origin.y] = tile
    return tiles, unreadable


def _places(size: Size) -> Iterator[tuple[int, int]]:
    number = 0
    for y in range(0, size.height, _TILE):
        for x in range(0, size.width, _TILE):
            if number == _MOST_TILES:
                return
            number += 1
            yield x, y


def _apart(first: Rgb, second: Rgb) -> float:
    if first.shape != second.shape:
        return 255.0
    return float(np.abs(first.astype(np.int16) - second).mean())
