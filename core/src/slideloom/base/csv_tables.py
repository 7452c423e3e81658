"""Reads tables (CSV, TSV) as people and programs write them, and writes CSV."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from gzip import BadGzipFile, GzipFile
from math import isfinite
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

from attrs import define, field

from slideloom.base.errors import ConfigError, SlideloomError

_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it begins with that mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx and .ods, .xls
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20
_LONGEST = 1 << 24  # characters in a line; so a file without line ends is not read into memory
_SHOWN = 8  # columns that a message lists

_DAMAGES = (OSError, EOFError, zlib.error, UnicodeError)

Fits = Callable[[Sequence[str]], bool]


@define(eq=False)
class Table:
    """An open table; its rows can be read once.

    Attributes:
        path: the file.
        header: names of the columns, without spaces around them; empty if the file is empty.
        header_line: number of the line with the header.
        separator: character between columns.
        notes: one sentence for each thing that had to be guessed; complete after all rows are read.
    """

    path: Path
    header: tuple[str, ...]
    header_line: int
    separator: str
    notes: list[str]
    _reader: Any  # Any: csv has no public name for it
    _error: type[SlideloomError]
    _point: str = field(default="", init=False)
    _comma: str = field(default="", init=False)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(number of its last line, cells) for each row that is not blank, with one cell per column.

        Missing cells at the end of a row are filled in as blanks, and extra blank cells are removed, because
        spreadsheets leave out or add separators there.

        Raises:
            SlideloomError: of the table's error class. A row has more cells than columns, a quotation mark is not
                closed, or the file is damaged.
        """
        width = len(self.header)
        for line, given in _read(self._reader, self.refused):
            cells = given
            if len(given) != width:
                if any(cell.strip() for cell in given[width:]):
                    raise self.mistake(
                        f"{len(given)} cells, the header has {width}; if numbers have decimal commas, "
                        "separate columns by semicolons",
                        line=line,
                    )
                cells = given[:width] + [""] * (width - len(given))
            if any(cells) and any(cell.strip() for cell in cells):
                yield line, cells

    def numbers(self, cells: Sequence[str], lines: Sequence[int], *, column: str) -> list[float]:
        """The numbers in the cells of one column, which have decimal points or decimal commas and must be finite.

        A possible thousands separator is refused: "1,234.5", and a table with commas in some cells and points in
        others. See `number_in`.

        Args:
            cells: N texts.
            lines: the N numbers of their lines.
            column: name of the column, for messages.

        Raises:
            SlideloomError: of the table's error class. A cell is not a number.
        """
        together = "\n".join(cells)
        if "," not in together and "_" not in together:  # 1_000 is a number only in Python
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                pass
            else:
                if all(map(isfinite, values)):
                    if "." in together and (not self._point or self._comma):
                        row = next(i for i, cell in enumerate(cells) if "." in cell)
                        self._decimal(cells[row], line=lines[row], column=column)
                    return values
        return [self._number(cell, line=line, column=column) for cell, line in zip(cells, lines, strict=True)]

    def _number(self, cell: str, *, line: int, column: str) -> float:
        value = number_in(cell)
        if value is None:
            raise self.mistake(
                f"{cell!r} is not a number; write it like 1234.5, without a thousands separator",
                line=line,
                column=column,
            )
        self._decimal(cell, line=line, column=column)
        return value

    def _decimal(self, cell: str, *, line: int, column: str) -> None:
        """Remember how decimals are written, and refuse a table that mixes both ways."""
        if "," in cell:
            if not self._comma:
                self.notes.append(f"decimal commas were read as points, the first in line {line}, column {column}")
            self._comma = self._comma or f"{cell!r} in line {line}"
        elif "." in cell:
            self._point = self._point or f"{cell!r} in line {line}"
        if self._comma and self._point:
            raise self.mistake(
                f"{cell!r}: decimals are written in two ways, {self._point} and {self._comma}; "
                "write all of them with points",
                line=line,
                column=column,
            )

    def mistake(self, text: str, *, line: int | None = None, column: str = "") -> SlideloomError:
        """The error to raise, of the table's error class; it names file, line and column."""
        where = f"{self.path}" if line is None else f"{self.path}, line {line}"
        return self._error(f"{where}, column {column}: {text}" if column else f"{where}: {text}")

    def shown(self) -> str:
        """The names of the columns, for messages."""
        more = ", ..." if len(self.header) > _SHOWN else ""
        names = (name[:40] if name.isprintable() else ascii(name[:40]) for name in self.header[:_SHOWN])
        return ", ".join(names) + more

    def refused(self, line: int, reason: Exception) -> SlideloomError:
        """The error to raise if a row cannot be read."""
        if isinstance(reason, csv.Error):
            return self.mistake(f"{reason}; is it a table, and is no quotation mark left open?", line=line)
        return _damaged(self.path, reason, self._error)


def number_in(cell: str) -> float | None:
    """The finite number in a cell, with a decimal point or a decimal comma; None for anything else.

    A single comma without a point is a decimal comma. "1,234.5" and "1,234,567" give None: they are ambiguous.
    """
    is_decimal_comma = cell.count(",") == 1 and "." not in cell
    try:
        value = float(cell.replace(",", ".") if is_decimal_comma else cell)
    except ValueError:
        return None
    return value if isfinite(value) and "_" not in cell else None


