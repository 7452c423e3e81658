"""Reads TensorFlow checkpoints (`NAME.index`, `NAME.data-00000-of-00001`) without TensorFlow.

The index is a sorted string table as LevelDB writes it: blocks of prefix-compressed keys, a block of block handles, and
a footer of 48 bytes. Each value is a BundleEntryProto that says where a tensor is in the data file. Only documented
parts of the format are used, every checksum is verified, and nothing in the file is executed.

Source: LevelDB's table format; tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # one byte for compression, four bytes for the checksum
_MASK_DELTA = 0xA282EAD8
# DataType of tensorflow/core/framework/types.proto; others (strings, resources) hold no weights
_DTYPES: Mapping[int, str] = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "|b1", 19: "<f2"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@frozen
class Entry:
    """Where a tensor is stored, and how to verify it."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    is_partitioned: bool


class _Damaged(Exception):
    """The bytes do not follow the format."""


def read_checkpoint(prefix: Path) -> dict[str, NDArray[np.generic]]:
    """All numeric tensors of a checkpoint by name.

    Args:
        prefix: the checkpoint's path, with or without `.index`.

    Raises:
        ConfigError: a file is missing, damaged, compressed, or written on a big-endian machine.
    """
    index = prefix if prefix.suffix == ".index" else prefix.with_name(prefix.name + ".index")
    try:
        return _read(index)
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename}: no such file; a checkpoint needs its .index and .data files") from None
    except (_Damaged, struct.error, IndexError, UnicodeDecodeError) as error:
        raise ConfigError(f"{index}: not a readable TensorFlow checkpoint ({error}); fetch it again") from error


def _read(index: Path) -> dict[str, NDArray[np.generic]]:
    pairs = dict(_table(index.read_bytes()))
    header = _message(pairs.pop(b"", b""))
    shards = _one(header, 1, 1)
    if _one(header, 2, 0) != 0:
        raise _Damaged("big-endian")
    entries = {key.decode(): _entry(value) for key, value in pairs.items()}
    base = index.name[: -len(".index")]
    result: dict[str, NDArray[np.generic]] = {}
    for shard in range(shards):
        wanted = {n: e for n, e in entries.items() if e.shard == shard and e.dtype in _DTYPES and not e.is_partitioned}
        if wanted:
            path = index.with_name(f"{base}.data-{shard:05d}-of-{shards:05d}")
            with path.open("rb") as file:
                result.update({name: _tensor(file, name, entry) for name, entry in wanted.items()})
    return result


def _tensor(file: Any, name: str, entry: Entry) -> NDArray[np.generic]:  # Any: a binary file
    dtype = np.dtype(_DTYPES[entry.dtype])
    count = int(np.prod(entry.shape, dtype=np.int64))
    if count * dtype.itemsize != entry.size:
        raise _Damaged(f"tensor {name} of {entry.size} bytes has shape {entry.shape}")
    file.seek(entry.offset)
    raw = file.read(entry.size)
    if len(raw) != entry.size:
        raise _Damaged(f"the data end within tensor {name}")
    if _masked(raw) != entry.crc:
        raise _Damaged(f"wrong checksum of tensor {name}")
    return np.frombuffer(raw, dtype).reshape(entry.shape)


def _table(blob: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every entry, in the order of the file."""
    if len(blob) < _FOOTER or struct.unpack("<Q", blob[-8:])[0] != _MAGIC:
        raise _Damaged("no table footer")
    footer = blob[-_FOOTER:]
    _, at = _handle(footer, 0)  # of the meta index, which TensorFlow leaves empty
    (offset, size), _ = _handle(footer, at)
    for _key, value in _block(blob, offset, size):
        (start, length), _ = _handle(value, 0)
        yield from _block(blob, start, length)


def _block(blob: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size + _TRAILER > len(blob):
        raise _Damaged("a block lies beyond the end")
    body = blob[offset : offset + size]
    kind, crc = struct.unpack("<BI", blob[offset + size : offset + size + _TRAILER])
    if _masked(blob[offset : offset + size + 1]) != crc:
        raise _Damaged("wrong checksum of an index block")
    if kind != 0:
        raise _Damaged("the index is compressed, which TensorFlow's own writer does not do")
    (restarts,) = struct.unpack("<I", body[-4:])
    end = size - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = _varint(body, at)
        fresh, at = _varint(body, at)
        length, at = _varint(body, at)
        key = key[:shared] + body[at : at + fresh]
        at += fresh
        yield key, body[at : at + length]
        at += length


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(raw, at)
    size, at = _varint(raw, at)
    return (offset, size), at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise _Damaged("an endless number")


def _masked(raw: bytes) -> int:
    """CRC32C, rotated and shifted as LevelDB stores it, and as TFRecords do: the only other place that needs it."""
    crc = int(google_crc32c.value(raw))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _message(raw: bytes) -> dict[int, list[int | bytes]]:
    """Field number to values of one protocol buffer message."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(raw, at)
        elif kind == _FIXED32:
            value, at = struct.unpack_from("<I", raw, at)[0], at + 4
        elif kind == _FIXED64:
            value, at = struct.unpack_from("<Q", raw, at)[0], at + 8
        elif kind == _BYTES:
            length, at = _varint(raw, at)
            value, at = raw[at : at + length], at + length
        else:
            raise _Damaged(f"field of unknown type {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _one(fields: dict[int, list[int | bytes]], number: int, default: int) -> int:
    value = fields.get(number, [default])[-1]
    if not isinstance(value, int):
        raise _Damaged(f"field {number} is not a number")
    return value


def _entry(raw: bytes) -> Entry:
    fields = _message(raw)
    shape: tuple[int, ...] = ()
    for part in fields.get(2, []):
        if not isinstance(part, bytes):
            raise _Damaged("a shape is not a message")
        dims = [_message(dim) for dim in _message(part).get(2, []) if isinstance(dim, bytes)]
        shape = tuple(_one(dim, 1, 0) for dim in dims)
    return Entry(
        dtype=_one(fields, 1, 0),
        shape=shape,
        shard=_one(fields, 3, 0),
        offset=_one(fields, 4, 0),
        size=_one(fields, 5, 0),
        crc=_one(fields, 6, 0),
        is_partitioned=7 in fields,
    )
