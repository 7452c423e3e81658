"""Contact sheets: settings side by side, with the counts that a run would give."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import slideloom as sl
from PIL import Image
from slideloom.base.errors import ConfigError
from slideloom.drawing.pictures import Picture
from slideloom_cli.comparing import varied
from slideloom_cli.main import main
from slideloom_cli.sheet import Cell, ContactSheet, Row
from slideloom_testing.fixtures import DemoFiles

TILES = ["--tile-px", "100", "--tile-um", "100"]


def pictures_in(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def kept_by(demo: DemoFiles, *qc: str) -> int:
    with sl.WSI(demo.path, 100, 100) as wsi:
        for step in qc:
            wsi.qc(step)
        return len(wsi)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("tissue:threshold=0.05,0.1", ["tissue:threshold=0.05", "tissue:threshold=0.1"]),
        ("a:x=1,y=2,3,z=4", ["a:x=1,y=2,z=4", "a:x=1,y=3,z=4"]),
    ],
)
def test_a_range_stands_for_one_step_per_value(text: str, steps: list[str]) -> None:
    assert varied(text) == steps


@pytest.mark.parametrize("text", ["tissue", "tissue:mpp=4", "a:x=1,2,y=1,2", "a:1,2"])
def test_a_range_varies_exactly_one_option(text: str) -> None:
    with pytest.raises(ConfigError, match="give one option several values"):
        varied(text)


def test_each_slide_qc_is_a_column_with_what_a_run_with_it_would_keep(demo_slide: DemoFiles) -> None:
    sheet = sl.contact_sheet(demo_slide.path, 100, 100, qc=["tissue", "otsu", "pen"])

    (row,) = sheet.rows
    assert sheet.columns == ("no slide QC", "tissue", "otsu", "pen")
    planned = kept_by(demo_slide)
    counts = [planned, *(kept_by(demo_slide, step) for step in ("tissue", "otsu", "pen"))]
    assert len(set(counts)) > 2
    assert [cell.count.split(" tiles")[0] for cell in row.cells] == [f"{count} of {planned}" for count in counts]
    assert row.cells[1].note == f"{planned - counts[1]} qc:tissue"


def test_a_varied_step_comes_after_all_other_qc(demo_slide: DemoFiles) -> None:
    sheet = sl.contact_sheet(demo_slide.path, 100, 100, qc="tissue", vary="gaussian-v2:threshold=0.01,0.2")

    (row,) = sheet.rows
    assert sheet.columns == ("tissue", "gaussian-v2:threshold=0.01", "gaussian-v2:threshold=0.2")
    planned = kept_by(demo_slide)
    counts = [kept_by(demo_slide, "tissue"), *(kept_by(demo_slide, "tissue", step) for step in sheet.columns[1:])]
    assert [int(cell.count.split(" of ")[0]) for cell in row.cells] == counts
    assert planned > counts[0] > counts[2]


def test_normalizers_are_shown_on_the_slides_own_tiles(demo_slide: DemoFiles) -> None:
    sheet = sl.contact_sheet(demo_slide.path, 100, 100, qc="tissue", normalizer=["macenko", "reinhard-fast"], samples=3)

    (row,) = sheet.rows
    assert sheet.columns == ("original", "macenko", "reinhard-fast")
    original, macenko, _ = (cell.picture.rgb for cell in row.cells)
    with sl.WSI(demo_slide.path, 100, 100) as wsi:
        wsi.qc("tissue")
        tiles = list(wsi.tile_dataframe().itertuples())
        first = wsi[tiles[0].grid_x, tiles[0].grid_y]
    assert (original[:100, :100] == first).all()
    expected = sl.StainNormalizer("macenko").transform(first)
    assert (macenko[:100, :100] == expected).all()
    assert not (macenko[:100, :100] == first).all()


def test_a_slide_that_fails_is_named_and_the_others_are_shown(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(demo_slide.path.read_bytes()[:1000])
    out = tmp_path / "sheet.html"

    assert main(["preview", str(broken), str(demo_slide.path), *TILES, "--qc", "tissue", "--out", str(out)]) == 1

    assert "failed   broken: broken.svs" in capsys.readouterr().err
    page = out.read_text(encoding="utf-8")
    assert '<td class="failed" colspan="2">broken.svs' in page
    assert len(pictures_in(page)) == 2


def test_the_threshold_of_the_command_line_counts_for_varied_steps(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for threshold in ("0.01", "0.99"):
        words = [*TILES, "--vary", "tissue:mpp=4,8", "--filter-threshold", threshold, "--out", str(tmp_path / "s.html")]
        assert main(["preview", str(demo_slide.path), *words]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "tissue:mpp=4" in line]
        counts.append(int(re.search(r": (\d+) of", line)[1]))  # type: ignore[index]

    assert counts[0] < counts[1]


def test_a_sheet_is_a_page_of_its_own_or_one_picture(tmp_path: Path) -> None:
    rgb = np.zeros((30, 40, 3), np.uint8)
    rgb[..., 0] = 200
    cell = Cell(Picture(rgb), "1 of 2 tiles kept (50%)", "1 qc:<b>")
    sheet = ContactSheet(
        "A & B", ("x<y", "z"), (Row("a", "note", (cell, cell)), Row("b", error="b: no")), {"kept": "k"}
    )

    sheet.save(tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in page
    assert "x&lt;y" in page
    assert "1 qc:&lt;b&gt;" in page
    assert not re.search(r"https?://|<script|<link", page)
    assert [np.asarray(image).tolist() for image in pictures_in(page)] == [rgb.tolist()] * 2

    sheet.save(tmp_path / "sheet.png")
    shown = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    is_red = (shown == (200, 0, 0)).all(axis=-1)
    assert is_red.sum() == 2 * 30 * 40


def test_a_sheet_replaces_its_own_earlier_one_and_no_other_file(tmp_path: Path) -> None:
    sheet = ContactSheet("t", ("x",), (Row("a", error="no"),))
    for name in ("sheet.html", "sheet.png"):
        path = tmp_path / name
        path.write_text("notes of mine", encoding="utf-8")
        sheet.save(path)
        sheet.save(path)
        kept = [other for other in tmp_path.iterdir() if other.read_bytes() == b"notes of mine"]
        assert len(kept) == 1, name
        kept[0].unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.html", "sheet.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "sheet.pdf"], "must end in .html or .png"),
        (["--out", "s.png", "--vary", "tissue:mpp=4"], "give one option several values"),
        (["--out", "s.png", "--vary", "tissue:mpp=4,8", "--normalizer", "macenko"], "use only one of them"),
        (["--out", "s.png", "--qc", "tisue"], "no qc is named 'tisue' (did you mean 'tissue'?)"),
        (["--out", "s.png", "--max-px", "0"], "max_px must be at least 1, not 0"),
    ],
)
def test_a_wrong_word_is_told_before_a_slide_is_read(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps({}))

    assert main(["preview", str(tmp_path / "a.json"), *TILES, *words]) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
