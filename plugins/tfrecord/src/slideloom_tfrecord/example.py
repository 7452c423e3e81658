"""A tile as a `tf.train.Example` message and back, in the protocol buffer wire format.

Source: the wire format, https://protobuf.dev/programming-guides/encoding/, and TensorFlow's `example.proto` and
`feature.proto`: Example {Features features = 1}; Features {map<string, Feature> feature = 1}; Feature {oneof:
BytesList bytes_list = 1, FloatList float_list = 2, Int64List int64_list = 3}; each list {repeated value = 1}.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

Feature = list[bytes] | list[int]

_LEN = 2  # wire type of strings, bytes, messages and packed numbers
_FIRST = b"\x0a"  # tag of field 1, wire type LEN
_SECOND = b"\x12"
_THIRD = b"\x1a"


def varint(value: int) -> bytes:
    """`value` in base 128, least significant group first; a negative int64 as its two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _field(tag: bytes, contents: bytes) -> bytes:
    return tag + varint(len(contents)) + contents


def _entry(key: str, feature: bytes) -> bytes:
    return _field(_FIRST, _field(_FIRST, key.encode()) + _field(_SECOND, feature))


def bytes_entry(key: str, value: bytes) -> bytes:
    """The map entry of a feature that is one bytes value."""
    return _entry(key, _field(_FIRST, _field(_FIRST, value)))


@lru_cache(maxsize=4096)  # the tiles of a row or a column share a coordinate
def int_entry(key: str, value: int) -> bytes:
    """The map entry of a feature that is one int64."""
    return _entry(key, _field(_THIRD, _field(_FIRST, varint(value))))


_IMAGE_KEY = _field(_FIRST, b"image_raw")


def example_head(slide_entry: bytes, *, loc_x: int, loc_y: int, image_bytes: int) -> bytes:
    """A tile's Example without the image, which comes last, so that it need not be copied.

    Args:
        slide_entry: `bytes_entry("slide", name)`, the same for all tiles of a slide, and those of companions.
        loc_x: x of the tile's centre in level-0 pixels.
        loc_y: y of the tile's centre in level-0 pixels.
        image_bytes: length of the encoded image in bytes.
    """
    value_length = _FIRST + varint(image_bytes)
    list_length = _FIRST + varint(len(value_length) + image_bytes)
    feature_length = _SECOND + varint(len(list_length) + len(value_length) + image_bytes)
    image_head = feature_length + list_length + value_length
    entry_length = _FIRST + varint(len(_IMAGE_KEY) + len(image_head) + image_bytes)
    before = slide_entry + int_entry("loc_x", loc_x) + int_entry("loc_y", loc_y) + entry_length + _IMAGE_KEY
    head = before + image_head
    return _FIRST + varint(len(head) + image_bytes) + head


def parse_example(message: bytes) -> dict[str, Feature]:
    """The features of a serialized Example by name: the values of bytes and int64 lists. Other kinds are left out.

    Features may come in any order and int64 lists may be packed or not; unknown fields are skipped.

    Raises:
        ValueError: `message` is not an Example.
    """
    features: dict[str, Feature] = {}
    view = memoryview(message)
    for number, features_message in _fields(view):
        if number != 1 or not isinstance(features_message, memoryview):
            continue
        for entry_number, entry in _fields(features_message):
            if entry_number == 1 and isinstance(entry, memoryview):
                _add_entry(entry, features)
    return features


def _add_entry(entry: memoryview, features: dict[str, Feature]) -> None:
    key, feature = "", memoryview(b"")
    for number, value in _fields(entry):
        if isinstance(value, memoryview):
            if number == 1:
                key = str(value, "utf-8")
            elif number == 2:
                feature = value
    for kind, values in _fields(feature):
        if not isinstance(values, memoryview):
            continue
        if kind == 1:
            features[key] = [bytes(item) for n, item in _fields(values) if n == 1 and isinstance(item, memoryview)]
        elif kind == 3:
            features[key] = list(_int64s(values))


def _int64s(values: memoryview) -> Iterator[int]:
    for number, item in _fields(values):
        if number != 1:
            continue
        if isinstance(item, int):
            yield _signed(item)
            continue
        position = 0
        while position < len(item):
            value, position = _varint_at(item, position)
            yield _signed(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field: a view for wire type LEN, a number for VARINT. Fixed-size numbers are skipped."""
    position = 0
    while position < len(message):
        tag, position = _varint_at(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = _varint_at(message, position)
            yield number, value
        elif wire_type == _LEN:
            length, position = _varint_at(message, position)
            if position + length > len(message):
                raise ValueError(f"field {number} is longer than the message")
            yield number, message[position : position + length]
            position += length
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
            if position > len(message):
                raise ValueError(f"field {number} is longer than the message")
        else:
            raise ValueError(f"field {number} has the unknown wire type {wire_type}")


def _varint_at(message: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number that starts at `position`, and the position after it."""
    if position < len(message) and message[position] < 0x80:  # most are one byte long
        return message[position], position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the message ends within a number")
        group = message[position]
        position += 1
        value |= (group & 0x7F) << shift
        if group < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise ValueError("a number has more than 10 bytes")
