"""Each contract passes a sound step and fails a broken one, at the test that names the fault."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import Polygon
from slideloom import (
    Box,
    Draft,
    Normalized,
    Normalizer,
    Placed,
    Placement,
    Point,
    QcClass,
    QcResult,
    Reader,
    Region,
    Regions,
    Rgb,
    RoiSource,
    Settings,
    Sink,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    SlideQc,
    TileBatch,
    TileFilter,
    Tiles,
    Verdict,
    Writer,
    option,
    path_of_name,
)
from slideloom_testing import Analytic, AnalyticReader, info_of, write_analytic
from slideloom_testing.contracts import (
    NormalizerContract,
    PlacementContract,
    ReaderContract,
    RoiSourceContract,
    SettingsContract,
    SinkContract,
    SlideQcContract,
    TileFilterContract,
)
from slideloom_testing.contracts.base import heavy_imports, public_tests


def failures(
    contract: type[SettingsContract], folder: Path, *, only: Collection[str] | None = None, **attributes: Any
) -> set[str]:
    """Which tests of a contract (or of some of them) fail when run as pytest would run them."""
    failed = set()
    for number, name in enumerate(only or public_tests(contract)):
        method = getattr(contract, name)
        marks = [mark for mark in getattr(method, "pytestmark", []) if mark.name == "parametrize"]
        choices = [mark.args[1] for mark in marks]
        for case, values in enumerate(itertools.product(*choices)):
            arguments: dict[str, Any] = dict(zip([mark.args[0] for mark in marks], values, strict=True))
            if "tmp_path" in inspect.signature(method).parameters:
                arguments["tmp_path"] = folder / f"{number}-{case}"
                arguments["tmp_path"].mkdir()
            instance = contract()
            for key, value in attributes.items():
                setattr(instance, key, value)
            try:
                method(instance, **arguments)
            except (pytest.skip.Exception, KeyboardInterrupt):
                pass
            except BaseException:
                failed.add(name)
    return failed


def settings_of(step: type, help_text: str = "A step for this test.") -> Settings[Any]:
    """Settings that build `step`; found by pickle under their own name in this module."""
    name = f"{step.__name__}Settings"
    if name not in globals():
        body = {
            "__doc__": help_text,
            "__module__": __name__,
            "__qualname__": name,
            "name": step.__name__.lower(),
            "build": lambda self: step(),
        }
        globals()[name] = attrs.frozen(type(name, (Settings,), body))
    return globals()[name]()


LIGHT = "slideloom_testing.slides"  # an importable module: this test file is not one


class FilterCase(TileFilterContract):
    entry_module = LIGHT


class NormalizerCase(NormalizerContract):
    entry_module = LIGHT


class ReaderCase(ReaderContract):
    entry_module = LIGHT


class RoiCase(RoiSourceContract):
    entry_module = LIGHT


class QcCase(SlideQcContract):
    entry_module = LIGHT


class PlacementCase(PlacementContract):
    entry_module = LIGHT


class SinkCase(SinkContract):
    entry_module = LIGHT


class TestAnalyticReader(ReaderContract):
    """The contract as a plugin's author uses it."""

    settings = Analytic()

    @pytest.fixture(autouse=True)
    def a_slide(self, tmp_path: Path) -> None:
        self.slide_path = write_analytic(
            tmp_path / "known.json", Size(1200, 900), downsamples=(1, 4.0003, 16), bounds=Box(7, 9, 1100, 850)
        )


# --- settings ---


@attrs.frozen
class Sound(Settings[object]):
    """Does nothing."""

    name: ClassVar[str] = "sound"
    level: int = option(3, help="a number")
    folder: Path = option(Path("here"), help="a folder")

    def build(self) -> object:
        return object()


@attrs.frozen
class Unhashable(Settings[object]):
    """Holds a list."""

    name: ClassVar[str] = "unhashable"
    levels: list = option([1, 2], help="numbers")

    def build(self) -> object:
        return object()


