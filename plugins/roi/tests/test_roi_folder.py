"""A folder that holds region files of several formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slideloom import RoiError
from slideloom_roi import RoiFolder
from slideloom_testing import info_of
from slideloom_testing.contracts import RoiSourceContract

CSV = "ROI_Name,X_base,Y_base\nROI_0,0,0\nROI_0,100,0\nROI_0,100,100\nROI_0,0,100\n"
RING = [[0, 0], [50, 0], [50, 50], [0, 50], [0, 0]]
GEOJSON = json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING]}, "properties": {}})


def test_each_slide_is_read_from_the_format_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.geojson").write_text(GEOJSON)
    source = RoiFolder(folder=tmp_path).build()

    areas = [source.regions(info_of(name=name)) for name in "abc"]

    assert [None if found is None else found.items[0].shape.area for found in areas] == [10000, 2500, None]


def test_files_of_two_formats_for_one_slide_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.geojson").write_text(GEOJSON)

    with pytest.raises(RoiError, match=r"several files for slide a: a\.csv, a\.geojson; keep one"):
        RoiFolder(folder=tmp_path).build().regions(info_of(name="a"))


class TestRoiFolder(RoiSourceContract):
    """The contract, on a folder of two formats."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        (tmp_path / "known.csv").write_text(CSV)
        (tmp_path / "other.geojson").write_text(GEOJSON)
        self.settings = RoiFolder(folder=tmp_path)
        self.slide_info = info_of("known", folder=tmp_path)
