"""Draws slides with their tiles, regions and masks, and writes PNG files, without an image library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from attrs import field, frozen
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from slideloom.base.geometry import Box, Mask, Rgb, Size
from slideloom.base.packed_masks import PackedMask
from slideloom.base.storing import write_whole
from slideloom.slides.regions import Regions
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import ScalarT, Tiles

Colour = tuple[int, int, int]

# Colours that colour-blind readers can tell apart: Okabe and Ito, "Color universal design" (2008).
LEGEND: Mapping[str, Colour] = {
    "kept": (0, 158, 115),  # bluish green
    "roi": (86, 180, 233),  # sky blue
    "background": (110, 110, 110),
    "blur": (213, 94, 0),  # vermillion
    "artifact": (204, 121, 167),  # reddish purple
    "qc": (136, 84, 208),  # a step whose kind is not known
    "filter": (230, 159, 0),  # orange
    "normalizer": (240, 228, 66),  # yellow
    "max-tiles": (0, 114, 178),  # blue
    "unreadable": (140, 0, 0),
    "other": (120, 120, 120),
    "region": (0, 0, 0),
    "mask": (128, 128, 128),
}
# For the classes of one slide QC, in their order: Kelly, "Twenty-two colors of maximum contrast" (1965), without those
# close to colours above.
CLASS_COLOURS: Sequence[Colour] = (
    (190, 0, 50),  # vivid red
    (0, 103, 165),  # strong blue
    (243, 132, 0),  # vivid orange
    (135, 86, 146),  # strong purple
    (101, 69, 34),  # deep yellowish brown
    (230, 143, 172),  # strong purplish pink
    (220, 211, 0),  # vivid greenish yellow
    (161, 202, 241),  # very light blue
    (43, 61, 38),  # dark olive green
    (96, 78, 151),  # strong violet
)
_MASK_STRENGTH = 0.45

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8_BIT = (8, 2, 0, 0, 0)  # depth, colour type, compression, filter method, interlacing
_FILTER_UP = 2


@frozen
class Picture:
    """An image that a notebook can display and `save` writes.

    Attributes:
        rgb: (h, w, 3) uint8.
    """

    rgb: Rgb = field(eq=False, repr=lambda rgb: f"{rgb.shape[1]} x {rgb.shape[0]} pixels")

    @rgb.validator
    def _check(self, _attribute: object, rgb: Rgb) -> None:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise ValueError(f"a picture is (h, w, 3) uint8 with at least one pixel, not {rgb.shape} {rgb.dtype}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3."""
        return self.rgb.shape[0], self.rgb.shape[1], 3

    def png(self) -> bytes:
        """The image as a PNG file (ISO/IEC 15948): 8-bit sRGB, lossless."""
        height, width, _ = self.rgb.shape
        rows = self.rgb.reshape(height, width * 3)
        filtered = np.empty((height, 1 + width * 3), np.uint8)
        filtered[:, 0] = _FILTER_UP
        filtered[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the format requires
        return b"".join(
            [
                _PNG_SIGNATURE,
                _chunk(b"IHDR", struct.pack(">II5B", width, height, *_RGB_8_BIT)),
                _chunk(b"sRGB", b"\0"),
                _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 5)),
                _chunk(b"IEND", b""),
            ]
        )

    def save(self, path: Path | str) -> None:
        """Write it as PNG; the file appears complete or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_whole(Path(path), self.png())

    def _repr_png_(self) -> bytes:
        return self.png()


def overview(
    slide: Slide,
    *,
    kept: Tiles,
    rejected: Mapping[str, Tiles],
    regions: Regions | None = None,
    masks: Sequence[tuple[Mask | PackedMask, Box | None]] = (),
    colours: Mapping[str, Colour] | None = None,
    shades: Sequence[tuple[Mask, Box | None, Colour]] = (),
    max_px: int = 2048,
    thumbnail: Callable[..., Rgb] | None = None,
) -> Picture:
    """The slide at low resolution, with the decisions about its tiles drawn on it.

    Args:
        slide: open.
        kept: outlined in green.
        rejected: tiles by reason, such as "roi" or "qc:otsu"; outlined in the colour that `colours` has for it, or
            else `colour_of(reason)`.
        regions: outlined in black.
        masks: QC masks (True is discarded), each with the level-0 box it covers (None: the whole slide); shaded in
            grey.
        colours: by reason, as `reason_colours` makes them.
        shades: masks as above, each shaded in a colour of its own.
        max_px: maximum width and height in pixels.
        thumbnail: gives the picture of the slide itself, called as thumbnail(max_px=...); by default `Slide.thumbnail`.

    Raises:
        SlideError: the slide cannot be read.
    """
    rgb: Rgb = np.array((thumbnail or slide.thumbnail)(max_px=max_px))  # a reader's pixels may be read-only
    whole, size = slide.info.size, Size(rgb.shape[1], rgb.shape[0])
    scale_x, scale_y = size.width / whole.width, size.height / whole.height
    discard = np.zeros((size.height, size.width), np.bool_)
    for mask, extent in masks:
        discard |= stretched(mask, extent=extent or slide.info.box, whole=whole, size=size)
    tint(rgb, discard, colour=LEGEND["mask"], strength=_MASK_STRENGTH)
    for mask, extent, colour in shades:
        shown = stretched(mask, extent=extent or slide.info.box, whole=whole, size=size)
        tint(rgb, shown, colour=colour, strength=_MASK_STRENGTH)
    # Thick enough to tell colours apart, thin enough to see the tissue in between.
    line = min(4, max(1, round(kept.footprint.width * scale_x / 16)))
    for reason in sorted(rejected):
        boxes = boxes_of(rejected[reason])
        colour = (colours or {}).get(reason) or colour_of(reason)
        draw_boxes(rgb, boxes, scale_x=scale_x, scale_y=scale_y, colour=colour, width=line)
    draw_boxes(rgb, boxes_of(kept), scale_x=scale_x, scale_y=scale_y, colour=LEGEND["kept"], width=line)
    return outlined(Picture(rgb), regions or Regions(), whole=whole)


def outlined(picture: Picture, regions: Regions, *, whole: Size) -> Picture:
    """A picture of a whole slide, whose level 0 has the size `whole`, with its regions outlined in black."""
    rgb: Rgb = np.array(picture.rgb)  # a reader's pixels may be read-only
    height, width, _ = rgb.shape
    line = max(2, round(max(width, height) / 600))
    for region in regions.items:
        draw_polygon(
            rgb,
            region.shape,
            scale_x=width / whole.width,
            scale_y=height / whole.height,
            colour=LEGEND["region"],
            width=line,
        )
    return Picture(rgb)


def colour_of(reason: str) -> Colour:
    """The colour of a reason for rejection, by its kind: "qc:otsu" has the colour of "qc"."""
    return LEGEND.get(reason.partition(":")[0], LEGEND["other"])


def reason_colours(kinds: Mapping[str, str], classes: Mapping[str, Mapping[str, str]]) -> dict[str, Colour]:
    """The colours of the reasons for which slide QC rejects: those of steps by their kind, each class its own.

    Args:
        kinds: what each QC step detects, by step name, as in `SlideReport.qc_kinds`.
        classes: the kinds of the classes of each step that has some, as in `SlideReport.qc_classes`. Glass stays grey;
            the others take colours in their order, across all steps.
    """
    colours = {f"qc:{step}": colour_of(kind) for step, kind in kinds.items()}
    named = [(f"qc:{step}:{name}", kind) for step, found in classes.items() for name, kind in found.items()]
    coloured = [reason for reason, kind in named if kind != "background"]
    colours.update({reason: LEGEND["background"] for reason, kind in named if kind == "background"})
    colours.update({reason: CLASS_COLOURS[i % len(CLASS_COLOURS)] for i, reason in enumerate(coloured)})
    return colours


def boxes_of(tiles: Tiles) -> NDArray[np.float64]:
    """(N, 4) left, top, width and height of each tile, in level-0 pixels."""
    sizes = np.broadcast_to([float(tiles.footprint.width), float(tiles.footprint.height)], (len(tiles), 2))
    return np.column_stack([tiles.x, tiles.y, sizes]).astype(np.float64)


def draw_boxes(
    rgb: Rgb, boxes: NDArray[np.float64], *, scale_x: float, scale_y: float, colour: Colour, width: int = 1
) -> None:
    """Outline boxes on an image, in place. Lines lie inside the box, so neighbours do not hide each other.

    Args:
        rgb: (h, w, 3) uint8, changed.
        boxes: (N, 4) left, top, width and height; may extend beyond the image.
        scale_x: image pixels per unit of `boxes`, along x; `scale_y` along y.
        colour: of the lines.
        width: of the lines in pixels.
    """
    if len(boxes) == 0:
        return
    edges = np.array([boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]])
    scaled = np.floor(edges * np.array([scale_x, scale_y, scale_x, scale_y])[:, None] + 0.5)
    left, top, right, bottom = np.clip(scaled, -(2**31), 2**31).astype(np.int64)
    right, bottom = np.maximum(right, left + 1), np.maximum(bottom, top + 1)  # a tiny box is one pixel
    for inset in range(width):
        for row in (np.minimum(top + inset, bottom - 1), np.maximum(bottom - 1 - inset, top)):
            _fill_rows(rgb, row, left, right, colour)
        for column in (np.minimum(left + inset, right - 1), np.maximum(right - 1 - inset, left)):
            _fill_rows(rgb.transpose(1, 0, 2), column, top, bottom, colour)


def _fill_rows(
    rgb: Rgb, rows: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64], colour: Colour
) -> None:
    """For each i, fill the pixels `starts[i]` to `stops[i]` of row `rows[i]` that are on the image."""
    starts, stops = np.clip(starts, 0, rgb.shape[1]), np.clip(stops, 0, rgb.shape[1])
    seen = (rows >= 0) & (rows < rgb.shape[0]) & (stops > starts)
    rows, starts, lengths = rows[seen], starts[seen], (stops - starts)[seen]
    rgb[np.repeat(rows, lengths), np.repeat(starts, lengths) + _counted(lengths)] = colour


def _counted(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 to n - 1 for each length n, concatenated."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


def draw_polygon(
    rgb: Rgb,
    shape: BaseGeometry,
    *,
    scale_x: float,
    scale_y: float,
    colour: Colour,
    width: int = 2,
    dash: tuple[float, float] = (1, 0),
) -> None:
    """Outline a shape and its holes on an image, in place.

    Args:
        rgb: (h, w, 3) uint8, changed.
        shape: polygon or polygons; parts outside the image are left out.
        scale_x: image pixels per unit of `shape`, along x; `scale_y` along y.
        colour: of the lines.
        width: of the lines in pixels.
        dash: pixels along a line that are drawn, and then left out, in turn.
    """
    height, columns = rgb.shape[:2]
    on_image = shapely.clip_by_rect(
        shape.boundary, -width / scale_x, -width / scale_y, (columns + width) / scale_x, (height + width) / scale_y
    )
    lines = [line for line in shapely.get_parts(on_image) if line.geom_type in ("LineString", "LinearRing")]
    for line in lines:
        points = shapely.get_coordinates(line) * [scale_x, scale_y]
        x, y = _points_along(points)
        if dash[1]:
            shown = np.arange(len(x)) % sum(dash) < dash[0]
            x, y = x[shown], y[shown]
        for dx in range(width):
            for dy in range(width):
                column, row = x + dx - width // 2, y + dy - width // 2
                seen = (column >= 0) & (column < columns) & (row >= 0) & (row < height)
                rgb[row[seen], column[seen]] = colour


def _points_along(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels (x, y) along a line through points (N, 2), without gaps."""
    start, step = points[:-1], np.diff(points, axis=0)
    lengths = np.ceil(np.abs(step).max(axis=1)).astype(np.int64) + 1
    share = _counted(lengths) / np.repeat(lengths, lengths)
    along = np.repeat(start, lengths, axis=0) + share[:, None] * np.repeat(step, lengths, axis=0)
    pixels = np.floor(np.concatenate([along, points[-1:]])).astype(np.int64)
    return pixels[:, 0], pixels[:, 1]


