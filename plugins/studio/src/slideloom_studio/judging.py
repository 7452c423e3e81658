"""Requests for decisions: counts and grid, single tiles, masks, proposals, points, normalized views."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import frozen
from slideloom.base.geometry import Box, Mask, Rgb, Size
from slideloom.drawing.geojson import regions_geojson
from slideloom.drawing.mask_outlines import mask_polygons
from slideloom.drawing.pictures import Colour, sampled, tint
from slideloom.slides.regions import Region, Regions
from slideloom.viewing.views import LiveStep, TileDetail, TileMap
from starlette.responses import Response
from starlette.routing import Route

from slideloom_studio.calls import Call, Refused, endpoint, json_answer, picture_answer
from slideloom_studio.decided import Decisions, hex_of, mask_png, rgb_png, title_of
from slideloom_studio.deciding import Decided
from slideloom_studio.results import STORED_VERSION, StoredTiles
from slideloom_studio.shelf import Entry
from slideloom_studio.studio import Studio

_MASK_PX = 2048
_SOON_S = 0.25  # a change of a threshold is decided within that, and answered at once
_DETAILS = 8  # tiles whose pixels are kept for the next request
_TINT = 0.45
_MOST_PROPOSALS = 2000


@frozen
class _Layer:
    """What a slide QC step, or one of its classes, discards, or tells but keeps."""

    step: str
    name: str | None
    is_told: bool
    colour: Colour
    mask: Mask
    extent: Box


class Judging:
    """Answers requests for decisions."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._details: OrderedDict[Any, TileDetail] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """The routes below `api/slides/{id}/`."""
        base = "/api/slides/{id}"
        tile = f"{base}/tiles/{{column}}/{{row}}"
        return [
            Route(f"{base}/decisions", endpoint(self.decisions), methods=["GET"]),
            Route(f"{base}/decisions", endpoint(self.start), methods=["POST"]),
            Route(f"{base}/decisions", endpoint(self.cancel, waits=False), methods=["DELETE"]),
            Route(f"{base}/decisions/grid", endpoint(self.grid)),
            Route(f"{base}/decisions/codes", endpoint(self.codes)),
            Route(tile, endpoint(self.tile)),
            Route(f"{tile}/picture", endpoint(self.picture)),
            Route(f"{base}/masks", endpoint(self.masks)),
            Route(f"{base}/masks/{{index}}", endpoint(self.mask)),
            Route(f"{base}/proposals/{{index}}", endpoint(self.proposals)),
            Route(f"{base}/points", endpoint(self.points)),
        ]

    def decisions(self, call: Call) -> Response:
        """How far the decisions are."""
        return json_answer(self._studio.decisions(self._entry(call)))

    def start(self, call: Call) -> Response:
        """Decide by the pipeline on screen."""
        entry = self._entry(call)
        self._studio.deciding.start(entry)
        self._studio.deciding.wait(entry, most_s=_SOON_S)
        return json_answer(self._studio.deciding.table(entry), 202)

    def cancel(self, call: Call) -> Response:
        """Give up what is being decided."""
        entry = self._entry(call)
        self._studio.deciding.cancel(entry)
        return json_answer(self._studio.deciding.table(entry))

    def grid(self, call: Call) -> Response:
        """The grid as a picture."""
        return picture_answer(self._drawn(call).png(), "png")

    def codes(self, call: Call) -> Response:
        """The grid as bytes."""
        content = self._drawn(call).codes.tobytes()
        return Response(content, media_type="application/octet-stream")

    def tile(self, call: Call) -> Response:
        """What is known of a tile."""
        stored = self._studio.stored(self._entry(call))
        if stored is not None:
            return json_answer(_stored_tile(stored, _index(call, stored.tile_map)))
        found = self._decided(call)
        detail = self._detail(call, found)
        kept = detail.status == "kept"
        return json_answer(
            {
                "loc_x": detail.loc_x,
                "loc_y": detail.loc_y,
                "x": detail.x,
                "y": detail.y,
                "kept": kept,
                "reason": None if kept else detail.status,
                "title": title_of(detail.status),
                "scores": list(_scores(detail, found.wsi.steps)),
                "label": detail.label,
                "is_normalizable": detail.is_normalizable,
                "is_fallback": detail.is_fallback,
                "has_normalized": detail.normalized is not None,
                "forms": [
                    "original",
                    *(["normalized"] if detail.normalized is not None else []),
                    *(["masks"] if detail.masks else []),
                ],
            }
        )

    def picture(self, call: Call) -> Response:
        """The pixels of a tile."""
        entry = self._entry(call)
        stored = self._studio.stored(entry)
        if stored is not None:
            return self._stored_picture(call, entry, stored)
        found = self._decided(call)
        detail, form = self._detail(call, found), call.query.get("form", "original")
        if form == "normalized":
            if detail.normalized is None:
                raise Refused(
                    404, "the tile has no normalized form: there is no normalizer, or it cannot take the tile"
                )
            return picture_answer(rgb_png(detail.normalized), "png")
        if form == "masks":
            return picture_answer(rgb_png(_tinted(detail, found)), "png")
        if form != "original":
            raise Refused(404, f"form must be original, normalized or masks, not {form[:20]!r}")
        return picture_answer(rgb_png(detail.rgb), "png")

    def masks(self, call: Call) -> Response:
        """What slide QC found; a run's own masks are not looked at."""
        if self._studio.stored(self._entry(call)) is not None:
            return json_answer([])
        found = self._decided(call)
        listed = []
        for index, layer in enumerate(_layers(found)):
            size = _size(layer, found.wsi.info.size)
            height, width = layer.mask.shape
            reason = f"qc:{layer.step}" if layer.name is None else f"qc:{layer.step}:{layer.name}"
            listed.append(
                {
                    "index": index,
                    "step": layer.step,
                    "class": layer.name,
                    "title": f"{title_of(reason)} (kept)" if layer.is_told else title_of(reason),
                    "colour": hex_of(layer.colour),
                    "downsample": max(layer.extent.width / width, layer.extent.height / height),
                    "width": size.width,
                    "height": size.height,
                    "share": float(layer.mask.mean()),
                }
            )
        return json_answer(listed)

    def mask(self, call: Call) -> Response:
        """A mask as a picture of the whole slide."""
        found = self._decided(call)
        layer, info = self._layer(call, found), found.wsi.info
        shown = sampled(layer.mask, extent=layer.extent, box=info.box, size=_size(layer, info.size))
        return picture_answer(mask_png(shown, layer.colour), "png")

    def proposals(self, call: Call) -> Response:
        """The outlines of a mask as regions that a page may take over."""
        layer = self._layer(call, self._decided(call))
        shapes = mask_polygons(layer.mask, extent=layer.extent)
        largest = sorted(shapes, key=lambda shape: -shape.area)[:_MOST_PROPOSALS]
        label = layer.name or layer.step
        regions = Regions(tuple(Region(f"{label} {n}", shape, label) for n, shape in enumerate(largest, 1)))
        return Response(regions_geojson(regions), media_type="application/json")

    def points(self, call: Call) -> Response:
        """The centres of tiles that are not on a grid, such as cells."""
        stored = self._studio.stored(self._entry(call))
        if stored is not None:
            grid, tiles, tile_map = stored.grid, stored.tiles, stored.tile_map
        else:
            found = self._decided(call)
            grid, tiles, tile_map = found.grid, found.wsi.ledger.tiles, found.wsi.tile_map
        if grid is not None:
            return json_answer({"x": [], "y": [], "label": []})
        words = [tile_map.words[code] for code in tile_map.codes[tiles.grid_y, tiles.grid_x].tolist()]
        return json_answer({"x": tiles.loc_x.tolist(), "y": tiles.loc_y.tolist(), "label": words})

    def _entry(self, call: Call) -> Entry:
        return self._studio.shelf.entry(call.names["id"])

    def _decided(self, call: Call) -> Decided:
        """The decisions on screen, of the version that is asked for, if any is."""
        found = self._studio.deciding.decided(self._entry(call))
        if found is None:
            raise Refused(409, "nothing is decided yet; wait for the decisions")
        if "revision" in call.query and call.number("revision") != found.version:
            raise Refused(409, "the decisions have changed; load them again", revision=found.version)
        return found

    def _drawn(self, call: Call) -> Decisions:
        stored = self._studio.stored(self._entry(call))
        if stored is None:
            return self._decided(call).decisions
        if call.number("revision", default=STORED_VERSION) != STORED_VERSION:
            raise Refused(409, "the decisions have changed; load them again", revision=STORED_VERSION)
        return stored.decisions

    def _stored_picture(self, call: Call, entry: Entry, stored: StoredTiles) -> Response:
        """The pixels of a tile of a run, as they are read; what needs its steps has to be asked for."""
        if call.query.get("form", "original") != "original":
            raise Refused(404, "this is what the run stored; let the studio decide on the slide to see more of it")
        index = _index(call, stored.tile_map)
        box = stored.tiles.take(np.array([index])).boxes()[0]
        side = self._studio.pipeline.now[1].tiles.size_px
        with self._studio.shelf.lent(entry.id) as slide:
            return picture_answer(rgb_png(slide.read_at(box, Size(side, side))), "png")

    def _detail(self, call: Call, found: Decided) -> TileDetail:
        """A tile with its pixels; kept for the requests for its pictures."""
        key = (call.names["id"], found.version, _index(call, found.wsi.tile_map))
        with self._lock:
            if key in self._details:
                return self._details[key]
        detail = found.wsi.tile(key[-1])
        with self._lock:
            self._details[key] = detail
            while len(self._details) > _DETAILS:
                self._details.popitem(last=False)
        return detail

    def _layer(self, call: Call, found: Decided) -> _Layer:
        layers = list(_layers(found))
        index = call.number("index")
        if index >= len(layers):
            raise Refused(404, f"there is no mask {index}; there are {len(layers)}")
        return layers[index]


