"""Slides read by libvips."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from slideloom import Point, Resolution, Rgb, Size, Slide, SlideError
from slideloom_testing.contracts import ReaderContract
from slideloom_vips import VipsReader

APERIO = "Aperio Image Library v11.2.1\r\n{0}x{1} [0,0 {0}x{1}] (64x64) RAW|AppMag = 40|MPP = 0.25"


def pattern(width: int, height: int) -> Rgb:
    """Every pixel tells where it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x // 256) * 16 + y // 256], axis=-1).astype(np.uint8)


def write_tiff(path: Path, levels: Sequence[Rgb], **options: Any) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for pixels in levels:
            tiff.write(pixels, **{"tile": (64, 64), "photometric": "rgb", "metadata": None, **options})
    return path


def opened(path: Path) -> Slide:
    reader = VipsReader().build()
    assert reader.recognises(path)
    return reader.open(path)


def all_of(slide: Slide, level: int = 0) -> Rgb:
    return slide.read(Point(0, 0), level, slide.info.levels[level].size)


class TestVipsReader(ReaderContract):
    settings = VipsReader()

    @pytest.fixture(autouse=True)
    def _smooth_pyramid(self, tmp_path: Path) -> None:
        full = pattern(1024, 768) // 8
        self.slide_path = write_tiff(tmp_path / "contract.tif", [full, full[::2, ::2], full[::4, ::4]])


