"""The content of a slide's page, collected from the slide, its tile table and the stored tiles."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slideloom as sl
from attrs import define, evolve, field
from numpy.typing import NDArray
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from slideloom_report.cohort import Cohort
from slideloom_report.samples import Boxes, Sample, samples_of, spread
from slideloom_report.tiles import some_tiles, stored_locations

_MASK_STRENGTH = 0.4


@define
class Evidence:
    """What the report shows of a slide.

    Attributes:
        report: of the slide, completed with size and mpp from opening it.
        picture: (h, w, 3) uint8 of the whole slide, or None if it cannot be read.
        mask: (h, w) bool, True where QC discards the slide, on the picture's pixels, or None.
        boxes: tiles by outcome, "kept" first.
        is_grid: False for tiles around cells, which overlap and are best drawn as points.
        regions: outlines.
        told: areas of the classes that slide QC tells but keeps, by reason.
        samples: of kept tiles.
        notes: what is missing and why.
    """

    report: sl.SlideReport
    picture: sl.Rgb | None = None
    mask: sl.Mask | None = None
    boxes: dict[str, Boxes] = field(factory=dict)
    is_grid: bool = True
    regions: tuple[sl.Region, ...] = ()
    told: dict[str, Sequence[BaseGeometry]] = field(factory=dict)
    samples: list[Sample] = field(factory=list)
    notes: list[str] = field(factory=list)


def gather(cohort: Cohort, report: sl.SlideReport, *, max_px: int, samples: int) -> Evidence:
    """Everything that a slide's page shows; anything unavailable becomes a note, never an error."""
    found = Evidence(report, is_grid="placement" not in cohort.table)
    try:
        with _opened(cohort, report) as slide:
            _from_slide(found, cohort, slide, max_px=max_px, samples=samples)
    except sl.SlideloomError as error:
        found.notes.append(f"No picture of the slide: {error}")
    except Exception as error:  # a third-party plugin must not cost the report of a whole run
        found.notes.append(f"No picture of the slide: {type(error).__name__}: {error}")
    if found.picture is None:  # its tiles may still be known
        found.boxes = _boxes_of_tables(found, cohort)
        found.samples = samples_of(None, cohort, found.report, spread(found.boxes.get("kept"), samples), found.notes)
        if samples and not found.samples and report.written:
            tiles = some_tiles(cohort.home(report), report, samples, found.notes)
            found.samples = [Sample(None, after=tile) for tile in tiles]
    return found


@contextmanager
def _opened(cohort: Cohort, report: sl.SlideReport) -> Iterator[sl.Slide]:
    path = cohort.files.get(report.slide, sl.place_of(report.path) if report.path else None)
    if path is None:
        raise sl.SlideError(
            f"the tiles do not say where their slide is; name it with {sl.option_name('report', 'slides')}"
        )
    if isinstance(path, Path) and not path.exists():
        raise sl.SlideError(
            f"{path} is no longer there; give the slides' present location with {sl.option_name('report', 'slides')}"
        )
    found = sl.NamedSlide(path, report.slide, cohort.shares_name(report))
    if report.mpp is None:
        rules = cohort.pipeline.slides if cohort.pipeline is not None else sl.Slides()
        with sl.open_slide(found, slides=rules) as slide:
            yield slide
        return
    x, y = report.mpp
    with sl.open_slide(found, slides=_rules(cohort, report), mpp=(x + y) / 2) as slide:
        slide.use_mpp(sl.Resolution(x, y, report.mpp_source))
        yield slide


def _rules(cohort: Cohort, report: sl.SlideReport) -> sl.Slides:
    """The reader that read the slide, with its options, and the colours that its tiles are in."""
    given = cohort.pipeline.slides.reader if cohort.pipeline is not None else None
    is_same = given is not None and given.partition(":")[0] == report.reader
    return sl.Slides(reader=given if is_same else report.reader or None, icc="srgb" if report.icc else "keep")


def _from_slide(found: Evidence, cohort: Cohort, slide: sl.Slide, *, max_px: int, samples: int) -> None:
    now, then = slide.info.size, sl.Size(*found.report.size)
    if then.width and then != now:
        raise sl.SlideError(
            f"{slide.info.path} is not the slide that was cut: "
            f"it has {now.width} x {now.height} pixels, not {then.width} x {then.height}"
        )
    found.report = _completed(found.report, slide.info)
    picture: sl.Rgb = np.array(slide.thumbnail(max_px=max_px))
    discard: sl.QcResult | None = None
    if cohort.kind in ("dry-run", "plan-only") and cohort.pipeline is not None:
        discard = _plan_again(found, cohort.pipeline, slide)
    else:
        found.boxes = _boxes_of_tables(found, cohort)
        found.regions = _regions(found, cohort.pipeline, slide.info)
        discard = _saved_mask(found, cohort, slide.info)
        found.told = _saved_told(found, cohort)
    if discard is not None:
        size = sl.Size(picture.shape[1], picture.shape[0])
        found.mask = sl.stretched(discard.mask, extent=slide.info.box, whole=slide.info.size, size=size)
        sl.tint(picture, found.mask, colour=sl.LEGEND["mask"], strength=_MASK_STRENGTH)
    found.picture = picture
    kept, mask = spread(found.boxes.get("kept"), samples), None if discard is None else discard.mask
    found.samples = samples_of(slide, cohort, found.report, kept, found.notes, discard=mask)