def _index(call: Call, tile_map: TileMap) -> int:
    """Number of the tile in the column and the row that are asked for."""
    index = tile_map.index
    column, row = call.number("column"), call.number("row")
    if not (row < index.shape[0] and column < index.shape[1] and index[row, column] >= 0):
        raise Refused(404, f"there is no tile in column {column}, row {row}")
    return int(index[row, column])


def _stored_tile(stored: StoredTiles, index: int) -> dict[str, Any]:
    """What a run says of a tile."""
    tiles, status = stored.tiles, stored.status[index]
    scores = [
        {"step": name, "title": title_of(name), "value": float(values[index]), "threshold": None, "keep_when": None}
        for name, values in stored.scores.items()
        if not np.isnan(values[index])
    ]
    return {
        "loc_x": int(tiles.loc_x[index]),
        "loc_y": int(tiles.loc_y[index]),
        "x": int(tiles.x[index]),
        "y": int(tiles.y[index]),
        "kept": status == "kept",
        "reason": None if status == "kept" else status,
        "title": title_of(status),
        "scores": scores,
        "label": stored.labels[index] or None,
        "is_normalizable": status != "normalizer",
        "is_fallback": False,
        "has_normalized": False,
        "forms": ["original"],
    }


def _layers(found: Decided) -> Iterator[_Layer]:
    """What each step, or each of its classes, discards, or tells but keeps."""
    for layer in found.wsi.layers(max_px=_MASK_PX):
        for one in layer.classes:
            if one.kind is not None or one.is_told:
                name = one.name if one.name != layer.label else None
                yield _Layer(layer.label, name, one.is_told, one.colour, layer.values == one.value, layer.extent)


