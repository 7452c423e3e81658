"""Slides read by OpenSlide."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from slideloom import Point, Resolution, Rgb, Size, Slide, SlideError
from slideloom_openslide import OpenSlideReader
from slideloom_openslide.interpolation import MARGIN_PX, without_interpolation
from slideloom_openslide.plain_tiff import levels_of
from slideloom_openslide.slide import flattened
from slideloom_testing.contracts import ReaderContract

APERIO = "Aperio Image Library v11.2.1\r\n{0}x{1} [0,0 {0}x{1}] (64x64) RAW|AppMag = 40|MPP = 0.25"


def pattern(width: int, height: int) -> Rgb:
    """Every pixel tells where it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x // 256) * 16 + y // 256], axis=-1).astype(np.uint8)


def write_svs(path: Path, levels: Sequence[Rgb], *, compression: str | None = None) -> Path:
    height, width = levels[0].shape[:2]
    with tifffile.TiffWriter(path) as tiff:
        for pixels in levels:
            tiff.write(
                pixels,
                tile=(64, 64),
                photometric="rgb",
                compression=compression,
                description=APERIO.format(width, height),
                metadata=None,
            )
    return path


def opened(path: Path) -> Slide:
    return OpenSlideReader().build().open(path)


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    return write_svs(tmp_path / "a.svs", [pattern(600, 400), pattern(300, 200), pattern(150, 100)])


def test_the_slide_is_described(svs: Path) -> None:
    with opened(svs) as slide:
        info = slide.info

    assert (info.name, info.reader, info.vendor) == ("a", "openslide", "aperio")
    assert [level.size for level in info.levels] == [Size(600, 400), Size(300, 200), Size(150, 100)]
    assert [level.downsample for level in info.levels] == [1, 2, 4]
    assert info.mpp == Resolution(0.25, 0.25, "openslide.mpp-x/-y")
    assert info.objective_power == 40


def test_a_property_whose_name_is_no_text_is_left_out(svs: Path) -> None:
    svs.write_bytes(svs.read_bytes().replace(b"AppMag", b"App\xffag"))

    with opened(svs) as slide:
        info = slide.info

    assert (info.mpp, info.objective_power) == (Resolution(0.25, 0.25, "openslide.mpp-x/-y"), None)
    assert [name for name in info.properties if "\ufffd" in name] == []


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_read_starts_at_the_pixel_of_its_level(svs: Path, level: int) -> None:
    width, height = 600 >> level, 400 >> level

    with opened(svs) as slide:
        found = slide.read(Point(37, 21), level, Size(70, 60))

    assert np.array_equal(found, pattern(width, height)[21:81, 37:107])


def test_what_lies_outside_the_slide_is_background(svs: Path) -> None:
    expected = np.full((430, 640, 3), 255, np.uint8)
    expected[10:410, 20:620] = pattern(600, 400)

    with opened(svs) as slide:
        around = slide.read(Point(-20, -10), 0, Size(640, 430))
        beside = slide.read(Point(600, 0), 0, Size(5, 5))

    assert np.array_equal(around, expected)
    assert (beside == 255).all()


