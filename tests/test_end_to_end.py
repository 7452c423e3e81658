"""The main job with the real plugins, on the demo slide and on real slides, as a user runs it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import cv2
import numpy as np
import pandas as pd
import pytest
import slideloom as sl
from slideloom.pipeline.tiling import Tiling
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles
from slideloom_tfrecord import TFRecordFile, read_records

TILES = ["--tile-px", "100", "--tile-um", "100"]
STEPS = ["--qc", "pen", "--qc", "tissue", "--qc", "gaussian-v2:mpp=2", "--normalizer", "macenko:unfit=keep-original"]


def extract(*words: object) -> int:
    return main(["extract", *(str(word) for word in words)])


def report_of(out: Path) -> dict[str, object]:
    (slide,) = json.loads((out / "extraction_report.json").read_text())["slides"]
    return slide


def digests(out: Path) -> dict[str, str]:
    """What every output file holds; the run's own reports tell times, so they are left out."""
    files = [
        path for path in sorted(out.rglob("*")) if path.is_file() and "slideloom" not in path.relative_to(out).parts
    ]
    files = [path for path in files if path.name != "extraction_report.json"]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_output_byte_is_the_same_for_any_threads_and_jobs(demo_slide: DemoFiles, tmp_path: Path) -> None:
    other = tmp_path / "other.svs"
    other.write_bytes(demo_slide.path.read_bytes())
    found = []
    for number, run in enumerate((["--threads", 1], ["--threads", 3], ["--jobs", 2, "--threads", 2])):
        out = tmp_path / str(number)
        assert (
            extract(
                demo_slide.path, other, *TILES, *STEPS, "--sink", "tfrecord", "--sink", "images", "--out", out, *run
            )
            == 0
        )
        found.append(digests(out))

    assert found[0] == found[1] == found[2]
    assert "tfrecords/100px_100um/demo.tfrecords" in found[0]


def test_what_was_planted_is_dropped_for_the_right_reason(demo_slide: DemoFiles, tmp_path: Path) -> None:
    extract(demo_slide.path, *TILES, *STEPS, "--out", tmp_path)
    report = report_of(tmp_path)
    with (tmp_path / str(report["tile_table"])).open() as file:
        rows = list(csv.DictReader(file))
    truth = {part: demo_slide.truth.shape(part) for part in ("pen", "blur", "tissue")}

    def share(row: dict[str, str], part: str) -> float:
        from shapely import box

        x, y = int(row["loc_x"]), int(row["loc_y"])
        square = box(x - 50, y - 50, x + 50, y + 50)
        return truth[part].intersection(square).area / square.area

    blurred = [row for row in rows if share(row, "blur") > 0.95 and share(row, "pen") == 0]
    sharp = [row for row in rows if share(row, "tissue") == 1 and share(row, "blur") == share(row, "pen") == 0]
    glass = [row for row in rows if share(row, "tissue") == 0 and share(row, "pen") == 0]
    assert blurred
    assert {row["status"] for row in blurred} == {"qc:gaussian-v2"}
    assert {row["status"] for row in glass} <= {"qc:tissue"}
    kept = sum(row["status"] == "written" for row in sharp) / len(sharp)
    assert kept > 0.9
    assert report["planned"] == report["written"] + sum(report["rejected"].values()) + report["unreadable"]  # type: ignore[operator, attr-defined]


def test_tfrecords_hold_the_tiles_that_the_report_counts(demo_slide: DemoFiles, tmp_path: Path) -> None:
    extract(demo_slide.path, *TILES, "--qc", "otsu", "--sink", "tfrecord:format=png", "--out", tmp_path)
    report = report_of(tmp_path)
    path = tmp_path / "tfrecords" / "100px_100um" / "demo.tfrecords"
    records = list(read_records(path))

    assert len(records) == report["written"] == len(TFRecordFile(path))
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert manifest == {"demo.tfrecords": {"total": len(records)}}
    with sl.open_slide(demo_slide.path) as slide:
        for record in records[::7]:
            rgb = cv2.imdecode(np.frombuffer(record.image_raw, np.uint8), cv2.IMREAD_COLOR_RGB)
            box = sl.Box(record.loc_x - 50, record.loc_y - 50, 100, 100)
            assert np.array_equal(rgb, slide.read_at(box, sl.Size(100, 100)))


