"""One campaign for each reader: files of every form that it takes, damaged, are read right, unreadable or refused.

A case opens the damaged file and reads every level of it in this process, which is quick; one case in a hundred is
also a run of the command line, with its accounts and stored tiles. What is read is compared with what other decoders
show.
"""

from __future__ import annotations

import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from slideloom import PluginError, Rgb, Size, SlideloomError, open_slide

from stress import isyntax, shown, slides, witnesses
from stress.verdicts import Campaign, Kind, Verdict

READERS = ("tiff", "openslide", "vips", "tifffile", "dicom", "ome-zarr", "czi", "isyntax")
CASES = 10_000
_SIZE = Size(300, 220)  # three tiles by two, so that a case is quick
_BY_COMMAND = 100  # one case of so many is also a run of the command line


def _prepare(reader: str, folder: Path) -> None:
    """The forms of one small picture that the reader takes."""
    slides.prepare(folder, size=_SIZE, mpp=2.0)
    made = folder / "made"
    rgb = _pixels(made / "demo.svs")
    for write in (_rare_tiffs, _dicom, _zarr, _czi, _isyntax):
        write(made, rgb)
    for path in sorted(made.iterdir()):
        if not _takes(reader, path):
            path.rename(folder / f"not-for-{reader}-{path.name}")
    if not any(made.iterdir()):
        raise SystemExit(f"reader '{reader}' takes none of the made files; is it installed?")


def _pixels(path: Path) -> Rgb:
    with open_slide(path) as slide:
        return slide.read_at(slide.info.box, slide.info.size)


def _takes(reader: str, path: Path) -> bool:
    """Whether the reader shows all of a file."""
    try:
        return not shown.by_reader(path, reader).unreadable
    except SlideloomError:
        return False


def _rare_tiffs(folder: Path, rgb: Rgb) -> None:
    import tifffile

    forms: dict[str, dict[str, Any]] = {
        "zstd": {"compression": "zstd", "tile": (128, 128)},
        "lzma": {"compression": "lzma", "tile": (128, 128)},
        "jp2k": {"compression": "jpeg2000", "tile": (128, 128)},
        "jpegxl": {"compression": "jpegxl", "tile": (128, 128)},
        "strips": {"compression": "zlib", "rowsperstrip": 32},
        "planes": {"compression": "lzw", "planarconfig": "separate", "tile": (128, 128)},
    }
    for name, options in forms.items():
        image = np.moveaxis(rgb, -1, 0) if name == "planes" else rgb
        tifffile.imwrite(folder / f"{name}.tif", image, photometric="rgb", **options)
    tifffile.imwrite(folder / "sixteen.tif", rgb.astype(np.uint16) * 257, photometric="rgb", tile=(128, 128))
    tifffile.imwrite(folder / "ome.ome.tif", rgb, photometric="rgb", compression="zlib", tile=(128, 128), ome=True)


def _frames(rgb: Rgb, side: int) -> list[Rgb]:
    padded = np.pad(rgb, ((0, -rgb.shape[0] % side), (0, -rgb.shape[1] % side), (0, 0)), constant_values=255)
    return [
        np.ascontiguousarray(padded[y : y + side, x : x + side])
        for y in range(0, padded.shape[0], side)
        for x in range(0, padded.shape[1], side)
    ]


def _jpeg_ls(frame: Rgb) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegls_encode(frame))


def _jpeg_2000(frame: Rgb) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(frame, codecformat="j2k"))


# Transfer syntax and encoder of each form; pixels of the first are stored as they are.
DICOM_FORMS: dict[str, tuple[str, Callable[[Rgb], bytes]] | None] = {
    "uncompressed": None,
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", _jpeg_ls),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", _jpeg_2000),
}
_SIDE = 64  # of a frame


def write_dicom_form(folder: Path, rgb: Rgb, name: str) -> Path:
    """Write a DICOM slide in one of `DICOM_FORMS`; each form is a series of its own."""
    import pydicom
    from pydicom.encaps import encapsulate
    from slideloom_testing.dicom import write_dicom

    path = write_dicom(folder / f"{name.replace(' ', '-').lower()}.dcm", rgb, tile=_SIDE)
    form = DICOM_FORMS[name]
    if form is not None:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = form[0]
        dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID}.{form[0][-2:]}"
        dataset.PixelData = encapsulate([form[1](frame) for frame in _frames(rgb, _SIDE)])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
    return path


def _dicom(folder: Path, rgb: Rgb) -> None:
    for name in DICOM_FORMS:
        write_dicom_form(folder, rgb, name)


