"""DICOM slides of known pixels, written with pydicom in any transfer syntax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from slideloom import Rgb
from slideloom_testing.dicom import Instance, write_dicom

TILE = 64
Encode = Callable[[NDArray[Any]], bytes]
SYNTAX = {
    "raw": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg-12": "1.2.840.10008.1.2.4.51",
    "lossless-jpeg": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "jpeg-2000-lossy": "1.2.840.10008.1.2.4.91",
    "jpeg-xl": "1.2.840.10008.1.2.4.110",
    "htj2k": "1.2.840.10008.1.2.4.201",
    "rle": "1.2.840.10008.1.2.5",
}


def run_lengths(frame: NDArray[Any]) -> bytes:
    """By pydicom's encoder."""
    is_rgb, is_wide = frame.ndim == 3, frame.dtype == np.uint16
    return bytes(
        RLELosslessEncoder.encode(
            frame.tobytes(),
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=3 if is_rgb else 1,
            bits_allocated=16 if is_wide else 8,
            bits_stored=16 if is_wide else 8,
            photometric_interpretation="RGB" if is_rgb else "MONOCHROME2",
            pixel_representation=0,
            number_of_frames=1,
            encoding_plugin="pydicom",
            **({"planar_configuration": 0} if is_rgb else {}),
        )
    )


def htj2k(frame: NDArray[Any]) -> bytes:
    """By OpenJPH, where imagecodecs has it; the reader decodes by OpenJPEG."""
    if not hasattr(imagecodecs, "htj2k_encode"):
        pytest.skip("imagecodecs before 2025.11 has no encoder of HTJ2K")
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


LOSSLESS: dict[str, Encode] = {
    "rle": run_lengths,
    "jpeg-ls": lambda frame: bytes(imagecodecs.jpegls_encode(frame)),
    "jpeg-2000": lambda frame: bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True)),
    "htj2k": htj2k,
    "jpeg-xl": lambda frame: bytes(imagecodecs.jpegxl_encode(frame, lossless=True)),
    "lossless-jpeg": lambda frame: bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1)),
}


def picture(width: int = 300, height: int = 200) -> Rgb:
    """Another colour everywhere, and noise that shows every shift."""
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(7).integers(0, 50, smooth.shape)).astype(np.uint8)


def frames_of(image: NDArray[Any]) -> list[NDArray[Any]]:
    """Its tiles, row by row; beyond its sides they repeat the last pixels."""
    height, width = image.shape[:2]
    space = [(0, -height % TILE), (0, -width % TILE), (0, 0)][: image.ndim]
    padded = np.pad(image, space, mode="edge")
    return [
        np.ascontiguousarray(padded[top : top + TILE, left : left + TILE])
        for top in range(0, height, TILE)
        for left in range(0, width, TILE)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an instance; see `written`."""
    return lambda *arguments, **options: written(tmp_path, *arguments, **options)


def written(
    folder: Path,
    image: NDArray[Any],
    *,
    name: str = "0.dcm",
    syntax: str = "raw",
    encode: Encode | None = None,
    frames: Sequence[NDArray[Any]] | None = None,
    about: Instance | None = None,
    pieces: int = 1,
    cut: int = 0,
    table: str = "basic",
    **changes: Any,
) -> Path:
    """Write an instance.

    Args:
        folder: where.
        image: (h, w, 3) or (h, w), uint8 or uint16.
        name: of the file.
        syntax: a key of `SYNTAX`.
        encode: a frame to bytes; by default the lossless encoder of the syntax.
        frames: instead of those of the image.
        about: the instance.
        pieces: items that a frame takes.
        cut: bytes to leave out at the end of each compressed frame.
        table: of offsets; "basic", "extended" or "none".
        changes: data elements to set, or to remove with None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width = image.shape[:2]
    path = write_dicom(folder / name, np.zeros((height, width, 3), np.uint8), about or Instance(), tile=TILE)
    dataset = pydicom.dcmread(path)
    stored = frames_of(image) if frames is None else list(frames)
    is_wide = image.dtype == np.uint16
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (16, 16, 15) if is_wide else (8, 8, 7)
    if image.ndim == 2:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        del dataset.PlanarConfiguration
    dataset.NumberOfFrames = len(stored)
    dataset.file_meta.TransferSyntaxUID = SYNTAX[syntax]
    if syntax in ("raw", "implicit"):
        dataset.PixelData = b"".join((encode or (lambda frame: frame.tobytes()))(frame) for frame in stored)
        dataset["PixelData"].VR = "OW"
    else:
        contents = [(encode or LOSSLESS[syntax])(frame) for frame in stored]
        contents = [content[: len(content) - cut] for content in contents]
        dataset["PixelData"].VR = "OB"
        if table == "extended":
            dataset.PixelData, offsets, lengths = encapsulate_extended(contents)
            dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
        else:
            dataset.PixelData = encapsulate(contents, fragments_per_frame=pieces, has_bot=table == "basic")
        dataset["PixelData"].is_undefined_length = True
    for key, value in changes.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    dataset.save_as(path, implicit_vr=syntax == "implicit", little_endian=True)
    return path
