"""The picture of a planned slide: what was kept, what was dropped and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slideloom.planning.plan import SlidePlan

if TYPE_CHECKING:
    from slideloom.drawing.pictures import Picture
from slideloom.extraction.account import qc_kinds


def plan_picture(plan: SlidePlan, *, max_px: int = 2048) -> Picture:
    """The slide with regions, masks, kept tiles, and dropped tiles by reason."""
    from slideloom.drawing.pictures import overview

    status = np.array(plan.ledger.status(), dtype=object)
    every = plan.ledger.tiles
    kept = np.isin(status, ["written", "candidate"])
    return overview(
        plan.slide,
        kept=every.take(kept),
        rejected={word: every.take(status == word) for word in sorted(set(status[~kept].tolist()))},
        regions=plan.scene.regions,
        masks=[(result.mask, result.extent) for _, result in plan.qc],
        kinds={f"qc:{label}": kind for label, kind in qc_kinds(plan).items()},
        max_px=max_px,
    )