def test_the_slide_is_described(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.svs", [pattern(600, 400), pattern(300, 200)], description=APERIO.format(600, 400))

    with opened(path) as slide:
        info = slide.info

    assert (info.name, info.reader, info.vendor, info.objective_power) == ("a", "vips", "aperio", 40)
    assert [level.size for level in info.levels] == [Size(600, 400), Size(300, 200)]
    assert info.mpp == Resolution(0.25, 0.25, "Aperio MPP")


def test_sub_images_of_an_ome_tiff_are_its_levels(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    levels = [pattern(600, 400), pattern(300, 200), pattern(150, 100)]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(
            levels[0],
            tile=(64, 64),
            photometric="rgb",
            subifds=2,
            metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25},
        )
        for pixels in levels[1:]:
            tiff.write(pixels, tile=(64, 64), photometric="rgb", subfiletype=1, metadata=None)

    with opened(path) as slide:
        assert slide.info.name == "a"
        assert slide.info.mpp == Resolution(0.5, 0.25, "OME PhysicalSizeX/Y")
        assert [level.downsample for level in slide.info.levels] == [1, 2, 4]
        for level, pixels in enumerate(levels):
            assert np.array_equal(all_of(slide, level), pixels)


def test_bigtiff_and_the_other_byte_order_are_read(tmp_path: Path) -> None:
    for i, options in enumerate([{"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}]):
        path = tmp_path / f"{i}.tif"
        tifffile.imwrite(path, pattern(200, 100), photometric="rgb", tile=(64, 64), **options)
        with opened(path) as slide:
            assert np.array_equal(all_of(slide), pattern(200, 100))


@pytest.mark.parametrize(("unit", "mpp"), [("CENTIMETER", 10000 / 20000), ("INCH", 25400 / 20000), ("NONE", None)])
def test_the_tiff_resolution_counts_only_with_a_real_unit(tmp_path: Path, unit: str, mpp: float | None) -> None:
    path = write_tiff(tmp_path / "a.tif", [pattern(64, 64)], resolution=(20000, 20000), resolutionunit=unit)

    with opened(path) as slide:
        found = slide.info.tiff_mpp
        assert slide.info.mpp is None

    if mpp is None:
        assert found is None
    else:
        assert found is not None
        assert (found.x, found.y) == (pytest.approx(mpp), pytest.approx(mpp))


def test_a_file_without_resolution_tags_has_none(real_data: Path) -> None:
    for name in ("cmu-1-small-region.svs", "stain_source.png"):
        with opened(real_data / name) as slide:
            assert slide.info.tiff_mpp is None


GREY = pattern(100, 70)[..., 0] * 2
WIDE = (pattern(100, 70).astype(np.uint16) << 9) + 77
ALPHA = np.full((70, 100, 1), 51, np.uint8)  # one fifth
OVER_WHITE = np.floor(pattern(100, 70) * 0.2 + 255 * 0.8 + 0.5)


@pytest.mark.parametrize(
    ("pixels", "options", "expected", "tolerance"),
    [
        (GREY, {"photometric": "minisblack"}, np.stack([GREY] * 3, -1), 0),
        (GREY, {"photometric": "miniswhite"}, np.stack([255 - GREY] * 3, -1), 0),
        (WIDE, {"photometric": "rgb"}, pattern(100, 70) * 2, 0),
        (WIDE[..., 0], {"photometric": "minisblack"}, np.stack([GREY] * 3, -1), 0),
        (np.concatenate([pattern(100, 70), ALPHA], -1), {"extrasamples": ["unassalpha"]}, OVER_WHITE, 1),
        (
            GREY,
            {"photometric": "palette", "colormap": np.stack([np.arange(256)[::-1] << 8] * 3).astype(np.uint16)},
            np.stack([255 - GREY] * 3, -1),
            0,
        ),
    ],
    ids=["grey", "inverted grey", "16 bits", "16-bit grey", "transparent", "palette"],
)
def test_every_kind_of_colour_becomes_8_bit_rgb(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], expected: np.ndarray, tolerance: int
) -> None:
    path = write_tiff(tmp_path / "a.tif", [pixels], **options)

    with opened(path) as slide:
        found = all_of(slide)

    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    """White paper and black ink are known without a profile; cyan takes away red."""
    inks = np.zeros((64, 96, 4), np.uint8)
    inks[:, 32:64] = 255
    inks[:, 64:, 0] = 255

    with opened(write_tiff(tmp_path / "a.tif", [inks], photometric="separated")) as slide:
        white, black, cyan = all_of(slide)[5, [10, 40, 80]].astype(int)

    assert white.min() >= 250
    assert black.max() <= 60
    assert cyan[0] + 60 < min(cyan[1], cyan[2])


def test_png_and_jpeg_have_one_level(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(pattern(300, 200), (0, 0), 5)
    clear = np.concatenate([smooth, np.full((200, 300, 1), 51, np.uint8)], -1)
    cv2.imwrite(str(tmp_path / "a.png"), smooth[..., ::-1])
    cv2.imwrite(str(tmp_path / "a.jpg"), smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    cv2.imwrite(str(tmp_path / "clear.png"), clear[..., [2, 1, 0, 3]])

    for name, expected, tolerance in (("a.png", smooth, 0), ("a.jpg", smooth, 8), ("clear.png", smooth * 0.2 + 204, 1)):
        with opened(tmp_path / name) as slide:
            assert [level.size for level in slide.info.levels] == [Size(300, 200)]
            assert slide.info.tiff_mpp is None
            part = slide.read(Point(50, 60), 0, Size(100, 90)).astype(float)
            assert np.abs(part - expected[60:150, 50:150]).max() <= tolerance, name


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (pattern(100, 70).astype(np.float32), {}, "floating-point numbers"),
        (pattern(100, 70).astype(np.uint32), {}, "32 bits"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], words: str) -> None:
    path = write_tiff(tmp_path / "a.tif", [pixels], **options)

    with pytest.raises(SlideError, match=rf"a\.tif: its samples .*{words}.*write it as 8-bit RGB"):
        VipsReader().build().open(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiles", "strips"])
def test_samples_of_fewer_bits_in_16_are_refused_with_the_factor_that_stretches_them(
    tmp_path: Path, bits: int, tile: tuple[int, int] | None
) -> None:
    dark = np.full((100, 150, 4), 1 << 15, np.uint16)
    dark[..., :3] = np.linspace(0, 2**bits - 1, 150 * 3).reshape(150, 3)
    path = write_tiff(tmp_path / "a.tif", [dark], tile=tile, extrasamples=["unassalpha"])

    with pytest.raises(
        SlideError, match=rf"a\.tif: .*up to {2**bits - 1} only.*{bits} bits.*{255 / (2**bits - 1):.6g} 0"
    ):
        VipsReader().build().open(path)


def test_tiles_of_12_bits_in_16_are_left_to_a_reader_that_knows_what_is_white(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [np.full((100, 150, 3), 4000, np.uint16)])
    reader = VipsReader().build()

    assert not reader.recognises(path)
    assert "up to 4000 only" in (reader.refusal(path) or "")


def test_a_png_of_12_bits_in_16_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((70, 100, 3), 4095, np.uint16))

    with pytest.raises(SlideError, match=r"a\.png: its 16-bit samples go up to 4095 only"):
        opened(tmp_path / "a.png")


def test_ycbcr_outside_jpeg_is_left_to_openslide(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [pattern(100, 70)], photometric="ycbcr", compression="zlib")
    reader = VipsReader().build()

    assert not reader.recognises(path)
    with pytest.raises(SlideError, match=r"a\.tif: it stores YCbCr outside JPEG.*reader openslide"):
        reader.open(path)


def test_a_small_file_of_absurd_size_is_refused_before_decoding(tmp_path: Path) -> None:
    """The header of a PNG of 60000 x 60000 pixels: 10 GiB decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )

    with pytest.raises(SlideError, match=r"bomb\.png.*10 GiB.*tiffsave"):
        VipsReader().build().open(path)


def damaged_tile(tmp_path: Path) -> Path:
    """The tile at (256, 192) is not JPEG any more."""
    path = write_tiff(tmp_path / "damaged.tif", [pattern(600, 400)], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tile = 3 * 10 + 4  # ten tiles in a row
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\x00" * count
    path.write_bytes(content)
    return path


def test_a_damaged_tile_is_an_error_every_time_and_costs_nothing_else(tmp_path: Path) -> None:
    origins = [Point(x, y) for y in range(0, 320, 64) for x in range(0, 576, 64)] * 4

    with opened(damaged_tile(tmp_path)) as slide, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda origin: slide.read_many([origin], 0, Size(64, 64))[0], origins))

    failed = [origin for origin, pixels in zip(origins, found, strict=True) if isinstance(pixels, SlideError)]
    assert failed == [Point(256, 192)] * 4
    assert "damaged.tif: 64x64 px at (256, 192)" in str(next(found for found in found if isinstance(found, SlideError)))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_cut_short_is_named_with_the_remedy(real_data: Path, tmp_path: Path, share: float) -> None:
    content = (real_data / "cmu-1-small-region.svs").read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(content[: int(len(content) * share)])
    reader = VipsReader().build()

    assert reader.recognises(path)
    with pytest.raises(SlideError, match=r"cut\.svs.*copy it again"):
        reader.open(path)


def test_a_cut_png_is_an_error(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes((real_data / "stain_source.png").read_bytes()[:300000])

    for _ in range(2):
        with pytest.raises(SlideError, match=r"cut\.png.*copy it again"), VipsReader().build().open(path) as slide:
            all_of(slide)


def test_jpeg_2000_inside_tiff_is_not_recognised(real_data: Path) -> None:
    assert not VipsReader().build().recognises(real_data / "tcga-cr-7395-01a-01-ts1.svs")


def test_a_closed_slide_says_so(tmp_path: Path) -> None:
    slide = opened(write_tiff(tmp_path / "a.tif", [pattern(100, 70)]))
    slide.close()

    with pytest.raises(SlideError, match=r"a\.tif.*closed"):
        slide.read(Point(0, 0), 0, Size(10, 10))


def test_a_replaced_file_is_not_read_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for value in (10, 200):
        write_tiff(path, [np.full((70, 100, 3), value, np.uint8)])
        with opened(path) as slide:
            assert (all_of(slide) == value).all()


class TestDamage:
    """Nothing is made up where a file cannot be decoded."""

    # libtiff stops reading deflate and PackBits where a tile is full, so what it does not miss is not all there is.
    @pytest.mark.parametrize(
        ("compression", "part"),
        [("jpeg", "all"), ("jpeg", "middle"), ("jpeg", "end"), ("zlib", "all"), ("lzw", "all"), ("lzw", "middle"),
         ("lzw", "end"), ("webp", "all"), ("webp", "middle"), ("packbits", "all")],
    )  # fmt: skip
    def test_a_damaged_tile_is_unreadable_in_every_compression(
        self, tmp_path: Path, compression: str, part: str
    ) -> None:
        rng = np.random.default_rng(5)
        smooth = cv2.GaussianBlur(rng.integers(0, 256, (128, 192, 3)).astype(np.uint8), (0, 0), 3)
        path = write_tiff(tmp_path / "a.tif", [smooth], compression=compression)
        with opened(path) as slide:
            whole = all_of(slide)
        overwrite_tile(path, 4, part)

        with opened(path) as slide:
            found = slide.read_many([Point(x, y) for y in (0, 64) for x in (0, 64, 128)], 0, Size(64, 64))

        assert "a.tif: 64x64 px at (64, 64) cannot be decoded" in str(found[4])
        for number, tile in enumerate(found):
            y, x = number // 3 * 64, number % 3 * 64
            assert number == 4 or np.array_equal(tile, whole[y : y + 64, x : x + 64])

    def test_damage_costs_only_its_own_tile_while_many_threads_read(self, tmp_path: Path) -> None:
        smooth = cv2.GaussianBlur(pattern(640, 640), (0, 0), 5)
        path = write_tiff(tmp_path / "a.tif", [smooth], compression="jpeg")
        with opened(path) as slide:
            whole = all_of(slide)
        broken = {7, 31, 32, 55, 98}
        for number in broken:
            overwrite_tile(path, number, "end")
        numbers = [*range(100)] * 5

        def read(number: int) -> Rgb | SlideError:
            place = Point(number % 10 * 64, number // 10 * 64)
            return slide.read_many([place], 0, Size(64, 64))[0]

        with VipsReader(reads_at_once=8).build().open(path) as slide, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(read, numbers))

        for number, tile in zip(numbers, found, strict=True):
            assert isinstance(tile, SlideError) == (number in broken)
            if not isinstance(tile, SlideError):
                y, x = number // 10 * 64, number % 10 * 64
                assert np.array_equal(tile, whole[y : y + 64, x : x + 64])

    @pytest.mark.parametrize("compression", ["jpeg", "zlib"])
    def test_an_image_in_strips_with_a_damaged_one_is_unreadable_every_time(
        self, tmp_path: Path, compression: str
    ) -> None:
        smooth = cv2.GaussianBlur(pattern(200, 160), (0, 0), 5)
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, smooth, rowsperstrip=16, photometric="rgb", compression=compression, metadata=None)
        overwrite_tile(path, 5, "middle")

        with VipsReader().build().open(path) as slide:
            for _ in range(2):
                with pytest.raises(SlideError, match=r"a\.tif.*cannot be decoded"):
                    slide.read(Point(0, 0), 0, Size(20, 20))

    def test_a_damaged_jpeg_picture_is_unreadable(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        cv2.imwrite(str(path), cv2.GaussianBlur(pattern(300, 200), (0, 0), 5))
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 200] = b"\x55" * 200
        path.write_bytes(bytes(content))

        with VipsReader().build().open(path) as slide, pytest.raises(SlideError, match=r"a\.jpg.*cannot be decoded"):
            all_of(slide)

    def test_a_tiff_whose_first_tile_is_damaged_is_still_recognised(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", [pattern(600, 400)], compression="zlib")
        overwrite_tile(path, 0, "all")

        assert VipsReader().build().recognises(path)

    @pytest.mark.parametrize("codec", [9389, 34712, 34887, 50000, 50002])
    def test_a_compression_that_libvips_does_not_decode_is_not_recognised(self, tmp_path: Path, codec: int) -> None:
        path = write_tiff(tmp_path / "a.tif", [pattern(600, 400)], compression="zlib")
        content = path.read_bytes()
        entry = struct.pack("<HHI", 259, 3, 1)  # compression
        at = content.index(entry)
        path.write_bytes(content[: at + 8] + struct.pack("<H", codec) + content[at + 10 :])

        assert not VipsReader().build().recognises(path)

    def test_a_dicom_file_that_is_a_tiff_too_is_left_to_others(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", [pattern(600, 400)])
        content = bytearray(path.read_bytes())
        content[128:132] = b"DICM"
        path.write_bytes(bytes(content))

        assert not VipsReader().build().recognises(path)


@pytest.mark.parametrize("orientation", [*range(1, 9)])
def test_an_image_to_be_shown_turned_is_refused(tmp_path: Path, orientation: int) -> None:
    path = write_tiff(tmp_path / "a.tif", [pattern(100, 70)], extratags=[(274, 3, 1, orientation, True)])

    if orientation == 1:
        with opened(path) as slide:
            assert np.array_equal(all_of(slide), pattern(100, 70))
    else:
        with pytest.raises(SlideError, match=rf"a\.tif: its orientation tag says {orientation} .*vips autorot a\.tif"):
            opened(path)


def overwrite_tile(path: Path, number: int, part: str) -> None:
    """All of a tile's or strip's bytes, the middle third, or the last third become another value."""
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[0].dataoffsets[number], tiff.pages[0].databytecounts[number]
    first, last = {"all": (0, 1), "middle": (1 / 3, 2 / 3), "end": (2 / 3, 1)}[part]
    content = bytearray(path.read_bytes())
    places = slice(start + int(first * count), start + int(last * count))
    content[places] = b"\x55" * len(content[places])
    path.write_bytes(bytes(content))
