"""Tissue and pen on real fields of a dozen labs: regions drawn by eye, at other scales and JPEG qualities.

`field_regions.json` holds, for each picture, its microns per pixel, the repository it is from, and regions in pixels
(rectangles of left, top, right, bottom, or polygons): certain tissue, faint tissue (fat, and what is hardly stained),
certain glass, lines and shadows on glass, and certain ink.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from slideloom import Mask, Rgb
from slideloom_qc import Pen, Tissue
from slideloom_testing import PixelsSlide, scene_of

REGIONS: Mapping[str, Mapping[str, Any]] = json.loads(Path(__file__).with_name("field_regions.json").read_text())
CORNERS = ((0, 1), (2, 1), (2, 3), (0, 3))  # of a rectangle, as indices of its x and y
# What is worse than promised for all, measured less 0.03, and why.
LEAST = {
    # Slits of frozen muscle are glass, and belong to the rectangles drawn.
    ("visium-section-lowres.png", "tissue"): 0.88,
    # The thin rims of purple ink, and red ink on dark tissue.
    ("tcga-three-pens.png", "ink"): 0.91,
    # A green stroke that is blue where it crosses a vessel.
    ("pen-ring-green.png", "ink"): 0.91,
}
# Fat and hardly stained tissue: measured less 0.05 to 0.1.
FAINT = {
    "coverslip-edge-he.png": 0.85,
    "faint-section-21.png": 0.75,
    "kidney-he.jpg": 0.8,
    "kidney-ihc.jpg": 0.4,
    "pen-ring-green.png": 0.35,
    "tcga-artery-wall-10x.png": 0.6,
    "tcga-fat-cells.png": 0.95,
    "tcga-fat-inflamed-10x.png": 0.95,
    "twosections-fragments.jpg": 0.95,
}


def drawn(shapes: Sequence[Sequence[Any]], shape: tuple[int, int], of: tuple[int, int]) -> Mask:
    """Regions in pixels of a picture of height and width `of`, on a mask of `shape`."""
    scale = np.array([shape[1] / of[1], shape[0] / of[0]])
    mask = np.zeros(shape, np.uint8)
    for points in shapes:
        corners = points if isinstance(points[0], list) else [[points[i], points[j]] for i, j in CORNERS]
        one = np.zeros(shape, np.uint8)
        cv2.fillPoly(one, [np.rint((np.array(corners) * scale - 0.5) * 16).astype(np.int32)], 1, shift=4)
        mask |= one
    return mask > 0


def picture(real_data: Path, name: str) -> Rgb:
    path = next((path for folder in ("fields", ".") if (path := real_data / folder / name).is_file()), None)
    if path is None:
        pytest.skip(f"{real_data} does not hold {name}")
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def shares(rgb: Rgb, name: str, *, scale: float = 1.0) -> dict[str, float]:
    """The share of each kind of region that is tissue ("tissue on glass") or ink ("ink on tissue")."""
    field = REGIONS[name]
    height, width = rgb.shape[:2]
    slide = PixelsSlide(rgb, mpp=field["mpp"] / scale)
    tissue = ~Tissue().build().assess(slide, scene_of()).mask
    ink = Pen().build().assess(slide, scene_of()).mask
    found = {}
    for kind in ("tissue", "faint", "glass", "line", "ink"):
        if kind in field:
            inside = drawn(field[kind], tissue.shape, (round(height / scale), round(width / scale)))
            found[f"tissue on {kind}"] = float(tissue[inside].mean())
            found[f"ink on {kind}"] = float(ink[inside].mean())
    return found


@pytest.mark.parametrize("name", REGIONS)
def test_tissue_ink_and_glass_of_every_field_are_told_apart(real_data: Path, name: str) -> None:
    found = shares(picture(real_data, name), name)

    assert found.get("tissue on tissue", 1.0) >= LEAST.get((name, "tissue"), 0.95)
    assert found.get("tissue on faint", 1.0) >= FAINT.get(name, 0.0)
    assert found.get("tissue on glass", 0.0) <= 0.05
    assert found.get("tissue on line", 0.0) <= (0.3 if name == "pen-ring-green.png" else 0.02)
    assert found.get("tissue on ink", 0.0) <= 0.08
    assert found.get("ink on ink", 1.0) >= LEAST.get((name, "ink"), 0.95)
    assert found.get("ink on tissue", 0.0) <= 0.04
    assert found.get("ink on faint", 0.0) <= 0.01
    assert found.get("ink on glass", 0.0) <= 0.01


def stored(rgb: Rgb, *, scale: float, quality: int) -> Rgb:
    """The picture at another scale, as a JPEG."""
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


# The fields on which the first version failed.
HARD = [
    "faint-section-21.png",
    "kidney-ihc.jpg",
    "pen-black-stroke.png",
    "pen-ring-red.png",
    "tcga-fold-and-pen-10x.png",
    "tcga-three-pens.png",
    "twosections-fragments.jpg",
    "visium-section-lowres.png",
]


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "quality"), [(0.7, 60), (0.7, 95), (1.0, 75), (1.4, 60), (1.4, 95)])
@pytest.mark.parametrize("name", HARD)
def test_another_scale_or_jpeg_quality_does_not_flip_the_answer(
    real_data: Path, name: str, scale: float, quality: int
) -> None:
    found = shares(stored(picture(real_data, name), scale=scale, quality=quality), name, scale=scale)

    assert found.get("tissue on tissue", 1.0) >= 0.85
    assert found.get("tissue on glass", 0.0) <= 0.05
    assert found.get("ink on ink", 1.0) >= 0.8
    assert found.get("ink on tissue", 0.0) <= 0.04
    assert found.get("ink on glass", 0.0) <= 0.01
