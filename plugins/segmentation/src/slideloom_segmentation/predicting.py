"""A trained model as slide QC and as ROI source, and writing its regions as GeoJSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.affinity import scale
from shapely.geometry import Polygon
from slideloom import (
    ConfigError,
    QcClass,
    QcResult,
    Region,
    Regions,
    RoiSource,
    Scene,
    Slide,
    SlideError,
    SlideInfo,
    SlideloomError,
    SlidePlace,
    SlideQc,
    Slides,
    open_slide,
    path_inside,
    place_of,
    qc_classes,
    slide_name,
    storing_in,
    utf8,
    write_regions_geojson,
    write_whole,
)

from slideloom_segmentation.model import SegmentModel
from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.polygons import polygons_of, valid_parts
from slideloom_segmentation.settings import BACKGROUND, SegmentQc, SegmentRoi

REPORT = "segment-report.json"


class ModelQc(SlideQc):
    """See `SegmentQc`."""

    uses_regions = False

    def __init__(self, settings: SegmentQc) -> None:
        self._settings = settings
        self._model = SegmentModel.load(settings.model, device=settings.device)
        self._classes = _classes_of(settings, self._model)
        self._discard = [] if self._classes else numbers_of(settings.discard, self._model, option="discard")

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """True where the model predicts a class to discard, at the model's resolution; with classes if asked for."""
        settings = self._settings
        classes = self._model.class_map(
            slide, threshold=settings.threshold, overlap=settings.overlap, batch=settings.batch, tell=scene.tell
        )
        return self._judged(classes)

    def again(self, earlier: QcResult) -> QcResult | None:
        """See `SlideQc.again`: by the classes that the model predicted."""
        return self._judged(earlier.measured) if isinstance(earlier.measured, np.ndarray) else None

    def _judged(self, classes: NDArray[np.uint8]) -> QcResult:
        """The result from the class of every model pixel."""
        settings = self._settings
        shares = np.bincount(classes.ravel(), minlength=len(self._model.facts.classes)) / classes.size
        metrics = {f"share {name}": float(share) for name, share in zip(self._model.facts.classes, shares, strict=True)}
        if self._classes:
            return QcResult.of_labels(classes, self._classes, metrics=metrics, measured=classes)
        discard = np.isin(np.arange(256), self._discard)
        return QcResult(mask=discard[classes], kind=settings.kind, metrics=metrics, measured=classes)


class ModelRois(RoiSource):
    """See `SegmentRoi`."""

    def __init__(self, settings: SegmentRoi) -> None:
        self._settings = settings
        self._model = SegmentModel.load(settings.model, device=settings.device)
        names = settings.labels or tuple(self._model.facts.classes[1:])
        self._labels = numbers_of(names, self._model, option="labels")
        if 0 in self._labels:
            raise ConfigError(f"segment: labels: '{BACKGROUND}' makes no region; name the classes wanted")

    def regions(self, info: SlideInfo) -> Regions | None:
        """The model's regions; None if the slide's file does not exist. Opens the slide itself."""
        if isinstance(info.path, Path) and not info.path.exists():
            return None
        rules = Slides(icc="srgb" if info.icc else "keep")
        with open_slide(info.path, slides=rules, mpp=None if info.mpp is None else info.mpp.mean) as slide:
            if info.mpp is not None:
                slide.use_mpp(info.mpp)
            return self.regions_of(slide)

    def regions_of(self, slide: Slide) -> Regions:
        """The model's regions of an open slide with known mpp."""
        settings, model = self._settings, self._model
        classes = model.class_map(slide, threshold=settings.threshold, overlap=settings.overlap, batch=settings.batch)
        grid = ModelGrid.of(slide.info, model.facts.mpp)
        um2_per_px = grid.um2 / (grid.scale_x * grid.scale_y)  # of level 0
        min_um2 = settings.min_area_mm2 * 1e6
        tolerance_um = model.facts.mpp if settings.simplify_um is None else settings.simplify_um
        tolerance = tolerance_um / um2_per_px**0.5
        found: list[Region] = []
        for number in self._labels:
            for polygon in polygons_of(classes == number, min_px=min_um2 / grid.um2):
                stretched = _stretched(polygon, grid)
                # Simplifying may make an area smaller that was just large enough; it is kept.
                for part in valid_parts(stretched.simplify(tolerance), min_area=0.5 * min_um2 / um2_per_px):
                    label = model.facts.classes[number]
                    found.append(Region(name=f"{label}_{len(found)}", shape=part, label=label))
        notes = (
            () if found else (f"{slide.info.name}: the model found no region of {settings.min_area_mm2} mm2 or more",)
        )
        return Regions(items=tuple(found), notes=notes, source=str(settings.model))


