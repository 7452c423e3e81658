"""The tiles of a planned slide as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slideloom.base.csv_tables import csv_text
from slideloom.base.errors import PluginError
from slideloom.planning.ledger import Ledger
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord

if TYPE_CHECKING:
    import pandas as pd


def tile_frame(plan: SlidePlan, record: SlideRecord, *, every: bool = False) -> pd.DataFrame:
    """One row per kept tile; see `WSI.tile_dataframe`.

    Args:
        plan: the slide's plan.
        record: what was decided about its tiles.
        every: include dropped tiles, with a column `status` ("kept", or the step that dropped the tile).

    Raises:
        PluginError: pandas is not installed; the core does not require it.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise PluginError("a table of tiles needs pandas, which is not installed: pip install pandas") from error

    ledger = record.ledger
    tiles = ledger.tiles if every else ledger.tiles.take(ledger.candidates())
    owners = [plan.regions[roi] if roi >= 0 else None for roi in tiles.roi.tolist()]
    columns: dict[str, Any] = {
        "loc_x": tiles.loc_x,
        "loc_y": tiles.loc_y,
        "grid_x": tiles.grid_x,
        "grid_y": tiles.grid_y,
        "roi_name": [owner.name if owner else None for owner in owners],
        "roi_desc": [owner.about if owner else None for owner in owners],
        "label": [owner.label if owner else None for owner in owners],
    }
    if every:
        columns["status"] = kept_or_dropped(ledger)
    frame = pd.DataFrame(columns)
    return frame.astype(dict.fromkeys(("roi_name", "roi_desc", "label"), object))


def named_by_place(frame: pd.DataFrame, *, slide: str | None = None) -> pd.DataFrame:
    """The table with an index of text, "SLIDE-LOC_X-LOC_Y".

    Args:
        frame: with the columns loc_x and loc_y.
        slide: the name of the slide; by default as the column `slide` says.
    """
    slides = frame["slide"].tolist() if slide is None else [slide] * len(frame)
    places = zip(slides, frame["loc_x"].tolist(), frame["loc_y"].tolist(), strict=True)
    return frame.set_axis([f"{name}-{x}-{y}" for name, x, y in places], axis="index")


def kept_or_dropped(ledger: Ledger) -> list[str]:
    """For each planned tile "kept", or the step that dropped it."""
    return ["kept" if word == "candidate" else word for word in ledger.status()]


def frame_csv(frame: pd.DataFrame) -> str:
    """A table as CSV like that of `DataFrame.to_csv`, but safe from formulas in spreadsheets."""
    cells = frame.astype(object).where(frame.notna(), "")
    return csv_text(frame.columns, cells.itertuples(index=False, name=None))
