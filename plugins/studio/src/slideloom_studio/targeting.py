"""A normalizer's target from what is in view: the values of its own fit, as a pipeline file holds them."""

from __future__ import annotations

from math import ceil
from typing import Any

from attrs import frozen
from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.geometry import Box, Size
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.grid import tile_geometry
from slideloom.plugins.discovery import registry
from slideloom.settings.options import options_of
from slideloom.slides.info import SlideInfo
from slideloom.viewing.view_pyramid import ViewPyramid
from starlette.responses import Response
from starlette.routing import Route

from slideloom_studio.calls import Call, Refused, endpoint, json_answer
from slideloom_studio.step_forms import TARGET, takes_view
from slideloom_studio.studio import Studio

_LARGEST = 2048  # pixels along a side of what is measured


@frozen
class View:
    """Pixels that are measured.

    Attributes:
        box: within the slide, in level-0 pixels.
        size: of the picture that is read.
    """

    box: Box
    size: Size

    @classmethod
    def of(cls, given: Any, info: SlideInfo, tiles: Tiling) -> View:
        """What a page shows, cut at the slide's edges, as tiles would show it; coarser where that is too large.

        Args:
            given: x, y, width, height in level-0 pixels.
            info: of the slide.
            tiles: whose resolution is wanted; level 0 where the slide does not tell its microns per pixel.

        Raises:
            Refused: it is no box, or lies beside the slide.
        """
        if not isinstance(given, list) or len(given) != 4 or not all(isinstance(one, int | float) for one in given):
            raise Refused(422, "box must be x, y, width and height; reload the page")
        x, y, width, height = (float(one) for one in given)
        left, top = max(0.0, x), max(0.0, y)
        right, bottom = min(info.size.width, x + width), min(info.size.height, y + height)
        if not (right - left >= 1 and bottom - top >= 1):
            raise Refused(422, f"{info.name}: nothing of the slide is in view; move it there")
        box = Box(left, top, right - left, bottom - top)
        try:
            geometry = tile_geometry(info, tiles)
            usual = geometry.footprint.width / geometry.tile_px
        except SlideError:
            usual = 1.0
        shrink = max(1.0, usual, box.width / _LARGEST, box.height / _LARGEST)
        return cls(box, Size(max(1, ceil(box.width / shrink)), max(1, ceil(box.height / shrink))))


def fitted(use: Any, view: View, pixels: ViewPyramid, name: str) -> dict[str, Any]:
    """The values of the fit that a normalizer makes of a view.

    Raises:
        Refused: the normalizer takes no such target, or there is too little tissue.
        PluginError: no installed plugin has such a normalizer.
    """
    settings: Any = registry().find("normalizer", str(use))  # Any: `library_front` is a matter of plugins
    if TARGET not in options_of(settings) or not takes_view(settings, options_of(settings)[TARGET]):
        raise Refused(422, f"{settings.name} takes no target from a view; choose a preset or another normalizer")
    try:
        values: dict[str, Any] = settings.library_front().fit(pixels.within(view.box, view.size)).fit_values
    except ConfigError as error:
        said = str(error).removeprefix("the image: ")
        raise Refused(422, f"{name}, what is in view: {said}; move to stained tissue") from error
    return values


class Targeting:
    """Answers requests for targets."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """The routes below `api/`."""
        return [Route("/api/slides/{id}/target", endpoint(self.target), methods=["POST"])]

    def target(self, call: Call) -> Response:
        """The target that the view gives, and of how many pixels; nothing is changed."""
        studio, given = self._studio, call.table()
        entry = studio.shelf.entry(call.names["id"])
        with studio.shelf.lent(entry.id) as slide, studio.shelf.viewing(entry.id) as pixels:
            view = View.of(given.get("box"), slide.info, studio.pipeline.now[1].tiles)
            values = fitted(given.get("use"), view, pixels, slide.info.name)
        downsample = view.box.width / view.size.width
        size = {"width": view.size.width, "height": view.size.height, "downsample": downsample}
        return json_answer({"target": values, **size})
