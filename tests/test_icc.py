"""Slides with an ICC profile: named, and transformed to sRGB where that is asked for, for every step alike."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from slideloom import (
    WSI,
    Box,
    OptionError,
    Pipeline,
    Point,
    Project,
    Rgb,
    Size,
    Slide,
    SlideError,
    Slides,
    Tiling,
    open_slide,
    profile_name,
)
from slideloom_testing.icc import matrix_profile, srgb_by_formula

NAME = "Test scanner v1"
PROFILE = matrix_profile(NAME)
SRGB = Slides(icc="srgb")


def picture(width: int = 400, height: int = 300) -> Rgb:
    """Smooth, and of many colours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def write(path: Path, *, profile: bytes | None = PROFILE, **how: Any) -> Path:
    options = {"tile": (64, 64), "photometric": "rgb", "metadata": None, "compression": "zlib", **how}
    tifffile.imwrite(
        path, picture(), iccprofile=profile, resolution=(20000, 20000), resolutionunit="CENTIMETER", **options
    )
    return path


def png(folder: Path) -> Path:
    Image.fromarray(picture()).save(folder / "a.png", icc_profile=PROFILE)
    return folder / "a.png"


READ_BY: dict[str, Callable[[Path], Path]] = {
    "tiff": lambda folder: write(folder / "a.tif", compression="jpeg"),
    "openslide": lambda folder: write(folder / "a.tif"),
    "vips": png,
    "tifffile": lambda folder: write(folder / "a.tif", compression="jpeg2000"),
}


def by_image_cms(rgb: Rgb) -> Rgb:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(PROFILE))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    return np.asarray(transform.apply(Image.fromarray(np.ascontiguousarray(rgb))))


def whole(slide: Slide) -> Rgb:
    return slide.read(Point(0, 0), 0, slide.info.size)


def test_a_profile_is_known_by_its_description() -> None:
    assert profile_name(PROFILE) == NAME
    with pytest.raises(ValueError, match="its ICC profile of 300 bytes is damaged"):
        profile_name(PROFILE[:300])


@pytest.mark.parametrize("reader", READ_BY)
def test_every_reader_gives_the_profile_and_its_pixels_become_srgb(tmp_path: Path, reader: str) -> None:
    path = READ_BY[reader](tmp_path)

    with open_slide(path, mpp=0.5) as plain, open_slide(path, slides=SRGB, mpp=0.5) as slide:
        profile = plain.icc_profile()
        stored, shown = whole(plain), whole(slide)
        tile = slide.read_at(Box(10, 20, 100, 100), Size(100, 100))
        (other,) = slide.read_many([Point(10, 20)], 0, Size(100, 100))

    assert profile is not None
    assert profile_name(profile) == NAME
    assert (plain.info.reader, plain.info.icc, slide.info.reader, slide.info.icc) == (reader, "", reader, NAME)
    assert np.array_equal(shown, by_image_cms(stored))
    assert np.abs(shown.astype(int) - srgb_by_formula(stored)).max() <= 1
    assert np.abs(shown.astype(int) - stored).max() >= 20  # the profile is another one than sRGB
    assert np.array_equal(tile, shown[20:120, 10:110])
    assert np.array_equal(other, tile)


def test_places_without_an_image_have_the_background_in_srgb(tmp_path: Path) -> None:
    profile = matrix_profile("yellowed", colorants=np.diag([0.9642, 1.0, 0.6]))
    path = write(tmp_path / "a.tif", compression="jpeg", profile=profile)

    with open_slide(path, slides=SRGB) as slide:
        outside = slide.read(Point(-30, -30), 0, Size(20, 20))
        over = slide.read_at(Box(350, 250, 100, 100), Size(100, 100))

    assert slide.info.background != (255, 255, 255)
    assert (outside == np.array(slide.info.background)).all()
    assert (over[:, 60:] == np.array(slide.info.background)).all()


def test_threads_transform_to_the_same_pixels(tmp_path: Path) -> None:
    places = [Point(x, y) for x in range(0, 300, 40) for y in range(0, 200, 40)]
    with open_slide(write(tmp_path / "a.tif", compression="jpeg"), slides=SRGB) as slide:
        alone = [slide.read(place, 0, Size(90, 90)) for place in places]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda place: slide.read(place, 0, Size(90, 90)), places))

    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_slide_seen_by_a_person_is_in_srgb_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    wsi = WSI(path, tile_px=100, tile_um=50, icc="srgb")

    tile = next(iter(wsi))

    assert wsi.info.icc == NAME
    x, y = tile.loc_x - 50, tile.loc_y - 50
    assert np.array_equal(tile.rgb, by_image_cms(picture())[y : y + 100, x : x + 100])
    assert np.array_equal(wsi.slide.thumbnail(max_px=400), by_image_cms(picture()))


