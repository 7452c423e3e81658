"""Masks and context of tiles through whole runs: pixels, names, accounts, and every format by its own consumer."""

from __future__ import annotations

import csv
import gc
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import slideloom as sl
from attrs import frozen
from PIL import Image
from shapely import contains_xy
from shapely.geometry import Point, Polygon, box
from slideloom.extraction import companions
from slideloom.extraction.companions import CompanionMaker
from slideloom.extraction.extract import Extraction
from slideloom.planning.prepared import PreparedSlide
from slideloom_cli.main import main
from slideloom_testing import AnalyticSlide
from slideloom_testing.fixtures import DemoFiles
from slideloom_tfrecord import TFRecordFile

TILES = ("--tile-px", "100", "--tile-um", "100")
MASKS = ("--tile-mask", "roi", "--mask-class", "tumor", "--mask-class", "stroma", "--mask-others", "background")
CONTEXT = ("--context-um", "200", "--context-um", "400:50")
SINKS = (
    "--sink", "tfrecord:format=png", "--sink", "images:format=png", "--sink", "webdataset:format=png",
    "--sink", "hdf5:images=true",
)  # fmt: skip
RING = Polygon(box(10, 10, 90, 90).exterior, [box(30, 30, 70, 70).exterior])


@frozen
class Drawn(sl.Settings[sl.RoiSource]):
    """Regions from a list."""

    name: ClassVar[str] = "drawn"
    items: tuple[Any, ...] = ()
    source: str = "drawn.json"

    def build(self) -> sl.RoiSource:
        return DrawnSource(self)


class DrawnSource(sl.RoiSource):
    def __init__(self, settings: Drawn) -> None:
        self.settings = settings

    def regions(self, info: sl.SlideInfo) -> sl.Regions | None:
        return sl.Regions(items=self.settings.items, source=self.settings.source)


@frozen
class Labelled(sl.Settings[sl.SlideQc]):
    """A QC with a given result."""

    name: ClassVar[str] = "labelled"
    result: Any = None

    def build(self) -> sl.SlideQc:
        return LabelledQc(self)


class LabelledQc(sl.SlideQc):
    def __init__(self, settings: Labelled) -> None:
        self.settings = settings

    def assess(self, slide: sl.Slide, scene: sl.Scene) -> sl.QcResult:
        result: sl.QcResult = self.settings.result
        return result


def regions_of(*shapes: tuple[str | None, Any]) -> tuple[sl.Region, ...]:
    return tuple(sl.Region(f"r{number}", shape, label) for number, (label, shape) in enumerate(shapes))


def masks_of(
    items: Sequence[sl.Region] | None = None, *, mpp: float = 1.0, qc: sl.QcResult | None = None, edge: bool = False,
    source: str = "drawn.json", method: str = "ignore", artifacts: Sequence[str] = (), **options: Any,
) -> np.ndarray:  # fmt: skip
    """The masks of all tiles of 100 um and 50 px of a slide of 250 x 200 pixels."""
    slide = AnalyticSlide(sl.Size(250, 200), mpp=mpp)
    roi = () if items is None else (sl.RoiUse(source=Drawn(tuple(items), source), method=method, artifacts=artifacts),)
    pipeline = sl.Pipeline(
        tiles=sl.Tiling(size_px=50, size_um=100.0, edge_tiles=edge),
        roi=roi,
        qc=() if qc is None else (sl.QcUse(step=Labelled(qc), filter_threshold=1),),
        mask=sl.TileMasks(of="roi" if qc is None else "qc:labelled", **options),
    )
    prepared = PreparedSlide(sl.plan_slide(slide, pipeline))
    prepared.decide()
    maker = CompanionMaker.of(prepared.plan, prepared.record)
    return maker.masks(prepared.record.ledger.tiles)["mask"]


