"""TIFFs that are not one RGB picture are refused by every reader, by what they hold; others are read as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slideloom import Point, Reader, Rgb, Settings, Slide, SlideError, Slides, UnsupportedSlide, open_slide
from slideloom_openslide import OpenSlideReader
from slideloom_tiff.settings import TiffReader
from slideloom_tifffile import TifffileReader
from slideloom_vips import VipsReader

READERS: list[type[Settings[Reader]]] = [TiffReader, OpenSlideReader, VipsReader, TifffileReader]
UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
QPTIFF = (
    '<?xml version="1.0" encoding="utf-8"?><PerkinElmer-QPI-ImageDescription><ImageType>{1}</ImageType>'
    "<Name>{0}</Name></PerkinElmer-QPI-ImageDescription>"
)
APERIO = "Aperio Image Library v11.2.1\r\n600x400 [0,0 600x400] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"


def picture(width: int = 600, height: int = 400) -> Rgb:
    """Smooth, and another colour everywhere."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width + 40, y * 200 // height + 40, (x + y) * 150 // (width + height) + 60], -1).astype(
        np.uint8
    )


def write(path: Path, images: Sequence[tuple[np.ndarray, dict[str, Any]]], **options: Any) -> Path:
    with tifffile.TiffWriter(path, **options) as tiff:
        for pixels, how in images:
            tiff.write(
                pixels, **{"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None, **how}
            )
    return path


def plain(*images: tuple[np.ndarray, dict[str, Any]]) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "a.tif", images)


def ome(pixels: np.ndarray, axes: str, **options: Any) -> Callable[[Path], Path]:
    metadata = {"axes": axes, **UM, **options.pop("metadata", {})}
    return lambda folder: write(folder / "a.ome.tif", [(pixels, {"metadata": metadata, **options})], ome=True)


def scenes(*sizes: tuple[int, int]) -> Callable[[Path], Path]:
    images = [
        (picture(*size), {"metadata": {"axes": "YXS", "Name": f"region {i}", **UM}}) for i, size in enumerate(sizes)
    ]
    return lambda folder: write(folder / "a.ome.tif", images, ome=True)


