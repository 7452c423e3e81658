"""Files of quality control masks."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast, get_args

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Mask, Size
from slideloom.base.packed_masks import PackedMask, strips
from slideloom.base.parsing import parse_json
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.slides.info import SlideInfo
from slideloom.steps.slide_qc import Labels, QcClass, QcKind, QcResult

_FORMAT = 1
_WITH_CLASSES = 2  # versions that know no classes refuse it instead of taking labels for a mask


def npy_bytes(mask: Mask | Labels) -> bytes:
    """The mask or the label map as the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(mask), allow_pickle=False)
    return buffer.getvalue()


@frozen
class NpyContent:
    """What `npy_bytes` gives for a packed mask, one part after the other, so that it need not be in memory."""

    mask: PackedMask

    def __len__(self) -> int:
        return len(self._head()) + self.mask.size

    def __iter__(self) -> Iterator[bytes]:
        yield self._head()
        for start, stop in strips(0, self.mask.shape[0]):
            yield self.mask.rows(start, stop).tobytes()

    def _head(self) -> bytes:
        buffer = io.BytesIO()
        about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.bool_)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(buffer, {**about, "shape": self.mask.shape})
        return buffer.getvalue()


Content = bytes | NpyContent  # of a file


def crc32_of(content: Content) -> int:
    """The checksum of the content of a file."""
    checksum = 0
    for part in [content] if isinstance(content, bytes) else content:
        checksum = zlib.crc32(part, checksum)
    return checksum


def npz_bytes(mask: Mask | Labels) -> bytes:
    """The mask, packed and compressed, as the content of a .npz file with the arrays `packed` and `shape`.

    Raises:
        ValueError: it is a label map.
    """
    if mask.dtype != np.bool_:
        raise ValueError(f"only a mask can be packed, not labels of {mask.dtype}")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, packed=np.packbits(mask), shape=np.array(mask.shape))
    return buffer.getvalue()


