"""Pixels of every transfer syntax: those that were written, or those that an independent decoder makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from slideloom import Point, Rgb, Size, SlideError, Slides, open_slide
from slideloom_dicom import DicomReader
from slideloom_testing.contracts import ReaderContract
from wsidicom import WsiDicom
from wsidicom.codec.settings import (
    HTJpeg2000Settings,
    Jpeg2kSettings,
    JpegLosslessSettings,
    JpegLsSettings,
    JpegSettings,
    JpegXlSettings,
    RleSettings,
    Settings as Encoding,
)
from wsidicom.options import ConcatenationByFrames

Write = Callable[..., Path]


def picture(width: int = 300, height: int = 200) -> Rgb:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(7).integers(0, 50, smooth.shape)).astype(np.uint8)


def pixels(path: Path, reader: str = "dicom") -> Rgb:
    with open_slide(path, slides=Slides(reader=reader)) as slide:
        return slide.read(Point(0, 0), 0, slide.info.size)


class TestDicomReaderContract(ReaderContract):
    settings = DicomReader()

    @pytest.fixture(autouse=True)
    def _slide(self, write: Write) -> None:
        self.slide_path = write(picture(), syntax="jpeg-ls")


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl", "lossless-jpeg"])
@pytest.mark.parametrize("grey", [False, True], ids=["RGB", "grey"])
def test_lossless_frames_come_out_as_they_were_written(write: Write, syntax: str, grey: bool) -> None:
    image = picture()[..., 0] if grey else picture()

    found = pixels(write(image, syntax=syntax))

    assert np.array_equal(found, np.repeat(image[..., None], 3, axis=-1) if grey else image)


def test_jpeg_ls_with_its_components_one_by_one_is_decoded(write: Write) -> None:
    """As other encoders write it: CharLS puts a frame of one component after the other into one stream."""
    frame = picture()[:64, :64].copy()
    alone = [bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(frame[..., number]))) for number in range(3)]
    # Each is SOI, a frame header (FFF7) of one component, a scan (FFDA) and EOI; the components get numbers 1 to 3.
    head = alone[0].index(b"\xff\xf7")
    size = alone[0][head + 4 : head + 9]
    frame_head = b"\xff\xf7\0\x11" + size + b"\x03" + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    scans = []
    for number, stream in enumerate(alone, 1):
        scan = stream[stream.index(b"\xff\xda") : -2]
        scans.append(scan[:5] + bytes((number,)) + scan[6:])
    jpeg = b"\xff\xd8" + frame_head + b"".join(scans) + b"\xff\xd9"

    assert np.array_equal(pixels(write(frame, syntax="jpeg-ls", encode=lambda _: jpeg)), frame)


def test_uncompressed_frames_come_out_as_they_were_written(write: Write) -> None:
    planar = write(
        picture(), name="planar", PlanarConfiguration=1, encode=lambda frame: np.moveaxis(frame, -1, 0).tobytes()
    )

    assert np.array_equal(pixels(planar), picture())
    planar.unlink()
    assert np.array_equal(pixels(write(picture(), syntax="implicit")), picture())
    assert np.array_equal(pixels(write(picture())), picture())


@pytest.mark.parametrize(
    ("encoding", "is_lossless"),
    [
        (JpegSettings(quality=90), False),
        (Jpeg2kSettings(), False),
        (HTJpeg2000Settings(), False),
        (JpegXlSettings(), False),
        (JpegLsSettings(), True),
        (RleSettings(), True),
        (JpegLosslessSettings(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_files_by_wsidicom_are_read_as_wsidicom_reads_them(
    write: Write, tmp_path: Path, encoding: Encoding, is_lossless: bool
) -> None:
    write(picture())
    (tmp_path / "out").mkdir()
    with WsiDicom.open(tmp_path / "0.dcm") as source:
        source.save(
            tmp_path / "out", transcoding=encoding, force_transcoding=True, concatenation=ConcatenationByFrames(6)
        )
    with WsiDicom.open(tmp_path / "out") as target:
        expected = np.asarray(target.read_region((0, 0), 0, (300, 200)).convert("RGB")).astype(int)

    files = sorted((tmp_path / "out").iterdir())
    found = pixels(files[0])

    assert len(files) == 4  # 20 frames in parts of 6
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert not is_lossless or np.array_equal(found, picture())


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_jpeg_in_ycbcr_is_decoded_as_any_decoder_does(write: Write, subsampling: str) -> None:
    def encode(frame: NDArray[Any]) -> bytes:
        return bytes(simplejpeg.encode_jpeg(frame, 90, "RGB", subsampling))

    path = write(picture(), syntax="jpeg", encode=encode, PhotometricInterpretation="YBR_FULL_422")
    expected = np.asarray(imagecodecs.jpeg8_decode(encode(picture()[:64, :64].copy())))

    assert np.abs(pixels(path)[:64, :64].astype(int) - expected).max() <= 1


def without_marker(jpeg: bytes) -> bytes:
    """A JPEG without its first segment, JFIF's or Adobe's, which would say whether it is RGB."""
    assert jpeg[2:4] in (b"\xff\xe0", b"\xff\xee")
    return jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :]


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_where_a_jpeg_does_not_say_its_colours_the_photometric_interpretation_does(
    write: Write, photometric: str
) -> None:
    stored = "RGB" if photometric == "RGB" else "YCBCR"

    def encode(frame: NDArray[Any]) -> bytes:
        jpeg = imagecodecs.jpeg8_encode(frame, level=98, colorspace="RGB", outcolorspace=stored, subsampling="444")
        return without_marker(bytes(jpeg))

    path = write(picture(), syntax="jpeg", encode=encode, PhotometricInterpretation=photometric)

    assert np.abs(pixels(path).astype(int) - picture()).mean() < 3  # wrong colours: 60


def test_ybr_samples_become_rgb_by_the_formula_of_the_standard(write: Write) -> None:
    ybr = picture().astype(float)
    y, blue, red = ybr[..., 0], ybr[..., 1] - 128, ybr[..., 2] - 128
    rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=-1)
    expected = np.clip(np.round(rgb), 0, 255)

    for syntax in ("raw", "rle", "jpeg-ls"):
        found = pixels(write(picture(), syntax=syntax, PhotometricInterpretation="YBR_FULL"))
        assert np.abs(found - expected).max() <= 1


def test_12_bit_jpeg_is_decoded_to_within_a_step_of_its_values(write: Write) -> None:
    y, x = np.mgrid[:200, :300]
    image = (x * 8 + y * 8).astype(np.uint16)

    path = write(
        image,
        syntax="jpeg-12",
        encode=lambda frame: bytes(imagecodecs.jpeg8_encode(frame, level=100, bitspersample=12)),
        BitsStored=12,
        HighBit=11,
    )

    assert np.abs(pixels(path)[..., 0] - image * 255.0 / 4095).max() <= 1


@pytest.mark.parametrize("syntax", ["jpeg-2000", "htj2k", "jpeg-ls", "jpeg-xl", "rle", "lossless-jpeg"])
def test_a_frame_that_ends_too_early_is_an_error(write: Write, syntax: str) -> None:
    path = write(picture(), syntax=syntax, cut=400)

    with (
        open_slide(path, slides=Slides(reader="dicom")) as slide,
        pytest.raises(SlideError, match="frame 1 is damaged"),
    ):
        slide.read(Point(0, 0), 0, Size(8, 8))


def test_jpeg_ls_without_its_end_is_not_given_to_the_decoder(write: Write) -> None:
    """CharLS reads zeros behind such a frame for seven seconds, and then says that its structure is wrong."""
    path = write(picture(), syntax="jpeg-ls", encode=lambda frame: bytes(imagecodecs.jpegls_encode(frame))[:-400])

    with open_slide(path, slides=Slides(reader="dicom")) as slide, pytest.raises(SlideError, match="has no end"):
        slide.read(Point(0, 0), 0, Size(8, 8))


def test_jpeg_2000_with_bytes_too_many_is_unreadable(write: Write) -> None:
    """OpenJPEG makes other pixels of it, and says nothing."""

    def with_more_bytes(frame: NDArray[Any]) -> bytes:
        whole = bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True))
        middle = len(whole) // 2
        return (whole[:middle] + b"\x01\x02\x03\x04" + whole[middle:])[: len(whole)]

    path = write(picture(), syntax="jpeg-2000", encode=with_more_bytes)

    with (
        open_slide(path, slides=Slides(reader="dicom")) as slide,
        pytest.raises(SlideError, match=r"frame 1 is damaged.*JPEG 2000"),
    ):
        slide.read(Point(0, 0), 0, Size(8, 8))


def grey_16(most: int = 65535) -> NDArray[np.uint16]:
    return np.random.default_rng(3).integers(0, most + 1, (200, 300)).astype(np.uint16)


@pytest.mark.parametrize("syntax", ["raw", "rle", "jpeg-ls", "jpeg-2000", "jpeg-xl", "lossless-jpeg"])
def test_16_bits_are_scaled_so_that_the_largest_value_is_255(write: Write, syntax: str) -> None:
    image = grey_16()

    with open_slide(write(image, syntax=syntax)) as slide:
        found = slide.read(Point(0, 0), 0, slide.info.size)
        assert slide.info.properties["dicom.Shown"] == "0 to 65535 as 0 to 255"

    assert slide.info.reader == "dicom"
    assert np.array_equal(found[..., 1], np.round(image / 257).astype(np.uint8))


def test_16_bit_rgb_and_12_bits_are_scaled_by_the_bits_they_use(write: Write) -> None:
    rgb = np.stack([grey_16()] * 3, axis=-1)
    twelve = grey_16(4095)

    assert np.array_equal(pixels(write(rgb, PhotometricInterpretation="RGB"))[..., 2], np.round(rgb[..., 2] / 257))
    found = pixels(write(twelve, BitsStored=12, HighBit=11))
    assert np.array_equal(found[..., 0], np.floor(twelve * 255.0 / 4095 + 0.5))


def test_the_range_to_show_can_be_chosen(write: Write) -> None:
    image = grey_16()
    expected = np.floor(np.clip((image - 1000.0) / 3000, 0, 1) * 255 + 0.5)

    assert np.array_equal(pixels(write(image), "dicom:low=1000,high=4000")[..., 0], expected)


def test_samples_that_would_come_out_nearly_black_are_refused_with_the_range_that_they_use(write: Write) -> None:
    path = write(grey_16(4095))

    with pytest.raises(SlideError, match=r"0\.dcm: its samples have 16 bits and reach only 4095 of 65535.*high=4095"):
        open_slide(path)
    assert pixels(path, "dicom:high=4095").max() == 255


def test_inverted_grey_is_shown_with_bright_as_bright(write: Write) -> None:
    image = picture()[..., 0]

    found = pixels(write(image, PhotometricInterpretation="MONOCHROME1"))

    assert np.array_equal(found[..., 0], 255 - image)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR, not RGB or grey"),
        ({"PixelRepresentation": 1}, "signed or longer than 16"),
        ({"BitsAllocated": 32}, "32 bits, signed or longer"),
    ],
)
def test_samples_of_other_kinds_are_refused_by_name(write: Write, changes: dict[str, object], words: str) -> None:
    with pytest.raises(SlideError, match=rf"0\.dcm: .*{words}"):
        open_slide(write(picture()[..., 0], **changes))


def test_openslide_keeps_what_it_reads_and_gives_the_same_pixels(write: Write) -> None:
    path = write(picture())

    with open_slide(path) as slide:
        assert slide.info.reader == "openslide"
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(300, 200)), pixels(path))