def test_a_pixel_has_the_class_of_the_region_that_holds_its_centre() -> None:
    """A ring with a hole, in pixels of 2 level-0 pixels, against shapely, pixel by pixel."""
    shape = Polygon(
        [(3.1, 11.2), (96.3, 5.4), (71.2, 93.7), (14.6, 60.3)], [[(40.2, 30.4), (60.7, 30.1), (50.3, 55.9)]]
    )
    mask = masks_of(regions_of(("tumor", shape)), classes=["tumor"])[0]
    expected = [[shape.contains(Point(2 * x + 1, 2 * y + 1)) for x in range(50)] for y in range(50)]

    assert np.array_equal(mask, np.array(expected, np.uint8))
    assert 0 < mask.mean() < 1


def test_the_hole_of_a_region_is_background() -> None:
    mask = masks_of(regions_of(("tumor", RING)), classes=["tumor"])[0]
    expected = np.zeros((50, 50), np.uint8)
    expected[5:45, 5:45] = 1
    expected[15:35, 15:35] = 0

    assert np.array_equal(mask, expected)


def test_a_region_over_several_tiles_is_drawn_in_each() -> None:
    masks = masks_of(regions_of(("tumor", box(50, 50, 150, 150))), classes=["tumor"])

    assert [int(mask.sum()) for mask in masks] == [25 * 25] * 4
    assert masks[0][25:, 25:].all()
    assert masks[3][:25, :25].all()


@pytest.mark.parametrize(("on_top", "value"), [("later", 2), ("smaller", 1)])
def test_where_regions_overlap_the_later_or_the_smaller_is_on_top(on_top: str, value: int) -> None:
    items = regions_of(("tumor", box(20, 20, 40, 40)), ("stroma", box(0, 0, 100, 100)))
    mask = masks_of(items, classes=["tumor", "stroma"], on_top=on_top)[0]

    assert mask[15, 15] == value
    assert mask[0, 0] == 2


def test_labels_beyond_the_table_are_refused_or_become_what_the_option_says() -> None:
    items = regions_of(("tumor", box(0, 0, 40, 40)), ("fat", box(60, 60, 90, 90)), (None, box(0, 60, 40, 90)))

    with pytest.raises(sl.SlideError, match=r"region 'r1' has the label 'fat', which is not in mask.classes \(tumor\)"):
        masks_of(items, classes=["tumor"])
    assert set(np.unique(masks_of(items, classes=["tumor"], others="background"))) == {0, 1}
    ignored = masks_of(items, classes=["tumor"], others="ignore")[0]
    assert (ignored[40, 40], ignored[40, 10], ignored[10, 10], ignored[25, 25]) == (255, 255, 1, 0)


def test_without_classes_every_region_is_one_class() -> None:
    items = regions_of(("tumor", box(0, 0, 40, 40)), (None, box(60, 60, 90, 90)))

    assert np.count_nonzero(masks_of(items)[0] == 1) == 20 * 20 + 15 * 15
    assert dict(sl.TileMasks(of="roi").values) == {"background": 0, "region": 1}


def test_regions_that_are_cut_out_as_artifacts_are_background_whatever_is_drawn_there() -> None:
    items = regions_of(("fold", box(20, 20, 40, 40)), ("tumor", box(0, 0, 100, 100)))
    mask = masks_of(items, classes=["tumor"], method="auto", artifacts=["fold"])[0]

    assert (mask[15, 15], mask[0, 0]) == (0, 1)


def test_a_slide_nobody_has_annotated_has_no_mask() -> None:
    with pytest.raises(sl.SlideError, match="no file of regions, so its tiles have no mask"):
        masks_of((), source="")
    assert masks_of(regions_of(("a", RING)), source="").any()  # a source that tells of no file, such as a model
    assert not masks_of((), source="", without="background").any()
    assert not masks_of((), source="empty.geojson").any()


CLASSES = sl.qc_classes(["glass:background", "tissue", "fold:artifact"])


