"""Annotations from a CSV file or a table of pandas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slideloom import ConfigError
from slideloom_cohort.annotations import REQUIRED, Annotations, read_annotations

if TYPE_CHECKING:
    import pandas as pd

_FRAME = Path("a table of pandas")


def annotations_from(given: str | Path | pd.DataFrame | None) -> Annotations | None:
    """The annotations; None if there are none.

    Raises:
        ConfigError: they have mistakes.
    """
    if given is None:
        return None
    if isinstance(given, str | Path):
        return read_annotations(Path(given).expanduser())
    missing = [name for name in REQUIRED if name not in given.columns]
    if missing:
        raise ConfigError(f"annotations: no column '{missing[0]}'; they need the columns {' and '.join(REQUIRED)}")
    columns = tuple(map(str, given.columns))
    cells = given.astype(object).where(given.notna(), "").map(str)
    rows: dict[str, dict[str, str]] = {}
    for values in cells.itertuples(index=False, name=None):
        row = {name: value.strip() for name, value in zip(columns, values, strict=True)}
        blank = [name for name in REQUIRED if not row[name]]
        if blank or row["slide"] in rows:
            why = f"{blank[0]} is blank" if blank else f"slide '{row['slide']}' is there twice"
            raise ConfigError(f"annotations: {why}; a slide has one row, with patient and slide")
        rows[row["slide"]] = row
    return Annotations(_FRAME, columns, rows, {slide: number for number, slide in enumerate(rows, 1)})


def annotations_of(slides: Sequence[str]) -> Annotations:
    """Annotations that say no more than which slides there are, each its own patient."""
    rows = {slide: {"patient": slide, "slide": slide} for slide in slides}
    return Annotations(
        Path("the slides' names"), REQUIRED, rows, {slide: number for number, slide in enumerate(rows, 1)}
    )
