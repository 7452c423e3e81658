"""Slides read with tifffile: every compression and layout comes out as it was encoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from slideloom import Point, Resolution, Rgb, Size, Slide, SlideError, Slides, UnsupportedSlide, open_slide
from slideloom_testing.contracts import ReaderContract
from slideloom_tifffile import TifffileReader

LOSSLESS: dict[str, dict[str, Any]] = {
    "none": {},
    "LZW": {"compression": "lzw"},
    "deflate": {"compression": "zlib", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "LZMA": {"compression": "lzma"},
    "LZMA with predictor": {"compression": "lzma", "predictor": True},
    "Zstandard": {"compression": "zstd"},
    "Zstandard with predictor": {"compression": "zstd", "predictor": True},
    "LERC": {"compression": "lerc"},
    "LERC in deflate": {"compression": "lerc", "compressionargs": {"compression": "deflate"}},
    "LERC in Zstandard": {"compression": "lerc", "compressionargs": {"compression": "zstd"}},
    "PNG": {"compression": "png"},
    "WebP": {"compression": "webp", "compressionargs": {"lossless": True}},
    "JPEG XL": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "JPEG XL of DNG": {"compression": 52546, "compressionargs": {"lossless": True}},
    "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "JPEG 2000 (33003)": {"compression": 33003, "compressionargs": {"level": 0}},
    "JPEG 2000 (33004)": {"compression": 33004, "compressionargs": {"level": 0}},
    "JPEG 2000 (33005)": {"compression": 33005, "compressionargs": {"level": 0}},
}
WITHOUT_CHECKSUM = {"none", "LZW", "PackBits", "WebP"}  # what decodes to a whole tile is taken as right
NO_PLANES = {"WebP"}  # which has no grey
UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}


def picture(width: int = 300, height: int = 200) -> Rgb:
    """As much detail as a slide has; not a whole number of tiles along either side."""
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 150 // width, y * 150 // height, (x + y) * 150 // (width + height)], -1)
    return (smooth + np.random.default_rng(3).integers(0, 100, (height, width, 3))).astype(np.uint8)


def smooth(width: int = 1024, height: int = 768) -> Rgb:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width + 40, y * 200 // height + 40, (x + y) * 150 // (width + height) + 60], -1).astype(
        np.uint8
    )


def write(path: Path, *images: tuple[NDArray[Any], dict[str, Any]], **options: Any) -> Path:
    with tifffile.TiffWriter(path, **options) as tiff:
        for pixels, how in images:
            tiff.write(pixels, **{"tile": (64, 64), "photometric": "rgb", "metadata": None, **how})
    return path


def opened(path: Path, **options: Any) -> Slide:
    reader = TifffileReader(**options).build()
    assert reader.recognises(path)
    return reader.open(path)


def whole(slide: Slide, level: int = 0) -> Rgb:
    return slide.read(Point(0, 0), level, slide.info.levels[level].size)


def largest_difference(one: Rgb, other: Rgb) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


class TestTifffileReader(ReaderContract):
    settings = TifffileReader()

    @pytest.fixture(autouse=True, params=["jpeg2000", "zstd"])
    def _pyramid(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        full, how = smooth(), {"compression": request.param}
        small = {"subfiletype": 1, **how}
        images = [(full, {"subifds": 2, **how}), (full[::2, ::2], small), (full[::4, ::4], small)]
        self.slide_path = write(tmp_path / "contract.tif", *images)


class TestTifffileReaderOfStripsAndPlanes(ReaderContract):
    settings = TifffileReader()

    @pytest.fixture(autouse=True)
    def _planes_in_strips(self, tmp_path: Path) -> None:
        how = {"tile": None, "rowsperstrip": 50, "planarconfig": "separate", "compression": "lzma"}
        full = smooth().transpose(2, 0, 1)
        small = (full[:, ::2, ::2], {"subfiletype": 1, **how})
        self.slide_path = write(tmp_path / "contract.tif", (full, how), small)


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiles", "strips"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_pictures_are_byte_for_byte_those_that_were_written(
    tmp_path: Path, kind: str, tile: Any, order: Any
) -> None:
    layout = {"tile": tile, "rowsperstrip": None if tile else 24}
    path = write(tmp_path / "a.tif", (picture(), {**LOSSLESS[kind], **layout}), byteorder=order)

    with opened(path) as slide:
        assert np.array_equal(whole(slide), picture())
        assert np.array_equal(slide.read(Point(55, 61), 0, Size(80, 9)), picture()[61:70, 55:135])


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiles", "strips"])
@pytest.mark.parametrize("kind", sorted(set(LOSSLESS) - NO_PLANES))
def test_separate_colour_planes_are_put_together(tmp_path: Path, kind: str, tile: Any) -> None:
    how = {"planarconfig": "separate", "tile": tile, "rowsperstrip": None if tile else 24, **LOSSLESS[kind]}
    path = write(tmp_path / "a.tif", (picture().transpose(2, 0, 1), how))

    with opened(path) as slide:
        assert np.array_equal(whole(slide), picture())


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "jpeg2000", "compressionargs": {"level": 60}},
        {"compression": 33003, "compressionargs": {"level": 60}},
        {"compression": "jpegxl", "compressionargs": {"level": 90}},
        {"compression": "webp", "compressionargs": {"level": 80}},
        {"compression": "jpeg", "compressionargs": {"level": 90}},
        {"compression": "jpeg", "compressionargs": {"level": 90}, "subsampling": (2, 2)},
        {"compression": "jpeg", "compressionargs": {"level": 90, "outcolorspace": "rgb"}},
    ],
    ids=str,
)
def test_lossy_pictures_are_those_of_tifffile(tmp_path: Path, how: dict[str, Any]) -> None:
    path = write(tmp_path / "a.tif", (smooth(300, 200), how))

    with opened(path) as slide:
        assert np.array_equal(whole(slide), tifffile.imread(path))
        assert np.abs(whole(slide).astype(int) - smooth(300, 200)).mean() < 2


def test_jpeg_2000_of_luma_and_chroma_is_converted_as_aperio_means_it(tmp_path: Path) -> None:
    """Compression 33003 without a colour transform within; the formula is that of JFIF."""
    rgb = smooth(128, 128).astype(float)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = np.stack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402], -1).round().astype(np.uint8)
    tiles = [
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(ycc[y : y + 64, x : x + 64]), level=0, mct=False, codecformat="j2k"
        )
        for y in (0, 64)
        for x in (0, 64)
    ]
    how = {"compression": 33003, "shape": (128, 128, 3), "dtype": np.uint8, "tile": (64, 64), "metadata": None}
    said = "Aperio Image Library v12\r\n128x128 (64x64) J2K/YUV16 Q=70|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        tiff.write(iter(tiles), photometric="rgb", description=said, **how)
    with tifffile.TiffWriter(tmp_path / "b.tif") as tiff:
        tiff.write(iter(tiles), photometric="rgb", **how)

    with opened(tmp_path / "a.svs") as slide:
        assert largest_difference(whole(slide), smooth(128, 128)) <= 2
        assert slide.info.mpp == Resolution(0.5, 0.5, "Aperio MPP")
    assert not TifffileReader().build().recognises(tmp_path / "b.tif")
    with TifffileReader().build().open(tmp_path / "b.tif") as slide, pytest.raises(SlideError, match="33003"):
        whole(slide)


@pytest.mark.parametrize("ome", [False, True])
@pytest.mark.parametrize("kind", ["JPEG 2000", "LZMA"])
def test_sub_images_are_levels_with_ome_xml_and_without(tmp_path: Path, kind: str, ome: bool) -> None:
    full, how = picture(), LOSSLESS[kind]
    metadata = {"axes": "YXS", **UM} if ome else None
    small = {"subfiletype": 1, **how}
    images = [
        (full, {"subifds": 3, "metadata": metadata, **how}),
        (full[::2, ::2], small),
        (full[:50, :75], {**small, "subfiletype": 9}),  # as a label image
        (full[::4, ::8], small),
    ]
    path = write(tmp_path / "a.ome.tif", *images, ome=ome, bigtiff=True)

    with opened(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(300, 200), Size(150, 100)]
        assert np.array_equal(whole(slide), full)
        assert np.array_equal(whole(slide, 1), full[::2, ::2])
        assert slide.info.mpp == (Resolution(0.5, 0.25, "OME PhysicalSizeX/Y") if ome else None)


def test_pages_are_levels_if_they_are_marked_as_smaller_and_have_level_0s_proportions(tmp_path: Path) -> None:
    full, how = picture(), LOSSLESS["LZMA"]
    small = {"subfiletype": 1, **how}
    images = [
        (full, how),
        (full[:100, :150], how),  # not marked
        (full[:60, :60], small),  # other proportions
        (full[::4, ::4], small),
        (full[::2, ::2], small),
        (full[::3, ::3], {"subfiletype": 9, **how}),  # Aperio's mark of a macro image
    ]

    with opened(write(tmp_path / "a.tif", *images)) as slide:
        assert [level.size for level in slide.info.levels] == [Size(300, 200), Size(150, 100), Size(75, 50)]
        assert np.array_equal(whole(slide, 2), full[::4, ::4])


NAMED = {"Channel": {"Name": ["blue", "Red", "GREEN"]}}
COLOURED = {"Channel": {"Color": [-16776961, 16711935, 65535]}}


@pytest.mark.parametrize(
    ("metadata", "order"), [(NAMED, [1, 2, 0]), (COLOURED, [0, 1, 2])], ids=["by name", "by colour"]
)
@pytest.mark.parametrize("kind", ["LZMA", "JPEG 2000", "none"])
def test_channels_that_are_said_to_be_red_green_and_blue_are_a_picture(
    tmp_path: Path, metadata: dict[str, Any], order: list[int], kind: str
) -> None:
    full, half = (np.ascontiguousarray(pixels.transpose(2, 0, 1)) for pixels in (picture(), picture()[::2, ::2]))
    how = {"photometric": "minisblack", **LOSSLESS[kind]}
    about = {"axes": "CYX", **UM, **metadata}
    path = write(
        tmp_path / "a.ome.tif",
        (full, {"subifds": 1, "metadata": about, **how}),
        (half, {"subfiletype": 1, **how}),
        ome=True,
    )

    with open_slide(path) as slide:
        assert (slide.info.reader, len(slide.info.levels)) == ("tifffile", 2)
        assert np.array_equal(whole(slide), picture()[..., order])
        assert np.array_equal(whole(slide, 1), picture()[::2, ::2][..., order])
        assert slide.info.mpp == Resolution(0.5, 0.25, "OME PhysicalSizeX/Y")


STAINS = {"Channel": {"Name": ["TRITC", "FITC", "DAPI"], "Color": [-16776961, 16711935, 65535]}}


def test_stains_are_chosen_or_refused_whatever_their_colours_on_screen(tmp_path: Path) -> None:
    how = {"photometric": "minisblack", "metadata": {"axes": "CYX", **UM, **STAINS}}
    path = write(tmp_path / "a.ome.tif", (picture().transpose(2, 0, 1), how), ome=True)

    with pytest.raises(UnsupportedSlide, match=r"a\.ome\.tif: it is an OME-TIFF of 3 channels \(TRITC, FITC, DAPI\)"):
        open_slide(path)
    with opened(path, channels=(2, 1, 0)) as slide:
        assert np.array_equal(whole(slide), picture()[..., ::-1])
    with opened(path, channels=(1,)) as slide:
        assert np.array_equal(whole(slide), np.repeat(picture()[..., 1:2], 3, axis=-1))
    with pytest.raises(SlideError, match=r"channels 0 to 2 \(TRITC, FITC, DAPI\), and no 3"):
        TifffileReader(channels=(3,)).build().open(path)


def test_a_scene_and_a_focal_plane_are_chosen_by_number(tmp_path: Path) -> None:
    stack = np.stack([picture(), picture()[::-1], picture()[:, ::-1]])
    scenes = [
        (picture(), {"metadata": {"axes": "YXS", "Name": "left", **UM}}),
        (picture(280, 190), {"metadata": {"axes": "YXS", "Name": "right", **UM}}),
    ]
    planes = write(tmp_path / "z.ome.tif", (stack, {"metadata": {"axes": "ZYXS", **UM}}), ome=True)
    two = write(tmp_path / "s.ome.tif", *scenes, ome=True)

    with pytest.raises(UnsupportedSlide, match=r"OME-TIFF of 3 focal planes; reader='tifffile:plane=N'"):
        open_slide(planes)
    with opened(planes, plane=1) as slide:
        assert np.array_equal(whole(slide), picture()[::-1])
    with pytest.raises(UnsupportedSlide, match=r"2 scenes \(0: left of 300 x 200, 1: right of 280 x 190\)"):
        open_slide(two)
    with opened(two, scene=1) as slide:
        assert np.array_equal(whole(slide), picture(280, 190))
    with pytest.raises(SlideError, match=r"no scene 2, but these: 0: left"):
        TifffileReader(scene=2).build().open(two)
    with pytest.raises(SlideError, match="focal planes 0 to 2, and no 3"):
        TifffileReader(plane=3).build().open(planes)


def test_samples_are_counted_in_the_directory_where_the_xml_does_not_tell(tmp_path: Path) -> None:
    """Some writers leave `SamplesPerPixel` out, so three samples look like three channels."""
    stack = np.stack([picture(), picture()[::-1]])
    path = write(tmp_path / "z.ome.tif", (stack, {"metadata": {"axes": "ZYXS", **UM}}), ome=True)
    content = path.read_bytes()
    assert b' SamplesPerPixel="3"' in content
    path.write_bytes(content.replace(b' SamplesPerPixel="3"', b" " * 20))

    with opened(path, plane=1) as slide:
        assert np.array_equal(whole(slide), picture()[::-1])


def test_choices_do_not_apply_to_other_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (picture(), {}))

    with pytest.raises(SlideError, match=r"a\.tif: scene, channels and plane choose from an OME-TIFF"):
        TifffileReader(scene=0).build().open(path)


WIDE = picture().astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        *((kind, order) for kind in ("none", "Zstandard with predictor", "LZMA") for order in "<>"),
        # These have a byte order of their own, and imagecodecs 2026.10 writes them in no other.
        *((kind, "<") for kind in ("JPEG 2000", "JPEG XL", "PNG", "LERC")),
    ],
)
def test_of_16_bits_the_upper_8_are_shown_and_info_says_so(tmp_path: Path, kind: str, order: Any) -> None:
    path = write(tmp_path / "a.tif", (WIDE, LOSSLESS[kind]), byteorder=order)

    with opened(path) as slide:
        assert np.array_equal(whole(slide), picture())
        assert slide.info.shown_as == "the upper 8 of 16 bits"


def test_12_of_16_bits_are_refused_until_white_is_named(tmp_path: Path) -> None:
    samples = picture().astype(np.uint16) * 16
    path = write(tmp_path / "a.tif", (samples, LOSSLESS["LZMA"]))

    with pytest.raises(SlideError, match=r"a\.tif: its 16-bit samples go up to \d+ only.*tifffile:white=4095"):
        open_slide(path, mpp=0.5)
    with opened(path, white=4095) as slide:
        assert np.array_equal(whole(slide), np.rint(samples * (255 / 4095)).astype(np.uint8))
        assert slide.info.shown_as == "16-bit samples from 0 to 4095, as 0 to 255"


def test_the_bits_that_ome_xml_says_are_used_are_those_that_are_shown(tmp_path: Path) -> None:
    samples = picture().astype(np.uint16) * 16
    about = {"axes": "YXS", **UM, "SignificantBits": 12}
    path = write(tmp_path / "a.ome.tif", (samples, {"metadata": about}), ome=True)
    wrong = write(tmp_path / "b.ome.tif", (samples * 2, {"metadata": about}), ome=True)

    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), np.rint(samples * (255 / 4095)).astype(np.uint8))
    with pytest.raises(SlideError, match=r"b\.ome\.tif: its OME-XML says that samples go up to 4095, but"):
        TifffileReader().build().open(wrong)


def test_grey_palette_bilevel_and_transparent_pictures_are_shown_as_they_are(tmp_path: Path) -> None:
    lzma, grey = LOSSLESS["LZMA"], np.ascontiguousarray(picture()[..., 0])
    table = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    alpha = picture()[..., 2:]
    mixed = (picture() * (alpha / 255.0) + 255 * (1 - alpha / 255.0)).round().astype(np.uint8)
    dark = np.minimum(picture(), alpha)
    cases: list[tuple[NDArray[Any], dict[str, Any], NDArray[Any]]] = [
        (grey, {"photometric": "minisblack"}, np.repeat(grey[..., None], 3, -1)),
        (grey, {"photometric": "miniswhite"}, np.repeat(255 - grey[..., None], 3, -1)),
        (grey, {"photometric": "palette", "colormap": table}, (table >> 8).astype(np.uint8).T[grey]),
        (grey // 16, {"photometric": "minisblack", "bitspersample": 4}, np.repeat((grey // 16 * 17)[..., None], 3, -1)),
        (grey > 90, {"photometric": "minisblack"}, np.repeat(np.where(grey > 90, 255, 0)[..., None], 3, -1)),
        (np.concatenate([picture(), alpha], -1), {"extrasamples": ["unassalpha"]}, mixed),
        (np.concatenate([dark, alpha], -1), {"extrasamples": ["assocalpha"]}, dark + (255 - alpha)),
    ]
    for number, (pixels, how, expected) in enumerate(cases):
        path = write(tmp_path / f"{number}.tif", (pixels, {**({} if "bitspersample" in how else lzma), **how}))
        with opened(path) as slide:
            assert np.array_equal(whole(slide), expected), number


@pytest.mark.parametrize("kind", ["LZMA", "JPEG 2000"])
def test_tiles_that_were_never_written_are_white(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.tif", (picture(), LOSSLESS[kind]))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[1] = 0
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    expected = picture()
    expected[:64, 64:128] = 255

    with opened(path) as slide:
        assert np.array_equal(whole(slide), expected)


def test_plain_tiles_that_have_a_place_and_no_bytes_are_no_background(tmp_path: Path) -> None:
    # Other readers do not look at the number of bytes of plain tiles, and show what is there.
    path = write(tmp_path / "a.tif", (picture(), {"tile": (64, 64)}))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[1] = 0
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)

    with pytest.raises(SlideError, match=r"a\.tif: it counts no bytes of 1 tiles or strips, such as that at byte \d+"):
        open_slide(path, slides=Slides(reader="tifffile"))


def zeros_at_the_end_of(path: Path, number: int) -> None:
    """What an interrupted copy leaves of a tile or strip."""
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[number], tiff.pages[0].databytecounts[number]
    content = bytearray(path.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiles", "strips"])
@pytest.mark.parametrize("kind", [*sorted(set(LOSSLESS) - WITHOUT_CHECKSUM), "JPEG"])
def test_a_segment_that_ends_in_zeros_is_unreadable_and_the_others_are_as_before(
    tmp_path: Path, kind: str, tile: Any
) -> None:
    how = {"tile": tile, "rowsperstrip": None if tile else 64, **LOSSLESS.get(kind, {"compression": "jpeg"})}
    path = write(tmp_path / "a.tif", (picture(), how))
    with opened(path) as slide:
        before = whole(slide)

    zeros_at_the_end_of(path, 1)

    word, at = ("tile", Point(70, 10)) if tile else ("strip", Point(0, 70))
    with opened(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match=rf"a\.tif: {word} 1 of level 0 is damaged \(.*copy the slide again"):
                slide.read(at, 0, Size(20, 20))
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(64, 64)), before[:64, :64])


def test_the_bytes_of_a_tile_beyond_the_file_are_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (picture(), LOSSLESS["LZMA"]))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        offsets = list(tiff.pages[0].dataoffsets)
        offsets[1] = 10**9
        tiff.pages[0].tags["TileOffsets"].overwrite(offsets)

    with opened(path) as slide, pytest.raises(SlideError, match=r"tile 1 .* from 1000000000 on, but the file ends"):
        slide.read(Point(70, 10), 0, Size(20, 20))


@pytest.mark.parametrize("kind", ["PNG", "JPEG 2000", "JPEG XL", "LERC", "WebP"])
def test_a_tile_that_says_it_is_of_another_size_is_damaged_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    how = LOSSLESS[kind]
    path = write(tmp_path / "a.tif", (picture(256, 256), {**how, "tile": (128, 128)}))
    other = write(tmp_path / "b.tif", (picture(256, 256), {**how, "tile": (256, 256)}))
    with tifffile.TiffFile(other) as tiff:
        length = tiff.pages[0].databytecounts[0]
        content = other.read_bytes()[tiff.pages[0].dataoffsets[0] :][:length]
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        offsets, counts = list(tiff.pages[0].dataoffsets), list(tiff.pages[0].databytecounts)
        offsets[1], counts[1] = path.stat().st_size, length
        tiff.pages[0].tags["TileOffsets"].overwrite(offsets)
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    path.write_bytes(path.read_bytes() + content)

    with opened(path) as slide, pytest.raises(SlideError, match=r"a\.tif: tile 1 of level 0 is damaged"):
        slide.read(Point(130, 10), 0, Size(20, 20))


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_an_image_that_is_to_be_shown_turned_is_refused(tmp_path: Path, orientation: int) -> None:
    how = {**LOSSLESS["LZMA"], "extratags": [(274, 3, 1, orientation, True)]}

    with pytest.raises(SlideError, match=rf"a\.tif: its orientation tag says {orientation}"):
        open_slide(write(tmp_path / "a.tif", (picture(), how)), mpp=0.5)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"compression": "jpegxr"}, r"it is in JPEG XR \(34934\), which is not read; convert it"),
        ({"photometric": "separated", "compression": "lzma"}, "PhotometricInterpretation 5"),
    ],
    ids=["JPEG XR", "CMYK"],
)
def test_what_is_not_read_is_named(tmp_path: Path, how: dict[str, Any], words: str) -> None:
    pixels = np.concatenate([picture(), picture()[..., :1]], -1) if "photometric" in how else picture()
    path = write(tmp_path / "a.tif", (pixels, how))

    assert not TifffileReader().build().recognises(path)
    with pytest.raises(UnsupportedSlide, match=rf"a\.tif: .*{words}"):
        open_slide(path, mpp=0.5)


def test_a_strip_of_gigabytes_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif",
        (np.zeros((20000, 5000, 3), np.uint8), {"tile": None, "rowsperstrip": 20000, "compression": "zstd"}),
    )

    with pytest.raises(SlideError, match=r"one strip of it has 5000 x 20000 pixels.*write it again in tiles"):
        TifffileReader().build().open(path)


def test_strips_of_gigabytes_in_all_are_read_one_by_one(tmp_path: Path) -> None:
    """libvips would decode them whole."""
    width, rows, count = 30_000, 200, 250
    strip = np.zeros((rows, width, 3), np.uint8)
    strip[..., 0] = np.arange(width) % 251
    strip[..., 1] = np.arange(rows)[:, None]
    strips = iter([imagecodecs.zlib_encode(strip.tobytes(), level=1)] * count)
    path = tmp_path / "a.tif"
    how = {"shape": (rows * count, width, 3), "dtype": np.uint8, "rowsperstrip": rows, "compression": "zlib"}
    tifffile.imwrite(path, strips, photometric="rgb", metadata=None, **how)

    with open_slide(path, mpp=0.5) as slide:
        assert slide.info.reader == "tifffile"
        found = slide.read(Point(29_900, 40_150), 0, Size(100, 100))

    assert np.array_equal(found[..., 0], np.broadcast_to(np.arange(29_900, 30_000) % 251, (100, 100)))
    assert np.array_equal(found[:, 0, 1], (np.arange(40_150, 40_250) % rows))
    with pytest.raises(UnsupportedSlide, match=r"a\.tif: 30000x50000 px are not stored in tiles and decode to 4 GiB"):
        open_slide(path, slides=Slides(avoid_readers=("tifffile",)), mpp=0.5)


APERIO = "Aperio Image Library v12\r\n300x200 [0,0 300x200] (64x64) JXL Q=90|AppMag = 20|MPP = 0.5"


@pytest.mark.parametrize(("kind", "reader"), [("JPEG XL", "tifffile"), ("LZMA", "tifffile"), ("WebP", "vips")])
def test_an_svs_in_a_compression_that_openslide_does_not_know_is_read(tmp_path: Path, kind: str, reader: str) -> None:
    path = write(tmp_path / "a.svs", (picture(), {"description": APERIO, **LOSSLESS[kind]}))

    with open_slide(path) as slide:
        assert (slide.info.reader, slide.info.vendor, slide.info.objective_power) == (reader, "aperio", 20)
        assert slide.info.mpp == Resolution(0.5, 0.5, "Aperio MPP")
        assert np.array_equal(whole(slide), picture())


FAST: dict[str, Callable[[Path], Path]] = {
    "tiff": lambda folder: write(folder / "a.tif", (picture(), {"compression": "jpeg"})),
    "openslide": lambda folder: write(folder / "a.tif", (picture(), {"compression": "zlib"})),
    "vips": lambda folder: write(folder / "a.tif", (WIDE, {"compression": "zlib"})),
}


@pytest.mark.parametrize("reader", FAST)
def test_what_faster_readers_take_is_left_to_them(tmp_path: Path, reader: str) -> None:
    with open_slide(FAST[reader](tmp_path), mpp=0.5) as slide:
        assert slide.info.reader == reader


@pytest.mark.parametrize("channels", [(0, 1), (0, 1, 2, 3), (-1,)])
def test_channels_are_one_or_three(channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="channels must be one or three numbers"):
        TifffileReader(channels=channels)


def test_a_level_without_bytes_where_level_0_has_some_is_left_out(tmp_path: Path) -> None:
    tiles = {"tile": (64, 64), "photometric": "rgb"}
    path = write(
        tmp_path / "a.tif",
        (picture(), {**tiles, "subifds": 1}),
        (picture(150, 100), {**tiles, "subfiletype": 1}),
    )
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].pages[0].tags["TileByteCounts"]  # type: ignore[union-attr, index]
        content = bytearray(path.read_bytes())
        size = tag.valuebytecount // tag.count
        content[tag.valueoffset + size : tag.valueoffset + 2 * size] = bytes(size)

    with open_slide(path, slides=Slides(reader="tifffile"), mpp=1.0) as slide:
        assert [level.size.width for level in slide.info.levels] == [300, 150]
    path.write_bytes(content)
    with open_slide(path, slides=Slides(reader="tifffile"), mpp=1.0) as slide:
        assert [level.size.width for level in slide.info.levels] == [300]


@pytest.mark.parametrize("part", [0, 2], ids=["of another number", "of a type that nobody knows"])
@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("PhotometricInterpretation", "does not say what its 3 samples per pixel are"),
        ("BitsPerSample", "does not say how many bits its 3 samples per pixel have"),
    ],
)
def test_three_samples_without_a_tag_that_explains_them_are_not_guessed_at(
    tmp_path: Path, tag: str, words: str, part: int
) -> None:
    """By default the first would be shown as grey, and all would have 1 bit."""
    path = write(tmp_path / "a.tif", (picture(), {"photometric": "rgb"}))
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags[tag].offset  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    content[at + part : at + part + 2] = (65000).to_bytes(2, "little")
    path.write_bytes(content)
    told = words if part == 0 else "field type 65000, which nobody knows"

    with pytest.raises(SlideError, match=told):
        open_slide(path, slides=Slides(reader="tifffile"), mpp=1.0)
    with pytest.raises(SlideError, match=told):
        open_slide(path, mpp=1.0)
