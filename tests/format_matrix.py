"""Which reader shows which file how: made files of every kind, encoded by other libraries, and what becomes of them.

`python -m tests.format_matrix` prints the table of docs/reference/slide-formats.md; `--write` puts it there.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import tifffile
from attrs import frozen
from PIL import Image
from slideloom import Rgb, SlideloomError, Slides, open_slide
from slideloom.base.naming import naming
from slideloom.pipeline.fronts import FLAGS
from slideloom_testing.isyntax import MadeISyntax, write_isyntax

from stress.reading import (
    CZI_FORMS,
    DICOM_FORMS,
    ISYNTAX_FORMS,
    write_czi,
    write_dicom_form,
    write_isyntax_form,
    write_zarr,
)

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "slide-formats.md"
BEGIN, END = "<!-- matrix, by tests/format_matrix.py -->\n", "<!-- end of matrix -->\n"
READERS = ("tiff", "openslide", "vips", "tifffile", "dicom", "ome-zarr", "czi", "isyntax")
WIDTH, HEIGHT, TILE = 700, 500, 128
_SHOWN = 90  # letters of a refusal

Make = Callable[[Path, Rgb], Path]


@frozen
class Form:
    """A kind of file.

    Attributes:
        name: in the table.
        make: writes it into a folder, from (HEIGHT, WIDTH, 3) uint8 pixels.
        is_lossless: pixels must come back as they were.
        apart: mean difference that is allowed where they need not.
        pixels: in the table, for a lossy form.
    """

    name: str
    make: Make
    is_lossless: bool = True
    apart: float = 6.0
    pixels: str = "as near as the encoding allows"


def picture() -> Rgb:
    """Smooth colours with grain, no two rows alike."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) % 256 // 2 + 60], axis=-1)
    return (smooth * 0.9 + np.random.default_rng(3).integers(0, 12, smooth.shape)).astype(np.uint8)


def _tiff(**options: Any) -> Make:
    bits = options.pop("bits", 8)

    def make(folder: Path, rgb: Rgb) -> Path:
        path = folder / ("a.ome.tif" if options.get("ome") else "a.tif")
        image = rgb.astype(np.uint16) * 257 if bits == 16 else rgb
        image = np.moveaxis(image, -1, 0) if options.get("planarconfig") == "separate" else image
        about = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", **options}
        if about.get("tile") is None and "rowsperstrip" not in about:
            about["tile"] = (TILE, TILE)
        tifffile.imwrite(path, image, photometric=about.pop("photometric", "rgb"), **about)
        return path

    return make


def _vips_tiff(**options: Any) -> Make:
    def make(folder: Path, rgb: Rgb) -> Path:
        image = pyvips.Image.new_from_array(rgb, interpretation="srgb").copy(xres=2000, yres=2000)
        image.tiffsave(str(folder / "a.tif"), tile=True, tile_width=TILE, tile_height=TILE, pyramid=True, **options)
        return folder / "a.tif"

    return make


def _aperio(compression: str) -> Make:
    text = f"Aperio Image Library v12\r\n{WIDTH}x{HEIGHT} [0,0 {WIDTH}x{HEIGHT}] ({TILE}x{TILE}) |AppMag = 20|MPP = 0.5"
    options: dict[str, Any] = {"compression": compression, "description": text, "metadata": None}
    return lambda folder, rgb: _tiff(**options)(folder, rgb).rename(folder / "a.svs")


def _ome_planes(folder: Path, rgb: Rgb) -> Path:
    channels = {
        "Channel": {"Name": ["Red", "Green", "Blue"]},
        "axes": "CYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
    }
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, np.moveaxis(rgb, -1, 0), photometric="minisblack", tile=(TILE, TILE), metadata=channels)
    return path


def _fluorescence(folder: Path, rgb: Rgb) -> Path:
    path, channels = folder / "a.ome.tif", {"Channel": {"Name": ["DAPI", "CD8"]}, "axes": "CYX"}
    planes = np.moveaxis(rgb[..., :2], -1, 0)
    tifffile.imwrite(path, planes, photometric="minisblack", tile=(TILE, TILE), metadata=channels)
    return path


def _focal_planes(folder: Path, rgb: Rgb) -> Path:
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, np.stack([rgb] * 3), photometric="rgb", tile=(TILE, TILE), metadata={"axes": "ZYXS"})
    return path


