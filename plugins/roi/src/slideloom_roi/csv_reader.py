"""Reads QuPath CSV: one row per vertex; the rows of a region have the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from attrs import frozen
from numpy.typing import NDArray
from slideloom import RoiError, Table, open_table, unguarded

from slideloom_roi.drafts import MAX_COORDINATE, Draft, Mistake, Notes, Parsed, polygon_of

REQUIRED = ("roi_name", "x_base", "y_base")
# Written by `write_csv` and our QuPath script: which region a ring is of, which part of it, and 0 or the hole's number.
STRUCTURE = ("region", "part", "ring")


def parse_csv(path: Path, raw: bytes, *, label_column: str = "label") -> Parsed:
    """The regions in a CSV file.

    Columns may come in any order and case; separators, decimals and encodings are those of `slideloom.open_table`.
    Extra columns are ignored.

    Args:
        path: of the file, for messages.
        raw: its content.
        label_column: the column with labels; it may be missing, unless its name is not "label".

    Raises:
        RoiError, Mistake: it cannot be parsed.
    """
    with open_table(path, fits=_has_regions, error=RoiError, file=BytesIO(raw)) as table:
        rows = _rows(table, label_column)
        notes = Notes()
        points = _points(rows)
        if all(name in rows.columns for name in STRUCTURE):
            return Parsed(_structured(rows, points), table.notes, is_final=True)
        drafts = _grouped(rows, points, notes)
        return Parsed(drafts, [*table.notes, *notes.sentences()])


@frozen
class _Rows:
    """Columns by lower-case name, all of equal length, and the line on which each row ends."""

    table: Table
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    label: str

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"


def _has_regions(header: Sequence[str]) -> bool:
    return set(REQUIRED) <= {name.lower() for name in header}


def _rows(table: Table, label_column: str) -> _Rows:
    if not _has_regions(table.header):
        raise table.mistake(f"must name the columns ROI_Name, X_base and Y_base; it has {table.shown() or 'none'}")
    names = [name.lower() for name in table.header]
    label = label_column.strip().lower()
    if label != "label" and label not in names:
        raise table.mistake(f"there is no column {label_column!r} for labels; there are {table.shown()}")
    doubled = [name for name in (*REQUIRED, label, *STRUCTURE) if names.count(name) > 1]
    if doubled:
        raise table.mistake(f"column {doubled[0]!r} is there twice; remove one", line=table.header_line)
    # One long list, because a million short ones would keep the garbage collector busy.
    values: list[str] = []
    lines: list[int] = []
    for line, cells in table.rows():
        values += cells
        lines.append(line)
    width = len(names)
    return _Rows(table, {name: values[i::width] for i, name in enumerate(names)}, lines, label)


def _points(rows: _Rows) -> NDArray[np.float64]:
    points = np.empty((len(rows.lines), 2))
    for axis, name in enumerate(("x_base", "y_base")):
        cells = rows.columns[name]
        points[:, axis] = rows.table.numbers(cells, rows.lines, column=name)
        beyond = np.flatnonzero(np.abs(points[:, axis]) > MAX_COORDINATE)
        if len(beyond):
            row = int(beyond[0])
            raise rows.table.mistake(f"{cells[row]!r} is not a position on a slide", line=rows.lines[row], column=name)
    return points


def _codes(values: Sequence[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """(N,) number of each value, in order of first appearance, and the values."""
    known: dict[Any, int] = {}
    codes = np.fromiter((known.setdefault(value, len(known)) for value in values), np.int64, len(values))
    return codes, list(known)


def _grouped(table: _Rows, points: NDArray[np.float64], notes: Notes) -> list[Draft]:
    """One draft per name, or more where rows of one name do not belong together."""
    names = [unguarded(name.strip()) for name in table.columns["roi_name"]]
    if "" in names:
        raise Mistake(f"{table.place(names.index(''))}: the region has no name")
    labels = [unguarded(label.strip()) for label in table.columns.get(table.label, ("",) * len(names))]
    codes, keys = _codes(list(zip(names, labels, strict=True)))
    groups, members = _merged_labels(keys, notes)
    group = groups[codes]
    drafts = []
    for (name, label), rows in zip(members, _rows_by(group, len(members)), strict=True):
        for own in _split_runs(points, rows, name, notes):
            shape = polygon_of([points[own]])
            drafts.append((int(own[0]), Draft(name, table.place(int(own[0])), shape, label or None)))
    return [draft for _, draft in sorted(drafts, key=lambda item: item[0])]


def _merged_labels(keys: Sequence[tuple[str, str]], notes: Notes) -> tuple[NDArray[np.int64], list[tuple[str, str]]]:
    """The group of each (name, label), and the groups; rows without a label belong to the name's first label."""
    first_label: dict[str, str] = {}
    for name, label in keys:
        if label and name not in first_label:
            first_label[name] = label
        elif label:
            notes.add("one name with several labels, taken as several regions", name)
    groups, members = _codes([(name, label or first_label.get(name, "")) for name, label in keys])
    return groups, members


def _rows_by(group: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.cumsum(np.bincount(group, minlength=count))[:-1]) if count else []


def _split_runs(
    points: NDArray[np.float64], rows: NDArray[np.int64], name: str, notes: Notes
) -> list[NDArray[np.int64]]:
    """The rows of one name, split if two regions were given the same name.

    Rows of a region need not be adjacent. They are split only if they cross together but not when split.
    """
    if rows[-1] - rows[0] + 1 == len(rows):
        return [rows]
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    if _is_sound(points[rows]) or not all(_is_sound(points[run]) for run in runs):
        return [rows]
    notes.add("one name for several separate outlines, taken as several regions", name)
    return runs


def _is_sound(points: NDArray[np.float64]) -> bool:
    polygon = polygon_of([points])
    return polygon is not None and bool(shapely.is_valid(polygon))


def _structured(table: _Rows, points: NDArray[np.float64]) -> list[Draft]:
    """Regions as `write_csv` stores them: nothing is guessed, and text is used unchanged."""
    columns = table.columns
    ring, keys = _codes(list(zip(columns["region"], columns["part"], columns["ring"], strict=True)))
    parts: dict[str, dict[str, dict[str, NDArray[np.float64]]]] = {}
    first: dict[str, int] = {}
    for (name, part, number), rows in zip(keys, _rows_by(ring, len(keys)), strict=True):
        first.setdefault(name, int(rows[0]))
        parts.setdefault(name, {}).setdefault(part, {})[number] = points[rows]
    labels = columns.get(table.label, ("",) * len(points))
    texts = columns.get("description", ("",) * len(points))
    drafts = []
    for stored, row in first.items():
        name = unguarded(stored)
        shape = _assembled(parts[stored], f"{table.place(row)}, region {name!r}")
        label, text = unguarded(labels[row]), unguarded(texts[row])
        drafts.append(Draft(name, table.place(row), shape, label or None, text or None))
    return drafts


def _assembled(parts: Mapping[str, Mapping[str, NDArray[np.float64]]], place: str) -> Any | None:
    polygons = []
    for part, rings in parts.items():
        if "0" not in rings:
            raise Mistake(f"{place}: part {part!r} has no ring 0, its outline")
        holes = [ring for number, ring in rings.items() if number != "0"]
        polygons.append(polygon_of([rings["0"], *holes]))
    found = [polygon for polygon in polygons if polygon is not None]
    if len(found) <= 1:
        return found[0] if found else None
    return shapely.multipolygons(found)
