"""Slides of several files, of known pixels: MIRAX, and Hamamatsu's VMS.

Source: OpenSlide, format documentation for MIRAX and Hamamatsu.
"""

from __future__ import annotations

import struct
from pathlib import Path

from slideloom import Rgb

_SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"
_INDEX_VERSION = "01.02"
_RESTART = 8  # blocks of 8 x 8 pixels from one restart marker to the next


def write_mirax(path: Path, rgb: Rgb, *, tile: int = 128, mpp: float = 0.5, data_files: int = 2) -> Path:
    """Write a MIRAX slide of one level in JPEG tiles, whose pixels lie in a folder beside its file.

    Args:
        path: of its file, with the extension `.mrxs`.
        rgb: the picture; its sides are multiples of `tile`.
        tile: width and height of a tile.
        mpp: microns per pixel.
        data_files: number of files that hold tiles, in turn.
    """
    columns, rows = rgb.shape[1] // tile, rgb.shape[0] // tile
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    path.write_bytes(_jpeg(rgb[::4, ::4]))
    contents = [bytearray(b"data") for _ in range(data_files)]
    entries = []
    for number in range(columns * rows):
        top, left = number // columns * tile, number % columns * tile
        jpeg = _jpeg(rgb[top : top + tile, left : left + tile])
        file = number % data_files
        entries.append((number, len(contents[file]), len(jpeg), file))
        contents[file] += jpeg
    for number, content in enumerate(contents):
        (folder / f"Data{number:04}.dat").write_bytes(content)
    (folder / "Index.dat").write_bytes(_index(entries))
    (folder / "Slidedat.ini").write_text(_SLIDEDAT.format(
        id=_SLIDE_ID, columns=columns, rows=rows, mpp=mpp, tile=tile, count=data_files,
        files="\n".join(f"FILE_{number} = Data{number:04}.dat" for number in range(data_files)),
    ))  # fmt: skip
    return path


def write_vms(path: Path, rgb: Rgb, *, columns: int = 2, mpp: float = 0.5) -> Path:
    """Write a VMS slide, whose pixels lie in JPEGs beside its file.

    Args:
        path: of its file, with the extension `.vms`.
        rgb: the picture, whose width is a multiple of `columns`.
        columns: number of JPEGs beside each other.
        mpp: microns per pixel.
    """
    width = rgb.shape[1] // columns
    names = [f"{path.stem}({column},0).jpg" if column else f"{path.stem}.jpg" for column in range(columns)]
    for column, name in enumerate(names):
        path.with_name(name).write_bytes(_jpeg(rgb[:, column * width : (column + 1) * width]))
    path.with_name(f"{path.stem}_map.jpg").write_bytes(_jpeg(rgb[::4, ::4]))
    path.with_name(f"{path.stem}_macro.jpg").write_bytes(_jpeg(rgb[::8, ::8]))
    keys = [f"ImageFile({column},0)" if column else "ImageFile" for column in range(columns)]
    path.write_text(_VMS.format(
        columns=columns, images="\n".join(f"{key}={name}" for key, name in zip(keys, names, strict=True)),
        name=path.stem, width=round(rgb.shape[1] * mpp * 1000), height=round(rgb.shape[0] * mpp * 1000),
    ))  # fmt: skip
    return path


def _jpeg(rgb: Rgb) -> bytes:
    """A JPEG with restart markers, without which a VMS is refused."""
    import pyvips  # of the extra "demo"

    content: bytes = pyvips.Image.new_from_array(rgb.copy()).jpegsave_buffer(
        Q=90, subsample_mode="off", restart_interval=_RESTART
    )
    return content


def _index(entries: list[tuple[int, int, int, int]]) -> bytes:
    """Places of tiles: a root, a list of levels, the one level's head, and a page of entries."""
    head = f"{_INDEX_VERSION}{_SLIDE_ID}".encode()
    levels = len(head) + 8
    start = levels + 4
    page = start + 8
    fields = [levels, 0, start, 0, page, len(entries), 0, *(value for entry in entries for value in entry)]
    return head + struct.pack(f"<{len(fields)}i", *fields)


_SLIDEDAT = """[GENERAL]
SLIDE_ID = {id}
IMAGENUMBER_X = {columns}
IMAGENUMBER_Y = {rows}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
INDEXFILE = Index.dat
HIER_COUNT = 1
NONHIER_COUNT = 0
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION
[LAYER_0_LEVEL_0_SECTION]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {mpp}
MICROMETER_PER_PIXEL_Y = {mpp}
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {tile}
DIGITIZER_HEIGHT = {tile}
IMAGE_FORMAT = JPEG
IMAGE_CONCAT_FACTOR = 0
[DATAFILE]
FILE_COUNT = {count}
{files}
"""
_VMS = """[Virtual Microscope Specimen]
NoLayers=1
NoJpegColumns={columns}
NoJpegRows=1
{images}
MapFile={name}_map.jpg
MacroImage={name}_macro.jpg
SourceLens=20
PhysicalWidth={width}
PhysicalHeight={height}
"""
