"""A slide and a run that the tests of the report share."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import frozen
from slideloom import RunReport, Size, pipeline_from_table, run_pipeline
from slideloom_testing import write_demo_slide

pytest.importorskip("pyvips", reason="the demo slide is written by pyvips")


@frozen
class Made:
    """A slide, and the folder of a run over it that asked for no report."""

    slide: Path
    out: Path
    run: RunReport


def table(**changes: object) -> dict[str, object]:
    """A pipeline with quality control, a normalizer and TFRecords."""
    return {
        "slideloom": 1,
        "tiles": {"size_px": 64, "size_um": 64},
        "qc": [{"use": "otsu"}, {"use": "gaussian-v2"}],
        "normalizer": {"use": "reinhard-fast"},
        "sink": [{"use": "tfrecord"}],
        "run": {"threads": 1, "jobs": 1},
        **changes,
    }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made once for all tests, which leave it alone."""
    folder = tmp_path_factory.mktemp("report")
    slide = folder / "slides" / "demo.svs"
    slide.parent.mkdir()
    write_demo_slide(slide, size=Size(1600, 1200), mpp=0.5)
    run = run_pipeline(pipeline_from_table(table(), where="test"), [slide], folder / "out")
    return Made(slide, folder / "out", run)
