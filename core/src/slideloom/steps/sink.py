"""The contract of sinks: kept tiles in, files out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from slideloom.slides.slide import SlideInfo
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.steps.scene import Scene

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
        """Finish and rename to the final names. Returns the files or folders made; none if no tile was written.

        What an earlier run made of the slide is replaced, or removed if no tile was written; `slideloom.Draft` does it.

        Raises:
            OutputError: another run has written the slide since this writer was opened; its files are left alone.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove everything unfinished. Called instead of `commit` after an error; must not raise for missing files."""


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