def write_zarr(path: Path, rgb: Rgb, *, kind: Literal[2, 3]) -> Path:
    """Write an OME-Zarr of one level: Zarr 2 is OME-Zarr 0.4, Zarr 3 is 0.5."""
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=kind)
    values = np.moveaxis(rgb, -1, 0)
    root.create_array("0", shape=values.shape, chunks=(1, 128, 128), dtype="uint8")[...] = values
    unit = {"type": "space", "unit": "micrometer"}
    about = {
        "axes": [{"name": "c", "type": "channel"}, {"name": "y", **unit}, {"name": "x", **unit}],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}],
        "version": "0.4",
    }
    said = {"multiscales": [about]}
    root.attrs.update(said if kind == 2 else {"ome": {"version": "0.5", **said}})
    return path


def _zarr(folder: Path, rgb: Rgb) -> None:
    write_zarr(folder / "four.ome.zarr", rgb, kind=2)
    write_zarr(folder / "five.ome.zarr", rgb, kind=3)


CZI_FORMS = {"uncompressed": "uncompressed:", "Zstandard": "zstd0:"}


def write_czi(path: Path, rgb: Rgb, name: str) -> Path:
    """Write a CZI of one scene in one of `CZI_FORMS`."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path), compression_options=CZI_FORMS[name]) as document:
        for y in range(0, rgb.shape[0], 256):
            for x in range(0, rgb.shape[1], 256):
                part = np.ascontiguousarray(rgb[y : y + 256, x : x + 256, ::-1])
                document.write(data=part, location=(x, y), plane={"C": 0, "Z": 0, "T": 0}, scene=0)
        document.write_metadata("slide", channel_names={}, scale_x=1e-6, scale_y=1e-6)
    return path


def _czi(folder: Path, rgb: Rgb) -> None:
    for name in CZI_FORMS:
        write_czi(folder / f"{name.lower()}.czi", rgb, name)


ISYNTAX_FORMS = {"one level": 1, "two levels": 2}


def write_isyntax_form(path: Path, rgb: Rgb, name: str) -> Path:
    """Write an iSyntax file in one of `ISYNTAX_FORMS`."""
    from slideloom_testing.isyntax import MadeISyntax, write_isyntax

    return write_isyntax(path, rgb, MadeISyntax(levels=ISYNTAX_FORMS[name]))


def _isyntax(folder: Path, rgb: Rgb) -> None:
    for name in ISYNTAX_FORMS:
        write_isyntax_form(folder / f"{name.replace(' ', '-')}.isyntax", rgb, name)


def _cases(reader: str, folder: Path, seed: int) -> list[str]:
    rng = random.Random(seed)
    names = sorted(path.name for path in (folder / "made").iterdir())
    return [f"{rng.choice(names)}/{seed}.{number}/{reader}" for number in range(CASES)]


def _judge(folder: Path, case: str) -> Verdict:
    name, number, reader = case.split("/")
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    slide = place / name
    slides.damaged_copy(folder / "made" / name, slide, f"{name}/{number}")
    verdict = _read(slide, reader, _undamaged(folder / "made" / name, reader))
    if verdict.is_fault or int(number.rpartition(".")[2]) % _BY_COMMAND:
        return verdict
    run = slides.judge(folder, case)
    return run if run.is_fault else verdict


@cache
def _undamaged(slide: Path, reader: str) -> shown.Shown:
    return shown.by_reader(slide, reader)


def _read(slide: Path, reader: str, undamaged: shown.Shown) -> Verdict:
    try:
        return shown.judge(shown.by_reader(slide, reader), undamaged, _witnesses(slide, reader))
    except PluginError as error:  # what else than our errors comes out of a reader
        return Verdict(Kind.OTHER, str(error)[:500])
    except SlideloomError as error:
        return Verdict(Kind.REFUSED, str(error)[:300])
    except BaseException as error:  # whatever else comes out is what we look for
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return Verdict(Kind.OTHER, words[:500])


# Whose word is asked on what a reader shows, in this order; those that refuse a file say nothing.
_READERS_ASKED = ("vips", "openslide", "tifffile", "tiff")
_OTHERS_ASKED: dict[str, Callable[[Path], shown.Shown | None]] = {
    ".dcm": witnesses.by_pydicom,
    ".zarr": witnesses.by_numcodecs,
    ".czi": witnesses.by_subblocks,
    ".isyntax": isyntax.by_bits,
}


def _witnesses(slide: Path, reader: str) -> Iterator[shown.Shown]:
    decode = _OTHERS_ASKED.get(slide.suffix)
    own = decode(slide) if decode is not None else None
    if own is not None:
        yield own
    for other in _READERS_ASKED:
        if other != reader:
            try:
                yield shown.by_reader(slide, other)
            except SlideloomError:
                continue


CAMPAIGNS = tuple(
    Campaign(
        name=f"reader-{reader}",
        help=f"damaged slides by the reader '{reader}'",
        prepare=partial(_prepare, reader),
        cases=partial(_cases, reader),
        judge=_judge,
        in_memory=True,
        patience_s=60,
    )
    for reader in READERS
)
