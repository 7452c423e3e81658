"""Slides in a studio: facts, pictures in powers of two, and what happens when a file goes away."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from slideloom import Box, Size, SlideError, Slides
from slideloom.planning.opening import open_slide
from slideloom.viewing.view_pyramid import ViewPyramid
from slideloom_studio.pyramid import KeptPictures, padded, tile_box, tile_rgb, zooms
from slideloom_studio.shelf import Entry, Shelf
from slideloom_testing import AnalyticSlide, PixelsSlide
from slideloom_testing.fixtures import DemoFiles


def rgb_of(answer: Any) -> Any:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB")).astype(int)


def test_facts_of_a_slide_are_those_of_its_reader(shared_page: Any, demo_slide: DemoFiles) -> None:
    facts = shared_page.get("api/slides/s1").json()

    with open_slide(demo_slide.path) as slide:
        info = slide.info
    assert (facts["name"], facts["width"], facts["height"]) == ("demo", 2000, 1500)
    assert (facts["mpp_x"], facts["mpp_source"], facts["reader"]) == (1.0, info.mpp.source, info.reader)
    assert [level["downsample"] for level in facts["levels"]] == [level.downsample for level in info.levels]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (Size(256, 256), [(1, 1, 1)]),
        (Size(257, 100), [(2, 1, 1), (1, 2, 1)]),
        (Size(2000, 1500), [(8, 1, 1), (4, 2, 2), (2, 4, 3), (1, 8, 6)]),
        (Size(1, 1), [(1, 1, 1)]),
    ],
)
def test_zooms_go_from_one_tile_to_the_slides_own_pixels(size: Size, wanted: list[tuple[int, int, int]]) -> None:
    assert [(zoom.downsample, zoom.columns, zoom.rows) for zoom in zooms(size)] == wanted


def tile_of(slide: Any, *, z: int, column: int, row: int) -> Any:
    box = tile_box(slide.info.size, z=z, column=column, row=row)
    return padded(tile_rgb(ViewPyramid(slide), box), box, slide.info.size)


def test_a_tile_shows_what_lies_there_at_every_zoom() -> None:
    slide = AnalyticSlide(Size(2000, 1500), downsamples=(1, 4))

    for zoom in zooms(Size(2000, 1500)):
        for column, row in ((0, 0), (zoom.columns - 1, zoom.rows - 1)):
            rgb = tile_of(slide, z=zoom.z, column=column, row=row).astype(int)
            side = 256 * zoom.downsample
            width = min(256, (2000 - column * side) // zoom.downsample)
            height = min(256, (1500 - row * side) // zoom.downsample)
            inside = Box(column * side, row * side, width * zoom.downsample, height * zoom.downsample)
            assert np.abs(rgb[:height, :width] - slide.expected(inside, Size(width, height))).max() <= 2


def test_beyond_the_slide_a_tile_is_white_whatever_its_background() -> None:
    slide = PixelsSlide(np.full((300, 400, 3), 90, np.uint8), background=(0, 0, 0))

    rgb = tile_of(slide, z=1, column=1, row=1)

    assert (rgb[: 300 - 256, : 400 - 256] == 90).all()
    assert (rgb[300 - 256 :] == 255).all()
    assert (rgb[:, 400 - 256 :] == 255).all()


def test_tiles_come_as_jpeg_in_full_colour_close_to_the_pixels(shared_page: Any, demo_slide: DemoFiles) -> None:
    answer = shared_page.get("api/slides/s1/pyramid/3/3/2")

    assert answer.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(answer.body))
    assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # no channel is stored smaller
    with open_slide(demo_slide.path) as slide:
        wanted = slide.read_at(Box(768, 512, 256, 256), Size(256, 256)).astype(int)
    assert np.abs(rgb_of(answer) - wanted).mean() < 2


@pytest.mark.parametrize(
    "tile", ["4/0/0", "3/8/0", "3/0/6", "0/1/0", "-1/0/0", "a/0/0", "0/0/1e3", "99999999999/0/0", "0/0/٣"]
)
def test_a_tile_that_is_not_there_is_no_picture(shared_page: Any, tile: str) -> None:
    answer = shared_page.get(f"api/slides/s1/pyramid/{tile.replace('٣', '%D9%A3')}")

    assert answer.status == 404
    assert answer.json()["error"]


def test_a_thumbnail_is_as_large_as_asked(shared_page: Any) -> None:
    assert rgb_of(shared_page.get("api/slides/s1/thumbnail")).shape == (150, 200, 3)
    assert rgb_of(shared_page.get("api/slides/s1/thumbnail?max=80")).shape == (60, 80, 3)
    assert shared_page.get("api/slides/s1/thumbnail?max=100000").status == 404


def test_a_slide_that_goes_away_is_told_and_the_studio_goes_on(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    gone, stays = tmp_path / "gone.svs", tmp_path / "stays.svs"
    shutil.copy(demo_slide.path, gone)
    shutil.copy(demo_slide.path, stays)
    page = open_studio(gone, stays)
    assert page.get("api/slides/s1/pyramid/0/0/0").status == 200
    gone.unlink()

    for path in ("", "/pyramid/0/0/0", "/pyramid/3/1/1", "/thumbnail", "/regions"):
        answer = page.get(f"api/slides/s1{path}")
        assert answer.status == 410
        assert "gone.svs: the file is gone" in answer.json()["error"]
    assert page.get("api/slides/s2/pyramid/0/0/0").status == 200
    assert [row["name"] for row in page.get("api/slides").json()] == ["gone", "stays"]
    shutil.copy(demo_slide.path, gone)
    assert page.get("api/slides/s1/pyramid/0/0/0").status == 200


def test_a_slide_that_is_replaced_is_opened_again(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    shutil.copy(demo_slide.path, path)
    page = open_studio(path)
    before = page.get("api/slides/s1/pyramid/0/0/0").body

    Image.new("RGB", (700, 300), (10, 120, 10)).save(tmp_path / "other.tif", compression="jpeg", tile=(256, 256))
    (tmp_path / "other.tif").replace(path)

    assert page.get("api/slides/s1").json()["width"] == 700
    assert page.get("api/slides/s1/pyramid/0/0/0").body != before


def test_a_file_that_is_no_slide_is_told_by_name(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    page = open_studio(demo_slide.path, broken)

    answer = page.get("api/slides/s2/thumbnail")

    assert answer.status == 410
    assert "broken.svs" in answer.json()["error"]
    assert "broken.svs" in page.get("api/slides").json()[1]["error"]
    assert page.get("api/slides/s1/thumbnail").status == 200


def test_slides_of_one_name_are_refused_because_they_would_share_regions(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    twin = tmp_path / "demo.svs"
    shutil.copy(demo_slide.path, twin)

    with pytest.raises(Exception, match="same name"):
        open_studio(demo_slide.path, twin)


def shelf_of(demo: DemoFiles, folder: Path, count: int, *, most_open: int) -> Shelf:
    paths = [folder / f"{number}.svs" for number in range(count)]
    for path in paths:
        shutil.copy(demo.path, path)
    return Shelf([Entry(path.stem, path) for path in paths], Slides(), most_open=most_open)


def test_a_few_slides_are_open_at_once_and_the_one_used_longest_ago_is_closed(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    shelf = shelf_of(demo_slide, tmp_path, 4, most_open=2)
    seen = {}
    for key in ("0", "1", "0", "2", "3"):
        with shelf.lent(key) as slide:
            seen[key] = slide
            assert not slide.is_closed
        assert shelf.open_count <= 2

    assert {key: slide.is_closed for key, slide in seen.items()} == {"0": True, "1": True, "2": False, "3": False}
    shelf.close()
    assert all(slide.is_closed for slide in seen.values())


def test_a_slide_in_use_is_not_closed_and_others_wait_for_its_place(demo_slide: DemoFiles, tmp_path: Path) -> None:
    shelf = shelf_of(demo_slide, tmp_path, 2, most_open=1)
    order = []

    def use_the_other() -> None:
        with shelf.lent("1"):
            order.append("the other is open")

    thread = threading.Thread(target=use_the_other)
    with shelf.lent("0") as slide:
        thread.start()
        for row in range(0, 1400, 100):
            slide.read_at(Box(0, row, 2000, 100), Size(2000, 100))
        order.append("the first was read")
    thread.join()
    assert order == ["the first was read", "the other is open"]
    assert slide.is_closed
    shelf.close()


def test_many_threads_share_the_shelf(demo_slide: DemoFiles, tmp_path: Path) -> None:
    shelf = shelf_of(demo_slide, tmp_path, 4, most_open=2)
    faults: list[BaseException] = []

    def look(start: int) -> None:
        try:
            for step in range(20):
                with shelf.viewing(str((start + step) % 4)) as view:
                    assert view.at(1, 0, 0, Size(64, 64)).shape == (64, 64, 3)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shelf.close()

    assert faults == []
    assert shelf.open_count == 0


def test_a_slide_that_does_not_open_takes_no_place(tmp_path: Path) -> None:
    path = tmp_path / "x.svs"
    path.write_bytes(b"no slide")
    shelf = Shelf([Entry("x", path)], Slides(), most_open=1)

    for _ in range(3):
        with pytest.raises(SlideError), shelf.lent("x"):
            pass
    assert shelf.open_count == 0


def test_kept_pictures_stay_within_their_room() -> None:
    kept = KeptPictures(most_bytes=250)
    for number in range(5):
        kept.keep(number, bytes(100))
        kept.keep(number, bytes(100))

    assert kept.held_bytes == 200
    assert [number for number in range(5) if kept.get(number) is not None] == [3, 4]


def test_labels_are_shown_only_to_those_who_ask(open_studio: Any, real_data: Path) -> None:
    openslide = pytest.importorskip("openslide")
    slide = real_data / "cmu-1-small-region.svs"
    usual, asking = open_studio(slide), open_studio(slide, "--pictures")

    assert usual.get("api/slides/s1").json()["pictures"] == []
    assert usual.get("api/slides/s1/pictures/label").status == 403
    assert asking.get("api/slides/s1").json()["pictures"] == ["label", "macro", "thumbnail"]
    answer = asking.get("api/slides/s1/pictures/label")
    assert answer.headers["cache-control"] == "no-store"
    with openslide.OpenSlide(slide) as opened:
        wanted = np.asarray(opened.associated_images["label"].convert("RGB")).astype(int)
    assert np.abs(rgb_of(answer) - wanted).mean() < 3
    assert max(rgb_of(asking.get("api/slides/s1/pictures/macro")).shape) == 1024
    assert asking.get("api/slides/s1/pictures/passport").status == 404


def test_the_first_slide_is_opened_before_a_page_asks(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    page = open_studio(demo_slide.path)
    page.studio.warm_up()
    assert page.studio.shelf.open_count == 1

    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    other = open_studio(broken)
    other.studio.warm_up()  # what is wrong is told to the page, not here
    assert "broken.svs" in other.get("api/slides").json()[0]["error"]
