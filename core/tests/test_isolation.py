"""A plugin that misbehaves is named with its step and slide; other slides, plugins and files are unharmed."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slideloom.pipeline.file import pipeline_from_table
from slideloom.running.find_slides import find_slides
from slideloom.running.run import run_pipeline

Install = Callable[..., None]
WriteSlide = Callable[..., Path]

# Each step does what its option `how` says on slide "a", and its work on every other.
STEPS = '''
import ctypes
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
from slideloom import (
    Box, Normalized, Normalizer, Placed, Placement, QcResult, Region, Regions, RoiSource, Settings, Sink, Size, SlideQc,
    TileFilter, Tiles, Verdict, Writer, hookimpl, option,
)
from slideloom_testing.slides import Analytic


def made(kind, cls):
    """A settings class that builds `cls`."""

    @attrs.frozen
    class Odd(Settings[kind]):
        "Misbehaves."
        name: ClassVar[str] = "odd"
        how: str = option("", help="how")

        def build(self):
            return cls(self.how)

    return Odd


class Step:
    def __init__(self, how):
        self.how = how


class OddQc(Step, SlideQc):
    def assess(self, slide, scene):
        mask = np.zeros((10, 10), bool)
        if slide.info.name == "a":
            if self.how == "dtype":
                mask = mask.astype(int)
            if self.how == "kind":
                return QcResult(mask=mask, kind="dirt")
            if self.how == "metric":
                return QcResult(mask=mask, kind="blur", metrics={"burden": "much"})
            if self.how in ("nan", "inf"):
                return QcResult(mask=mask, kind="blur", metrics={"burden": float(self.how)})
            if self.how == "huge":
                return QcResult(mask=mask, kind="blur", metrics={"burden": 10**400})
            if self.how == "complex":
                return QcResult(mask=mask, kind="blur", metrics={"burden": np.complex64(1)})
            if self.how == "unnamed":
                return QcResult(mask=mask, kind="blur", metrics={3: 1.0})
            if self.how == "note":
                return QcResult(mask=mask, kind="blur", notes="one sentence")
            if self.how == "extent":
                return QcResult(mask=mask, kind="blur", extent=Box(0, 0, 10, 0))
            if self.how == "nowhere":
                return QcResult(mask=mask, kind="blur", extent=Box(float("nan"), 0, 10, 10))
            if self.how == "closes":
                slide.close()
            if self.how == "info":
                slide.info = None
            if self.how == "exits":
                raise SystemExit(0)
            if self.how == "stops":
                raise GeneratorExit
        return QcResult(mask=mask, kind="artifact")


class OddRoi(Step, RoiSource):
    def regions(self, info):
        return [1, 2] if info.name == "a" else None


class OddNormalizer(Step, Normalizer):
    def for_slide(self, slide, scene, discard):
        return None if self.how == "none" and slide.info.name == "a" else self

    def apply(self, batch):
        rgb, ok, fallback = batch.rgb, np.ones(len(batch), bool), None
        if batch.slide == "a":
            if self.how == "dtype":
                rgb = rgb / 255
            if self.how == "shape":
                rgb = rgb[:, ::2]
            if self.how == "ok":
                ok = [True] * len(batch)
            if self.how == "fallback":
                fallback = np.ones(len(batch) + 1, bool)
            if self.how == "writes":
                rgb[:] = 0
            if self.how == "exits":
                raise SystemExit(3)
        return Normalized(rgb=rgb, ok=ok, fallback=fallback)


class OddFilter(Step, TileFilter):
    def check(self, batch):
        score = np.zeros(len(batch), np.float32)
        if batch.slide == "a" and self.how == "late" and (batch.tiles.index >= 100).any():
            raise RuntimeError("tile 100 is too much")
        if batch.slide == "a":
            if self.how == "writes":
                batch.rgb[:] = 0
            if self.how == "unlocks":
                batch.rgb.flags.writeable = True
            if self.how == "numbers":
                batch.tiles.index[:] = 0
            if self.how == "owners":
                batch.tiles.roi[0] = 3
            if self.how == "places":
                batch.tiles.x.flags.writeable = True
            if self.how == "exits":
                raise SystemExit
            if self.how == "words":
                return Verdict(keep=score == 0, score=np.array(["x"] * len(batch), object))
            if self.how == "memory":  # what no lock stops
                ctypes.memset(batch.tiles.index.ctypes.data, 0, 8 * len(batch))
        return Verdict(keep=np.ones(len(batch), bool), score=score)


class OddPlacement(Step, Placement):
    def place(self, slide, scene):
        x = np.arange(4) * 150
        index = np.arange(4)
        if slide.info.name == "a":
            if self.how == "twice":
                index = index // 2
            if self.how == "columns":
                return Tiles(index, x, x[:2], x, x, index, footprint=scene.geometry.footprint)
            if self.how == "list":
                return x.tolist()
            if self.how == "half":
                x = x + 0.5
            if self.how == "far":
                x = x - 2**50
            if self.how == "empty":
                return Tiles(index, x, x, index, index * 0, index * 0 - 1, footprint=Size(0, 5))
            if self.how == "exits":
                raise SystemExit("no places")
        if self.how.startswith("placed"):
            tiles = Tiles(index, x, x, index, index * 0, index * 0 - 1, footprint=scene.geometry.footprint)
            number = float("nan") if self.how == "placed nan" and slide.info.name == "a" else 3
            return Placed(tiles, ("3 cells are off the slide",), {"off_slide": number})
        return Tiles(index, x, x, index, index * 0, index * 0 - 1, footprint=scene.geometry.footprint)


class OddSink(Step, Sink):
    def open(self, info, scene, folder):
        if info.name == "a" and self.how == "open":
            return folder / "a.odd"
        return OddWriter(folder / f"{info.name}.odd", self.how if info.name == "a" else "")

    def encode(self, batch):
        return [b""] * (len(batch) - (batch.slide == "a" and self.how == "encode"))


class OddWriter(Writer):
    def __init__(self, path, how):
        self.path, self.how, self.partial = path, how, path.with_suffix(".partial")
        self.partial.touch()

    def write(self, tiles, encoded):
        if self.how == "write":
            raise KeyError("lost")

    def commit(self):
        if self.how == "commit":
            raise RuntimeError("no commit today")
        self.partial.rename(self.path)
        return [Path("/elsewhere")] if self.how == "outside" else [self.path]

    def abort(self):
        self.partial.unlink(missing_ok=True)
        if self.how == "commit":
            raise RuntimeError("nor abort")


@hookimpl
def slideloom_slide_qc():
    return [made(SlideQc, OddQc)]

@hookimpl
def slideloom_roi_sources():
    return [made(RoiSource, OddRoi)]

@hookimpl
def slideloom_normalizers():
    return [made(Normalizer, OddNormalizer)]

@hookimpl
def slideloom_tile_filters():
    return [made(TileFilter, OddFilter)]

@hookimpl
def slideloom_placements():
    return [made(Placement, OddPlacement)]

@hookimpl
def slideloom_sinks():
    return [made(Sink, OddSink)]
'''

READER = """
from typing import ClassVar
import attrs, numpy as np
from slideloom import Reader, Settings, hookimpl
from slideloom_testing import AnalyticReader, AnalyticSlide, PixelsSlide


