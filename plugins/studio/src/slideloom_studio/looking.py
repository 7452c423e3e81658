"""Requests for slides, their pictures and their regions."""

from __future__ import annotations

from typing import Any

from slideloom.base.geometry import Rgb
from slideloom.viewing.wsi import WSI
from starlette.responses import Response
from starlette.routing import Route

from slideloom_studio.calls import Call, Refused, endpoint, json_answer, picture_answer
from slideloom_studio.pyramid import TILE_PX, jpeg, padded, tile_box, tile_rgb, zooms
from slideloom_studio.shelf import Entry
from slideloom_studio.side_pictures import side_picture
from slideloom_studio.studio import Studio

LARGEST_REGIONS = 64 << 20
"""Bytes of a slide's regions in one request."""
_THUMBNAIL_PX = 2048


class Looking:
    """Answers requests that need no pipeline."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """The routes below `api/`."""
        return [
            Route("/api/session", endpoint(self.session, waits=False)),
            Route("/api/slides", endpoint(self.slides)),
            Route("/api/slides/{id}", endpoint(self.slide)),
            Route("/api/slides/{id}/review", endpoint(self.review), methods=["PUT"]),
            Route("/api/slides/{id}/thumbnail", endpoint(self.thumbnail)),
            Route("/api/slides/{id}/pictures/{name}", endpoint(self.picture)),
            Route("/api/slides/{id}/pyramid", endpoint(self.pyramid)),
            Route("/api/slides/{id}/pyramid/{z}/{x}/{y}", endpoint(self.tile)),
            Route("/api/slides/{id}/regions", endpoint(self.regions), methods=["GET"]),
            Route("/api/slides/{id}/regions", endpoint(self.save_regions, most_bytes=LARGEST_REGIONS), methods=["PUT"]),
            Route("/api/slides/{id}/regions/csv", endpoint(self.save_csv), methods=["POST"]),
        ]

    def session(self, _call: Call) -> Response:
        """Title, mode and folders."""
        return json_answer(self._studio.session())

    def slides(self, _call: Call) -> Response:
        """A row for each slide."""
        return json_answer([self._studio.row(entry) for entry in self._studio.shelf.entries.values()])

    def slide(self, call: Call) -> Response:
        """The facts of a slide."""
        return json_answer(self._studio.facts(self._entry(call)))

    def review(self, call: Call) -> Response:
        """Note something of a slide."""
        entry, given = self._entry(call), call.table()
        self._studio.review.note(entry.name, given.get("status"), given.get("note", ""))
        return json_answer(self._studio.row(entry))

    def thumbnail(self, call: Call) -> Response:
        """All of a slide as JPEG."""
        entry, most = self._entry(call), call.number("max", default=200, least=1, most=_THUMBNAIL_PX)

        def made() -> Rgb:
            with self._studio.shelf.lent(entry.id) as slide:
                return slide.thumbnail(max_px=most)

        return self._picture((entry.id, self._studio.shelf.state(entry.id), "thumbnail", most), made)

    def picture(self, call: Call) -> Response:
        """A label or macro image, which the browser may not keep."""
        entry = self._entry(call)
        if not self._studio.opening.shows_pictures:
            raise Refused(403, "label and macro images may hold names; open the studio with --pictures to see them")
        self._studio.shelf.state(entry.id)
        return picture_answer(jpeg(side_picture(entry.path, call.names["name"])), "jpeg", keep_s=0)

    def pyramid(self, call: Call) -> Response:
        """The resolutions of a slide."""
        entry = self._entry(call)
        with self._studio.shelf.lent(entry.id) as slide:
            size = slide.info.size
        listed = [
            {"z": zoom.z, "downsample": zoom.downsample, "columns": zoom.columns, "rows": zoom.rows}
            for zoom in zooms(size)
        ]
        return json_answer({"tile": TILE_PX, "width": size.width, "height": size.height, "zooms": listed})

    def tile(self, call: Call) -> Response:
        """A tile of a resolution as JPEG."""
        entry = self._entry(call)
        z, x, y = (call.number(name) for name in ("z", "x", "y"))
        with self._studio.shelf.lent(entry.id) as slide:
            size = slide.info.size
        box = tile_box(size, z=z, column=x, row=y)
        normalizer = self._normalizer(call, entry)

        def made() -> Rgb:
            with self._studio.shelf.viewing(entry.id) as view:
                rgb = tile_rgb(view, box)
            return padded(rgb if normalizer is None else normalizer.normalized(rgb, box=box), box, size)

        version = None if normalizer is None else (call.query["normalized"], normalizer.generation)
        return self._picture((entry.id, self._studio.shelf.state(entry.id), z, x, y, version), made)

    def _normalizer(self, call: Call, entry: Entry) -> WSI | None:
        """The slide with the normalizer on screen, if normalized pixels are wanted.

        Raises:
            Refused: there are no decisions yet, which say what the normalizer measures.
        """
        if "normalized" not in call.query:
            return None
        found = self._studio.deciding.decided(entry)
        if found is None or not found.is_whole or found.pipeline_revision != call.number("normalized"):
            raise Refused(409, "the normalizer is not ready; wait for the decisions of the slide")
        if call.number("revision", default=found.version) != found.version:
            raise Refused(409, "the decisions have changed; load them again", revision=found.version)
        return found.wsi

    def regions(self, call: Call) -> Response:
        """The regions of a slide with their revision."""
        entry = self._entry(call)
        with self._studio.shelf.lent(entry.id) as slide:
            info = slide.info
        found = self._studio.regions.load(entry, info)
        geojson = {"type": "FeatureCollection", "features": list(found.file.shown)}
        more = {"notes": list(found.notes), "replaces": found.replaces}
        return json_answer({"revision": found.revision, "geojson": geojson, **more})

    def save_regions(self, call: Call) -> Response:
        """Save the regions of a slide."""
        entry = self._entry(call)
        with self._studio.shelf.lent(entry.id) as slide:
            info = slide.info
        return json_answer(self._studio.regions.save(entry, info, call.table()))

    def save_csv(self, call: Call) -> Response:
        """Save a copy of a slide's regions as CSV."""
        entry = self._entry(call)
        with self._studio.shelf.lent(entry.id) as slide:
            info = slide.info
        return json_answer({"saved": str(self._studio.regions.save_csv(entry, info))})

    def _entry(self, call: Call) -> Entry:
        return self._studio.shelf.entry(call.names["id"])

    def _picture(self, key: tuple[Any, ...], made: Any) -> Response:
        """A picture as JPEG, made only if it is not kept."""
        kept = self._studio.pictures
        content = kept.get(key)
        if content is None:
            content = jpeg(made())
            kept.keep(key, content)
        return picture_answer(content, "jpeg")