def test_a_slide_without_a_profile_is_as_stored_and_says_so(tmp_path: Path) -> None:
    wsi = WSI(write(tmp_path / "a.tif", profile=None), tile_px=100, tile_um=50, icc="srgb")

    assert np.array_equal(whole(wsi.slide), picture())
    assert wsi.info.icc == "none"
    assert wsi.warnings == ("its file has no ICC profile, so icc = srgb leaves its colours as they are",)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (PROFILE[:300], r"its ICC profile of 300 bytes is damaged \(.*\); leave out icc"),
        (matrix_profile("grey one", space=b"GRAY"), r"its ICC profile 'grey one' is of GRAY, not RGB; leave out icc"),
    ],
    ids=["damaged", "grey"],
)
def test_a_profile_that_cannot_be_used_refuses_the_slide(tmp_path: Path, profile: bytes, words: str) -> None:
    path = write(tmp_path / "a.tif", compression="jpeg", profile=profile)

    with pytest.raises(SlideError, match=rf"a\.tif: {words}"):
        open_slide(path, slides=SRGB)
    with open_slide(path) as slide:  # which is read as ever where nobody asks for sRGB
        assert slide.info.icc == ""


def test_colours_are_part_of_the_digest() -> None:
    def digest(slides: Slides) -> str:
        return Pipeline(tiles=Tiling(size_px=100, size_um=50), slides=slides).digest()

    assert digest(SRGB) != digest(Slides())
    with pytest.raises(OptionError, match="icc must be"):
        Slides(icc="adobe")  # type: ignore[arg-type]


def slideloom(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slideloom", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_writes_tiles_in_srgb_and_counts_slides_without_a_profile(tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    write(slides / "with.tif")
    write(slides / "without.tif", profile=None)
    out = tmp_path / "out"

    done = slideloom(
        "extract", slides, "--out", out, "--tile-px", 100, "--tile-um", 50, "--icc", "srgb", "--report",
        "--sink", "images:format=png", "--filter", "whitespace",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "as stored, not sRGB, for want of an ICC profile: 1 slides (without)" in done.stderr
    reports = {path.stem: json.loads(path.read_text()) for path in out.rglob("*.json") if "icc" in path.read_text()}
    found = {each["slide"]: each["icc"] for each in reports.values() if "slide" in each}
    assert found == {"with": NAME, "without": "none"}
    for name, expected in (("with", by_image_cms(picture())), ("without", picture())):
        tiles = sorted(out.rglob(f"{name}/*.png"))
        assert len(tiles) == 12
        for tile in tiles:
            x, y = (int(word) - 50 for word in tile.stem.split("-")[-2:])
            assert np.array_equal(cv2.imread(str(tile))[..., ::-1], expected[y : y + 100, x : x + 100])


def test_a_loader_that_reads_slides_gives_the_colours_that_the_run_stored(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "slides").mkdir()
    write(tmp_path / "slides" / "a.tif")
    project = Project.create(tmp_path / "project", slides=tmp_path / "slides")
    options: dict[str, Any] = {"img_format": "png", "jobs": 1, "report": False, "icc": "srgb", "grayspace_fraction": 1}
    assert not project.extract_tiles(100, 50, **options).failed
    dataset = project.dataset(100, 50)

    def tiles(**how: Any) -> dict[tuple[int, int], Rgb]:
        found = {}
        for images, info in dataset.torch(4, info=True, **how):
            for image, x, y in zip(images, info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True):
                found[x, y] = image.permute(1, 2, 0).numpy()
        return found

    stored, read = tiles(), tiles(from_slides=True)

    assert stored.keys() == read.keys()
    assert len(stored) == 12
    for x, y in stored:
        expected = by_image_cms(picture())[y - 50 : y + 50, x - 50 : x + 50]
        assert np.array_equal(stored[x, y], expected)
        assert np.array_equal(read[x, y], expected)


def test_info_names_the_profile(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.tif"), write(tmp_path / "b.tif", profile=None),
        write(tmp_path / "c.tif", compression="jpeg", profile=PROFILE[:300]),
    ]  # fmt: skip

    done = slideloom("info", *paths, "--json")

    assert [facts["ICC profile"].split("(")[0] for facts in json.loads(done.stdout)] == [
        NAME, "none", "cannot be used: its ICC profile of 300 bytes is damaged ",
    ]  # fmt: skip
