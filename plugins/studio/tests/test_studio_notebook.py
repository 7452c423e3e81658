"""The studio in a notebook: a frame that shows the page, served by the process that asks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles


def asked(page: Any, path: str, *, method: str = "GET") -> Any:
    with urlopen(Request(f"{page.url}api/{path}", method=method)) as answer:
        return json.loads(answer.read())


def test_a_slide_in_hand_is_shown_with_its_steps(demo_slide: DemoFiles) -> None:
    with sl.WSI(demo_slide.path, tile_px=64, tile_um=100, roi=demo_slide.rois) as wsi:
        wsi.qc("otsu", filter_threshold=0.3)
        page = wsi.view(height=500)

    shown = asked(page, "pipeline")
    session = asked(page, "session")
    page.close()

    (source,) = re.findall(r'<iframe src="([^"]+)"', page._repr_html_())
    assert source == page.url
    assert "height:500px" in page._repr_html_()
    assert (shown["tiles"]["tile_px"], shown["qc"][0]["options"]["filter_threshold"]) == (64, 0.3)
    assert session["roi_folder"] == str(demo_slide.rois)
    with pytest.raises(URLError):
        asked(page, "session")


def test_slides_are_shown_without_a_pipeline(
    demo_slide: DemoFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    page = sl.studio([demo_slide.path], out="out")

    assert [row["name"] for row in asked(page, "slides")] == ["demo"]
    assert asked(page, "session")["out_folder"] == str(tmp_path / "out")
    assert asked(page, "session")["roi_folder"] == str(tmp_path / "roi")
    page.close()
    page.close()  # twice does no harm
    assert list(tmp_path.iterdir()) == []


def test_the_page_may_be_framed_by_a_notebook_of_this_machine_only(demo_slide: DemoFiles) -> None:
    page = sl.studio(demo_slide.path, read_only=True)

    with urlopen(page.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
    page.close()

    assert re.search(r"frame-ancestors 'self' http://127\.0\.0\.1:\* http://localhost:\* https://127", policy)
    assert "X-Frame-Options" not in answer.headers


def test_a_slide_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(sl.ConfigError, match="no such file"):
        sl.studio(tmp_path / "nowhere.svs")


class Nothing(sl.SlideQc):
    """A step that somebody defined in a notebook."""

    def assess(self, slide: Any, scene: Any) -> sl.QcResult:
        return sl.QcResult(np.zeros((3, 4), bool), "artifact")


def test_a_step_of_a_notebook_decides_and_a_run_says_why_it_cannot(demo_slide: DemoFiles, tmp_path: Path) -> None:
    class Local(Nothing):
        pass

    with sl.WSI(demo_slide.path, tile_px=64, tile_um=100) as wsi:
        wsi.qc(Local())
        pipeline = wsi.pipeline()
    page = sl.studio(demo_slide.path, pipeline=pipeline, out=tmp_path / "out", roi=tmp_path / "roi")
    studio = page._server.studio
    entry = studio.shelf.entry("s1")
    studio.deciding.start(entry)
    studio.deciding.wait(entry)

    assert asked(page, "slides/s1/decisions")["kept"] == 300
    request = Request(f"{page.url}api/run", data=b'{"slides": "all"}', method="POST")
    with pytest.raises(Exception, match="409"):
        urlopen(request)
    page.close()