@attrs.frozen
class Undocumented(Settings[object]):
    name: ClassVar[str] = "Not_Kebab"
    level: int = attrs.field(default=3)

    def build(self) -> object:
        return object()


class Plain(Settings[object]):
    """Not decorated."""

    name: ClassVar[str] = "plain"

    def build(self) -> object:
        return object()


@attrs.define(frozen=False, unsafe_hash=True)
class Unpicklable(Settings[object]):
    """Holds a function."""

    name: ClassVar[str] = "unpicklable"
    function: Any = option(lambda: 3, help="a function")

    def build(self) -> object:
        return object()


class SettingsCase(SettingsContract):
    entry_module = LIGHT


def test_sound_settings_pass(tmp_path: Path) -> None:
    assert failures(SettingsCase, tmp_path, settings=Sound()) == set()


@pytest.mark.parametrize(
    ("settings", "caught"),
    [
        (Unhashable(), {"test_settings_are_hashable_and_comparable"}),
        (
            Undocumented(),
            {
                "test_every_option_has_help_and_is_keyword_only",
                "test_the_class_says_what_it_does",
                "test_the_name_is_lower_case_with_hyphens",
            },
        ),
        (Plain(), {"test_settings_are_a_frozen_attrs_class"}),
        (Unpicklable(), {"test_settings_survive_pickling", "test_settings_survive_the_pipeline_file"}),
    ],
)
def test_broken_settings_are_caught(tmp_path: Path, settings: Settings[Any], caught: set[str]) -> None:
    assert failures(SettingsCase, tmp_path, only=sorted(caught), settings=settings) == caught


def test_a_step_of_another_kind_is_caught(tmp_path: Path) -> None:
    caught = "test_build_makes_a_step_of_its_kind"
    assert failures(FilterCase, tmp_path, only=[caught], settings=Sound()) == {caught}


def test_heavy_imports_at_start_up_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "pandas.py").write_text("")
    (tmp_path / "heavy_at_once.py").write_text("import pandas")
    (tmp_path / "heavy_in_hook.py").write_text("def slideloom_readers():\n    import pandas\n    return []")
    (tmp_path / "heavy_when_used.py").write_text("def slideloom_run_done(report, out):\n    import pandas")

    assert heavy_imports(("heavy_at_once",)) == ["pandas"]
    assert heavy_imports(("heavy_in_hook",)) == ["pandas"]
    assert heavy_imports(("heavy_when_used",)) == []


def test_a_module_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no_such_module_anywhere"):
        heavy_imports(("no_such_module_anywhere",))


# --- filters ---


class Bright(TileFilter):
    """A sound filter: mean brightness of each tile."""

    def check(self, batch: TileBatch) -> Verdict:
        score = batch.rgb.mean(axis=(1, 2, 3), dtype=np.float64)
        return Verdict(keep=score < 200, score=score.astype(np.float32))


