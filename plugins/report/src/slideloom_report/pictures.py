"""Images as JPEG files of bounded size, and the slide with its tiles drawn over it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from reportlab.platypus import Image as PlacedImage
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from slideloom import DASHES, EDGE, LEGEND, LineLook, Rgb, Size

from slideloom_report.evidence import Evidence
from slideloom_report.samples import Boxes
from slideloom_report.style import colour, colour_of

_QUALITY, _LOWER_QUALITY = 75, 60
_SMALLEST_PX = 32
_SAMPLE_PX, SAMPLE_GAP = 128, 0.125  # gaps as a share of a tile, so that they coincide with JPEG blocks
_POINT = 1.5  # side of the mark for a cell, in points
_DOT, _LARGEST_DOT = 0.3, 5.0  # side of the mark for a dropped tile, as a share of the tile and in points
_SMALLEST_OUTLINED = 3.2  # points; outlines of smaller tiles would run into each other
_TILE_LINE, _REGION_LINE, TOLD_LINE, TOLD_EDGE = 0.7, 1.1, 0.7, 1.5  # points; with their edge, of what is told but kept
_MOST_POINTS = 8000  # of all outlines of what is told but kept
_FEWEST_POINTS = 4  # of a ring, with the first once more at its end
_ROUGH = 0.5  # points, by which outlines are simplified: less than the width of a line
_ROUND = 1  # as PDF numbers the joins of lines
_VEIL = 0.45  # opacity of filled tiles
_BYTES_PER_TILE = 8  # drawn as lines
_BLANK, _BLANK_PX = (245, 247, 249), 1024  # if there is no image

Ring = list[list[int]]  # points (x, y) in pixels of level 0, the first again at the end


def jpeg(image: Image.Image, most_bytes: int) -> bytes:
    """The image as JPEG, reduced until it takes at most `most_bytes`, but not below 32 pixels."""
    while True:
        file = io.BytesIO()
        quality = _QUALITY if min(image.size) > 256 else _LOWER_QUALITY
        image.save(file, "JPEG", quality=quality, optimize=True)
        size = len(file.getvalue())
        if size <= most_bytes or min(image.size) <= _SMALLEST_PX:
            return file.getvalue()
        # Bytes are roughly proportional to the number of pixels; slightly fewer usually meet the limit at once.
        scale = min(0.9, 0.95 * (most_bytes / size) ** 0.5)
        image = image.resize([max(_SMALLEST_PX, round(side * scale)) for side in image.size], Image.Resampling.BOX)


def contact_sheet(tiles: Sequence[Rgb | None], columns: int) -> Image.Image:
    """Square tiles side by side on white, with gaps of an eighth of a tile; None leaves a white space."""
    side = min(_SAMPLE_PX, max((len(tile) for tile in tiles if tile is not None), default=_SAMPLE_PX))
    step = side + round(side * SAMPLE_GAP)
    sheet = Image.new("RGB", ((columns - 1) * step + side, side), "white")
    for column, tile in enumerate(tiles):
        if tile is not None:
            sheet.paste(Image.fromarray(np.ascontiguousarray(tile)).resize((side, side)), (column * step, 0))
    return sheet


class SlidePicture(PlacedImage):  # type: ignore[misc]  # reportlab has no types
    """The slide, with its tiles and regions as vector lines, which stay sharp however small the image is.

    Args:
        found: has an image, or at least tiles.
        qc_colours: of the reasons of slide QC.
        told_looks: of the classes that slide QC tells but keeps, by reason.
        room: largest size of the drawing, in points.
        most_bytes: largest size of the image.
    """

    def __init__(
        self,
        found: Evidence,
        qc_colours: Mapping[str, tuple[int, int, int]],
        told_looks: Mapping[str, LineLook],
        *,
        room: Size,
        most_bytes: int,
    ) -> None:
        self.found, self.qc_colours, self.told_looks, self.whole = found, qc_colours, told_looks, _extent(found)
        whole = self.whole
        self.scale = min(room.width / whole.width, room.height / whole.height)  # points per pixel of level 0
        if found.picture is not None:
            image = Image.fromarray(found.picture)
        else:
            longer = max(whole.width, whole.height)
            size = [max(1, side * _BLANK_PX // longer) for side in (whole.width, whole.height)]
            image = Image.new("RGB", size, _BLANK)
        self.marks = {name: self._marks(name, boxes) for name, boxes in found.boxes.items() if len(boxes)}
        most_lines = max(100, min(3000, most_bytes // 4 // _BYTES_PER_TILE))
        for name in [name for name, (boxes, _) in self.marks.items() if len(boxes) > most_lines]:
            boxes, alpha = self.marks.pop(name)
            self._paint(image, boxes * (image.width / whole.width), self.colour(name), alpha or _VEIL)
        self.content = jpeg(image, most_bytes)
        super().__init__(io.BytesIO(self.content), whole.width * self.scale, whole.height * self.scale, hAlign="LEFT")

    def draw(self) -> None:
        """As Platypus asks."""
        super().draw()
        canvas, scale = self.canv, self.scale
        canvas.saveState()
        edge = canvas.beginPath()
        edge.rect(0, 0, self.drawWidth, self.drawHeight)
        canvas.clipPath(edge, stroke=0, fill=0)
        canvas.transform(scale, 0, 0, -scale, 0, self.drawHeight)  # from here on in pixels of level 0, y down
        for name, (boxes, alpha) in self.marks.items():
            path = canvas.beginPath()
            for box in boxes.tolist():
                path.rect(*box)
            self._draw(path, self.colour(name), _TILE_LINE, alpha=alpha)
        told = self.told()
        canvas.setLineJoin(_ROUND)  # sharp corners would have spikes
        for rings in told.values():
            self._draw(self._path(rings), EDGE, TOLD_EDGE)
        for reason, rings in told.items():
            look = self.told_looks[reason]
            dash = [TOLD_LINE / scale * length for length in DASHES[look.pattern]]
            canvas.setDash(dash if dash[1] else [])
            self._draw(self._path(rings), look.colour, TOLD_LINE)
        canvas.setDash([])
        self._draw(self._path(self.outlines()), LEGEND["region"], _REGION_LINE)
        canvas.restoreState()

    def outlines(self) -> list[Ring]:
        """The rings of the regions."""
        shapes = [region.shape for region in self.found.regions]
        return _rings(shapes, _ROUGH / self.scale)

    def told(self) -> dict[str, list[Ring]]:
        """The rings of what slide QC tells but keeps, by reason; where they are many, the larger ones, more roughly."""
        # An area or a hole less than a line wide is its edge alone, which tells nothing.
        least, tolerance = (TOLD_EDGE / self.scale) ** 2, _ROUGH / self.scale
        while True:
            larger = {reason: _larger(areas, least) for reason, areas in self.found.told.items()}
            count = sum(1 + len(area.interiors) for areas in larger.values() for area in areas)
            if count * _FEWEST_POINTS <= _MOST_POINTS:  # else to simplify them would take minutes, and help nothing
                rings = {reason: _rings(areas, tolerance) for reason, areas in larger.items()}
                if sum(len(ring) for found in rings.values() for ring in found) <= _MOST_POINTS:
                    return rings
                tolerance *= 1.2
            least *= 1.5

    def _path(self, rings: Sequence[Ring]) -> Any:
        path = self.canv.beginPath()
        for first, *others in rings:
            path.moveTo(*first)
            for point in others:
                path.lineTo(*point)
        return path

    def _draw(self, path: Any, rgb: tuple[int, int, int], line: float, *, alpha: float = 0) -> None:
        """Fill it, or draw it as a line if `alpha` is 0."""
        self.canv.setFillColor(colour(rgb, alpha))
        self.canv.setStrokeColor(colour(rgb))
        self.canv.setLineWidth(line / self.scale)
        self.canv.drawPath(path, stroke=not alpha, fill=bool(alpha), fillMode=1)

    def colour(self, name: str) -> tuple[int, int, int]:
        """The colour of tiles that had this outcome."""
        return colour_of(name, self.qc_colours)

    def _marks(self, name: str, boxes: Boxes) -> tuple[Boxes, float]:
        """What is drawn for tiles, and its opacity; 0 for an outline."""
        on_paper = boxes[0, 2] * self.scale
        if not self.found.is_grid:
            return _shrunk(boxes, _POINT / self.scale), 0.9
        if on_paper < _SMALLEST_OUTLINED:
            return boxes, _VEIL
        return (boxes, 0) if name == "kept" else (_shrunk(boxes, min(_LARGEST_DOT, on_paper * _DOT) / self.scale), 1)

    @staticmethod
    def _paint(image: Image.Image, boxes: NDArray[np.floating], rgb: tuple[int, int, int], alpha: float) -> None:
        """Tint boxes of the image, given in its own pixels."""
        veil = Image.new("L", image.size)
        draw = ImageDraw.Draw(veil)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).round().astype(int)
        for left, top, right, bottom in corners.tolist():
            draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=round(255 * alpha))
        image.paste(rgb, mask=veil)


def _larger(shapes: Sequence[BaseGeometry], least: float) -> list[Polygon]:
    """The polygons of at least an area in pixels of level 0, without their holes that are smaller."""
    parts = shapely.get_parts(list(shapes))
    found = []
    for part in parts[shapely.area(parts) >= least].tolist():
        holes = np.asarray(part.interiors, dtype=object)
        is_large = shapely.area(shapely.polygons(holes)) >= least
        found.append(part if is_large.all() else Polygon(part.exterior, holes[is_large].tolist()))
    return found


def _rings(shapes: Sequence[BaseGeometry], tolerance: float) -> list[Ring]:
    """The rings of shapes, simplified by at most a tolerance in pixels of level 0."""
    simpler = [shape.simplify(tolerance) for shape in shapes]
    rings = [ring for shape in simpler for ring in shapely.get_rings(shapely.get_parts(shape))]
    return [shapely.get_coordinates(ring).round().astype(int).tolist() for ring in rings]


def _shrunk(boxes: Boxes, side: float) -> Boxes:
    """Small boxes at the centres of boxes."""
    length = max(1, round(side))
    corners = boxes[:, :2] + (boxes[:, 2:] - length) // 2
    small: Boxes = np.concatenate([corners, np.full_like(corners, length)], axis=1)
    return small


def _extent(found: Evidence) -> Size:
    """Level-0 size of the area shown."""
    if found.picture is not None:
        return Size(*found.report.size)
    every = np.concatenate([boxes for boxes in found.boxes.values() if len(boxes)])
    # The slide's size is not known; a margin of one tile looks better than lines on the frame.
    right, bottom = (every[:, :2] + 2 * every[:, 2:]).max(axis=0).tolist()
    return Size(max(right, found.report.size[0]), max(bottom, found.report.size[1]))