def _turned(folder: Path, rgb: Rgb) -> Path:
    return _tiff(extratags=[(274, "H", 1, 6, True)])(folder, rgb)


def _dark(folder: Path, rgb: Rgb) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, rgb.astype(np.uint16) * 16, photometric="rgb", tile=(TILE, TILE))
    return path


def _floating(folder: Path, rgb: Rgb) -> Path:
    tifffile.imwrite(folder / "a.tif", rgb / np.float32(255), photometric="rgb", tile=(TILE, TILE))
    return folder / "a.tif"


def _cmyk(folder: Path, rgb: Rgb) -> Path:
    Image.fromarray(rgb).convert("CMYK").save(folder / "a.tif", compression="tiff_lzw")
    return folder / "a.tif"


def _pil(name: str, **options: Any) -> Make:
    def make(folder: Path, rgb: Rgb) -> Path:
        Image.fromarray(rgb).save(folder / name, **options)
        return folder / name

    return make


def _bytes(name: str, content: bytes) -> Make:
    def make(folder: Path, _rgb: Rgb) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _second_isyntax(folder: Path, rgb: Rgb) -> Path:
    made = MadeISyntax(attributes={"PIM_DP_UFS_INTERFACE_VERSION": "100.5"})
    return write_isyntax(folder / "a.isyntax", rgb, made)


FORMS = (
    Form("SVS, JPEG", _aperio("jpeg"), is_lossless=False),
    Form("SVS, JPEG 2000 (33005)", _aperio("aperio_jp2000_rgb"), is_lossless=False),
    Form("TIFF pyramid, JPEG 4:2:0", _vips_tiff(compression="jpeg", Q=90), is_lossless=False),
    Form("BigTIFF pyramid, JPEG 4:4:4", _vips_tiff(compression="jpeg", Q=95, bigtiff=True), is_lossless=False),
    Form("TIFF pyramid, deflate", _vips_tiff(compression="deflate")),
    Form("TIFF pyramid, WebP, lossless", _vips_tiff(compression="webp", lossless=True)),
    Form("TIFF pyramid in sub-images", _vips_tiff(compression="deflate", subifd=True)),
    Form("TIFF, uncompressed", _tiff()),
    Form("TIFF, big-endian, LZW", _tiff(compression="lzw", byteorder=">")),
    Form("TIFF, PackBits", _tiff(compression="packbits")),
    Form("TIFF, Zstandard", _tiff(compression="zstd")),
    Form("TIFF, LZMA", _tiff(compression="lzma")),
    Form("TIFF, LERC", _tiff(compression="lerc")),
    Form("TIFF, PNG", _tiff(compression="png")),
    Form("TIFF, JPEG 2000, lossless", _tiff(compression="jpeg2000")),
    Form("TIFF, JPEG XL, lossless", _tiff(compression="jpegxl")),
    Form("TIFF, JPEG XR", _tiff(compression="jpegxr")),
    Form("TIFF, deflate in strips", _tiff(compression="zlib", rowsperstrip=32)),
    Form("TIFF, separate planes", _tiff(compression="lzw", planarconfig="separate")),
    Form("TIFF, 16 bits", _tiff(bits=16, compression="zlib")),
    Form("TIFF, 12 bits in 16", _dark),
    Form("TIFF, floating-point", _floating),
    Form("TIFF, CMYK", _cmyk, is_lossless=False, apart=25.0, pixels="converted as libvips does, without a profile"),
    Form("TIFF, turned by its orientation", _turned),
    Form("OME-TIFF, RGB", _tiff(compression="zlib", ome=True)),
    Form("OME-TIFF, red, green and blue channels", _ome_planes),
    Form("OME-TIFF, DAPI and CD8", _fluorescence),
    Form("OME-TIFF, 3 focal planes", _focal_planes),
    *(
        Form(f"DICOM, {name}", lambda folder, rgb, name=name: write_dicom_form(folder, rgb, name))  # type: ignore[misc]
        for name in DICOM_FORMS
    ),
    Form("OME-Zarr 0.4", lambda folder, rgb: write_zarr(folder / "a.ome.zarr", rgb, kind=2)),
    Form("OME-Zarr 0.5", lambda folder, rgb: write_zarr(folder / "a.ome.zarr", rgb, kind=3)),
    *(
        Form(f"CZI, {name}", lambda folder, rgb, name=name: write_czi(folder / "a.czi", rgb, name))  # type: ignore[misc]
        for name in CZI_FORMS
    ),
    *(
        Form(f"iSyntax, {name}", lambda folder, rgb, name=name: write_isyntax_form(folder / "a.isyntax", rgb, name))  # type: ignore[misc]
        for name in ISYNTAX_FORMS
    ),
    Form("iSyntax, second version", _second_isyntax),
    Form("JPEG", _pil("a.jpg", quality=95, subsampling=0), is_lossless=False),
    Form("PNG", _pil("a.png")),
    Form("VSI", _bytes("a.vsi", b"II*\0\x08\0\0\0\0\0\0\0\0\0")),
)


