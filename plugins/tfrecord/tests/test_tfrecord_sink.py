"""What the sink leaves on disk: names, order, index, manifest; and nothing after an error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from slideloom import OutputError, RunReport, SlideReport, TileBatch
from slideloom.base.geometry import Size
from slideloom.base.temporary import is_temporary
from slideloom_testing import batch_of, info_of, scene_of, stained, take, tiles_of
from slideloom_testing.contracts import SinkContract
from slideloom_testing.disks import full_disk, left_by_a_dead_process
from slideloom_tfrecord import TFRecordFile, TFRecords, plugin, read_records, write_manifest

SCENE = scene_of(tile_px=64, mpp=1.0)
DEFAULTS = TFRecords()
HOME = Path("tfrecords") / "64px_64um"


class TestTFRecords(SinkContract):
    settings = TFRecords()


class TestTFRecordsInGridOrder(SinkContract):
    settings = TFRecords(shuffle=False, format="png")


def batch(count: int = 12, *, slide: str = "slide", start: int = 0) -> TileBatch:
    field = stained(Size(64 + count, 64), seed=3)
    rgb = [np.ascontiguousarray(field[:, shift : shift + 64]) for shift in range(count)]
    return batch_of(rgb, tiles=tiles_of(count, start=start), slide=slide)


def stored(out: Path, *batches: TileBatch, settings: TFRecords = DEFAULTS, slide: str = "slide") -> list[Path]:
    sink = settings.build()
    writer = sink.open(info_of(slide), SCENE, out)
    for each in batches:
        writer.write(each.tiles, sink.encode(each))
    return list(writer.commit())


def numbers(path: Path) -> list[int]:
    """Tile numbers in stored order: 4 columns of 200-px tiles, whose centres are at 100, 300, ..."""
    return [(r.loc_x - 100) // 200 + 4 * ((r.loc_y - 100) // 200) for r in read_records(path)]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_slide_is_one_file_with_an_index(tmp_path: Path) -> None:
    made = stored(tmp_path, batch())

    assert made == [tmp_path / HOME / "slide.tfrecords", tmp_path / HOME / "slide.index.npz"]
    assert everything(tmp_path) == [str(HOME / "slide.index.npz"), str(HOME / "slide.tfrecords")]


def test_the_output_folder_itself_can_be_the_folder_of_tfrecords(tmp_path: Path) -> None:
    made = stored(tmp_path, batch(), settings=TFRecords(folder="."))

    assert made == [tmp_path / "64px_64um" / "slide.tfrecords", tmp_path / "64px_64um" / "slide.index.npz"]


@pytest.mark.parametrize("folder", ["..", "", "a/b"])
def test_a_folder_that_leads_elsewhere_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="folder must be one name without separators"):
        TFRecords(folder=folder)


def test_the_image_is_what_opencv_writes_by_default(tmp_path: Path) -> None:
    tiles = batch()

    path, _ = stored(tmp_path, tiles, settings=TFRecords(shuffle=False))

    for record, rgb in zip(read_records(path), tiles.rgb, strict=True):
        assert record.image_raw == cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    tiles = batch(3)

    path, _ = stored(tmp_path, tiles, settings=TFRecords(shuffle=False, format="png"))

    for record, rgb in zip(read_records(path), tiles.rgb, strict=True):
        bgr = cv2.imdecode(np.frombuffer(record.image_raw, np.uint8), cv2.IMREAD_COLOR)
        assert (cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) == rgb).all()


def test_444_keeps_a_change_of_colour_that_420_blurs() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 60, 60), (60, 60, 200)

    def error(subsampling: str) -> float:
        (record,) = TFRecords(subsampling=subsampling).build().encode(batch_of([stripes]))
        image = record[record.index(b"\xff\xd8\xff") : -4]
        bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        return float(np.abs(bgr[..., ::-1].astype(int) - stripes).mean())

    assert error("444") < 5
    assert error("420") > 40


def test_the_index_tells_start_length_and_location_of_each_record(tmp_path: Path) -> None:
    path, index = stored(tmp_path, batch())
    contents = path.read_bytes()

    arrays = np.load(index, allow_pickle=False)
    spans, locations = arrays["arr_0"], arrays["locations"]

    assert spans.dtype == locations.dtype == np.int64
    assert spans.shape == locations.shape == (12, 2)
    for (start, total), record, (x, y) in zip(spans, read_records(path), locations, strict=True):
        assert int.from_bytes(contents[start : start + 8], "little") == total - 16
        assert record.image_raw in contents[start : start + total]
        assert (record.loc_x, record.loc_y) == (x, y)
    assert spans[-1].sum() == len(contents)


def test_without_shuffling_tiles_are_in_grid_order_even_if_they_arrive_otherwise(tmp_path: Path) -> None:
    tiles = take(batch(), np.array([5, 3, 11, 0]))

    path, _ = stored(tmp_path, tiles, settings=TFRecords(shuffle=False))

    assert numbers(path) == [0, 3, 5, 11]


def test_the_file_has_the_same_bytes_for_any_batches_and_arrival(tmp_path: Path) -> None:
    tiles = batch()
    backwards = [take(tiles, slice(place, place + 1)) for place in reversed(range(12))]

    first, first_index = stored(tmp_path / "a", tiles)
    second, second_index = stored(tmp_path / "b", *backwards)

    assert numbers(first) != list(range(12))
    assert sorted(numbers(first)) == list(range(12))
    assert first.read_bytes() == second.read_bytes()
    assert first_index.read_bytes() == second_index.read_bytes()


def test_another_seed_gives_another_order(tmp_path: Path) -> None:
    orders = [numbers(stored(tmp_path / str(seed), batch(), settings=TFRecords(seed=seed))[0]) for seed in (0, 1)]

    assert orders[0] != orders[1]


def test_a_slide_without_tiles_leaves_nothing_and_removes_an_older_result(tmp_path: Path) -> None:
    stored(tmp_path, batch())

    assert stored(tmp_path) == []
    assert everything(tmp_path) == []


def test_abort_leaves_the_older_result_alone(tmp_path: Path) -> None:
    path, _ = stored(tmp_path, batch())
    before = path.read_bytes()
    sink = TFRecords().build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch(3).tiles, sink.encode(batch(3)))

    writer.abort()
    writer.abort()

    assert everything(tmp_path) == [str(HOME / "slide.index.npz"), str(HOME / "slide.tfrecords")]
    assert path.read_bytes() == before


def test_nothing_has_a_final_name_before_commit(tmp_path: Path) -> None:
    sink = TFRecords().build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch().tiles, sink.encode(batch()))

    (unfinished,) = everything(tmp_path)
    assert is_temporary(Path(unfinished).name)
    writer.abort()


def test_a_file_that_does_not_hold_what_was_written_is_not_published(tmp_path: Path) -> None:
    sink = TFRecords().build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch().tiles, sink.encode(batch()))
    (unfinished,) = (tmp_path / HOME).iterdir()
    unfinished.write_bytes(bytes(1 << 20))

    with pytest.raises(OutputError, match=r"holds 1048576 bytes where \d+ were written"):
        writer.commit()

    assert everything(tmp_path) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / HOME).mkdir(parents=True)
    for name in ("slide.tfrecords", "slide.index.npz"):
        left_by_a_dead_process(tmp_path / HOME / name).write_bytes(b"left over")

    path, _ = stored(tmp_path, batch(2))

    assert len(numbers(path)) == 2
    assert everything(tmp_path) == [str(HOME / "slide.index.npz"), str(HOME / "slide.tfrecords")]


@pytest.mark.parametrize("name", ["TCGA-3L.01.a b", "Прозекция №5 切片", "'quoted' $HOME ~", "-rf", ".hidden"])
def test_odd_slide_names_are_kept(tmp_path: Path, name: str) -> None:
    path, index = stored(tmp_path, batch(2, slide=name), slide=name)

    assert path.name == f"{name}.tfrecords"
    assert index.name == f"{name}.index.npz"
    assert {record.slide for record in read_records(path)} == {name}
    assert len(TFRecordFile(path)) == 2


@pytest.mark.parametrize("name", ["../evil", "a/../b", "a//b", "a\\b", "/etc/passwd"])
def test_a_slide_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="rename the slide"):
        TFRecords().build().open(info_of(name), SCENE, tmp_path / "out")

    assert everything(tmp_path) == []


@pytest.mark.parametrize("folder", ["", "..", "a/b", "/tmp"])
def test_the_sub_folder_is_one_name(folder: str) -> None:
    with pytest.raises(ValueError, match="folder must be one name"):
        TFRecords(folder=folder)


def test_a_full_disk_is_named_with_its_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    sink = TFRecords(format="png").build()
    writer = sink.open(info_of(), SCENE, tmp_path)

    tiles = batch(200)
    records = sink.encode(tiles)
    assert sum(map(len, records)) > 1_200_000  # more than the write buffer, so that it fails on the way

    with (
        full_disk(after_bytes=100_000),
        pytest.raises(OutputError, match=r"no room left.*another output folder") as caught,
    ):
        writer.write(tiles.tiles, records)
    writer.abort()

    assert str(tmp_path / HOME) in str(caught.value)
    assert everything(tmp_path) == []


def test_a_disk_that_fills_up_at_commit_leaves_nothing(tmp_path: Path) -> None:
    sink = TFRecords(format="png").build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    tiles = batch(20)
    records = sink.encode(tiles)
    assert 100_000 < sum(map(len, records)) < 1_000_000  # less than the write buffer, so that it fails at the end

    writer.write(tiles.tiles, records)
    with full_disk(after_bytes=100_000), pytest.raises(OutputError, match="no room left"):
        writer.commit()

    assert everything(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(OutputError, match="permissions"):
        TFRecords().build().open(info_of(), SCENE, tmp_path)


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "tfrecords").write_text("in the way")

    with pytest.raises(OutputError, match="another output folder"):
        TFRecords().build().open(info_of(), SCENE, tmp_path)


def test_the_manifest_counts_every_file_in_and_under_a_folder(tmp_path: Path) -> None:
    stored(tmp_path, batch(12))
    stored(tmp_path, batch(3, slide="b"), slide="b")
    (tmp_path / HOME / "b.index.npz").unlink()

    assert json.loads(write_manifest(tmp_path / HOME).read_text()) == {
        "b.tfrecords": {"total": 3},
        "slide.tfrecords": {"total": 12},
    }
    assert json.loads(write_manifest(tmp_path).read_text()) == {
        "tfrecords/64px_64um/b.tfrecords": {"total": 3},
        "tfrecords/64px_64um/slide.tfrecords": {"total": 12},
    }


def test_a_finished_run_leaves_a_manifest_beside_its_files(tmp_path: Path) -> None:
    made = stored(tmp_path, batch(12))
    outputs = tuple(path.relative_to(tmp_path).as_posix() for path in made)
    report = RunReport(
        slides=(SlideReport("slide", "slide.svs", "done", outputs=outputs), SlideReport("b", "b.svs", "failed")),
        out=str(tmp_path), pipeline={}, digest="", versions={}, started="", seconds=0.0,
    )  # fmt: skip

    plugin.slideloom_run_done(report, tmp_path)

    assert json.loads((tmp_path / HOME / "manifest.json").read_text()) == {"slide.tfrecords": {"total": 12}}
    assert len(everything(tmp_path)) == 3


def test_a_manifest_believes_a_report_only_of_a_file_that_has_its_size(tmp_path: Path) -> None:
    for slide in ("a", "b", "c"):
        stored(tmp_path, batch(12, slide=slide), slide=slide)
    size = (tmp_path / HOME / "a.tfrecords").stat().st_size
    told = {"a": (size, 99), "b": (size + 1, 99), "c": (size, 0)}  # 99 shows who was asked

    write_manifest(
        tmp_path / HOME, sizes={tmp_path / HOME / f"{slide}.tfrecords": known for slide, known in told.items()}
    )

    assert json.loads((tmp_path / HOME / "manifest.json").read_text()) == {
        "a.tfrecords": {"total": 99},
        "b.tfrecords": {"total": 12},
        "c.tfrecords": {"total": 12},
    }


def test_what_another_program_wrote_in_the_manifest_stays(tmp_path: Path) -> None:
    stored(tmp_path, batch(12))
    manifest = tmp_path / HOME / "manifest.json"
    theirs = {"other.tfrecords": {"total": 7, "class": 1}, "gone.tfrecords": {"total": 5}}
    manifest.write_text(json.dumps({**theirs, "slide.tfrecords": {"total": 3, "class": 2}}))

    write_manifest(tmp_path / HOME, slides={"slide", "gone"})

    assert json.loads(manifest.read_text()) == {
        "other.tfrecords": {"total": 7, "class": 1},
        "slide.tfrecords": {"total": 12, "class": 2},
    }


def test_a_manifest_that_is_none_is_moved_aside(tmp_path: Path) -> None:
    stored(tmp_path, batch(12))
    (tmp_path / HOME / "manifest.json").write_text("of another program")

    write_manifest(tmp_path / HOME)

    (aside,) = (tmp_path / HOME).glob("manifest.json.foreign-*")
    assert aside.read_text() == "of another program"
