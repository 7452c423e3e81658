"""Tables of cells: QuPath's measurement exports and plain CSV, read row by row."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import SlideError, slide_name

Unit = Literal["px", "um"]
# Whatever became of the letter µ on the way: U+00B5, U+03BC, "u", two bytes read as Latin-1, or a replacement.
_CENTROID = re.compile(r"^centroid\s*(?P<axis>[xy])\b\W*(?P<unit>px|pixels?|.{0,4}?m)?\W*$", re.IGNORECASE)
_CELLS = frozenset({"cell", "detection", "pathcellobject", "pathdetectionobject"})
_CLASS_COLUMNS = ("classification", "class")
_TYPE_COLUMNS = ("object type",)
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@frozen
class Table:
    """Points of a table.

    Attributes:
        points: (N, 2) float64 x and y, in the table's unit.
        unit: "px" or "um".
    """

    points: NDArray[np.float64] = field(eq=False)
    unit: Unit


def qupath_points(path: Path, *, slide: str, classes: Sequence[str] = ()) -> Table:
    """Centroids in a measurement table of QuPath.

    Separators are comma, tab and semicolon (then with decimal commas); the unit is in the column's name. Where there
    is a column `Image`, rows of other slides are left out; where there is one `Object type`, only cells and detections
    are taken.

    Args:
        path: of the table.
        slide: name of the slide.
        classes: taken only; by default all.

    Raises:
        SlideError: it has no centroids, a cell cannot be read, or no row is a cell of the slide.
    """
    with _rows(path, _has_centroids) as (header, rows, is_decimal_comma):
        columns: dict[str, tuple[int, Unit]] = {}
        for position, title in enumerate(header):
            found = _CENTROID.match(title)
            if found and found["axis"].lower() not in columns:
                unit: Unit = "px" if (found["unit"] or "").lower().startswith("p") else "um"
                columns[found["axis"].lower()] = (position, unit)
        (x, unit), (y, other) = columns["x"], columns["y"]
        if unit != other:
            raise SlideError(f"{path}: x is in {unit} and y in {other}; export the measurements again")
        chosen = [
            _only(header, ("image",), lambda text: _is_image_of(text, slide)),
            _only(header, _TYPE_COLUMNS, lambda text: text.lower().replace(" ", "") in _CELLS),
        ]
        if classes:
            wanted = set(classes)
            by_class = _only(header, _CLASS_COLUMNS, lambda text: text in wanted)
            if by_class is None:
                raise SlideError(f"{path}: has no column Classification, so `classes` cannot choose")
            chosen.append(by_class)
        points, count = _collect(
            path, rows, (x, y), [test for test in chosen if test], is_decimal_comma=is_decimal_comma
        )
    if not len(points) and count:
        raise SlideError(
            f"{path}: none of its {count} rows is a cell or detection of {slide}"
            + (f" with class {', '.join(classes)}" if classes else "")
            + "; do its columns Image, Object type and Classification fit?"
        )
    return Table(points, unit)


def csv_points(path: Path, *, slide: str, x: str, y: str, unit: Unit) -> Table:
    """Points of a plain table; with a column `slide`, those of that slide.

    Raises:
        SlideError: a column is missing, or a number cannot be read.
    """
    wanted = {x.lower(), y.lower()}
    with _rows(path, lambda header: wanted <= {title.lower() for title in header}) as (header, rows, is_decimal_comma):
        titles = [title.lower() for title in header]
        test = _only(header, ("slide",), lambda text: _is_image_of(text, slide))
        tests = [test] if test else []
        points, _ = _collect(
            path, rows, (titles.index(x.lower()), titles.index(y.lower())), tests, is_decimal_comma=is_decimal_comma
        )
    return Table(points, unit)


def _has_centroids(header: Sequence[str]) -> bool:
    return {found["axis"].lower() for title in header if (found := _CENTROID.match(title))} == {"x", "y"}


@contextmanager
def _rows(
    path: Path, is_header: Callable[[Sequence[str]], bool]
) -> Iterator[tuple[list[str], Iterator[list[str]], bool]]:
    """Header, further rows, and whether decimals have a comma; the separator is the one whose header fits."""
    try:
        with path.open("rb") as raw:
            encoding = "utf-16" if raw.read(2) in _UTF16 else "utf-8-sig"
            raw.seek(0)
            # Only names of columns and classes may hold other letters; one that is damaged hurts nothing else.
            with io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="") as file:
                first = file.readline()
                usual = _SEPARATORS.get(path.suffix.lower(), "\t")
                for separator in dict.fromkeys((usual, ",", "\t", ";")):
                    header = [title.strip() for title in next(csv.reader([first], delimiter=separator), [])]
                    if is_header(header):
                        yield header, csv.reader(file, delimiter=separator), separator == ";"
                        return
    except (OSError, UnicodeError, csv.Error) as error:
        raise SlideError(f"{path}: cannot be read as a table: {error}") from error
    raise SlideError(
        f"{path}: its first line names no centroids ({', '.join(header[:8])} ...); export measurements with "
        "Centroid X and Centroid Y, or name the columns"
    )


def _is_image_of(text: str, slide: str) -> bool:
    """True if an image's name is the slide's: with or without extension, perhaps with the series after it."""
    text = text.strip()
    name = slide_name(Path(text.replace("\\", "/").rpartition("/")[2]))
    return (
        slide in (text, name)
        or text.startswith(f"{slide} - ")
        or re.match(rf"{re.escape(slide)}\.\w+ - ", text) is not None
    )


def _only(
    header: Sequence[str], names: Sequence[str], test: Callable[[str], bool]
) -> Callable[[Sequence[str]], bool] | None:
    """The test of a row by the first of these columns that there is, or None."""
    titles = [title.lower() for title in header]
    position = next((titles.index(name) for name in names if name in titles), None)
    if position is None:
        return None
    known: dict[str, bool] = {}  # few texts, many rows

    def check(row: Sequence[str]) -> bool:
        text = row[position] if position < len(row) else ""
        if text not in known:
            known[text] = test(text.strip())
        return known[text]

    return check


def _collect(
    path: Path,
    rows: Iterator[list[str]],
    columns: tuple[int, int],
    tests: Sequence[Callable[[Sequence[str]], bool]],
    *,
    is_decimal_comma: bool,
) -> tuple[NDArray[np.float64], int]:
    x, y = columns
    numbers: Any = array("d")
    count = 0
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        count += 1
        if not all(test(row) for test in tests):
            continue
        try:
            texts = (row[x], row[y])
            if is_decimal_comma:
                texts = (texts[0].replace(",", "."), texts[1].replace(",", "."))
            point = float(texts[0]), float(texts[1])
        except (ValueError, IndexError):
            raise SlideError(f"{path}, line {line}: no centroid in {', '.join(row[:6])!r}") from None
        if not (np.isfinite(point[0]) and np.isfinite(point[1])):
            raise SlideError(f"{path}, line {line}: the centroid is {point[0]}, {point[1]}")
        numbers.extend(point)
    return np.array(numbers, np.float64).reshape(-1, 2), count
