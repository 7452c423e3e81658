"""Cell tables: QuPath's measurement exports and plain CSV, read row by row."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import SlideError, Table, open_table, slide_name

Unit = Literal["px", "um"]
_CENTROID = re.compile(r"centroid[\W_]*(?P<axis>[xy])(?![^\W\d_])(?P<unit>.*)", re.IGNORECASE)
_PIXELS = re.compile(r"px|pixels?", re.IGNORECASE)
# Every form the letter µ may have taken: U+00B5, U+03BC, "u", two bytes read as Latin-1, or a replacement character.
_MICRONS = re.compile(r"(u|[^\x00-\x7f]{1,3}|\?{1,2})m|microns?|micromet(er|re)s?", re.IGNORECASE)
_AROUND_UNIT = ' \t:;.,_-^()[]{}/"'
_CELLS = frozenset({"cell", "detection", "pathcellobject", "pathdetectionobject"})
_CLASS_COLUMNS = ("classification", "class")
_TYPE_COLUMNS = ("object type",)
_AT_ONCE = 50_000

Test = Callable[[Sequence[str]], bool]


@frozen
class CellTable:
    """Points of a table.

    Attributes:
        points: (N, 2) float64 x and y, in the table's unit.
        unit: "px" or "um".
        names_slides: True if a column says which slide a cell belongs to; otherwise all rows were used.
        notes: what had to be guessed.
    """

    points: NDArray[np.float64] = field(eq=False)
    unit: Unit
    names_slides: bool
    notes: tuple[str, ...] = ()


def qupath_points(
    path: Path, *, slide: str, whole: bool = False, classes: Sequence[str] = (), unit: Unit | None = None
) -> CellTable:
    """Centroids in a measurement table of QuPath.

    If there is a column `Image`, rows of other slides are left out; if there is a column `Object type`, only cells and
    detections are used.

    Args:
        path: of the table.
        slide: name of the slide.
        whole: True if other slides have the same name but for the folders, so that rows must name it with these.
        classes: the only classes to use; by default all.
        unit: of the centroids, if the names of their columns do not give it.

    Raises:
        SlideError: it has no centroids, their unit is not known, a cell cannot be read, or no row is a cell of the
            slide.
    """
    with open_table(path, fits=_has_centroids, error=SlideError) as table:
        columns, own_unit = _centroids(table, unit)
        of_slide = _only(table.header, ("image",), lambda text: _is_image_of(text, slide, whole=whole))
        tests = [of_slide, _only(table.header, _TYPE_COLUMNS, lambda text: text.lower().replace(" ", "") in _CELLS)]
        if classes:
            wanted = set(classes)
            by_class = _only(table.header, _CLASS_COLUMNS, lambda text: text in wanted)
            if by_class is None:
                raise table.mistake("has no column Classification, so `classes` cannot choose")
            tests.append(by_class)
        points, count = _collected(table, columns, [test for test in tests if test])
        if not len(points) and count:
            raise table.mistake(
                f"none of its {count} rows is a cell or detection of {slide}"
                + (f" with class {', '.join(classes)}" if classes else "")
                + "; do its columns Image, Object type and Classification fit?"
            )
        return CellTable(points, own_unit, of_slide is not None, _notes(table, count))


def csv_points(path: Path, *, slide: str, x: str, y: str, unit: Unit, whole: bool = False) -> CellTable:
    """Points of a plain table; with a column `slide`, those of that slide. Arguments are those of `qupath_points`.

    Raises:
        SlideError: a column is missing or named after another unit, or a number cannot be read.
    """
    wanted = (x.strip().lower(), y.strip().lower())

    def fits(header: Sequence[str]) -> bool:
        return set(wanted) <= {title.lower() for title in header}

    with open_table(path, fits=fits, error=SlideError) as table:
        titles = [title.lower() for title in table.header]
        missing = [name for name, title in zip((x, y), wanted, strict=True) if title not in titles]
        if missing:
            raise table.mistake(f"has no column {missing[0]!r}, but {table.shown() or 'none'}; name it by `x` and `y`")
        columns = (titles.index(wanted[0]), titles.index(wanted[1]))
        for column in columns:
            named = _unit_of(re.split(r"[\W_]", table.header[column])[-1])
            if named in ("px", "um") and named != unit:
                raise table.mistake(
                    f'is named as {named}, but taken as {unit}; set unit = "{named}", or rename the column',
                    line=table.header_line,
                    column=table.header[column],
                )
        of_slide = _only(table.header, ("slide",), lambda text: _is_image_of(text, slide, whole=whole))
        points, count = _collected(table, columns, [of_slide] if of_slide else [])
        return CellTable(points, unit, of_slide is not None, _notes(table, count))


def _notes(table: Table, count: int) -> tuple[str, ...]:
    empty = [] if count else ["has no rows"]
    return tuple(f"{table.path.name}: {note}" for note in (*table.notes, *empty))


def _has_centroids(header: Sequence[str]) -> bool:
    return {found["axis"].lower() for title in header if (found := _CENTROID.fullmatch(title))} == {"x", "y"}


def _centroids(table: Table, unit: Unit | None) -> tuple[tuple[int, int], Unit]:
    """Columns of x and y, and their unit: the first unit that both columns have."""
    places: dict[str, dict[str, int]] = {}
    for position, title in enumerate(table.header):
        if found := _CENTROID.fullmatch(title):
            places.setdefault(_unit_of(found["unit"]), {}).setdefault(found["axis"].lower(), position)
    if not _has_centroids(table.header):
        raise table.mistake(
            f"names no centroids ({table.shown() or 'no columns'}); export measurements with Centroid X and Centroid Y"
        )
    whole = [(name, axes) for name, axes in places.items() if len(axes) == 2]
    if not whole:
        listed = " and ".join(f"{axis} in {name or 'no unit'}" for name, axes in places.items() for axis in axes)
        raise table.mistake(f"has {listed}; export the measurements again", line=table.header_line)
    name, axes = next(((name, axes) for name, axes in whole if name in ("px", "um")), whole[0])
    column = table.header[axes["x"]]
    if name in ("px", "um"):
        return (axes["x"], axes["y"]), "px" if name == "px" else "um"
    if name:
        raise table.mistake(
            f"the unit {name!r} is not known; export in px or um, or rename both columns to 'Centroid X um' and so on",
            line=table.header_line,
            column=column,
        )
    if unit is None:
        raise table.mistake(
            'names no unit; say which it is: unit = "px" (level-0 pixels) or unit = "um" (microns)',
            line=table.header_line,
            column=column,
        )
    return (axes["x"], axes["y"]), unit


def _unit_of(text: str) -> str:
    """The unit that a text names: "px", "um", "" for none, or another one unchanged."""
    text = text.strip(_AROUND_UNIT)
    if _PIXELS.fullmatch(text):
        return "px"
    return "um" if _MICRONS.fullmatch(text) else text


def _is_image_of(text: str, slide: str, *, whole: bool) -> bool:
    """True if an image's name is the slide's: with or without extension, and optionally followed by the series.

    Folders before the name count only if it must be `whole`.
    """
    text = text.strip()
    folders, slash, own = text.replace("\\", "/").rpartition("/")
    name = slide_name(Path(own))
    return (
        slide in (text, f"{folders}{slash}{name}" if whole else name)
        or text.startswith(f"{slide} - ")
        or re.match(rf"{re.escape(slide)}\.\w+ - ", text) is not None
    )


def _only(header: Sequence[str], names: Sequence[str], test: Callable[[str], bool]) -> Test | None:
    """A test of a row by the first of these columns that exists, or None."""
    titles = [title.lower() for title in header]
    position = next((titles.index(name) for name in names if name in titles), None)
    if position is None:
        return None
    known: dict[str, bool] = {}  # few distinct texts, many rows

    def check(row: Sequence[str]) -> bool:
        text = row[position]
        if text not in known:
            known[text] = test(text.strip())
        return known[text]

    return check


def _collected(table: Table, columns: tuple[int, int], tests: Sequence[Test]) -> tuple[NDArray[np.float64], int]:
    """(N, 2) points of the rows that pass, and the number of all rows; only a few rows are in memory as text."""
    numbers: tuple[Any, Any] = (array("d"), array("d"))
    texts: tuple[list[str], list[str]] = ([], [])
    lines: list[int] = []
    count = 0

    def convert() -> None:
        for axis, column in enumerate(columns):
            numbers[axis].extend(table.numbers(texts[axis], lines, column=table.header[column]))
            texts[axis].clear()
        lines.clear()

    for line, row in table.rows():
        count += 1
        if all(test(row) for test in tests):
            texts[0].append(row[columns[0]])
            texts[1].append(row[columns[1]])
            lines.append(line)
            if len(lines) == _AT_ONCE:
                convert()
    convert()
    return np.stack([np.array(axis, np.float64) for axis in numbers], axis=1), count