def test_the_label_map_of_a_slide_qc_is_looked_up_at_pixel_centres() -> None:
    labels = np.array([[0, 1, 2, 1, 0], [1, 1, 0, 2, 2]], np.uint8)  # 50 x 100 level-0 pixels each
    result = sl.QcResult.of_labels(labels, CLASSES)
    masks = masks_of(qc=result, classes=["tissue", "fold"], others="background")

    assert masks[0][0, [0, 24, 25, 49]].tolist() == [0, 0, 1, 1]
    assert masks[1][0, [0, 49]].tolist() == [2, 1]
    assert masks[2][49, [0, 49]].tolist() == [1, 1]
    # Beyond the slide, and beyond what the map covers, there is no class.
    assert masks_of(qc=result, classes=["tissue", "fold"], others="background", edge=True)[5][0, 30] == 0


def test_classes_keep_their_values_whatever_the_qc_calls_them() -> None:
    result = sl.QcResult.of_labels(np.full((2, 2), 2, np.uint8), CLASSES)

    assert (masks_of(qc=result, classes=["fold", "tissue"], others="ignore") == 1).all()
    assert (masks_of(qc=result, classes=["tissue"], others="ignore") == 255).all()
    assert (masks_of(qc=result) == 1).all()  # a fold is discarded
    with pytest.raises(sl.ConfigError, match="has no class 'nerve'; it has glass, tissue, fold"):
        masks_of(qc=result, classes=["nerve"])
    with pytest.raises(sl.ConfigError, match=r"its class 'glass' is not in mask\.classes"):
        masks_of(qc=result, classes=["tissue"])


def test_a_mask_of_a_step_that_does_not_run_is_refused_before_the_run() -> None:
    with pytest.raises(sl.ConfigError, match="masks of qc:tissue need that slide QC; there is none"):
        sl.Pipeline(tiles=sl.Tiling(size_px=9, size_um=9.0), mask=sl.TileMasks(of="qc:tissue"))
    with pytest.raises(sl.ConfigError, match="masks of regions need a source of regions"):
        sl.Pipeline(tiles=sl.Tiling(size_px=9, size_um=9.0), mask=sl.TileMasks(of="roi"))


# Whole runs.