class BatchMean(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        score = batch.rgb.mean(axis=(1, 2, 3), dtype=np.float64)
        return Verdict(keep=score < score.mean(), score=score.astype(np.float32))


class Writes(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        batch.rgb[0, 0, 0, 0] = 0
        return super().check(batch)


class Unlocks(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        verdict = super().check(batch)
        batch.rgb.flags.writeable = True
        batch.rgb[:, 0] = 0
        return verdict


class Remembers(Bright):
    def __init__(self) -> None:
        self.seen = 0

    def check(self, batch: TileBatch) -> Verdict:
        verdict = super().check(batch)
        self.seen += len(batch)
        return Verdict(keep=verdict.keep, score=verdict.score + np.float32(self.seen))


class ByPlace(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        verdict = super().check(batch)
        return Verdict(keep=verdict.keep & (np.arange(len(batch)) < 5), score=verdict.score)


class WrongType(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        verdict = super().check(batch)
        return Verdict(keep=verdict.keep.astype(np.uint8), score=verdict.score)


class Shorter(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        verdict = super().check(batch)
        return Verdict(keep=verdict.keep[:1], score=verdict.score[:1])


class Divides(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        score = np.full(len(batch), np.nan, np.float32)
        return Verdict(keep=score > 0, score=score)


class Dice(Bright):
    def check(self, batch: TileBatch) -> Verdict:
        return Verdict(keep=np.random.rand(len(batch)) > 0.5, score=np.zeros(len(batch), np.float32))


class Contiguous(Bright):
    """Reads the buffer from its start, as native code does that never looks at strides."""

    def check(self, batch: TileBatch) -> Verdict:
        base = batch.rgb if batch.rgb.base is None else batch.rgb.base
        score = base.reshape(len(batch), -1).mean(axis=1, dtype=np.float64)
        return Verdict(keep=score < 200, score=score.astype(np.float32))


class PromisesMemory(Bright):
    """Looks at a tile again when it is asked about another, though its memory may have others by then."""

    keeps_pixels = False

    def __init__(self) -> None:
        self.first: Rgb | None = None

    def check(self, batch: TileBatch) -> Verdict:
        self.first = batch.rgb[0] if self.first is None else self.first
        verdict = super().check(batch)
        return Verdict(keep=verdict.keep, score=verdict.score + np.float32(self.first[0, 0, 0]))


def test_a_sound_filter_passes(tmp_path: Path) -> None:
    assert failures(FilterCase, tmp_path, settings=settings_of(Bright)) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (BatchMean, "test_the_answer_does_not_depend_on_batch_size"),
        (ByPlace, "test_the_answer_does_not_depend_on_order"),
        (Writes, "test_the_input_is_left_alone"),
        (Unlocks, "test_the_input_is_left_alone"),
        (Remembers, "test_the_answer_does_not_depend_on_what_came_before"),
        (WrongType, "test_the_verdict_has_one_bool_and_one_score_per_tile"),
        (Shorter, "test_the_verdict_has_one_bool_and_one_score_per_tile"),
        (Divides, "test_the_verdict_has_one_bool_and_one_score_per_tile"),
        (Dice, "test_global_randomness_is_not_used"),
        (Dice, "test_built_twice_it_answers_the_same"),
        (Contiguous, "test_a_view_is_as_good_as_a_copy"),
        (PromisesMemory, "test_memory_of_pixels_may_be_used_again"),
    ],
)
def test_a_broken_filter_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(FilterCase, tmp_path, only=[caught], settings=settings_of(step)) == {caught}


# --- normalizers ---


class Invert(Normalizer):
    """A sound normalizer: 255 minus the pixel; a tile of one colour is not normalized."""

    def apply(self, batch: TileBatch) -> Normalized:
        ok = batch.rgb.reshape(len(batch), -1).std(axis=1) > 0
        return Normalized(rgb=255 - batch.rgb, ok=ok)


class InPlace(Invert):
    def apply(self, batch: TileBatch) -> Normalized:
        np.subtract(255, batch.rgb, out=batch.rgb)
        return Normalized(rgb=batch.rgb, ok=np.ones(len(batch), np.bool_))


class Floats(Invert):
    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb / 255, ok=np.ones(len(batch), np.bool_))


class OverBatch(Invert):
    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb - batch.rgb.min(), ok=np.ones(len(batch), np.bool_))


class Refuses(Invert):
    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb, ok=np.zeros(len(batch), np.bool_))


class PromisesMemoryToo(Invert):
    keeps_pixels = False

    def __init__(self) -> None:
        self.first: Rgb | None = None

    def apply(self, batch: TileBatch) -> Normalized:
        self.first = batch.rgb[0] if self.first is None else self.first
        return Normalized(rgb=batch.rgb // 2 + self.first // 2, ok=np.ones(len(batch), np.bool_))


class KeepsSlide(Invert):
    offset = 0

    def for_slide(self, slide: Slide, scene: Any, discard: Any) -> Normalizer:
        self.offset = 9
        return self

    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb // 2 + np.uint8(self.offset), ok=np.ones(len(batch), np.bool_))


class ForgetsToReturn(Invert):
    def for_slide(self, slide: Slide, scene: Any, discard: Any) -> Normalizer:
        return None  # type: ignore[return-value]


def test_a_sound_normalizer_passes(tmp_path: Path) -> None:
    assert failures(NormalizerCase, tmp_path, settings=settings_of(Invert)) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (InPlace, "test_the_input_is_left_alone"),
        (Floats, "test_the_answer_is_tiles_of_the_same_shape_and_a_bool_each"),
        (OverBatch, "test_the_answer_does_not_depend_on_batch_size"),
        (Refuses, "test_a_stained_tile_can_be_normalized"),
        (PromisesMemoryToo, "test_memory_of_pixels_may_be_used_again"),
        (KeepsSlide, "test_preparing_for_a_slide_leaves_the_step_as_it_was"),
        (ForgetsToReturn, "test_a_slide_can_be_prepared_for"),
    ],
)
def test_a_broken_normalizer_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(NormalizerCase, tmp_path, only=[caught], settings=settings_of(step)) == {caught}


# --- readers ---


class Wrapped(Slide):
    """A slide that passes another one on; subclasses spoil it."""

    def __init__(self, slide: Slide) -> None:
        self.inner = slide
        self.info = slide.info

    def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
        return self.inner.read(origin, level, size)


class Shifted(Wrapped):
    """Puts the origin on even pixels, as sub-sampled colour tempts one to."""

    def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
        return self.inner.read(Point(origin.x // 2 * 2, origin.y), level, size)


class BlackOutside(Wrapped):
    def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
        rgb = self.inner.read(origin, level, size).copy()
        rgb[(rgb == 255).all(axis=-1)] = 0
        return rgb


class Clipped(Wrapped):
    def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
        limit = self.info.levels[level].size
        return self.inner.read(origin, level, size)[: limit.height - origin.y, : limit.width - origin.x]


class Profiled(Wrapped):
    def icc_profile(self) -> bytes | None:
        return b""  # where None is meant


class LevelZeroOrigin(Wrapped):
    def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
        return self.inner.read(Point(origin.x + 40 * level, origin.y), level, size)


class SortsMany(Wrapped):
    def read_many(self, origins: Sequence[Point], level: int, size: Size) -> list[Any]:
        return super().read_many(sorted(origins, key=lambda point: (point.y, point.x)), level, size)


def reader_that_opens(spoilt: Callable[[Slide], Slide]) -> type[AnalyticReader]:
    class Spoils(AnalyticReader):
        def open(self, path: Path) -> Slide:
            return spoilt(super().open(path))

    Spoils.__name__ = f"Reader{spoilt.__name__}"
    return Spoils


class RecognisesAll(AnalyticReader):
    def recognises(self, path: Path) -> bool:
        return path.suffix == ".json"


class Refuses(AnalyticReader):
    def refusal(self, path: Path) -> str | None:
        return f"it has {len(path.read_bytes())} bytes"  # which a missing file has not


class Crashes(AnalyticReader):
    def open(self, path: Path) -> Slide:
        try:
            return super().open(path)
        except SlideError as error:
            raise ValueError("JSON") from error


def test_a_reader_with_a_slide_not_thread_safe_passes(tmp_path: Path) -> None:
    path = write_analytic(tmp_path / "known.json", Size(900, 700), downsamples=(1, 4), thread_safe=False)

    assert failures(ReaderCase, tmp_path, settings=Analytic(), slide_path=path) == set()


@pytest.mark.parametrize(
    ("reader", "caught"),
    [
        (reader_that_opens(Shifted), "test_a_part_equals_the_crop_of_a_larger_read"),
        (reader_that_opens(BlackOutside), "test_outside_the_slide_is_background"),
        (reader_that_opens(Clipped), "test_outside_the_slide_is_background"),
        (reader_that_opens(LevelZeroOrigin), "test_levels_show_the_same_picture"),
        (reader_that_opens(SortsMany), "test_many_places_at_once_are_as_good_as_one_by_one"),
        (RecognisesAll, "test_another_file_with_the_same_extension_is_not_recognised"),
        (Crashes, "test_a_truncated_copy_is_a_slide_error_that_names_it"),
        (Crashes, "test_a_missing_file_is_a_slide_error_that_names_it"),
        (Refuses, "test_why_a_file_is_not_recognised_is_text_or_unknown"),
        (reader_that_opens(Profiled), "test_an_icc_profile_is_bytes_or_none"),
    ],
)
def test_a_broken_reader_is_caught(tmp_path: Path, reader: type[Reader], caught: str) -> None:
    path = write_analytic(tmp_path / "known.json", Size(900, 700), downsamples=(1, 4), wavelength_px=200)

    assert failures(ReaderCase, tmp_path, only=[caught], settings=settings_of(reader), slide_path=path) == {caught}


def test_a_slide_that_wrongly_claims_thread_safety_is_caught(tmp_path: Path) -> None:
    class Counts(Wrapped):
        """Moves a shared file position, as a naive reader does."""

        turn = 0

        def read(self, origin: Point, level: int, size: Size) -> np.ndarray:
            self.turn += 1
            mine = self.turn
            rgb = self.inner.read(origin, level, Size(size.width, size.height)).copy()
            sum(range(20000))  # long enough for the interpreter to switch threads
            return rgb if mine == self.turn else np.zeros_like(rgb)

    path = write_analytic(tmp_path / "known.json", Size(2000, 1700))

    caught = "test_threads_read_the_same_pixels"
    settings = settings_of(reader_that_opens(Counts))
    assert failures(ReaderCase, tmp_path, only=[caught], settings=settings, slide_path=path) == {caught}


# --- regions ---


class OneSquare(RoiSource):
    """A sound source: one square for the slide called "known"."""

    def regions(self, info: SlideInfo) -> Regions | None:
        shape = Polygon([(0, 0), (90, 0), (90, 90), (0, 90)])
        return Regions(items=(Region("ROI_0", shape, "tumor"),)) if info.name == "known" else None


class ForAll(OneSquare):
    def regions(self, info: SlideInfo) -> Regions | None:
        return super().regions(info_of("known"))


class EmptyForUnknown(OneSquare):
    def regions(self, info: SlideInfo) -> Regions | None:
        return super().regions(info) or Regions()


class Bowtie(OneSquare):
    def regions(self, info: SlideInfo) -> Regions | None:
        bowtie = Polygon([(0, 0), (90, 90), (90, 0), (0, 90)])
        return Regions(items=(Region("ROI_0", bowtie),)) if info.name == "known" else None


class SameNames(OneSquare):
    def regions(self, info: SlideInfo) -> Regions | None:
        found = super().regions(info)
        return found and Regions(items=found.items * 2)


class Shuffles(OneSquare):
    def regions(self, info: SlideInfo) -> Regions | None:
        found = super().regions(info)
        if found is None:
            return None
        names = random.SystemRandom().sample([f"ROI_{i}" for i in range(40)], 40)
        return Regions(items=tuple(attrs.evolve(found.items[0], name=name) for name in names))


def test_a_sound_roi_source_passes(tmp_path: Path) -> None:
    assert failures(RoiCase, tmp_path, settings=settings_of(OneSquare), slide_info=info_of("known")) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (ForAll, "test_an_unknown_slide_has_none"),
        (EmptyForUnknown, "test_an_unknown_slide_has_none"),
        (Bowtie, "test_a_known_slide_has_valid_regions"),
        (SameNames, "test_a_known_slide_has_valid_regions"),
        (Shuffles, "test_regions_are_the_same_each_time"),
    ],
)
def test_a_broken_roi_source_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(RoiCase, tmp_path, only=[caught], settings=settings_of(step), slide_info=info_of("known")) == {
        caught
    }


# --- slide QC ---


class White(SlideQc):
    """A sound QC: bright pixels of a thumbnail."""

    def assess(self, slide: Slide, scene: Any) -> QcResult:
        mask = slide.thumbnail(mpp=8).min(axis=-1) > 220
        return QcResult(mask=mask, kind="background", metrics={"share": float(mask.mean())})


class Grey(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return QcResult(mask=slide.thumbnail(mpp=8)[..., 0], kind="background")


class Colours(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return QcResult(mask=slide.thumbnail(mpp=8) > 220, kind="background")


class Beyond(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), extent=Box(0, 0, slide.info.size.width + 1, 100))


class Closes(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        result = super().assess(slide, scene)
        slide.info = info_of("changed")
        return result


class Infinite(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), metrics={"ratio": float("inf")})


class NeedsTissue(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        result = super().assess(slide, scene)
        if result.mask.all():
            raise ZeroDivisionError("no tissue")
        return result


class Averages(White):
    def __init__(self) -> None:
        self.level = 220.0

    def assess(self, slide: Slide, scene: Any) -> QcResult:
        mask = slide.thumbnail(mpp=8).min(axis=-1) > self.level
        self.level = self.level / 2 + float(mask.mean()) * 100
        return QcResult(mask=mask, kind="background")


class RandomPixels(White):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return QcResult(mask=np.random.rand(30, 40) > 0.5, kind="artifact")


CLASSES = (QcClass(0, "tissue"), QcClass(1, "glass", "background", 0.5), QcClass(2, "dark-spot", "artifact"))


class Classes(SlideQc):
    """A sound QC with classes: glass and dark pixels of a thumbnail."""

    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return QcResult.of_labels(self.labels(slide), CLASSES, metrics={"looked": 1.0})

    def labels(self, slide: Slide) -> NDArray[np.integer]:
        brightness = slide.thumbnail(mpp=8).min(axis=-1)
        return np.where(brightness > 220, 1, np.where(brightness < 50, 2, 0))


class UnsafeName(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), classes=(*CLASSES[:2], QcClass(2, "a/b", "artifact")))


class SameName(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), classes=(*CLASSES, QcClass(3, "Tissue")))


class UnknownLabel(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), classes=CLASSES[::2])


