"""Annotations: a CSV with one row per slide, which holds its patient and any other columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from slideloom.base.csv_tables import Table, number_in, open_table
from slideloom.base.errors import ConfigError
from slideloom.settings.options import did_you_mean
from slideloom.slides.names import own_name

log = logging.getLogger(__name__)

REQUIRED = ("patient", "slide")
_NAMED = 5  # number of mistakes that a message lists

Filters = Mapping[str, Any]  # column to a value, or to a list of values


@frozen
class Annotations:
    """A table of annotations; every value is text.

    Attributes:
        path: the file.
        columns: names of the columns.
        rows: by slide, in the file's order: column to value.
        lines: by slide: line number in the file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]] = field(hash=False)
    lines: Mapping[str, int] = field(hash=False, repr=False)

    def column(self, name: str) -> dict[str, str]:
        """The value of each slide in a column; a blank is "".

        Raises:
            ConfigError: there is no such column.
        """
        if name not in self.columns:
            raise ConfigError(f"{self.path}: no column '{name}'{did_you_mean(name, self.columns)}")
        return {slide: row[name] for slide, row in self.rows.items()}

    def slides(self, filters: Filters | None = None, filter_blank: str | Sequence[str] = ()) -> list[str]:
        """The slides that match every filter.

        Args:
            filters: column to the accepted value or list of values; numbers are compared as numbers.
            filter_blank: columns that must not be blank.

        Raises:
            ConfigError: there is no such column, or no row has one of the values.
        """
        kept = dict.fromkeys(self.rows)
        for name, wanted in (filters or {}).items():
            values = self.column(name)
            choices = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
            for choice in choices:
                if not any(_equal(value, choice) for value in values.values()):
                    known = sorted({value for value in values.values() if value})
                    raise ConfigError(
                        f"{self.path}: no row has {name} = {choice!r}{did_you_mean(str(choice), known)}; "
                        "correct the filter or the file"
                    )
            kept = {slide: None for slide in kept if any(_equal(values[slide], choice) for choice in choices)}
        for name in [filter_blank] if isinstance(filter_blank, str) else filter_blank:
            values = self.column(name)
            kept = {slide: None for slide in kept if values[slide]}
        return list(kept)

    def of_slides(self, names: Sequence[str]) -> Annotations:
        """The annotations by the names of slides in folders, where a row names a slide without them.

        Raises:
            ConfigError: a row may be that of several slides.
        """
        by_own: dict[str, list[str]] = {}
        for name in names:
            if "/" in name:
                by_own.setdefault(own_name(name), []).append(name)
        whole, called = set(names), {}
        for row in self.rows:
            alike = by_own.get(row, []) if row not in whole else []
            if len(alike) > 1:
                raise ConfigError(
                    f"{self.path}, line {self.lines[row]}: '{row}' may be any of {', '.join(alike[:3])}"
                    + (", ..." if len(alike) > 3 else "")
                    + "; write the slide with its folders"
                )
            called[row] = alike[0] if alike and alike[0] not in self.rows else row
        return evolve(
            self,
            rows={called[slide]: {**row, "slide": called[slide]} for slide, row in self.rows.items()},
            lines={called[slide]: line for slide, line in self.lines.items()},
        )

    def patients(self) -> dict[str, str]:
        """The patient of each slide."""
        return self.column("patient")


def _equal(value: str, wanted: Any) -> bool:
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return number_in(value) == wanted
    return value == str(wanted).strip()


def read_annotations(path: Path) -> Annotations:
    """The annotations in a table with a header, which needs the columns `patient` and `slide`.

    Separators and encodings are those of `open_table`. Spaces around cells are removed. A slide is named by its file
    name without the extension.

    Raises:
        ConfigError: the file cannot be read or has mistakes; the message lists them with their lines.
    """
    with open_table(path, fits=lambda header: set(REQUIRED) <= set(header)) as table:
        header = _checked_header(table)
        rows: dict[str, dict[str, str]] = {}
        numbers: dict[str, int] = {}
        mistakes: list[str] = []
        for number, cells in table.rows():
            row = dict(zip(header, map(str.strip, cells), strict=True))
            missing = [name for name in REQUIRED if not row[name]]
            if missing:
                mistakes.append(
                    f"{path}, line {number}: {' and '.join(missing)} is blank; fill it in or remove the line"
                )
            elif row["slide"] in rows:
                first = numbers[row["slide"]]
                mistakes.append(
                    f"{path}, line {number}: slide '{row['slide']}' is already in line {first}; keep one row per slide"
                )
            else:
                rows[row["slide"]] = row
                numbers[row["slide"]] = number
    if mistakes:
        more = [f"and {len(mistakes) - _NAMED} more"] if len(mistakes) > _NAMED else []
        raise ConfigError("\n".join([*mistakes[:_NAMED], *more]))
    for note in table.notes:
        log.warning("%s: %s", path, note)
    return Annotations(path, header, rows, numbers)


def _checked_header(table: Table) -> tuple[str, ...]:
    header = table.header
    for name in REQUIRED:
        if name not in header:
            raise table.mistake(
                f"no column '{name}'{did_you_mean(name, header)}; annotations need the columns patient and slide",
                line=table.header_line,
            )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise table.mistake(f"column '{twice[0]}' occurs more than once; rename one", line=table.header_line)
    return header