def tint(rgb: Rgb, mask: Mask, *, colour: Colour, strength: float) -> None:
    """Blend a colour into an image where a mask is True, in place.

    Args:
        rgb: (h, w, 3) uint8, changed.
        mask: (h, w) bool.
        colour: to blend in.
        strength: 0 leaves the image unchanged, 1 paints the plain colour.

    Raises:
        ValueError: mask and image differ in size.
    """
    if mask.shape != rgb.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the image {rgb.shape[:2]}; stretch it first")
    table = np.arange(256)[:, None] * (1 - strength) + np.array(colour) * strength
    blended = np.floor(table + 0.5).astype(np.uint8)
    for channel in range(3):
        rgb[..., channel] = np.where(mask, blended[rgb[..., channel], channel], rgb[..., channel])


def stretched(mask: Mask | PackedMask, *, extent: Box, whole: Size, size: Size) -> Mask:
    """A mask sampled on an image of the whole slide: each pixel has the value at its centre.

    Args:
        mask: (h, w) bool over `extent`.
        extent: in level-0 pixels.
        whole: size of level 0.
        size: of the image.

    Returns:
        (size.height, size.width) bool, False outside `extent`.
    """
    return _seen(mask, np.bool_, extent=extent, box=Box(0, 0, whole.width, whole.height), size=size)


