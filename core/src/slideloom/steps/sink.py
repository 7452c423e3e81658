"""The contract of sinks: kept tiles in, files out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from slideloom.slides.slide import SlideInfo
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.steps.scene import Scene

Encoded = tuple[bytes, ...]  # per tile, in whatever form the sink's writer expects


class Writer(ABC):
    """Writes the tiles of one slide. Used by one thread; no file gets its final name before `commit`."""

    @abstractmethod
    def write(self, tiles: Tiles, encoded: Sequence[Any]) -> None:
        """Add tiles, in an order that does not depend on threads or batch size.

        Args:
            tiles: B tiles.
            encoded: B values from `Sink.encode`.
        """

    @abstractmethod
    def commit(self) -> Sequence[Path]:
        """Finish, and give files their final names. Returns the files or folders made; none if no tile was written."""

    @abstractmethod
    def abort(self) -> None:
        """Remove unfinished files. Called instead of `commit` after an error; must not raise if files are missing."""


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
