"""The PDF: what it says, that nothing overflows, and that it stays small."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from slideloom import ConfigError, SlideReport, pipeline_from_table, run_pipeline
from slideloom_report import Cohort, cohorts_in, write_report
from slideloom_report.evidence import gather
from slideloom_report.style import clean, fitted, percent, width_of, wrapped

TABLE: dict[str, Any] = {
    "slideloom": 1,
    "tiles": {"size_px": 64, "size_um": 64},
    "qc": [{"use": "otsu"}, {"use": "gaussian-v2"}],
    "normalizer": {"use": "reinhard-fast"},
    "sink": [{"use": "tfrecord"}],
}


def text_of(path: Path) -> str:
    """All text that is drawn, from the streams of the file itself."""
    shown = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", path.read_bytes(), re.DOTALL):
        try:
            content = zlib.decompress(stream)
        except zlib.error:  # a picture
            continue
        shown += re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", content)
    plain = [re.sub(rb"\\([0-7]{3}|.)", _unescaped, item) for item in shown]
    return "\n".join(item.decode("cp1252") for item in plain)


def _unescaped(match: re.Match[bytes]) -> bytes:
    word = match.group(1)
    return bytes([int(word, 8)]) if len(word) == 3 else word


def pages_of(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", path.read_bytes()))


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


def test_a_run_is_reported_with_its_numbers_and_samples(made: Any, tmp_path: Path) -> None:
    slide = made.run.slides[0]

    text = text_of(write_report(made.run, tmp_path / "r.pdf"))

    assert "Tile extraction report" in text
    assert f"{slide.written:,}" in text
    assert "QC otsu" in text
    assert "1,600 \u00d7 1,200 px" in text
    assert "0.5 µm/px" in text
    assert "normalized" in text


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

    assert text_of(write_report(made.out, tmp_path / "folder.pdf")) == first


def test_a_folder_of_tfrecords_alone_is_reported(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out / "tfrecords", tmp_path / "tfrecords")

    path = write_report(tmp_path / "tfrecords", tmp_path / "r.pdf")

    text = text_of(path)
    assert "Stored tiles report" in text
    assert f"{made.run.slides[0].written:,}" in text
    assert "as stored" in text
    assert "--slides" in text


def test_tiles_without_their_slide_are_placed_on_it_when_it_is_named(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.out / "tfrecords", tmp_path / "tfrecords")
    stored = cohorts_in(tmp_path / "tfrecords")[0].at([made.slide])

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

    assert "/nowhere/demo.svs is not there any more" in text
    assert f"{gone.written:,}" in text


def test_a_dry_run_is_planned_again(made: Any, tmp_path: Path) -> None:
    run = run_pipeline(pipeline_from_table(TABLE, where="test"), [made.slide], tmp_path / "dry", dry_run=True)
    from slideloom_report import cohort_of

    found = gather(cohort_of(run), run.slides[0], max_px=256, samples=4)

    assert len(found.boxes["kept"]) == run.slides[0].rejected["dry-run"]
    assert len(found.boxes["qc:otsu"]) == run.slides[0].rejected["qc:otsu"]
    assert found.mask is not None
    assert all(sample.after is not None for sample in found.samples)
    assert "Dry run report" in text_of(write_report(run, tmp_path / "r.pdf"))


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


def test_failed_slides_are_on_the_first_page_or_all_on_a_later_one(tmp_path: Path) -> None:
    failed = [report(f"bad-{i}", status="failed", error=f"reason {i}") for i in range(40)]

    text = text_of(write_report(cohort(report("good"), *failed), tmp_path / "r.pdf"))

    assert "and 36 more, all on page 3" in text
    assert "reason 39" in text


def test_the_number_above_five_percent_is_that_of_the_burdens(tmp_path: Path) -> None:
    slides = [report(f"s{i}", blur_burden=burden) for i, burden in enumerate([0.0, 0.05, 0.0501, 0.9, None])]

    assert "2 of 4 slides above 5%" in text_of(write_report(cohort(*slides), tmp_path / "r.pdf"))


def test_an_empty_run_and_long_names_and_unknown_letters_make_a_report(tmp_path: Path) -> None:
    write_report(cohort(), tmp_path / "none.pdf")
    long = report("x" * 300, warnings=("w" * 2000, "很多"), mpp=(0.25, 0.26), mpp_source="o" * 200, size=(10**6, 10**5))
    path = write_report(cohort(long, report("切片"), report("Größe µ")), tmp_path / "r.pdf")

    text = text_of(path)
    assert "\\u5207\\u7247" in text
    assert "Größe µ" in text
    assert max(len(line) for line in text.splitlines()) < 200


def test_pages_are_the_summary_the_list_and_one_for_each_slide(tmp_path: Path) -> None:
    path = write_report(cohort(*(report(f"s{i}") for i in range(7))), tmp_path / "r.pdf")

    assert pages_of(path) == 1 + 1 + 7
    assert "9 of 9" in text_of(path)


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no slide reports and no TFRecords"):
        write_report(tmp_path, tmp_path / "r.pdf")


@pytest.mark.parametrize("middle", [False, True])
def test_fitted_text_is_never_wider_than_its_place(middle: bool) -> None:
    for length in range(1, 60, 7):
        for width in (3.0, 20.0, 55.5):
            text = fitted("Wm" * length, width, 8, middle=middle)
            assert width_of(text, 8) <= width or text == "…"


def test_wrapped_text_keeps_every_letter_that_fits() -> None:
    rows = wrapped("a/very/long/path/without/any/space and a few words", 60, 8, lines=20)

    assert "".join(rows).replace(" ", "") == "a/very/long/path/without/any/spaceandafewwords"
    assert all(width_of(row, 8) <= 60 for row in rows)
    assert wrapped("one two three four", 30, 8, lines=1)[0].endswith("…")


def test_names_that_differ_are_shown_differently() -> None:
    assert clean("切") != clean("片")
    assert clean("\u03bcm") == "\u00b5m"


def test_shares_are_only_0_or_100_percent_if_they_are() -> None:
    assert [percent(share) for share in (0, 0.0001, 0.5, 0.99999, 1)] == ["0%", "<0.1%", "50.0%", ">99.9%", "100%"]


MANY = """
import sys
from pathlib import Path
from slideloom_report import cohorts_in, write_report
path = write_report(Path(sys.argv[1]), Path(sys.argv[2]))
# Not ru_maxrss, which starts at the size of the process that started this one.
print(path.stat().st_size, int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_500_slides_stay_below_25_mb_and_300_mb_of_memory(made: Any, tmp_path: Path) -> None:
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

    made_by = subprocess.run(
        [sys.executable, "-c", MANY, str(out), str(tmp_path / "r.pdf")], capture_output=True, text=True, check=True
    )

    size, peak_kb = map(int, made_by.stdout.split())
    assert 10_000_000 < size < 25_000_000, f"{size / 1e6:.1f} MB"
    assert peak_kb < 300 * 1024, f"{peak_kb / 1024:.0f} MB"
