"""Tables as programs and people leave them (CSV, TSV): one reader for all of them, and one writer."""

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
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx and .ods, .xls
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20
_LONGEST = 1 << 24  # letters of a line; a file without line ends is not read whole
_SHOWN = 8  # columns that a message lists

_DAMAGES = (OSError, EOFError, zlib.error, UnicodeError)

Fits = Callable[[Sequence[str]], bool]


@define(eq=False)
class Table:
    """An open table; its rows can be read once.

    Attributes:
        path: of the file.
        header: names of the columns as they stand, stripped of spaces; empty where the file holds nothing.
        header_line: the line they are on.
        separator: of columns.
        notes: what had to be guessed, one sentence each, complete when all rows are read.
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
        """(line it ends on, cells) of each row that is not blank, with as many cells as there are columns.

        Blank cells that a row has too few are filled in, and those that it has too many are cut: spreadsheets leave
        out trailing separators, or add some.

        Raises:
            SlideloomError: of the kind asked for. A row has more cells than columns, a quotation mark stays open, or
                the file is damaged.
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
        """The numbers in cells of one column, with decimal points or decimal commas, each of them finite.

        What could be a thousands separator is refused: "1,234.5", and commas in some cells of a table with points in
        others. See `number_in`.

        Args:
            cells: N texts.
            lines: N lines they are on.
            column: its name, for messages.

        Raises:
            SlideloomError: of the kind asked for. A cell is no number.
        """
        together = "\n".join(cells)
        if "," not in together and "_" not in together:  # 1_000 is a number in Python alone
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
        """Remember how decimals are written, and refuse both ways in one table."""
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
        """The error to raise, of the kind that the table was opened with; it names file, line and column."""
        where = f"{self.path}" if line is None else f"{self.path}, line {line}"
        return self._error(f"{where}, column {column}: {text}" if column else f"{where}: {text}")

    def shown(self) -> str:
        """The names of the columns, for messages."""
        more = ", ..." if len(self.header) > _SHOWN else ""
        names = (name[:40] if name.isprintable() else ascii(name[:40]) for name in self.header[:_SHOWN])
        return ", ".join(names) + more

    def refused(self, line: int, reason: Exception) -> SlideloomError:
        """The error to raise where a row cannot be read."""
        if isinstance(reason, csv.Error):
            return self.mistake(f"{reason}; is it a table, and is no quotation mark left open?", line=line)
        return _damaged(self.path, reason, self._error)


def number_in(cell: str) -> float | None:
    """The finite number in a cell, with a decimal point or a decimal comma; None for anything else.

    A single comma without a point is the decimal one; "1,234.5" and "1,234,567" are not guessed at.
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
    """A table whose first row that is not blank names its columns.

    Read are commas, semicolons, tabs and bars between columns (also as the line `sep=;` of a spreadsheet says), any
    line ends, quoted cells, and UTF-8, UTF-16, UTF-32 or, where a file is none of these, Windows-1252, which holds
    Latin-1. A file compressed by gzip is known by its content.

    Args:
        path: of the file.
        fits: True for a header with the columns that are needed. The first separator that gives such a header is
            taken, else the one that gives most columns; then the caller says what is missing.
        error: kind of the errors raised.
        file: the file's bytes, if they are at hand; they can be read again from their start.

    Raises:
        SlideloomError: of the kind asked for. The file cannot be read, is empty or is no text.
    """
    with ExitStack() as opened:
        try:
            raw = opened.enter_context(path.open("rb") if file is None else nullcontext(file))
            raw.seek(0)
            start = raw.read(8)
            raw.seek(0)
            if start.startswith(_WORKBOOKS):
                raise error(f"{path}: is a workbook of a spreadsheet program; save it as CSV")
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
        """The table as this separator gives it, and what is wrong with its first row, which then names no columns."""
        self.file.seek(0)
        text = io.TextIOWrapper(self.file, encoding=self.encoding, newline="")
        self.opened.callback(text.detach)  # it would close the file
        # strict: an open quotation mark would swallow the rest of the file without a word
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
    """What a file's text is written in, and a sentence where that is a guess."""
    first = file.read(_BLOCK)
    if not first.strip(b"\0 \r\n\t"):
        raise error(f"{path}: is empty; export it again")
    encoding = next((name for mark, name in _MARKS if first.startswith(mark)), "")
    if not encoding and first.count(0) > len(first) / 4:
        # Latin text in UTF-16 has a zero as every other byte.
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
    """(line it ends on, cells) of each row; errors name the line that the row starts on."""
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, *_DAMAGES) as reason:
            raise refused(start, reason) from reason
        yield reader.line_num, cells


# What a spreadsheet takes for a formula or a command begins so. An apostrophe before it makes it text (OWASP, "CSV
# Injection"); text that would look like one so marked gets a further apostrophe, so that taking one off is exact.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    """A cell as a spreadsheet shows it without calculating; numbers, also those given as text, stay as they are."""
    if isinstance(value, str) and _FORMULA.match(value) and not _PLAIN_NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


class _Lines(list[str]):
    """Rows of text as a file would get them."""

    def write(self, row: str) -> None:
        self.append(f"{row[:-2]}\n")


def csv_text(
    header: Iterable[str], rows: Iterable[Iterable[Any]], *, quoting: Literal["minimal", "text"] = "minimal"
) -> str:
    """A table as CSV with commas and line feeds, its cells `guarded`.

    Args:
        header: names of columns.
        rows: cells; text or numbers.
        quoting: quote cells that need it ("minimal"), or all that are not numbers ("text").
    """
    lines = _Lines()
    # With "\r\n" as its own line end the writer quotes cells that hold a "\r", in every version of Python.
    kind: Any = csv.QUOTE_MINIMAL if quoting == "minimal" else csv.QUOTE_NONNUMERIC
    writer = csv.writer(lines, lineterminator="\r\n", quoting=kind)
    writer.writerow([guarded(name) for name in header])
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return "".join(lines)