@attrs.frozen
class Odd(Settings[Reader]):
    "Misbehaves."
    name: ClassVar[str] = "odd"
    rank: ClassVar[int] = 1
    opens_folders: ClassVar[bool] = True

    def build(self):
        return OddReader()


class OddReader(AnalyticReader):
    def recognises(self, path):
        how = path.stem
        if how == "asked":
            raise RuntimeError("do not ask me")
        return how in ("thing", "blank", "shape", "dtype", "raises", "list")

    def open(self, path):
        if path.stem == "thing":
            return 42
        slide = OddSlide(np.full((900, 900, 3), 128, np.uint8), path=path, mpp=0.5)
        slide.how = path.stem
        if path.stem == "blank":
            slide.info = None
        return slide


class OddSlide(PixelsSlide):
    def read(self, origin, level, size):
        rgb = super().read(origin, level, size)
        if self.how == "shape":
            return rgb[:-1]
        if self.how == "dtype":
            return rgb.astype(float)
        if self.how == "raises":
            raise ZeroDivisionError("nothing to divide")
        return rgb

    def read_many(self, origins, level, size):
        return super().read_many(origins, level, size)[self.how == "list" :]


@hookimpl
def slideloom_readers():
    return [Odd]
"""


def pipeline(**tables: Any) -> Any:
    tables.setdefault("sink", [{"use": "raw"}])
    tables.setdefault("run", {"jobs": 1, "threads": 2})
    return pipeline_from_table(
        {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], **tables}, where="test"
    )


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("qc", "dtype", r"wanted a mask \(h, w\) bool, got \(10, 10\) int"),
        ("qc", "kind", "kind must be one of background, blur, artifact, not 'dirt'"),
        ("qc", "metric", "metric 'burden' must be a finite number, not 'much'"),
        ("qc", "nan", "metric 'burden' must be a finite number, not nan"),
        ("qc", "inf", "metric 'burden' must be a finite number, not inf"),
        ("qc", "huge", "metric 'burden' must be a finite number, not 1000"),
        ("qc", "complex", "metric 'burden' must be a finite number, not .*1"),
        ("qc", "unnamed", "the name of a metric must be text, not 3"),
        ("qc", "note", "notes must be a tuple of sentences, not 'one sentence'"),
        ("qc", "extent", r"extent must be a box with an area, not Box\(x=0, y=0, width=10, height=0\)"),
        ("qc", "nowhere", r"extent must be a box with an area, not Box\(x=nan,"),
        ("qc", "closes", "it closed the slide"),
        ("qc", "info", "it changed the facts of the slide"),
        ("qc", "exits", "SystemExit: 0"),
        ("qc", "stops", "GeneratorExit"),
        ("roi", "list", "wanted Regions or None, got list"),
        ("normalizer", "none", "wanted a Normalizer, got NoneType"),
        ("normalizer", "dtype", r"wanted Normalized\(rgb=.* uint8\), got .* float64"),
        ("normalizer", "shape", r"wanted Normalized\(rgb=.*\(\d+, 60, 60, 3\) uint8"),
        ("normalizer", "ok", r"ok \(\d+,\) bool"),
        ("normalizer", "fallback", r"fallback \(\d+,\) bool"),
        ("normalizer", "writes", "read-only"),
        ("normalizer", "exits", "SystemExit: 3"),
        ("filter", "late", "RuntimeError: tile 100 is too much"),
        ("filter", "writes", "ValueError: assignment destination is read-only"),
        ("filter", "unlocks", "ValueError: cannot set WRITEABLE flag to True"),
        ("filter", "numbers", "ValueError: assignment destination is read-only"),
        ("filter", "owners", "ValueError: assignment destination is read-only"),
        ("filter", "places", "ValueError: cannot set WRITEABLE flag to True"),
        ("filter", "exits", "SystemExit"),
        ("filter", "words", r"wanted a score per tile \(\d+,\) float32, got \(\d+,\) object"),
        ("placement", "twice", "`index` must count from 0 without gaps or repetition"),
        ("placement", "columns", r"columns of \[2, 4\] rows, not 4"),
        ("placement", "list", "wanted Tiles, got list"),
        ("placement", "placed nan", "metric 'off_slide' must be a finite number, not nan"),
        ("placement", "half", "ValueError: numbers and places of tiles are whole numbers, not 0.5"),
        ("placement", "far", r"tile 0 is at \(-1125899906842624, .*\), which is on no slide"),
        ("placement", "empty", r"must cover at least one level-0 pixel, not Size\(width=0, height=5\)"),
        ("placement", "exits", "SystemExit: no places"),
        ("sink", "open", "wanted a Writer, got"),
        ("sink", "encode", r"wanted \d+ encoded tiles"),
        ("sink", "write", "KeyError: 'lost'"),
        ("sink", "commit", "RuntimeError: no commit today"),
        ("sink", "outside", "elsewhere"),
    ],
)
def test_a_step_that_misbehaves_is_named_with_the_slide_and_harms_no_other(
    raw: Install, analytic: WriteSlide, tmp_path: Path, kind: str, how: str, said: str
) -> None:
    raw("odd_plugin", STEPS)
    step = {"use": "odd", "how": how}
    tables: dict[str, Any] = {kind: step if kind in ("normalizer", "placement") else [step]}

    report = run_pipeline(pipeline(**tables), [analytic("a"), analytic("b")], tmp_path / "out")

    bad, good = report.slides
    assert (bad.status, good.status) == ("failed", "done")
    assert re.search(said, bad.error), bad.error
    assert f"{kind} 'odd'" in bad.error
    assert "slide a" in bad.error
    assert "b" in {path.stem for path in (tmp_path / "out").rglob("*") if path.suffix in (".raw", ".odd")}
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert not (tmp_path / "out" / "raw" / "a.raw").exists()


def test_what_a_placement_leaves_out_is_in_the_slides_report(
    raw: Install, analytic: WriteSlide, tmp_path: Path
) -> None:
    raw("odd_plugin", STEPS)

    (report,) = run_pipeline(pipeline(placement={"use": "odd", "how": "placed"}), [analytic("a")], tmp_path).slides

    assert report.planned == 4
    assert report.metrics["odd.off_slide"] == 3
    assert "odd: 3 cells are off the slide" in report.warnings


def test_tiles_that_a_step_loses_behind_every_lock_fail_the_slide(
    raw: Install, analytic: WriteSlide, tmp_path: Path
) -> None:
    raw("odd_plugin", STEPS)
    chosen = pipeline(filter=[{"use": "odd", "how": "memory"}])

    report = run_pipeline(chosen, [analytic("a"), analytic("b")], tmp_path / "out")

    bad, good = report.slides
    assert (bad.status, good.status) == ("failed", "done")
    assert good.is_accounted
    # 2200 x 1800 pixels hold 14 columns and 12 rows of tiles of 75 um, which are 150 pixels wide.
    assert re.search(r"a: of 168 planned tiles 167 were lost on the way, and sinks got 168 where 1 are acc", bad.error)
    assert [path.name for path in (tmp_path / "out" / "raw").iterdir()] == ["b.raw"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("thing", "opened thing.json as int, not as a slideloom.Slide"),
        ("blank", "opened blank.json as OddSlide, not as a slideloom.Slide with info"),
        ("shape", r"reader '\w+' broke its contract on slide shape: wanted \(\d+, \d+, 3\) uint8, got \(\d+, \d+, 3\)"),
        ("dtype", r"reader '\w+' broke its contract on slide dtype: wanted .* uint8, got .* float64"),
        ("raises", r"reader '\w+' failed on slide raises: ZeroDivisionError: nothing to divide"),
        ("list", r"reader '\w+' broke its contract on slide list: wanted \d+ images, got \d+"),
    ],
)
def test_a_reader_that_misbehaves_is_named_with_the_slide_and_harms_no_other(
    raw: Install, analytic: WriteSlide, tmp_path: Path, how: str, said: str
) -> None:
    raw("odd_reader", READER)

    report = run_pipeline(pipeline(), [analytic(how), analytic("good")], tmp_path / "out")

    bad, good = report.slides
    assert (bad.status, good.status) == ("failed", "done")
    assert re.search(said, bad.error), bad.error


def test_a_reader_that_raises_when_asked_is_passed_over(
    raw: Install, analytic: WriteSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw("odd_reader", READER)
    slide = analytic("asked")

    with caplog.at_level(logging.WARNING):
        (report,) = run_pipeline(pipeline(), [slide], tmp_path / "out").slides

    assert (report.status, report.reader) == ("done", "analytic")
    assert "reader 'odd' of odd_reader 1.0 failed on slide asked.json: RuntimeError: do not ask me" in caplog.text


def test_a_reader_that_raises_for_a_folder_does_not_hide_the_slides_in_it(raw: Install, tmp_path: Path) -> None:
    raw("odd_reader", READER)
    folder = tmp_path / "asked"
    folder.mkdir()
    (folder / "a.svs").touch()

    assert find_slides([str(folder)]) == [folder / "a.svs"]


def test_folders_that_are_slides_are_found_in_a_folder(raw: Install, tmp_path: Path) -> None:
    raw("odd_reader", READER)
    for name in ("thing", "notes"):
        (tmp_path / "archive" / name).mkdir(parents=True)

    assert find_slides([str(tmp_path / "archive")]) == [tmp_path / "archive" / "thing"]
