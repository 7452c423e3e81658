"""The step contracts: what a plugin author implements, one class per kind of step.

Every step is built from its settings in the process that uses it. The same answer is due for any batch size and
order; input is left alone; global random state is not touched. A step that may not be called from several threads
at once says `thread_safe = False` and is called under a lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.errors import PluginError
from slideloom.geometry import Box, Mask, Rgb, RgbBatch
from slideloom.regions import Regions
from slideloom.slide import Slide, SlideInfo
from slideloom.tiles import TileBatch, TileGeometry, Tiles

QcKind = Literal["background", "blur", "artifact"]


class Reader(ABC):
    """Opens slides of one family of formats."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """True if this reader can open the file, judged by content; the extension alone is not enough.

        Called once per slide and reader. Must be quick and must not raise for a file of another format.
        """

    @abstractmethod
    def open(self, path: Path) -> Slide:
        """The slide, ready to read.

        Raises:
            SlideError: the file is damaged or not a slide; the message names file and remedy.
        """


class RoiSource(ABC):
    """Finds the regions of interest of a slide."""

    @abstractmethod
    def regions(self, info: SlideInfo) -> Regions | None:
        """The slide's regions, or None if the source has nothing for this slide.

        Raises:
            RoiError: there is a file for this slide, but it cannot be understood.
        """


@frozen
class Scene:
    """What a slide QC or a normalizer may want to know besides the slide.

    Attributes:
        geometry: of the tiles that will be read.
        regions: the slide's regions, or None.
        threads: how many threads a step may use at once; the answer must not depend on it. They may not read a slide
            at the same time that says `thread_safe = False`.
    """

    geometry: TileGeometry
    regions: Regions | None = None
    threads: int = field(default=1, eq=False)


@frozen
class QcResult:
    """What a slide QC found.

    Attributes:
        mask: (h, w) bool, True where the slide is to be discarded.
        kind: "background" (no tissue), "blur" (out of focus) or "artifact" (pen, folds, anything else).
        extent: the level-0 box that the mask covers; None means the whole slide.
        metrics: named numbers for the report.
        notes: sentences for the report.
    """

    mask: Mask = field(eq=False)
    kind: QcKind
    extent: Box | None = None
    metrics: Mapping[str, float] = field(factory=dict, hash=False)
    notes: tuple[str, ...] = ()


class SlideQc(ABC):
    """Finds parts of a slide to discard, on low magnification."""

    @abstractmethod
    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask of what to discard. Called once per slide; `slide.info.mpp` is known.

        Memory must be bounded: read in blocks, not the whole of a large level. A step that takes long may work on
        `scene.threads` blocks at a time; it starts its threads and ends them.
        """


@frozen
class Verdict:
    """What a tile filter decided for a batch.

    Attributes:
        keep: (B,) bool, False where the tile is rejected.
        score: (B,) float32, the number the decision rests on.
    """

    keep: NDArray[np.bool_] = field(eq=False)
    score: NDArray[np.float32] = field(eq=False)


class TileFilter(ABC):
    """Keeps or rejects tiles by their pixels."""

    thread_safe: ClassVar[bool] = True

    @abstractmethod
    def check(self, batch: TileBatch) -> Verdict:
        """One decision per tile, each from its own pixels only."""


@frozen
class Normalized:
    """Normalized tiles.

    Attributes:
        rgb: (B, H, W, 3) uint8.
        ok: (B,) bool, False where the tile could not be normalized and is rejected.
        fallback: (B,) bool, True where the step's fallback was used (the original kept, or the slide's fit); counted in
            the report. None means nowhere.
    """

    rgb: RgbBatch = field(eq=False)
    ok: NDArray[np.bool_] = field(eq=False)
    fallback: NDArray[np.bool_] | None = field(default=None, eq=False)


class Normalizer(ABC):
    """Brings the staining of tiles to a target."""

    thread_safe: ClassVar[bool] = True

    def for_slide(self, slide: Slide, scene: Scene, discard: Mask | None) -> Normalizer:
        """The normalizer for one slide. Called once per slide, before any tile.

        Args:
            slide: open, with known mpp.
            scene: regions and tile geometry.
            discard: (h, w) bool over the whole slide, True where QC or regions discard; None if nothing does.

        Returns:
            `self` unless the step takes statistics from the slide.
        """
        return self

    @property
    def needs_slide(self) -> bool:
        """True if `for_slide` measures the slide; what loads single tiles then has to prepare the slide first."""
        return type(self).for_slide is not Normalizer.for_slide

    def fit_table(self) -> Mapping[str, Any] | None:
        """The target values as plain numbers and lists (`norm_fit` of a params.json); None if there are none.

        A normalizer that gives them takes the path of that file as its option `target`, and is then the same again.
        """
        return None

    def tensorflow_form(self) -> Callable[[Any, Any], Any] | None:
        """A function for `tf.data.Dataset.map`, made of TensorFlow's operations; None if there is none.

        It takes images (B, H, W, 3) uint8 and the tiles' numbers (B,) int64, which random draws depend on, and returns
        images of the same shape; those that cannot be normalized stay as they are. Any: TensorFlow has no types.
        """
        return None

    @abstractmethod
    def apply(self, batch: TileBatch) -> Normalized:
        """The batch with its staining normalized, each tile from its own pixels and the slide's statistics only."""