def textured(width: int, height: int) -> Rgb:
    """Neighbours differ by up to 60 grey levels."""
    noise = np.random.default_rng(5).integers(-30, 31, (height, width, 3))
    return (pattern(width, height) // 2 + 60 + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("sizes", "origin", "size"),
    [
        (((2003, 1005), (1001, 502)), Point(401, 301), Size(90, 70)),
        (((2003, 1005), (1001, 502)), Point(941, 442), Size(60, 60)),
        (((2003, 1005), (500, 251)), Point(3, 77), Size(400, 60)),
        (((9003, 2005), (4501, 1002)), Point(1500, 900), Size(3001, 30)),
    ],
    ids=["middle", "far corner", "near edge", "wider than OpenSlide draws at once"],
)
def test_level_pixels_are_found_where_openslide_interpolates(
    tmp_path: Path, sizes: Sequence[tuple[int, int]], origin: Point, size: Size
) -> None:
    """OpenSlide's downsample is such as 2.0015 here, ours is 2."""
    levels = [textured(*wanted) for wanted in sizes]

    with opened(write_svs(tmp_path / "odd.svs", levels)) as slide:
        assert [level.downsample_x for level in slide.info.levels] == [1, sizes[0][0] // sizes[1][0]]
        found = slide.read(origin, 1, size).astype(int)

    gap = np.abs(found - levels[1][origin.y : origin.y + size.height, origin.x : origin.x + size.width])
    assert gap.max() <= 4
    assert gap.mean() < 0.5


@pytest.mark.parametrize("shift", [-0.25, -0.1, -0.01, 0.01, 0.1, 0.25])
def test_linear_interpolation_is_undone(shift: float) -> None:
    exact = textured(120, 90).astype(np.float64)
    share = abs(shift)
    step = -1 if shift > 0 else 1  # np.roll by -1 brings the next pixel here
    mixed = exact
    for axis in (0, 1):
        mixed = (1 - share) * mixed + share * np.roll(mixed, step, axis=axis)

    found = without_interpolation(np.round(mixed).astype(np.uint8), shift_x=shift, shift_y=shift)

    inner = (slice(MARGIN_PX, -MARGIN_PX),) * 2
    gap = np.abs(found[inner] - exact[inner])
    assert gap.max() <= 0.5 / (1 - 2 * share) ** 2 + 0.5 + 0.2  # rounding before, amplified; rounding after; the cut


def test_transparency_is_laid_over_the_background() -> None:
    rgba = np.array([[[100, 0, 200, 255], [100, 0, 200, 0], [100, 0, 200, 51]]], np.uint8)

    found = flattened(rgba, background=(255, 250, 0))

    # 51 of 255 is one fifth: 0.2 * colour + 0.8 * background
    assert found.tolist() == [[[100, 0, 200], [255, 250, 0], [224, 200, 40]]]


def test_threads_get_the_same_pixels_as_one(svs: Path) -> None:
    origins = [Point(x, y) for y in range(0, 340, 40) for x in range(0, 540, 40)]

    with opened(svs) as slide, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda origin: slide.read(origin, 0, Size(60, 60)), origins))

    whole = pattern(600, 400)
    for origin, pixels in zip(origins, found, strict=True):
        assert np.array_equal(pixels, whole[origin.y : origin.y + 60, origin.x : origin.x + 60])


def damaged_tile(tmp_path: Path) -> Path:
    """The tile at (256, 192) of level 0 is not JPEG any more."""
    path = write_svs(tmp_path / "damaged.svs", [pattern(600, 400)], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tile = 3 * 10 + 4  # ten tiles in a row
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\x00" * count
    path.write_bytes(content)
    return path


def test_a_damaged_tile_costs_only_reads_that_touch_it(tmp_path: Path) -> None:
    with opened(damaged_tile(tmp_path)) as slide:
        before = slide.read(Point(0, 0), 0, Size(64, 64))
        with pytest.raises(SlideError, match=r"damaged\.svs.*copy it again"):
            slide.read(Point(260, 200), 0, Size(20, 20))

        assert np.array_equal(slide.read(Point(0, 0), 0, Size(64, 64)), before)
        assert [type(found) for found in slide.read_many([Point(0, 0), Point(256, 192)], 0, Size(64, 64))] == [
            np.ndarray,
            SlideError,
        ]


def test_a_damaged_tile_does_not_reach_other_threads(tmp_path: Path) -> None:
    origins = [Point(x, y) for y in range(0, 320, 64) for x in range(0, 576, 64)] * 3

    with opened(damaged_tile(tmp_path)) as slide, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda origin: slide.read_many([origin], 0, Size(64, 64))[0], origins))

    failed = [origin for origin, pixels in zip(origins, found, strict=True) if isinstance(pixels, SlideError)]
    assert failed == [Point(256, 192)] * 3


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_deflate_tile_that_ends_in_zeros_is_unreadable(tmp_path: Path, planar: str) -> None:
    pixels = textured(300, 200) if planar == "contig" else textured(300, 200).transpose(2, 0, 1)
    path = write_plain(tmp_path / "a.tif", [pixels], compression="zlib", planarconfig=planar)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[1], tiff.pages[0].databytecounts[1]
    content = bytearray(path.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(bytes(content))

    with opened(path) as slide:
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(64, 64)), textured(300, 200)[:64, :64])
        with pytest.raises(SlideError, match=r"a\.tif.*tile 1: its deflate stream.*copy it again"):
            slide.read(Point(70, 10), 0, Size(20, 20))


