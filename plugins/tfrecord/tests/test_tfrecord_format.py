"""The wire formats: CRC, framing, and protocol buffer messages."""

from __future__ import annotations

import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, strategies as st
from slideloom_tfrecord.example import bytes_entry, example_head, int_entry, parse_example, varint
from slideloom_tfrecord.framing import HEAD, data_is_intact, data_length, framed, masked
from slideloom_tfrecord.order import shuffled

INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("message", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_crc_is_that_of_rfc_3720(message: bytes, crc: int) -> None:
    assert google_crc32c.value(message) == crc


def test_a_stored_crc_is_rotated_by_15_bits_and_shifted_by_a_constant() -> None:
    assert masked(0) == 0xA282EAD8
    assert masked(0x00008000) == 0xA282EAD9
    assert masked(1) == 0xA282EAD8 + (1 << 17)


def test_a_record_is_length_crc_data_crc() -> None:
    zeros = bytes(32)

    record = framed(zeros[:10], zeros[10:])

    assert record[:8] == struct.pack("<Q", 32)
    assert record[12:44] == zeros
    # 0x8a9136aa rotated right by 15 is 0x6d551522, plus 0xa282ead8
    assert record[44:] == struct.pack("<I", (0x6D551522 + 0xA282EAD8) & 0xFFFFFFFF)
    assert data_length(record[: HEAD.size]) == 32


@given(st.binary(max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_any_changed_byte_is_noticed(contents: bytes, place: int, change: int) -> None:
    record = bytearray(framed(contents))
    place %= len(record)
    record[place] ^= change

    if place < HEAD.size:
        with pytest.raises(ValueError, match="CRC"):
            data_length(bytes(record[: HEAD.size]))
    else:
        assert not data_is_intact(bytes(record[HEAD.size : -4]), bytes(record[-4:]))


@pytest.mark.parametrize(
    ("value", "bytes_"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\1")]
)
def test_numbers_are_base_128_varints(value: int, bytes_: bytes) -> None:
    assert varint(value) == bytes_


@given(st.binary(max_size=70_000), st.text(max_size=200), INT64, INT64)
def test_a_tile_comes_back_from_its_message(image: bytes, slide: str, loc_x: int, loc_y: int) -> None:
    name = slide.encode("utf-8", errors="replace")

    message = example_head(bytes_entry("slide", name), loc_x=loc_x, loc_y=loc_y, image_bytes=len(image)) + image

    expected = {"image_raw": [image], "slide": [name], "loc_x": [loc_x], "loc_y": [loc_y]}
    assert parse_example(message) == expected


def _wrapped(*entries: bytes) -> bytes:
    contents = b"".join(entries)
    return b"\x0a" + varint(len(contents)) + contents


def _entry_of_feature(key: bytes, feature: bytes) -> bytes:
    entry = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(feature)) + feature
    return b"\x0a" + varint(len(entry)) + entry


def test_unpacked_numbers_are_read_as_packed_ones() -> None:
    # int64_list (field 3, 4 bytes) of two values, each with its own tag 0x08
    unpacked = _entry_of_feature(b"loc_x", b"\x1a\x05\x08\x07\x08\xac\x02")
    packed = _entry_of_feature(b"loc_y", b"\x1a\x05\x0a\x03\x07\xac\x02")

    assert parse_example(_wrapped(unpacked, packed)) == {"loc_x": [7, 300], "loc_y": [7, 300]}


def test_features_may_come_in_any_order_with_values_before_keys_and_unknown_fields() -> None:
    feature = b"\x12\x05\x1a\x03\x0a\x01\x09"
    value_first = b"\x0a" + varint(len(feature) + 3) + feature + b"\x0a\x01k"
    floats = _entry_of_feature(b"weight", b"\x12\x06\x0a\x04\x00\x00\x80\x3f")
    unknown = b"\x7d\x00\x00\x80\x3f" + b"\x79" + bytes(8) + b"\x10\x05"  # fixed32, fixed64 and varint fields

    message = unknown + _wrapped(value_first, floats, bytes_entry("slide", b"s")) + _wrapped(int_entry("loc_x", -5))

    assert parse_example(message) == {"k": [9], "slide": [b"s"], "loc_x": [-5]}


@given(st.binary(max_size=100))
def test_what_is_no_message_is_a_value_error_or_holds_no_more_than_it_says(contents: bytes) -> None:
    try:
        features = parse_example(contents)
    except ValueError:
        return
    stored = sum(len(value) for values in features.values() for value in values if isinstance(value, bytes))
    assert stored <= len(contents)


@given(st.sets(st.integers(0, 10**9), max_size=50), st.integers(0, 2**40), st.text(max_size=20), st.randoms())
def test_the_order_depends_on_the_tiles_and_not_on_their_arrival(numbers, seed, slide, random) -> None:
    arrived = list(numbers)
    random.shuffle(arrived)
    first, second = np.array(sorted(numbers), np.int64), np.array(arrived, np.int64)

    once = first[shuffled(first, slide=slide, seed=seed)]
    again = second[shuffled(second, slide=slide, seed=seed)]

    assert sorted(once.tolist()) == sorted(numbers)
    assert once.tolist() == again.tolist()


def test_seed_and_slide_change_the_order() -> None:
    numbers = np.arange(100, dtype=np.int64)

    orders = [shuffled(numbers, slide=slide, seed=seed).tolist() for slide in ("a", "b") for seed in (0, 1)]

    assert len({tuple(order) for order in orders}) == 4


def test_every_place_is_equally_likely() -> None:
    numbers = np.arange(10, dtype=np.int64)

    places = np.array([np.argsort(shuffled(numbers, slide="s", seed=seed)) for seed in range(2000)])

    # Each tile's mean place is 4.5 with deviation sqrt(33/4 / 2000) = 0.064; five deviations
    assert np.abs(places.mean(axis=0) - 4.5).max() < 0.32
