"""The contract of sinks: kept tiles in, files out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from slideloom.slides.info import SlideInfo
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.steps.scene import Scene

Encoded = tuple[bytes, ...]  # per tile, in whatever form the sink's writer expects


@frozen
class Prepared:
    """A file or folder of one slide, whole and durable, that waits for its final name.

    Attributes:
        path: the final name.
        partial: where it is until then.
        tiles: how many tiles it holds; 0 for what goes with them, such as an index.
    """

    path: Path
    partial: Path
    tiles: int = 0


class Writer(ABC):
    """Writes the tiles of one slide. Used by one thread; nothing appears under a final name before `commit`.

    A slide's writers are asked in two phases, so that a slide which fails leaves nothing: `prepare` of every writer,
    then `commit` of every writer. One that has no `prepare` is committed after all others; where a later step fails,
    what its `commit` returned is removed, and what that replaced is lost.
    """

    @abstractmethod
    def write(self, tiles: Tiles, encoded: Sequence[Any]) -> None:
        """Add tiles, in an order that does not depend on threads or batch size.

        Args:
            tiles: B tiles.
            encoded: B values from `Sink.encode`.
        """

    def targets(self) -> Sequence[Path]:
        """Files and folders that have this slide's final names, and that `commit` replaces or removes.

        Asked before the first tile. What no report proves to be slideloom's is refused; the rest is out of the way
        when `commit` is called, and comes back if the slide fails. A writer that names none replaces unasked.
        """
        return ()

    def prepare(self) -> Sequence[Prepared]:
        """Finish all that can fail: every byte written and synced under a private name, tiles and bytes counted.

        Called once after the last `write`. Returns what `commit` will name; nothing if no tile was written.

        Raises:
            OutputError: there is no room, or what is stored is not what was written.
        """
        return ()

    @abstractmethod
    def commit(self) -> Sequence[Path]:
        """Rename to the final names, and return the files or folders made; none if no tile was written.

        Called after `prepare`, which it calls itself if nobody has.
        What an earlier run made of the slide is replaced, or removed if no tile was written; `slideloom.Draft` does it.

        Raises:
            OutputError: another run has written the slide since this writer was opened; its files are left alone.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove unfinished files. Called instead of `commit` after an error; must not raise if files are missing."""

    @property
    def has_phases(self) -> bool:
        """True if `prepare` is the writer's own."""
        return type(self).prepare is not Writer.prepare


class Sink(ABC):
    """Stores tiles."""

    thread_safe: ClassVar[bool] = True
    keeps_pixels: bool = True

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
