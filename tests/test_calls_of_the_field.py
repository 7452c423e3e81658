"""Calls as people who come from Slideflow write them, on the demo slide, with the real plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import slideloom as sl
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
