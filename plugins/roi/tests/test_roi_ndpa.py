"""Hamamatsu annotations: nanometres from the glass's centre."""

from __future__ import annotations

import pytest
from attrs import evolve
from shapely.geometry import box
from slideloom import RoiError, Size
from slideloom_roi import Ndpa
from slideloom_testing.contracts import RoiSourceContract
from slideloom_testing.tiles import info_of

OFFSETS = {"hamamatsu.XOffsetFromSlideCentre": "1000000", "hamamatsu.YOffsetFromSlideCentre": "-500000"}


def view(points, *, title="tumor", kind="freehand", closed=1) -> str:
    listed = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in points)
    return (
        f'<ndpviewstate id="1"><title>{title}</title><details>seen</details><annotation type="{kind}">'
        f"<pointlist>{listed}</pointlist><closed>{closed}</closed></annotation></ndpviewstate>"
    )


def document(*views: str) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n<annotations>' + "".join(views) + "</annotations>"


def nanometres(x: float, y: float) -> tuple[int, int]:
    """The place of a pixel of a slide of 1000 x 800 at 0.5 microns: 500 nm per pixel."""
    return round((x - 500) * 500 + 1_000_000), round((y - 400) * 500 - 500_000)


SQUARE = [nanometres(*p) for p in ((100, 100), (300, 100), (300, 200), (100, 200))]


def slide(tmp_path, **changes):
    info = info_of("s", size=Size(1000, 800), mpp=0.5, folder=tmp_path)
    return evolve(info, **{"properties": OFFSETS, **changes})


class TestNdpa(RoiSourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        (tmp_path / "s.svs.ndpa").write_text(document(view(SQUARE)))
        self.settings = Ndpa(folder=tmp_path)
        self.slide_info = slide(tmp_path)


def test_positions_come_out_in_pixels_with_title_and_details(tmp_path) -> None:
    (tmp_path / "s.ndpa").write_text(document(view(SQUARE), view(SQUARE[:2], kind="linearmeasure", closed=0)))

    found = Ndpa(folder=tmp_path).build().regions(slide(tmp_path))

    (region,) = found.items
    assert region.shape.equals(box(100, 100, 300, 200))
    assert (region.name, region.label, region.description) == ("ROI_0", "tumor", "seen")
    assert found.notes == ("left out, not a closed outline: annotation 2, 'tumor'",)


@pytest.mark.parametrize(
    ("text", "changes", "said"),
    [
        ("<annotations>", {}, "not valid XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', {}, "no document type"),
        (document(view(SQUARE)), {"properties": {}}, "offset from the glass's centre"),
        (document(view(SQUARE)), {"mpp": None}, "microns per pixel"),
        (document(view([("x", 1), (2, 3), (4, 5)])), {}, "annotation 1, 'tumor': a coordinate is not a number"),
        (document(view([("", 1), (2, 3), (4, 5)])), {}, "missing or infinite"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path, text, changes, said) -> None:
    (tmp_path / "s.ndpa").write_text(text)

    with pytest.raises(RoiError, match=said):
        Ndpa(folder=tmp_path).build().regions(slide(tmp_path, **changes))
