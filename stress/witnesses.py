"""Second decoders of the formats that only one of our readers takes: plain readings of the forms that we write.

Each returns what it can show of a damaged file, or None where the file says what this decoder does not follow.

Source: DICOM PS3.3 C.7.6.17 (tiles in rows) by pydicom; Zarr specifications 2 and 3; ZEISS CZI file format, design
specification 1.2.2 (segments, directory entries, subblocks).
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from stress.shown import Shown, in_tiles

_MOST_PX = 1 << 22  # of an image that is put together


def by_pydicom(path: Path) -> Shown | None:
    """An image of frames in rows, whose places pydicom finds in the file."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pydicom.dcmread(path)
            canvas = _Canvas.of(int(found.TotalPixelMatrixColumns), int(found.TotalPixelMatrixRows))
            kind = (found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration)
            plain = (found.BitsAllocated, found.BitsStored, found.PixelRepresentation, found.DimensionOrganizationType)
            rows, columns = int(found.Rows), int(found.Columns)
            if canvas is None or kind != (3, "RGB", 0) or plain != (8, 8, 0, "TILED_FULL") or not rows * columns:
                return None
            across = -(-canvas.width // columns)
            for number, frame in enumerate(_frames(found, rows, columns)):
                if frame is not None:
                    canvas.put(number % across * columns, number // across * rows, frame)
        except Exception:  # whatever a library meets in a damaged file
            return None
    return canvas.shown()


def _frames(found: Any, rows: int, columns: int) -> Iterator[Rgb | None]:  # Any: pydicom has no types
    from pydicom.encaps import generate_frames

    count = int(found.NumberOfFrames)
    syntax = found.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        size = rows * columns * 3
        for number in range(count):
            part = found.PixelData[number * size : (number + 1) * size]
            yield np.frombuffer(part, np.uint8).reshape(rows, columns, 3) if len(part) == size else None
        return
    decode = _decoders()[str(syntax)]
    for content in generate_frames(found.PixelData, number_of_frames=count):
        try:
            yield decode(content)
        except Exception:  # of a damaged frame: this decoder says nothing of it
            yield None


def _decoders() -> dict[str, Callable[[bytes], Rgb]]:
    import imagecodecs

    def jpeg_ls(content: bytes) -> Rgb:
        # CharLS takes seconds to refuse a frame without an end.
        if not content.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ValueError("cut short")
        rgb: Rgb = imagecodecs.jpegls_decode(content)
        return rgb

    return {"1.2.840.10008.1.2.4.80": jpeg_ls, "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode}


def by_numcodecs(path: Path) -> Shown | None:
    """The array `0` of an OME-Zarr in chunks of one channel, each of which is a file."""
    try:
        said = _zarr_array(path / "0")
        if said is None:
            return None
        canvas = _Canvas.of(*said.shape[:0:-1])
        if canvas is None or said.shape[0] != 3 or said.chunk[0] != 1:
            return None
        for y in range(0, said.shape[1], said.chunk[1]):
            for x in range(0, said.shape[2], said.chunk[2]):
                place = (y // said.chunk[1], x // said.chunk[2])
                parts = [said.chunk_at(path / "0", (channel, *place)) for channel in range(3)]
                if all(part is not None for part in parts):
                    canvas.put(x, y, np.stack(parts, axis=-1))  # type: ignore[arg-type]
    except Exception:  # whatever a damaged description makes of this
        return None
    return canvas.shown()


@frozen
class _ZarrArray:
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    name: Callable[[tuple[int, ...]], str]
    decode: Callable[[bytes], bytes]

    def chunk_at(self, folder: Path, place: tuple[int, ...]) -> NDArray[np.uint8] | None:
        """The values of a chunk, None if there is none or it is damaged."""
        try:
            content = (folder / self.name(place)).read_bytes()
            return np.frombuffer(self.decode(content), np.uint8).reshape(self.chunk[1:])
        except Exception:  # whatever its codec says
            return None


def _whole_blosc(codec: Any, content: bytes) -> bytes:  # Any: numcodecs has no types
    """A chunk as it is stored; Blosc reads as many bytes as its header states, past the end of a damaged one."""
    if codec.codec_id == "blosc" and (len(content) < 16 or int.from_bytes(content[12:16], "little") != len(content)):
        raise ValueError("the header of Blosc states another length")
    return content


def _zarr_array(folder: Path) -> _ZarrArray | None:
    import numcodecs

    if (folder / ".zarray").exists():
        said = json.loads((folder / ".zarray").read_bytes())
        if (said["dtype"], said["order"], said["filters"]) != ("|u1", "C", None):
            return None
        mark = said.get("dimension_separator", ".")
        codec = numcodecs.get_codec(said["compressor"]) if said["compressor"] else None
        return _ZarrArray(
            tuple(said["shape"]),
            tuple(said["chunks"]),
            lambda place: mark.join(map(str, place)),
            lambda content: bytes(codec.decode(_whole_blosc(codec, content))) if codec else content,
        )
    said = json.loads((folder / "zarr.json").read_bytes())
    codecs = [codec["name"] for codec in said["codecs"]]
    keys = (said["data_type"], said["chunk_key_encoding"]["name"], said["chunk_grid"]["name"], codecs)
    if keys != ("uint8", "default", "regular", ["bytes", "zstd"]) or said.get("storage_transformers"):
        return None
    mark = said["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    return _ZarrArray(
        tuple(said["shape"]),
        tuple(said["chunk_grid"]["configuration"]["chunk_shape"]),
        lambda place: mark.join(("c", *map(str, place))),
        lambda content: bytes(numcodecs.Zstd().decode(content)),
    )


_SEGMENT, _HEAD = 32, 16  # bytes: of a segment's head, and of what a subblock says before its directory entry
_DIRECTORY_AT = _SEGMENT + 52  # in the file's head
_BGR_24, _PLAIN, _ZSTD = 3, 0, 5


def by_subblocks(path: Path) -> Shown | None:
    """A CZI of 8-bit colour, put together from its subblocks, or, where its segments are damaged, by its directory."""
    try:
        content = path.read_bytes()
        entries = _czi_stored(content) or _czi_listed(content)
        canvas = _Canvas.of(
            max(entry.x + entry.width for entry in entries), max(entry.y + entry.height for entry in entries)
        )
        if canvas is None or min(min(entry.x, entry.y) for entry in entries) != 0:
            return None
        for entry in entries:
            values = _czi_pixels(content, entry)
            if values is not None:
                canvas.put(entry.x, entry.y, values)
    except Exception:  # whatever a damaged file makes of this
        return None
    return canvas.shown()


@frozen
class _Entry:
    x: int
    y: int
    width: int
    height: int
    at: int
    compression: int
    bytes: int


def _czi_stored(content: bytes) -> list[_Entry]:
    """The entries that the subblocks themselves hold; none if the segments do not lead to the end of the file."""
    found, at = [], 0
    while at < len(content):
        name, room = struct.unpack_from("<16sq", content, at)
        if not name.startswith(b"ZISRAW") or room <= 0:
            return []
        if name.rstrip(b"\0") == b"ZISRAWSUBBLOCK":
            found += [evolve(entry, at=at) for entry in _czi_entries(content, at + _SEGMENT + _HEAD, 1)]
        at += _SEGMENT + room
    return found if at == len(content) else []


def _czi_listed(content: bytes) -> list[_Entry]:
    (at,) = struct.unpack_from("<q", content, _DIRECTORY_AT)
    if content[at : at + 16].rstrip(b"\0") != b"ZISRAWDIRECTORY":
        raise ValueError("no directory")
    (count,) = struct.unpack_from("<i", content, at + _SEGMENT)
    return list(_czi_entries(content, at + _SEGMENT + 128, count))


def _czi_entries(content: bytes, at: int, count: int) -> Iterator[_Entry]:
    for _ in range(count):
        schema, pixels, place, _part, compression, _pyramid, dimensions = struct.unpack_from("<2siqiiB5xi", content, at)
        if schema != b"DV" or pixels != _BGR_24:
            raise ValueError("of another kind")
        spans = {}
        for number in range(dimensions):
            name, start, size, _first, stored = struct.unpack_from("<4siifi", content, at + 32 + 20 * number)
            if stored not in (0, size):
                raise ValueError("of a pyramid")
            spans[name.rstrip(b"\0")] = (start, size)
        if any(start or size != 1 for name, (start, size) in spans.items() if name not in (b"X", b"Y", b"M")):
            raise ValueError("of several planes")
        (x, width), (y, height) = spans[b"X"], spans[b"Y"]
        yield _Entry(x, y, width, height, place, compression, 32 + 20 * dimensions)
        at += 32 + 20 * dimensions


def _czi_pixels(content: bytes, entry: _Entry) -> Rgb | None:
    import numcodecs

    metadata, _attached, size = struct.unpack_from("<iiq", content, entry.at + _SEGMENT)
    at = entry.at + _SEGMENT + max(256, _HEAD + entry.bytes) + metadata
    stored = content[at : at + size]
    if entry.compression not in (_PLAIN, _ZSTD) or len(stored) != size:
        return None
    try:
        flat = np.frombuffer(numcodecs.Zstd().decode(stored) if entry.compression == _ZSTD else stored, np.uint8)
        return flat.reshape(entry.height, entry.width, 3)[..., ::-1]
    except Exception:  # of a damaged subblock
        return None


@frozen
class _Canvas:
    """An image of which some is known."""

    rgb: Rgb
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, width: int, height: int) -> _Canvas | None:
        if width < 1 or height < 1 or width * height > _MOST_PX:
            return None
        return cls(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool))

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    def put(self, x: int, y: int, part: Rgb) -> None:
        height, width = self.rgb[y : y + part.shape[0], x : x + part.shape[1]].shape[:2]
        self.rgb[y : y + height, x : x + width] = part[:height, :width]
        self.known[y : y + height, x : x + width] = True

    def shown(self) -> Shown:
        """Its tiles, but for those of which something is not known."""
        return in_tiles(self.rgb, self.known)
