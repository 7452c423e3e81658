"""The reader of tiled JPEG TIFF: the same pixels and facts as OpenSlide, and its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import openslide
import pytest
import simplejpeg
from slideloom import Box, Point, Rgb, Size, Slide, Slides, open_slide
from slideloom_testing import ReaderContract
from slideloom_tiff.settings import TiffReader

APERIO = "Aperio Image Library v11.2.1\r\n200x150 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.499"


def opened(path: Path, **options: Any) -> Slide:  # Any: options of different types
    """The slide, by the reader under test."""
    reader = TiffReader(**options).build()
    assert reader.recognises(path)
    return reader.open(path)


def by_openslide(path: Path, x: int, y: int, level: int, size: Size) -> Rgb:
    """Pixels as OpenSlide gives them, x and y in pixels of a level whose downsample is whole."""
    with openslide.OpenSlide(path) as slide:
        step = round(slide.level_downsamples[level])
        rgba = np.asarray(slide.read_region((x * step, y * step), level, (size.width, size.height)))
    return np.where(rgba[..., 3:] == 0, 255, rgba[..., :3]).astype(np.uint8)


@pytest.fixture
def mosaic(tmp_path: Path, large_picture: Rgb) -> Path:
    """A pyramid of four levels by libvips, whose tiles share JPEG tables."""
    import pyvips

    path = tmp_path / "mosaic.svs"
    image = pyvips.Image.new_from_array(large_picture).copy()
    image.set_type(pyvips.GValue.gstr_type, "image-description", APERIO)
    image.tiffsave(
        str(path), tile=True, tile_width=128, tile_height=128, pyramid=True, compression="jpeg", bigtiff=True
    )
    return path


class TestTiffContract(ReaderContract):
    """A pyramid by libvips."""

    settings: ClassVar = TiffReader()

    @pytest.fixture(autouse=True)
    def _slide(self, mosaic: Path) -> None:
        self.slide_path = mosaic


class TestScaledTiffContract(ReaderContract):
    """With levels that the decoder makes."""

    settings: ClassVar = TiffReader(dct_scale=True)

    @pytest.fixture(autouse=True)
    def _slide(self, mosaic: Path) -> None:
        self.slide_path = mosaic


def test_every_level_of_a_pyramid_has_openslides_pixels(mosaic: Path) -> None:
    with opened(mosaic) as slide, openslide.OpenSlide(mosaic) as reference:
        assert [(level.size.width, level.size.height) for level in slide.info.levels] == [*reference.level_dimensions]
        for number in range(2):  # whole downsamples, where OpenSlide does not interpolate
            size = slide.info.levels[number].size
            whole = slide.read(Point(0, 0), number, size)
            assert np.array_equal(whole, by_openslide(mosaic, 0, 0, number, size))


@pytest.mark.parametrize("name", ["cmu-1-small-region.svs"])
def test_a_real_slide_with_rgb_tiles_has_openslides_pixels(real_data: Path, name: str) -> None:
    path = real_data / name
    with opened(path) as slide:
        assert np.array_equal(slide.read(Point(0, 0), 0, slide.info.size), by_openslide(path, 0, 0, 0, slide.info.size))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("rgb_photometric", [False, True])
def test_classic_and_big_tiff_of_both_byte_orders_and_colour_spaces_are_read(
    write_tiff: Any, level: Any, picture: Rgb, order: str, big: bool, rgb_photometric: bool
) -> None:
    path = write_tiff([level(picture, rgb_photometric=rgb_photometric)], order=order, big=big)

    with opened(path) as slide:
        read = slide.read(Point(0, 0), 0, Size(200, 150))

    assert np.abs(read.astype(int) - picture).mean() < 3  # JPEG at quality 90; swapped colours differ by 50
    if openslide.OpenSlide.detect_format(path):
        reference = by_openslide(path, 0, 0, 0, Size(200, 150))
    else:  # OpenSlide does not know classic TIFF of big-endian machines, libtiff does
        import pyvips

        reference = pyvips.Image.new_from_file(str(path)).numpy()
    assert np.array_equal(read, reference)


def test_tiles_with_shared_jpeg_tables_are_read(mosaic: Path, large_picture: Rgb) -> None:
    with opened(mosaic) as slide:
        read = slide.read(Point(0, 0), 0, Size(1200, 1150))
    # libvips writes quality 75 by default.
    assert np.abs(read.astype(int) - large_picture).mean() < 2


@pytest.mark.parametrize("origin", [Point(-30, -20), Point(150, 120), Point(-500, 0), Point(300, 10), Point(60, 60)])
def test_places_that_reach_outside_are_white_there(write_tiff: Any, level: Any, picture: Rgb, origin: Point) -> None:
    path = write_tiff([level(picture)])
    framed = np.full((1150, 1200, 3), 255, np.uint8)
    with opened(path) as slide:
        framed[500:650, 500:700] = slide.read(Point(0, 0), 0, Size(200, 150))
        read = slide.read(origin, 0, Size(90, 70))

    x, y = origin.x + 500, origin.y + 500
    assert np.array_equal(read, framed[y : y + 70, x : x + 90])


def test_a_tile_that_was_never_written_is_white(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture, left_out=(1, 5))])

    with opened(path) as slide:
        read = slide.read(Point(0, 0), 0, Size(200, 150))

    assert (read[:64, 64:128] == 255).all()
    assert (read[64:128, 64:128] == 255).all()
    assert (read[:64, :64] != 255).any()


def test_facts_equal_openslides(mosaic: Path) -> None:
    ours = open_slide(mosaic, slides=Slides(reader="tiff"))
    theirs = open_slide(mosaic, slides=Slides(reader="openslide"))
    with ours, theirs:
        assert ours.info.mpp is not None
        assert theirs.info.mpp is not None
        assert (ours.info.mpp.x, ours.info.mpp.y) == (theirs.info.mpp.x, theirs.info.mpp.y) == (0.499, 0.499)
        assert ours.info.objective_power == theirs.info.objective_power == 20.0
        assert ours.info.vendor == theirs.info.vendor == "aperio"
        assert ours.info.levels == theirs.info.levels
        assert ours.info.tiff_mpp == theirs.info.tiff_mpp
        common = set(ours.info.properties) & set(theirs.info.properties)
        assert "aperio.MPP" in common
        assert all(ours.info.properties[key] == theirs.info.properties[key] for key in common)


@pytest.mark.parametrize(("unit", "expected"), [(3, 0.5), (2, 1.27)])
def test_a_plain_tiff_has_the_mpp_of_its_resolution_tags(
    write_tiff: Any, level: Any, picture: Rgb, unit: int, expected: float
) -> None:
    per_unit = 20000  # 10000 um / 20000, or 25400 um / 20000
    tags = ((282, 5, (per_unit, 1)), (283, 5, (per_unit, 1)), (296, 3, (unit,)))
    path = write_tiff([level(picture, tags=tags)])

    with (
        open_slide(path, slides=Slides(reader="tiff")) as ours,
        open_slide(path, slides=Slides(reader="openslide")) as theirs,
    ):
        assert ours.info.mpp is not None
        assert theirs.info.mpp is not None
        assert ours.info.mpp.x == pytest.approx(expected)
        assert theirs.info.mpp.x == pytest.approx(expected)


def test_words_that_name_the_patient_are_left_out(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture, description=f"{APERIO}|Barcode = P-123|Date = 01/02/20")])

    with opened(path) as slide:
        assert "P-123" not in str(slide.info)
        assert slide.info.properties["aperio.Date"] == "01/02/20"


def test_the_reader_is_chosen_by_itself_and_can_be_forbidden(mosaic: Path) -> None:
    with open_slide(mosaic) as slide:
        assert slide.info.reader == "tiff"
    with open_slide(mosaic, slides=Slides(avoid_readers=("tiff",))) as slide:
        assert slide.info.reader == "openslide"


def test_options_of_the_reader_can_be_written_after_its_name(mosaic: Path) -> None:
    with open_slide(mosaic, slides=Slides(reader="tiff:dct_scale=true,cache_mb=8")) as slide:
        assert len(slide.info.levels) > 4


class TestDctScale:
    """Levels made by the JPEG decoder."""

    def test_they_fill_the_gaps_between_stored_levels(self, write_tiff: Any, level: Any, picture: Rgb) -> None:
        path = write_tiff([level(picture), level(picture[::4, ::4].copy(), kind=1)])

        with opened(path, dct_scale=True) as slide:
            sizes = [(stored.size.width, stored.size.height) for stored in slide.info.levels]
            downsamples = [stored.downsample_x for stored in slide.info.levels]

        assert sizes[:3] == [(200, 150), (100, 75), (50, 38)]
        assert downsamples[:5] == [1, 2, 4, 8, 16]

    def test_a_pixel_is_the_mean_of_the_pixels_it_covers(self, write_tiff: Any, level: Any, picture: Rgb) -> None:
        path = write_tiff([level(picture)])

        with opened(path, dct_scale=True) as slide:
            full = slide.read(Point(0, 0), 0, Size(200, 150)).astype(float)
            half = slide.read(Point(0, 0), 1, Size(100, 75)).astype(float)

        means = full.reshape(75, 2, 100, 2, 3).mean(axis=(1, 3))
        # A shift by half a pixel would give a mean difference of about 1.5 on this picture.
        assert np.abs(half - means).mean() < 0.6
        assert np.abs(half - means).max() < 8

    def test_it_is_off_by_default(self, write_tiff: Any, level: Any, picture: Rgb) -> None:
        with opened(write_tiff([level(picture)])) as slide:
            assert len(slide.info.levels) == 1


def test_every_source_tile_is_decoded_once_however_many_threads_ask(
    mosaic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    decoded = []
    original = simplejpeg.decode_jpeg

    def counted(*arguments: Any, **options: Any) -> Rgb:
        decoded.append(1)
        return original(*arguments, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr("simplejpeg.decode_jpeg", counted)
    with opened(mosaic) as slide, ThreadPoolExecutor(4) as pool:
        boxes = [Box(x, y, 100, 100) for y in range(0, 1100, 50) for x in range(0, 1200, 100)]
        images = list(pool.map(lambda box: slide.read_at(box, Size(100, 100), level=0), boxes))
        width, height = slide.info.size.width, slide.info.size.height

    assert len(images) == len(boxes)
    assert len(decoded) == -(-width // 128) * -(-height // 128)


def test_images_stay_what_they_are_when_others_are_read_with_little_memory(write_tiff: Any, level: Any) -> None:
    rng = np.random.default_rng(7)
    path = write_tiff([level(rng.integers(0, 255, (1024, 1024, 3)).astype(np.uint8))])
    with opened(path) as slide:
        first = slide.read(Point(0, 0), 0, slide.info.size)
    with opened(path, cache_mb=1) as slide:
        places = [Point(int(x), int(y)) for x, y in rng.integers(0, 960, (300, 2))]
        images = slide.read_many(places, 0, Size(64, 64))

    for place, image in zip(places, images, strict=True):
        assert np.array_equal(image, first[place.y : place.y + 64, place.x : place.x + 64])