class WideLabels(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        return attrs.evolve(super().assess(slide, scene), labels=self.labels(slide).astype(np.int32))


class OtherMask(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        result = super().assess(slide, scene)
        return attrs.evolve(result, mask=~result.mask)


class ClassesOnDemand(Classes):
    def assess(self, slide: Slide, scene: Any) -> QcResult:
        labels = self.labels(slide)
        return QcResult.of_labels(labels, [one for one in CLASSES if (labels == one.value).any()])


class RandomLabels(Classes):
    def __init__(self) -> None:
        self.random = np.random.default_rng()

    def labels(self, slide: Slide) -> NDArray[np.integer]:
        return self.random.choice([1, 2], (30, 40))  # the mask is the same


@pytest.mark.parametrize("step", [White, Classes])
def test_a_sound_slide_qc_passes(tmp_path: Path, step: type) -> None:
    assert failures(QcCase, tmp_path, settings=settings_of(step)) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (Grey, "test_the_mask_is_bool_with_two_axes"),
        (Colours, "test_the_mask_is_bool_with_two_axes"),
        (Beyond, "test_the_mask_is_bool_with_two_axes"),
        (Infinite, "test_the_mask_is_bool_with_two_axes"),
        (Closes, "test_the_slide_is_left_open_and_unchanged"),
        (NeedsTissue, "test_a_slide_of_bare_glass_is_no_error"),
        (Averages, "test_one_step_serves_several_slides"),
        (RandomPixels, "test_the_answer_is_the_same_each_time"),
        (RandomPixels, "test_global_randomness_is_not_used"),
        (UnsafeName, "test_the_mask_is_bool_with_two_axes"),
        (SameName, "test_the_mask_is_bool_with_two_axes"),
        (UnknownLabel, "test_the_mask_is_bool_with_two_axes"),
        (WideLabels, "test_the_mask_is_bool_with_two_axes"),
        (OtherMask, "test_the_mask_is_bool_with_two_axes"),
        (ClassesOnDemand, "test_classes_are_the_same_on_every_slide"),
        (RandomLabels, "test_the_answer_is_the_same_each_time"),
    ],
)
def test_a_broken_slide_qc_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(QcCase, tmp_path, only=[caught], settings=settings_of(step)) == {caught}


