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
    """A file or folder of one slide that is complete and on the disk, and waits for its final name.

    Attributes:
        path: the final name.
        partial: where it is until then.
        tiles: number of tiles in it; 0 for companion files such as an index.
    """

    path: Path
    partial: Path
    tiles: int = 0


class Writer(ABC):
    """Writes the tiles of one slide. Used by one thread; nothing appears under a final name before `commit`.

    The writers of a slide are called in two phases, so that a slide that fails leaves nothing: `prepare` of every
    writer, then `commit` of every writer. A writer without `prepare` is committed after all others; if something fails
    later, the paths that its `commit` returned are removed, and the files that they replaced are lost.
    """

    @abstractmethod
    def write(self, tiles: Tiles, encoded: Sequence[Any]) -> None:
        """Add tiles, in an order that does not depend on threads or batch size.

        Args:
            tiles: B tiles.
            encoded: B values from `Sink.encode`.
        """

    def targets(self) -> Sequence[Path]:
        """The final names of this slide's files and folders, which `commit` replaces or removes.

        Called before the first tile. If a file with such a name is not provably slideloom's, the slide fails. Other
        files are moved aside before `commit` is called, and put back if the slide fails. If a writer returns no names,
        nothing is checked before it replaces files.
        """
        return ()

    def prepare(self) -> Sequence[Prepared]:
        """Do everything that can fail: write and sync every byte under a private name, and check tiles and bytes.

        Called once after the last `write`. Returns what `commit` will rename; nothing if no tile was written.

        Raises:
            OutputError: the disk is full, or the stored file is not what was written.
        """
        return ()

    @abstractmethod
    def commit(self) -> Sequence[Path]:
        """Rename to the final names, and return the files or folders made; none if no tile was written.

        Called after `prepare`; it calls `prepare` itself if that has not been called.
        The result of an earlier run is replaced, or removed if no tile was written; `slideloom.Draft` does this.

        Raises:
            OutputError: another run has written the slide since this writer was opened; its files are left alone.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove unfinished files. Called instead of `commit` after an error; must not raise if files are missing."""

    def notes(self) -> Sequence[str]:
        """Sentences for the warnings of the slide's report. Asked once, after `commit`."""
        return ()

    @property
    def has_phases(self) -> bool:
        """True if `prepare` is the writer's own."""
        return type(self).prepare is not Writer.prepare


class Sink(ABC):
    """Stores tiles.

    Attributes:
        stores_companions: True if it also stores `TileBatch.companions`, each under its name. Without, a pipeline that
            wants masks or context is refused.
    """

    thread_safe: ClassVar[bool] = True
    stores_companions: ClassVar[bool] = False
    keeps_pixels: bool = True

    @abstractmethod
    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer for one slide.

        Args:
            info: the slide.
            scene: tile geometry, regions, and companions of tiles.
            folder: the run's output folder, which exists; the sink adds its own sub-folder.
        """

    @abstractmethod
    def encode(self, batch: TileBatch) -> Sequence[Any]:
        """One value per tile for `Writer.write`. Called in worker threads: slow work belongs here, not in `write`."""
