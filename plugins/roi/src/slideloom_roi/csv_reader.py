"""QuPath CSV: one row per vertex, rows of a region under one name."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from attrs import frozen
from numpy.typing import NDArray

from slideloom_roi.drafts import MAX_COORDINATE, Draft, Mistake, Notes, Parsed, polygon_of

REQUIRED = ("roi_name", "x_base", "y_base")
# Written by `write_csv` and our QuPath script: which region a ring is of, which part of it, and 0 or the hole's number.
STRUCTURE = ("region", "part", "ring")
_SEPARATORS = ",;\t|"


def parse_csv(text: str, *, label_column: str = "label") -> Parsed:
    """The regions in the text of a CSV file.

    Columns may come in any order and case, separated by comma, semicolon, tab or bar; decimal commas are read where
    they cannot be separators. Extra columns are ignored.

    Args:
        text: the whole file.
        label_column: the column that holds labels; it need not be there, unless it was named other than "label".

    Raises:
        Mistake: it cannot be understood.
    """
    table = _table(text, label_column)
    notes = Notes()
    points = _points(table, notes)
    if all(name in table.columns for name in STRUCTURE):
        drafts = _structured(table, points)
        return Parsed(drafts, notes.sentences(), is_final=True)
    drafts = _grouped(table, points, notes)
    return Parsed(drafts, notes.sentences())


@frozen
class _Table:
    """Columns by lower-case name, all of equal length, and the line each row ends on."""

    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    label: str

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"


def _table(text: str, label_column: str) -> _Table:
    stream = io.StringIO(text, newline="")
    header, skipped = "", 0
    for line in stream:
        header = line.strip()
        if header and not header.lower().startswith("sep="):
            break
        skipped += 1
    names, separator = _header(header)
    label = label_column.strip().lower()
    if label != "label" and label not in names:
        raise Mistake(f"there is no column {label_column!r} for labels; there are {', '.join(names)}")
    doubled = [name for name in (*REQUIRED, label, *STRUCTURE) if names.count(name) > 1]
    if doubled:
        raise Mistake(f"column {doubled[0]!r} is there twice; remove one")
    width = len(names)
    # One long list: a million short ones would keep the garbage collector busy.
    values: list[str] = []
    lines: list[int] = []
    reader = csv.reader(stream, delimiter=separator)
    try:
        for row in reader:
            if len(row) == width and any(row):
                values += row
            elif any(value.strip() for value in row):
                values += _evened(row, names, f"line {reader.line_num + skipped + 1}")
            else:
                continue
            lines.append(reader.line_num + skipped + 1)
    except csv.Error as error:
        raise Mistake(f"line {reader.line_num + skipped + 1}: {error}; is a quotation mark left open?") from error
    return _Table({name: values[i::width] for i, name in enumerate(names)}, lines, label)


def _header(line: str) -> tuple[list[str], str]:
    """Lower-case column names, and the separator that gives the required ones."""
    for separator in _SEPARATORS:
        try:
            names = [name.strip().lower() for name in next(csv.reader([line], delimiter=separator), [])]
        except csv.Error:
            continue
        if all(name in names for name in REQUIRED):
            return names, separator
    raise Mistake(f"the first line must name the columns ROI_Name, X_base and Y_base; it is {line[:80]!r}")


def _evened(row: list[str], names: list[str], place: str) -> list[str]:
    """The row as long as the header: empty values at the end are cut or filled in."""
    needed = 1 + max(names.index(name) for name in REQUIRED)
    if any(value.strip() for value in row[len(names) :]):
        raise Mistake(
            f"{place}: {len(row)} values under {len(names)} column names; "
            "if numbers have decimal commas, separate columns by semicolons"
        )
    if len(row) < needed:
        raise Mistake(f"{place}: {len(row)} values under {len(names)} column names")
    return row[: len(names)] + [""] * (len(names) - len(row))


def _points(table: _Table, notes: Notes) -> NDArray[np.float64]:
    points = np.empty((len(table.lines), 2))
    for axis, name in enumerate(("x_base", "y_base")):
        points[:, axis] = _numbers(table, name, notes)
    bad = np.flatnonzero(~(np.abs(points) <= MAX_COORDINATE).all(axis=1))
    if len(bad):
        row = int(bad[0])
        given = f"{table.columns['x_base'][row]!r}, {table.columns['y_base'][row]!r}"
        raise Mistake(f"{_ring_at(table, row)}: {given} is no position on a slide")
    return points


def _numbers(table: _Table, name: str, notes: Notes) -> list[float]:
    column = table.columns[name]
    try:
        return [_number(value) for value in column] if _has_underscore(column) else list(map(float, column))
    except ValueError:
        pass
    numbers = []
    for row, value in enumerate(column):
        # "1,5" is one and a half; "1,234.5" and "1,234,567" are not guessed at.
        is_decimal_comma = value.count(",") == 1 and "." not in value
        try:
            numbers.append(_number(value.replace(",", ".") if is_decimal_comma else value))
        except ValueError:
            raise Mistake(f"{_ring_at(table, row)}: {name} {value!r} is not a number") from None
    notes.add("decimal commas were read as points in", name)
    return numbers


def _has_underscore(column: Sequence[str]) -> bool:
    return any("_" in value for value in column)


def _number(value: str) -> float:
    """As float, but Python's 1_000 is no number in a file."""
    if "_" in value:
        raise ValueError(value)
    return float(value)


def _ring_at(table: _Table, row: int) -> str:
    return f"{table.place(row)}, ROI {table.columns['roi_name'][row]!r}"


def _codes(values: Sequence[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """(N,) number of each value, counted in order of first appearance, and the values."""
    known: dict[Any, int] = {}
    codes = np.fromiter((known.setdefault(value, len(known)) for value in values), np.int64, len(values))
    return codes, list(known)


def _grouped(table: _Table, points: NDArray[np.float64], notes: Notes) -> list[Draft]:
    """One draft per name, or more where rows of one name do not belong together."""
    names = [name.strip() for name in table.columns["roi_name"]]
    if "" in names:
        raise Mistake(f"{table.place(names.index(''))}: the region has no name")
    labels = [label.strip() for label in table.columns.get(table.label, ("",) * len(names))]
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
    """For each (name, label) its group, and the groups: rows without label go with the name's first label."""
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
    """The rows of one name, split where two regions were given the same name.

    Rows of a region need not be adjacent. They are taken apart only if together they cross and apart they do not.
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


def _structured(table: _Table, points: NDArray[np.float64]) -> list[Draft]:
    """Regions as `write_csv` stores them: nothing is guessed, and text is taken as it stands."""
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
    for name, row in first.items():
        place = f"{table.place(row)}, region {name!r}"
        shape = _assembled(parts[name], place)
        drafts.append(Draft(name, table.place(row), shape, labels[row] or None, texts[row] or None))
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
