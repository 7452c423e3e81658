"""The contract of placements: a slide in, the positions of its tiles out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from attrs import field, frozen

from slideloom.slides.slide import Slide
from slideloom.slides.tiles import Tiles
from slideloom.steps.scene import Scene


@frozen
class Placed:
    """Planned tiles, with notes and metrics about them.

    Attributes:
        tiles: all planned tiles.
        notes: sentences for the report's warnings, such as how many cells lie off the slide.
        metrics: named numbers for the report.
    """

    tiles: Tiles
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(factory=dict, hash=False)


class Placement(ABC):
    """Decides where tiles are placed: on a grid, or one per cell."""

    @abstractmethod
    def place(self, slide: Slide, scene: Scene) -> Tiles | Placed:
        """All planned tiles of the slide, before regions and QC, with `index` 0..N-1 and `roi` -1.

        Anything that gets no tile although it was requested is counted in `notes` of a `Placed`, never dropped
        silently.
        """