def predict(
    settings: SegmentRoi,
    slides: Iterable[Slide | SlidePlace | str],
    *,
    out: Path,
    progress: Callable[[Path, Regions], None] | None = None,
    opening: Callable[[SlidePlace], Slide] = open_slide,
) -> list[Path]:
    """Write the model's regions of each slide to `out/<slide>.geojson`, level-0 pixels, as QuPath annotations.

    A slide that fails does not stop the others. What became of each is in `out/segment-report.json`.

    Args:
        settings: of the model and its regions.
        slides: paths, or open slides with known mpp (which stay open).
        out: folder; created if missing.
        progress: called after each slide with the file and its regions.
        opening: opens a slide by its path.

    Returns:
        The files, in the order of the slides.

    Raises:
        ConfigError: there is no such model, or two slides have one name.
        SlideError: slides could not be read, or their files not be written; raised when all others are done.
    """
    wanted = _by_name(slides)
    source = ModelRois(settings)
    with storing_in(out):
        out.mkdir(parents=True, exist_ok=True)
    report: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for name, given in wanted.items():
        try:
            path, regions = _predicted(source, given, out, opening)
        except SlideloomError as error:
            report[name] = {"error": str(error)}
            failed.append(str(error))
        else:
            report[name] = {"file": path.name, "regions": len(regions.items), "notes": list(regions.notes)}
            if progress is not None:
                progress(path, regions)
        text = json.dumps({"model": str(settings.model), "slides": report}, indent=1, ensure_ascii=False)
        with storing_in(out):
            write_whole(out / REPORT, utf8(f"{text}\n"))
    if failed:
        listed = "\n  ".join(failed)
        raise SlideError(f"segment: {len(failed)} of {len(wanted)} slides failed; the others are done:\n  {listed}")
    return [out / entry["file"] for entry in report.values()]


def _by_name(slides: Iterable[Slide | SlidePlace | str]) -> dict[str, Slide | SlidePlace]:
    """The slides by name.

    Raises:
        ConfigError: two have one name, and so one file.
    """
    found: dict[str, Slide | SlidePlace] = {}
    for given in slides:
        slide = given if isinstance(given, Slide) else place_of(given)
        name = slide.info.name if isinstance(slide, Slide) else slide_name(slide)
        if name in found:
            first, second = (item.info.path if isinstance(item, Slide) else item for item in (found[name], slide))
            raise ConfigError(f"segment: {first} and {second} would both be {name}.geojson; rename one")
        found[name] = slide
    return found


def _predicted(
    source: ModelRois, given: Slide | SlidePlace, out: Path, opening: Callable[[SlidePlace], Slide]
) -> tuple[Path, Regions]:
    slide = given if isinstance(given, Slide) else opening(given)
    try:
        regions = source.regions_of(slide)
        path = path_inside(out, f"{slide.info.name}.geojson")
    finally:
        if slide is not given:
            slide.close()
    write_regions_geojson(path, regions)
    return path, regions


def numbers_of(wanted: Iterable[str | int], model: SegmentModel, *, option: str) -> list[int]:
    """The numbers of classes given by name or number.

    Raises:
        ConfigError: the model has no such class.
    """
    classes = model.facts.classes
    numbers = []
    for item in wanted:
        if item not in classes and item not in range(len(classes)):
            known = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
            raise ConfigError(f"segment: {option}: the model has no class {item!r}; it has {known}")
        numbers.append(classes.index(item) if isinstance(item, str) else item)
    return numbers


def _classes_of(settings: SegmentQc, model: SegmentModel) -> tuple[QcClass, ...]:
    """The model's classes as slide QC reports them, if `discard` gives a kind for any of them; else none.

    Letters that reasons cannot have become "-". What `discard` only names is of the kind that the settings say.

    Raises:
        ConfigError: `discard` names no class of the model, or cannot be read.
    """
    names = model.facts.classes
    own = {name: re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:40] or f"class-{i}" for i, name in enumerate(names)}
    words: list[str] = []
    has_kinds = False
    for item in settings.discard:
        name, colon, rest = (item, "", "") if item in names else str(item).partition(":")
        (number,) = numbers_of([int(name) if str(name).isdecimal() else name], model, option="discard")
        has_kinds |= bool(colon)
        words.append(f"{own[names[number]]}:{rest or settings.kind}")
    try:
        return qc_classes(words, known=list(own.values())) if has_kinds else ()
    except ValueError as error:
        raise ConfigError(f"segment: discard: {error}") from error


def _stretched(polygon: Polygon, grid: ModelGrid) -> Polygon:
    return scale(polygon, xfact=grid.scale_x, yfact=grid.scale_y, origin=(0, 0))