def _completed(report: sl.SlideReport, info: sl.SlideInfo) -> sl.SlideReport:
    """The report of a slide of which only stored tiles are known, completed from the slide itself."""
    if report.mpp is not None or info.mpp is None:
        return report
    scale = report.tile_um / info.mpp.x, report.tile_um / info.mpp.y
    footprint = (int(scale[0] + 1e-6), int(scale[1] + 1e-6))
    level = info.level_for(min(footprint) / report.tile_px) if report.tile_px and min(footprint) else 0
    return evolve(
        report,
        mpp=(info.mpp.x, info.mpp.y),
        mpp_source=info.mpp.source,
        size=(info.size.width, info.size.height),
        footprint=footprint,
        reader=info.reader,
        level=level,
    )


def _plan_again(found: Evidence, pipeline: sl.Pipeline, slide: sl.Slide) -> sl.QcResult | None:
    """The decisions of a dry run: places and masks made again, because it stores nothing; tiles as it decided."""
    plan = sl.plan_slide(slide, pipeline)
    record = sl.apply_regions(plan)
    sl.assess_slide(plan, record)
    statuses = found.report.statuses
    decided = record.ledger.status() if statuses is None else statuses.unpacked()
    if len(decided) != len(plan.tiles):
        raise sl.SlideError(f"{slide.info.path} has changed since the dry run")
    words = ["kept" if word in ("candidate", "written") else word for word in decided]
    found.boxes = _grouped(words, np.stack([plan.tiles.loc_x, plan.tiles.loc_y], axis=1), found.report)
    found.regions = plan.regions
    found.told = dict(sl.told_areas(record, slide.info))
    if not record.qc:
        return None
    return sl.QcResult(sl.union_mask([finding.result for finding in record.qc], slide.info.size), kind="artifact")


def _boxes_of_tables(found: Evidence, cohort: Cohort) -> dict[str, Boxes]:
    """Tiles by outcome, from the tile table, else the stored positions."""
    report = found.report
    if report.tile_table:
        try:
            with (cohort.home(report) / report.tile_table).open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                table = [(row["status"], int(row["loc_x"]), int(row["loc_y"])) for row in rows]
        except (OSError, ValueError, KeyError, csv.Error) as error:  # stored tiles have their positions too
            found.notes.append(f"Rejected tiles are not drawn, because {report.tile_table} cannot be read: {error}")
            table = []
        if table:
            words = ["kept" if word == "written" else word for word, _, _ in table]
            return _grouped(words, np.array([place for _, *place in table]), report)
    places = stored_locations(cohort.home(report), report, found.notes)
    if places is None or not len(places):
        return {}
    found.is_grid = found.is_grid and _spacing(report, places) is not None
    return _grouped(["kept"] * len(places), places, report)


def _spacing(report: sl.SlideReport, centres: NDArray[np.int64]) -> tuple[int, int] | None:
    """Distance between neighbouring tiles along x and y, or None for tiles that are not on a grid."""
    gaps = [np.diff(np.unique(centres[:, axis])) for axis in (0, 1)]
    width, height = (int(gap.min()) if len(gap) else max(1, report.tile_px) for gap in gaps)
    # Tiles on a grid are hardly ever this close to each other, but cells can be by chance.
    return (width, height) if min(width, height) >= report.tile_px / 8 else None


def _grouped(words: Sequence[str], centres: NDArray[np.int64], report: sl.SlideReport) -> dict[str, Boxes]:
    """Tiles by outcome, "kept" always first; of the reported size, else as wide as their distance."""
    usual = (max(1, report.tile_px),) * 2
    size = np.array(report.footprint if min(report.footprint) > 0 else _spacing(report, centres) or usual)
    boxes = np.concatenate([centres - size // 2, np.broadcast_to(size, centres.shape)], axis=1)
    status = np.array(words, dtype=object)
    names = ["kept", *sorted(set(words) - {"kept"})]
    return {name: boxes[status == name] for name in names}


def _regions(found: Evidence, pipeline: sl.Pipeline | None, info: sl.SlideInfo) -> tuple[sl.Region, ...]:
    items: list[sl.Region] = []
    if "/" in info.name and not found.report.rois:  # what is there now may be for another slide of the cohort
        return ()
    for use in pipeline.roi if pipeline is not None else ():
        if use.method == "ignore":
            continue
        try:
            regions = use.source.build().regions(info)
        except sl.SlideloomError as error:
            found.notes.append(f"Regions are not drawn: {error}")
            continue
        items.extend(regions.items if regions is not None else ())
    return tuple(items)


def _saved_mask(found: Evidence, cohort: Cohort, info: sl.SlideInfo) -> sl.QcResult | None:
    report = found.report
    path = sl.OutputFolder(cohort.home(report), cohort.label).discard(report.slide) if report.tile_table else None
    if path is None or not path.exists():
        return None
    try:
        return sl.load_mask(path, slide=info, decode=sl.mask_from_npz)
    except sl.SlideError as error:
        found.notes.append(f"QC masks are not drawn: {error}")
        return None


def _saved_told(found: Evidence, cohort: Cohort) -> dict[str, Sequence[BaseGeometry]]:
    """The areas that the run stored for this report; a class may have none, and still has a line in the legend."""
    report = found.report
    areas: dict[str, list[BaseGeometry]] = {reason: [] for reason in cohort.told([report])}
    if not areas or not report.tile_table:
        return dict(areas)
    path = sl.OutputFolder(cohort.home(report), cohort.label).told(report.slide)
    try:
        for feature in sl.parse_json(path.read_text(encoding="utf-8"))["features"]:
            areas[f"qc:{feature['properties']['classification']['name']}"].append(shape(feature["geometry"]))
    except FileNotFoundError:  # the run was not asked for a report
        return {}
    except (OSError, ValueError, LookupError, TypeError, ShapelyError) as error:
        found.notes.append(f"Classes that are told but kept are not drawn: {path}: {error}")
        return {}
    return dict(areas)
