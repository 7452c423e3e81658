"""What slide QC, normalizers, placements and sinks may want to know besides the slide."""

from __future__ import annotations

from attrs import field, frozen

from slideloom.slides.regions import Regions
from slideloom.slides.tiles import TileGeometry


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
