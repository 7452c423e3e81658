"""The PDF: what it says, that nothing overflows, and that it stays small."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pymupdf
import pytest
from PIL import Image
from slideloom import NamedSlide, SlideReport, pipeline_from_table, run_pipeline
from slideloom_report import Cohort, cohort_of, cohorts_in, write_report, write_stored_report
from slideloom_report.charts import histogram
from slideloom_report.cohort import BLUR_LIMIT
from slideloom_report.evidence import gather
from slideloom_report.style import BLUE, MARGIN, RED, percent

TABLE: dict[str, Any] = {
    "slideloom": 1,
    "tiles": {"size_px": 64, "size_um": 64},
    "qc": [{"use": "otsu"}, {"use": "gaussian-v2"}],
    "normalizer": {"use": "reinhard-fast"},
    "sink": [{"use": "tfrecord"}],
}
# Letters of Latin and Greek that come with reportlab, and of scripts that may be on this machine or not.
LETTERS = ("Größe µ", "łóčşž Ω", "опухоль", "切片", "גידול", "سرطان", "मेटास्टेसिस", "a\ud83da", "🔬")


def pages_of(path: Path) -> list[str]:
    """Text of each page, lines joined where they wrap."""
    with pymupdf.open(path) as document:
        assert not document.is_repaired, "a viewer had to mend the file"
        return [page.get_text() for page in document]


def text_of(path: Path) -> str:
    return "\n".join(pages_of(path))


def without_breaks(text: str) -> str:
    return re.sub(r"\s", "", text)


def report(name: str, **values: Any) -> SlideReport:
    given = {
        "status": "done",
        "planned": 100,
        "written": 60,
        "rejected": {"qc:otsu": 40},
        "label": "64px_64um",
        **values,
    }
    return SlideReport(slide=name, path=f"/nowhere/{name}.svs", **given)


def cohort(*slides: SlideReport, **values: Any) -> Cohort:
    return Cohort(out=Path("out"), label="64px_64um", kind="run", slides=slides, table=TABLE, **values)


def crowded() -> Cohort:
    """Everything that is long, many, empty or in other scripts."""
    name = "TCGA-very-long-slide-name_with.parts-" * 8
    warnings = tuple(f"warning {i}: a sentence that is long enough to need a second line. " * 2 for i in range(30))
    return cohort(
        report(name, warnings=warnings, mpp=(0.25, 0.26), mpp_source="o" * 900, size=(10**6, 10**5), reader="r" * 90),
        report("W" * 300, roi_labels=dict.fromkeys(LETTERS, 3), warnings=("w" * 3000, "切" * 3000)),
        report("no tiles", planned=0, written=0, rejected={}),
        report("all left out", written=0, rejected={f"filter:{'a long name ' * 6}{i}": i + 1 for i in range(40)}),
        report("twelve", rejected={f"filter:{'W' * 60}{i}": 1 for i in range(11)}),
        report("all told", qc_told={step: {f"{'W' * 37}{i}": i for i in range(254)} for step in ("model", "model-2")}),
        report("ten told", rejected={}, qc_told={"model": {f"{'W' * 39}{i}": i for i in range(9)}}),
        report("no QC", rejected={}, written=12_345_678, planned=12_345_678),
        *(report(f"failed {i} {'y' * 200}", status="failed", error=f"reason {i} " + "z " * 900) for i in range(6)),
        started="2025-03-12T14:05:00+00:00",
        versions={f"a-distribution-{i}": "1.2.3" for i in range(40)},
    )


def test_a_run_is_reported_with_its_numbers_and_samples(made: Any, tmp_path: Path) -> None:
    slide = made.run.slides[0]

    text = text_of(write_report(made.run, tmp_path / "r.pdf"))

    assert "Tile extraction report" in text
    assert f"{slide.written:,}" in text
    assert "QC otsu" in text
    assert "1,600 \u00d7 1,200 px" in text
    assert "0.5 µm/px" in text
    assert "normalized" in text


def test_the_settings_of_every_step_are_on_the_first_page(made: Any, tmp_path: Path) -> None:
    first = re.sub(r"\s+", " ", pages_of(write_report(made.run, tmp_path / "r.pdf"))[0])

    assert "64 px = 64 µm" in first
    assert all(name in first for name in ("otsu", "gaussian-v2", "grayspace", "reinhard-fast", "tfrecord"))
    assert "threshold 0.05, fraction 0.6" in first
    assert "slideloom-core 0.1.0" in first
    assert re.search(r"slideloom plugins 0\.1\.0: .*tfrecord", first)


def test_samples_are_the_slide_and_the_stored_tile_at_the_same_place(made: Any) -> None:
    found = gather(cohorts_in(made.out)[0], made.run.slides[0], max_px=256, samples=6)

    assert len(found.samples) == 6
    for sample in found.samples:
        assert sample.before is not None
        assert sample.after is not None
        # Reinhard shifts and scales colours, so structure stays: luminances of a place go together.
        one, other = sample.before.mean(axis=2).ravel(), sample.after.mean(axis=2).ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.9


def test_a_report_of_a_folder_is_as_that_of_its_run(made: Any, tmp_path: Path) -> None:
    first = text_of(write_report(made.run, tmp_path / "run.pdf"))

    assert text_of(write_stored_report(made.out, tmp_path / "folder.pdf")) == first


def test_a_folder_of_tfrecords_alone_is_reported(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out / "tfrecords", tmp_path / "tfrecords")

    path = write_stored_report(tmp_path / "tfrecords", tmp_path / "r.pdf")

    text = text_of(path)
    assert "Stored tiles report" in text
    assert "which tiles were left out, and why, is not known" in text
    assert f"{made.run.slides[0].written:,}" in text
    assert "as stored" in text
    assert "name it with slides" in text.replace("\n", " ")


def test_tiles_that_do_not_say_where_they_are_from_are_shown_all_the_same(tmp_path: Path) -> None:
    example, framing = (pytest.importorskip(f"slideloom_tfrecord.{name}") for name in ("example", "framing"))
    records = []
    for shade in range(40, 240, 10):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (shade, shade, shade)).save(file, "PNG")
        entries = example.bytes_entry("slide", b"old") + example.bytes_entry("image_raw", file.getvalue())
        records.append(framing.framed(b"\x0a" + example.varint(len(entries)) + entries))
    (tmp_path / "old.tfrecords").write_bytes(b"".join(records))

    (stored,) = cohorts_in(tmp_path)
    found = gather(stored, stored.slides[0], max_px=128, samples=3)

    assert [sample.after[0, 0, 0] for sample in found.samples] == [40, 130, 230]  # the first, one between, the last
    assert "no picture" in text_of(write_stored_report(tmp_path, tmp_path / "r.pdf"))


def test_tiles_without_their_slide_are_placed_on_it_when_it_is_named(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out / "tfrecords", tmp_path / "tfrecords")
    stored = cohorts_in(tmp_path / "tfrecords")[0].at([NamedSlide.of(made.slide)])

    found = gather(stored, stored.slides[0], max_px=256, samples=4)
    known = gather(cohorts_in(made.out)[0], made.run.slides[0], max_px=256, samples=4)

    assert found.picture is not None
    assert sorted(map(tuple, found.boxes["kept"].tolist())) == sorted(map(tuple, known.boxes["kept"].tolist()))


def test_the_folder_of_a_runs_tiles_tells_what_the_run_tells(made: Any) -> None:
    found = cohorts_in(made.out / "tfrecords" / "64px_64um")

    assert [one.kind for one in found] == ["run"]
    assert found[0].slides == made.run.slides


def test_tiles_around_cells_are_drawn_as_points_and_those_of_a_grid_are_not(made: Any) -> None:
    of_run = cohorts_in(made.out)[0]
    table = {**of_run.table, "placement": {"use": "nuclei"}}

    assert gather(of_run, of_run.slides[0], max_px=128, samples=0).is_grid
    assert not gather(attrs.evolve(of_run, table=table), of_run.slides[0], max_px=128, samples=0).is_grid


def test_a_missing_slide_is_said_and_numbers_stay(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out, tmp_path / "out")
    gone = attrs.evolve(cohorts_in(tmp_path / "out")[0].slides[0], path="/nowhere/demo.svs")
    given = attrs.evolve(cohorts_in(tmp_path / "out")[0], slides=(gone,))

    text = text_of(write_report(given, tmp_path / "r.pdf"))

    assert "/nowhere/demo.svs is no longer there" in text
    assert f"{gone.written:,}" in text


def test_another_slide_of_the_same_name_is_not_shown_for_the_one_that_was_cut(made: Any) -> None:
    given = cohorts_in(made.out)[0]
    other = attrs.evolve(given.slides[0], size=(1600, 1201))

    found = gather(given, other, max_px=128, samples=4)

    assert found.picture is None
    assert any("has 1600 x 1200 pixels, not 1600 x 1201" in note for note in found.notes)
    assert all(sample.before is None for sample in found.samples)


def test_damaged_files_of_a_run_are_named(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out, tmp_path / "out")
    given = cohorts_in(tmp_path / "out")[0]
    (record,) = (tmp_path / "out").rglob("*.tfrecords")
    record.write_bytes(record.read_bytes()[:1000])
    (tmp_path / "out" / given.slides[0].tile_table).write_text("status\nwritten\n")
    (tmp_path / "out" / "slideloom" / "64px_64um" / "slides" / "bad.json").write_text("{")

    text = " ".join(text_of(write_report(cohorts_in(tmp_path / "out")[0], tmp_path / "r.pdf")).split())

    assert "Stored tiles are missing" in text
    assert "tiles/demo.csv cannot be read" in text
    assert "bad.json cannot be read and is left out" in text


def test_a_dry_run_is_planned_again(made: Any, tmp_path: Path) -> None:
    table = {**TABLE, "filter": [{"use": "whitespace", "threshold": 200, "fraction": 0.2}]}
    run = run_pipeline(pipeline_from_table(table, where="test"), [made.slide], tmp_path / "dry", dry_run=True)

    found = gather(cohort_of(run), run.slides[0], max_px=256, samples=4)

    assert len(found.boxes["kept"]) == run.slides[0].rejected["dry-run"]
    assert len(found.boxes["filter:whitespace"]) == run.slides[0].rejected["filter:whitespace"] > 0
    assert len(found.boxes["qc:otsu"]) == run.slides[0].rejected["qc:otsu"]
    assert found.mask is not None
    assert all(sample.after is not None for sample in found.samples)
    text = text_of(write_report(run, tmp_path / "r.pdf"))
    assert "Dry run report" in text
    assert "tiles to be written" in text


def test_a_plan_is_drawn_without_what_filters_would_drop(made: Any, tmp_path: Path) -> None:
    run = run_pipeline(pipeline_from_table(TABLE, where="test"), [made.slide], tmp_path / "dry", plan_only=True)

    found = gather(cohort_of(run), run.slides[0], max_px=256, samples=4)

    assert len(found.boxes["kept"]) == run.slides[0].rejected["plan-only"]
    assert "Plan report" in text_of(write_report(run, tmp_path / "r.pdf"))


def test_a_run_writes_a_report_only_if_asked(made: Any, tmp_path: Path) -> None:
    assert not list(made.out.rglob("*.pdf"))

    run_pipeline(pipeline_from_table({**TABLE, "run": {"report": True}}, where="test"), [made.slide], tmp_path / "out")

    assert re.fullmatch(r"tile_extraction_report-\d{8}-\d{6}\.pdf", next((tmp_path / "out").glob("*.pdf")).name)
    assert list((tmp_path / "out" / "slideloom" / "64px_64um" / "masks").glob("*.discard.npz"))


def test_asking_for_a_report_changes_no_tile(made: Any, tmp_path: Path) -> None:
    run = run_pipeline(
        pipeline_from_table({**TABLE, "run": {"report": True}}, where="test"), [made.slide], tmp_path / "out"
    )

    assert run.slides[0].digest == made.run.slides[0].digest
    record = Path(made.run.slides[0].outputs[0])
    assert (tmp_path / "out" / record).read_bytes() == (made.out / record).read_bytes()


def test_failed_slides_are_on_the_first_page_and_all_of_them_first_in_the_list(tmp_path: Path) -> None:
    failed = [report(f"bad-{i}", status="failed", error=f"/nowhere: reason {i}.") for i in range(40)]

    pages = pages_of(write_report(cohort(report("good"), *failed), tmp_path / "r.pdf"))

    assert "and 36 more, all at the top of the table of slides" in pages[0]
    assert all(f"reason {i}." in pages[0] for i in range(4))
    listed = "\n".join(pages).split("\nSlides\n")[1]
    assert all(f"reason {i}." in listed for i in range(40))
    assert listed.index("bad-39") < listed.index("good")


def test_the_number_above_five_percent_is_that_of_the_burdens(tmp_path: Path) -> None:
    slides = [report(f"s{i}", blur_burden=burden) for i, burden in enumerate([0.0, 0.05, 0.0501, 0.9, None])]

    assert "2 of 4 slides above 5%" in text_of(write_report(cohort(*slides), tmp_path / "r.pdf"))


def test_only_bars_of_slides_above_the_limit_are_red() -> None:
    drawing = histogram([0.0, 0.01, 0.05, 0.0501, 0.07, 0.1], width=200, unit="share", limit=BLUR_LIMIT)

    chart = drawing.contents[0]
    # Bars of 1%, each up to its right edge, also where it is not exact: 0.07 / 0.01 is more than 7.
    assert chart.data == [[2, 0, 0, 0, 1, 1, 1, 0, 0, 1]]
    assert [chart.bars[0, place].fillColor for place in (0, 4, 5, 9)] == [BLUE, BLUE, RED, RED]


def test_a_histogram_counts_every_slide() -> None:
    for values in ([0], [7], [0, 1, 2, 3], list(range(0, 100_000, 777)), [10**9, 3]):
        assert sum(histogram(values, width=200, unit="tiles").contents[0].data[0]) == len(values)


def test_nothing_overlaps_or_leaves_the_page_however_long_names_and_lists_are(tmp_path: Path) -> None:
    with pymupdf.open(write_report(crowded(), tmp_path / "r.pdf")) as document:
        for page in document:
            words = page.get_text("words")
            for x0, y0, x1, y1, word, *_ in words:
                assert x0 >= MARGIN - 1, f"page {page.number + 1}: {word}"
                assert x1 <= page.rect.width - MARGIN + 1, f"page {page.number + 1}: {word}"
                assert 0 <= y0 < y1 <= page.rect.height, f"page {page.number + 1}: {word}"
            boxes = np.array([word[:4] for word in words])
            # Lines may touch, as boxes are as high as the tallest letters of the type; words may not lie over others.
            middle = (boxes[:, None, 1] + boxes[:, None, 3]) / 2
            over = (
                (boxes[:, None, 0] < boxes[None, :, 2] - 0.5) & (boxes[None, :, 0] < boxes[:, None, 2] - 0.5)
                & (boxes[None, :, 1] < middle) & (middle < boxes[None, :, 3])
            )  # fmt: skip
            pairs = np.argwhere(over & ~np.eye(len(words), dtype=bool))
            assert not len(pairs), [(words[one][4], words[other][4]) for one, other in pairs[:3].tolist()]


def test_all_of_thirty_warnings_and_a_long_name_can_be_read(tmp_path: Path) -> None:
    given = crowded()

    text = without_breaks(text_of(write_report(given, tmp_path / "r.pdf")))

    assert text.count(without_breaks(given.slides[0].slide)) == 4  # list, page, path, and note on it
    for warning in given.slides[0].warnings:
        assert without_breaks(warning) in text


def test_every_letter_is_shown_as_it_is_or_as_its_escape(tmp_path: Path) -> None:
    path = write_report(cohort(*(report(f"name {letters}") for letters in LETTERS)), tmp_path / "r.pdf")

    text = without_breaks(text_of(path))
    assert "nameGrößeµ" in text
    assert "namełóčşžΩ" in text  # letters of the font that reportlab brings
    assert "a\\ud83da" in text  # a file name that is not Unicode
    for letters in LETTERS:
        assert all(letter in text or ascii(letter)[1:-1] in text for letter in without_breaks(letters))
    with pymupdf.open(path) as document:
        glyphs = [glyph for page in document for span in page.get_texttrace() for glyph in span["chars"]]
    assert not [chr(letter) for letter, number, *_ in glyphs if number == 0], "letters that their type does not have"


def test_letters_that_would_have_to_be_joined_or_turned_around_are_escaped(tmp_path: Path) -> None:
    text = without_breaks(text_of(write_report(cohort(report("سرطان")), tmp_path / "r.pdf")))

    assert "\\u0633\\u0631\\u0637\\u0627\\u0646" in text


def test_names_that_differ_are_shown_differently(tmp_path: Path) -> None:
    names = ["切", "片", "a  b", "a b", "<i>a</i>", "a"]

    with pymupdf.open(write_report(cohort(*map(report, names)), tmp_path / "r.pdf")) as document:
        titles = [document[-len(names) + place].get_text("dict") for place in range(len(names))]
    spans = [
        max((span for block in page["blocks"] for line in block.get("lines", []) for span in line["spans"]),
            key=lambda span: span["size"])["text"]
        for page in titles
    ]  # fmt: skip

    assert len(set(spans)) == len(names)
    assert spans[4] == "<i>a</i>"


def test_a_run_without_slides_or_without_finished_ones_has_a_report(tmp_path: Path) -> None:
    assert "Settings" in text_of(write_report(cohort(), tmp_path / "none.pdf"))

    text = text_of(write_report(cohort(report("a", status="failed", error="no luck")), tmp_path / "failed.pdf"))

    assert "no luck" in text


def test_every_slide_has_a_page_that_the_list_leads_to(tmp_path: Path) -> None:
    slides = [report(f"slide-{i:03}") for i in range(120)]
    path = write_report(cohort(report("bad", status="failed"), *slides), tmp_path / "r.pdf")

    pages = pages_of(path)
    (first,) = [number for number, text in enumerate(pages) if "/nowhere/slide-000.svs" in text]
    assert len(pages) == first + 120
    assert all(text.count("page\n") == 1 and "planned" in text for text in pages[1:first]), "a page without its head"
    with pymupdf.open(path) as document:
        links = [(link, page) for page in document for link in page.get_links()]
        targets = sorted(link["page"] for link, _ in links)
        assert targets == list(range(first, len(pages)))
        for link, page in links:
            row = pymupdf.Rect(0, link["from"].y0 - 1, page.rect.width, link["from"].y1 + 1)
            name, *_, number = page.get_text(clip=row, sort=True).split()
            assert int(number) == link["page"] + 1
            assert f"/nowhere/{name}.svs" in pages[link["page"]]
        assert [title for _, title, _ in document.get_toc()] == ["Summary", *(slide.slide for slide in slides)]
    for number, text in enumerate(pages, 1):
        assert f"{number} of {len(pages)}" in " ".join(text.split())


def test_shares_are_only_0_or_100_percent_if_they_are() -> None:
    assert [percent(share) for share in (0, 0.0001, 0.5, 0.99999, 1)] == ["0%", "<0.1%", "50.0%", ">99.9%", "100%"]


MANY = """
import sys
from pathlib import Path
from slideloom_report.stored import stored_reports
(path,) = stored_reports(Path(sys.argv[1]))
print(path)
# Not ru_maxrss, which starts at the size of the process that started this one.
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_500_slides_stay_below_25_mb_as_pdf_and_40_mb_as_a_page_and_300_mb_of_memory(made: Any, tmp_path: Path) -> None:
    import pyvips

    out = tmp_path / "out"
    shutil.copytree(made.out, out)
    state = out / "slideloom" / "64px_64um"
    one = json.loads((state / "slides" / "demo.json").read_text())
    table = (state / "tiles" / "demo.csv").read_bytes()
    whole = pyvips.Image.new_from_file(str(made.slide))
    for i in range(500):
        # Each a different part of the tissue: equal pictures would be stored once.
        name, path = f"slide-{i:03}", tmp_path / f"slide-{i:03}.tif"
        whole.crop(i % 25 * 4, i // 25 * 4, 1500, 1100).tiffsave(str(path), tile=True, compression="jpeg")
        (state / "tiles" / f"{name}.csv").write_bytes(table)
        record = {
            **one, "slide": name, "path": str(path), "reader": "", "size": [1500, 1100], "outputs": [],
            "tile_table": f"slideloom/64px_64um/tiles/{name}.csv",
        }  # fmt: skip
        (state / "slides" / f"{name}.json").write_text(json.dumps(record))

    made_by = subprocess.run([sys.executable, "-c", MANY, str(out)], capture_output=True, text=True, check=True)

    path, peak_kb = made_by.stdout.splitlines()
    size, page = Path(path).stat().st_size, Path(path).with_suffix(".html")
    assert 10_000_000 < size < 25_000_000, f"{size / 1e6:.1f} MB"
    assert page.stat().st_size < 40_000_000
    # With the slide of the run that all are copies of.
    assert page.read_text(encoding="utf-8").count("<svg") == 501
    assert int(peak_kb) < 300 * 1024, f"{int(peak_kb) / 1024:.0f} MB"
