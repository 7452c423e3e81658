"""The demo slide: made from a seed, and written as a pyramidal SVS together with its ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import shapely
from shapely.affinity import scale
from shapely.geometry import LineString, MultiPolygon, box as rectangle
from shapely.geometry.base import BaseGeometry
from slideloom.base.errors import ConfigError, OutputError
from slideloom.base.geometry import Rgb, Size
from slideloom.slides.regions import Region

from slideloom_testing.tissue.anatomy import Layout, Shapes, plan
from slideloom_testing.tissue.nuclei import KINDS
from slideloom_testing.tissue.render import Renderer
from slideloom_testing.tissue.truth import DemoTruth, polygons

DEMO_SIZE = Size(6000, 4500)
BLUR_UM = 16.0
_LEVELS = (1, 4, 16)
_TIFF = {
    "tile": True,
    "tile_width": 256,
    "tile_height": 256,
    "pyramid": True,
    "depth": "onetile",
    "compression": "jpeg",
    "Q": 82,
    "bigtiff": True,
}
_BLOCK = Size(1024, 512)
_SMALLEST_UM = 400.0
_SIMPLER_UM = 0.5  # tolerance of simplified outlines
_SMALLEST_REGION_UM2 = 150.0**2  # or 2% of the size of a small slide


class DemoSlide:
    """A slide of H&E-stained tissue, made from a seed in blocks of any size.

    Three sections with different staining on glass: fibrous stroma, a tumour in two of them, glands, fat, vessels and
    lymphocytes; also a marker stroke, an out-of-focus patch and a fold.

    Args:
        size: of level 0 in pixels.
        mpp: microns per pixel.
        seed: another seed, another slide.

    Raises:
        ValueError: the slide is smaller than 400 microns along an axis.
    """

    def __init__(self, size: Size = DEMO_SIZE, *, mpp: float = 0.5, seed: int = 0) -> None:
        if mpp <= 0 or min(size.width, size.height) * mpp < _SMALLEST_UM:
            raise ValueError(f"{size} at {mpp} mpp is smaller than {_SMALLEST_UM:g} microns: too small for tissue")
        self.size = size
        layout = plan(size.width * mpp, size.height * mpp, seed)
        self._renderer = Renderer(layout, mpp=mpp, blur_um=BLUR_UM, seed=seed)
        self.truth = _truth_of(layout, size, mpp=mpp, seed=seed)

    def block(self, left: int, top: int, size: Size) -> Rgb:
        """(size.height, size.width, 3) uint8 from pixel (left, top) on."""
        return self._renderer.block(left, top, size)

    def blocks(self) -> Iterator[tuple[int, int, Rgb]]:
        """Left, top and pixels of blocks that cover the slide row by row."""
        for top in range(0, self.size.height, _BLOCK.height):
            for left in range(0, self.size.width, _BLOCK.width):
                part = Size(min(_BLOCK.width, self.size.width - left), min(_BLOCK.height, self.size.height - top))
                yield left, top, self.block(left, top, part)


def write_demo_slide(path: Path, *, size: Size = DEMO_SIZE, mpp: float = 0.5, seed: int = 0) -> DemoTruth:
    """Write a demo slide as an Aperio SVS: tiled JPEG with levels 1, 4 and 16 as far as the size allows.

    Args:
        path: of the file to write; it is replaced.
        size: of level 0 in pixels.
        mpp: microns per pixel.
        seed: another seed, another slide.

    Returns:
        The truth about it; `save_truth` and `write_demo_rois` store it.

    Raises:
        ConfigError: pyvips or slideloom-formats is not installed; slideloom-vips brings both.
        OutputError: the file cannot be written.
        ValueError: the slide would be too small for tissue.
    """
    try:
        import pyvips

        from slideloom_testing.tissue.pyramid import keep_levels
    except ImportError as error:
        raise ConfigError("writing a demo slide needs pyvips: pip install slideloom-vips") from error
    slide = DemoSlide(size, mpp=mpp, seed=seed)
    try:
        with TemporaryDirectory(prefix="slideloom-", dir=path.parent) as folder:
            raw = Path(folder) / "level0.raw"
            pixels = np.memmap(raw, np.uint8, "w+", shape=(size.height, size.width, 3))
            for left, top, rgb in slide.blocks():
                pixels[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
            pixels.flush()
            image = pyvips.Image.rawload(str(raw), size.width, size.height, 3).copy(interpretation="srgb")
            extent = f"{size.width}x{size.height}"
            description = (
                f"Aperio Image Library v11.2.1\r\n{extent} [0,0 {extent}] (256x256) JPEG/RGB Q=82"
                f"|AppMag = {_objective(mpp)}|MPP = {mpp:g}|Title = slideloom demo, seed {seed}"
            )
            image.set_type(pyvips.GValue.gstr_type, "image-description", description)
            image.tiffsave(str(path), **_TIFF)
            del image, pixels
        keep_levels(path, _LEVELS)
    except (OSError, pyvips.Error) as error:
        raise OutputError(
            f"{path}: cannot write the demo slide ({error}); is the folder there, writable, not full?"
        ) from error
    return slide.truth


def _objective(mpp: float) -> int:
    """The usual objective power at this resolution: 40 at 0.25, 20 at 0.5."""
    return min((5, 10, 20, 40, 80), key=lambda power: abs(power - 10 / mpp))


def _truth_of(layout: Layout, size: Size, *, mpp: float, seed: int) -> DemoTruth:
    frame = rectangle(0, 0, size.width, size.height)

    def in_pixels(shape: BaseGeometry) -> MultiPolygon:
        simpler = shape.simplify(_SIMPLER_UM)
        return MultiPolygon(polygons(scale(simpler, 1 / mpp, 1 / mpp, origin=(0, 0)).intersection(frame)))

    shapes, nuclei = layout.shapes, layout.nuclei
    tissue = shapely.union_all([section.polygon() for section in shapes.sections])
    places = np.stack([nuclei.x, nuclei.y], axis=1) / mpp
    regions = []
    area_um2 = size.area * mpp**2
    smallest = min(_SMALLEST_REGION_UM2, 0.02 * area_um2)
    for label, area in _labelled(shapes, tissue, clear_um=min(35.0, 0.02 * area_um2**0.5)).items():
        large = [part for part in polygons(area.buffer(0)) if part.area >= smallest]
        for number, part in enumerate(large, start=1):
            regions.append(Region(f"{label}-{number}", in_pixels(part).geoms[0], label))
    return DemoTruth(
        size=size,
        mpp=mpp,
        seed=seed,
        tissue=in_pixels(tissue),
        pen=in_pixels(LineString(shapes.pen).buffer(shapes.pen_um / 2)),
        blur=in_pixels(shapes.blur.polygon().intersection(tissue)),
        blur_radius_px=BLUR_UM / mpp,
        fold=in_pixels(LineString(shapes.fold).buffer(shapes.fold_um / 2).intersection(tissue)),
        regions=tuple(regions),
        nuclei=places,
        nuclei_kind=np.array(KINDS)[nuclei.kind],
    )


def _labelled(shapes: Shapes, tissue: BaseGeometry, *, clear_um: float) -> dict[str, BaseGeometry]:
    """Tumour as its outline; stroma where it is `clear_um` from tumour, fat and glands, and half that from glass."""
    tumor = shapely.union_all([blob.polygon() for blob in shapes.tumors]).intersection(tissue)
    other = [blob.polygon() for blob in (*shapes.fat, *shapes.glands, *shapes.follicles)]
    stroma = tissue.buffer(-clear_um / 2).difference(shapely.union_all([tumor, *other]).buffer(clear_um))
    without_spurs = stroma.buffer(-clear_um / 2).buffer(clear_um / 2)
    return {"tumor": tumor, "stroma": without_spurs}


__all__ = ["DEMO_SIZE", "DemoSlide", "write_demo_slide"]
