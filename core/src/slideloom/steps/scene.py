"""Context for slide QC, tile filters, normalizers, placements and sinks, in addition to the slide."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from slideloom.slides.regions import Regions
from slideloom.slides.tiles import TileGeometry


@frozen
class Scene:
    """Context for a step, in addition to the slide.

    Attributes:
        geometry: of the tiles that will be read.
        regions: the slide's regions, or None.
        threads: how many threads a step may use at once; results must not depend on it. If the slide has `thread_safe =
            False`, they must not read it at the same time.
        told: called by `tell`; None where nobody listens.
    """

    geometry: TileGeometry
    regions: Regions | None = None
    threads: int = field(default=1, eq=False)
    told: Callable[[float], None] | None = field(default=None, eq=False, repr=False)

    def tell(self, share: float) -> None:
        """Say how much of the work is done, 0-1; for steps that take seconds. May be called from any thread.

        Raises:
            Cancelled: the caller wants no result any more; let it pass.
        """
        if self.told is not None:
            self.told(share)
