"""Regions of interest as values, as an ROI source delivers them."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from shapely.geometry import MultiPolygon, Polygon

RoiMethod = Literal["auto", "inside", "outside", "ignore"]


@frozen
class Region:
    """One region of interest.

    Attributes:
        name: unique within the slide, such as "ROI_0".
        shape: valid, not empty, in level-0 pixels of the uncropped slide; holes are interior rings.
        label: its class, or None.
        description: free text, or None.
        holes: names of the regions of the file that were taken as its holes.
    """

    name: str
    shape: Polygon | MultiPolygon
    label: str | None = None
    description: str | None = None
    holes: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """What tables of tiles say of it: its description, or its name, and which or how many holes it has."""
        rings = [len(part.interiors) for part in getattr(self.shape, "geoms", [self.shape])]
        count = sum(rings)
        told = f"holes: {', '.join(self.holes)}" if self.holes else f"{count} hole{'s' * (count > 1)}" * (count > 0)
        return f"{self.description or self.name} ({told})" if told else self.description or self.name


@frozen
class Regions:
    """The regions of one slide, in an order that never changes between runs.

    A source that read no file may still give notes, such as the name of a file that seems to be meant for the slide.
    Then there are no items, and tiles are chosen as if the source had returned None.

    Attributes:
        items: the regions.
        notes: what was repaired, converted or left out on reading, one sentence each; they go to the report.
        source: the file they came from, as text; "" where no file was read and there are notes only.
    """

    items: tuple[Region, ...] = ()
    notes: tuple[str, ...] = field(default=())
    source: str = ""
