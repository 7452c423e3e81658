"""From tile numbers to pixels: read, normalize, augment. Sent to the workers of a loader."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError
from slideloom.base.geometry import Rgb, Size
from slideloom.plugins.blaming import blaming
from slideloom.settings.options import Settings, options_of
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.steps.companions import MASK
from slideloom.steps.normalizer import Normalizer

from slideloom_loaders.augmenting import Augmentation
from slideloom_loaders.beside import Beside
from slideloom_loaders.index import TileIndex

_OPEN_FILES = 64  # a process may open about a thousand

Key = tuple[int, int]  # epoch, number of the tile in the index
Pictures = dict[str, NDArray[np.uint8]]
TILE = ""


@define
class Preparation:
    """Reads tiles of an index, normalizes and augments them.

    Attributes:
        index: the tiles.
        normalizer: settings of the normalizer, or None.
        augmentation: how tiles are augmented.
        seed: seed of everything random.
        beside: companions of tiles to read with them.
    """

    index: TileIndex
    normalizer: Settings[Normalizer] | None
    augmentation: Augmentation
    seed: int
    beside: Beside = field(factory=Beside)
    _steps: dict[int, Normalizer] = field(init=False, factory=dict, repr=False, eq=False)
    _open: OrderedDict[int, None] = field(init=False, factory=OrderedDict, repr=False, eq=False)

    def __getstate__(self) -> dict[str, Any]:
        state = {attribute.name: getattr(self, attribute.name) for attribute in attrs.fields(type(self))}
        return {**state, "_steps": {}, "_open": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def read(self, keys: Sequence[Key]) -> list[Rgb]:
        """The tiles with these keys, each (tile_px, tile_px, 3) uint8; mirrored and turned ones are views.

        Raises:
            SlideloomError: a tile is damaged, or the normalizer failed.
        """
        return [pictures[TILE] for pictures in self.read_with(keys)]

    def read_with(self, keys: Sequence[Key]) -> list[Pictures]:
        """The tiles with these keys, each with its companions: a tile by the name "", companions by theirs.

        Contexts are normalized as tiles are, and everything is mirrored and turned alike; a mask is changed by nothing
        else.

        Raises:
            SlideloomError: a tile is damaged, or the normalizer failed.
        """
        stored = [self._stored(number) for _, number in keys]
        for name in (TILE, *self.beside.contexts):
            normalized = self._normalized([pictures[name] for pictures in stored], keys)
            for pictures, rgb in zip(stored, normalized, strict=True):
                pictures[name] = rgb
        return [self._augmented(pictures, key) for pictures, key in zip(stored, keys, strict=True)]

    def _augmented(self, pictures: Pictures, key: Key) -> Pictures:
        epoch, number = key
        return {
            name: self.augmentation.apply(picture, seed=self.seed, epoch=epoch, index=number, is_mask=name == MASK)
            for name, picture in pictures.items()
        }

    def _stored(self, number: int) -> Pictures:
        slide = int(self.index.slide[number])
        self._open[slide] = None
        self._open.move_to_end(slide)
        if len(self._open) > _OPEN_FILES:
            oldest, _ = self._open.popitem(last=False)
            self.index.stores[oldest].close()
        store, place = self.index.stores[slide], int(self.index.number[number])
        if not self.beside.names:
            return {TILE: store.read(place)}
        rgb, companions = store.read_with(place, self.beside.names)
        return {TILE: rgb, **companions}

    def _normalized(self, tiles: list[Rgb], keys: Sequence[Key]) -> list[Rgb]:
        """The tiles, normalized slide by slide; a tile that cannot be normalized stays unchanged."""
        if self.normalizer is None:
            return tiles
        done = list(tiles)
        groups: dict[tuple[int, int], list[int]] = {}
        for place, (epoch, number) in enumerate(keys):
            groups.setdefault((epoch if self.augmentation.stain else 0, int(self.index.slide[number])), []).append(
                place
            )
        for (epoch, slide), places in groups.items():
            numbers = np.array([self.index.number[keys[place][1]] for place in places], np.int64)
            where = np.array([self.index.locations[keys[place][1]] for place in places], np.int64)
            name = self.index.slides[slide]
            batch = batch_of(np.stack([tiles[place] for place in places]), numbers, where, name)
            with blaming(self.normalizer, "normalizer", name):
                result = self._step(epoch).apply(batch)
            for row, place in enumerate(places):
                if result.ok[row]:
                    done[place] = result.rgb[row]
        return done

    def _step(self, epoch: int) -> Normalizer:
        if epoch not in self._steps:
            self._steps.clear()
            settings = self.normalizer
            if self.augmentation.stain:
                seed = zlib.crc32(f"{self.seed}/{epoch}".encode())
                settings = attrs.evolve(settings, seed=seed)  # type: ignore[misc]  # checked by with_stain
            self._steps[epoch] = settings.build()  # type: ignore[union-attr]  # not called without one
        return self._steps[epoch]


def batch_of(rgb: NDArray[np.uint8], numbers: NDArray[np.int64], centres: NDArray[np.int64], slide: str) -> TileBatch:
    """Tiles of one slide as a batch for a normalizer.

    Args:
        rgb: (B, H, W, 3) uint8.
        numbers: (B,) int64, numbers of the tiles; random draws depend on them.
        centres: (B, 2) int64, centres of the tiles in level-0 pixels.
        slide: name of the slide.
    """
    rgb.flags.writeable = False
    zeros = np.zeros(len(numbers), np.int64)
    tiles = Tiles(numbers, centres[:, 0], centres[:, 1], zeros, zeros, zeros - 1, footprint=Size(1, 1))
    return TileBatch(rgb=rgb, tiles=tiles, slide=slide, labels=(None,) * len(numbers))


def with_stain(normalizer: Settings[Normalizer] | None, default: Settings[Normalizer]) -> Settings[Normalizer]:
    """The normalizer with random staining.

    Args:
        normalizer: the normalizer to draw around, or None.
        default: the augmentation to use without a normalizer.

    Raises:
        ConfigError: the normalizer cannot augment.
    """
    if normalizer is None:
        return default
    options = options_of(type(normalizer))
    if "seed" not in options:
        raise ConfigError(
            f"normalizer '{normalizer.name}' has no stain augmentation; use another, or augment without 'stain'"
        )
    if "augment" in options and getattr(normalizer, "augment") == "off":  # noqa: B009 - not every normalizer has it
        return attrs.evolve(normalizer, augment="v2")  # type: ignore[call-arg]  # it has the option
    return normalizer


def draws(normalizer: Settings[Normalizer] | None) -> bool:
    """True if the normalizer varies the staining by itself, such as "hsv-augment" or "macenko:augment=v2"."""
    return (
        normalizer is not None
        and "seed" in options_of(type(normalizer))
        and getattr(normalizer, "augment", "on") != "off"
    )


def check_tile_based(normalizer: Settings[Normalizer] | None) -> None:
    """Raise `ConfigError` for a normalizer that needs the slide, because loaders only see tiles."""
    if normalizer is not None and getattr(normalizer, "context", "tile") == "slide":
        raise ConfigError(
            f"normalizer '{normalizer.name}' with context='slide' needs the slide, but loaders only see tiles; "
            "normalize during extraction, or use context='tile'"
        )