@frozen
class Outcome:
    """What became of a file.

    Attributes:
        form: its kind.
        reader: the reader that opened it; "" if it was refused.
        others: readers that open it too when they are asked to, with the same pixels as far as the form allows.
        farthest: largest difference of a pixel, 0 to 255; and mean difference.
        refusal: why it was refused, or "".
        wrong: readers whose pixels are not those of the file, by how much.
    """

    form: Form
    reader: str
    others: tuple[str, ...] = ()
    farthest: float = 0.0
    mean: float = 0.0
    refusal: str = ""
    wrong: tuple[str, ...] = ()


def outcomes(folder: Path) -> Iterator[Outcome]:
    """Every form, opened without a named reader, and by each reader."""
    rgb = picture()
    for number, form in enumerate(FORMS):
        home = folder / str(number)
        home.mkdir()
        yield outcome(form, form.make(home, rgb), rgb)


def outcome(form: Form, path: Path, rgb: Rgb) -> Outcome:
    """What becomes of one file."""
    reader, shown, refusal = _shown(path, None)
    others, wrong = [], []
    for name in READERS:
        opened, pixels, _ = _shown(path, name)
        if pixels is None:
            continue
        if not _is_right(form, pixels, rgb):
            wrong.append(f"{name}: {_apart(pixels, rgb)}")
        if opened != reader:
            others.append(opened)
    if shown is None:
        return Outcome(form, "", tuple(others), refusal=refusal, wrong=tuple(wrong))
    farthest, mean = _apart(shown, rgb)
    return Outcome(form, reader, tuple(others), farthest, mean, wrong=tuple(wrong))


def _shown(path: Path, reader: str | None) -> tuple[str, Rgb | None, str]:
    """Name of the reader, pixels of level 0, or why there are none, in the words of the command line."""
    try:
        with naming(FLAGS), open_slide(path, slides=Slides(reader=reader), mpp=0.5) as slide:
            return slide.info.reader, slide.read_at(slide.info.box, slide.info.size), ""
    except SlideloomError as error:
        return "", None, str(error)


def _apart(pixels: Rgb, rgb: Rgb) -> tuple[float, float]:
    if pixels.shape != rgb.shape:
        return 255.0, 255.0
    difference = np.abs(pixels.astype(int) - rgb)
    return float(difference.max()), float(difference.mean())


def _is_right(form: Form, pixels: Rgb, rgb: Rgb) -> bool:
    farthest, mean = _apart(pixels, rgb)
    return farthest == 0 if form.is_lossless else mean <= form.apart


def table(found: list[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| made file | reader | pixels | also read by |", "|---|---|---|---|"]
    for one in found:
        if one.reader:
            pixels = "equal" if one.form.is_lossless else one.form.pixels
            lines.append(f"| {one.form.name} | `{one.reader}` | {pixels} | {_listed(one.others)} |")
        else:
            lines.append(f"| {one.form.name} | refused | {_brief(one.refusal)} | {_listed(one.others)} |")
    return "\n".join(lines) + "\n"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _brief(refusal: str) -> str:
    words = refusal.split(": ", 1)[-1].replace("|", "\\|")
    return words if len(words) <= _SHOWN else words[:_SHOWN].rsplit(" ", 1)[0] + " ..."


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        found = list(outcomes(Path(folder)))
    text = table(found)
    for one in found:
        for words in one.wrong:
            print(f"WRONG {one.form.name}: {words}")  # noqa: T201 - a script prints
    if chosen.write:
        page = PAGE.read_text(encoding="utf-8")
        start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(page[:start] + text + page[stop:], encoding="utf-8")
    else:
        print(text)  # noqa: T201 - a script prints


if __name__ == "__main__":
    main()