def sampled(values: NDArray[ScalarT], *, extent: Box, box: Box, size: Size) -> NDArray[ScalarT]:
    """A mask or label map sampled on an image of a box: each pixel has the value at its centre.

    Args:
        values: (h, w) over `extent`.
        extent: in level-0 pixels.
        box: that the image shows.
        size: of the image.

    Returns:
        (size.height, size.width), 0 or False outside `extent`.
    """
    return _seen(values, values.dtype.type, extent=extent, box=box, size=size)


def _seen(
    values: NDArray[Any] | PackedMask, dtype: type[ScalarT], *, extent: Box, box: Box, size: Size
) -> NDArray[ScalarT]:
    x = (np.arange(size.width) + 0.5) * box.width / size.width + box.x
    y = (np.arange(size.height) + 0.5) * box.height / size.height + box.y
    column = np.floor((x - extent.x) / extent.width * values.shape[1]).astype(np.int64)
    row = np.floor((y - extent.y) / extent.height * values.shape[0]).astype(np.int64)
    columns = (column >= 0) & (column < values.shape[1])
    rows = (row >= 0) & (row < values.shape[0])
    found = np.zeros((size.height, size.width), dtype)
    place = np.ix_(row[rows], column[columns])
    found[np.ix_(rows, columns)] = values.at(*place) if isinstance(values, PackedMask) else values[place]
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
