"""The contract of placements: a slide in, the places of its tiles out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from slideloom.slides.slide import Slide
from slideloom.slides.tiles import Tiles
from slideloom.steps.scene import Scene


class Placement(ABC):
    """Decides where tiles are: a grid, or one tile per cell."""

    @abstractmethod
    def place(self, slide: Slide, scene: Scene) -> Tiles:
        """All planned tiles of the slide, before regions and QC, with `index` 0..N-1 and `roi` -1."""