@contextmanager
def open_table(
    path: Path, *, fits: Fits, error: type[SlideloomError] = ConfigError, file: BinaryIO | None = None
) -> Iterator[Table]:
    """Open a table. Its first row that is not blank holds the names of the columns.

    Columns may be separated by commas, semicolons, tabs or bars, and a spreadsheet's line `sep=;` is understood. Any
    line ends and quoted cells are accepted. The encoding is UTF-8, UTF-16 or UTF-32; any other file is read as
    Windows-1252, which includes Latin-1. A file compressed by gzip is recognised by its content.

    Args:
        path: the file.
        fits: returns True for a header with the required columns. The first separator that gives such a header is
            used, or else the one that gives most columns; then the caller reports what is missing.
        error: class of the errors raised.
        file: the open file, if the caller has it; it must be seekable.

    Raises:
        SlideloomError: of class `error`. The file cannot be read, is empty or is not text.
    """
    with ExitStack() as opened:
        try:
            raw = opened.enter_context(path.open("rb") if file is None else nullcontext(file))
            raw.seek(0)
            start = raw.read(8)
            raw.seek(0)
            if start.startswith(_WORKBOOKS):
                raise error(f"{path}: is a spreadsheet workbook; save it as CSV")
            stream = cast("BinaryIO", GzipFile(fileobj=raw)) if start.startswith(_GZIP) else raw
            encoding, notes = _encoding_of(stream, path, error)
            table = _Source(path, error, stream, encoding, opened).table(fits)
        except _DAMAGES as reason:
            raise _damaged(path, reason, error) from reason
        table.notes.extend(notes)
        yield table


@define(eq=False)
class _Source:
    """A file whose separator is not known yet."""

    path: Path
    error: type[SlideloomError]
    file: BinaryIO
    encoding: str
    opened: ExitStack

    def table(self, fits: Fits) -> Table:
        tried = []
        for separator in _SEPARATORS:
            table, wrong = self._separated(separator)
            if wrong is None and fits(table.header):
                return table
            tried.append((table, wrong))
        best, wrong = max(tried, key=lambda one: len(one[0].header))  # the first of equals
        if wrong is not None:
            raise wrong
        return self._separated(best.separator)[0]

    def _separated(self, separator: str) -> tuple[Table, SlideloomError | None]:
        """The table with this separator, and the error in its first row, if there is one; then the header is empty."""
        self.file.seek(0)
        text = io.TextIOWrapper(self.file, encoding=self.encoding, newline="")
        self.opened.callback(text.detach)  # it would close the file
        # strict, because otherwise an open quotation mark would silently swallow the rest of the file
        reader = csv.reader(_lines(text), delimiter=separator, strict=True)
        table = Table(self.path, (), 1, separator, [], reader, self.error)
        try:
            for line, cells in _read(reader, table.refused):
                names = tuple(cell.strip() for cell in cells)
                if any(names) and not "".join(names[:2]).lower().startswith("sep="):
                    table.header, table.header_line = names, line
                    break
        except SlideloomError as reason:
            return table, reason
        return table, None


def _damaged(path: Path, reason: Exception, error: type[SlideloomError]) -> SlideloomError:
    if isinstance(reason, UnicodeError):
        return error(f"{path}: cannot be read as text ({reason}); save it as UTF-8")
    if isinstance(reason, EOFError | zlib.error | BadGzipFile):
        return error(f"{path}: its compression is damaged ({reason}); copy it again")
    text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
    return error(f"{path}: cannot be read as a table: {text}; check the file")


def _encoding_of(file: BinaryIO, path: Path, error: type[SlideloomError]) -> tuple[str, list[str]]:
    """The encoding of a file's text, and a sentence if it is a guess."""
    first = file.read(_BLOCK)
    if not first.strip(b"\0 \r\n\t"):
        raise error(f"{path}: is empty; export it again")
    encoding = next((name for mark, name in _MARKS if first.startswith(mark)), "")
    if not encoding and first.count(0) > len(first) / 4:
        # In UTF-16, every other byte of Latin text is zero.
        encoding = "utf-16-le" if first[1::2].count(0) > first[::2].count(0) else "utf-16-be"
    if encoding or _decodes(file, "utf-8"):
        return encoding or "utf-8", []
    encoding, name = ("cp1252", "Windows-1252") if _decodes(file, "cp1252") else ("latin-1", "Latin-1")
    return encoding, [f"not UTF-8: read as {name}; check names with special letters"]


def _decodes(file: BinaryIO, encoding: str) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while block := file.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise csv.Error(f"the line has more than {_LONGEST} letters")
        yield line


def _read(reader: Any, refused: Callable[[int, Exception], SlideloomError]) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) for each row; errors name the row's first line."""
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, *_DAMAGES) as reason:
            raise refused(start, reason) from reason
        yield reader.line_num, cells


# Spreadsheets take text that begins like this for a formula or a command. An apostrophe before it makes it plain text
# (OWASP, "CSV Injection"). Text that already begins with apostrophes before such a start gets one more, so that
# removing one gives the original.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula. Numbers, also as text, stay unchanged."""
    if isinstance(value, str) and _FORMULA.match(value) and not _PLAIN_NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


class _Lines(list[str]):
    """Collects rows of text in place of a file."""

    def write(self, row: str) -> None:
        self.append(f"{row[:-2]}\n")


def csv_text(
    header: Iterable[str], rows: Iterable[Iterable[Any]], *, quoting: Literal["minimal", "text"] = "minimal"
) -> str:
    """A table as CSV with commas and line feeds; cells are `guarded`.

    Args:
        header: names of the columns.
        rows: cells of each row, text or numbers.
        quoting: "minimal" quotes cells that need it; "text" quotes every cell that is not a number.
    """
    lines = _Lines()
    # With "\r\n" as line end, the writer quotes cells that contain "\r" in every version of Python.
    kind: Any = csv.QUOTE_MINIMAL if quoting == "minimal" else csv.QUOTE_NONNUMERIC
    writer = csv.writer(lines, lineterminator="\r\n", quoting=kind)
    writer.writerow([guarded(name) for name in header])
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return "".join(lines)