@pytest.fixture(scope="module")
def rois(demo_slide: DemoFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo slide's tumor, and stroma over a part of it and beyond, drawn later."""
    folder = tmp_path_factory.mktemp("rois")
    tumor = demo_slide.truth.shape("tissue")
    later = box(600, 300, 1100, 900).difference(box(700, 400, 800, 500))
    regions = sl.Regions(regions_of(("tumor", tumor), ("stroma", later)))
    sl.write_regions_geojson(folder / "demo.geojson", regions)
    return folder


def run(slide: Path, out: Path, *words: object) -> dict[str, Any]:
    assert main([str(word) for word in ("extract", slide, *TILES, "--filter", "none", *words, "--out", out)]) == 0
    (report,) = json.loads((out / "extraction_report.json").read_text())["slides"]
    return report


@pytest.fixture(scope="module")
def out(demo_slide: DemoFiles, rois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("companions")
    run(demo_slide.path, folder, "--roi", rois, *MASKS, *CONTEXT, *SINKS)
    return folder


def written(out: Path) -> list[tuple[int, int]]:
    with (out / "slideloom" / "100px_100um" / "tiles" / "demo.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [(int(row["loc_x"]), int(row["loc_y"])) for row in rows if row["status"] == "written"]


Tile = Mapping[str, np.ndarray]


def from_images(out: Path) -> dict[tuple[int, int], Tile]:
    found: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name in ("", "-mask", "-context_200um", "-context_400um"):
        for path in (out / f"tiles{name}" / "100px_100um" / "demo").iterdir():
            x, y = path.stem.split("-")[1:]
            found.setdefault((int(x), int(y)), {})[name.removeprefix("-")] = np.asarray(Image.open(path))
    return found


def from_webdataset(out: Path) -> dict[tuple[int, int], Tile]:
    import webdataset

    (shard,) = (out / "webdataset").rglob("*.tar")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves its file to the garbage collector
        samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("rgb8"))
        gc.collect()
    assert samples[0]["json"]["mask"]["classes"] == {"background": 0, "tumor": 1, "stroma": 2}
    assert samples[0]["json"]["context_400um"] == {"mpp": 8.0}
    found = {}
    for sample in samples:
        with Image.open(io.BytesIO(_raw(shard, f"{sample['__key__']}.mask.png"))) as mask:
            pictures = {"": sample["png"], "mask": np.asarray(mask)}
        pictures |= {name: sample[f"{name}.png"] for name in ("context_200um", "context_400um")}
        found[sample["json"]["loc_x"], sample["json"]["loc_y"]] = pictures
    return found


def _raw(shard: Path, name: str) -> bytes:
    import tarfile

    with tarfile.open(shard) as tar:
        member = tar.extractfile(name)
        assert member is not None
        return member.read()


def from_hdf5(out: Path) -> dict[tuple[int, int], Tile]:
    (path,) = (out / "hdf5").rglob("*.h5")
    with h5py.File(path) as file:
        assert json.loads(file["mask"].attrs["classes"]) == {"background": 0, "tumor": 1, "stroma": 2}
        assert file["context_400um"].attrs["mpp"] == 8.0
        names = {"": "imgs", **{name: name for name in ("mask", "context_200um", "context_400um")}}
        pictures = {name: file[dataset][:] for name, dataset in names.items()}
        coords = file["coords"][:]
    return {
        (int(x) + 50, int(y) + 50): {name: array[i] for name, array in pictures.items()}
        for i, (x, y) in enumerate(coords)
    }


def from_tensorflow(out: Path) -> dict[tuple[int, int], Tile]:
    tf = pytest.importorskip("tensorflow")
    names = ("mask", "context_200um", "context_400um")
    texts = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image_raw", *names)}
    ints = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("loc_x", "loc_y")}
    found = {}
    for record in tf.data.TFRecordDataset([str(next((out / "tfrecords").rglob("*.tfrecords")))]):
        tile = tf.io.parse_single_example(record, {**texts, **ints})
        pictures = {name: tf.io.decode_image(tile[name]).numpy() for name in names}
        pictures["mask"] = pictures["mask"][..., 0]
        found[int(tile["loc_x"]), int(tile["loc_y"])] = {"": tf.io.decode_image(tile["image_raw"]).numpy(), **pictures}
    return found


READERS = {"images": from_images, "webdataset": from_webdataset, "hdf5": from_hdf5, "tensorflow": from_tensorflow}


@pytest.mark.parametrize("read", READERS.values(), ids=list(READERS))
def test_each_format_holds_the_mask_and_context_of_each_tile(
    read: Any, out: Path, demo_slide: DemoFiles, rois: Path
) -> None:
    tiles = read(out)
    tumor = demo_slide.truth.shape("tissue")
    later = box(600, 300, 1100, 900).difference(box(700, 400, 800, 500))

    assert sorted(tiles) == sorted(written(out))
    with sl.open_slide(demo_slide.path) as slide:
        for (x, y), pictures in list(tiles.items())[::7]:
            columns, rows = np.meshgrid(np.arange(x - 50, x + 50) + 0.5, np.arange(y - 50, y + 50) + 0.5)
            expected = np.where(contains_xy(tumor, columns, rows), 1, 0)
            expected[contains_xy(later, columns, rows)] = 2
            assert np.array_equal(pictures["mask"], expected), (x, y)
            for name, um, px in (("context_200um", 200, 100), ("context_400um", 400, 50)):
                seen = slide.read_at(sl.Box(x - um / 2, y - um / 2, um, um), sl.Size(px, px))
                assert np.array_equal(pictures[name], seen), (name, x, y)


def test_all_formats_hold_the_same_masks(out: Path) -> None:
    first, *others = [read(out) for read in READERS.values()]

    assert {value for tile in first.values() for value in np.unique(tile["mask"])} == {0, 1, 2}
    for tiles in others:
        assert all(np.array_equal(tiles[place]["mask"], tile["mask"]) for place, tile in first.items())


def test_the_table_of_classes_is_a_file_of_the_run(out: Path, demo_slide: DemoFiles, tmp_path: Path) -> None:
    table = Path("slideloom") / "100px_100um" / "mask_classes.json"

    assert json.loads((out / table).read_text()) == {"background": 0, "tumor": 1, "stroma": 2}
    words = ("--qc", "tissue", "--sink", "images", "--max-tiles", 1)
    run(demo_slide.path, tmp_path, *words, "--tile-mask", "qc:tissue")
    assert json.loads((tmp_path / table).read_text()) == {"kept": 0, "discarded": 1}
    report = run(demo_slide.path, tmp_path, *words, "--redo")
    assert not (tmp_path / table).exists()
    assert any(warning.endswith("it is still there: tiles-mask/100px_100um/demo") for warning in report["warnings"])


def test_reports_show_tiles_and_not_what_lies_beside_them(demo_slide: DemoFiles, rois: Path, tmp_path: Path) -> None:
    from slideloom_report.tiles import stored_tiles

    words = ("--roi", rois, *MASKS, *CONTEXT, "--sink", "images:format=png", "--sink", "images:folder=tiles-2")
    run(demo_slide.path, tmp_path, *words)
    report = sl.SlideReport.load(tmp_path / "slideloom" / "100px_100um" / "slides" / "demo.json")
    (place, *_) = written(tmp_path)
    tile = tmp_path / "tiles" / "100px_100um" / "demo" / f"demo-{place[0]}-{place[1]}.png"
    notes: list[str] = []

    assert {output.split("/")[0] for output in report.outputs} >= {"tiles", "tiles-mask", "tiles-2", "tiles-2-mask"}
    (found,) = stored_tiles(tmp_path, report, [place], notes)
    assert np.array_equal(found, np.asarray(Image.open(tile)))
    tile.unlink()
    (tmp_path / "tiles-2" / "100px_100um" / "demo" / f"demo-{place[0]}-{place[1]}.jpg").unlink()
    assert stored_tiles(tmp_path, report, [place], notes) == [None]


def test_readers_of_files_without_companions_read_those_with_them(out: Path) -> None:
    """Our own record reader names the further features; the four others are as they were."""
    (path,) = (out / "tfrecords").rglob("*.tfrecords")
    with TFRecordFile(path) as file:
        record = file[0]

    assert record.slide == "demo"
    assert (record.loc_x, record.loc_y) in written(out)
    assert set(record.beside) == {"mask", "context_200um", "context_400um"}


def test_accounts_and_tiles_are_the_same_with_and_without(
    demo_slide: DemoFiles, rois: Path, out: Path, tmp_path: Path
) -> None:
    report = run(demo_slide.path, tmp_path, "--roi", rois, *SINKS)
    (full,) = json.loads((out / "extraction_report.json").read_text())["slides"]

    for key in ("planned", "written", "rejected", "unreadable", "warnings"):
        assert report[key] == full[key], key
    table = Path("slideloom") / "100px_100um" / "tiles" / "demo.csv"
    assert (tmp_path / table).read_bytes() == (out / table).read_bytes()
    plain = sorted((tmp_path / "tiles").rglob("*.png"))
    assert plain
    for path in plain:
        assert path.read_bytes() == (out / path.relative_to(tmp_path)).read_bytes()


def test_outputs_depend_on_neither_threads_nor_batches(
    demo_slide: DemoFiles, rois: Path, out: Path, tmp_path: Path
) -> None:
    words = ("--roi", rois, *MASKS, *CONTEXT, *SINKS, "--threads", 3, "--batch-tiles", 5)
    run(demo_slide.path, tmp_path, *words)
    made = [path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".png", ".tar", ".tfrecords", ".h5")]

    assert len(made) > 100
    for path in made:
        assert path.read_bytes() == (out / path.relative_to(tmp_path)).read_bytes(), path.name


