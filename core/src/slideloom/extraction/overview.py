"""The overview picture of a slide: which tiles were kept, which were dropped, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord

if TYPE_CHECKING:
    from slideloom.drawing.pictures import Picture


def plan_picture(plan: SlidePlan, record: SlideRecord, *, max_px: int = 2048) -> Picture:
    """The slide with its regions, masks and kept tiles, and its dropped tiles coloured by reason."""
    from slideloom.drawing.pictures import overview

    status = np.array(record.ledger.status(), dtype=object)
    kept = np.isin(status, ["written", "candidate"])
    return overview(
        plan.slide,
        kept=plan.tiles.take(kept),
        rejected={word: plan.tiles.take(status == word) for word in sorted(set(status[~kept].tolist()))},
        regions=plan.scene.regions,
        masks=[(finding.result.mask, finding.result.extent) for finding in record.qc],
        kinds={f"qc:{label}": kind for label, kind in record.qc_kinds.items()},
        max_px=max_px,
    )