# --- placements ---


class Grid(Placement):
    """A sound placement."""

    def place(self, slide: Slide, scene: Any) -> Tiles:
        side = scene.geometry.footprint
        columns, rows = slide.info.size.width // side.width, slide.info.size.height // side.height
        index = np.arange(columns * rows)
        x, y = index % columns, index // columns
        return Tiles(index, x * side.width, y * side.height, x, y, np.full(len(index), -1), footprint=side)


class FromOne(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        tiles = super().place(slide, scene)
        return attrs.evolve(tiles, index=tiles.index + 1)


class RandomOrigin(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        tiles = super().place(slide, scene)
        return attrs.evolve(tiles, x=tiles.x + np.random.default_rng().integers(0, 1000))


class OwnFootprint(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        return attrs.evolve(super().place(slide, scene), footprint=Size(5, 5))


class OffSlide(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        tiles = super().place(slide, scene)
        return attrs.evolve(tiles, x=tiles.x + 10_000)


class Doubles(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        tiles = super().place(slide, scene)
        return attrs.evolve(tiles, grid_x=tiles.grid_x * 0)


class Ragged(Grid):
    def place(self, slide: Slide, scene: Any) -> Tiles:
        tiles = super().place(slide, scene)
        return attrs.evolve(tiles, grid_y=tiles.grid_y[:1])


class Says(Grid):
    def place(self, slide: Slide, scene: Any) -> Placed:
        return Placed(super().place(slide, scene), ("2 cells are off the slide",), {"off_slide": 2})


class SaysNothing(Grid):
    def place(self, slide: Slide, scene: Any) -> Placed:
        return Placed(super().place(slide, scene), ("2 cells are off the slide", " "))


class Uncounted(Grid):
    def place(self, slide: Slide, scene: Any) -> Placed:
        return Placed(super().place(slide, scene), metrics={"off_slide": float("inf")})


@pytest.mark.parametrize("step", [Grid, Says])
def test_a_sound_placement_passes(tmp_path: Path, step: type) -> None:
    assert failures(PlacementCase, tmp_path, settings=settings_of(step)) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (FromOne, "test_tiles_are_numbered_from_zero"),
        (RandomOrigin, "test_tiles_are_the_same_each_time"),
        (OwnFootprint, "test_tiles_have_the_footprint_asked_for"),
        (OffSlide, "test_tiles_have_the_footprint_asked_for"),
        (Doubles, "test_no_tile_is_planned_twice"),
        (Ragged, "test_columns_are_whole_numbers_of_equal_length"),
        (SaysNothing, "test_what_it_says_is_fit_for_the_report"),
        (Uncounted, "test_what_it_says_is_fit_for_the_report"),
    ],
)
def test_a_broken_placement_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(PlacementCase, tmp_path, only=[caught], settings=settings_of(step)) == {caught}


# --- sinks ---


class RawWriter(Writer):
    """Appends to a draft and publishes it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.final = path_of_name(folder / "raw", name, ending=".raw")
        self.draft = Draft(self.final)
        self.unfinished = self.draft.partial
        self.tiles = 0
        self.unfinished.write_bytes(b"")

    def write(self, tiles: Tiles, encoded: Sequence[bytes]) -> None:
        with self.unfinished.open("ab") as file:
            file.write(b"".join(encoded))
        self.tiles += len(tiles)

    def commit(self) -> Sequence[Path]:
        if not self.tiles:
            self.abort()
            return []
        self.unfinished.replace(self.draft.partial)
        return [self.draft.publish()]

    def abort(self) -> None:
        self.unfinished.unlink(missing_ok=True)


class Raw(Sink):
    """A sound sink: the pixels, one tile after the other."""

    writer: ClassVar[type[RawWriter]] = RawWriter

    def open(self, info: SlideInfo, scene: Any, folder: Path) -> Writer:
        return self.writer(folder, info.name)

    def encode(self, batch: TileBatch) -> Sequence[bytes]:
        return [tile.tobytes() for tile in batch.rgb]


class EarlyWriter(RawWriter):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.unfinished = self.final


class LeavingWriter(RawWriter):
    def abort(self) -> None:
        pass


class TouchyWriter(RawWriter):
    def abort(self) -> None:
        self.unfinished.unlink()


class SweepingWriter(RawWriter):
    def abort(self) -> None:
        for path in self.final.parent.iterdir():
            path.unlink()


class EmptyFileWriter(RawWriter):
    def commit(self) -> Sequence[Path]:
        self.unfinished.replace(self.final)
        return [self.final]


class BatchHeaderWriter(RawWriter):
    def write(self, tiles: Tiles, encoded: Sequence[bytes]) -> None:
        super().write(tiles, [b"batch", *encoded])


class SharedNameWriter(RawWriter):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.unfinished = folder / "raw" / ".unfinished"
        self.unfinished.touch()


class UnreportedWriter(RawWriter):
    def commit(self) -> Sequence[Path]:
        made = super().commit()
        if made:
            self.final.with_suffix(".index").write_text("index")
        return made


class PromisingWriter(RawWriter):
    def commit(self) -> Sequence[Path]:
        return [*super().commit(), self.final.with_suffix(".index")] if self.tiles else super().commit()


class MixingWriter(RawWriter):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.unfinished = folder / "raw" / f".{name}.unfinished"
        self.unfinished.touch()

    def commit(self) -> Sequence[Path]:
        if not self.tiles:
            return super().commit()
        self.unfinished.replace(self.final)
        return [self.final]


class LastWinsWriter(RawWriter):
    def commit(self) -> Sequence[Path]:
        if not self.tiles:
            return super().commit()
        self.unfinished.replace(self.final)
        return [self.final]


class RefusesTwiceWriter(RawWriter):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        if self.final.exists():
            raise FileExistsError(self.final)


def sink_with(kind: type[RawWriter]) -> type[Sink]:
    return type(f"SinkOf{kind.__name__}", (Raw,), {"writer": kind})


class Paints(Raw):
    def encode(self, batch: TileBatch) -> Sequence[bytes]:
        batch.rgb[:, 0] = 0
        return super().encode(batch)


class ReturnsViews(Raw):
    keeps_pixels = False

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        return [memoryview(tile).cast("B") for tile in batch.rgb]


class LosesOne(Raw):
    def encode(self, batch: TileBatch) -> Sequence[bytes]:
        return super().encode(batch)[1:]


def test_a_sound_sink_passes(tmp_path: Path) -> None:
    assert failures(SinkCase, tmp_path, settings=settings_of(Raw)) == set()


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (sink_with(EarlyWriter), "test_nothing_has_a_final_name_before_commit"),
        (sink_with(LeavingWriter), "test_abort_leaves_nothing"),
        (sink_with(TouchyWriter), "test_abort_can_be_repeated"),
        (sink_with(SweepingWriter), "test_abort_spares_what_was_committed_earlier"),
        (sink_with(EmptyFileWriter), "test_no_tile_makes_no_file"),
        (sink_with(BatchHeaderWriter), "test_batches_do_not_show_in_the_output"),
        (sink_with(SharedNameWriter), "test_slides_do_not_disturb_each_other"),
        (sink_with(UnreportedWriter), "test_commit_leaves_nothing_but_what_it_returns"),
        (sink_with(PromisingWriter), "test_commit_returns_what_it_made"),
        (sink_with(RefusesTwiceWriter), "test_a_second_run_replaces_the_first"),
        (sink_with(MixingWriter), "test_two_runs_at_once_do_not_mix"),
        (sink_with(LastWinsWriter), "test_two_runs_at_once_do_not_mix"),
        (Paints, "test_every_tile_is_encoded"),
        (LosesOne, "test_every_tile_is_encoded"),
        (ReturnsViews, "test_memory_of_pixels_may_be_used_again"),
    ],
)
def test_a_broken_sink_is_caught(tmp_path: Path, step: type, caught: str) -> None:
    assert failures(SinkCase, tmp_path, only=[caught], settings=settings_of(step)) == {caught}