def test_other_masks_or_context_are_another_run(demo_slide: DemoFiles, rois: Path) -> None:
    def digest(**options: Any) -> str:
        steps: dict[str, Any] = {"tiles": {"size_px": 9, "size_um": 9.0}, "roi": [{"use": "roi-folder", "folder": "x"}]}
        return sl.pipeline_from_table({"slideloom": 1, **steps, **options}, where="here").digest()

    tiles = {"size_px": 9, "size_um": 9.0}
    found = [
        digest(), digest(mask={"of": "roi"}), digest(mask={"of": "roi", "classes": ["a"]}),
        digest(mask={"of": "roi", "classes": ["a"], "on_top": "smaller"}),
        digest(tiles={**tiles, "context": [{"size_um": 20}]}),
        digest(tiles={**tiles, "context": [{"size_um": 20, "size_px": 5}]}),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert digest(mask={}) == digest(tiles={**tiles, "context": []}) == digest()


def test_a_changed_region_makes_the_masks_again_also_where_regions_choose_no_tiles(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    words = ("--roi", folder, "--roi-method", "ignore", "--tile-mask", "roi", "--sink", "images")
    sl.write_regions_geojson(folder / "demo.geojson", sl.Regions(regions_of(("a", box(0, 0, 900, 900)))))
    first = run(demo_slide.path, tmp_path / "out", *words)
    assert run(demo_slide.path, tmp_path / "out", *words)["status"] == "skipped"
    sl.write_regions_geojson(folder / "demo.geojson", sl.Regions(regions_of(("a", box(0, 0, 500, 500)))))
    again = run(demo_slide.path, tmp_path / "out", *words)

    assert again["status"] == first["status"] == "done"
    assert again["written"] == first["written"] == first["planned"]
    masks = from_masks(tmp_path / "out")
    assert masks[450, 450].all()
    assert not masks[550, 550].any()


def from_masks(out: Path) -> dict[tuple[int, int], np.ndarray]:
    paths = (out / "tiles-mask" / "100px_100um" / "demo").iterdir()
    return {
        (int(path.stem.split("-")[1]), int(path.stem.split("-")[2])): np.asarray(Image.open(path)) for path in paths
    }


def test_context_beyond_the_slide_is_its_background(demo_slide: DemoFiles, out: Path) -> None:
    tiles = from_hdf5(out)
    left = min(tiles)
    with sl.open_slide(demo_slide.path) as slide:
        background = slide.info.background
    picture = tiles[left]["context_400um"]
    beyond = max(0, (200 - left[0]) // 8)

    assert beyond > 0, "the leftmost tile's context ends within the slide; move the region"
    assert (picture[:, :beyond] == background).all()


def test_a_context_as_large_as_the_tile_is_the_tile(demo_slide: DemoFiles, tmp_path: Path) -> None:
    words = ("--context-um", "100", "--normalizer", "reinhard-fast", "--sink", "images:format=png", "--max-tiles", 8)
    run(demo_slide.path, tmp_path, "--qc", "tissue", *words)
    paths = sorted((tmp_path / "tiles" / "100px_100um" / "demo").iterdir())

    assert len(paths) == 8
    for path in paths:
        other = tmp_path / "tiles-context_100um" / path.relative_to(tmp_path / "tiles")
        assert path.read_bytes() == other.read_bytes()


def test_a_context_that_cannot_be_normalized_stays_as_it_is_and_counts(demo_slide: DemoFiles, tmp_path: Path) -> None:
    """Macenko finds no stain in the few pixels in the middle of a tile at the margin, which are glass."""
    words = ("--context-um", "10:8", "--normalizer", "macenko", "--sink", "images:format=png")
    report = run(demo_slide.path, tmp_path, "--qc", "tissue", "--filter-threshold", "0.95", *words)
    count = int(report["metrics"].get("context_10um.unnormalized", 0))

    assert count > 0
    assert f"{count} pictures context_10um could not be normalized and are stored as they are" in report["warnings"]


class Counting(AnalyticSlide):
    """Counts how often pixels are asked for, and how many boxes at a time."""

    asked: ClassVar[list[tuple[int, int]]] = []

    def read_each(self, origins: Sequence[sl.Point], level: int, size: sl.Size) -> Any:
        self.asked.append((level, len(origins)))
        return super().read_each(origins, level, size)


def prepared_contexts(slide: AnalyticSlide) -> tuple[CompanionMaker, sl.Tiles]:
    pipeline = sl.Pipeline(tiles=sl.Tiling(size_px=50, size_um=100.0, context=(200, 400, "1600:40")))
    prepared = PreparedSlide(sl.plan_slide(slide, pipeline))
    prepared.decide()
    return CompanionMaker.of(prepared.plan, prepared.record), prepared.record.ledger.tiles


def test_each_context_of_a_batch_is_one_read_from_the_level_that_fits() -> None:
    """At 1 um per pixel and levels of 1, 4, 16: 200 um in 50 px is level 1, 400 um too, 1600 um in 40 px level 2."""
    slide = Counting(sl.Size(1200, 900), mpp=1.0, downsamples=(1, 4, 16))
    maker, tiles = prepared_contexts(slide)
    Counting.asked.clear()
    pictures, faults = maker.contexts(slide, tiles.take(slice(0, 9)), nullcontext())

    assert not any(faults)
    assert Counting.asked == [(1, 9), (1, 9), (2, 9)]
    assert [array.shape for array in pictures.values()] == [(9, 50, 50, 3), (9, 50, 50, 3), (9, 40, 40, 3)]


def test_context_too_large_to_be_read_at_once_is_read_in_parts_with_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slide = AnalyticSlide(sl.Size(1200, 900), mpp=1.0, downsamples=(1, 4, 16))
    maker, tiles = prepared_contexts(slide)
    at_once, _ = maker.contexts(slide, tiles.take(slice(0, 5)), nullcontext())
    monkeypatch.setattr(companions, "MAX_READ_PX", 1)
    in_parts, faults = maker.contexts(slide, tiles.take(slice(0, 5)), nullcontext())

    assert not any(faults)
    assert all(np.array_equal(at_once[name], in_parts[name]) for name in at_once)


@pytest.mark.parametrize(("context", "unreadable"), [((), 1), ((200,), 4)])
def test_a_tile_whose_context_cannot_be_read_is_unreadable(context: tuple[float, ...], unreadable: int) -> None:
    """Tiles of 100 pixels; their context of 200 reaches 50 pixels beyond each side, into the damage for three more."""
    slide = AnalyticSlide(sl.Size(600, 400), mpp=1.0, damaged=[sl.Box(0, 0, 60, 60)])
    pipeline = sl.Pipeline(tiles=sl.Tiling(size_px=100, size_um=100.0, context=context))
    prepared = PreparedSlide(sl.plan_slide(slide, pipeline))
    prepared.decide()
    Extraction(prepared, None).run()
    record = prepared.record

    assert (record.ledger.unreadable, record.ledger.written) == (unreadable, 24 - unreadable)
    (warning,) = [each for each in record.warnings if each.startswith("unreadable tiles")]
    assert warning.endswith(" and 3 more") == bool(context)


def test_a_sink_that_stores_tiles_only_is_refused(demo_slide: DemoFiles, tmp_path: Path) -> None:
    pipeline = sl.Pipeline(
        slides=sl.Slides(include=(str(demo_slide.path),)),
        tiles=sl.Tiling(size_px=100, size_um=100.0, context=(200,)),
        sinks=(Plain(),),
    )
    (report,) = sl.run_pipeline(pipeline, [demo_slide.path], tmp_path).slides

    assert report.status == "failed"
    assert "sink 'plain' stores tiles only, not context_200um" in report.error


@frozen
class Plain(sl.Settings[sl.Sink]):
    """A sink of before there were companions."""

    name: ClassVar[str] = "plain"

    def build(self) -> sl.Sink:
        return PlainSink()


class PlainSink(sl.Sink):
    def open(self, info: sl.SlideInfo, scene: sl.Scene, folder: Path) -> sl.Writer:
        raise AssertionError("not to be opened")

    def encode(self, batch: sl.TileBatch) -> Sequence[Any]:
        raise AssertionError("not to be called")


@pytest.mark.parametrize("text", ["0", "nan", "x", "20:0", "20:1.5", "20:x"])
def test_a_wrong_context_is_told_by_its_flag(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", "x.svs", *TILES, "--context-um", text, "--out", str(tmp_path)]

    assert main(words) == 1
    assert "--context-um must be" in capsys.readouterr().err
