"""What is on screen of a `WSI`, stored: the same bytes as `slideloom extract` gives with the same options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import slideloom as sl
from slideloom import Size, Tiling
from slideloom.extraction.overview import plan_picture
from slideloom.pipeline.pipeline import RunOptions
from slideloom.viewing.live import LiveSlide
from slideloom_cli.main import main
from slideloom_testing import AnalyticSlide
from slideloom_testing.fixtures import DemoFiles

WORDS = ["--tile-px", "100", "--tile-um", "100", "--qc", "tissue", "--qc", "gaussian-v2:mpp=2"]
WORDS += [
    "--filter-threshold",
    "0.3",
    "--filter",
    "grayspace:fraction=0.2",
    "--normalizer",
    "macenko:unfit=keep-original",
]


def stored(out: Path) -> dict[str, str]:
    """What the files of tiles hold, and the table of tiles."""
    files = [*out.rglob("*.tfrecords"), *out.rglob("tiles/*.csv")]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def report_of(out: Path) -> dict[str, object]:
    (slide,) = json.loads((out / "extraction_report.json").read_text())["slides"]
    return slide


def test_what_was_tried_out_is_stored_as_if_it_had_been_asked_for_at_once(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    by_command, by_hand = tmp_path / "command", tmp_path / "hand"
    words = [*WORDS, "--roi", str(demo_slide.rois), "--sink", "tfrecord"]
    assert main(["extract", str(demo_slide.path), *words, "--out", str(by_command)]) == 0

    with sl.WSI(demo_slide.path, 100, 100, roi=demo_slide.rois) as wsi:
        wsi.qc("pen")
        wsi.qc(["tissue", "gaussian-v2:mpp=2"])
        wsi.filter("grayspace")
        wsi.normalize("macenko", unfit="keep-original")
        wsi.remove("pen")
        wsi.score()
        wsi.change("tissue", filter_threshold=0.3)
        wsi.change("gaussian-v2", filter_threshold=0.3)
        wsi.change("grayspace", fraction=0.2)
        wsi.score()
        report = wsi.extract(by_hand, sinks=["tfrecord"], run=RunOptions(threads=2))

        assert stored(by_hand) == stored(by_command)
        assert len(stored(by_hand)) == 2
        told = report_of(by_command)
        assert (report.digest, report.pipeline_digest) == (told["digest"], told["pipeline_digest"])
        assert (report.rejected, report.written) == (told["rejected"], told["written"])
        assert wsi.counts == {"kept": report.written, **report.rejected}
        assert wsi.blur_burden == report.blur_burden
        assert wsi.warnings == report.warnings
        scores = wsi.ledger.scores
        assert {"qc:tissue", "qc:gaussian-v2", "filter:grayspace"} == scores.keys()

    with sl.WSI.of_pipeline(demo_slide.path, wsi_pipeline(by_hand)) as again:
        again.score()
        assert again.counts == {"kept": report.written, **report.rejected}
        for name, values in scores.items():
            assert np.array_equal(again.ledger.scores[name], values, equal_nan=True)


def wsi_pipeline(out: Path) -> sl.Pipeline:
    """The pipeline that a run recorded."""
    (path,) = out.rglob("pipeline.json")
    return sl.pipeline_from_table(json.loads(path.read_text())["pipeline"], where=str(path))


def test_a_slide_that_fails_is_an_error(demo_slide: DemoFiles, tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(demo_slide.path.read_bytes())
    with sl.WSI(broken, 100, 100) as wsi:
        wsi.normalize("macenko")
        broken.write_bytes(b"no slide any more")
        with pytest.raises(sl.SlideloomError, match="broken"):
            wsi.extract(tmp_path / "out")


def test_regions_are_read_again_after_their_file_has_changed(demo_slide: DemoFiles, tmp_path: Path) -> None:
    rois = tmp_path / "rois"
    rois.mkdir()
    square = "roi_name,label,x_base,y_base\n" + "".join(
        f"a,tumor,{x},{y}\n" for x, y in ((0, 0), (1000, 0), (1000, 1000), (0, 1000))
    )
    file = rois / f"{demo_slide.path.stem}.csv"
    file.write_text(square)
    with sl.WSI(demo_slide.path, 100, 100, roi=rois) as wsi:
        wsi.qc(["tissue", "otsu"])
        tissue, otsu = wsi.qc_results
        kept = len(wsi.ledger) - wsi.counts["roi"]
        file.write_text(square.replace("1000", "500"))
        wsi.reload_regions()

        assert len(wsi.ledger) - wsi.counts["roi"] == pytest.approx(kept / 4, rel=0.3)
        assert wsi.qc_results[0] is tissue  # which does not look at regions
        assert wsi.qc_results[1] is not otsu


def test_tissue_and_pen_look_for_ink_once(demo_slide: DemoFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    from slideloom_qc import pen

    found = []
    ink_mask = pen.ink_mask
    monkeypatch.setattr(pen, "ink_mask", lambda *given, **options: found.append(1) or ink_mask(*given, **options))
    with sl.WSI(demo_slide.path, 100, 100) as wsi:
        wsi.qc(["tissue", "pen"])
        assert len(found) == 1
        wsi.change("pen", min_area_um2=1000.0)
    assert len(found) == 2


def test_a_viewer_sees_what_the_slide_shows(demo_slide: DemoFiles) -> None:
    with sl.WSI(demo_slide.path, 100, 100) as wsi:
        width, height = wsi.dimensions
        for downsample, x, y in ((1, 1000, 700), (1.7, 0, 0), (4, 800, 400), (16, 0, 0), (37.5, 100, 50)):
            size = sl.Size(200, 150)
            seen = wsi.view_at(downsample, x, y, size).astype(int)
            box = sl.Box(x, y, 200 * downsample, 150 * downsample)
            off = np.abs(seen - wsi.slide.read_at(box, size, level=0))  # other levels have JPEG noise of their own
            assert off.mean() < 1, downsample
        beyond = wsi.view_at(16, width - 160, height - 160, 100)
        assert (beyond[20:, 20:] == wsi.info.background).all()
        assert (wsi.view_at(16, -1600, -1600, 100) == wsi.info.background).all()


def test_a_slide_without_a_pyramid_is_read_once_for_all_its_pictures() -> None:
    slide = CountedSlide(Size(6000, 5000), mpp=1.0, downsamples=(1,))
    live = LiveSlide(slide, sl.Pipeline(tiles=Tiling(size_px=100, size_um=1000.0)), threads=1)
    first = live.view.at(16, 0, 0, Size(100, 100))
    read = slide.pixels
    assert read == pytest.approx(6000 * 5000, rel=0.01)
    pictures = [live.view.at(32, 0, 0, Size(100, 100)), live.thumbnail(max_px=500), live.thumbnail(max_px=1000)]
    pictures += [plan_picture(live.state.plan, live.state.record, max_px=800, thumbnail=live.thumbnail).rgb]

    assert slide.pixels == read
    exact = slide.expected(slide.info.box, Size(500, 416))
    assert np.abs(pictures[1] - exact).mean() < 1
    assert np.abs(first - slide.expected(sl.Box(0, 0, 1600, 1600), Size(100, 100))).max() < 2


class CountedSlide(AnalyticSlide):
    """Counts the pixels that are read."""

    pixels = 0

    def read(self, origin: sl.Point, level: int, size: Size) -> sl.Rgb:
        self.pixels += size.area
        return super().read(origin, level, size)
