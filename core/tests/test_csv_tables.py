"""One reader for every table that people make, and one writer that spreadsheets do not calculate."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom import ConfigError, RoiError, csv_text, guarded, number_in, open_table, unguarded
from slideloom.slides.resolution import read_mpp_file
from slideloom.viewing.frames import frame_csv

HEADER = ["slide", "note", "mpp"]
ROWS = [["Fläche", "a, b; c\tand |", "0.25"], ["b", "", "0.5"]]
FITS = {"slide", "mpp"}.issubset


def written(folder: Path, content: str | bytes, *, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def text_of(separator: str = ",", *, ends: str = "\n", decimal: str = ".") -> str:
    out = io.StringIO(newline="")
    rows = [[*row[:2], row[2].replace(".", decimal)] for row in ROWS]
    csv.writer(out, delimiter=separator, lineterminator=ends).writerows([HEADER, *rows])
    return out.getvalue()


def read(path: Path, **options: object) -> tuple[list[list[str]], list[float]]:
    with open_table(path, fits=FITS, **options) as table:  # type: ignore[arg-type]
        lines, rows = zip(*table.rows(), strict=True)
        return list(rows), table.numbers([row[table.header.index("mpp")] for row in rows], lines, column="mpp")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_table_is_the_same_in_every_spelling(tmp_path: Path, separator: str, ends: str, encoding: str) -> None:
    path = written(tmp_path, text_of(separator, ends=ends), encoding=encoding)

    assert read(path) == (ROWS, [0.25, 0.5])


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_decimal_commas_are_read_in_every_table_that_can_have_them(tmp_path: Path, separator: str) -> None:
    path = written(tmp_path, text_of(separator, decimal=","))  # where commas separate, the cells are quoted

    assert read(path)[1] == [0.25, 0.5]


def test_a_compressed_table_is_known_by_its_content(tmp_path: Path) -> None:
    assert read(written(tmp_path, gzip.compress(text_of().encode())))[0] == ROWS


def test_the_mpp_file_takes_all_of_it(tmp_path: Path) -> None:
    mpp = written(tmp_path, "sep=;\r\nSlide;MPP\r\nFläche;0,25\r\n", encoding="latin-1", name="mpp.csv")

    assert read_mpp_file(mpp)["Fläche"].x == 0.25


def test_blank_rows_and_missing_or_spare_separators_at_the_end_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, "\n,,\nslide,mpp,note,\n\na,1\n , ,\nb,2,x,,,\n")

    with open_table(path, fits=FITS) as table:
        assert table.header_line == 3
        assert list(table.rows()) == [(5, ["a", "1", "", ""]), (7, ["b", "2", "x", ""])]


def test_an_encoding_that_is_guessed_is_told(tmp_path: Path) -> None:
    with open_table(written(tmp_path, text_of(), encoding="cp1252"), fits=FITS) as table:
        assert table.notes == ["not UTF-8: read as Windows-1252; check names with special letters"]
    with open_table(written(tmp_path, text_of()), fits=FITS) as table:
        assert table.notes == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\0\0", "is empty"),
        (b"PK\x03\x04rest", "spreadsheet workbook; save it as CSV"),
        (b"\x1f\x8b\x08\x00damaged", "compression is damaged"),
        (gzip.compress(b"slide,mpp\na,1\n" * 9999, mtime=0)[:-40], "compression is damaged"),
        (b"\xff\xfes\x00l", "cannot be read as text"),
        ('slide,mpp\na,"1\nb,2\n', "line 2: unexpected end of data; .* no quotation mark left open"),
        ('slide,mpp\na,1\nb,"2"3\n', "line 3: "),
        ("slide,mpp\na,1,5\n", "line 2: 3 cells, the header has 2; if numbers have decimal commas"),
        ("slide,mpp\na,\n", "line 2, column mpp: '' is not a number"),
        ("slide,mpp\na,nan\n", "line 2, column mpp: 'nan' is not a number"),
        ("slide,mpp\na,1_000\n", "'1_000' is not a number"),
        ('slide,mpp\na,"1,234.5"\n', "'1,234.5' is not a number; .* without a thousands separator"),
        ("slide;mpp\na;1.234,5\n", "'1.234,5' is not a number"),
        ("slide;mpp\na;1,5\nb;1.234\n", r"line 3, .*decimals are written in two ways, '1\.234' in line 3 and '1,5'"),
        ("slide;mpp\na;1.5\nb;2\nc;1,234\n", r"line 4, .*two ways, '1\.5' in line 2 and '1,234' in line 4"),
    ],
)
def test_what_cannot_be_read_is_refused_by_file_line_column_and_value(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = written(tmp_path, content)

    with pytest.raises(RoiError, match=said) as caught:
        read(path, error=RoiError)

    assert str(caught.value).startswith(f"{path}")


def test_two_ways_of_decimals_are_seen_whichever_column_comes_first(tmp_path: Path) -> None:
    with open_table(written(tmp_path, "slide;mpp\n"), fits=FITS) as table:
        table.numbers(["1", "2.5"], [2, 3], column="x")
        with pytest.raises(ConfigError, match=r"line 3, column y: .*'2\.5' in line 3 and '4,5' in line 3"):
            table.numbers(["3", "4,5"], [2, 3], column="y")


def test_a_file_without_line_ends_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slideloom.base.csv_tables._LONGEST", 1000)

    with pytest.raises(ConfigError, match="line 1: the line has more than 1000 letters"):
        read(written(tmp_path, "a" * 5000))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1", 1),
        (" 1.5 ", 1.5),
        ("1,5", 1.5),
        ("-1e3", -1000),
        ("1,234.5", None),
        ("1,2,3", None),
        ("", None),
        ("x", None),
    ],
)
def test_a_single_comma_is_a_decimal_one(cell: str, number: float | None) -> None:
    assert number_in(cell) == number


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", "=", "-", "'=1", "''-x", "-1,5"])
def test_text_that_a_spreadsheet_would_calculate_is_marked(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("cell", ["", "a", "a=b", "'b'", "'", -5, -0.5, None, "-5", "+3", "-1.5e-05", "-.5", "1e5"])
def test_numbers_and_other_text_stay_as_they_are(cell: object) -> None:
    assert guarded(cell) == cell
    if isinstance(cell, str):
        assert unguarded(cell) == cell


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text("'=+-@\t\r\n\",;1.", max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_is_written_is_read_back_and_holds_no_formula(rows: list[tuple[str, str]]) -> None:
    text = csv_text(["key", "first", "second"], [["k", *row] for row in rows])

    cells = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert [tuple(map(unguarded, row[1:])) for row in cells] == rows
    for cell in (cell for row in cells for cell in row[1:]):
        assert not cell.startswith(("=", "@", "\t", "\r")), cell
        assert not cell.startswith(("+", "-")) or float(cell) is not None


def test_tables_without_such_text_keep_their_bytes() -> None:
    rows = [["a,b", 'quo"te', "two\nlines", -1, -0.25, "", "-3", "ä", np.int64(7)], ["x"] * 9]
    expected = io.StringIO(newline="")
    csv.writer(expected, lineterminator="\n").writerows([list("abcdefghi"), *rows])
    quoted = io.StringIO(newline="")
    csv.writer(quoted, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows([list("abcdefghi"), *rows])

    assert csv_text("abcdefghi", rows) == expected.getvalue()
    assert csv_text("abcdefghi", rows, quoting="text") == quoted.getvalue()


def test_a_frame_is_written_as_pandas_does_but_for_formulas() -> None:
    pd = pytest.importorskip("pandas")  # the core does without
    frame = pd.DataFrame({"x": [1, -2], "score": [0.1, np.nan], "label": ["a,b", None], "ok": [True, False]})

    assert frame_csv(frame) == frame.to_csv(index=False, lineterminator="\n")
    assert frame_csv(pd.DataFrame({"label": ["=1+1"]})) == "label\n'=1+1\n"
    assert frame_csv(frame.iloc[:0]) == "x,score,label,ok\n"


@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_damaged_table_is_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    random = np.random.default_rng(seed)
    encoding = str(random.choice(["utf-8", "utf-16", "latin-1", "utf-8-sig"]))
    raw = text_of(str(random.choice([",", ";", "\t"])), ends=str(random.choice(["\n", "\r\n", "\r"]))).encode(encoding)
    if random.random() < 0.2:
        raw = gzip.compress(raw, mtime=0)
    words = (b'"', b",", b";", b"\0", b"\xff\xfe", b"\n", b"\r", b"sep=;\n", b"1_0", b"inf", b"\x1f\x8b", b"PK\x03\x04")
    for _ in range(int(random.integers(1, 4))):
        start, end = sorted(random.integers(0, len(raw) + 1, 2).tolist())
        put = (b"", random.bytes(2), words[random.integers(len(words))], raw[start:end] * 2)[random.integers(4)]
        raw = raw[:start] + put + raw[min(end, start + int(random.choice([0, 1, 5, 100]))) :]
    path = written(tmp_path_factory.getbasetemp(), raw)

    said = f"{path}: read without a word"
    try:
        with open_table(path, fits=FITS) as table:
            for line, cells in table.rows():
                assert len(cells) == len(table.header)
                table.numbers(cells[-1:], [line], column="last")
    except ConfigError as error:
        said = str(error)
    assert said.startswith(str(path))
    assert len(said) > len(str(path)) + 10
