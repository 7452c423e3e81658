"""The studio in a notebook: the page in a frame below the cell, served by the notebook's own process."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from slideloom.base.addresses import SlidePlace, local_path
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Tiling

from slideloom_studio.opening import SIZE, library_opening
from slideloom_studio.serving import Server
from slideloom_studio.studio import Studio

_open: list[StudioPage] = []


class StudioPage:
    """A studio that this process serves. As a cell's last line it shows the page in a frame.

    It ends with `close`, or with the process.

    Attributes:
        url: where the page is.
    """

    def __init__(self, server: Server, *, height: int) -> None:
        self._server, self._height = server, height
        self.url = server.url
        _open.append(self)  # the page lives on where nobody keeps this object

    def __repr__(self) -> str:
        return f"<StudioPage {self.url}>"

    def _repr_html_(self) -> str:
        url = escape(self.url, quote=True)
        frame = f'<iframe src="{url}" title="slideloom studio" style="width:100%;height:{self._height}px;border:0">'
        return f'{frame}</iframe><p><a href="{url}" target="_blank" rel="noreferrer">Open in a tab</a></p>'

    def close(self) -> None:
        """End the studio: its page stops to answer, and slides are closed."""
        if self in _open:
            _open.remove(self)
            self._server.stop()


def studio(
    slides: SlidePlace | str | Sequence[SlidePlace | str],
    *,
    pipeline: Pipeline | None = None,
    roi: Path | str | None = None,
    out: Path | str = "tiles",
    read_only: bool = False,
    height: int = 800,
) -> StudioPage:
    """A page to look at slides, draw regions and tune a pipeline, served by this process on the loopback address.

    The browser must run on the same machine, or reach its port, as by `ssh -L`: a frame in a notebook that is served
    from elsewhere stays empty.

    Args:
        slides: files, folders, patterns or addresses.
        pipeline: what is on screen at first; by default tiles of 299 px and 302 um without slide QC.
        roi: folder that regions are saved to; by default that of the pipeline, else "roi".
        out: output folder of runs and of review.csv.
        read_only: write nothing.
        height: of the frame in pixels.

    Raises:
        ConfigError: there is no such slide.
    """
    folder, regions = local_path(out), None if roi is None else local_path(roi)
    given = [slides] if isinstance(slides, SlidePlace | str) else list(slides)
    first = pipeline or Pipeline(tiles=Tiling(size_px=int(SIZE["tile_px"]), size_um=SIZE["tile_um"]))
    opening = library_opening(given, first, roi=regions, out=folder, read_only=read_only)
    return StudioPage(Server(Studio(opening)).start(), height=height)