def test_tensorflow_reads_the_records(demo_slide: DemoFiles, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    extract(demo_slide.path, *TILES, "--qc", "otsu", "--out", tmp_path)
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image_raw", "slide")}
    features |= {name: tf.io.FixedLenFeature([], tf.int64) for name in ("loc_x", "loc_y")}
    path = tmp_path / "tfrecords" / "100px_100um" / "demo.tfrecords"

    parsed = [tf.io.parse_single_example(raw, features) for raw in tf.data.TFRecordDataset(str(path))]

    assert len(parsed) == report_of(tmp_path)["written"]
    assert {record["slide"].numpy().decode() for record in parsed} == {"demo"}
    assert tf.io.decode_jpeg(parsed[0]["image_raw"]).shape == (100, 100, 3)


def test_rois_label_their_tiles_in_both_modes(demo_slide: DemoFiles, tmp_path: Path) -> None:
    for mode in ("center", "0.5"):
        out = tmp_path / mode
        words = [
            "--roi",
            demo_slide.rois,
            "--roi-method",
            "inside",
            "--roi-filter",
            mode,
            "--filter",
            "none",
            "--out",
            out,
        ]
        assert extract(demo_slide.path, *TILES, *words) == 0
        report = report_of(out)
        assert set(report["roi_labels"]) == {"tumor", "stroma"}  # type: ignore[call-overload]
        assert sum(report["roi_labels"].values()) == report["written"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["inside", "outside"])
def test_a_slide_without_regions_is_skipped_with_its_reason_by_every_front(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    (rois := tmp_path / "rois").mkdir()
    told = f"roi 'roi-folder' has no regions for this slide, and {{}} is '{method}'"
    said, in_python = told.format("--roi-method"), told.format("roi_method")
    words = [*TILES, "--roi", str(rois), "--roi-method", method]

    for name, more in (("run", []), ("dry", ["--dry-run"])):
        assert extract(demo_slide.path, *words, *more, "--json", "--out", tmp_path / name) == 0
        shown = capsys.readouterr()
        (slide,) = json.loads(shown.out)["slides"]
        assert slide["rejected"] == {"roi": slide["planned"]}
        assert slide["warnings"] == [said]
        assert said in shown.err
        assert f"NO TILES demo: all {slide['planned']} tiles were dropped: {slide['planned']} by roi" in shown.err
    assert main(["tiles", str(demo_slide.path), *words]) == 0
    shown = capsys.readouterr()
    assert {row["status"] for row in csv.DictReader(io.StringIO(shown.out))} == {"roi"}
    assert said in shown.err
    with sl.WSI(demo_slide.path, tile_px=100, tile_um=100, roi=rois, roi_method=method) as wsi:  # type: ignore[arg-type]
        assert len(wsi) == 0
        assert wsi.warnings == (in_python,)
    project = sl.Project.create(tmp_path / "project", slides=demo_slide.path.parent, roi=rois)
    report = project.extract_tiles(tile_px=100, tile_um=100, roi_method=method)
    assert {slide.warnings for slide in report.empty} == {(in_python,)}  # other tests put more slides there


def test_the_tiles_command_keeps_what_extract_keeps(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--roi", demo_slide.rois, "--roi-filter", "0.2", "--roi-artifact", "stroma", "--qc", "tissue"]
    words += ["--filter-threshold", "0.1"]
    assert extract(demo_slide.path, *TILES, *words, "--filter", "none", "--out", tmp_path) == 0
    capsys.readouterr()

    assert main(["tiles", str(demo_slide.path), *TILES, *map(str, words)]) == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    with (tmp_path / str(report_of(tmp_path)["tile_table"])).open() as file:
        cut = [(row["loc_x"], row["loc_y"], row["status"], row["label"]) for row in csv.DictReader(file)]
    kept = {"kept": "written"}
    assert [(row["loc_x"], row["loc_y"], kept.get(row["status"], row["status"]), row["label"]) for row in rows] == cut
    assert {"kept", "roi", "qc:tissue"} == {row["status"] for row in rows}


def test_wsi_looks_at_a_slide_without_writing(demo_slide: DemoFiles) -> None:
    with sl.WSI(demo_slide.path, tile_px=100, tile_um=100, roi=demo_slide.rois) as wsi:
        regions_only = len(wsi)
        wsi.qc("tissue")
        wsi.qc(["gaussian-v2", "pen"])
        frame = wsi.tile_dataframe()

        assert list(frame.columns) == ["loc_x", "loc_y", "grid_x", "grid_y", "roi_name", "roi_desc", "label"]
        assert len(frame) == len(wsi) == wsi.grid.sum() < regions_only
        assert wsi.blur_burden is not None
        assert {tile.label for tile in wsi} == {"tumor", "stroma"}
        column, row = int(frame.grid_x[0]), int(frame.grid_y[0])
        assert np.array_equal(wsi[column, row], next(t.rgb for t in wsi if (t.grid_x, t.grid_y) == (column, row)))
        assert wsi.preview()._repr_png_().startswith(b"\x89PNG")
        wsi.remove_qc()
        assert len(wsi) == regions_only
        with pytest.raises(IndexError, match="no tile at column 999"):
            wsi[999, 0]


def test_wsi_takes_settings_and_shows_regions(demo_slide: DemoFiles) -> None:
    from slideloom_qc import GaussianV2, Otsu

    with sl.WSI(demo_slide.path, tile_px=100, tile_um=100, roi=demo_slide.rois) as wsi:
        results = wsi.qc([Otsu(), GaussianV2(mpp=1, sigma=2)])
        thumb, with_regions = wsi.thumb(), wsi.thumb(rois=True)

        assert [result.kind for result in results] == ["background", "blur"]
        assert results[1].metrics["mpp"] == 1
        assert repr(thumb) == "Picture(rgb=1024 x 768 pixels)"
        changed = (thumb.rgb != with_regions.rgb).any(axis=-1)
        assert 0 < changed.mean() < 0.1
        assert not with_regions.rgb[changed].any()  # the outlines are black
        shown = wsi._repr_html_()
        assert len(shown) < 300_000
        assert f"{len(wsi)} kept" in shown
        assert "qc:otsu" in shown
        with pytest.raises(sl.ConfigError, match="filter_threshold must be from 0 to 1, not 2"):
            wsi.qc("otsu", filter_threshold=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tile_px": 0}, "tile_px must be at least 1, not 0$"),
        ({"tile_px": "100"}, "tile_px must be a whole number, not '100'$"),
        ({"tile_um": float("inf")}, "tile_um must be a finite number, not inf$"),
        ({"tile_um": "0x"}, "tile_um must be a number of microns or a magnification such as \"10x\", not '0x'$"),
        ({"stride_div": 0}, "stride_div must be above 0, not 0$"),
        ({"use_edge_tiles": 1}, "use_edge_tiles must be true or false, not 1$"),
        ({"mpp": -1}, "mpp must be above 0, not -1$"),
        ({"roi": "rois", "roi_filter_method": 3}, "roi_filter_method must be center or a share from 0 to 1, not 3$"),
        ({"artifact_labels": "pen"}, "artifact_labels must be a list of text, not 'pen'$"),
    ],
)
def test_a_wrong_argument_of_wsi_is_a_config_error(
    demo_slide: DemoFiles, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(sl.ConfigError, match=f"^{said}"):
        sl.WSI(demo_slide.path, **{"tile_px": 100, "tile_um": 100, **arguments})  # type: ignore[arg-type]


def test_wsi_cuts_as_extract_does_with_every_option_of_tiles(demo_slide: DemoFiles, tmp_path: Path) -> None:
    options = {"stride_div": 2, "use_edge_tiles": True, "randomize_origin": True, "seed": 5, "enable_downsample": False}
    words = ["--stride-div", 2, "--edge-tiles", "--random-origin", "--seed", 5, "--no-downsample", "--filter", "none"]
    assert extract(demo_slide.path, "--tile-px", 100, "--tile-um", 100, *words, "--out", tmp_path) == 0
    (table,) = (tmp_path / "slideloom").glob("*/tiles/*.csv")
    cut = pd.read_csv(table)

    tiling = Tiling(size_px=100, size_um=100, stride_div=2, edge_tiles=True, random_origin=True, seed=5)
    with (
        sl.WSI(demo_slide.path, 100, 100, **options) as by_words,  # type: ignore[arg-type]
        sl.WSI(demo_slide.path, 100, 100, **{**options, "use_edge_tiles": False, "edge_tiles": True}) as by_old_word,  # type: ignore[arg-type]
        sl.WSI.of(demo_slide.path, attrs.evolve(tiling, enable_downsample=False)) as by_settings,
    ):
        for wsi in (by_words, by_old_word, by_settings):
            frame = wsi.tile_dataframe(every=True)
            assert frame[["loc_x", "loc_y"]].to_numpy().tolist() == cut[["loc_x", "loc_y"]].to_numpy().tolist()
            assert wsi.geometry.level == 0


def test_real_slides_run_and_the_one_without_mpp_is_named(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = sorted(real_data.glob("*.svs"))
    words = ["--tile-px", 299, "--tile-um", 302, "--qc", "tissue", "--qc", "gaussian-v2", "--out", tmp_path]

    code = extract(*slides, *words)

    printed = capsys.readouterr().err
    assert code == 1
    assert "tcga-cr-7395-01a-01-ts1.svs: no microns per pixel recorded" in printed
    assert (tmp_path / "tfrecords" / "299px_302um" / "cmu-1-small-region.tfrecords").exists()
    assert extract(*slides, *words, "--mpp", "0.5", "--redo") == 0


@pytest.mark.parametrize("reader", ["tiff", "openslide", "vips"])
def test_every_reader_gives_the_same_tiles_of_a_real_slide(real_data: Path, tmp_path: Path, reader: str) -> None:
    slide = real_data / "cmu-1-small-region.svs"
    words = ["--tile-px", 299, "--tile-um", 302, "--sink", "tfrecord:format=png,shuffle=false"]
    extract(slide, *words, "--reader", reader, "--out", tmp_path / reader)
    extract(slide, *words, "--reader", "openslide", "--out", tmp_path / "reference")

    records, expected = (
        list(read_records(tmp_path / name / "tfrecords" / "299px_302um" / "cmu-1-small-region.tfrecords"))
        for name in (reader, "reference")
    )

    assert len(records) == len(expected) == 6
    assert [record.image_raw for record in records] == [record.image_raw for record in expected]


def test_real_slides_give_the_same_bytes_for_any_threads_jobs_and_batch(real_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(
        f"""slideloom = 1
        qc = [{{use = "otsu"}}, {{use = "gaussian-v2"}}]
        normalizer = {{use = "macenko"}}
        sink = [{{use = "tfrecord"}}, {{use = "images"}}]
        [slides]
        include = ["{(real_data / "*.svs").as_posix()}"]
        mpp = 0.5
        [tiles]
        size_px = 150
        size_um = 302
        [run]
        batch_tiles = 3
        """
    )
    runs = (["--threads", "1"], ["--threads", "2"], ["--jobs", "2"])
    for number, run in enumerate(runs):
        assert main(["run", str(file), "--out", str(tmp_path / str(number)), *run]) == 0
    words = ["--mpp", 0.5, "--tile-px", 150, "--tile-um", 302, "--qc", "otsu", "--qc", "gaussian-v2"]
    words += ["--normalizer", "macenko", "--sink", "tfrecord", "--sink", "images", "--out", tmp_path / "words"]
    assert extract(*sorted(real_data.glob("*.svs")), *words) == 0

    found = [digests(tmp_path / name) for name in ("0", "1", "2", "words")]

    assert len(found[0]) > 30
    assert found.count(found[0]) == 4


@pytest.mark.parametrize(
    "words",
    [
        ["--edge-tiles", "--qc", "otsu"],
        ["--stride-div", "2"],
        ["--stride-div", "4", "--edge-tiles", "--max-tiles", "20"],
        ["--random-origin", "--seed", "5", "--use-bounds", "--max-tiles", "7", "--qc", "otsu"],
        ["--roi", "ROIS", "--roi-method", "outside", "--roi-filter", "0.3", "--edge-tiles"],
        ["--roi", "ROIS", "--roi-artifact", "tumor", "--roi-filter", "0.3", "--stride-div", "2"],
        ["--roi", "ROIS", "--roi-artifact", "tumor", "--normalizer", "macenko"],
        ["--tile-um", "10x", "--edge-tiles"],
    ],
    ids=" ".join,
)
def test_table_report_and_records_agree_on_every_planned_tile(
    demo_slide: DemoFiles, tmp_path: Path, words: list[str]
) -> None:
    words = [str(demo_slide.rois) if word == "ROIS" else word for word in words]

    assert extract(demo_slide.path, *TILES, *words, "--out", tmp_path) == 0

    report = sl.SlideReport.load(
        tmp_path / "slideloom" / next((tmp_path / "tfrecords").iterdir()).name / "slides/demo.json"
    )
    rows = list(csv.DictReader((tmp_path / report.tile_table).read_text().splitlines()))
    status = [row["status"] for row in rows]
    records = list(read_records(tmp_path / report.outputs[0]))
    assert report.is_accounted
    assert len(rows) == report.planned > report.written > 0
    assert {reason: status.count(reason) for reason in set(status) - {"written"}} == report.rejected
    places = {(int(row["loc_x"]), int(row["loc_y"])) for row in rows if row["status"] == "written"}
    assert sorted((record.loc_x, record.loc_y) for record in records) == sorted(places)
    assert "max-tiles" not in report.rejected or report.written == int(words[words.index("--max-tiles") + 1])


def test_saved_masks_and_any_order_of_qc_give_the_same_tiles_and_blur_burden(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    names = ["tissue", "gaussian-v2", "pen"]
    masks = tmp_path / "first" / "slideloom" / "100px_100um" / "masks"
    orders = {
        "first": [*names, "--save-masks"],
        "backwards": names[::-1],
        "saved": [f"saved-mask:folder={masks},of={name}" for name in names],
    }
    for out, steps in orders.items():
        flags = [step for step in steps if step.startswith("--")]
        qc = [word for step in steps if step not in flags for word in ("--qc", step)]
        assert extract(demo_slide.path, *TILES, *qc, *flags, "--out", tmp_path / out) == 0

    reports = [report_of(tmp_path / out) for out in orders]
    folders = [tmp_path / out / "tfrecords" / "100px_100um" for out in orders]
    assert len({report["blur_burden"] for report in reports}) == 1
    assert reports[0]["blur_burden"] > 0.05  # type: ignore[operator]
    assert len({(folder / "demo.tfrecords").read_bytes() for folder in folders}) == 1
    for folder in folders:
        assert (folder / "high_blur_burden.txt").read_text() == f"demo,{reports[0]['blur_burden']:.4f}\n"
    assert any("out of focus" in warning for warning in reports[0]["warnings"])  # type: ignore[attr-defined]
    by_step: dict[str, int] = reports[0]["rejected"]  # type: ignore[assignment]
    assert "qc:tissue" in by_step
    assert reports[2]["rejected"] == {
        reason.replace("qc:", "qc:saved-mask-"): count for reason, count in by_step.items()
    }


def test_every_form_of_the_tile_list_tells_kept_and_dropped_tiles_with_reasons(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    pd, shapely = pytest.importorskip("pandas"), pytest.importorskip("shapely")
    words = ["tiles", str(demo_slide.path), *TILES, "--roi", str(demo_slide.rois), "--qc", "otsu"]
    forms = [tmp_path / f"t.{suffix}" for suffix in ("csv", "parquet", "geojson")]
    for form in forms:
        if form.suffix == ".parquet":
            pytest.importorskip("pyarrow")
        assert main([*words, "--out", str(form)]) == 0

    table, parquet = pd.read_csv(forms[0]), pd.read_parquet(forms[1])
    features = json.loads(forms[2].read_text())["features"]

    assert set(table.status) == {"kept", "roi", "qc:otsu"}
    assert set(table.label.dropna()) == {"tumor", "stroma"}
    assert parquet[["loc_x", "loc_y", "status"]].equals(table[["loc_x", "loc_y", "status"]])
    assert [feature["properties"]["classification"]["name"] for feature in features] == table.status.tolist()
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert all(shape.is_valid for shape in shapes)
    assert [(shape.centroid.x, shape.centroid.y) for shape in shapes] == list(
        zip(table.loc_x, table.loc_y, strict=True)
    )


def test_damaged_real_files_are_named_and_the_others_finish(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (real_data / "cmu-1-small-region.svs").read_bytes()
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "good.svs").write_bytes(whole)
    (folder / "cut.svs").write_bytes(whole[: len(whole) // 2])
    (folder / "holed.svs").write_bytes(whole[:400_000] + bytes(100_000) + whole[500_000:])
    (folder / "text.svs").write_text("not a slide")
    (folder / "empty.svs").touch()

    code = extract(folder, "--tile-px", 299, "--tile-um", 302, "--filter", "none", "--out", tmp_path / "out")

    assert code == 1
    slides = {
        slide["slide"]: slide
        for slide in json.loads((tmp_path / "out" / "extraction_report.json").read_text())["slides"]
    }
    assert {name: slide["status"] for name, slide in slides.items()} == {
        "good": "done",
        "cut": "failed",
        "holed": "done",
        "text": "failed",
        "empty": "failed",
    }
    assert slides["holed"]["unreadable"] > 0
    assert slides["holed"]["planned"] == 12
    for name in ("cut", "text", "empty"):
        assert f"{name}.svs" in slides[name]["error"]
    assert not [path for path in (tmp_path / "out").rglob("*") if "partial" in path.name]


WORDS_OF_A_RUN = {
    "default": [],
    "no filter": ["--filter", "none"],
    "filters": ["--filter", "grayspace:fraction=0.3", "--filter", "whitespace:fraction=0.1", "--filter", "grayspace"],
    "unfit rejected": ["--normalizer", "macenko:unfit=reject", "--filter", "none"],
    "unfit kept": ["--normalizer", "reinhard:unfit=keep-original", "--filter", "none"],
    "slide fit": ["--normalizer", "vahadane:unfit=slide-fit"],
    "limit": ["--max-tiles", "20", "--seed", "3", "--normalizer", "macenko"],
    "qc": ["--qc", "otsu", "--qc", "gaussian-v2", "--edge-tiles"],
    "regions": ["--roi", "ROIS", "--roi-method", "outside", "--stride-div", "2"],
}


@pytest.mark.parametrize("words", WORDS_OF_A_RUN.values(), ids=WORDS_OF_A_RUN)
def test_a_dry_run_decides_on_each_tile_as_the_run_does(
    real_data: Path, demo_slide: DemoFiles, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (real_data / "cmu-1-small-region.svs").read_bytes()
    (folder := tmp_path / "slides").mkdir()
    (folder / "cmu.svs").write_bytes(whole)
    (folder / "holed.svs").write_bytes(whole[:400_000] + bytes(100_000) + whole[500_000:])
    (folder / "demo.svs").write_bytes(demo_slide.path.read_bytes())
    (folder / "text.svs").write_text("not a slide")
    words = [str(demo_slide.rois) if word == "ROIS" else word for word in words]
    words = [str(folder), "--tile-px", "100", "--tile-um", "100", *words]

    made, tried = extract(*words, "--out", tmp_path / "out"), extract(*words, "--dry-run", "--out", tmp_path / "dry")

    assert (made, tried) == (1, 1)  # text.svs is no slide
    dry = sl.run_pipeline(*_run_of(tmp_path / "out", folder), tmp_path / "dry", dry_run=True)
    assert not (tmp_path / "dry").exists()
    for found in dry.slides:
        report = sl.SlideReport.load(tmp_path / f"out/slideloom/100px_100um/slides/{found.slide}.json")
        assert (found.status, found.error) == (report.status, report.error)
        if report.status == "failed":
            continue
        with (tmp_path / "out" / report.tile_table).open() as file:
            assert found.statuses.unpacked() == [row["status"] for row in csv.DictReader(file)]  # type: ignore[union-attr]
        assert (found.written, found.kept) == (0, report.written)
        assert {k: n for k, n in found.rejected.items() if k != "dry-run"} == report.rejected
        assert (found.unreadable, found.fallback) == (report.unreadable, report.fallback)
        assert (found.roi_labels, found.metrics) == (report.roi_labels, report.metrics)
        # A pipeline file and the command line call the option otherwise.
        assert [said.replace("roi.method", "--roi-method") for said in found.warnings] == list(report.warnings)
        assert (found.slide != "holed") or found.unreadable or "--roi" in words or "--max-tiles" in words
    kept, planned = (sum(getattr(slide, word) for slide in dry.slides) for word in ("kept", "planned"))
    shown = capsys.readouterr().err
    assert f"{kept} of {planned} planned would be written" in shown
    assert "no tile was written" in shown


def _run_of(out: Path, folder: Path) -> tuple[sl.Pipeline, list[Path]]:
    """The pipeline that a run stored, and its slides."""
    table = json.loads((out / "extraction_report.json").read_text())["pipeline"]
    return sl.pipeline_from_table(table, where="stored"), sl.find_slides([str(folder)])


def test_the_plan_alone_says_that_filters_were_not_run(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(demo_slide.path, *TILES, "--plan-only", "--json", "--out", tmp_path / "out") == 0

    shown = capsys.readouterr()
    run = json.loads(shown.out)
    (slide,) = run["slides"]
    assert (run["dry_run"], run["plan_only"]) == (True, True)
    assert slide["rejected"] == {"plan-only": slide["planned"]}
    said = f"{slide['planned']} of {slide['planned']} planned left for tile filters and normalizer to decide on"
    assert said in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_every_sink_and_report_takes_a_slide_whose_name_is_no_text(demo_slide: DemoFiles, tmp_path: Path) -> None:
    slide = tmp_path / os.fsdecode(b"M\xfcller.svs")
    slide.write_bytes(demo_slide.path.read_bytes())
    sinks = [word for name in ("tfrecord", "images", "hdf5", "webdataset") for word in ("--sink", name)]
    more = ["--save-masks", "--overview", "--report", "--normalizer", "macenko", "--json"]
    words = [sys.executable, "-m", "slideloom", "extract", slide, *TILES, "--qc", "tissue", *sinks, *more]

    done = subprocess.run([*map(str, words), "--out", str(tmp_path / "out")], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["slides"]
    assert (report["status"], report["path"]) == ("done", str(slide))
    (record, *_) = read_records(tmp_path / "out" / "tfrecords" / "100px_100um" / f"{slide.stem}.tfrecords")
    assert record.slide == "M\\udcfcller"
    assert report_of(tmp_path / "out")["slide"] == slide.stem
    assert list((tmp_path / "out").glob("*.pdf"))
    table = (tmp_path / "out" / "tfrecords" / "100px_100um" / "extraction_report.csv").read_text(encoding="utf-8")
    assert "\nM\\udcfcller," in table


def test_a_manifest_that_cannot_be_written_is_told_and_the_slide_stays_finished(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "tfrecords/128px_128um/manifest.json"
    manifest.mkdir(parents=True)
    words = (demo_slide.path, "--tile-px", 128, "--tile-um", 128, "--out", tmp_path, "--json", "--quiet")

    code = main([*map(str, ("extract", *words))])

    told = capsys.readouterr()
    report = json.loads(told.out)
    assert code == 1
    assert report["slides"][0]["status"] == "done"
    assert report["slides"][0]["written"] > 0
    assert len(report["problems"]) == 1
    assert "slideloom-tfrecord/tfrecord' failed in slideloom_run_done" in report["problems"][0]
    assert "manifest.json" in report["problems"][0]
    assert report["problems"][0] in " ".join(told.err.split())

    manifest.rmdir()

    assert main([*map(str, ("extract", *words))]) == 0
    assert json.loads(manifest.read_text())["demo.tfrecords"] == {"total": report["slides"][0]["written"]}