Encoded = tuple[bytes, ...]  # per tile, whatever the sink's writer expects


class Writer(ABC):
    """Writes the tiles of one slide. Used by one thread; nothing appears under a final name before `commit`."""

    @abstractmethod
    def write(self, tiles: Tiles, encoded: Sequence[Any]) -> None:
        """Add tiles, in an order that does not depend on threads or batch size.

        Args:
            tiles: B tiles.
            encoded: B values of `Sink.encode`.
        """

    @abstractmethod
    def commit(self) -> Sequence[Path]:
        """Finish and rename to the final names. Returns the files or folders made; none if no tile was written."""

    @abstractmethod
    def abort(self) -> None:
        """Remove everything unfinished. Called instead of `commit` after an error; must not raise for missing files."""


class Sink(ABC):
    """Stores tiles."""

    thread_safe: ClassVar[bool] = True

    @abstractmethod
    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer for one slide.

        Args:
            info: the slide.
            scene: tile geometry and regions.
            folder: the run's output folder, which exists; the sink adds its own sub-folder.
        """

    @abstractmethod
    def encode(self, batch: TileBatch) -> Sequence[Any]:
        """One value per tile for `Writer.write`. Called in worker threads: slow work belongs here, not in `write`."""


@frozen
class Placed:
    """Tiles, and what a placement has to say about them.

    Attributes:
        tiles: all planned tiles.
        notes: sentences for the report's warnings, such as how many cells lie off the slide.
        metrics: named numbers for the report.
    """

    tiles: Tiles
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(factory=dict, hash=False)


class Placement(ABC):
    """Decides where tiles are: a grid, or one tile per cell."""

    @abstractmethod
    def place(self, slide: Slide, scene: Scene) -> Tiles | Placed:
        """All planned tiles of the slide, before regions and QC, with `index` 0..N-1 and `roi` -1.

        What was asked for and gets no tile is counted, never left out without a word: in `notes` of a `Placed`.
        """


class TileStore(ABC):
    """The stored tiles of one slide, by number, for loaders.

    Can be pickled, and read from several threads at once. Files are opened when first read.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of tiles."""

    @property
    @abstractmethod
    def locations(self) -> NDArray[np.int64] | None:
        """(n, 2) `loc_x` and `loc_y` of each tile's centre, in stored order; None if they are not stored."""

    @abstractmethod
    def read(self, number: int) -> Rgb:
        """Tile `number`, decoded: (tile_px, tile_px, 3) uint8.

        Raises:
            SlideloomError: it is damaged; the message names file and number.
        """

    def close(self) -> None:  # noqa: B027 - nothing to release is a valid answer
        """Release the file; it is opened again if a tile is read again."""


class TileStores(ABC):
    """One format of stored tiles, with one file per slide.

    Attributes:
        suffix: what file names end in after the slide's name, such as ".tfrecords".
    """

    suffix: ClassVar[str]

    @abstractmethod
    def open(self, path: Path) -> TileStore:
        """The tiles in a file.

        Raises:
            SlideloomError: the file is damaged; the message names it.
        """

    def recompressed(self, rgb: Rgb, quality: int) -> Rgb:
        """A tile (H, W, 3) uint8 as it is after JPEG of this quality, for augmentation.

        Raises:
            PluginError: the format has no image library.
        """
        raise PluginError(f"{type(self).__name__} cannot compress tiles; leave 'jpeg' out of augment")

    def tensorflow(self, paths: Sequence[Path], *, shuffle: int, seed: int) -> Any:  # Any: a tf.data.Dataset
        """The tiles of many files as a `tf.data.Dataset`, read and decoded by TensorFlow's own operations.

        Args:
            paths: the files.
            shuffle: number of tiles that wait to be drawn from, and files in random order; 0 keeps stored order.
            seed: of the order, which differs from epoch to epoch.

        Returns:
            Elements {"image": (h, w, 3) uint8, "slide": text, "loc_x": int64, "loc_y": int64}; -1 for a location that
            is not stored.

        Raises:
            PluginError: the format has no such form.
        """
        raise PluginError(f"{type(self).__name__} has no TensorFlow form; use dataset.torch, or a TFRecord sink")


class Executor(ABC):
    """Runs one function over slides, in this process, in others, or on other machines."""

    @abstractmethod
    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (number of the item, its result or the exception that lost it) in order of completion.

        `function` and the items can be pickled. Items are taken one by one when there is a worker for them, because
        making one may be work (copying a slide to a faster disk). A worker that dies gives an exception for its item,
        not for others.
        """