def test_a_closed_slide_says_so(svs: Path) -> None:
    slide = opened(svs)
    slide.close()

    with pytest.raises(SlideError, match=r"a\.svs.*closed"):
        slide.read(Point(0, 0), 0, Size(10, 10))


@pytest.mark.parametrize("content", [b"", b"not a slide\n" * 50, b"II", b"II*\x00"])
def test_what_is_no_slide_is_not_recognised(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.svs"
    path.write_bytes(content)
    reader = OpenSlideReader().build()

    assert not reader.recognises(path)
    assert not reader.recognises(tmp_path / "missing.svs")
    with pytest.raises(SlideError, match=r"text\.svs"):
        reader.open(path)


def test_an_ome_tiff_is_left_to_a_reader_that_knows_its_pyramid(tmp_path: Path) -> None:
    for name, is_ome in (("a.ome.tif", True), ("a.tif", False)):
        tifffile.imwrite(tmp_path / name, pattern(200, 100), tile=(64, 64), photometric="rgb", ome=is_ome)

    reader = OpenSlideReader().build()

    assert not reader.recognises(tmp_path / "a.ome.tif")
    assert reader.recognises(tmp_path / "a.tif")


def test_a_plain_tiff_that_openslide_cannot_decode_is_not_recognised(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, pattern(200, 100)[..., 0].astype(np.float32), tile=(64, 64), photometric="minisblack")

    assert openslide.OpenSlide.detect_format(path) == "generic-tiff"
    assert not OpenSlideReader().build().recognises(path)


def test_a_whole_slide_of_a_kind_that_openslide_does_not_read_is_not_called_damaged(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", [pattern(600, 400)], compression="jpeg")
    content = path.read_bytes()
    entry = struct.pack("<HHIH", 259, 3, 1, 7)  # compression
    assert entry in content
    path.write_bytes(content.replace(entry, struct.pack("<HHIH", 259, 3, 1, 50002)))  # JPEG XL

    with pytest.raises(SlideError, match=r"a\.svs: .*(Unsupported|not supported).*convert the slide"):
        opened(path).read(Point(0, 0), 0, Size(10, 10))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_slide_cut_short_is_named_with_the_remedy(real_data: Path, tmp_path: Path, share: float) -> None:
    content = (real_data / "cmu-1-small-region.svs").read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(content[: int(len(content) * share)])
    reader = OpenSlideReader().build()

    assert reader.recognises(path)
    with pytest.raises(SlideError, match=r"cut\.svs.*copy it again"):
        reader.open(path)


def write_plain(path: Path, images: Sequence[Rgb], **options: Any) -> Path:
    """A plain tiled TIFF; all images but the first say that they are smaller versions of it."""
    with tifffile.TiffWriter(path) as tiff:
        for number, pixels in enumerate(images):
            kind = {"tile": (64, 64), "photometric": "rgb", "subfiletype": int(number > 0), "metadata": None}
            tiff.write(pixels, **{**kind, **options})
    return path


def test_a_label_that_openslide_takes_for_a_level_of_a_plain_tiff_is_none(tmp_path: Path) -> None:
    label = np.full((260, 230, 3), 30, np.uint8)
    halves = pattern(600, 400)[::2, ::2], pattern(600, 400)[::4, ::4]
    path = write_plain(tmp_path / "a.tif", [pattern(600, 400), label, *halves])

    with opened(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(600, 400), Size(300, 200), Size(150, 100)]
        for number, expected in enumerate([pattern(600, 400), *halves]):
            size = slide.info.levels[number].size
            assert np.array_equal(slide.read(Point(0, 0), number, size), expected)


def test_a_plain_tiff_whose_first_image_is_not_the_largest_is_left_to_other_readers(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.tif", [np.full((260, 230, 3), 30, np.uint8), pattern(600, 400)])

    assert not OpenSlideReader().build().recognises(path)
    with pytest.raises(SlideError, match=r"a\.tif: its first image is not the largest.*reader vips"):
        opened(path)


WIDE = pattern(100, 70).astype(np.uint16) * 257
OVER_WHITE = np.floor(pattern(100, 70) * 0.2 + 255 * 0.8 + 0.5)
ALPHA = np.full((70, 100, 1), 51, np.uint8)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (WIDE, {}),
        (WIDE[..., 0], {"photometric": "minisblack"}),
        (np.concatenate([pattern(100, 70)[..., :1], ALPHA], -1), {"photometric": "minisblack", "extrasamples": [2]}),
        (np.concatenate([pattern(100, 70), ALPHA], -1), {"photometric": "separated"}),
    ],
    ids=["16 bits", "16-bit grey", "grey with transparency", "CMYK"],
)
def test_samples_that_openslide_shows_in_wrong_colours_are_left_to_vips(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    path = write_plain(tmp_path / "a.tif", [pixels], planarconfig="contig", **options)

    assert not OpenSlideReader().build().recognises(path)
    with pytest.raises(SlideError, match=r"a\.tif: .*take the reader vips"):
        opened(path)


def test_transparent_pixels_of_a_plain_tiff_lie_over_white(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.tif", [np.concatenate([pattern(100, 70), ALPHA], -1)], extrasamples=[2])

    with opened(path) as slide:
        assert np.abs(slide.read(Point(0, 0), 0, Size(100, 70)) - OVER_WHITE).max() <= 1


def test_an_image_that_is_no_smaller_along_both_sides_is_no_level() -> None:
    """1 x 1024 pixels under 2 x 1000 would be a level downsampled by 2 x 0.976."""
    sizes = [Size(2, 1000), Size(1, 1024), Size(1, 500)]

    assert levels_of(Path("a.tif"), sizes, {"openslide.vendor": "generic-tiff"}) == (0, 2)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_to_be_shown_turned_is_refused_by_name(tmp_path: Path, orientation: int) -> None:
    extra = [(274, 3, 1, orientation, True)]
    path = write_plain(tmp_path / "a.tif", [pattern(600, 400)], extratags=extra)

    with pytest.raises(SlideError, match=rf"a\.tif: its orientation tag says {orientation} .*vips autorot a\.tif"):
        opened(path)


def test_a_smaller_level_to_be_shown_turned_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels, orientation in ((pattern(600, 400), 1), (pattern(300, 200), 3)):
            tag = (274, 3, 1, orientation, True)
            file.write(pixels, tile=(64, 64), photometric="rgb", subfiletype=int(orientation > 1), extratags=[tag])

    with pytest.raises(SlideError, match=r"a\.tif: its orientation tag says 3 "):
        opened(tmp_path / "a.tif")


@pytest.mark.parametrize(("side", "words"), [(1, "1 x 64"), (16384, "16384 x 64")])
def test_tiles_that_take_absurd_time_or_memory_are_refused(tmp_path: Path, side: int, words: str) -> None:
    path = write_plain(tmp_path / "a.tif", [pattern(64, 64)])
    content = path.read_bytes()
    entry = struct.pack("<HHII", 322, 4, 1, 64)  # tile width
    assert entry in content
    path.write_bytes(content.replace(entry, struct.pack("<HHII", 322, 4, 1, side)))

    with pytest.raises(SlideError, match=rf"a\.tif: its tiles are {words} pixels.*tiffsave"):
        opened(path)


@pytest.mark.parametrize("vendor", ["hamamatsu", "philips", "mirax"])
def test_levels_of_scanners_that_pad_them_are_all_kept(vendor: str) -> None:
    """Philips pads levels to whole tiles, so that small ones have other proportions."""
    sizes = [Size(5000, 4000), Size(2560, 2048), Size(1536, 1024)]

    assert levels_of(Path("a.tif"), sizes, {"openslide.vendor": vendor}) == (0, 1, 2)
    assert levels_of(Path("a.tif"), sizes, {"openslide.vendor": "generic-tiff"}) == (0, 1)


def test_the_real_slides_are_read_as_openslide_reads_them(real_data: Path) -> None:
    path = real_data / "cmu-1-small-region.svs"
    expected = np.asarray(openslide.OpenSlide(path).read_region((1000, 900), 0, (300, 200)))[..., :3]

    with opened(path) as slide:
        assert slide.info.mpp == Resolution(0.499, 0.499, "openslide.mpp-x/-y")
        assert slide.info.tiff_mpp is None
        assert np.array_equal(slide.read(Point(1000, 900), 0, Size(300, 200)), expected)


def test_a_slide_without_resolution_has_none(real_data: Path) -> None:
    with opened(real_data / "tcga-cr-7395-01a-01-ts1.svs") as slide:
        assert slide.info.mpp is None
        assert slide.info.tiff_mpp is None
        assert slide.info.objective_power is None
        assert [level.size for level in slide.info.levels] == [Size(4443, 3567), Size(2221, 1783)]


def test_settings_travel_to_other_processes() -> None:
    settings = OpenSlideReader(cache_mb=8)

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_plugin_module_imports_no_image_library() -> None:
    code = "import sys, slideloom_openslide.plugin; print({'openslide', 'cv2', 'PIL'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


class TestOpenSlideReader(ReaderContract):
    settings = OpenSlideReader()

    @pytest.fixture(autouse=True)
    def _smooth_pyramid(self, tmp_path: Path) -> None:
        full = pattern(1024, 768) // 8
        self.slide_path = write_svs(tmp_path / "contract.svs", [full, full[::2, ::2], full[::4, ::4]])


def test_compressed_tiles_that_are_said_to_be_plain_are_unreadable(tmp_path: Path) -> None:
    """libtiff takes as many bytes as a tile needs, and OpenSlide shows those of other tiles as noise."""
    path = write_plain(tmp_path / "a.tif", [textured(300, 200)], compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(1)  # type: ignore[union-attr]

    with (
        OpenSlideReader().build().open(path) as slide,
        pytest.raises(SlideError, match=r"a\.tif.*tile 0: it has \d+ of 12288 bytes.*copy it again"),
    ):
        slide.read(Point(0, 0), 0, Size(64, 64))


def test_a_level_with_too_few_places_of_tiles_is_refused(tmp_path: Path) -> None:
    """OpenSlide takes what is not there for tiles without bytes, and paints other levels wrongly, too."""
    path = tmp_path / "a.tif"
    picture = np.full((200, 300, 3), 90, np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(picture, photometric="rgb", compression="jpeg", tile=(64, 64))
        tiff.write(picture[::2, ::2], photometric="rgb", compression="jpeg", tile=(64, 64), subfiletype=1)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[1].tags["ImageLength"].overwrite(130)  # type: ignore[union-attr]

    with pytest.raises(SlideError, match=r"a\.tif: the image .* has \d+.*copy it again"):
        OpenSlideReader().build().open(path)


def test_a_smaller_level_in_colours_that_come_out_wrong_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    picture = np.full((200, 300, 3), 90, np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(picture, photometric="rgb", compression="lzw", tile=(64, 64))
        tiff.write(picture[::2, ::2], photometric="rgb", compression="lzw", tile=(64, 64), subfiletype=1)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[1].tags["PhotometricInterpretation"].overwrite(0)  # type: ignore[union-attr]

    assert not OpenSlideReader().build().recognises(path)
    with pytest.raises(SlideError, match=r"a\.tif: OpenSlide shows 3 samples of PhotometricInterpretation 0"):
        OpenSlideReader().build().open(path)


def test_a_jpeg_tile_that_ends_in_zeros_is_unreadable_and_the_others_are_as_before(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", [textured(300, 200)], compression="jpeg")
    with opened(path) as slide:
        before = slide.read(Point(0, 0), 0, Size(64, 64))
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[1], tiff.pages[0].databytecounts[1]
    content = bytearray(path.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(bytes(content))

    with opened(path) as slide:
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(64, 64)), before)
        with pytest.raises(SlideError, match=r"a\.svs.*tile 1: its JPEG is damaged.*copy it again"):
            slide.read(Point(70, 10), 0, Size(20, 20))
