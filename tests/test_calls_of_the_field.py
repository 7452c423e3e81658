"""Calls as people who come from Slideflow write them, on the demo slide, with the real plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import slideloom as sl
from slideloom.pipeline.tiling import Tiling
from slideloom_cli.main import main
from slideloom_qc import GaussianV2, Otsu
from slideloom_testing.fixtures import DemoFiles

SIZE = ["--tile-px", "100", "--tile-um", "100"]


@pytest.fixture
def project(demo_slide: DemoFiles, tmp_path: Path) -> sl.Project:
    return sl.Project.create(tmp_path / "project", slides=demo_slide.path)


def rejected_by(report: sl.RunReport) -> dict[str, int]:
    (slide,) = report.slides
    return dict(slide.rejected)


class TestNamesOfSlideQc:
    def test_both_is_blur_and_then_otsu_wherever_a_step_is_named(
        self, project: sl.Project, demo_slide: DemoFiles, tmp_path: Path
    ) -> None:
        by_hand = project.extract_tiles(100, 100, qc=[GaussianV2(), Otsu()], report=False)
        told = rejected_by(project.extract_tiles(100, 100, qc="both", report=False, redo=True))
        assert told == rejected_by(by_hand)
        assert {"qc:gaussian-v2", "qc:otsu"} <= told.keys()

        assert main(["extract", str(demo_slide.path), *SIZE, "--qc", "both", "--out", str(tmp_path / "flags")]) == 0
        file = tmp_path / "file" / "pipeline.toml"
        file.parent.mkdir()
        file.write_text(
            f'slideloom = 1\n[slides]\ninclude = ["{demo_slide.path}"]\n[tiles]\nsize_px = 100\nsize_um = 100\n'
            '[[qc]]\nuse = "both"\nfilter_threshold = 0.6\n'
        )
        assert main(["run", str(file)]) == 0
        for out in (tmp_path / "flags", file.parent):
            (slide,) = json.loads((out / "extraction_report.json").read_text())["slides"]
            assert slide["rejected"] == told

    def test_a_slide_takes_both_and_blur_and_lists(self, demo_slide: DemoFiles) -> None:
        with sl.WSI(demo_slide.path, 100, 100) as wsi:
            assert [result.kind for result in wsi.qc("both")] == ["blur", "background"]  # type: ignore[union-attr]
            kept = len(wsi)
            wsi.remove_qc()
            assert [result.kind for result in wsi.qc(["otsu", "blur"])] == ["background", "blur"]  # type: ignore[union-attr]
            assert len(wsi) == kept
            wsi.remove_qc()
            result = wsi.qc("blur", threshold=0.02)
            assert isinstance(result, sl.QcResult)
            assert result.kind == "blur"

    def test_options_for_several_steps_under_one_name_are_refused(self, project: sl.Project) -> None:
        with pytest.raises(sl.ConfigError, match="qc both: takes no sigma: it stands for gaussian-v2 and otsu"):
            project.extract_tiles(100, 100, qc="both:sigma=2")


class TestExtractionOfADataset:
    def test_a_dataset_is_cut_as_its_project_is(self, project: sl.Project) -> None:
        by_project = project.extract_tiles(100, 100)
        (record,) = project.dataset(100, 100).tfrecords()
        content = record.read_bytes()

        again = project.dataset(100, 100).extract_tiles()
        assert [slide.status for slide in again.slides] == ["skipped"]  # the same settings, so nothing is made again

        redone = project.dataset(100, 100).extract_tiles(redo=True)
        assert record.read_bytes() == content
        assert redone.digest == by_project.digest
        assert rejected_by(redone) == rejected_by(by_project)

    def test_only_the_dataset_s_slides_are_cut_with_the_tiling_it_has(
        self, demo_slide: DemoFiles, tmp_path: Path
    ) -> None:
        slides = tmp_path / "slides"
        slides.mkdir()
        for name in ("one", "two"):
            (slides / f"{name}.svs").symlink_to(demo_slide.path)
        project = sl.Project.create(tmp_path / "project", slides=slides)
        whole = project.dataset_of(Tiling(size_px=100, magnification="10x", stride_div=2.0))

        report = whole.filter(slides=["two"]).extract_tiles(report=False)

        assert [slide.slide for slide in report.slides] == ["two"]
        assert report.slides[0].label == "100px_10x"
        assert report.slides[0].stride == (50, 50)

    def test_an_argument_that_it_has_itself_or_that_nobody_knows_is_refused(self, project: sl.Project) -> None:
        for name in ("tile_px", "filters", "nonsense"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                project.dataset(100, 100).extract_tiles(**{name: 1})  # type: ignore[arg-type]