def _size(layer: _Layer, whole: Size) -> Size:
    """A picture of the whole slide with the mask's own pixels, where that is not too large."""
    pixel = max(layer.extent.width / layer.mask.shape[1], layer.extent.height / layer.mask.shape[0])
    shrink = max(pixel, whole.width / _MASK_PX, whole.height / _MASK_PX)
    return Size(max(1, round(whole.width / shrink)), max(1, round(whole.height / shrink)))


def _scores(detail: TileDetail, steps: tuple[LiveStep, ...]) -> Iterator[dict[str, Any]]:
    """What each step measured, and what it allows where that is known."""
    allowed: dict[str, float | None] = {}
    for step in steps:
        if step.kind == "qc":
            allowed[step.reason] = step.filter_threshold
        elif step.live == {"fraction"}:
            allowed[step.reason] = getattr(step.settings, "fraction", None)
    for name, value in detail.scores.items():
        if not np.isnan(value):
            known = allowed.get(name)
            keep_when = None if known is None else "at most"
            yield {"step": name, "title": title_of(name), "value": value, "threshold": known, "keep_when": keep_when}


def _tinted(detail: TileDetail, found: Decided) -> Rgb:
    """The tile with what slide QC discards in the colour of the step."""
    colours = {
        layer.label: next((one.colour for one in layer.classes if one.kind is not None), layer.classes[0].colour)
        for layer in found.wsi.layers(max_px=1)
        if layer.classes
    }
    rgb: Rgb = np.array(detail.rgb)
    for label, mask in detail.masks.items():
        tint(rgb, mask, colour=colours[label], strength=_TINT)
    return rgb
