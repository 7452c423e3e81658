"""Reports of slides whose names have folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_report.cohort import cohort_of, cohorts_in
from slideloom_report.evidence import gather
from slideloom_report.stored import report_run, stored_reports

LABEL = "64px_64um"
SQUARE = "ROI_Name,X_base,Y_base\n" + "".join(f"r,{x},{y}\n" for x, y in ((0, 0), (600, 0), (600, 900), (0, 900)))


@pytest.fixture
def run(made: Any, tmp_path: Path) -> sl.RunReport:
    """A run over two slides of one name, one of which has regions."""
    for lab in ("lab1", "lab2"):
        (tmp_path / "slides" / lab).mkdir(parents=True)
        shutil.copy(made.slide, tmp_path / "slides" / lab / "a.svs")
    roi = tmp_path / "roi" / "lab1"
    roi.mkdir(parents=True)
    (roi / "a.csv").write_text(SQUARE)
    chosen = {
        "slideloom": 1,
        "tiles": {"size_px": 64, "size_um": 64},
        "roi": [{"use": "roi-folder", "folder": str(roi.parent)}],
        "qc": [{"use": "otsu"}],
        "normalizer": {"use": "reinhard-fast"},
        "sink": [{"use": "tfrecord"}, {"use": "images"}],
        "run": {"threads": 1, "jobs": 1},
    }
    pipeline = sl.pipeline_from_table(chosen, where="test")
    slides = sl.named_slides([str(tmp_path / "slides")], recursive=True)
    return sl.run_pipeline(pipeline, slides, tmp_path / "out")


def test_each_slide_has_its_own_regions_and_tiles(run: sl.RunReport, tmp_path: Path) -> None:
    (cohort,) = cohorts_in(tmp_path / "out")

    found = [gather(cohort, slide, max_px=200, samples=2) for slide in cohort.slides]

    assert [one.report.slide for one in found] == ["lab1/a", "lab2/a"]
    assert [len(one.regions) for one in found] == [1, 0]
    assert [len(one.boxes["kept"]) for one in found] == [slide.written for slide in run.slides]
    assert run.slides[0].written < run.slides[1].written
    assert all(sample.after is not None for one in found for sample in one.samples)


def test_tables_and_the_pdf_are_one_for_all_folders(run: sl.RunReport, tmp_path: Path) -> None:
    report_run(run, tmp_path / "out")

    home = tmp_path / "out" / "tfrecords" / LABEL
    rows = (home / "extraction_report.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["lab1/a", "lab2/a"]
    assert len(list(home.glob("*.pdf"))) == 1
    assert not list(home.glob("lab*/*.pdf"))


def test_slides_that_moved_with_their_folders_are_found_by_their_names(run: sl.RunReport, tmp_path: Path) -> None:
    (tmp_path / "slides").rename(tmp_path / "moved")
    (cohort,) = cohorts_in(tmp_path / "out")

    (pdf,) = stored_reports(tmp_path / "out", out=tmp_path / "r.pdf", slides=[str(tmp_path / "moved")])

    moved = cohort.at(sl.named_slides([str(tmp_path / "moved")], recursive=True))
    assert pdf.is_file()
    assert all(gather(moved, slide, max_px=100, samples=0).picture is not None for slide in cohort.slides)
    assert "no longer there" in gather(cohort, cohort.slides[0], max_px=100, samples=0).notes[0]


def test_stored_tiles_without_a_run_are_named_by_their_folders(run: sl.RunReport, tmp_path: Path) -> None:
    (tmp_path / "out" / "tfrecords").rename(tmp_path / "tfrecords")

    (cohort,) = cohorts_in(tmp_path / "tfrecords")

    assert [slide.slide for slide in cohort.slides] == ["lab1/a", "lab2/a"]
    assert cohort_of(run).shares_name(run.slides[0])
