"""A project of three extracted demo slides."""

from __future__ import annotations

import pytest
import slideloom as sl
from slideloom_testing import write_demo_rois, write_demo_slide

NAMES = ("one", "two", "three")
ANNOTATIONS = "patient,slide,site\np1,one,North\np1,two,North\np2,three,South\n"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> sl.Project:
    """Three demo slides, extracted within their regions, which are labelled tumor and stroma."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    (folder / "roi").mkdir()
    for seed, name in enumerate(NAMES):
        truth = write_demo_slide(folder / f"slides/{name}.svs", size=sl.Size(2000, 1500), mpp=1.0, seed=seed)
        write_demo_rois(truth, folder / "roi", name)
    (folder / "labels.csv").write_text(ANNOTATIONS)
    made = sl.Project.create(
        folder / "project", slides=folder / "slides", roi=folder / "roi", annotations=folder / "labels.csv"
    )
    report = made.extract_tiles(64, 64, jobs=1, threads=2, report=False)
    assert not report.failed
    return made


@pytest.fixture
def dataset(project: sl.Project) -> sl.Dataset:
    return project.dataset(64, 64)
