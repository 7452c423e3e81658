"""The tiles of a planned slide as a table of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slideloom.planning.ledger import Ledger
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord

if TYPE_CHECKING:
    import pandas as pd


def tile_frame(plan: SlidePlan, record: SlideRecord, *, every: bool = False) -> pd.DataFrame:
    """One row per tile that nothing rejected; see `WSI.tile_dataframe`.

    Args:
        plan: of the slide.
        record: what was decided about its tiles.
        every: also tiles that were dropped, with a column `status` ("kept", or the step that dropped them).
    """
    import pandas as pd

    ledger = record.ledger
    tiles = ledger.tiles if every else ledger.tiles.take(ledger.candidates())
    owners = [plan.regions[roi] if roi >= 0 else None for roi in tiles.roi.tolist()]
    columns: dict[str, Any] = {
        "loc_x": tiles.loc_x,
        "loc_y": tiles.loc_y,
        "grid_x": tiles.grid_x,
        "grid_y": tiles.grid_y,
        "roi_name": [owner.name if owner else None for owner in owners],
        "roi_desc": [owner.description if owner else None for owner in owners],
        "label": [owner.label if owner else None for owner in owners],
    }
    if every:
        columns["status"] = kept_or_dropped(ledger)
    frame = pd.DataFrame(columns)
    return frame.astype(dict.fromkeys(("roi_name", "roi_desc", "label"), object))


def kept_or_dropped(ledger: Ledger) -> list[str]:
    """For each planned tile "kept", or the step that dropped it."""
    return ["kept" if word == "candidate" else word for word in ledger.status()]