def imagej(pixels: np.ndarray, axes: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", pixels, imagej=True, metadata={"axes": axes})
        return folder / "a.tif"

    return make


def qptiff(folder: Path) -> Path:
    grey = {"photometric": "minisblack"}
    full = [
        (picture()[..., i], {"description": QPTIFF.format(name, "FullResolution"), **grey})
        for i, name in enumerate(("DAPI", "CD8"))
    ]
    return write(folder / "a.qptiff", [*full, (picture(150, 100), {"description": QPTIFF.format("", "Thumbnail")})])


def emptied(folder: Path) -> Path:
    """A slide of which only the claim was written: a small file may claim millions of pixels each way."""
    path = write(folder / "a.tif", [(picture(), {})])
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[0].tags
        tags["TileByteCounts"].overwrite([0] * len(tags["TileByteCounts"].value))
    return path


GREY = {"photometric": "minisblack"}
WIDE = picture().astype(np.uint16) * 128
WITH_FOURTH = np.concatenate([picture(), np.zeros((400, 600, 1), np.uint8)], -1)
FIVE = np.concatenate([WITH_FOURTH, WITH_FOURTH[..., 3:]], -1)
TWO = {**GREY, "extrasamples": [0], "planarconfig": "contig"}
JPEG = {"description": APERIO, "compression": "jpeg"}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (emptied, "600 x 400 pixels has no bytes: its 70 tiles or strips are all empty"),
    "signed": (plain((WIDE.astype(np.int16), {})), "signed whole numbers"),
    "floating": (plain((picture().astype(np.float32), {})), "floating-point numbers"),
    "12 bits packed": (plain((WIDE, {"bitspersample": 12, "compression": None})), "12 bits"),
    "32 bits": (plain((WIDE.astype(np.uint32), {})), "32 bits"),
    "Lab": (plain((picture(), {"photometric": "cielab"})), "PhotometricInterpretation 8"),
    "RGBX": (plain((WITH_FOURTH, {"extrasamples": [0]})), r"last of 4 channels is not said to be transparency.*--n 3"),
    "five channels": (plain((FIVE, {"extrasamples": [0, 0]})), "5 channels"),
    "two channels": (plain((picture()[..., :2], TWO)), "last of 2 channels"),
    "planes": (plain((picture(), {}), (picture()[::-1], {}), (picture(), {})), "3 pictures of one size"),
    "grey planes": (plain((picture()[..., 0], GREY), (picture()[..., 1], GREY)), "2 pictures of one size"),
    "another picture": (plain((picture(), {}), (picture(500, 450), {})), "another picture of 500 x 450"),
    "aperio planes": (plain((picture(), JPEG), (picture(), JPEG)), "2 pictures of one size"),
    "OME channels": (
        ome(picture().transpose(2, 0, 1)[:2], "CYX", **GREY, metadata={"Channel": {"Name": ["DAPI", "FITC"]}}),
        r"OME-TIFF of 2 channels \(DAPI, FITC\)",
    ),
    "OME planes": (ome(np.stack([picture()] * 3), "ZYXS"), "OME-TIFF of 3 focal planes"),
    "OME times": (ome(np.stack([picture()[..., 0]] * 2), "TYX", **GREY), "OME-TIFF of 2 points in time"),
    "OME RGB channels": (ome(np.stack([picture()] * 2), "CYXS"), "OME-TIFF of 2 channels"),
    "OME scenes": (
        scenes((600, 400), (500, 300)), r"OME-TIFF of 2 scenes \(0: region 0 of 600 x 400, 1: region 1 of 500 x 300\)",
    ),
    "OME scene like a level": (scenes((300, 200), (600, 400)), "OME-TIFF of 2 scenes"),
    "ImageJ channels": (imagej(picture().transpose(2, 0, 1)[:2], "CYX"), "ImageJ stack of 2 channels"),
    "ImageJ planes": (imagej(np.stack([picture()] * 2), "ZYXS"), "ImageJ stack of 2 slices"),
    "QPTIFF": (qptiff, r"QPTIFF of fluorescence channels \(DAPI is the first\)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_one_rgb_picture_is_refused_by_what_it_holds(tmp_path: Path, kind: str) -> None:
    make, words = REFUSED[kind]
    path = make(tmp_path)

    with pytest.raises(UnsupportedSlide, match=rf"{path.name}: .*{words}"):
        open_slide(path, mpp=0.5)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("settings", READERS, ids=lambda cls: cls.name)
def test_a_reader_named_for_it_refuses_it_too(tmp_path: Path, kind: str, settings: type[Settings[Reader]]) -> None:
    make, _ = REFUSED[kind]
    path = make(tmp_path)
    reader = settings().build()

    assert not reader.recognises(path)
    with pytest.raises(SlideError, match=path.name):
        reader.open(path)


def whole(slide: Slide, level: int = 0) -> Rgb:
    return slide.read(Point(0, 0), level, slide.info.levels[level].size)


def test_label_and_macro_of_an_ome_tiff_are_no_scenes_and_no_levels(tmp_path: Path) -> None:
    def named(name: str) -> dict[str, Any]:
        return {"metadata": {"axes": "YXS", "Name": name, **UM}}

    half = picture()[::2, ::2]
    images = [
        (picture(), {"metadata": {"axes": "YXS", **UM}, "subifds": 1}),
        (half, {"subfiletype": 1}),
        (picture(300, 200)[::-1], named("label image")),
        (picture(500, 410), named("macro image")),
    ]

    with open_slide(write(tmp_path / "a.ome.tif", images, ome=True)) as slide:
        assert [level.downsample for level in slide.info.levels] == [1, 2]
        assert np.array_equal(whole(slide), picture())
        assert np.array_equal(whole(slide, 1), half)


@pytest.mark.parametrize("settings", [OpenSlideReader, VipsReader, TifffileReader], ids=lambda cls: cls.name)
def test_a_macro_image_with_the_slides_proportions_is_no_level(
    tmp_path: Path, settings: type[Settings[Reader]]
) -> None:
    half, dark = picture()[::2, ::2], picture(450, 300) // 4
    images = [
        (picture(), {}),
        (dark, {"subfiletype": 9}),
        (half, {"subfiletype": 1}),
    ]

    with settings().build().open(write(tmp_path / "a.tif", images)) as slide:
        assert [(level.size.width, level.size.height) for level in slide.info.levels] == [(600, 400), (300, 200)]
        assert np.array_equal(whole(slide, 1), half)


def test_brightfield_qptiff_is_read(tmp_path: Path) -> None:
    images = [
        (picture(), {"description": QPTIFF.format("", "FullResolution")}),
        (picture(150, 100), {"description": QPTIFF.format("", "Thumbnail"), "tile": None}),
        (picture()[::2, ::2], {"description": QPTIFF.format("", "ReducedResolution"), "subfiletype": 1}),
    ]

    with open_slide(write(tmp_path / "a.qptiff", images), mpp=0.5) as slide:
        assert [level.downsample for level in slide.info.levels] == [1, 2]
        assert np.array_equal(whole(slide), picture())


@pytest.mark.parametrize(
    "kind",
    [
        {}, {"predictor": True}, {"compression": "lzw"}, {"compression": "packbits"}, {"compression": None},
        {"compression": "zstd"}, {"compression": "webp", "compressionargs": {"lossless": True}},
        {"byteorder": ">"}, {"bigtiff": True}, {"tile": None, "rowsperstrip": 16},
    ],
    ids=str,
)  # fmt: skip
def test_lossless_pictures_are_byte_for_byte_those_that_were_written(tmp_path: Path, kind: dict[str, Any]) -> None:
    options = {key: kind[key] for key in ("byteorder", "bigtiff") if key in kind}
    how = {key: value for key, value in kind.items() if key not in options}

    with open_slide(write(tmp_path / "a.tif", [(picture(), how)], **options), mpp=0.5) as slide:
        assert np.array_equal(whole(slide), picture())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"compression": "jpeg2000"}, r"JPEG 2000 \(34712\)"),
        ({"compression": "lzma"}, r"LZMA \(34925\)"),
        (
            {"planarconfig": "separate", "compression": "jpegxl"},
            r"JPEG XL \(50002\), with its colours in separate planes",
        ),
    ],
    ids=["JPEG 2000", "LZMA", "planes"],
)
def test_a_compression_that_no_reader_decodes_is_named_with_the_reader_to_install_and_what_converts_it(
    tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    pixels = picture().transpose(2, 0, 1) if "planarconfig" in how else picture()

    path = write(tmp_path / "a.tif", [(pixels, how)])
    remedy = (
        r": pip install slideloom-tifffile, which reads most compressions, or convert it to JPEG \(QuPath, bfconvert\)"
    )

    with pytest.raises(UnsupportedSlide, match=words + remedy):
        open_slide(path, slides=Slides(avoid_readers=("tifffile",)), mpp=0.5)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.info.reader == "tifffile"
