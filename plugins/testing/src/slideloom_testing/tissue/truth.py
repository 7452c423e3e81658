"""The truth about a demo slide: outlines, labelled regions and nuclei, and how they are stored."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import shapely
from attrs import field, frozen
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, mapping
from shapely.geometry.base import BaseGeometry
from slideloom.base.errors import SlideError
from slideloom.base.geometry import Mask, Size
from slideloom.base.parsing import parse_json
from slideloom.slides.regions import Region

MASK_DOWNSAMPLE = 16
Part = Literal["tissue", "pen", "blur", "fold", "tumor", "stroma"]
PARTS: tuple[Part, ...] = ("tissue", "pen", "blur", "fold", "tumor", "stroma")
_COLORS = {"tumor": [200, 0, 0], "stroma": [150, 200, 150]}


@frozen
class DemoTruth:
    """The ground truth of a demo slide, in level-0 pixels.

    Attributes:
        size: of level 0.
        mpp: microns per pixel.
        seed: the seed of the slide.
        tissue: outlines of the sections, holes and fat included.
        pen: the marker's stroke, over tissue and glass.
        blur: where the slide is out of focus.
        blur_radius_px: radius of the disk that a point became there, in level-0 pixels.
        fold: where the tissue is folded.
        regions: labelled "tumor" and "stroma"; they do not overlap.
        nuclei: (N, 2) float64 centres x, y.
        nuclei_kind: (N,) names, such as "tumor" or "lymphocyte".
    """

    size: Size
    mpp: float
    seed: int
    tissue: MultiPolygon
    pen: MultiPolygon
    blur: MultiPolygon
    blur_radius_px: float
    fold: MultiPolygon
    regions: tuple[Region, ...]
    nuclei: NDArray[np.float64] = field(eq=False)
    nuclei_kind: NDArray[np.str_] = field(eq=False)

    def shape(self, part: Part) -> BaseGeometry:
        """The outline of a part; the union of its regions for a label."""
        if part in ("tumor", "stroma"):
            return shapely.union_all([region.shape for region in self.regions if region.label == part])
        shape: BaseGeometry = getattr(self, part)
        return shape

    def mask(self, part: Part, *, downsample: float = MASK_DOWNSAMPLE) -> Mask:
        """(ceil(height / downsample), ceil(width / downsample)) bool, True where a pixel's centre is in the part."""
        return rasterized(self.shape(part), self.size, downsample=downsample)


def rasterized(shape: BaseGeometry, size: Size, *, downsample: float) -> Mask:
    """True where the centre of a mask pixel, `downsample` level-0 pixels wide, is in the shape.

    Asked of shapely point by point, though `Outlines` is faster: the truth must not share mistakes with what is tested.
    """
    mask = np.zeros((ceil(size.height / downsample), ceil(size.width / downsample)), np.bool_)
    shapely.prepare(shape)
    x = (np.arange(mask.shape[1]) + 0.5) * downsample
    for row in range(mask.shape[0]):
        mask[row] = shapely.contains_xy(shape, x, np.full(len(x), (row + 0.5) * downsample))
    return mask


def save_truth(truth: DemoTruth, folder: Path) -> list[Path]:
    """Write `truth.json` (facts and outlines as GeoJSON) and `truth.npz` (masks and nuclei) into a folder.

    The masks are named as the parts and are True inside; `downsample` says how many level-0 pixels wide theirs are.

    Returns:
        Both files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "width": truth.size.width,
        "height": truth.size.height,
        "mpp": truth.mpp,
        "seed": truth.seed,
        "blur_radius_px": truth.blur_radius_px,
        "shapes": {name: mapping(getattr(truth, name)) for name in ("tissue", "pen", "blur", "fold")},
        "regions": [
            {"name": region.name, "label": region.label, "geometry": mapping(region.shape)} for region in truth.regions
        ],
    }
    described, arrays = folder / "truth.json", folder / "truth.npz"
    described.write_text(json.dumps(facts), encoding="utf-8")
    masks = {part: truth.mask(part) for part in PARTS}
    facts_too = {"downsample": np.array(MASK_DOWNSAMPLE), "nuclei": truth.nuclei, "nuclei_kind": truth.nuclei_kind}
    np.savez_compressed(arrays, **facts_too, **masks)  # type: ignore[arg-type]  # numpy's stub mistakes a name
    return [described, arrays]


def load_truth(folder: Path) -> DemoTruth:
    """The ground truth that `save_truth` wrote.

    Raises:
        SlideError: the folder does not have it.
    """
    try:
        facts = parse_json((folder / "truth.json").read_text(encoding="utf-8"))
        shapes = {name: _parts(shapely.geometry.shape(value)) for name, value in facts["shapes"].items()}
        regions = tuple(
            Region(item["name"], shapely.geometry.shape(item["geometry"]), item["label"]) for item in facts["regions"]
        )
        with np.load(folder / "truth.npz", allow_pickle=False) as arrays:
            nuclei, kinds = arrays["nuclei"], arrays["nuclei_kind"]
        return DemoTruth(
            size=Size(facts["width"], facts["height"]),
            mpp=facts["mpp"],
            seed=facts["seed"],
            blur_radius_px=facts["blur_radius_px"],
            regions=regions,
            nuclei=nuclei,
            nuclei_kind=kinds,
            **shapes,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlideError(f"{folder}: no truth of a demo slide ({error}); write it with save_truth") from error


def write_demo_rois(truth: DemoTruth, folder: Path, slide_name: str) -> Path:
    """Write the labelled regions as QuPath exports them: `<slide_name>.geojson`, a FeatureCollection of annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    features: list[dict[str, Any]] = []  # Any: JSON
    for region in truth.regions:
        label = region.label or ""
        features.append(
            {
                "type": "Feature",
                "id": str(uuid5(NAMESPACE_URL, f"slideloom-demo/{truth.seed}/{region.name}")),
                "geometry": mapping(region.shape),
                "properties": {
                    "objectType": "annotation",
                    "name": region.name,
                    "classification": {"name": label, "color": _COLORS.get(label, [0, 0, 200])},
                },
            }
        )
    path = folder / f"{slide_name}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def polygons(shape: BaseGeometry) -> list[Polygon]:
    """The polygons of any geometry, largest first."""
    parts = [part for part in getattr(shape, "geoms", [shape]) if isinstance(part, Polygon) and not part.is_empty]
    return sorted(parts, key=lambda part: -part.area)


def _parts(shape: BaseGeometry) -> MultiPolygon:
    return MultiPolygon(polygons(shape))
