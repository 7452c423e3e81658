"""TensorFlow itself reads what the sink writes, and the reader reads what TensorFlow writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom.base.geometry import Size
from slideloom_testing import batch_of, info_of, scene_of, stained
from slideloom_tfrecord import TFRecords, read_records

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorFlow's own warnings


@pytest.fixture(scope="module")
def tf() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow")


def test_tensorflow_reads_the_four_features(tf: Any, tmp_path: Path) -> None:
    sink = TFRecords(shuffle=False, format="png").build()
    tiles = batch_of([stained(Size(48, 48), seed=seed) for seed in range(6)], slide="Präparat 1.a")
    writer = sink.open(info_of("Präparat 1.a"), scene_of(), tmp_path)
    writer.write(tiles.tiles, sink.encode(tiles))
    path, _ = writer.commit()
    features = {
        "image_raw": tf.io.FixedLenFeature([], tf.string),
        "slide": tf.io.FixedLenFeature([], tf.string),
        "loc_x": tf.io.FixedLenFeature([], tf.int64),
        "loc_y": tf.io.FixedLenFeature([], tf.int64),
    }

    parsed = [tf.io.parse_single_example(raw, features) for raw in tf.data.TFRecordDataset(str(path))]

    assert len(parsed) == 6
    for number, (example, rgb) in enumerate(zip(parsed, tiles.rgb, strict=True)):
        assert example["slide"].numpy().decode() == "Präparat 1.a"
        assert (int(example["loc_x"]), int(example["loc_y"])) == (100 + 200 * (number % 4), 100 + 200 * (number // 4))
        assert np.array_equal(tf.io.decode_png(example["image_raw"]).numpy(), rgb)


def test_the_message_holds_these_four_features_and_no_other(tf: Any) -> None:
    (record,) = TFRecords().build().encode(batch_of([stained(Size(48, 48))]))

    example = tf.train.Example.FromString(record[12:-4])

    assert {key: value.WhichOneof("kind") for key, value in example.features.feature.items()} == {
        "image_raw": "bytes_list",
        "slide": "bytes_list",
        "loc_x": "int64_list",
        "loc_y": "int64_list",
    }
    assert list(example.features.feature["loc_x"].int64_list.value) == [100]


def test_the_reader_reads_what_tensorflow_writes(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "tf.tfrecords"
    feature = {
        "loc_y": tf.train.Feature(int64_list=tf.train.Int64List(value=[-7])),
        "image_raw": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\xff\xd8 image"])),
        "score": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5])),
        "loc_x": tf.train.Feature(int64_list=tf.train.Int64List(value=[2**40])),
        "slide": tf.train.Feature(bytes_list=tf.train.BytesList(value=["ß".encode()])),
    }
    message = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(message)
        writer.write(message)

    records = list(read_records(path))

    assert len(records) == 2
    for record in records:
        assert (record.image_raw, record.slide, record.loc_x, record.loc_y) == (b"\xff\xd8 image", "ß", 2**40, -7)