def mask_from_npz(content: bytes) -> Mask:
    """The mask in the bytes from `npz_bytes`, or in a `<slide>_qc.npz` of Slideflow, whose array `mask` is the mask.

    Raises:
        ValueError: the bytes are neither.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if "mask" in arrays.files:
                return _whole_mask(arrays["mask"])
            packed, (rows, columns) = arrays["packed"], arrays["shape"].tolist()
        if len(packed) != -(-rows * columns // 8):  # numpy would pad with zeros
            raise ValueError(f"{len(packed)} bytes for {rows} x {columns} pixels")
        bits = np.unpackbits(packed, count=rows * columns)
    except Exception as error:  # zipfile, zlib and numpy raise almost any exception on damaged bytes
        raise ValueError(f"is not a packed mask, nor one of Slideflow ({error})") from error
    return cast("Mask", bits.reshape(rows, columns).astype(np.bool_))


def _whole_mask(found: Any) -> Mask:
    if found.ndim != 2 or found.dtype != np.bool_ or not found.size:
        raise ValueError(f"wanted a mask (h, w) bool, got {found.shape} {found.dtype}")
    return cast("Mask", found)


def mask_from_npy(content: bytes) -> Mask:
    """The mask in the content of a .npy file.

    Raises:
        ValueError: it is not a complete array of bool.
    """
    return cast("Mask", _from_npy(content, np.bool_))


def labels_from_npy(content: bytes) -> Labels:
    """The label map in the content of a .npy file.

    Raises:
        ValueError: it is not a complete array of uint8.
    """
    return cast("Labels", _from_npy(content, np.uint8))


def _from_npy(content: bytes, wanted: type[np.generic]) -> NDArray[Any]:
    stream = io.BytesIO(content)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in header:
        raise ValueError(f"is a .npy file of the unknown version {version}")
    shape, _, dtype = header[version](stream)
    if dtype != wanted:
        raise ValueError(f"holds {dtype} instead of {np.dtype(wanted)}")
    stored = len(content) - stream.tell()
    if math.prod(shape) != stored:  # checked before numpy allocates the memory that a damaged header asks for
        raise ValueError(f"{stored} bytes for {shape} pixels")
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def save_mask(
    result: QcResult, path: Path, *, slide: SlideInfo, encode: Callable[[Mask | Labels], bytes] | None = None
) -> tuple[Path, Path]:
    """Store a result: the mask at `path`, and everything else beside it in a .json of the same name.

    The JSON holds slide name and level-0 size, kind, extent, mask shape, `scale` (level-0 pixels per mask pixel, x
    and y), metrics, notes, and a checksum of the mask file. Each file appears complete or not at all, the JSON last.
    Of a result with classes, the label map is stored instead of the mask, and the JSON names the classes.

    Args:
        result: what to store.
        path: of the mask file; its folder is made.
        slide: the slide that the mask belongs to.
        encode: the mask (bool) or the label map (uint8) as file content; by default .npy.

    Returns:
        Both files.

    Raises:
        OutputError: the files cannot be written.
    """
    files = mask_files(result, path, slide=slide, encode=encode)
    with storing_in(path.parent):
        for file, content in files.items():
            write_whole(file, content)
    return path, path.with_suffix(".json")


def mask_files(
    result: QcResult, path: Path, *, slide: SlideInfo, encode: Callable[[Mask | Labels], bytes] | None = None
) -> dict[Path, Content]:
    """The content of both files that `save_mask` writes, the JSON last."""
    content: Content
    if encode is None and result.labels is None and isinstance(result.stored, PackedMask):
        content = NpyContent(result.stored)
    else:
        content = (encode or npy_bytes)(result.mask if result.labels is None else result.labels)
    covered = result.extent or slide.box
    rows, columns = result.shape
    record: dict[str, Any] = {
        "slideloom_mask": _FORMAT if result.labels is None else _WITH_CLASSES,
        "slide": slide.name,
        "size": [slide.size.width, slide.size.height],
        "kind": result.kind,
        "extent": None if result.extent is None else [covered.x, covered.y, covered.width, covered.height],
        "shape": [rows, columns],
        "scale": [covered.width / columns, covered.height / rows],
        "metrics": {
            name: float(value) if math.isfinite(value) else None for name, value in sorted(result.metrics.items())
        },
        "notes": list(result.notes),
        "crc32": crc32_of(content),
    }
    if result.labels is not None:
        record["classes"] = [attrs.asdict(one) for one in result.classes]
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return {path: content, path.with_suffix(".json"): utf8(text)}


def load_mask(
    path: Path,
    *,
    slide: SlideInfo | None = None,
    decode: Callable[[bytes], Mask] = mask_from_npy,
    decode_labels: Callable[[bytes], Labels] = labels_from_npy,
) -> QcResult:
    """The result that `save_mask` stored at `path`.

    Args:
        path: of the mask file; its .json must be beside it.
        slide: if given, the slide that the mask must fit.
        decode: the mask from the file's content; by default .npy.
        decode_labels: the label map from the file's content, for a result with classes; by default .npy.

    Raises:
        SlideError: a file is missing or damaged, the two do not belong together, or the mask was made for a slide of
            another size.
    """
    beside = path.with_suffix(".json")
    remedy = "delete both files and run the quality control again"
    try:
        content = path.read_bytes()
        record = parse_json(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise SlideError(f"{error.filename}: the saved mask cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise SlideError(f"{beside}: not the description of a mask ({error}); {remedy}") from error
    try:
        result, size = _from_record(record, content, decode, decode_labels)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise SlideError(f"{path}: the saved mask is damaged ({error}); {remedy}") from error
    if slide is not None and size != slide.size:
        raise SlideError(
            f"{path}: made for a slide of {size.width} x {size.height}, but {slide.path.name} is "
            f"{slide.size.width} x {slide.size.height}; {remedy}"
        )
    return result


def _from_record(
    record: Any, content: bytes, decode: Callable[[bytes], Mask], decode_labels: Callable[[bytes], Labels]
) -> tuple[QcResult, Size]:
    if record["slideloom_mask"] not in (_FORMAT, _WITH_CLASSES):
        raise ValueError(f"format {record['slideloom_mask']!r} is not known")
    # A user who edits a saved mask removes the checksum from the JSON.
    if record.get("crc32") not in (None, zlib.crc32(content)):
        raise ValueError("its .json belongs to other pixels; if you edited the mask by hand, remove 'crc32' there")
    if record["kind"] not in get_args(QcKind):
        raise ValueError(f"kind {record['kind']!r} is not one of {', '.join(get_args(QcKind))}")
    has_classes = record["slideloom_mask"] == _WITH_CLASSES
    pixels = decode_labels(content) if has_classes else decode(content)
    if list(pixels.shape) != record["shape"]:
        raise ValueError(f"{pixels.shape} pixels where {record['shape']} are noted")
    extent = None if record["extent"] is None else _extent_of(record["extent"])
    metrics = {
        str(name): math.nan if value is None else float(value) for name, value in dict(record["metrics"]).items()
    }
    notes = tuple(str(note) for note in record["notes"])
    if has_classes:
        classes = [QcClass(**one) for one in record["classes"]]
        result = QcResult.of_labels(cast("Labels", pixels), classes, extent=extent, metrics=metrics, notes=notes)
    else:
        result = QcResult(cast("Mask", pixels), record["kind"], extent, metrics, notes)
    width, height = record["size"]
    return result, Size(int(width), int(height))


def _extent_of(values: Any) -> Box:
    """Any: from a JSON file."""
    x, y, width, height = (float(value) for value in values)
    if not (all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0):
        raise ValueError(f"extent {values} covers nothing")
    return Box(x, y, width, height)
